"""Each fault of a rehearsal changes what it says and nothing else; a wrong one is named with its key."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest

from headrace import Project
from headrace.errors import DataError, SpecError
from headrace.loop.policy import Columns
from headrace.loop.rehearsal.policy import RehearsePolicy, read_rehearsal
from headrace.loop.rehearsal.streams import START, Sea, World, make_world
from headrace.project.rehearsing import rehearse

COLUMNS = Columns(target="low", time="at", id="row")
SPEC = '[project]\nname = "p"\n[ingest]\nuse = "files"\npath = "none"\n'


def world(*faults: dict[str, Any]) -> World:
    return make_world(Sea(), RehearsePolicy.model_validate({"days": 30, "faults": list(faults)}), COLUMNS)


def inside(found: World, start: float, end: float) -> Any:
    day = (found.rows["at"] - START).dt.total_seconds() / 86_400
    return (day >= start) & (day < end)


def test_unit_change() -> None:
    calm, found = world(), world({"kind": "unit change", "day": 5, "until": 9, "column": "x1", "size": 100})
    covered = inside(calm, 5, 9)
    assert (found.rows["x1"].filter(covered) / calm.rows["x1"].filter(covered) - 100).abs().max() < 1e-9
    assert found.rows.filter(~covered).equals(calm.rows.filter(~covered))
    assert found.rows.drop("x1").equals(calm.rows.drop("x1"))


def test_broken_batch() -> None:
    calm, found = world(), world({"kind": "broken batch", "day": 5, "until": 6})
    covered = inside(calm, 5, 6)
    broken = found.rows.filter(covered)
    assert broken.height == 40
    assert all(broken[name].null_count() == 40 for name in ("x0", "x1", "x2"))
    assert found.rows.filter(~covered).equals(calm.rows.filter(~covered))
    assert found.rows.drop("x0", "x1", "x2").equals(calm.rows.drop("x0", "x1", "x2"))


def test_late_labels() -> None:
    found = world({"kind": "late labels", "day": 5, "until": 9, "size": 10})
    late = found.rows["__known"] - found.rows["at"]
    covered = inside(found, 5, 9)
    assert late.filter(covered).unique().to_list() == [dt.timedelta(days=12)]
    assert late.filter(~covered).unique().to_list() == [dt.timedelta(days=2)]


def test_server_down() -> None:
    calm, found = world(), world({"kind": "server down", "day": 5, "until": 9})
    now = START + dt.timedelta(days=30)
    assert (calm.unanswered, found.unanswered) == (0, 160)
    seen = found.frame(now)
    assert calm.frame(now).height - seen.height == 160
    gone = (seen["at"] >= START + dt.timedelta(days=5)) & (seen["at"] < START + dt.timedelta(days=9))
    assert not gone.any()
    assert found.between(START, now).height == seen.height


@pytest.mark.slow
def test_a_year_in_which_everything_goes_wrong_is_lived_through_and_counted(tmp_path: Path) -> None:
    (tmp_path / "headrace.toml").write_text(
        SPEC
        + '[rehearse]\nstream = "sea"\ndays = 70\ncompare = false\n'
        + '[[rehearse.faults]]\nkind = "server down"\nday = 7\nuntil = 15\n'
        + '[[rehearse.faults]]\nkind = "broken batch"\nday = 20\nuntil = 21\n'
        + '[[rehearse.faults]]\nkind = "late labels"\nday = 25\nuntil = 30\n'
        + '[[rehearse.faults]]\nkind = "unit change"\nday = 40\n'
        + '[[rehearse.faults]]\nkind = "covariate drift"\nday = 50\ncolumn = "x1"\n'
        + "[rehearse.expect]\nmin_alarms = 1\nmax_trainings = 0\n"
    )
    with Project(tmp_path) as project:
        found = rehearse(project)
    document = found.document()
    assert document["unanswered"] == 320
    assert document["steps"]["ours"][1] is None  # nothing was answered in that week
    assert document["loss"]["ours"] > 0
    assert document["alarms"] >= 1  # the unit change is seen
    assert document["trainings"] >= 1
    assert document["trained_rows"]["ours"] > 0
    assert found.problems == [f"{document['trainings']} trainings, expected at most 0"]


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ('kind = "earthquake"\nday = 3', "kind"),
        ('kind = "server down"', "`day`"),
        ('kind = "server down"\nday = 3\nsize = 2', "`size` says nothing of 'server down'"),
        ('kind = "late labels"\nday = 3\ncolumn = "x0"', "`column` says nothing of 'late labels'"),
        ('kind = "unit change"\nday = 3\nuntil = 2', "`until` is not after `day`"),
        ('kind = "unit change"\nday = 3\nfactor = 2', "no key 'factor'"),
    ],
)
def test_a_wrong_fault_is_named_with_its_key(tmp_path: Path, fault: str, words: str) -> None:
    (tmp_path / "headrace.toml").write_text(SPEC + "[[rehearse.faults]]\n" + fault + "\n")
    with pytest.raises(SpecError) as caught:
        read_rehearsal(Project(tmp_path).spec)
    assert words in caught.value.message
    assert "rehearse.faults" in caught.value.message


def test_a_column_that_is_not_there_is_named() -> None:
    with pytest.raises(DataError, match="no column of numbers 'x9'") as caught:
        world({"kind": "unit change", "day": 3, "column": "x9"})
    assert "column" in str(caught.value.place)
    assert "x0, x1, x2" in str(caught.value.hint)
