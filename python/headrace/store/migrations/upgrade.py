"""Bringing an older database up to date: a copy first, then every step in one transaction."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from alembic import command
from alembic.config import Config

from headrace.store.durable import explained, flush_folder

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from headrace.store.database import Database

FOLDER = Path(__file__).parent


def upgrade(database: Database, root: Path, found: str) -> None:
    """Migrate from revision `found`. The caller holds the store's `open` lock; a crash leaves the old form."""
    if database.dialect == "sqlite":
        _copy(database, root, found)
    with database.write() as connection:
        database.exclude(connection)
        apply(connection.core)


def apply(connection: Connection, revision: str = "head", *, folder: Path = FOLDER) -> None:
    """Run the steps up to `revision` in the connection's transaction."""
    config = Config()
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def _copy(database: Database, root: Path, found: str) -> None:
    """Keep the database as it was; SQLite itself makes the copy, so that it is whole."""
    folder = root / "backup"
    with explained(folder, "copy the database before it is migrated"):
        folder.mkdir(exist_ok=True)
    target = folder / f"headrace-{found}-{time.time_ns()}.db"
    database.backup(target)
    with explained(folder, "copy the database before it is migrated"):
        flush_folder(folder)
