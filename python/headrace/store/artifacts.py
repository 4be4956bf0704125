"""Artifacts: typed values, kept as objects and rows, named by what they say."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from headrace.errors import ArtifactError, NotFoundError, StoreError
from headrace.store.database import to_items
from headrace.store.objects import checked_digest
from headrace.store.parts import KeptPart, PartReader, PartWriter, inline_is_whole, keep_part
from headrace.types import Artifact, ArtifactRef

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from headrace.store.database import Connection, Database
    from headrace.store.objects import Objects

A = TypeVar("A", bound=Artifact)
_ATTEMPTS = 5
_DRAFT_BYTES = 32 << 20

_COUNT_LIVE = """
SELECT count(*) AS live FROM artifacts WHERE digest IN (SELECT value FROM json_each(:items)) AND collected IS NULL
"""
_PUT_ARTIFACT = """
INSERT INTO artifacts (digest, type_name, size, created, touched) VALUES (:digest, :type_name, :size, :now, :now)
ON CONFLICT (digest) DO UPDATE
SET type_name = excluded.type_name, size = excluded.size, touched = excluded.touched, collected = NULL
"""
_ADD_PART = """
INSERT INTO parts (digest, name, format, content, sha256, size, inline)
VALUES (:digest, :name, :format, :content, :sha256, :size, :inline)
"""
_EVERYTHING = """
SELECT a.type_name, a.size AS total, a.created, a.collected,
    p.name, p.format, p.content, p.sha256, p.size, p.inline, s.stamp
FROM artifacts AS a LEFT JOIN parts AS p ON p.digest = a.digest LEFT JOIN stamps AS s ON s.sha256 = p.sha256
WHERE a.digest = :digest ORDER BY p.name
"""
_STAMPS = "SELECT sha256, stamp FROM stamps WHERE sha256 IN (SELECT value FROM json_each(:items))"
_PUT_STAMP = """
INSERT INTO stamps (sha256, stamp) VALUES (:sha256, :stamp) ON CONFLICT (sha256) DO UPDATE SET stamp = excluded.stamp
"""


@dataclass(frozen=True)
class PartInfo:
    """One part: its format, the size and SHA-256 of its bytes, and whether they lie in the database row."""

    format: str
    size: int
    sha256: str
    inline: bool


@dataclass(frozen=True)
class ArtifactInfo:
    """What the store knows of an artifact. Times in seconds since the epoch.

    `collected`: when the garbage collector took its contents; None: they are there.
    """

    ref: ArtifactRef
    parts: Mapping[str, PartInfo]
    created: float
    collected: float | None


@dataclass(frozen=True)
class Draft:
    """An artifact whose objects are on the disk and whose row is not written yet.

    `fresh`: its row and parts are to be written; else they are there already, and only their use is to be noted.
    """

    ref: ArtifactRef
    writer: PartWriter
    kept: Mapping[str, KeptPart]
    fresh: bool


@dataclass(frozen=True)
class _Found:
    """An artifact as its rows say, with the stamps of its objects' files (SHA-256 -> stamp)."""

    info: ArtifactInfo
    kept: Mapping[str, KeptPart]
    stamps: Mapping[str, str]


class Artifacts:
    """The artifacts of a store.

    What `save` keeps becomes visible to others with the transaction that refers to it (`Runs.commit_stage`), or with
    `flush`, which `Store.close` calls. Until then this object knows it as a draft. So a stage costs one transaction
    however many outputs it has, and a crash before it leaves no rows behind.
    """

    def __init__(self, database: Database, objects: Objects) -> None:
        self._database = database
        self._objects = objects
        self._drafts: dict[str, Draft] = {}
        self._lock = threading.Lock()

    # --- saving -----------------------------------------------------------------------------------------------------

    def save(self, artifact: Artifact) -> ArtifactRef:
        """Keep an artifact. Returns when its objects are on the disk; its row follows, see `Artifacts`.

        The same content again gives the same digest; what was kept first stays, unless it is damaged or gone.
        Raises `ArtifactError` if the value cannot be kept, `StoreError` if the store cannot.
        """
        writer = _written(artifact)
        digest = writer.digest
        with self._lock:
            draft = self._drafts.get(digest)
        if draft is None:
            draft = self._draft(digest, writer)
            with self._lock:
                self._drafts[digest] = draft
                full = sum(d.ref.size for d in self._drafts.values()) > _DRAFT_BYTES
            if full:
                self.flush()
        return draft.ref

    def flush(self) -> None:
        """Write the rows of all drafts."""
        with self._lock:
            drafts = [self._drafts[digest] for digest in sorted(self._drafts)]
        if drafts:
            self.commit(drafts)

    def drafts_of(self, refs: Iterable[ArtifactRef]) -> list[Draft]:
        """Those of `refs` whose rows are not written yet."""
        digests = {ref.digest for ref in refs}
        with self._lock:
            return [self._drafts[digest] for digest in sorted(digests) if digest in self._drafts]

    def commit(
        self,
        drafts: Sequence[Draft],
        *,
        before: Callable[[Connection], None] | None = None,
        after: Callable[[Connection], None] | None = None,
    ) -> None:
        """Write the rows of drafts in one transaction, with whatever is to be written before and after them.

        The garbage collector may have taken an old object that a draft meant to use again. The transaction sees that
        before it writes anything; the object is made again, and the transaction tried once more.
        """
        for _ in range(_ATTEMPTS):
            with self._database.write() as connection:
                self._database.share(connection)
                # From here on nobody removes objects; and once the rows are written, nobody may.
                ready = self._are_ready(connection, drafts)
                if ready:
                    if before is not None:
                        before(connection)
                    self._record(connection, drafts)
                    if after is not None:
                        after(connection)
            if ready:
                with self._lock:
                    for draft in drafts:
                        self._drafts.pop(draft.ref.digest, None)
                return
            drafts = [self._draft(draft.ref.digest, draft.writer) for draft in drafts]
        raise StoreError(
            "objects vanish as fast as they are written",
            place=str(self._objects.folder),
            hint="Something else removes files from the store's folder: stop that.",
        )

    def _draft(self, digest: str, writer: PartWriter) -> Draft:
        """Put an artifact's objects onto the disk, unless all of it is there already."""
        if any(not part.is_inline for part in writer.parts.values()):
            known = self._read(digest)  # not `_find`: the draft itself would answer
            if known is not None and known.info.collected is None and self._is_whole(known):
                return Draft(known.info.ref, writer, known.kept, fresh=False)
        kept = {part.name: keep_part(part, self._objects) for part in writer.parts.values()}
        ref = ArtifactRef(digest, writer.type_name, sum(part.size for part in kept.values()))
        return Draft(ref, writer, kept, fresh=True)

    def _are_ready(self, connection: Connection, drafts: Sequence[Draft]) -> bool:
        known = [draft.ref.digest for draft in drafts if not draft.fresh]
        if known and connection.rows(_COUNT_LIVE, items=to_items(known))[0].live != len(known):
            return False
        parts = [part for draft in drafts for part in draft.kept.values() if part.inline is None]
        return all(self._objects.has(part.sha256, part.size) for part in parts)

    def _record(self, connection: Connection, drafts: Sequence[Draft]) -> None:
        """Write the rows of artifacts, over those of such as are damaged or were collected."""
        now = time.time()
        known = [{"now": now, "digest": draft.ref.digest} for draft in drafts if not draft.fresh]
        connection.run("UPDATE artifacts SET touched = :now WHERE digest = :digest", known)
        fresh = [draft for draft in drafts if draft.fresh]
        connection.run(_PUT_ARTIFACT, [{**vars(draft.ref), "now": now} for draft in fresh])
        connection.run("DELETE FROM parts WHERE digest = :digest", [{"digest": draft.ref.digest} for draft in fresh])
        parts = [{"digest": draft.ref.digest, **vars(part)} for draft in fresh for part in draft.kept.values()]
        connection.run(_ADD_PART, parts)

    # --- loading ----------------------------------------------------------------------------------------------------

    def load(self, which: ArtifactRef | str, cls: type[A]) -> A:
        """An artifact as an instance of `cls`. Its bytes are checked as they are read, which may be later.

        Raises `NotFoundError` if it is not here, `ArtifactError` if it is of another type or was collected,
        `CorruptObjectError` if its bytes are damaged.
        """
        digest = which.digest if isinstance(which, ArtifactRef) else which
        found = self._get(digest)
        info = found.info
        if info.ref.type_name != cls.type_name:
            raise ArtifactError(
                f"the artifact is a {info.ref.type_name}, and was read as a {cls.type_name}", place=f"artifact {digest}"
            )
        if info.collected is not None:
            raise ArtifactError(
                "the garbage collector took the contents of this artifact; only its record is left",
                place=f"artifact {digest}",
                hint="Run again to make it anew.",
            )
        return cls.load(PartReader(found.kept, self._objects, f"artifact {digest}"))

    def info(self, digest: str) -> ArtifactInfo:
        """What is known of an artifact. Raises `NotFoundError` if there is no record of it."""
        return self._get(digest).info

    def verify(self, digest: str) -> bool:
        """Whether everything of an artifact is here and undamaged.

        A file that nobody wrote to since it was last read in full (see `Objects.stamp`) is not read again; any other
        is, and a damaged one is moved to quarantine.
        """
        found = self._find(checked_digest(digest))
        return found is not None and found.info.collected is None and self._is_whole(found)

    def _get(self, digest: str) -> _Found:
        found = self._find(checked_digest(digest))
        if found is None:
            raise NotFoundError("the store does not know this artifact", place=f"artifact {digest}")
        return found

    def _find(self, digest: str) -> _Found | None:
        with self._lock:
            draft = self._drafts.get(digest)
        if draft is not None:
            return _Found(ArtifactInfo(draft.ref, _described(draft.kept), time.time(), None), draft.kept, {})
        return self._read(digest)

    def _read(self, digest: str) -> _Found | None:
        """Everything that the rows say about an artifact, by one query."""
        with self._database.read() as connection:
            rows = connection.rows(_EVERYTHING, digest=digest)
        if not rows:
            return None
        kept = {row.name: kept_part(row) for row in rows if row.name is not None}
        ref = ArtifactRef(digest, rows[0].type_name, rows[0].total)
        info = ArtifactInfo(ref, _described(kept), rows[0].created, rows[0].collected)
        return _Found(info, kept, {row.sha256: row.stamp for row in rows if row.stamp is not None})

    # --- checking ---------------------------------------------------------------------------------------------------

    def _is_whole(self, found: _Found) -> bool:
        parts = found.kept.values()
        if not all(inline_is_whole(part) for part in parts if part.inline is not None):
            return False
        return self._are_whole({part.sha256: part.size for part in parts if part.inline is None}, found.stamps)

    def objects_are_whole(self, sizes: Mapping[str, int]) -> bool:
        """Whether objects (SHA-256 -> size) are here and undamaged; files that nobody touched are not read again."""
        with self._database.read() as connection:
            rows = connection.rows(_STAMPS, items=to_items(sizes))
        return self._are_whole(sizes, {row.sha256: row.stamp for row in rows})

    def _are_whole(self, sizes: Mapping[str, int], trusted: Mapping[str, str]) -> bool:
        fresh: dict[str, str] = {}
        whole = True
        for sha256, size in sizes.items():
            before = self._objects.stamp(sha256)
            if before is not None and before == trusted.get(sha256):
                continue
            if not self._objects.verify(sha256, size):
                whole = False
            elif before is not None and self._objects.stamp(sha256) == before and self._objects.settled(before):
                fresh[sha256] = before
        if fresh and self._database.takes_writes():
            self.remember(fresh)
        return whole

    def remember(self, stamps: Mapping[str, str]) -> None:
        """Keep the stamps of files that were just read in full."""
        rows = [{"sha256": sha256, "stamp": stamp} for sha256, stamp in sorted(stamps.items())]
        with self._database.write() as connection:
            connection.run(_PUT_STAMP, rows)


def _written(artifact: Artifact) -> PartWriter:
    type_name = getattr(type(artifact), "type_name", None)
    if not isinstance(type_name, str) or not hasattr(artifact, "save"):
        raise ArtifactError(
            f"{type(artifact).__name__} is not an artifact", hint="It needs `type_name`, `save` and `load`."
        )
    writer = PartWriter(type_name)
    artifact.save(writer)
    return writer


def kept_part(row: Any) -> KeptPart:
    """A row of `parts`."""
    inline = bytes(row.inline) if row.inline is not None else None
    return KeptPart(row.name, row.format, row.content, row.sha256, row.size, inline)


def _described(kept: Mapping[str, KeptPart]) -> dict[str, PartInfo]:
    return {p.name: PartInfo(p.format, p.size, p.sha256, p.inline is not None) for p in kept.values()}
