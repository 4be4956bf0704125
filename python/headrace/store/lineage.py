"""Lineage: what made an artifact, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import sqlalchemy as sa

from headrace.errors import NotFoundError
from headrace.store import schema
from headrace.store.objects import checked_digest
from headrace.store.runs import read_stages
from headrace.types import ArtifactRef, ModelVersion, Outcome, StageInfo

if TYPE_CHECKING:
    from collections.abc import Mapping

    from headrace.store.database import Database

_SHORTEST_PREFIX = 4


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
        table = schema.versions
        query = sa.select(table.c.model, table.c.number, table.c.package).order_by(table.c.model, table.c.number)
        with self._database.read() as connection:
            rows = connection.execute(query.where(table.c.model_digest == checked_digest(digest)))
            return [ModelVersion(*row) for row in rows]

    def resolve(self, prefix: str) -> str:
        """The digest of the one artifact whose digest begins so. Raises `NotFoundError` for none or several."""
        if len(prefix) < _SHORTEST_PREFIX or len(prefix) > 64 or not set(prefix) <= set("0123456789abcdef"):
            raise NotFoundError(
                f"{prefix!r:.80} is not the beginning of a digest",
                hint=f"Write at least {_SHORTEST_PREFIX} hexadecimal digits, as `headrace runs show` prints them.",
            )
        table = schema.artifacts
        query = sa.select(table.c.digest).where(table.c.digest.startswith(prefix)).order_by(table.c.digest).limit(6)
        with self._database.read() as connection:
            found = list(connection.execute(query).scalars())
        if not found:
            raise NotFoundError(f"there is no artifact {prefix}", hint="`headrace runs show RUN` lists those of a run.")
        if len(found) > 1:
            listed = ", ".join(digest[: len(prefix) + 6] for digest in found[:5])
            raise NotFoundError(f"several artifacts begin with {prefix}: {listed}", hint="Write more of it.")
        return str(found[0])

    def _steps(self, digest: str, direction: Literal["input", "output"], limit: int) -> list[Step]:
        arrow, run = schema.stage_artifacts, schema.runs
        query = (
            sa.select(arrow.c.run_id, arrow.c.stage, run.c.project)
            .join(run, run.c.id == arrow.c.run_id)
            .where(arrow.c.digest == checked_digest(digest), arrow.c.direction == direction)
            .order_by(run.c.ordinal.desc(), arrow.c.stage)
            .distinct()
            .limit(limit)
        )
        # DISTINCT needs what it orders by among its columns, in PostgreSQL.
        query = query.add_columns(run.c.ordinal)
        with self._database.read() as connection:
            places = connection.execute(query).all()
            records = read_stages(connection, sorted({place.run_id for place in places}))
        found = []
        for place in places:
            record = next(r for r in records[place.run_id] if r.stage.name == place.stage)
            about = (place.run_id, place.project, record.started, record.stage, record.outcome)
            found.append(Step(*about, inputs=record.inputs, outputs=record.outputs))
        return found
