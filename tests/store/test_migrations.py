"""A database made at once and one made by migrations are the same; an old one becomes a new one, or stays old."""

from __future__ import annotations

import contextlib
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from headrace.errors import StoreError
from headrace.store import Store, schema, versioning
from headrace.store.database import Database
from headrace.store.migrations import upgrade
from headrace.types import Params

APPLY = upgrade.apply
POSTGRESQL_SAYS = (
    """SELECT 'column', table_name, column_name, data_type, is_nullable, ordinal_position::text, column_default
    FROM information_schema.columns WHERE table_schema = 'public'""",
    "SELECT 'index', indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'",
    """SELECT 'constraint', conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
    WHERE connamespace = 'public'::regnamespace""",
    "SELECT 'trigger', tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal",
)
NOW = versioning.REVISION
SECOND = """
import sqlalchemy as sa
from alembic import op
revision, down_revision, branch_labels, depends_on = "9000", "{before}", None, None
def upgrade():
    op.add_column("runs", sa.Column("note", sa.Text(), nullable=True))
    {extra}
    op.execute(sa.text("UPDATE runs SET note = 'migrated'"))
"""


def make(url: str | None, folder: Path) -> Database:
    folder.mkdir(exist_ok=True)
    return Database.sqlite(folder) if url is None else Database.postgresql(url)


def clauses(sql: str) -> list[str]:
    """The columns and constraints of a CREATE statement, whose order among each other says nothing."""
    return [
        " ".join(part.replace('"', "").split()).strip(" )") for part in re.split(r",(?![^(]*\))", sql.partition("(")[2])
    ]


def inventory(database: Database) -> set[tuple[str, ...]]:
    """Everything that the database itself says of its tables, indices, constraints and triggers."""
    with database.read() as connection:
        if database.dialect == "sqlite":
            rows = connection.core.exec_driver_sql("SELECT type, name, tbl_name, sql FROM sqlite_master").all()
            return {(*row[:3], *sorted(clauses(row[3] or ""))) for row in rows}
        return {tuple(map(str, row)) for query in POSTGRESQL_SAYS for row in connection.core.exec_driver_sql(query)}


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.system)])
def two_urls(request: pytest.FixtureRequest) -> tuple[str | None, str | None]:
    if request.param == "sqlite":
        return None, None
    server = request.getfixturevalue("postgresql")
    return server.database(), server.database()


def test_both_ways_give_the_same_database(two_urls: tuple[str | None, str | None], tmp_path: Path) -> None:
    at_once, by_steps = make(two_urls[0], tmp_path / "a"), make(two_urls[1], tmp_path / "b")
    versioning.prepare(at_once, tmp_path / "a", None)
    with by_steps.write() as connection:
        upgrade.apply(connection.core)
    assert inventory(at_once) == inventory(by_steps)
    assert len(inventory(at_once)) > 40
    with by_steps.read() as connection:
        assert connection.execute(sa.select(schema.alembic_version.c.version_num)).scalar_one() == versioning.REVISION
        found = compare_metadata(MigrationContext.configure(connection.core), schema.metadata)
        assert [entry for entry in found if "alembic_version" not in str(entry)] == []
    for database in (at_once, by_steps):
        database.close()


@pytest.fixture
def second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """As if this headrace knew one step more."""

    def install(extra: str = "pass") -> Path:
        folder = tmp_path / "migrations"
        shutil.copytree(upgrade.FOLDER, folder, dirs_exist_ok=True)
        (folder / "versions" / "r9000_next.py").write_text(SECOND.format(extra=extra, before=NOW))
        monkeypatch.setattr(upgrade, "apply", lambda connection: APPLY(connection, folder=folder))
        monkeypatch.setattr(versioning, "REVISION", "9000")
        return folder

    return install


def notes(store: Store) -> list[str]:
    with store.database.read() as connection:
        return list(connection.execute(sa.text("SELECT note FROM runs")).scalars())


def test_old_database_is_migrated_when_it_is_opened(
    open_store: Callable[..., Store], second: Callable[..., Path], root: Path
) -> None:
    with open_store() as store:
        handle = store.runs.create("p", "manual", {})
        ref = store.artifacts.save(Params({"n": 1}))
        store.artifacts.flush()
        store.runs.finish(handle, "succeeded")
    second()
    with pytest.raises(StoreError, match="read-only"):
        open_store(read_only=True)
    with open_store() as store:
        assert notes(store) == ["migrated"]
        assert store.artifacts.load(ref, Params) == Params({"n": 1})
        assert store.runs.get(handle.id).status == "succeeded"
        dialect = store.database.dialect
    open_store().close()
    if dialect == "sqlite":
        (copy,) = (root / "backup").iterdir()
        assert NOW in copy.name
        target = root.parent / "restored"
        shutil.copytree(root, target)
        shutil.copy(copy, target / "headrace.db")
        engine = sa.create_engine(f"sqlite:///{target}/headrace.db")
        with engine.connect() as connection:
            assert connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar_one() == NOW
            assert connection.execute(sa.text("SELECT status FROM runs")).scalar_one() == "succeeded"
        engine.dispose()


def test_failing_migration_leaves_the_old_form(open_store: Callable[..., Store], second: Callable[..., Path]) -> None:
    with open_store() as store:
        store.runs.finish(store.runs.create("p", "manual", {}), "succeeded")
    second(extra="raise ZeroDivisionError")
    with pytest.raises(ZeroDivisionError):
        open_store()
    second(extra="pass")
    with open_store() as store:
        assert notes(store) == ["migrated"]


def test_migration_that_is_killed_leaves_the_old_form(
    open_store: Callable[..., Store], second: Callable[..., Path], root: Path, url: str | None
) -> None:
    with open_store() as store:
        store.runs.finish(store.runs.create("p", "manual", {}), "succeeded")
    folder = second(extra="import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    code = """
import sys
from pathlib import Path
from headrace.store import Store, versioning
from headrace.store.migrations import upgrade
real = upgrade.apply
upgrade.apply = lambda connection: real(connection, folder=Path(sys.argv[3]))
versioning.REVISION = "9000"
Store.open(Path(sys.argv[1]), url=sys.argv[2] or None)
"""
    done = subprocess.run([sys.executable, "-c", code, root, url or "", folder], check=False)
    assert done.returncode == -signal.SIGKILL
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(versioning, "REVISION", NOW)
        with open_store() as store:
            assert store.runs.list()[0].status == "succeeded"
            assert store.fsck().ok
    second(extra="pass")
    with open_store() as store:
        assert notes(store) == ["migrated"]


def test_two_processes_migrate_once(
    open_store: Callable[..., Store], second: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second to get the lock finds that the work is done."""
    open_store().close()
    second()
    count = 0
    real = upgrade.upgrade

    def counted(*arguments: object) -> None:
        nonlocal count
        count += 1
        real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(upgrade, "upgrade", counted)
    waiting = versioning.current_revision

    def meanwhile(*arguments: object) -> bool:
        monkeypatch.setattr("headrace.store.versioning.current_revision", waiting)
        found = waiting(*arguments)  # type: ignore[arg-type]
        open_store().close()  # another process is faster
        return found

    monkeypatch.setattr("headrace.store.versioning.current_revision", meanwhile)
    open_store().close()
    assert count == 1


def test_backup_is_complete_before_the_migration(root: Path, second: Callable[..., Path]) -> None:
    Store.open(root).close()
    second(extra="raise ZeroDivisionError")
    with pytest.raises(ZeroDivisionError):
        Store.open(root)
    (copy,) = (root / "backup").iterdir()
    with contextlib.closing(sqlite3.connect(copy)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [(NOW,)]
        assert connection.execute("SELECT count(*) FROM store_identity").fetchone() == (1,)


def test_the_ddl_of_sqlite_is_that_of_the_tables() -> None:
    """To write it anew: python -c "from headrace.store import schema; print(schema.sqlite_ddl(), end='')"."""
    assert versioning.SQLITE_TABLES.read_text(encoding="utf-8") == schema.sqlite_ddl()


@pytest.mark.parametrize("step", ["0001", "0002"])
def test_store_of_an_earlier_form_is_opened_with_all_that_it_had(root: Path, step: str) -> None:
    with Store.open(root) as store:
        handle = store.runs.create("p", "manual", {})
        store.runs.finish(handle, "succeeded")
        with store.database.write() as connection:
            for kind, name in connection.core.exec_driver_sql("SELECT type, name FROM sqlite_master").all():
                later = schema.metadata.tables.keys() - _tables_of(step)
                if kind == "table" and name in later:
                    connection.core.exec_driver_sql(f"DROP TABLE {name}")
            connection.execute(schema.alembic_version.update().values(version_num=step))
    with Store.open(root) as store:
        assert store.runs.get(handle.id).status == "succeeded"
        store.loops.append("p", "paused", {}, at=0.0, who="a person")
        assert store.loops.verify("p").entries == 1
        assert store.fsck().ok


def _tables_of(step: str) -> set[str]:
    database = sqlite3.connect(":memory:")
    engine = sa.create_engine("sqlite://", creator=lambda: database)
    with engine.begin() as connection:
        upgrade.apply(connection, step)
        found = set(sa.inspect(connection).get_table_names())
    engine.dispose()
    database.close()
    return found
