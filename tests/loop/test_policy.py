"""`[loop]` is read with its lines: what is wrong is named with the nearest right key."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from headrace import Project
from headrace.errors import ConfigError, SpecError
from headrace.loop.policy import read_policy
from headrace.project.looping import controller_of
from loop_project import World, write_spec


def policy_of(folder: Path, text: str):
    folder.joinpath("headrace.toml").write_text('[project]\nname = "p"\n[ingest]\nuse = "files"\npath = "x"\n' + text)
    return read_policy(Project(folder).spec)


def test_the_defaults_are_those_of_a_project_without_a_table(tmp_path: Path) -> None:
    found = policy_of(tmp_path, "")
    assert (found.window, found.cooldown, found.budget, found.promote) == ("expanding", 86_400, 7, "auto")
    assert policy_of(tmp_path, "[loop]\n") == found


def test_lengths_and_dates(tmp_path: Path) -> None:
    found = policy_of(tmp_path, '[loop]\ncooldown = "1.5h"\nevery = 30\nwindow = "since"\nsince = 2026-01-31\n')
    assert (found.cooldown, found.every) == (5400, 30)
    assert found.since == dt.datetime(2026, 1, 31, tzinfo=dt.UTC)
    found = policy_of(tmp_path, '[loop]\nwindow = "sliding"\nlength = "2w"\n')
    assert found.length == 14 * 86_400


@pytest.mark.parametrize(
    ("text", "words", "line", "hint"),
    [
        ('[loop]\ntriggers = "drift"\n', "each has a table of its own: [loop.triggers.drift]", 7, ""),
        ("[loop]\ncooldwon = 3\n", "[loop] has no key 'cooldwon'", 7, "cooldown"),
        ("[loop]\n[loop.watch]\nmin_row = 3\n", "[loop.watch] has no key 'min_row'", 8, "min_rows"),
        ('[loop.live]\nrows = "x"\nlabel = "y"\n', "[loop.live] has no key 'label'", 8, "labels"),
        ('[loop.live]\nuse = "served"\nrows = "x"\n', "are for use", 6, "reference"),
        ("[loop.live]\n", "names no files", 6, "reference"),
        ('[loop]\ncooldown = "soon"\n', "no length of time", 7, "reference"),
        ('[loop]\nwindow = "sliding"\n', "go together", 6, "reference"),
        ("[loop]\nsince = 3\n", "write a date", 7, "reference"),
        (
            '[loop]\npromote = "maybe"\n',
            "`promote` of [loop]: it should be 'auto' or 'wait' (found 'maybe')",
            7,
            "reference",
        ),
        (
            "[loop]\nbudget = -2\n",
            "`budget` of [loop]: it should be greater than or equal to 0 (found -2)",
            7,
            "reference",
        ),
        (
            '[loop]\nbudget = "two"\n',
            "it should be a whole number, unable to parse string as an integer (found 'two')",
            7,
            "",
        ),
        ("[loop.live]\nrows = 5\n", "`rows` of [loop.live]: it should be a list (found 5)", 7, "reference"),
        (
            "[loop.watch]\nresample_by = 7\n",
            "`resample_by` of [loop.watch]: it should be a text (found 7)",
            7,
            "reference",
        ),
        ("[loop.triggers]\ndrift = 3\n", "`drift` of [loop.triggers]: it should be a table (found 3)", 7, "reference"),
        ('[loop.notify]\nops = "x"\n', "`ops` of [loop.notify]: it should be a table", 7, "reference"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(tmp_path: Path, text: str, words: str, line: int, hint: str) -> None:
    with pytest.raises(SpecError) as caught:
        policy_of(tmp_path, text)
    assert words in caught.value.message
    assert caught.value.place == f"headrace.toml:{line}"
    assert hint in str(caught.value.hint)


@pytest.mark.parametrize(
    ("triggers", "words", "hint"),
    [
        ("[loop.triggers.perfomance]", "[loop.triggers.perfomance]: there is no trigger 'perfomance'", "performance"),
        ('[loop.triggers.nightly]\nuse = "schedule"', "key 'cron': it is needed, and missing", "plugins show"),
        ("[loop.triggers.drift]\nalpha = 2", "key 'alpha': it should be less than 1 (found 2)", "plugins show"),
        ("[loop.triggers.drift]\ndelat = 0.2", "[loop.triggers.drift] has no key 'delat'", "delta"),
        ('[loop.triggers.nightly]\nuse = "schedule"\ncron = "x"', "no cron expression", "plugins show"),
        ("[loop.triggers.nightly]", "no trigger 'nightly'", "set `use`"),
    ],
)
def test_triggers_are_checked_before_anything_is_done(tmp_path: Path, triggers: str, words: str, hint: str) -> None:
    world = World(tmp_path)
    write_spec(tmp_path, triggers=triggers)
    with pytest.raises(SpecError) as caught, Project(world.folder) as project:
        controller_of(project)
    assert words in caught.value.message
    assert hint in str(caught.value.hint)
    lines = (tmp_path / "headrace.toml").read_text().splitlines()
    number = int(str(caught.value.place).rpartition(":")[2])
    assert any(word in lines[number - 1] for word in triggers.split("\n"))


def test_a_secret_that_stands_where_it_must_not_is_not_shown(tmp_path: Path) -> None:
    for text in ('[loop.notify]\nops = "hunter2"\n', '[loop]\nserver = "http://me:hunter2@host"\n'):
        with pytest.raises(SpecError) as caught:
            policy_of(tmp_path, text)
        assert "hunter2" not in str(caught.value)


def test_a_single_slice_need_not_be_a_list(tmp_path: Path) -> None:
    found = policy_of(tmp_path, '[loop.live]\nrows = "x"\nslices = "plan"\n')
    assert found.live is not None
    assert found.live.slices == ("plan",)


@pytest.mark.parametrize(
    ("metric", "words", "hint"),
    [
        ("accuray", "'accuray' is not a metric of a binary model", "accuracy"),
        ("rmse", "'rmse' is not a metric of a binary model", "log_loss"),
    ],
)
def test_a_metric_that_the_watch_cannot_measure_is_refused(tmp_path: Path, metric: str, words: str, hint: str) -> None:
    """It would let every model pass, and nobody would know."""
    world = World(tmp_path)
    write_spec(tmp_path, watch=f'metric = "{metric}"')
    with pytest.raises(ConfigError) as caught, Project(world.folder) as project:
        controller_of(project)
    assert words in caught.value.message
    assert hint in str(caught.value.hint)
    lines = (tmp_path / "headrace.toml").read_text().splitlines()
    number = int(str(caught.value.place).partition(":")[2].partition(",")[0])
    assert lines[number - 1] == f'metric = "{metric}"'
    assert "[loop.watch]" in str(caught.value.place)
