"""Garbage collection: what nothing needs any more goes.

What is needed: every file of every registered package; everything that went in and out of the last `keep` runs, of the
runs that registered a version (so that it can be reproduced), and of those under way. The rest goes once nobody saved
it, or saved it again, for `grace` seconds.

Rows go first, in one transaction, then the files that no row speaks of, each batch under the database's write lock.
Writers check under the same lock that the objects they refer to are there, so a reference never dangles; whatever a
crash leaves in between is a file without a row, and goes the next time.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import sqlalchemy as sa

from headrace.errors import StoreError
from headrace.store import schema

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from headrace.store.database import Connection, Database
    from headrace.store.objects import Blob
    from headrace.store.store import Store

_BATCH = 200
T = TypeVar("T")


@dataclass(frozen=True)
class GcReport:
    """What was removed, or with `dry_run` would be.

    `artifacts`: digests whose contents went (their records stay). `objects`, `bytes`: files, and their size.
    `kept_objects`, `kept_bytes`: what stays. `notes`: what else there is to know, as sentences.
    """

    dry_run: bool
    artifacts: tuple[str, ...]
    objects: int
    bytes: int
    kept_objects: int
    kept_bytes: int
    notes: tuple[str, ...] = ()


def collect(store: Store, *, dry_run: bool, grace: float, keep: int) -> GcReport:
    """Remove what nothing needs. `grace` in seconds, `keep` in runs. Raises `StoreError` for negative ones."""
    if grace < 0 or keep < 0:
        raise StoreError(f"grace ({grace:g} s) and keep ({keep} runs) cannot be negative", place="gc")
    database, notes = store.database, []
    horizon = time.time() - grace
    if dry_run:
        with database.read() as connection:
            running, horizon = _running(connection, horizon)
            gone = _unneeded(connection, running, horizon, keep)
    else:
        store.artifacts.flush()
        store.runs.reap()
        with database.write() as connection:
            database.exclude(connection)
            running, horizon = _running(connection, horizon)
            gone = _unneeded(connection, running, horizon, keep)
            for batch in _batches(gone):
                forget(connection, batch)
    if running:
        notes.append(f"{len(running)} run(s) are under way: what the cache knows, and what is newer than they, stays")
    with database.read() as connection:
        needed = _needed(connection, except_for=gone if dry_run else ())
    removed: list[Blob] = []
    kept: list[Blob] = []
    for blob in store.objects.names():
        old = blob.sha256 not in needed and store.objects.changed_at(blob.sha256) < horizon
        (removed if old else kept).append(blob)
    if not dry_run:
        removed = list(_remove(store, database, removed))
    return GcReport(
        dry_run=dry_run,
        artifacts=tuple(gone),
        objects=len(removed),
        bytes=sum(blob.size for blob in removed),
        kept_objects=len(kept),
        kept_bytes=sum(blob.size for blob in kept),
        notes=tuple(notes),
    )


def _running(connection: Connection, horizon: float) -> tuple[list[str], float]:
    """The runs under way, and the moment before which things may go: never after one of them began."""
    table = schema.runs
    rows = connection.execute(sa.select(table.c.id, table.c.started).where(table.c.status == "running")).all()
    return [row.id for row in rows], min([horizon, *(row.started for row in rows)])


def _unneeded(connection: Connection, running: Sequence[str], horizon: float, keep: int) -> list[str]:
    run, version, arrow = schema.runs, schema.versions, schema.stage_artifacts
    recent = sa.select(run.c.id).order_by(run.c.ordinal.desc()).limit(keep)
    registering = sa.select(version.c.run_id).where(version.c.run_id.is_not(None))
    kept = {*connection.execute(recent).scalars(), *connection.execute(registering).scalars(), *running}
    needed = set(connection.execute(sa.select(version.c.model_digest)).scalars())
    for batch in _batches(sorted(kept)):
        needed |= set(connection.execute(sa.select(arrow.c.digest).where(arrow.c.run_id.in_(batch))).scalars())
    if running:  # they may be about to take anything from the cache
        needed |= set(connection.execute(sa.select(schema.cache_outputs.c.digest)).scalars())
    table = schema.artifacts
    query = sa.select(table.c.digest).where(table.c.collected.is_(None), table.c.touched < horizon)
    return [digest for digest in connection.execute(query.order_by(table.c.digest)).scalars() if digest not in needed]


def forget(connection: Connection, digests: Sequence[str]) -> None:
    """Take the contents of artifacts: their parts and what the cache knows of them. Their own rows stay."""
    output, table = schema.cache_outputs, schema.artifacts
    keys = list(connection.execute(sa.select(output.c.key).where(output.c.digest.in_(digests)).distinct()).scalars())
    connection.execute(output.delete().where(output.c.key.in_(keys)))
    connection.execute(schema.cache.delete().where(schema.cache.c.key.in_(keys)))
    connection.execute(schema.parts.delete().where(schema.parts.c.digest.in_(digests)))
    connection.execute(table.update().where(table.c.digest.in_(digests)).values(collected=time.time()))


def _needed(connection: Connection, except_for: Sequence[str] = ()) -> set[str]:
    """The objects that some row speaks of."""
    part, file = schema.parts, schema.package_files
    gone = set(except_for)
    rows = connection.execute(sa.select(part.c.digest, part.c.sha256).where(part.c.inline.is_(None)))
    needed = {row.sha256 for row in rows if row.digest not in gone}
    return needed | set(connection.execute(sa.select(file.c.sha256)).scalars())


def _remove(store: Store, database: Database, blobs: Sequence[Blob]) -> Iterator[Blob]:
    part, file, stamp = schema.parts, schema.package_files, schema.stamps
    for batch in _batches(blobs):
        names = [blob.sha256 for blob in batch]
        with database.write() as connection:
            database.exclude(connection)
            used = set(connection.execute(sa.select(part.c.sha256).where(part.c.sha256.in_(names))).scalars())
            used |= set(connection.execute(sa.select(file.c.sha256).where(file.c.sha256.in_(names))).scalars())
            going = [blob for blob in batch if blob.sha256 not in used]
            connection.execute(stamp.delete().where(stamp.c.sha256.in_([blob.sha256 for blob in going])))
            for blob in going:
                store.objects.delete(blob.sha256)
        yield from going


def _batches(items: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), _BATCH):
        yield items[start : start + _BATCH]
