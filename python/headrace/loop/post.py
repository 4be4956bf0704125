"""The post: takes the news in the loop's log to those who want it, and writes down what became of it.

The log is the memory here too. `notifying` says from which entry on somebody is told; `notified` that a notice was
taken; `not notified` that it was not, why, and when it is tried again. A notice is sent, and then written down: a
process that is killed between the two sends it once more, under the same id. Nothing here stops or breaks the loop.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from headrace.errors import HeadraceError, printable
from headrace.loop.mailbox import Key, Mailbox, mailboxes
from headrace.loop.notices import EVENTS, notices_of
from headrace.loop.policy import WEEK
from headrace.loop.state import NOT_NOTIFIED, NOTIFIED, NOTIFYING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from headrace.loop.clock import Clock
    from headrace.loop.notices import Notice
    from headrace.store.loops import LogEntry, LoopLease, Loops

WAITS = (60.0, 300.0, 1800.0, 7200.0, 43_200.0)
"""Seconds after each failure until it is tried again; after one more failure, never."""
STALE = WEEK
"""What is older was not delivered while it was news."""
_LONGEST = 500


@dataclass(frozen=True)
class Subscriber:
    """Somebody who is told: `make` gives what sends, and is called when the first notice is sent."""

    name: str
    make: Callable[[], Any]
    events: frozenset[str] = frozenset(EVENTS)
    timeout: float = 10.0


Answer = tuple[str | None, str | None]
"""What went wrong, or None; and what the notifier remarked."""


@dataclass(frozen=True)
class _Sending:
    """A notice that is being sent: what has become of it is in `answer` when the thread has ended."""

    key: Key
    thread: threading.Thread
    answer: list[Answer]


@dataclass
class Post:
    """Delivers the news of one project's loop, while this process has its lease."""

    project: str
    model: str
    loops: Loops
    clock: Clock
    subscribers: Sequence[Subscriber]
    uses: Mapping[str, str]
    lease: LoopLease | None = None
    who: str = "headrace loop"
    told: Callable[[LogEntry], object] = field(default=lambda _entry: None)
    _seq: int = 0
    _last_at: float = 0.0
    _boxes: dict[str, Mailbox] = field(default_factory=dict)
    _news: list[Notice] = field(default_factory=list)
    _made: dict[str, Any] = field(default_factory=dict)
    _late: dict[str, _Sending] = field(default_factory=dict)
    """What did not come back in time, by subscriber: it may still arrive, so nothing else is sent until it ended."""

    def begin(self) -> None:
        """Write down from where on subscribers are told who were not there before."""
        self._read()
        for subscriber in self.subscribers:
            if subscriber.name not in self._boxes:
                self._write(NOTIFYING, {"notifier": subscriber.name, "after": self._seq})
        self._read()

    def deliver(self) -> None:
        """Send what is due. Takes at most each subscriber's `timeout` for one that fails or hangs."""
        self._read()
        for subscriber in self.subscribers:
            self._deliver(subscriber)
        self._read()

    def due(self) -> float | None:
        """When something is to be sent again, or None."""
        found = [
            self._boxes[one.name].until(one.events)
            for one in self.subscribers
            if one.name in self._boxes and not self._hangs(one)
        ]
        return min((until for until in found if until is not None), default=None)

    def _hangs(self, subscriber: Subscriber) -> bool:
        late = self._late.get(subscriber.name)
        return late is not None and late.thread.is_alive()

    def _deliver(self, subscriber: Subscriber) -> None:
        if subscriber.name not in self._boxes or self._hangs(subscriber):
            return
        self._arrived(subscriber)
        box = self._boxes[subscriber.name]
        for notice in list(self._news):
            key = (notice.of, notice.event)
            if notice.of <= box.after or notice.event not in subscriber.events or key in box.done:
                continue
            before = box.failed.get(key)
            if notice.at < self._now() - STALE if before is None else self._now() < float(before["until"]):
                continue
            attempt = 1 + (int(before["attempt"]) if before else 0)
            error, remark = self._send(subscriber, notice)
            said = {"notifier": subscriber.name, "of": notice.of, "event": notice.event, "attempt": attempt}
            if error is None:
                self._write(NOTIFIED, said | ({"remark": remark} if remark else {}))
                continue
            until = self._now() + WAITS[attempt - 1] if attempt <= len(WAITS) else None
            self._write(NOT_NOTIFIED, said | {"error": error, "until": until})
            return

    def _arrived(self, subscriber: Subscriber) -> None:
        """Write down what was taken after all, though later than `timeout`: it is not sent again."""
        late = self._late.pop(subscriber.name, None)
        if late is None or not late.answer or late.answer[0][0] is not None:
            return
        of, event = late.key
        said = {"notifier": subscriber.name, "of": of, "event": event, "remark": late.answer[0][1] or "it came late"}
        self._write(NOTIFIED, said)
        self._read()

    def _send(self, subscriber: Subscriber, notice: Notice) -> Answer:
        """Send it in a thread, since a stranger's code may hang."""
        answer: list[Answer] = []
        document = notice.document(self.project, self.model)

        def work() -> None:
            try:
                if subscriber.name not in self._made:
                    self._made[subscriber.name] = subscriber.make()
                remark = self._made[subscriber.name].send(document)
                answer.append((None, _short(remark) if isinstance(remark, str) else None))
            except BaseException as error:  # noqa: BLE001  # a stranger's code; what it raised is recorded
                # Only our own errors are known to hold no secret; the log keeps what is in it for good.
                named = error.message if isinstance(error, HeadraceError) else f"it raised {type(error).__name__}"
                answer.append((_short(named), None))

        thread = threading.Thread(target=work, daemon=True, name=f"notifier {subscriber.name}")
        thread.start()
        thread.join(subscriber.timeout)
        if answer:
            return answer[0]
        self._late[subscriber.name] = _Sending((notice.of, notice.event), thread, answer)
        return f"it did not come back within {subscriber.timeout:g} s", None

    def _now(self) -> float:
        return max(self.clock.now(), self._last_at)

    def _read(self) -> None:
        for entry in self.loops.entries(self.project, after=self._seq):
            self._seq, self._last_at = entry.seq, max(self._last_at, entry.at)
            self._news += notices_of(entry, self.uses)
            mailboxes([entry], self._boxes)

    def _write(self, kind: str, body: Mapping[str, Any]) -> None:
        entry = self.loops.append(self.project, kind, body, at=self._now(), who=self.who, lease=self.lease)
        self.told(entry)


def _short(said: str) -> str:
    return printable(said).replace("\n", " ")[:_LONGEST]
