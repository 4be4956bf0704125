"""Schedules in time zones, and on the days on which clocks change."""

from __future__ import annotations

import datetime as dt
from types import SimpleNamespace

import pytest
from pydantic import ValidationError

from headrace.builtins.trigger.schedule import ScheduleTrigger


def utc(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC)


def due(cron: str, zone: str, since: str) -> str:
    found = ScheduleTrigger(ScheduleTrigger.Config(cron=cron, timezone=zone)).due(utc(since))
    assert found is not None
    return found.strftime("%Y-%m-%dT%H:%M")


@pytest.mark.parametrize(
    ("cron", "zone", "since", "expected"),
    [
        ("0 3 * * *", "UTC", "2026-01-01T00:00", "2026-01-01T03:00"),
        ("0 3 * * *", "UTC", "2026-01-01T03:00", "2026-01-02T03:00"),
        ("0 3 * * MON", "UTC", "2026-01-01T00:00", "2026-01-05T03:00"),
        ("0 3 * * *", "Europe/Zurich", "2026-01-01T00:00", "2026-01-01T02:00"),
        ("0 3 * * *", "Europe/Zurich", "2026-07-01T00:00", "2026-07-01T01:00"),
        ("0 3 * * *", "America/New_York", "2026-01-01T00:00", "2026-01-01T08:00"),
        # 29 March 2026: from 02:00 to 03:00 there is no time in Zurich; what was due comes right after.
        ("30 2 * * *", "Europe/Zurich", "2026-03-28T12:00", "2026-03-29T01:00"),
        # 25 October 2026: 02:30 exists twice, at 00:30 and at 01:30 UTC; it comes once.
        ("30 2 * * *", "Europe/Zurich", "2026-10-24T12:00", "2026-10-25T00:30"),
        ("30 2 * * *", "Europe/Zurich", "2026-10-25T00:30", "2026-10-26T01:30"),
        # One that names each hour follows the hours as they pass.
        ("0 * * * *", "Europe/Zurich", "2026-03-29T00:30", "2026-03-29T01:00"),
    ],
)
def test_due(cron: str, zone: str, since: str, expected: str) -> None:
    assert due(cron, zone, since) == expected


def test_times_that_were_missed_count_as_one() -> None:
    trigger = ScheduleTrigger(ScheduleTrigger.Config(cron="0 3 * * *"))
    since = utc("2026-01-01T00:00")
    assert trigger.check(SimpleNamespace(since=since, now=utc("2026-01-01T02:59"))) is None
    assert trigger.check(SimpleNamespace(since=since, now=utc("2026-01-01T03:00"))) is not None
    now = utc("2026-02-01T12:00")
    assert trigger.check(SimpleNamespace(since=since, now=now)) is not None
    assert trigger.check(SimpleNamespace(since=now, now=now)) is None


@pytest.mark.parametrize(
    "config", [{"cron": "61 * * * *"}, {"cron": "x"}, {"cron": "0 0 30 2 *"}, {"cron": "0 3 * * *", "timezone": "Mars"}]
)
def test_what_is_no_schedule_is_refused(config: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match=r"no cron expression|no time zone"):
        ScheduleTrigger.Config(**config)
