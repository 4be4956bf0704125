"""Model versions and aliases as rows. What a version may be called, and what a package is, the registry decides.

A version, the files of a package and the history of an alias are only ever added: triggers in the database refuse
anything else. An alias moves by compare-and-swap on its revision, with its history entry in the same transaction.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from headrace.errors import AliasConflictError, RegistryError, StoreError
from headrace.store.database import ConstraintError, from_json, to_json, to_text
from headrace.types import AliasMove

if TYPE_CHECKING:
    from collections.abc import Mapping

    from headrace.store.artifacts import Artifacts
    from headrace.store.database import Connection, Database
    from headrace.store.objects import Blob, Objects

_ATTEMPTS = 5

_ADD_MODEL = "INSERT INTO models (name, last_number) VALUES (:name, 0) ON CONFLICT DO NOTHING"
_VERSION_OF_PACKAGE = "SELECT * FROM versions WHERE model = :model AND package = :package"
_ADD_VERSION = """
INSERT INTO versions (model, number, package, model_digest, manifest, run_id, who, created)
VALUES (:model, :number, :package, :model_digest, :manifest, :run_id, :who, :created)
"""
_ADD_FILE = """
INSERT INTO package_files (package, name, sha256, size) VALUES (:package, :name, :sha256, :size) ON CONFLICT DO NOTHING
"""
_ALIAS = "SELECT number FROM aliases WHERE model = :model AND alias = :alias"
_ADD_ALIAS = "INSERT INTO aliases (model, alias, number, rev) VALUES (:model, :alias, :number, :rev)"
_SWAP_ALIAS = """
UPDATE aliases SET number = :to, rev = :rev
WHERE model = :model AND alias = :alias AND number = :from AND rev = :expected
"""
_ADD_MOVE = """
INSERT INTO alias_history (model, alias, rev, number, previous, action, who, why, gate, run_id, at)
VALUES (:model, :alias, :rev, :number, :previous, :action, :who, :why, :gate, :run_id, :at)
"""
_HISTORY = "SELECT * FROM alias_history WHERE model = :model ORDER BY at DESC, alias, rev DESC"
# The revision knows the order even where the clock was set back.
_HISTORY_OF_ALIAS = "SELECT * FROM alias_history WHERE model = :model AND alias = :alias ORDER BY rev DESC"


@dataclass(frozen=True)
class Version:
    """A registered version. `manifest` is the package's; `created` in seconds since the epoch."""

    model: str
    number: int
    package: str
    model_digest: str
    manifest: Mapping[str, Any]
    run_id: str | None
    who: str
    created: float


@dataclass(frozen=True)
class AliasState:
    """Where an alias is: the version's number, and how often it has moved."""

    number: int
    rev: int


@dataclass(frozen=True)
class Move:
    """A move of an alias that is wanted. `action` tells a rollback from other moves."""

    model: str
    alias: str
    number: int
    who: str
    why: str
    gate: str | None = None
    run_id: str | None = None
    action: Literal["move", "rollback"] = "move"


class Versions:
    """The registry's tables."""

    def __init__(self, database: Database, objects: Objects, artifacts: Artifacts) -> None:
        self._database = database
        self._objects = objects
        self._artifacts = artifacts

    # --- versions ---------------------------------------------------------------------------------------------------

    def add(self, version: Version, files: Mapping[str, bytes], blobs: Mapping[str, Blob]) -> tuple[Version, bool]:
        """Register a package: the next number of its model, or the number that the same package has already.

        `version.number` is ignored. `blobs` says what `files` are called. Returns the version and whether it is new.
        """
        for _ in range(_ATTEMPTS):
            for data in files.values():
                self._objects.put_bytes(data)
            with self._database.write() as connection:
                self._database.share(connection)
                known = self._lock_model(connection, version.model, version.package)
                if known is not None:
                    return known, False
                # Nobody can remove objects now, and once the rows are written nobody may.
                if all(self._objects.has(blob.sha256, blob.size) for blob in blobs.values()):
                    return self._insert(connection, version, blobs), True
        raise StoreError(
            "objects vanish as fast as they are written",
            place=str(self._objects.folder),
            hint="Something else removes files from the store's folder: stop that.",
        )

    def _lock_model(self, connection: Connection, model: str, package: str) -> Version | None:
        """Let one registration of a model go on at a time; give the version that the package has already."""
        connection.run(_ADD_MODEL, {"name": model})
        # Locks the row in PostgreSQL; SQLite has one writer anyway.
        connection.run("UPDATE models SET last_number = last_number WHERE name = :name", {"name": model})
        for row in connection.rows(_VERSION_OF_PACKAGE, model=model, package=package):
            return _version(row)
        return None

    def _insert(self, connection: Connection, version: Version, blobs: Mapping[str, Blob]) -> Version:
        connection.run("UPDATE models SET last_number = last_number + 1 WHERE name = :name", {"name": version.model})
        number = connection.rows("SELECT last_number FROM models WHERE name = :name", name=version.model)[0].last_number
        row = {
            "model": version.model,
            "number": number,
            "package": version.package,
            "model_digest": version.model_digest,
            "manifest": to_json(version.manifest),
            "run_id": version.run_id,
            "who": to_text(version.who),
            "created": version.created,
        }
        connection.run(_ADD_VERSION, row)
        files = [
            {"package": version.package, "name": name, "sha256": blob.sha256, "size": blob.size}
            for name, blob in blobs.items()
        ]
        connection.run(_ADD_FILE, files)
        return Version(**{**vars(version), "number": number})

    def get(self, model: str, number: int) -> Version | None:
        """A version, or None."""
        with self._database.read() as connection:
            rows = connection.rows(
                "SELECT * FROM versions WHERE model = :model AND number = :number", model=model, number=number
            )
        return _version(rows[0]) if rows else None

    def of(self, model: str) -> list[Version]:
        """The versions of a model, by number."""
        with self._database.read() as connection:
            rows = connection.rows("SELECT * FROM versions WHERE model = :model ORDER BY number", model=model)
        return [_version(row) for row in rows]

    def models(self) -> dict[str, int]:
        """The models that have versions, by name, with how many."""
        with self._database.read() as connection:
            rows = connection.rows("SELECT model, count(*) AS many FROM versions GROUP BY model ORDER BY model")
        return {row.model: row.many for row in rows}

    def is_whole(self, version: Version) -> bool:
        """Whether every file of a package is here and undamaged."""
        files = version.manifest["files"].values()
        return self._artifacts.objects_are_whole({f["sha256"]: f["size"] for f in files})

    # --- aliases ----------------------------------------------------------------------------------------------------

    def aliases(self, model: str) -> dict[str, AliasState]:
        """The aliases of a model."""
        with self._database.read() as connection:
            rows = connection.rows("SELECT * FROM aliases WHERE model = :model ORDER BY alias", model=model)
        return {row.alias: AliasState(row.number, row.rev) for row in rows}

    def move(self, move: Move, *, expected: AliasState | None) -> AliasMove:
        """Move an alias from `expected` (None: it does not exist) in one transaction with its history entry.

        Raises `AliasConflictError` if it is not there any more, `RegistryError` if there is no such version.
        """
        rev = 1 if expected is None else expected.rev + 1
        at = time.time()
        try:
            with self._database.write() as connection:
                if expected is None:
                    row = {"model": move.model, "alias": move.alias, "number": move.number, "rev": rev}
                    connection.run(_ADD_ALIAS, row)
                else:
                    where = {"model": move.model, "alias": move.alias}
                    swap = {"to": move.number, "rev": rev, "from": expected.number, "expected": expected.rev}
                    if not connection.run(_SWAP_ALIAS, where | swap):
                        found = connection.rows(_ALIAS, **where)
                        raise conflict(move, found[0].number if found else None, expected.number)
                entry = {
                    **vars(move),
                    "who": to_text(move.who),
                    "why": to_text(move.why),
                    "previous": expected.number if expected else None,
                    "rev": rev,
                    "at": at,
                }
                connection.run(_ADD_MOVE, entry)
        except ConstraintError as error:
            found_now = self.aliases(move.model).get(move.alias)
            if expected is None and found_now is not None:  # somebody made the alias first
                raise conflict(move, found_now.number, None) from error
            raise RegistryError(f"there is no version {move.number} of {move.model!r}") from error
        return AliasMove(
            model=move.model,
            alias=move.alias,
            version=move.number,
            previous=expected.number if expected else None,
            who=move.who,
            why=move.why,
            gate=move.gate,
            run_id=move.run_id,
            at=at,
            action=move.action,
        )

    def history(self, model: str, alias: str | None = None) -> list[AliasMove]:
        """Every move of a model's aliases, newest first."""
        return [_alias_move(row) for row in self._history(model, alias)]

    def standing(self, model: str, alias: str) -> list[int]:
        """The versions that an alias would go back through, the present one first.

        A move puts a version on top, a rollback takes one off: so two rollbacks go back two versions.
        """
        stack: list[int] = []
        for row in reversed(self._history(model, alias)):
            if row.action == "rollback" and row.number in stack[:-1]:
                while stack[-1] != row.number:
                    stack.pop()
            else:
                stack.append(row.number)
        return stack[::-1]

    def _history(self, model: str, alias: str | None) -> list[Any]:
        with self._database.read() as connection:
            if alias is None:
                return connection.rows(_HISTORY, model=model)
            return connection.rows(_HISTORY_OF_ALIAS, model=model, alias=alias)


def conflict(move: Move, found: int | None, expected: int | None) -> AliasConflictError:
    """What to raise where an alias is not where it was expected."""

    def words(number: int | None) -> str:
        return "does not exist" if number is None else f"is at version {number}"

    return AliasConflictError(
        f"the alias {move.alias!r} of {move.model!r} {words(found)}; it was expected that it {words(expected)}",
        hint=f"Somebody moved it: see `headrace models history {move.model}`, then decide anew.",
    )


def manifest_files(manifest: str) -> dict[str, tuple[str, int]]:
    """The files that a manifest, as its row holds it, lists: name -> SHA-256 and size."""
    return {name: (entry["sha256"], entry["size"]) for name, entry in from_json(manifest)["files"].items()}


def _version(row: Any) -> Version:
    return Version(
        model=row.model,
        number=row.number,
        package=row.package,
        model_digest=row.model_digest,
        manifest=from_json(row.manifest),
        run_id=row.run_id,
        who=row.who,
        created=row.created,
    )


def _alias_move(row: Any) -> AliasMove:
    return AliasMove(
        model=row.model,
        alias=row.alias,
        version=row.number,
        previous=row.previous,
        who=row.who,
        why=row.why,
        gate=row.gate,
        run_id=row.run_id,
        at=row.at,
        action=row.action,
    )
