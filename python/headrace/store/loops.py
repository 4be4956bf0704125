"""What the loop of a project did and why: an append-only log whose entries are chained by their hashes, and a lease.

The log is the loop's only memory: what it does next follows from the entries, so that a process that is killed between
two of them is taken up by the next one. One process at a time may write as the loop. On its own machine it holds an OS
lock, so its death shows at once; for others there is a lease by the database's clock. Whoever takes the lease raises
its epoch, and an entry under an old epoch is refused.
"""

from __future__ import annotations

import hashlib
import socket
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headrace.errors import FencedError, StoreError
from headrace.store.database import from_json, to_text
from headrace.store.locks import FileLock
from headrace.store.parts import canonical_json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from headrace.store.database import Connection, Database

LEASE_SECONDS = 60.0
BEAT_SECONDS = 15.0
ORIGIN = "0" * 64
"""What stands for the hash before the first entry."""

_OPEN = """
INSERT INTO loops (project, last_seq, head, epoch, host, lease_until)
VALUES (:project, 0, :head, 0, '', 0) ON CONFLICT DO NOTHING
"""
_TOUCH = "UPDATE loops SET last_seq = last_seq WHERE project = :project"  # locks the row in PostgreSQL
_TAKE = """
UPDATE loops SET epoch = epoch + 1, host = :host, lease_until = :until
WHERE project = :project AND (host = :host OR lease_until < :now)
"""
_RENEW = "UPDATE loops SET lease_until = :until WHERE project = :project AND epoch = :epoch"
_LET_GO = "UPDATE loops SET lease_until = 0, host = '' WHERE project = :project AND epoch = :epoch"
_ADVANCE = "UPDATE loops SET last_seq = :seq, head = :hash WHERE project = :project"
_STATE = "SELECT * FROM loops WHERE project = :project"
_ADD = """
INSERT INTO loop_log (project, seq, kind, at, who, body, hash)
VALUES (:project, :seq, :kind, :at, :who, :body, :hash)
"""
_LOG = "SELECT * FROM loop_log WHERE project = :project AND seq > :after ORDER BY seq"

_COLUMNS = ("project", "seq", "kind", "at", "who", "body", "hash")
_GUARDS = {
    "sqlite": "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'loop_log'",
    "postgresql": "SELECT tgname AS name FROM pg_trigger WHERE tgrelid = 'loop_log'::regclass AND tgenabled <> 'D'",
}
_GUARD_NAMES = {
    "sqlite": {"loop_log_no_update", "loop_log_no_delete"},
    "postgresql": {"loop_log_no_change", "loop_log_no_truncate"},
}


@dataclass(frozen=True)
class LogEntry:
    """One entry of a project's log. `seq` counts from 1; `at` is seconds since the epoch by the loop's clock."""

    seq: int
    kind: str
    at: float
    who: str
    body: Mapping[str, Any]
    hash: str


@dataclass(frozen=True)
class Verified:
    """What checking a log gave: how many entries, the last hash, and each thing that is wrong."""

    entries: int
    head: str
    problems: tuple[str, ...]


class LoopLease:
    """The right to write as the loop of a project, renewed by a thread of its own until `release`."""

    def __init__(self, loops: Loops, project: str, epoch: int, lock: FileLock) -> None:
        self.project = project
        self.epoch = epoch
        self._loops = loops
        self._lock: FileLock | None = lock
        self._over = threading.Event()
        self._beating = threading.Thread(target=self._beat, daemon=True, name=f"loop lease of {project}")
        self._beating.start()

    @property
    def held(self) -> bool:
        """Whether this process still has the OS lock."""
        return self._lock is not None

    def _beat(self) -> None:
        while not self._over.wait(BEAT_SECONDS):
            # Whoever lost the lease, or cannot reach the database, is told by the next entry, which is refused.
            with suppress(FencedError, StoreError):
                self._loops.renew(self)

    def release(self) -> None:
        """Give the lease back."""
        if self._lock is None:
            return
        self._over.set()
        self._beating.join()
        try:
            self._loops.let_go(self)
        finally:
            self._lock.release()
            self._lock = None


class Loops:
    """The logs and leases of a store's loops."""

    def __init__(self, database: Database, root: Path) -> None:
        self._database = database
        self._root = root

    # --- the log --------------------------------------------------------------------------------------------------

    def append(
        self, project: str, kind: str, body: Mapping[str, Any], *, at: float, who: str, lease: LoopLease | None = None
    ) -> LogEntry:
        """Add an entry, in one transaction with the head of the chain.

        With a `lease`, only while it lasts: else `FencedError`. Without one: what a person says.
        """
        text = canonical_json(dict(body)).decode()
        said = to_text(who) or ""
        with self._database.write() as connection:
            connection.run(_OPEN, {"project": project, "head": ORIGIN})
            connection.run(_TOUCH, {"project": project})
            if lease is not None:
                self._fence(connection, lease)
            (state,) = connection.rows(_STATE, project=project)
            row = {"project": project, "seq": state.last_seq + 1, "kind": kind, "at": float(at), "who": said}
            row |= {"body": text, "hash": _chained(state.head, row, text)}
            connection.run(_ADD, row)
            connection.run(_ADVANCE, {"project": project, "seq": row["seq"], "hash": row["hash"]})
        return LogEntry(row["seq"], kind, float(at), said, from_json(text), row["hash"])

    def entries(self, project: str, *, after: int = 0) -> list[LogEntry]:
        """The entries after number `after`, oldest first."""
        with self._database.read() as connection:
            rows = connection.rows(_LOG, project=project, after=after)
        return [LogEntry(r.seq, r.kind, r.at, r.who, from_json(r.body), r.hash) for r in rows]

    def verify(self, project: str) -> Verified:
        """Compute every hash of the chain anew.

        What was changed, left out or put in shows; that a whole log was written anew, or cut off together with its
        head, does not: compare the head with one that was kept elsewhere.
        """
        with self._database.read() as connection:
            rows = connection.rows(_LOG, project=project, after=0)
            states = connection.rows(_STATE, project=project)
            guards = {row.name for row in connection.rows(_GUARDS[self._database.dialect])}
        head, wrong = check_chain([{key: getattr(row, key) for key in _COLUMNS} for row in rows])
        problems = [wrong] if wrong is not None else []
        if not problems and states and (states[0].head != head or states[0].last_seq != len(rows)):
            problems.append(f"the log ends with entry {len(rows)}, and {states[0].last_seq} were written")
        if not problems and rows and not states:
            problems.append("the log has entries, and no head")
        gone = sorted(_GUARD_NAMES[self._database.dialect] - guards)
        if gone:
            problems.append(f"the database does not refuse changes of the log any more: {', '.join(gone)} is gone")
        return Verified(len(rows), head, tuple(problems))

    # --- who may write --------------------------------------------------------------------------------------------

    def take(self, project: str) -> LoopLease | None:
        """Become the loop of a project, or None while another process is."""
        self._database.require_writable()
        lock = FileLock.try_acquire(self._root / "locks" / f"loop-{_safe(project)}.lock")
        if lock is None:
            return None
        try:
            with self._database.write() as connection:
                connection.run(_OPEN, {"project": project, "head": ORIGIN})
                now = self._database.now(connection)
                row = {"project": project, "host": socket.gethostname(), "now": now, "until": now + LEASE_SECONDS}
                taken = connection.run(_TAKE, row)
                epoch = connection.rows(_STATE, project=project)[0].epoch
        except BaseException:
            lock.release()
            raise
        if not taken:
            lock.release()
            return None
        return LoopLease(self, project, epoch, lock)

    def wait(self, project: str, *, check: Callable[[], None], pause: Callable[[], object]) -> LoopLease:
        """Become the loop of a project, as soon as nobody else is. `check` may raise to stop waiting."""
        while True:
            lease = self.take(project)
            if lease is not None:
                return lease
            check()
            pause()

    def working(self, project: str) -> str | None:
        """The host whose process is the loop of a project now, or None."""
        with self._database.read() as connection:
            now = self._database.now(connection)
            rows = connection.rows(_STATE, project=project)
        return rows[0].host if rows and rows[0].lease_until >= now and rows[0].host else None

    def renew(self, lease: LoopLease) -> None:
        """Make a lease last longer. Raises `FencedError` if it is over."""
        with self._database.write() as connection:
            self._fence(connection, lease)

    def let_go(self, lease: LoopLease) -> None:
        """End a lease in the database."""
        with self._database.write() as connection:
            connection.run(_LET_GO, {"project": lease.project, "epoch": lease.epoch})

    def _fence(self, connection: Connection, lease: LoopLease) -> None:
        until = self._database.now(connection) + LEASE_SECONDS
        row = {"project": lease.project, "epoch": lease.epoch, "until": until}
        if not lease.held or not connection.run(_RENEW, row):
            raise FencedError(
                f"this process is no longer the loop of {lease.project!r}: another one has taken over",
                hint="Nothing was written since. `headrace loop` waits for the other one to end.",
            )


def check_chain(rows: Sequence[Mapping[str, Any]]) -> tuple[str, str | None]:
    """The last hash of rows of `loop_log` that holds, and the first thing that is wrong, or None. Rows by `seq`."""
    before = ORIGIN
    for position, row in enumerate(rows, start=1):
        if row["seq"] != position:
            return before, f"entry {position} is missing: the next one is number {row['seq']}"
        if _hashed(before, row, position) != row["hash"]:
            said = f"entry {position} ({row['kind']}) is not what was written, or one before it is not"
            here = next((other["seq"] for other in rows if _hashed(before, other, position) == other["hash"]), None)
            return before, said if here is None else f"{said}: entry {here} stood here"
        before = row["hash"]
    return before, None


def _hashed(before: str, row: Mapping[str, Any], seq: int) -> str | None:
    """What the hash of a row must be as number `seq`; None where its text is none that was written here."""
    try:
        same = canonical_json(from_json(row["body"])).decode() == row["body"]
        return _chained(before, {**row, "seq": seq}, row["body"]) if same else None
    except (TypeError, ValueError):
        return None


def _chained(before: str, entry: Mapping[str, Any], body: str) -> str:
    """SHA-256 of the hash before and the canonical JSON of an entry, as hex."""
    named = {key: entry[key] for key in ("project", "seq", "kind", "at", "who")} | {"body": from_json(body)}
    return hashlib.sha256(before.encode() + canonical_json(named)).hexdigest()


def _safe(project: str) -> str:
    return hashlib.sha256(project.encode()).hexdigest()[:16]
