"""Which form the database has, and how it is brought to the one that this code needs.

A new database is made from the tables as they are; Alembic, which takes long to import, is only needed where an older
one has to be migrated. A newer one is refused.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import sqlalchemy as sa

from headrace.errors import StoreError, StoreFormatError
from headrace.store import schema
from headrace.store.folder import new_identity

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy.engine import Connection

    from headrace.store.database import Database


def current_revision(database: Database, root: Path, identity: str) -> bool:
    """Whether the database has the form that this code needs. Raises `StoreError` if it belongs to another store."""
    with database.read() as connection:
        if _revision(connection) != schema.REVISION:
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
        if found == schema.REVISION:
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
    schema.metadata.create_all(connection, checkfirst=False)
    chosen = identity or new_identity().id
    connection.execute(schema.alembic_version.insert().values(version_num=schema.REVISION))
    connection.execute(
        schema.store_identity.insert().values(id=chosen, created=time.time(), origin=str(root.resolve()))
    )
    return chosen


def _check_identity(database: Database, connection: Connection, root: Path, identity: str | None) -> str:
    row = connection.execute(sa.select(schema.store_identity.c.id, schema.store_identity.c.origin)).one()
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
    if connection.dialect.name == "postgresql":
        there = connection.execute(sa.select(sa.func.to_regclass("alembic_version"))).scalar_one() is not None
    else:
        query = sa.text("SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'alembic_version'")
        there = bool(connection.execute(query).scalar_one())
    if not there:
        return None
    found = connection.execute(sa.select(schema.alembic_version.c.version_num)).scalar_one_or_none()
    if found is None or found > schema.REVISION:
        raise StoreFormatError(
            f"the database has the form {found}; this headrace knows forms up to {schema.REVISION}",
            place="alembic_version",
            hint="Use the newer headrace that wrote it: pip install --upgrade headrace",
        )
    return str(found)
