"""Which form the database has, and how it is brought to the one that this code needs.

A new database is made from the tables as they are; SQLAlchemy and Alembic, which take long to import, are only needed
where an older one has to be migrated. A newer one is refused.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.errors import StoreError, StoreFormatError
from headrace.store.folder import new_identity
from headrace.store.sqlite import SqliteConnection

if TYPE_CHECKING:
    from headrace.store.database import Connection, Database


REVISION = "0003"
"""What `alembic_version` holds in a database that this code can use as it is."""
SQLITE_TABLES = Path(__file__).with_name("sqlite_tables.sql")
"""The tables of `schema.py` as SQLite's DDL, so that a new store needs no SQLAlchemy. A test compares the two."""


def current_revision(database: Database, root: Path, identity: str) -> bool:
    """Whether the database has the form that this code needs. Raises `StoreError` if it belongs to another store."""
    with database.read() as connection:
        if _revision(connection) != REVISION:
            return False
        _check_identity(database, connection, root, identity)
        return True


def prepare(database: Database, root: Path, identity: str | None) -> str:
    """Make the tables or migrate them; returns the store's identity. The caller holds the store's `open` lock."""
    with database.write() as connection:
        database.exclude(connection)
        found = _revision(connection)
        if found is None:
            return _make(database, connection, root, identity)
        if found == REVISION:
            return _check_identity(database, connection, root, identity)
    from headrace.store.migrations.upgrade import upgrade

    upgrade(database, root, found)
    with database.read() as connection:
        return _check_identity(database, connection, root, identity)


def _make(database: Database, connection: Connection, root: Path, identity: str | None) -> str:
    if identity is not None and database.dialect == "sqlite":
        raise StoreError(
            "the store's database is gone, and only its objects are left",
            place=database.place,
            hint="Put the database file back from a copy, or move the whole folder away and run again.",
        )
    if isinstance(connection, SqliteConnection):
        connection.script(SQLITE_TABLES.read_text(encoding="utf-8"))
    else:
        from headrace.store.schema import metadata

        metadata.create_all(connection.core, checkfirst=False)
    chosen = identity or new_identity().id
    connection.run("INSERT INTO alembic_version (version_num) VALUES (:revision)", {"revision": REVISION})
    row = {"id": chosen, "created": time.time(), "origin": str(root.resolve())}
    connection.run("INSERT INTO store_identity (id, created, origin) VALUES (:id, :created, :origin)", row)
    return chosen


def _check_identity(database: Database, connection: Connection, root: Path, identity: str | None) -> str:
    (row,) = connection.rows("SELECT id, origin FROM store_identity")
    if identity is None and database.dialect == "sqlite":
        return str(row.id)  # killed between the database and the format file
    if row.id != identity and not (identity is None and row.origin == str(root.resolve())):
        raise StoreError(
            f"this database belongs to another folder of objects, made at {row.origin}",
            place=database.place,
            hint="Point `[store] path` at that folder, shared between machines, or `[store] url` at an empty database.",
        )
    return str(row.id)


def _revision(connection: Connection) -> str | None:
    """What `alembic_version` says; None in an empty database. Raises `StoreFormatError` for a newer one."""
    if isinstance(connection, SqliteConnection):
        query = "SELECT 1 AS there FROM sqlite_master WHERE type = 'table' AND name = 'alembic_version'"
    else:
        query = "SELECT 1 AS there WHERE to_regclass('alembic_version') IS NOT NULL"
    if not connection.rows(query):
        return None
    rows = connection.rows("SELECT version_num FROM alembic_version")
    found = rows[0].version_num if rows else None
    if found is None or found > REVISION:
        raise StoreFormatError(
            f"the database has the form {found}; this headrace knows forms up to {REVISION}",
            place="alembic_version",
            hint="Use the newer headrace that wrote it: pip install --upgrade headrace",
        )
    return str(found)
