"""Schedules in time zones, and on the days on which clocks change."""

from __future__ import annotations

import datetime as dt
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
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


ZONES = ["Europe/Zurich", "America/New_York", "Australia/Lord_Howe", "America/Santiago", "Asia/Kolkata", "UTC"]
CHANGES = [
    dt.datetime(2026, 10, 25, tzinfo=dt.UTC),
    dt.datetime(2026, 11, 1, tzinfo=dt.UTC),
    dt.datetime(2026, 4, 4, tzinfo=dt.UTC),
    dt.datetime(2026, 3, 29, tzinfo=dt.UTC),
]


@given(
    minute=st.sampled_from(["0", "30", "59", "*/15", "*"]),
    hour=st.sampled_from(["0", "1", "2", "3", "*", "1-3", "*/2"]),
    zone=st.sampled_from(ZONES),
    change=st.sampled_from(CHANGES),
    minutes=st.integers(-600, 2000),
)
def test_what_is_due_comes_after_also_where_an_hour_exists_twice(
    minute: str, hour: str, zone: str, change: dt.datetime, minutes: int
) -> None:
    since = change + dt.timedelta(minutes=minutes)
    trigger = ScheduleTrigger(ScheduleTrigger.Config(cron=f"{minute} {hour} * * *", timezone=zone))
    found = trigger.due(since)
    assert found is not None
    # An hour that does not exist may be a day that is left out: with `*` the clock on the wall is followed.
    assert since < found <= since + dt.timedelta(hours=50)


def test_within_the_second_of_two_equal_hours_the_first_is_past() -> None:
    assert due("30 2 * * *", "Europe/Zurich", "2026-10-25T01:10") == "2026-10-26T01:30"


def test_times_that_were_missed_count_as_one() -> None:
    trigger = ScheduleTrigger(ScheduleTrigger.Config(cron="0 3 * * *"))
    since = utc("2026-01-01T00:00")
    assert trigger.check(SimpleNamespace(since=since, now=utc("2026-01-01T02:59"))) is None
    assert trigger.check(SimpleNamespace(since=since, now=utc("2026-01-01T03:00"))) is not None
    now = utc("2026-02-01T12:00")
    assert trigger.check(SimpleNamespace(since=since, now=now)) is not None
    assert trigger.check(SimpleNamespace(since=now, now=now)) is None


@pytest.mark.parametrize(
    "config",
    [
        {"cron": "61 * * * *"},
        {"cron": "0 0 3 * * *"},
        {"cron": "x"},
        {"cron": "0 0 30 2 *"},
        {"cron": "0 3 * * *", "timezone": "Mars"},
    ],
)
def test_what_is_no_schedule_is_refused(config: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match=r"no cron expression|no time zone"):
        ScheduleTrigger.Config(**config)
