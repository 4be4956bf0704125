"""What went wrong is open until it is over, and then it is closed: on the status screen and in the timeline."""

from __future__ import annotations

import datetime as dt
import math
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from headrace import Fired
from headrace.errors import DataError
from headrace.loop.bounded import BoundedTrigger
from headrace.loop.notices import notices_of
from headrace.loop.report import incidents
from headrace.store import Store
from headrace.store.loops import LogEntry
from loop_bench import Tide
from loop_project import START, rows


class Moody:
    def __init__(self) -> None:
        self.error: Exception | None = None

    def check(self, _context: Any) -> None:
        if self.error is not None:
            raise self.error


class Answers:
    """A trigger that gives what it is told to give."""

    def __init__(self, found: Any = None, due: Any = None) -> None:
        self.found = found
        self.when = due

    def check(self, _context: Any) -> Any:
        return self.found

    def due(self, _since: Any) -> Any:
        if isinstance(self.when, Exception):
            raise self.when
        return self.when


def state(tide: Tide) -> list[tuple[str, bool]]:
    return [(one["what"], one["until"] is None) for one in incidents(tide.log())]


def test_a_trigger_that_raises_is_open_until_it_does_not(tide: Callable[..., Tide]) -> None:
    found = tide()
    moody = found.triggers["moody"] = Moody()
    found.once()
    moody.error = RuntimeError("no")
    assert found.once() == ["problem"]
    assert found.once() == []
    assert state(found) == [("moody", True)]
    moody.error = None
    assert found.once() == ["resolved"]
    assert found.once() == []
    assert state(found) == [("moody", False)]
    moody.error = RuntimeError("no")
    assert found.once() == ["problem"]
    assert state(found) == [("moody", False), ("moody", True)]
    del found.triggers["moody"]  # nobody asks it any more
    assert found.once() == ["resolved"]


def test_a_run_that_is_decided_does_not_close_what_is_still_wrong(tide: Callable[..., Tide]) -> None:
    found = tide()
    moody = found.triggers["moody"] = Moody()
    found.once()
    moody.error = RuntimeError("no")
    found.once()
    found.say("requested", reason="now")
    assert "decided" in found.once()
    assert state(found) == [("moody", True)]


def test_live_rows_that_cannot_be_read_are_open_until_they_can(tide: Callable[..., Tide], monkeypatch: Any) -> None:
    found = tide()
    found.once()

    def broken(_until: Any) -> Any:
        raise DataError("it is no Parquet", place="live/a.parquet")

    found.source.add(rows(1, range(1), 10))
    monkeypatch.setattr(found.source, "frame", broken)
    assert found.once() == ["problem"]
    assert state(found) == [("live rows", True)]
    monkeypatch.undo()
    assert found.once() == ["resolved"]
    assert state(found) == [("live rows", False)]
    assert found.kinds()[-1] == "resolved"


def test_what_is_over_is_said_though_something_else_is_held(tide: Callable[..., Tide], monkeypatch: Any) -> None:
    found = tide()
    found.once()

    def broken(_until: Any) -> Any:
        raise DataError("it is no Parquet", place="live/a.parquet")

    monkeypatch.setattr(found.source, "frame", broken)
    found.once()
    monkeypatch.undo()
    found.set(dry_run=True)
    found.say("requested", reason="now")
    assert found.once() == ["held", "resolved"]
    assert found.once() == []
    assert state(found) == [("live rows", False)]


def test_a_failed_run_is_open_until_another_gives_a_version(tide: Callable[..., Tide]) -> None:
    found = tide()
    found.once()
    found.options["status"] = "failed"
    found.say("requested", reason="now")
    found.once()
    assert state(found) == [("run", True)]
    found.options.clear()
    found.say("requested", reason="again")
    found.once()
    assert state(found) == [("run", False)]


def test_a_log_of_before_is_read(tide: Callable[..., Tide]) -> None:
    """Problems that were written before there was `resolved` are closed by the next look."""
    found = tide()
    found.once()
    with Store.open(found.root) as store:
        body = {"key": "old: no", "trigger": "old", "error": "no"}
        store.loops.append("tide", "problem", body, at=found.clock.at, who="headrace loop")
    assert found.once() == ["resolved"]


def test_each_incident_says_since_when_and_which_entries() -> None:
    def entry(seq: int, kind: str, **body: Any) -> LogEntry:
        return LogEntry(seq, kind, float(seq), "loop", body, "")

    log = [
        entry(1, "problem", key="a: x", trigger="a", error="x"),
        entry(2, "problem", key="b: y", trigger="b", error="y"),
        entry(3, "resolved", key="a: x", trigger="a", error="x"),
    ]
    first = {"seq": 1, "what": "a", "said": "x", "since": 1.0, "until": 3.0, "closed_by": 3}
    second = {"seq": 2, "what": "b", "said": "y", "since": 2.0, "until": None, "closed_by": None}
    assert incidents(log) == [first, second]
    assert incidents(log, open_only=True) == [second]


class Slow:
    def __init__(self) -> None:
        self.go = threading.Event()
        self.calls = 0

    def check(self, _context: Any) -> None:
        self.calls += 1
        self.go.wait(30)

    def due(self, _since: Any) -> None:
        self.go.wait(30)


def test_a_plugin_that_hangs_is_named_and_does_not_stop_the_loop(tide: Callable[..., Tide]) -> None:
    found = tide()
    slow = Slow()
    found.once()
    found.triggers["slow"] = BoundedTrigger(slow, 0.1)  # type: ignore[arg-type]
    assert found.once() == ["problem"]
    (problem,) = [entry for entry in found.log() if entry.kind == "problem"]
    assert [notice.event for notice in notices_of(problem, {})] == ["plugin_hung"]
    assert "hangs" in problem.body["error"]
    before = threading.active_count()
    found.say("requested", reason="now")
    assert "decided" in found.once()  # the loop goes on, and
    assert (slow.calls, threading.active_count()) == (1, before)  # a hanging plugin is not called again
    assert state(found) == [("slow", True)]
    with Store.open(found.root) as store:
        assert found.open(store).due() > found.clock.at
    slow.go.set()
    for thread in threading.enumerate():
        if thread.name == "trigger of the loop":
            thread.join(5)
    found.at(2)
    assert "resolved" in found.once()
    assert state(found) == [("slow", False)]


def test_a_plugin_that_raises_or_ends_the_process_is_a_problem_as_before(tide: Callable[..., Tide]) -> None:
    found = tide()
    found.once()

    class Ends:
        def check(self, _context: Any) -> None:
            raise SystemExit(3)

    found.triggers["ends"] = BoundedTrigger(Ends(), 5.0)  # type: ignore[arg-type]
    assert found.once() == ["problem"]
    assert "tried to end the process" in found.log()[-1].body["error"]


def test_a_problem_whose_words_differ_at_each_look_is_told_once(tide: Callable[..., Tide]) -> None:
    found = tide()
    moody = found.triggers["moody"] = Moody()
    found.once()
    written = []
    for number in range(4):
        moody.error = RuntimeError(f"no, for the {number}th time")
        written += found.once()
    moody.error = None
    written += found.once()
    assert written == ["problem", "resolved"]
    assert state(found) == [("moody", False)]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Fired("x", {"value": np.float32(1)}), "`evidence` of what it gave is no JSON"),  # type: ignore[dict-item]
        (Fired("x", {"value": math.nan}), "`evidence` of what it gave is no JSON"),
        (Fired("x", {1: 2}), "`evidence` of what it gave is no JSON"),  # type: ignore[dict-item]
        (Fired("\ud800"), "is no JSON"),
        (Fired(7), "`why` of what it gave is int"),  # type: ignore[arg-type]
        (Fired("x", changed=dt.datetime(2026, 1, 1)), "`changed` of what it gave is"),  # noqa: DTZ001
        ("yes", "`check` gave str"),
        (True, "`check` gave bool"),
    ],
)
def test_what_a_plugin_gives_that_cannot_be_written_down_is_a_problem(
    tide: Callable[..., Tide], answer: Any, said: str
) -> None:
    found = tide()
    found.once()
    found.at(2)
    found.triggers["odd"] = BoundedTrigger(Answers(answer), 5.0)  # type: ignore[arg-type]
    assert found.once() == ["problem"]
    assert said in found.log()[-1].body["error"]
    found.say("requested", reason="now")
    assert "decided" in found.once()


@pytest.mark.parametrize(
    ("due", "said"),
    [
        (RuntimeError("oh"), "`due` raised RuntimeError: oh"),
        (dt.datetime(2026, 1, 1), "what `due` gave is"),  # noqa: DTZ001
        ("tomorrow", "what `due` gave is 'tomorrow'"),
    ],
)
def test_a_plugin_that_cannot_say_when_it_is_due_is_a_problem(tide: Callable[..., Tide], due: Any, said: str) -> None:
    found = tide()
    found.once()
    inner = Answers(due=due)
    found.triggers["odd"] = BoundedTrigger(inner, 5.0)  # type: ignore[arg-type]
    with Store.open(found.root) as store:
        assert found.open(store).due() > found.clock.at
    assert found.once() == ["problem"]
    assert said in found.log()[-1].body["error"]
    inner.when = START + dt.timedelta(minutes=30)
    with Store.open(found.root) as store:
        assert found.open(store).due() == inner.when.timestamp()
    assert found.once() == ["resolved"]
