"""What a person says of a version that the loop waits with: of that wait only, and the last word counts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from headrace import Project
from headrace.errors import RegistryError
from headrace.project.looping import approve, say
from headrace.registry import Registry
from headrace.store import Store
from loop_bench import Tide
from loop_project import World, rows

Tides = Callable[..., Tide]


def waiting_with_the_second(tide: Tides) -> Tide:
    """Version 1 is the champion, and the loop waits with version 2."""
    found = tide(promote="wait", min_rows=0, cooldown=0, watch={"length": 0})
    found.once()
    found.say("approved", version=1)
    found.once()
    found.source.add(rows(2, range(10), 40, flip=True))
    found.at(10)
    found.say("requested")
    assert found.once()[-1] == "waiting"
    assert found.log()[-1].body["version"] == 2
    return found


def test_an_approval_ends_with_the_promotion_that_it_was_for(tide: Tides) -> None:
    found = waiting_with_the_second(tide)
    found.say("approved", version=2)
    assert found.once() == ["promoting", "promoted", "ended"]
    with Store.open(found.root) as store:
        Registry(store, who="a person").rollback("tide", "champion", why="it is bad")
    found.say("requested")
    assert found.once()[-1] == "waiting"
    assert found.champions()[-1] == (2, 1)


def test_the_last_word_counts(tide: Tides) -> None:
    found = waiting_with_the_second(tide)
    found.say("approved", version=2)
    found.say("rejected", version=2)
    assert found.once()[0] == "ended"
    assert found.champions() == [(None, 1)]


def test_who_said_no_may_say_yes(tide: Tides) -> None:
    found = waiting_with_the_second(tide)
    found.say("rejected", version=2)
    found.say("approved", version=2)
    assert "promoted" in found.once()


def test_a_version_that_was_rejected_can_be_approved_of_when_it_comes_again(tide: Tides) -> None:
    found = waiting_with_the_second(tide)
    found.say("rejected", version=2)
    assert found.once()[0] == "ended"
    found.say("requested")
    assert found.once()[-1] == "waiting"
    found.say("approved", version=2)
    assert "promoted" in found.once()


def test_of_another_number_nothing_was_said(tide: Tides) -> None:
    found = waiting_with_the_second(tide)
    found.say("approved", version=1)
    assert "promoting" not in found.once()


def test_the_version_of_another_model_is_not_the_one_that_is_waited_for(tmp_path: Path) -> None:
    worlds = {name: World(tmp_path / name, triggers="", loop='promote = "wait"') for name in ("tide", "ebb")}
    for name, world in worlds.items():
        path = world.folder / "headrace.toml"
        text = path.read_text().replace('name = "tide"', f'name = "{name}"')
        path.write_text(f'{text}\n[store]\npath = "{tmp_path / "store"}"\n')
        world.once()
    with Project(worlds["tide"].folder) as project:
        with pytest.raises(RegistryError, match="of tide does not wait for ebb@1"):
            approve(project, "ebb@1", "approved", "looked at it")
        said: dict[str, Any] = dict(approve(project, "tide@1", "approved", "looked at it").body)
    assert said["version"] == 1
    assert "promoted" in worlds["tide"].once()


def test_a_reason_that_is_no_text_is_written_down_all_the_same(tmp_path: Path) -> None:
    World(tmp_path, triggers="")
    with Project(tmp_path) as project:
        assert say(project, "requested", {"reason": "\udcff!"}).body["reason"] == "\\udcff!"
