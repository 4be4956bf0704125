"""Model versions and aliases as rows. What a version may be called, and what a package is, the registry decides.

A version, the files of a package and the history of an alias are only ever added: triggers in the database refuse
anything else. An alias moves by compare-and-swap on its revision, with its history entry in the same transaction.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from headrace.errors import AliasConflictError, RegistryError, StoreError
from headrace.store import schema
from headrace.store.database import from_json, to_json, to_text
from headrace.types import AliasMove

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy.engine import Connection, Row

    from headrace.store.artifacts import Artifacts
    from headrace.store.database import Database
    from headrace.store.objects import Blob, Objects

_ATTEMPTS = 5


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
        connection.execute(self._database.insert_new(schema.models), {"name": model, "last_number": 0})
        here = schema.models.c.name == model
        same = schema.models.update().where(here).values(last_number=schema.models.c.last_number)
        connection.execute(same)  # locks the row in PostgreSQL; SQLite has one writer anyway
        table = schema.versions
        query = sa.select(table).where(table.c.model == model, table.c.package == package)
        row = connection.execute(query).one_or_none()
        return None if row is None else _version(row)

    def _insert(self, connection: Connection, version: Version, blobs: Mapping[str, Blob]) -> Version:
        table = schema.models
        here = table.c.name == version.model
        connection.execute(table.update().where(here).values(last_number=table.c.last_number + 1))
        number = connection.execute(sa.select(table.c.last_number).where(here)).scalar_one()
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
        connection.execute(schema.versions.insert(), row)
        files = [
            {"package": version.package, "name": name, "sha256": blob.sha256, "size": blob.size}
            for name, blob in blobs.items()
        ]
        if files:
            connection.execute(self._database.insert_new(schema.package_files), files)
        return Version(**{**vars(version), "number": number})

    def get(self, model: str, number: int) -> Version | None:
        """A version, or None."""
        table = schema.versions
        query = sa.select(table).where(table.c.model == model, table.c.number == number)
        with self._database.read() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else _version(row)

    def of(self, model: str) -> list[Version]:
        """The versions of a model, by number."""
        table = schema.versions
        query = sa.select(table).where(table.c.model == model).order_by(table.c.number)
        with self._database.read() as connection:
            return [_version(row) for row in connection.execute(query)]

    def models(self) -> dict[str, int]:
        """The models that have versions, by name, with how many."""
        table = schema.versions
        query = sa.select(table.c.model, sa.func.count()).group_by(table.c.model).order_by(table.c.model)
        with self._database.read() as connection:
            return {row[0]: row[1] for row in connection.execute(query)}

    def is_whole(self, version: Version) -> bool:
        """Whether every file of a package is here and undamaged."""
        files = version.manifest["files"].values()
        return self._artifacts.objects_are_whole({f["sha256"]: f["size"] for f in files})

    # --- aliases ----------------------------------------------------------------------------------------------------

    def aliases(self, model: str) -> dict[str, AliasState]:
        """The aliases of a model."""
        table = schema.aliases
        query = sa.select(table).where(table.c.model == model).order_by(table.c.alias)
        with self._database.read() as connection:
            return {row.alias: AliasState(row.number, row.rev) for row in connection.execute(query)}

    def move(self, move: Move, *, expected: AliasState | None) -> AliasMove:
        """Move an alias from `expected` (None: it does not exist) in one transaction with its history entry.

        Raises `AliasConflictError` if it is not there any more, `RegistryError` if there is no such version.
        """
        table = schema.aliases
        here = sa.and_(table.c.model == move.model, table.c.alias == move.alias)
        rev = 1 if expected is None else expected.rev + 1
        at = time.time()
        try:
            with self._database.write() as connection:
                if expected is None:
                    row = {"model": move.model, "alias": move.alias, "number": move.number, "rev": rev}
                    connection.execute(table.insert(), row)
                else:
                    same = sa.and_(here, table.c.rev == expected.rev, table.c.number == expected.number)
                    values = {"number": move.number, "rev": rev}
                    if not connection.execute(table.update().where(same).values(values)).rowcount:
                        found = connection.execute(sa.select(table.c.number).where(here)).scalar_one_or_none()
                        raise conflict(move, found, expected.number)
                entry = {
                    **vars(move),
                    "who": to_text(move.who),
                    "why": to_text(move.why),
                    "previous": expected.number if expected else None,
                    "rev": rev,
                    "at": at,
                }
                connection.execute(schema.alias_history.insert(), entry)
        except IntegrityError as error:
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

    def _history(self, model: str, alias: str | None) -> list[Row[Any]]:
        table = schema.alias_history
        query = sa.select(table).where(table.c.model == model)
        if alias is None:
            query = query.order_by(table.c.at.desc(), table.c.alias, table.c.rev.desc())
        else:  # the revision knows the order even where the clock was set back
            query = query.where(table.c.alias == alias).order_by(table.c.rev.desc())
        with self._database.read() as connection:
            return list(connection.execute(query))


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


def _version(row: Row[Any]) -> Version:
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


def _alias_move(row: Row[Any]) -> AliasMove:
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
    )
