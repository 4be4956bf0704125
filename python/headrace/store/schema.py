"""The tables. `migrations/versions` makes the same ones step by step; a test compares the two.

Times are seconds since the epoch. JSON is text in canonical form, so that both databases keep it the same way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
    event,
)

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# --- which store, which schema --------------------------------------------------------------------------------------

# As Alembic makes it.
alembic_version = Table(
    "alembic_version",
    metadata,
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)

store_identity = Table(
    "store_identity",
    metadata,
    Column("id", Text, primary_key=True),
    Column("created", Float, nullable=False),
    Column("origin", Text, nullable=False),
)

# --- artifacts ------------------------------------------------------------------------------------------------------

artifacts = Table(
    "artifacts",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("type_name", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("created", Float, nullable=False),
    # When it was last saved or saved again: the garbage collector leaves the recent ones alone.
    Column("touched", Float, nullable=False),
    # Set when the garbage collector took the contents. The row stays, because records of old runs refer to it.
    Column("collected", Float),
)

parts = Table(
    "parts",
    metadata,
    Column("digest", Text, ForeignKey(artifacts.c.digest), primary_key=True),
    Column("name", Text, primary_key=True),
    Column("format", Text, nullable=False),
    Column("content", Text, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    # The bytes, where they are few and JSON; null: they are an object.
    Column("inline", LargeBinary),
    Index(None, "sha256"),
)

# What a full check of an object's file saw, so that an untouched file need not be read again. See `Objects.stamp`.
stamps = Table(
    "stamps",
    metadata,
    Column("sha256", Text, primary_key=True),
    Column("stamp", Text, nullable=False),
)

# --- runs -----------------------------------------------------------------------------------------------------------

runs = Table(
    "runs",
    metadata,
    Column("id", Text, primary_key=True),
    # Orders runs even where the clock was set back: microseconds since the epoch, but never below the run before.
    Column("ordinal", BigInteger, nullable=False),
    Column("project", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("trigger", Text, nullable=False),
    Column("started", Float, nullable=False),
    Column("ended", Float),
    Column("epoch", Integer, nullable=False),
    Column("host", Text, nullable=False),
    Column("lease_until", Float, nullable=False),
    Column("spec", Text, nullable=False),
    Column("provenance", Text, nullable=False),
    Index(None, "ordinal"),
    Index(None, "status"),
)

stages = Table(
    "stages",
    metadata,
    Column("run_id", Text, ForeignKey(runs.c.id), primary_key=True),
    Column("name", Text, primary_key=True),
    Column("position", Integer, nullable=False),
    Column("kind", Text, nullable=False),
    Column("use", Text, nullable=False),
    Column("distribution", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("config", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("key", Text),
    Column("started", Float, nullable=False),
    Column("ended", Float, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("error", Text),
    Column("fingerprint", Text, nullable=False),
)

stage_artifacts = Table(
    "stage_artifacts",
    metadata,
    Column("run_id", Text, primary_key=True),
    Column("stage", Text, primary_key=True),
    Column("direction", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("position", Integer, nullable=False),
    Column("digest", Text, ForeignKey(artifacts.c.digest), nullable=False),
    ForeignKeyConstraint(["run_id", "stage"], ["stages.run_id", "stages.name"]),
    Index(None, "digest"),
)

metrics = Table(
    "metrics",
    metadata,
    Column("run_id", Text, primary_key=True),
    Column("stage", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("position", Integer, nullable=False),
    # Null stands for NaN, which SQLite cannot keep.
    Column("value", Float),
    ForeignKeyConstraint(["run_id", "stage"], ["stages.run_id", "stages.name"]),
)

# --- cache ----------------------------------------------------------------------------------------------------------

cache = Table(
    "cache",
    metadata,
    Column("key", Text, primary_key=True),
    Column("created", Float, nullable=False),
)

cache_outputs = Table(
    "cache_outputs",
    metadata,
    Column("key", Text, ForeignKey(cache.c.key), primary_key=True),
    Column("name", Text, primary_key=True),
    Column("digest", Text, ForeignKey(artifacts.c.digest), nullable=False),
    Index(None, "digest"),
)

# --- registry -------------------------------------------------------------------------------------------------------

models = Table(
    "models",
    metadata,
    Column("name", Text, primary_key=True),
    Column("last_number", Integer, nullable=False),
)

versions = Table(
    "versions",
    metadata,
    Column("model", Text, ForeignKey(models.c.name), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("package", Text, nullable=False),
    Column("model_digest", Text, nullable=False),
    Column("manifest", Text, nullable=False),
    Column("run_id", Text),
    Column("who", Text, nullable=False),
    Column("created", Float, nullable=False),
    UniqueConstraint("model", "package"),
)

package_files = Table(
    "package_files",
    metadata,
    Column("package", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("sha256", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Index(None, "sha256"),
)

aliases = Table(
    "aliases",
    metadata,
    Column("model", Text, primary_key=True),
    Column("alias", Text, primary_key=True),
    Column("number", Integer, nullable=False),
    Column("rev", Integer, nullable=False),
    ForeignKeyConstraint(["model", "number"], ["versions.model", "versions.number"]),
)

alias_history = Table(
    "alias_history",
    metadata,
    Column("model", Text, primary_key=True),
    Column("alias", Text, primary_key=True),
    Column("rev", Integer, primary_key=True, autoincrement=False),
    Column("number", Integer, nullable=False),
    Column("previous", Integer),
    Column("action", Text, nullable=False),
    Column("who", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("gate", Text),
    Column("run_id", Text),
    Column("at", Float, nullable=False),
    ForeignKeyConstraint(["model", "number"], ["versions.model", "versions.number"]),
)

# --- the loop -------------------------------------------------------------------------------------------------------

loops = Table(
    "loops",
    metadata,
    Column("project", Text, primary_key=True),
    # The end of the chain of `loop_log`: how many entries were written, and the hash of the last.
    Column("last_seq", Integer, nullable=False),
    Column("head", Text, nullable=False),
    # Who works: raised by each process that takes over, so that an entry of the one before is refused.
    Column("epoch", Integer, nullable=False),
    Column("host", Text, nullable=False),
    Column("lease_until", Float, nullable=False),
)

loop_log = Table(
    "loop_log",
    metadata,
    Column("project", Text, ForeignKey(loops.c.project), primary_key=True),
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("kind", Text, nullable=False),
    Column("at", Float, nullable=False),
    Column("who", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("hash", Text, nullable=False),
)

# --- what was served --------------------------------------------------------------------------------------------------

live_windows = Table(
    "live_windows",
    metadata,
    Column("model", Text, primary_key=True),
    Column("version", Text, primary_key=True),
    # Start of the period and its length, whole seconds.
    Column("start", BigInteger, primary_key=True, autoincrement=False),
    Column("seconds", BigInteger, primary_key=True, autoincrement=False),
    # Which start of which server counted: their windows add up.
    Column("server", Text, primary_key=True),
    Column("rows", BigInteger, nullable=False),
    Column("inputs", LargeBinary, nullable=False),
    Column("scores", LargeBinary, nullable=False),
    Column("written", Float, nullable=False),
)

label_files = Table(
    "label_files",
    metadata,
    Column("sha256", Text, primary_key=True),
    # Orders files as they came.
    Column("number", BigInteger, nullable=False),
    Column("at", Float, nullable=False),
    Column("labels", BigInteger, nullable=False),
)

labels = Table(
    "labels",
    metadata,
    Column("request_id", Text, primary_key=True),
    Column("row", Integer, primary_key=True, autoincrement=False),
    # When the label became known, and where it stands among those of the same moment: the last one counts.
    Column("known", Float, primary_key=True),
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("label", Text, primary_key=True),
    Column("source", Text, nullable=False),
)

# What was once said about a version, an alias or a decision cannot be unsaid, not even by our own code.
APPEND_ONLY = ("versions", "package_files", "alias_history", "loop_log")

_SQLITE = (
    "CREATE TRIGGER {0}_no_update BEFORE UPDATE ON {0} BEGIN SELECT RAISE(ABORT, 'this table is append-only'); END",
    "CREATE TRIGGER {0}_no_delete BEFORE DELETE ON {0} BEGIN SELECT RAISE(ABORT, 'this table is append-only'); END",
)
_POSTGRESQL = (
    """CREATE OR REPLACE FUNCTION headrace_append_only() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'this table is append-only'; END $$""",
    "CREATE TRIGGER {0}_no_change BEFORE UPDATE OR DELETE ON {0} FOR EACH ROW EXECUTE FUNCTION headrace_append_only()",
    "CREATE TRIGGER {0}_no_truncate BEFORE TRUNCATE ON {0} FOR EACH STATEMENT EXECUTE FUNCTION headrace_append_only()",
)


def append_only_statements(table: str, dialect: str) -> tuple[str, ...]:
    """The DDL that makes one of `APPEND_ONLY` so. The names are constants of this module, never input."""
    return tuple(text.format(table) for text in (_SQLITE if dialect == "sqlite" else _POSTGRESQL))


def sqlite_ddl() -> str:
    """The statements that make all tables in SQLite: what `sqlite_tables.sql` holds."""
    from sqlalchemy.dialects import sqlite
    from sqlalchemy.schema import CreateIndex, CreateTable

    statements: list[str] = []
    for table in metadata.sorted_tables:
        statements.append(str(CreateTable(table).compile(dialect=sqlite.dialect())).strip())
        indexes = sorted(table.indexes, key=lambda index: str(index.name))
        statements += [str(CreateIndex(index).compile(dialect=sqlite.dialect())) for index in indexes]
        if table.name in APPEND_ONLY:
            statements += append_only_statements(table.name, "sqlite")
    lines = "\n".join(f"{statement};" for statement in statements)
    return "\n".join(line.rstrip().replace("\t", "    ") for line in lines.splitlines()) + "\n"


def _guard(table: Table, connection: Connection, **_: object) -> None:
    for statement in append_only_statements(table.name, connection.dialect.name):
        connection.exec_driver_sql(statement)


for _name in APPEND_ONLY:
    event.listen(metadata.tables[_name], "after_create", _guard)
