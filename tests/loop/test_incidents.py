"""What went wrong is open until it is over, and then it is closed: on the status screen and in the timeline."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from headrace.errors import DataError
from headrace.loop.report import incidents
from headrace.store import Store
from headrace.store.loops import LogEntry
from loop_bench import Tide
from loop_project import rows


class Moody:
    def __init__(self) -> None:
        self.error: Exception | None = None

    def check(self, _context: Any) -> None:
        if self.error is not None:
            raise self.error


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
