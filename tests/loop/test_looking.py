"""When the long-running loop looks, and that it sees by itself what `--once` would see; what a dry run leaves alone."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from headrace import Fired
from headrace.builtins.trigger.new_data import NewDataTrigger
from headrace.builtins.trigger.schedule import ScheduleTrigger
from headrace.store import Store
from loop_bench import Tide
from loop_project import DAY, START, rows

Tides = Callable[..., Tide]
HOUR = 3600.0


def nightly() -> dict[str, Any]:
    return {"nightly": ScheduleTrigger(ScheduleTrigger.Config(cron="0 3 * * *"))}


class Changed:
    """Fires because of a change of the world on day 2."""

    def check(self, ctx: Any) -> Fired | None:
        at = START + dt.timedelta(days=2)
        return Fired("it changed", lasting=True, changed=at) if ctx.now > at else None


@pytest.mark.parametrize(
    "policy", [{"cooldown": "5d"}, {"budget": 1}, {"min_rows": 10**6}, {"watch": {"length": "9d"}}]
)
def test_what_is_due_and_held_is_not_looked_at_each_second(tide: Tides, policy: dict[str, Any]) -> None:
    found = tide(**policy)
    found.triggers = nightly()
    with Store.open(found.root) as store:
        controller = found.open(store)
        for day in (0.0, 1.0, 2.0):
            found.at(day)
            while controller.look():
                pass
            assert controller.due() >= found.clock.at + 600
            reads = found.source.reads
            for _ in range(5):
                found.clock.at += 60
                assert controller.look() == []
            assert found.source.reads == reads


def test_what_only_time_changes_is_seen_by_looking_as_by_once(tide: Tides) -> None:
    logs = []
    for looking in (True, False):
        found = tide(min_rows=0, cooldown=0, change_rows=10**6, change_wait="2d", follow_up=0)
        found.triggers = {"changed": Changed()}
        found.source.add(rows(1, range(6), 20))  # with times that are still to come
        with Store.open(found.root) as store:
            controller = found.open(store)
            for hour in range(5 * 24 + 1):
                found.at(hour / 24)
                if looking:
                    while controller.look():
                        pass
                else:
                    controller.once()
        logs.append([(entry.kind, entry.at) for entry in found.log()])
    assert logs[0] == logs[1]
    assert "held" in [kind for kind, _ in logs[0]]


def test_the_end_of_waiting_for_rows_of_a_change_is_due(tide: Tides) -> None:
    found = tide(min_rows=0, cooldown=0, change_rows=10**6, change_wait="2d")
    with Store.open(found.root) as store:
        controller = found.open(store)
        controller.look()
        found.triggers = controller.triggers = {"changed": Changed()}
        found.at(3.99)
        while controller.look():
            pass
        assert found.log()[-1].body["rule"] == "change"
        assert controller.due() == START.timestamp() + 4 * DAY


def test_a_project_whose_first_run_failed_is_trained_again(tide: Tides) -> None:
    found = tide(cooldown=0)
    found.options = {"status": "failed"}
    assert found.once() == ["begun", "decided", "trained", "ended"]
    assert found.once() == []
    found.at(0.9)
    assert found.once() == []
    found.at(1)
    assert found.once() == ["decided", "trained", "ended"]
    found.at(2)
    assert found.once() == []  # it doubles
    found.options = {}
    found.at(3.1)
    assert "promoted" in found.once()


def test_a_project_whose_first_run_failed_is_trained_again_when_its_files_change(tide: Tides) -> None:
    found = tide(cooldown=0)
    found.options = {"status": "failed"}
    found.once()
    found.options = {"fingerprint": "two"}
    found.at(0.1)
    assert "promoted" in found.once()
    assert found.log()[1].body["reasons"][0]["why"] == "there is no champion yet"
    assert "input files changed" in found.log()[4].body["reasons"][0]["why"]


def test_who_is_waited_for_is_not_asked_again_because_there_is_no_champion(tide: Tides) -> None:
    found = tide(promote="wait", cooldown=0)
    assert found.once()[-1] == "waiting"
    found.options = {"fingerprint": "two"}
    found.at(9)
    assert found.once() == []


def test_input_files_that_changed_before_the_first_decision_are_seen(tide: Tides) -> None:
    found = tide(min_rows=0)
    found.once()
    other = tide(min_rows=0)
    with Store.open(found.root) as store, Store.open(other.root) as fresh:
        package = found.open(store).place.registry.resolve("tide@1")
        files = {name: package.read(name) for name in package.manifest["files"]}
        registry = other.open(fresh).place.registry
        registry.register("tide", files, about=package.manifest["about"], model_digest="0" * 64)
        registry.promote("tide@1", why="by headrace run")
    other.triggers = {"new": NewDataTrigger(NewDataTrigger.Config(rows=10**6))}
    assert "decided" not in other.once()
    other.options = {"fingerprint": "two"}
    other.at(1)
    assert "decided" in other.once()


def test_a_dry_run_goes_on_with_nothing(tide: Tides) -> None:
    found = tide(promote="wait", min_rows=0, cooldown=0)
    with Store.open(found.root) as store:
        controller = found.open(store)
        while (entry := controller._step()) is not None and entry.kind != "decided":
            continue
    found.set(promote="wait", min_rows=0, cooldown=0, dry_run=True)
    assert found.once()[-1] == "held"
    assert "else it would train" in found.log()[-1].body["why"]
    assert found.once() == []
    found.set(promote="wait", min_rows=0, cooldown=0)
    assert found.once()[-1] == "waiting"
    found.say("approved", version=1)
    found.set(promote="wait", min_rows=0, cooldown=0, dry_run=True)
    assert found.once() == ["held"]
    assert "else it would promote version 1" in found.log()[-1].body["why"]
    assert found.champions() == []
    found.set(promote="wait", min_rows=0, cooldown=0)
    assert "promoted" in found.once()


def hurting(tide: Tides, **policy: Any) -> Tide:
    """Version 2 is watched, and the world is as version 1 knew it."""
    found = tide(min_rows=0, cooldown=0, **policy)
    found.once()
    found.source.add(rows(2, range(10, 26), 20, flip=True))
    found.at(26)
    found.once()
    found.say("requested")
    assert "promoted" in found.once()
    assert found.champions()[-1] == (1, 2)
    found.source.add(rows(3, range(26, 31), 20))
    found.at(31)
    return found


def test_a_dry_run_rolls_nothing_back(tide: Tides) -> None:
    found = hurting(tide)
    found.set(min_rows=0, cooldown=0, dry_run=True)
    assert found.once() == ["held"]
    assert "else it would roll back version 2" in found.log()[-1].body["why"]
    assert found.champions()[-1] == (1, 2)
    found.set(min_rows=0, cooldown=0)
    assert found.once()[:2] == ["rolling back", "rolled back"]


@pytest.mark.parametrize("bound", [None, 0.2])
def test_a_former_champion_that_is_damaged_is_told_and_stops_nothing(tide: Tides, bound: float | None) -> None:
    watch = {"length": "7d", "min_rows": 50} | ({"bound": bound, "metric": "log_loss"} if bound else {})
    found = hurting(tide, watch=watch)
    with Store.open(found.root) as store:
        registry = found.open(store).place.registry
        old, new = (registry.resolve(f"tide@{number}").manifest["files"] for number in (1, 2))
    hashes = {json.dumps(old[name]) for name in old} - {json.dumps(new[name]) for name in new}
    digests = {digest for found_in in hashes for digest in re.findall(r"[0-9a-f]{64}", found_in)}
    damaged = [
        path for path in found.root.rglob("*") if path.is_file() and {path.name, path.parent.name + path.name} & digests
    ]
    assert damaged
    for path in damaged:
        path.chmod(0o600)
        path.write_bytes(b"damaged")
    assert found.once() == ["problem"]
    said = found.log()[-1].body["error"]
    assert "version 1, which would be put back, cannot be read" in said
    assert ("there is no way back" in said) == (bound is not None)
    assert found.once() == []
    found.at(34)
    assert found.once()[0] == "ended"
