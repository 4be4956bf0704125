"""Checking a store: every byte of every object, every row against what it speaks of."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import sqlalchemy as sa

from headrace.errors import StoreError
from headrace.store import schema
from headrace.store.artifacts import kept_part
from headrace.store.gc import forget
from headrace.store.locks import FileLock, is_held
from headrace.store.parts import inline_is_whole

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from headrace.store.store import Store


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong: what, where, and what it means. `mended`: `repair` has dealt with it."""

    what: str
    place: str
    detail: str
    mended: bool = False


@dataclass(frozen=True)
class FsckReport:
    """The state of a store.

    `missing`, `corrupt` (moved to quarantine) and `dangling` are damage. `stale` are files that a dead process left,
    `crashed` the runs that died, `orphans` objects that no row speaks of (the garbage collector takes them when they
    are old enough): these are harmless. `objects`, `bytes`, `artifacts`, `versions` count what was checked.
    `read_only`: nothing could be written there, so nothing was mended or moved.
    """

    objects: int
    bytes: int
    artifacts: int
    versions: int
    missing: tuple[Finding, ...] = ()
    corrupt: tuple[Finding, ...] = ()
    dangling: tuple[Finding, ...] = ()
    stale: tuple[Finding, ...] = ()
    crashed: tuple[str, ...] = ()
    orphans: int = 0
    orphan_bytes: int = 0
    read_only: bool = False

    @property
    def ok(self) -> bool:
        """Whether nothing is damaged that was not mended."""
        return all(finding.mended for finding in (*self.missing, *self.corrupt, *self.dangling))


@dataclass
class _Check:
    """One check of one store: what was found so far."""

    store: Store
    repair: bool
    present: dict[str, int] = field(default_factory=dict)
    bad: set[str] = field(default_factory=set)
    damaged: set[str] = field(default_factory=set)
    missing: list[Finding] = field(default_factory=list)
    corrupt: list[Finding] = field(default_factory=list)
    dangling: list[Finding] = field(default_factory=list)


def check(store: Store, *, repair: bool) -> FsckReport:
    """Check everything. `repair` forgets what cannot be had any more, so that the next run makes it anew.

    Nothing is repaired by guessing: a missing file of a registered package, or rows that contradict each other, are
    for a person with a copy of the store. Raises `StoreError` if the database cannot be read at all.
    """
    if not store.read_only and not store.takes_writes():
        with type(store).open(store.root, url=store.url, create=False, read_only=True) as looking:
            return check(looking, repair=repair)
    if repair and store.read_only:
        raise StoreError(
            "a store that is read-only cannot be repaired",
            place=str(store.root),
            hint="Make it writable, or repair a copy; without `--repair` it is only checked.",
        )
    if not store.read_only:
        store.artifacts.flush()
    state = _Check(store, repair)
    _check_objects(state)
    referred, artifacts = _check_artifacts(state)
    packaged, versions = _check_versions(state)
    _check_database(state)
    mended = repair and bool(state.damaged)
    if mended:
        _give_up(store, sorted(state.damaged))
    stale = tuple(_stale(store, repair=repair))
    crashed = store.runs.reap() if repair else [run_id for run_id, _ in store.runs.dead()]
    orphans = state.present.keys() - referred - packaged - state.bad
    return FsckReport(
        objects=len(state.present),
        bytes=sum(state.present.values()),
        artifacts=artifacts,
        versions=versions,
        missing=tuple(state.missing),
        corrupt=tuple(state.corrupt),
        dangling=tuple(state.dangling),
        stale=stale,
        crashed=tuple(crashed),
        orphans=len(orphans),
        orphan_bytes=sum(state.present[sha256] for sha256 in orphans),
        read_only=store.read_only,
    )


def _check_objects(state: _Check) -> None:
    """Read every object. What does not match its name goes to quarantine."""
    objects = state.store.objects
    fresh = {}
    for blob in objects.names():
        state.present[blob.sha256] = blob.size
        before = objects.stamp(blob.sha256)
        found = objects.examine(blob.sha256, blob.size)
        if found == "damaged":
            state.bad.add(blob.sha256)
        elif (
            found == "whole" and before is not None and before == objects.stamp(blob.sha256) and objects.settled(before)
        ):
            fresh[blob.sha256] = before
    if fresh and not state.store.read_only:
        state.store.artifacts.remember(fresh)


def _check_artifacts(state: _Check) -> tuple[set[str], int]:
    """Every part of every artifact that has contents; returns the objects that they refer to, and how many they are."""
    part, artifact = schema.parts, schema.artifacts
    query = sa.select(part, artifact.c.type_name).join(artifact, artifact.c.digest == part.c.digest)
    with state.store.database.read() as connection:
        rows = connection.execute(query.where(artifact.c.collected.is_(None))).all()
        count = connection.execute(
            sa.select(sa.func.count()).select_from(artifact).where(artifact.c.collected.is_(None))
        ).scalar_one()
    referred = set()
    for row in rows:
        place = f"artifact {row.digest}"
        detail = f"part {row.name} of a {row.type_name}"
        if row.inline is not None:
            if not inline_is_whole(kept_part(row)):
                state.damaged.add(row.digest)
                state.corrupt.append(Finding("row", place, detail, mended=state.repair))
            continue
        referred.add(row.sha256)
        if not _object(state, row.sha256, row.size, place, detail, mended=state.repair):
            state.damaged.add(row.digest)
    return referred, count


def _check_versions(state: _Check) -> tuple[set[str], int]:
    """Every file of every package, and every alias against its history."""
    from headrace.store.versions import manifest_files

    file, version = schema.package_files, schema.versions
    with state.store.database.read() as connection:
        files = connection.execute(sa.select(file)).all()
        versions = connection.execute(sa.select(version)).all()
        aliases = connection.execute(sa.select(schema.aliases)).all()
        history = connection.execute(sa.select(schema.alias_history)).all()
    recorded: dict[str, dict[str, tuple[str, int]]] = {}
    for row in files:
        recorded.setdefault(row.package, {})[row.name] = (row.sha256, row.size)
        _object(state, row.sha256, row.size, f"package {row.package}", f"file {row.name}", mended=False)
    for row in versions:
        if manifest_files(row.manifest) != recorded.get(row.package, {}):
            detail = "its manifest and its recorded files differ"
            state.dangling.append(Finding("version", f"{row.model}@{row.number}", detail))
    moves = {(row.model, row.alias, row.rev): row.number for row in history}
    for row in aliases:
        if moves.get((row.model, row.alias, row.rev)) != row.number:
            detail = f"it is at version {row.number}, and its history says otherwise"
            state.dangling.append(Finding("alias", f"{row.model}@{row.alias}", detail))
    return {row.sha256 for row in files}, len(versions)


def _object(state: _Check, sha256: str, size: int, place: str, detail: str, *, mended: bool) -> bool:
    """Whether an object that a row speaks of is here and whole; else record what is wrong."""
    if sha256 in state.bad:
        state.corrupt.append(Finding(f"object {sha256}", place, detail, mended))
        return False
    if state.present.get(sha256) == size or state.store.objects.has(sha256, size):
        return True  # the second: it was written while this check went on
    if not _still_referred(state.store, sha256):
        return True  # the garbage collector took both while this check went on
    state.missing.append(Finding(f"object {sha256}", place, detail, mended))
    return False


def _still_referred(store: Store, sha256: str) -> bool:
    part, file = schema.parts, schema.package_files
    with store.database.read() as connection:
        parts = connection.execute(sa.select(part.c.digest).where(part.c.sha256 == sha256).limit(1)).first()
        files = connection.execute(sa.select(file.c.package).where(file.c.sha256 == sha256).limit(1)).first()
    return parts is not None or files is not None


def _check_database(state: _Check) -> None:
    """What the database itself can say: its pages, its foreign keys, and the cache against the artifacts."""
    store = state.store
    output, artifact = schema.cache_outputs, schema.artifacts
    stale = sa.select(output.c.key, output.c.digest).join(artifact, artifact.c.digest == output.c.digest)
    with store.database.read() as connection:
        if store.database.dialect == "sqlite":
            for (text,) in connection.core.exec_driver_sql("PRAGMA integrity_check(20)"):
                if text != "ok":
                    state.corrupt.append(Finding("database", store.database.place, str(text)))
            for row in connection.core.exec_driver_sql("PRAGMA foreign_key_check"):
                detail = f"row {row[1]} refers to a row of {row[2]} that is not there"
                state.dangling.append(Finding("row", f"table {row[0]}", detail))
        for key, digest in connection.core.execute(stale.where(artifact.c.collected.is_not(None))):
            state.dangling.append(Finding("cache entry", f"key {key}", f"its artifact {digest} was collected"))


def _give_up(store: Store, digests: Sequence[str]) -> None:
    """Forget what is damaged, so that nobody relies on it."""
    with store.database.write() as connection:
        store.database.exclude(connection)
        forget(connection, digests)


def _stale(store: Store, *, repair: bool) -> Iterator[Finding]:
    """What dead processes left in `tmp` and `locks`. Their locks were released by their death."""
    for name in sorted({path.stem for path in (store.root / "tmp").iterdir()}):
        folder, lock = store.root / "tmp" / name, store.root / "tmp" / f"{name}.lock"
        if not is_held(lock):
            mended = _removed(lock, folder) if repair else False
            yield Finding("temporary", str(folder), "left by a dead process", mended)
    for path in sorted((store.root / "locks").iterdir()):
        if not is_held(path):
            yield Finding("lock", str(path), "its holder is dead", _removed(path) if repair else False)


def _removed(path: Path, folder: Path | None = None) -> bool:
    """Remove a lock file, and the folder that it guards, while holding it: whoever was faster keeps both."""
    lock = FileLock.try_acquire(path)
    if lock is None:
        return False
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)
    lock.release()
    return True
