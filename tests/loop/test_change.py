"""Since when the world is another: the trigger tells, the loop waits for rows of it, and trains on those only."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from headrace import Fired
from headrace.builtins.trigger.performance import PerformanceTrigger, change_point
from headrace.builtins.trigger.schedule import ScheduleTrigger
from loop_project import START, rows

Tides = Callable[..., Any]


def by_hand(errors: np.ndarray) -> int | None:
    """Every split, one after the other, by the definition of Student's t with a pooled variance."""
    best, where = 4.0, None
    for split in range(20, len(errors) - 19):
        one, two = errors[:split], errors[split:]
        pooled = (((one - one.mean()) ** 2).sum() + ((two - two.mean()) ** 2).sum()) / (len(errors) - 2)
        rise = (two.mean() - one.mean()) / np.sqrt(pooled * (1 / len(one) + 1 / len(two))) if pooled else 0.0
        if rise > best:
            best, where = rise, split
    return where


@pytest.mark.parametrize("seed", range(12))
def test_the_change_is_where_every_split_by_hand_says(seed: int) -> None:
    chance = np.random.default_rng(seed)
    errors = chance.random(200)
    errors[120:] += [0.0, 0.3, 1.0, -1.0][seed % 4]
    assert change_point(errors) == by_hand(errors)


def test_a_change_is_found_where_it_is_and_none_where_there_is_none() -> None:
    chance = np.random.default_rng(1)
    found = [change_point(np.r_[chance.random(300), chance.random(200) + 0.5]) for _ in range(50)]
    assert all(one is not None and abs(one - 300) <= 15 for one in found)
    assert sum(change_point(chance.random(500)) is not None for _ in range(300)) <= 6
    assert change_point(np.ones(500)) is None
    assert change_point(np.ones(30)) is None


def performance() -> dict[str, Any]:
    return {"performance": PerformanceTrigger(PerformanceTrigger.Config())}


def test_too_few_rows_of_the_new_world_are_waited_for_and_then_only_those_are_trained_on(tide: Tides) -> None:
    found = tide(window="expanding", length=None, change_rows=300)
    found.options["oldest"] = oldest = []
    found.triggers = performance()
    found.once()
    found.source.add(rows(1, range(10), 20))
    found.source.add(rows(2, range(10, 20), 20, flip=True))
    found.at(20)
    assert found.once() == ["held"]
    assert found.log()[-1].body["rule"] == "change"
    assert "300 are waited for" in found.log()[-1].body["why"]
    assert found.once() == []
    found.source.add(rows(3, range(20, 26), 20, flip=True))
    found.at(26)
    assert found.once()[:2] == ["decided", "trained"]
    data = [entry.body for entry in found.log() if entry.kind == "decided"][-1]["data"]
    changed = dt.datetime.fromisoformat(data["change"]["at"])
    assert abs((changed - START).total_seconds() / 86_400 - 10) < 1
    assert data["change"]["used"]
    assert oldest[-1] >= changed


def test_who_has_few_rows_waits_no_longer_than_it_says(tide: Tides) -> None:
    found = tide(change_rows=5000, change_wait="12d")
    found.triggers = performance()
    found.once()
    found.source.add(rows(1, range(10), 20))
    found.source.add(rows(2, range(10, 20), 20, flip=True))
    found.at(20)
    assert found.once() == ["held"]
    found.source.add(rows(3, range(20, 24), 20, flip=True))
    found.at(24)
    assert found.once()[0] == "decided"


def test_a_person_does_not_wait_for_the_change(tide: Tides) -> None:
    found = tide(change_rows=5000)
    found.triggers = performance()
    found.once()
    found.source.add(rows(1, range(10), 20))
    found.source.add(rows(2, range(10, 20), 20, flip=True))
    found.at(20)
    found.say("requested")
    assert found.once()[0] == "decided"


class Lasting:
    def check(self, ctx: Any) -> Fired:
        return Fired("it is still so", lasting=True)


def test_what_asks_again_and_again_is_answered_at_growing_intervals(tide: Tides) -> None:
    found = tide(min_rows=0, budget=50, window="expanding", length=None)
    found.once()
    found.triggers = {"lasting": Lasting()}
    found.options = {"passed": False}
    for day in range(1, 33):
        found.at(day)
        found.once()
    decided = [round((e.at - START.timestamp()) / 86_400) for e in found.log() if e.kind == "decided"]
    assert decided == [0, 1, 3, 7, 15, 31]


ZURICH = ZoneInfo("Europe/Zurich")


@pytest.mark.parametrize(
    ("cron", "zone", "since", "due"),
    [
        # 2026-03-29: at two o'clock it is three in Zurich; what is due in the gap comes right after it.
        ("30 2 * * *", "Europe/Zurich", "2026-03-28T12:00+00:00", "2026-03-29T01:00+00:00"),
        ("0 3 * * *", "Europe/Zurich", "2026-03-28T12:00+00:00", "2026-03-29T01:00+00:00"),
        ("0 3 * * *", "Europe/Zurich", "2026-03-29T12:00+00:00", "2026-03-30T01:00+00:00"),
        # 2026-10-25: three o'clock is two again; what is due in that hour comes once, the first time.
        ("30 2 * * *", "Europe/Zurich", "2026-10-24T12:00+00:00", "2026-10-25T00:30+00:00"),
        ("30 2 * * *", "Europe/Zurich", "2026-10-25T00:30+00:00", "2026-10-26T01:30+00:00"),
        ("0 3 * * *", "UTC", "2026-03-28T12:00+00:00", "2026-03-29T03:00+00:00"),
        # New York changes on other days than Zurich.
        ("30 2 * * *", "America/New_York", "2026-03-08T00:00+00:00", "2026-03-08T07:00+00:00"),
        # Every hour follows the clock on the wall: none is left out in the hour that comes twice.
        ("0 * * * *", "Europe/Zurich", "2026-10-25T00:00+00:00", "2026-10-25T01:00+00:00"),
        ("0 0 29 2 *", "UTC", "2026-03-01T00:00+00:00", "2028-02-29T00:00+00:00"),
        ("0 3 * * MON", "Asia/Kathmandu", "2026-11-22T00:00+00:00", "2026-11-22T21:15+00:00"),
    ],
)
def test_times_of_the_schedule_in_zones_whose_clocks_change(cron: str, zone: str, since: str, due: str) -> None:
    trigger = ScheduleTrigger(ScheduleTrigger.Config(cron=cron, timezone=zone))
    assert trigger.due(dt.datetime.fromisoformat(since)) == dt.datetime.fromisoformat(due)


def test_a_nightly_run_comes_once_each_night_of_the_year() -> None:
    trigger = ScheduleTrigger(ScheduleTrigger.Config(cron="30 2 * * *", timezone="Europe/Zurich"))
    at, nights = dt.datetime(2026, 1, 1, tzinfo=dt.UTC), []
    while (at := trigger.due(at)) and at.year == 2026:
        nights.append(at.astimezone(ZURICH).date())
    assert nights == [dt.date(2026, 1, 1) + dt.timedelta(days=n) for n in range(365)]
