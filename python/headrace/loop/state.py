"""What the log says: where the loop stands. Nothing else remembers anything, so a killed process is no special case."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from headrace.store.loops import LogEntry

Phase = Literal["idle", "train", "judge", "promote", "wait", "watch", "roll back"]

BEGUN, REQUESTED, PAUSED, RESUMED = "begun", "requested", "paused", "resumed"
APPROVED, REJECTED = "approved", "rejected"
HELD, PROBLEM, DECIDED, TRAINED = "held", "problem", "decided", "trained"
WAITING, PROMOTING, PROMOTED = "waiting", "promoting", "promoted"
ROLLING_BACK, ROLLED_BACK, ENDED = "rolling back", "rolled back", "ended"

MOVED = "moved"
"""That the champion was changed by somebody else: see `headrace.loop.moves`."""
RESOLVED = "resolved"
"""That what a problem said is over; the body has its `key`."""
NOTIFYING, NOTIFIED, NOT_NOTIFIED = "notifying", "notified", "not notified"
"""What became of news: see `headrace.loop.post`."""
_ASIDE = frozenset({HELD, NOTIFYING, NOTIFIED, NOT_NOTIFIED, PROBLEM, RESOLVED, MOVED})
"""What changes nothing of what is held back."""

FOLLOW_UP = "follow-up"
"""The reason of a run that follows a promotion which answered a change of the world."""
_TAKEN_BACK: Mapping[str, Any] = MappingProxyType({"changed_at": None, "change": None, "settled": False})
PERSONS = frozenset({REQUESTED, PAUSED, RESUMED, APPROVED, REJECTED})
"""What a person says, at any time and without a lease."""


@dataclass(frozen=True)
class Cycle:
    """One way from a decision to its end. The mappings are the bodies of the entries, empty where there is none yet."""

    number: int
    decided: Mapping[str, Any]
    at: float
    trained: Mapping[str, Any] = field(default_factory=dict)
    promoting: Mapping[str, Any] = field(default_factory=dict)
    promoted: Mapping[str, Any] = field(default_factory=dict)
    promoted_at: float | None = None
    rolling_back: Mapping[str, Any] = field(default_factory=dict)

    @property
    def version(self) -> int | None:
        """The version that came of it."""
        return self.trained.get("version")


@dataclass(frozen=True)
class Incident:
    """What went wrong and is not over: since which entry and when, whose it is, and what it said."""

    seq: int
    at: float
    what: str
    said: str


@dataclass(frozen=True)
class State:
    """Where the loop of a project stands after `seq` entries. Times in seconds since the epoch."""

    seq: int = 0
    last_at: float = 0.0
    begun_at: float | None = None
    phase: Phase = "idle"
    cycle: Cycle | None = None
    cycles: int = 0
    paused: str | None = None
    requests: tuple[tuple[int, str], ...] = ()
    """What persons asked for and no decision has taken up yet: number of the entry, reason."""
    answer: str | None = None
    """What a person said last of the version that the loop waits with: `approved` or `rejected`. Of this wait only:
    the same version may come of another run, in another world."""
    decided: tuple[float, ...] = ()
    """When runs were decided."""
    last_data: Mapping[str, Any] = field(default_factory=dict)
    """The data of the last decision; before the first, the input files as they were when the loop began."""
    resting_from: float | None = None
    """From when on the cooldown counts."""
    changed_at: float | None = None
    """When a version was promoted because something fired, if no run was decided since."""
    followed: int = 0
    """How many runs in a row were decided to follow up a promotion."""
    change: Mapping[str, Any] | None = None
    """What the last run knew of a change of the world: `at` (ISO 8601), `trigger`, `rows` (labelled since then), and
    `used`: whether it was on those only."""
    settled: bool = False
    """Whether a version that was made for that change was promoted."""
    fruitless: int = 0
    """Runs in a row that came to nothing."""
    held: Mapping[str, Any] | None = None
    """The body of the last entry, where that says that nothing is done."""
    moves: int | None = None
    """How many moves of the champion there had been when the loop began, or one by somebody else was last written down.
    None: nobody noted it."""
    problems: Mapping[str, Incident] = field(default_factory=dict)
    """What went wrong and is not over, by its key."""


def fold(entries: Iterable[LogEntry], state: State | None = None) -> State:
    """The state after `entries`, which follow on `state`."""
    state = state or State()
    for entry in entries:
        state = _after(state, entry)
    return state


def _after(state: State, entry: LogEntry) -> State:
    body = entry.body
    state = replace(state, seq=entry.seq, last_at=max(state.last_at, entry.at))
    if entry.kind not in _ASIDE:
        state = replace(state, held=None)
    match entry.kind:
        case "begun":
            seen = {"inputs": body["inputs"]} if "inputs" in body else {}
            return replace(state, begun_at=entry.at, moves=body.get("moves"), last_data=seen or state.last_data)
        case "moved":
            return replace(state, moves=body["move"])
        case "requested":
            return replace(state, requests=(*state.requests, (entry.seq, str(body.get("reason", "")))))
        case "paused":
            return replace(state, paused=str(body.get("reason", "")) or "by hand")
        case "resumed":
            return replace(state, paused=None)
        case "approved" | "rejected":
            meant = state.phase == "wait" and state.cycle is not None and state.cycle.version == body["version"]
            return replace(state, answer=entry.kind) if meant else state
        case "held":
            return replace(state, held=body)
        case "problem":
            found = Incident(entry.seq, entry.at, str(body["trigger"]), str(body["error"]))
            return replace(state, problems={**state.problems, str(body["key"]): found})
        case "resolved":
            return replace(state, problems={k: v for k, v in state.problems.items() if k != body["key"]})
        case "decided":
            taken = set(body["requests"])
            follows = any(reason["trigger"] == FOLLOW_UP for reason in body["reasons"])
            return replace(
                state,
                phase="train",
                cycle=Cycle(body["cycle"], body, entry.at),
                cycles=body["cycle"],
                requests=tuple(r for r in state.requests if r[0] not in taken),
                decided=(*state.decided, entry.at),
                last_data=body["data"],
                resting_from=entry.at,
                changed_at=None,
                followed=state.followed + 1 if follows else 0,
                change=body["data"].get("change"),
                settled=state.settled and body["data"].get("change", {}).get("at") == (state.change or {}).get("at"),
            )
    return _in_cycle(state, entry)


def _in_cycle(state: State, entry: LogEntry) -> State:
    cycle, body = state.cycle, entry.body
    if cycle is None:
        return state
    match entry.kind:
        case "trained":
            return replace(state, phase="judge", cycle=replace(cycle, trained=body))
        case "waiting":
            return replace(state, phase="wait", answer=None)
        case "promoting":
            return replace(state, phase="promote", cycle=replace(cycle, promoting=body))
        case "promoted":
            lasting = any(reason.get("lasting") for reason in cycle.decided["reasons"])
            state = replace(state, phase="watch", cycle=replace(cycle, promoted=body, promoted_at=entry.at))
            settled = state.settled or bool((state.change or {}).get("used"))
            return replace(state, changed_at=entry.at if lasting else None, settled=settled, fruitless=0)
        case "rolling back":
            return replace(state, phase="roll back", cycle=replace(cycle, rolling_back=body))
        case "rolled back":
            # What was made for the change did harm, so there was none, or it is over.
            return replace(
                state, phase="idle", cycle=None, **_TAKEN_BACK, resting_from=entry.at, fruitless=state.fruitless + 1
            )
        case "ended":
            more = body["outcome"] in ("kept", "failed")
            # The first that follows may be too early to tell; a second one has more rows to be judged by.
            again = entry.at if more and state.followed == 1 else state.changed_at
            return replace(state, phase="idle", cycle=None, fruitless=state.fruitless + more, changed_at=again)
    return state
