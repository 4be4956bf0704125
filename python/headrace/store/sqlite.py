"""SQLite: one file in the store's folder, reached through Python's own driver.

The pragmas and why: `synchronous=FULL`, because a promotion that was answered for must survive a power cut; WAL only
from SQLite 3.51.3, whose earlier versions could lose a reset of the log; `journal_mode=PERSIST` else.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from headrace.errors import StoreError
from headrace.store.database import BUSY_SECONDS, Database

if TYPE_CHECKING:
    from pathlib import Path

    import sqlalchemy as sa

FILE = "headrace.db"
_WAL_IS_SOUND_FROM = (3, 51, 3)
_JOURNAL_BYTES = 4 << 20
_HALF_WRITTEN = (sqlite3.SQLITE_READONLY_ROLLBACK, sqlite3.SQLITE_READONLY_RECOVERY)


class SqliteDatabase(Database):
    """A file. Threads share a few connections; writers of this process queue, those of others wait in SQLite."""

    dialect = "sqlite"

    def __init__(self, root: Path, *, read_only: bool) -> None:
        path = root / FILE
        super().__init__(place=str(path), read_only=read_only)
        self._wal = sqlite3.sqlite_version_info >= _WAL_IS_SOUND_FROM
        mode = "ro" if read_only else "rwc"
        log = path.with_name(f"{path.name}-wal")
        if self._wal and read_only and not os.access(root, os.W_OK) and not log.exists():
            mode += "&immutable=1"  # in WAL mode SQLite needs to write beside the file otherwise
        self._file = path.absolute().as_uri()
        self._uri = f"{self._file}?mode={mode}"
        self._idle: list[sqlite3.Connection] = []
        self._idle_lock = threading.Lock()
        # One writer at a time in this process: threads queue here, where waking is immediate, instead of polling.
        self._turn = threading.Lock()

    def close(self) -> None:
        with self._idle_lock:
            for connection in self._idle:
                connection.close()
            self._idle.clear()

    def backup(self, target: Path) -> None:
        connection = self._connect()
        try:
            connection.execute("VACUUM INTO ?", (str(target),))
        finally:
            connection.close()

    def takes_writes(self) -> bool:
        return not self.read_only and os.access(self.place, os.W_OK)

    @contextmanager
    def _transaction(self, *, write: bool) -> Iterator[SqliteConnection]:
        if not write:
            with self._begun("BEGIN") as connection:
                yield connection
            return
        with self._turn, self._begun("BEGIN IMMEDIATE") as connection:
            yield connection

    @contextmanager
    def _begun(self, begin: str) -> Iterator[SqliteConnection]:
        raw = self._borrow()
        try:
            raw.execute(begin)
            if self.read_only:
                raw = self._undone(raw)
            yield SqliteConnection(raw)
            raw.execute("COMMIT")
        except BaseException:
            # Whatever state it is in, nobody meets it again; closing rolls back.
            raw.close()
            raise
        with self._idle_lock:
            self._idle.append(raw)

    def _undone(self, raw: sqlite3.Connection) -> sqlite3.Connection:
        """A connection that reads, in a transaction, after what a killed writer had begun was undone."""
        try:
            raw.execute("PRAGMA schema_version").fetchone()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode not in _HALF_WRITTEN:
                raise
            raw.close()
            self._recover(error)
            raw = self._connect()
            raw.execute("BEGIN")
        return raw

    def _recover(self, error: sqlite3.OperationalError) -> None:
        """Let SQLite put back what a killed writer had begun, which takes a connection that may write.

        It writes nothing else, and of several that do so at once each does it or finds it done.
        """
        if not os.access(self.place, os.W_OK):
            raise StoreError(
                "a process was killed in the middle of a write, and here nothing can be written that would undo it",
                place=self.place,
                hint="Run `headrace store fsck` as somebody who may write there; it ends what was begun.",
            ) from error
        writing = sqlite3.connect(f"{self._file}?mode=rw", uri=True, timeout=BUSY_SECONDS, isolation_level=None)
        try:
            writing.execute("PRAGMA schema_version").fetchone()
        finally:
            writing.close()

    def _borrow(self) -> sqlite3.Connection:
        with self._idle_lock:
            if self._idle:
                return self._idle.pop()
        return self._connect()

    def _connect(self) -> sqlite3.Connection:
        # Transactions are begun above, by name.
        connection = sqlite3.connect(
            self._uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("PRAGMA recursive_triggers=ON")  # else INSERT OR REPLACE deletes past the triggers
        connection.execute("PRAGMA trusted_schema=OFF")
        if not self.read_only:
            # PERSIST flushes the journal's end, which DELETE leaves to chance, and spares two folder updates.
            connection.execute("PRAGMA journal_mode=WAL" if self._wal else "PRAGMA journal_mode=PERSIST")
            connection.execute(f"PRAGMA journal_size_limit={_JOURNAL_BYTES:d}")
            connection.execute("PRAGMA synchronous=FULL")
        return connection


class SqliteConnection:
    """Implements `headrace.store.database.Connection`."""

    def __init__(self, raw: sqlite3.Connection) -> None:
        self._raw = raw

    def rows(self, sql: str, /, **parameters: Any) -> list[Any]:
        cursor = self._raw.execute(sql, parameters)
        names = [column[0] for column in cursor.description]
        return [SimpleNamespace(**dict(zip(names, row, strict=True))) for row in cursor]

    def run(self, sql: str, rows: Mapping[str, Any] | Iterable[Mapping[str, Any]], /) -> int:
        if isinstance(rows, Mapping):
            return self._raw.execute(sql, rows).rowcount
        return self._raw.executemany(sql, rows).rowcount

    def script(self, sql: str) -> None:
        """Execute several statements, in this transaction; none of them may hold a `;` of its own but triggers."""
        statement = ""
        for line in sql.splitlines(keepends=True):
            statement += line
            if sqlite3.complete_statement(statement):
                self._raw.execute(statement)
                statement = ""

    def execute(self, statement: sa.Executable, parameters: Any = None, /) -> sa.CursorResult[Any]:
        return self.core.execute(statement, parameters)

    @cached_property
    def core(self) -> sa.Connection:
        import sqlalchemy as sa
        from sqlalchemy.pool import StaticPool

        raw = _Lent(self._raw)
        engine = sa.create_engine("sqlite://", creator=lambda: raw, poolclass=StaticPool)
        return engine.connect()


class _Lent:
    """A connection as SQLAlchemy may have it: ending the transaction is left to whoever began it."""

    def __init__(self, raw: sqlite3.Connection) -> None:
        self._raw = raw

    def commit(self) -> None: ...
    def rollback(self) -> None: ...
    def close(self) -> None: ...

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)
