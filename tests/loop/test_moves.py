"""Promotions and roll backs by hand: each is in the log and told once, by whichever process looks next."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from headrace import Project
from headrace.loop.notices import notices_of
from headrace.project.health import Health
from headrace.project.looping import controller_of, lease_of, once, say
from headrace.project.notifying import post_of
from headrace.store.loops import LogEntry
from loop_hook import HOOK, Hook
from loop_project import World, rows

COMMAND = [sys.executable, "-c", "from headrace.cli.main import main; main()"]


@pytest.fixture
def hook() -> Any:
    found = Hook()
    yield found
    found.server.shutdown()
    found.server.server_close()


@pytest.fixture
def told(tmp_path: Path, hook: Hook) -> World:
    """Version 1 is champion, version 2 is not; somebody is told of promotions and roll backs."""
    events = 'events = ["promoted", "rolled_back"]\n'
    world = World(tmp_path, loop='promote = "wait"', triggers=HOOK.format(url=hook.url) + events)
    look(world)
    with Project(tmp_path) as project:
        say(project, "approved", {"version": 1, "reason": ""})
    look(world)
    spec = tmp_path / "headrace.toml"
    spec.write_text(spec.read_text().replace("n_estimators = 20", "n_estimators = 30"))
    rows(0, range(-30, 0), 40, flip=True).write_parquet(tmp_path / "base.parquet")
    with Project(tmp_path, overrides={"register.promote": False, "gate.beat_baseline": "no"}) as project:
        project.run().raise_on_failure()
    assert events_of(hook) == ["promoted"]
    return world


def look(world: World) -> None:
    with Project(world.folder) as project, lease_of(project) as lease:
        controller = controller_of(project, lease=lease, clock=world.clock)
        once(controller, post_of(controller, project), Health.of(controller))


def events_of(hook: Hook) -> list[str]:
    return [json.loads(body)["event"] for _, body in hook.got]


def by_hand(world: World, *words: str) -> None:
    run(world, "models", *words)


def run(world: World, *words: str) -> str:
    """What a command prints."""
    asked = [*COMMAND, *words, "--project", str(world.folder)]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_promotion_and_a_roll_back_by_hand_are_told_exactly_once(told: World, hook: Hook) -> None:
    by_hand(told, "promote", "tide@2", "--why", "the fair is in town")
    by_hand(told, "rollback", "tide", "--why", "it has left")
    for _ in range(3):
        look(told)
    assert events_of(hook) == ["promoted", "promoted", "rolled_back"]
    promoted, back = (json.loads(body) for _, body in hook.got[1:])
    assert (promoted["version"], back["version"]) == (2, 1)
    assert "the fair is in town" in promoted["text"]
    assert promoted["who"]
    assert not promoted["who"].startswith("headrace loop")
    assert back["subject"] == "tide: rolled back to version 1"
    assert told.kinds().count("moved") == 2


def test_what_happened_before_the_loop_began_is_not_told(tmp_path: Path, hook: Hook) -> None:
    world = World(tmp_path, triggers=HOOK.format(url=hook.url))
    with Project(tmp_path) as project:
        project.run().raise_on_failure()
    look(world)
    assert "moved" not in world.kinds()
    assert hook.got == []


def test_a_move_of_the_loop_is_none_by_hand_also_where_it_was_killed_before_it_wrote_it_down(told: World) -> None:
    with Project(told.folder) as project:
        project.registry.promote("tide@2", why="Loop, cycle 2. It passed.")
    look(told)
    assert "moved" not in told.kinds()


def test_a_pause_does_not_keep_it_from_being_told(told: World, hook: Hook) -> None:
    with Project(told.folder) as project:
        say(project, "paused", {"reason": ""})
    by_hand(told, "promote", "tide@2", "--why", "now")
    look(told)
    assert events_of(hook) == ["promoted", "promoted"]


def test_whoever_promotes_what_the_loop_waits_with_need_not_approve_of_it_as_well(tmp_path: Path) -> None:
    world = World(tmp_path, loop='promote = "wait"', triggers="")
    assert world.once()[-1] == "waiting"
    by_hand(world, "promote", "tide@1", "--why", "I have seen it")
    assert world.once() == ["moved", "ended"]
    with Project(tmp_path) as project:
        assert project.registry.aliased("tide", "champion") == 1
    assert world.once() == []


def test_the_long_running_loop_hears_of_a_move_there_and_back(told: World) -> None:
    with told.loop() as controller:
        controller.look()
        by_hand(told, "promote", "tide@2", "--why", "there")
        by_hand(told, "rollback", "tide", "--why", "back")
        assert [entry.kind for entry in controller.look()] == ["moved", "moved"]
        assert controller.look() == []


def test_what_was_long_ago_is_no_news() -> None:
    body = {"move": 2, "version": 2, "previous": 1, "action": "move", "by": "ada", "why": "", "run": None}
    day = 86_400.0

    def make(at: float) -> LogEntry:
        return LogEntry(5, "moved", 30 * day, "", body | {"moved_at": at}, "")

    assert [notice.event for notice in notices_of(make(25 * day), {})] == ["promoted"]
    assert notices_of(make(20 * day), {}) == []


def test_the_timeline_says_who_and_why(told: World) -> None:
    by_hand(told, "promote", "tide@2", "--why", "the fair is in town")
    look(told)
    assert "version 2 in place of 1 was promoted by" in run(told, "timeline")
    assert "all as they were written" in run(told, "audit", "verify")
