"""Lineage: what made an artifact, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from headrace.errors import NotFoundError
from headrace.store.objects import checked_digest
from headrace.store.runs import read_stages
from headrace.types import ArtifactRef, ModelVersion, Outcome, StageInfo

if TYPE_CHECKING:
    from collections.abc import Mapping

    from headrace.store.database import Database

_SHORTEST_PREFIX = 4

_VERSIONS = "SELECT model, number, package FROM versions WHERE model_digest = :digest ORDER BY model, number"
_BEGINNING = "SELECT digest FROM artifacts WHERE digest LIKE :prefix ORDER BY digest LIMIT 6"
# DISTINCT needs what it orders by among its columns, in PostgreSQL.
_PLACES = """
SELECT DISTINCT s.run_id, s.stage, r.project, r.ordinal FROM stage_artifacts AS s JOIN runs AS r ON r.id = s.run_id
WHERE s.digest = :digest AND s.direction = :direction ORDER BY r.ordinal DESC, s.stage LIMIT :limit
"""


@dataclass(frozen=True)
class Step:
    """One stage of one run that made or used an artifact, with everything that went in and came out.

    `started` in seconds since the epoch. `outcome` is `executed` or, where the run took it from the cache, `cached`.
    """

    run_id: str
    project: str
    started: float
    stage: StageInfo
    outcome: Outcome
    inputs: Mapping[str, ArtifactRef]
    outputs: Mapping[str, ArtifactRef]


class Lineage:
    """The arrows between artifacts, as the runs recorded them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def producers(self, digest: str, *, limit: int = 100) -> list[Step]:
        """The stages that gave an artifact: those that executed first, each group newest first."""
        steps = self._steps(digest, "output", limit)
        return sorted(steps, key=lambda step: step.outcome != "executed")

    def consumers(self, digest: str, *, limit: int = 100) -> list[Step]:
        """The stages that took an artifact as an input, newest first."""
        return self._steps(digest, "input", limit)

    def versions(self, digest: str) -> list[ModelVersion]:
        """The registered versions whose model is this artifact."""
        with self._database.read() as connection:
            rows = connection.rows(_VERSIONS, digest=checked_digest(digest))
        return [ModelVersion(row.model, row.number, row.package) for row in rows]

    def resolve(self, prefix: str) -> str:
        """The digest of the one artifact whose digest begins so. Raises `NotFoundError` for none or several."""
        if len(prefix) < _SHORTEST_PREFIX or len(prefix) > 64 or not set(prefix) <= set("0123456789abcdef"):
            raise NotFoundError(
                f"{prefix!r:.80} is not the beginning of a digest",
                hint=f"Write at least {_SHORTEST_PREFIX} hexadecimal digits, as `headrace runs show` prints them.",
            )
        with self._database.read() as connection:
            found = [str(row.digest) for row in connection.rows(_BEGINNING, prefix=f"{prefix}%")]
        if not found:
            raise NotFoundError(f"there is no artifact {prefix}", hint="`headrace runs show RUN` lists those of a run.")
        if len(found) > 1:
            listed = ", ".join(digest[: len(prefix) + 6] for digest in found[:5])
            raise NotFoundError(f"several artifacts begin with {prefix}: {listed}", hint="Write more of it.")
        return found[0]

    def _steps(self, digest: str, direction: Literal["input", "output"], limit: int) -> list[Step]:
        with self._database.read() as connection:
            places = connection.rows(_PLACES, digest=checked_digest(digest), direction=direction, limit=limit)
            records = read_stages(connection, sorted({place.run_id for place in places}))
        found = []
        for place in places:
            record = next(r for r in records[place.run_id] if r.stage.name == place.stage)
            about = (place.run_id, place.project, record.started, record.stage, record.outcome)
            found.append(Step(*about, inputs=record.inputs, outputs=record.outputs))
        return found
