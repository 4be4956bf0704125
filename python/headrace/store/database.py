"""The database: its engine, its pragmas, its transactions, and its errors in plain words.

SQLite is one file in the store's folder; PostgreSQL is a URL. Only this module opens either. In SQLite every writing
transaction begins with BEGIN IMMEDIATE, so that it waits for its turn at the start, where waiting is harmless, and
never fails in the middle.
"""

from __future__ import annotations

import json
import math
import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.pool import QueuePool

from headrace.errors import MissingExtraError, StoreError

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy.engine import Connection, Engine

SQLITE_FILE = "headrace.db"
_WAL_IS_SOUND_FROM = (3, 51, 3)
_BUSY_SECONDS = 60.0
_JOURNAL_BYTES = 4 << 20
_ADVISORY_KEY = 0x6865616472616365  # "headrace": one lock for everything that must not meet the garbage collector


class Database:
    """One engine, made for one process. A forked child opens its own."""

    def __init__(self, engine: Engine, *, place: str, read_only: bool) -> None:
        self.engine = engine
        self.place = place
        self.read_only = read_only
        self.dialect = engine.dialect.name
        self._pid = os.getpid()
        self._writer = engine.execution_options(headrace_write=True)
        # One writer at a time in this process: threads queue here, where waking is immediate, instead of polling.
        self._turn = threading.Lock()

    @classmethod
    def sqlite(cls, root: Path, *, read_only: bool = False) -> Database:
        """The database in the store's folder."""
        import sqlite3

        path = root / SQLITE_FILE
        query = {"uri": "true", "mode": "ro" if read_only else "rwc"}
        wal = sqlite3.sqlite_version_info >= _WAL_IS_SOUND_FROM
        log = path.with_name(f"{path.name}-wal")
        if wal and read_only and not os.access(root, os.W_OK) and not log.exists():
            query["immutable"] = "1"  # in WAL mode SQLite needs to write beside the file otherwise
        engine = sa.create_engine(
            sa.URL.create("sqlite", database=path.absolute().as_uri(), query=query),
            poolclass=QueuePool,
            pool_size=4,
            max_overflow=-1,
            connect_args={"timeout": _BUSY_SECONDS, "check_same_thread": False},
        )

        def prepare(connection: Any, _record: object) -> None:
            connection.isolation_level = None  # transactions are begun below, by name
            cursor = connection.cursor()
            cursor.execute("PRAGMA foreign_keys=ON")
            cursor.execute("PRAGMA recursive_triggers=ON")  # else INSERT OR REPLACE deletes past the triggers
            cursor.execute("PRAGMA trusted_schema=OFF")
            if not read_only:
                # PERSIST flushes the journal's end, which DELETE leaves to chance, and spares two folder updates.
                cursor.execute(f"PRAGMA journal_mode={'WAL' if wal else 'PERSIST'}")
                cursor.execute(f"PRAGMA journal_size_limit={_JOURNAL_BYTES}")
                cursor.execute("PRAGMA synchronous=FULL")
            cursor.close()

        def begin(connection: Connection) -> None:
            if connection.get_execution_options().get("headrace_write", False):
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            else:  # takes no lock and cannot fail: the short way is enough
                raw: Any = connection.connection.dbapi_connection
                raw.execute("BEGIN")

        sa.event.listen(engine, "connect", prepare)
        sa.event.listen(engine, "begin", begin)
        return cls(engine, place=str(path), read_only=read_only)

    @classmethod
    def postgresql(cls, url: str, *, read_only: bool = False) -> Database:
        """A PostgreSQL database by URL. Raises `StoreError` for any other, `MissingExtraError` without a driver."""
        try:
            parsed = sa.make_url(url)
        except ArgumentError as error:
            raise StoreError(
                "the store's URL cannot be read", place="[store] url", hint="Write postgresql://USER@HOST/DATABASE."
            ) from error
        if parsed.get_backend_name() != "postgresql":
            raise StoreError(
                f"the store's URL names {parsed.get_backend_name()!r}; only PostgreSQL is reached by URL",
                place="[store] url",
                hint="Leave the URL out: SQLite in the store's folder needs none.",
            )
        if parsed.drivername == "postgresql":
            parsed = parsed.set(drivername="postgresql+psycopg")
        try:
            engine = sa.create_engine(parsed, pool_size=4, max_overflow=-1, pool_pre_ping=True)
        except ModuleNotFoundError as error:
            raise MissingExtraError(
                f"PostgreSQL needs the driver {error.name!r}", hint="pip install 'headrace[postgres]'"
            ) from error
        return cls(engine, place=parsed.render_as_string(hide_password=True), read_only=read_only)

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()

    # --- transactions -----------------------------------------------------------------------------------------------

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads."""
        self._check_process()
        with self._explained(), self.engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that writes; in SQLite it is the only one anywhere. Keep it short: no files are read in it."""
        self._check_process()
        self.require_writable()
        if self.dialect != "sqlite":
            with self._explained(), self._writer.begin() as connection:
                yield connection
            return
        with self._turn, self._explained(), self._writer.begin() as connection:
            yield connection

    def require_writable(self) -> None:
        """Raise `StoreError` if the store was opened read-only."""
        if self.read_only:
            raise StoreError("the store was opened read-only", place=self.place, hint="Open it for writing.")

    def takes_writes(self) -> bool:
        """Whether what may be written, but need not be, should be: false where the store lies read-only."""
        return not self.read_only and (self.dialect != "sqlite" or os.access(self.place, os.W_OK))

    def share(self, connection: Connection) -> None:
        """In a writing transaction that refers to artifacts: keep the garbage collector out until it ends."""
        if self.dialect == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock_shared(_ADVISORY_KEY)))

    def exclude(self, connection: Connection) -> None:
        """In a writing transaction: keep out everything that called `share`. In SQLite every writer is alone anyway."""
        if self.dialect == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_ADVISORY_KEY)))

    def now(self, connection: Connection) -> float:
        """The time by the database's clock, in seconds since the epoch: what leases are measured by."""
        if self.dialect == "postgresql":
            return float(connection.execute(sa.select(sa.extract("epoch", sa.func.clock_timestamp()))).scalar_one())
        return time.time()

    def insert_new(self, table: sa.Table) -> Any:
        """An INSERT that leaves a row alone that is already there."""
        return self._insert(table).on_conflict_do_nothing()

    def upsert(self, table: sa.Table, *changing: str) -> Any:
        """An INSERT that overwrites the columns `changing` of a row that is already there."""
        insert = self._insert(table)
        keys = [column.name for column in table.primary_key]
        return insert.on_conflict_do_update(index_elements=keys, set_={c: insert.excluded[c] for c in changing})

    def _insert(self, table: sa.Table) -> Any:
        if self.dialect == "postgresql":
            from sqlalchemy.dialects import postgresql  # 40 ms that a store in SQLite does not pay

            return postgresql.insert(table)
        from sqlalchemy.dialects import sqlite

        return sqlite.insert(table)

    def _check_process(self) -> None:
        if os.getpid() != self._pid:
            raise StoreError(
                "this store was opened by the parent process, and a forked child cannot use it",
                place=self.place,
                hint="Open the store again in the child.",
            )

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except IntegrityError:
            raise  # the caller knows which of its rules was broken
        except DBAPIError as error:
            raise self._error(error) from error
        except SQLAlchemyError as error:
            raise StoreError(f"the database cannot be used: {error}", place=self.place) from error

    def _error(self, error: DBAPIError) -> StoreError:
        said = str(error.orig).strip() or type(error.orig).__name__
        for words, hint in _DATABASE_HINTS.items():
            if words in said:
                return StoreError(f"the database cannot be used: {said}", place=self.place, hint=hint)
        return StoreError(f"the database cannot be used: {said}", place=self.place)


_DATABASE_HINTS: Mapping[str, str] = {
    "locked": f"Another process has held it for more than {_BUSY_SECONDS:.0f} s: see whether one hangs, and end it.",
    "full": "Make room on that disk (`headrace store gc` helps), then run again. Nothing was half-written.",
    "readonly": "The folder or its file system is read-only: change that, or choose another with `[store] path`.",
    "unable to open": "Check that the folder exists and that you may write there.",
    "disk I/O error": "The disk is full, read-only or failing: check it, then run again. Nothing was half-written.",
    "malformed": "The file is damaged: restore a copy, or move it away and run again.",
    "not a database": "Something else was written over it: restore a copy, or move it away and run again.",
    "connection": "Check that the server runs and that the URL is right.",
}


# --- values ---------------------------------------------------------------------------------------------------------


def to_text(value: str | None) -> str | None:
    """Free text as both databases can keep it: no NUL, no lone surrogates."""
    if value is None:
        return None
    return value.replace("\x00", "\ufffd").encode("utf-8", "replace").decode("utf-8")


def to_json(value: Any) -> str:
    """A record's JSON. Mappings of any kind are objects; what JSON has no word for (a date of the spec) is its text."""
    return json.dumps(value, ensure_ascii=True, separators=(",", ":"), default=_plain)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    return str(value)


def from_json(text: str) -> Any:
    """What `to_json` wrote."""
    return json.loads(text)


def to_number(value: float) -> float | None:
    """A metric as both databases can keep it: null for NaN."""
    return None if math.isnan(value) else float(value)


def from_number(value: float | None) -> float:
    """What `to_number` wrote."""
    return math.nan if value is None else value
