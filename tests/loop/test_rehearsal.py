"""Rehearsals: the loop does what it should in worlds whose faults are known."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest

from headrace import Project
from headrace.cli.main import cli
from headrace.errors import SpecError
from headrace.loop.policy import Columns
from headrace.loop.rehearsal.policy import RehearsePolicy, read_rehearsal
from headrace.loop.rehearsal.streams import START, Friedman, Sea, make_world
from headrace.project.rehearsing import Rehearsal, rehearse
from loop_project import World

COLUMNS = Columns(target="low", time="at", id="row")
SPEC = '[project]\nname = "p"\n[ingest]\nuse = "files"\npath = "none"\n'


def played(folder: Path, text: str = "", **rehearsal: Any) -> Rehearsal:
    (folder / "headrace.toml").write_text(SPEC + text)
    wanted = {"stream": "sea", "compare": False, **rehearsal}
    with Project(folder, overrides={f"rehearse.{key}": value for key, value in wanted.items()}) as project:
        return rehearse(project)


def test_why_there_was_nothing_to_rehearse_is_told(tmp_path: Path) -> None:
    loop = '[loop]\nwindow = "since"\nsince = 2026-01-31\n'
    found = played(tmp_path, loop, days=14, history=14)
    (said,) = found.problems
    assert said.startswith("there was no champion, so there was nothing to rehearse: there are no rows in the window")


@pytest.mark.parametrize("stream", [Sea(), Friedman()], ids=["sea", "friedman"])
def test_a_world_is_drawn_alike_and_labels_are_late(stream: Any) -> None:
    columns = Columns(target=stream.target, time="at", id="row")
    policy = RehearsePolicy.model_validate(
        {"days": 30, "label_delay": "3d", "faults": [{"kind": "wrong labels", "day": 9}]}
    )
    one, two = make_world(stream, policy, columns), make_world(stream, policy, columns)
    assert one.rows.equals(two.rows)
    now = START + dt.timedelta(days=20)
    seen = one.frame(now)
    assert seen.height == 20 * policy.rows
    known = seen.filter(seen[stream.target].is_not_null())
    assert known["at"].max() <= now - dt.timedelta(days=3)
    assert known.height == 17 * policy.rows
    true = one.between(START, now)
    differ = (true[stream.target] != seen[stream.target]).fill_null(value=False)
    assert true.filter(differ)["at"].min() >= START + dt.timedelta(days=9)
    assert differ.sum() > 0.9 * 8 * policy.rows
    assert one.base()["at"].max() <= START
    assert one.base()[stream.target].null_count() == 0


def test_a_shift_is_one_of_the_first_number_only() -> None:
    calm = make_world(Sea(), RehearsePolicy(days=20), COLUMNS)
    policy = RehearsePolicy.model_validate({"days": 20, "faults": [{"kind": "covariate drift", "day": 5, "until": 9}]})
    shifted = make_world(Sea(), policy, COLUMNS)
    day = (calm.rows["at"] - START).dt.total_seconds() / 86_400
    inside = (day >= 5) & (day < 9)
    assert ((calm.rows["x0"] != shifted.rows["x0"]) == inside).all()
    for name in ("x1", "x2", "low", "__true"):
        assert calm.rows[name].equals(shifted.rows[name])


@pytest.mark.slow
def test_after_a_change_of_the_world_the_loop_catches_up(tmp_path: Path) -> None:
    found = played(
        tmp_path,
        days=182,
        compare=True,
        faults=[{"kind": "concept drift", "day": 50}],
        expect={"min_promotions": 1, "max_rollbacks": 0, "max_loss_to_always": 1.1, "max_loss_to_never": 0.5},
    )
    assert found.problems == []
    assert found.always_trainings == 6


def test_without_a_change_nothing_is_trained(tmp_path: Path) -> None:
    found = played(tmp_path, days=84, step="14d")
    kinds = [entry.kind for entry in found.entries]
    assert kinds == ["begun", "decided", "trained", "promoting", "promoted", "ended"]


def test_the_projects_own_rows_and_expectations_that_are_not_met(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world = World(tmp_path)
    before = sorted(path.name for path in tmp_path.iterdir())
    words = [
        "rehearse",
        "--project",
        str(tmp_path),
        "--json",
        "--set",
        "rehearse.days=14",
        "--set",
        "rehearse.step=604800",
    ]
    path = world.folder / "headrace.toml"
    path.write_text(path.read_text() + "\n[rehearse]\ncompare = false\n[rehearse.expect]\nmin_promotions = 1\n")
    assert cli.main(words, standalone_mode=False) == 7
    shown = capsys.readouterr()
    document = json.loads(shown.out)
    assert document["problems"] == ["0 promotions, expected at least 1"]
    assert document["trainings"] == 0
    assert document["loss"]["ours"] < 0.5
    assert [entry["kind"] for entry in document["timeline"]][:2] == ["begun", "decided"]
    assert "expected at least 1" in shown.err
    assert sorted(path.name for path in tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("text", "words", "line"),
    [
        ("[rehearse]\ndasy = 3\n", "no key 'dasy'", 7),
        ('[[rehearse.faults]]\nkind = "drift"\nday = 3\n', "kind", None),
        ('[rehearse]\nfaults = [{ kind = "concept drift", day = 5, until = 4 }]\n', "not after", None),
        ('[rehearse]\ndays = 14\nfaults = [{ kind = "concept drift", day = 14 }]\n', "comes after the end", None),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, words: str, line: int | None) -> None:
    (tmp_path / "headrace.toml").write_text(SPEC + text)
    with pytest.raises(SpecError) as caught:
        read_rehearsal(Project(tmp_path).spec)
    assert words in caught.value.message
    assert line is None or caught.value.place == f"headrace.toml:{line}"
