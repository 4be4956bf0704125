"""The database: its transactions, what may be said in them, and its errors in plain words.

SQLite is one file in the store's folder (`sqlite.py`); PostgreSQL is a URL (`postgresql.py`).

A `Connection` takes two kinds of statements. What every run needs is SQL text, the same for both databases, and reaches
SQLite through its own driver: importing SQLAlchemy takes longer than a run that has nothing to do. Everything else
(looking things up for a person, fsck, gc, merging, migrations) is SQLAlchemy Core, imported when the first of it is
executed, on the same connection and in the same transaction.
"""

from __future__ import annotations

import json
import math
import os
import sqlite3
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from headrace.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    import sqlalchemy as sa

BUSY_SECONDS = 60.0
_ADVISORY_KEY = 0x6865616472616365  # "headrace": one lock for everything that must not meet the garbage collector


class ConstraintError(StoreError):
    """A rule of the tables was broken: a key twice, a reference to nothing. The caller knows which, and says so."""


class Connection(Protocol):
    """One transaction. It ends with the block of `Database.read` or `Database.write` that gave it."""

    @property
    def core(self) -> sa.Connection:
        """SQLAlchemy's view of the same transaction."""

    def rows(self, sql: str, /, **parameters: Any) -> list[Any]:
        """The rows of a query, columns as attributes. `:name` binds; `json_each(:items)` makes rows of a JSON list."""

    def run(self, sql: str, rows: Mapping[str, Any] | Iterable[Mapping[str, Any]], /) -> int:
        """Execute a statement for one mapping of parameters, or for each of several; how many rows it touched."""

    def execute(self, statement: sa.Executable, parameters: Any = None, /) -> sa.CursorResult[Any]:
        """Execute a statement of SQLAlchemy Core."""


class Database(ABC):
    """A place to keep rows, opened by one process. A forked child opens its own."""

    dialect: str

    def __init__(self, *, place: str, read_only: bool) -> None:
        self.place = place
        self.read_only = read_only
        self._pid = os.getpid()

    @staticmethod
    def sqlite(root: Path, *, read_only: bool = False) -> Database:
        """The database in the store's folder."""
        from headrace.store.sqlite import SqliteDatabase

        return SqliteDatabase(root, read_only=read_only)

    @staticmethod
    def postgresql(url: str, *, read_only: bool = False) -> Database:
        """A PostgreSQL database by URL. Raises `StoreError` for any other, `MissingExtraError` without a driver."""
        from headrace.store.postgresql import PostgresqlDatabase

        return PostgresqlDatabase(url, read_only=read_only)

    # --- transactions -----------------------------------------------------------------------------------------------

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads."""
        self._check_process()
        with self._explained(), self._transaction(write=False) as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that writes; in SQLite it is the only one anywhere. Keep it short: no files are read in it."""
        self._check_process()
        self.require_writable()
        with self._explained(), self._transaction(write=True) as connection:
            yield connection

    def require_writable(self) -> None:
        """Raise `StoreError` if the store was opened read-only."""
        if self.read_only:
            raise StoreError("the store was opened read-only", place=self.place, hint="Open it for writing.")

    def takes_writes(self) -> bool:
        """Whether what may be written, but need not be, should be: false where the store lies read-only."""
        return not self.read_only

    def share(self, connection: Connection) -> None:
        """In a writing transaction that refers to artifacts: keep the garbage collector out until it ends."""
        if self.dialect == "postgresql":
            connection.rows("SELECT pg_advisory_xact_lock_shared(:key)", key=_ADVISORY_KEY)

    def exclude(self, connection: Connection) -> None:
        """In a writing transaction: keep out everything that called `share`. In SQLite every writer is alone anyway."""
        if self.dialect == "postgresql":
            connection.rows("SELECT pg_advisory_xact_lock(:key)", key=_ADVISORY_KEY)

    def now(self, connection: Connection) -> float:
        """The time by the database's clock, in seconds since the epoch: what leases are measured by."""
        if self.dialect == "postgresql":
            return float(connection.rows("SELECT extract(epoch FROM clock_timestamp()) AS now")[0].now)
        return time.time()

    def insert_new(self, table: sa.Table) -> Any:
        """An INSERT of SQLAlchemy that leaves a row alone that is already there."""
        if self.dialect == "postgresql":
            from sqlalchemy.dialects import postgresql

            return postgresql.insert(table).on_conflict_do_nothing()
        from sqlalchemy.dialects import sqlite

        return sqlite.insert(table).on_conflict_do_nothing()

    @abstractmethod
    def close(self) -> None:
        """Close every connection."""

    @abstractmethod
    def backup(self, target: Path) -> None:
        """Copy the whole database into a new file, where it is a file."""

    @abstractmethod
    def _transaction(self, *, write: bool) -> AbstractContextManager[Connection]:
        """Begin, and commit at the end of the block, or roll back where it raises."""

    # --- errors -----------------------------------------------------------------------------------------------------

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
        except sqlite3.IntegrityError as error:
            raise ConstraintError(f"the database refuses: {error}", place=self.place) from error
        except sqlite3.Error as error:
            raise self._error(str(error).strip() or type(error).__name__) from error
        except Exception as error:
            if "sqlalchemy" not in sys.modules:
                raise
            from sqlalchemy import exc

            if isinstance(error, exc.IntegrityError):
                raise ConstraintError(f"the database refuses: {error.orig}", place=self.place) from error
            if isinstance(error, exc.DBAPIError):
                raise self._error(str(error.orig).strip() or type(error.orig).__name__) from error
            if isinstance(error, exc.SQLAlchemyError):
                raise self._error(str(error)) from error
            raise

    def _error(self, said: str) -> StoreError:
        for words, hint in _DATABASE_HINTS.items():
            if words in said:
                return StoreError(f"the database cannot be used: {said}", place=self.place, hint=hint)
        return StoreError(f"the database cannot be used: {said}", place=self.place)


_DATABASE_HINTS: Mapping[str, str] = {
    "locked": f"Another process has held it for more than {BUSY_SECONDS:.0f} s: see whether one hangs, and end it.",
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


def to_items(values: Iterable[str]) -> str:
    """Values for `json_each(:items)`."""
    return json.dumps(list(values))
