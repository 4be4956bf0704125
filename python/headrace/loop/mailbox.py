"""What the log says of somebody who is told: since when, what was taken, what is to be sent again."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from headrace.loop.state import NOT_NOTIFIED, NOTIFIED, NOTIFYING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from headrace.store.loops import LogEntry

Key = tuple[int, str]
"""Which notice: the number of the entry, and the event."""


@dataclass
class Mailbox:
    """What the log says of one subscriber."""

    after: int
    done: set[Key] = field(default_factory=set)
    failed: dict[Key, Mapping[str, Any]] = field(default_factory=dict)
    """What is to be tried again, with the body of the last failure."""
    given_up: int = 0
    last_error: str | None = None
    """Why the last delivery failed; None if it did not."""

    def waiting(self, events: Collection[str] | None = None) -> list[Mapping[str, Any]]:
        """What is to be tried again of these events (None: of all): nobody sends any more what is not asked for."""
        return [body for (_, event), body in self.failed.items() if events is None or event in events]

    def until(self, events: Collection[str] | None = None) -> float | None:
        """When the next one of these events is tried again; None: there is none."""
        return min((float(body["until"]) for body in self.waiting(events)), default=None)


def mailboxes(entries: Iterable[LogEntry], known: dict[str, Mailbox] | None = None) -> dict[str, Mailbox]:
    """The mailboxes after these entries, which follow on `known`, by name."""
    found = {} if known is None else known
    for entry in entries:
        if entry.kind == NOTIFYING:
            found[str(entry.body["notifier"])] = Mailbox(int(entry.body["after"]))
        elif entry.kind in (NOTIFIED, NOT_NOTIFIED):
            box = found.get(str(entry.body["notifier"]))
            if box is not None:
                _file(box, entry)
    return found


def _file(box: Mailbox, entry: LogEntry) -> None:
    body = entry.body
    key = (int(body["of"]), str(body["event"]))
    box.failed.pop(key, None)
    box.last_error = None if entry.kind == NOTIFIED else str(body["error"])
    if entry.kind == NOT_NOTIFIED and body["until"] is not None:
        box.failed[key] = body
        return
    if entry.kind == NOT_NOTIFIED:
        box.given_up += 1
    elif key in box.done:  # given up, and taken after all
        box.given_up -= 1
    box.done.add(key)
