"""What may hang besides a plugin: a built-in trigger, live rows on some mount, the project's own files."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from headrace import Project
from headrace.builtins.trigger.schedule import ScheduleTrigger
from headrace.errors import DataError
from headrace.loop.bounded import BoundedTrigger
from headrace.loop.notices import notices_of
from headrace.project.looping import ProjectWorkshop, status_document
from loop_project import World, rows

SHORT = 'patience = "0.3s"'
NIGHTLY = '[loop.triggers.nightly]\nuse = "schedule"\ncron = "0 3 * * *"\n'


@pytest.fixture
def release() -> Iterator[threading.Event]:
    """What hangs does so until this is set."""
    found = threading.Event()
    yield found
    found.set()


class Mount:
    """Live rows that do not come back while `broken`."""

    def __init__(self, release: threading.Event) -> None:
        self.broken = False
        self.calls = 0
        self._release = release

    def stamp(self) -> str:
        if self.broken:
            self.calls += 1
            self._release.wait(30)
        return str(self.broken)

    def frame(self, until: dt.datetime) -> pl.DataFrame:
        found = rows(1, range(1), 40)
        return found.filter(found["at"] <= until)


def events(world: World) -> list[tuple[str, str]]:
    """What was told of problems: the event, and what it is of."""
    told = [entry for entry in world.log() if entry.kind in ("problem", "resolved")]
    return [(notice.event, str(entry.body["trigger"])) for entry in told for notice in notices_of(entry, {})]


@pytest.mark.parametrize("name", ["nightly", "drift", "performance", "new_data"])
def test_every_trigger_is_bounded_built_in_ones_too(tmp_path: Path, name: str) -> None:
    world = World(
        tmp_path,
        loop=SHORT,
        triggers=NIGHTLY + "[loop.triggers.drift]\n[loop.triggers.performance]\n[loop.triggers.new_data]\n",
    )
    with world.loop() as controller:
        found = controller.triggers[name]
        assert isinstance(found, BoundedTrigger)
        assert found.patience == pytest.approx(0.3)


def test_a_built_in_trigger_that_hangs_is_named_on_the_status_screen_and_the_others_are_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, release: threading.Event
) -> None:
    world = World(tmp_path, loop=SHORT, triggers=NIGHTLY)
    assert "promoted" in world.once()
    monkeypatch.setattr(ScheduleTrigger, "check", lambda _self, _context: release.wait(30))
    world.at(0.05)
    assert world.once() == ["problem"]
    assert events(world) == [("plugin_hung", "nightly")]
    with Project(tmp_path) as project:
        (incident,) = status_document(project)["incidents"]
    assert (incident["what"], incident["said"]) == ("nightly", "it does not come back within 0.3 s, and hangs")


def test_live_rows_that_hang_are_named_and_nothing_is_lost(tmp_path: Path, release: threading.Event) -> None:
    world, mount = World(tmp_path, loop=SHORT, triggers=""), Mount(release)
    assert "promoted" in world.once(source=mount)
    with world.loop(source=mount) as controller:
        assert controller.look() == []
        mount.broken = True
        world.at(0.5)
        assert [entry.kind for entry in controller.look()] == ["problem"]
        assert controller.look() == []
        assert mount.calls == 1  # what hangs is not asked again
        assert events(world) == [("plugin_hung", "live rows")]
        release.set()
        mount.broken = False
        for thread in threading.enumerate():
            if thread.name == "live rows of the loop":
                thread.join(5)
        assert [entry.kind for entry in controller.look()] == ["resolved"]
    assert events(world)[1:] == [("resolved", "live rows")]


def test_input_files_that_hang_are_named_and_a_pause_is_heard_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, release: threading.Event
) -> None:
    world = World(tmp_path, loop=SHORT, triggers="")
    assert "promoted" in world.once()
    with monkeypatch.context() as patched:
        patched.setattr(ProjectWorkshop, "inputs", lambda _self: str(release.wait(30)))
        world.at(0.5)
        assert world.once() == ["problem"]
        assert events(world) == [("plugin_hung", "input files")]
        with world.loop() as controller:
            controller.say("paused", {"reason": "the mount is gone"})
            assert controller.look() == []
            controller.say("resumed", {})
    assert world.once() == ["resolved"]
    assert events(world)[1:] == [("resolved", "input files")]


def test_a_file_that_goes_away_while_it_is_looked_at_is_a_problem_and_not_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path, triggers="")
    assert "promoted" in world.once()
    world.deliver(rows(1, range(1), 40), "today")
    stat = Path.stat

    def gone(path: Path, **more: Any) -> Any:
        if path.name == "today.parquet" and gone_now:
            raise FileNotFoundError(2, "No such file or directory")
        return stat(path, **more)

    gone_now = True
    monkeypatch.setattr(Path, "is_file", lambda _path: True)
    monkeypatch.setattr(Path, "stat", gone)
    with world.loop() as controller:
        with pytest.raises(DataError, match="cannot be looked at: No such file"):
            controller.live.stamp()
        gone_now = False
        assert controller.live.stamp()
