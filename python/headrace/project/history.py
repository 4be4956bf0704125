"""What there is to tell of a project's loop: its log, incidents, moves of aliases, and metrics over time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headrace.errors import DataError, RegistryError, SpecError, StoreError
from headrace.loop.report import incidents
from headrace.loop.report import since as from_then
from headrace.project.feedback import as_document
from headrace.project.looping import model_of
from headrace.project.measuring import over_time

if TYPE_CHECKING:
    from headrace.project import Project
    from headrace.project.feedback import Period
    from headrace.store.loops import LogEntry
    from headrace.types import AliasMove


@dataclass(frozen=True)
class History:
    """`metric`: the champion's; `periods`: as documents, oldest first, and why there are none, if so."""

    project: str
    model: str
    champion: int | None
    entries: list[LogEntry]
    incidents: list[dict[str, Any]]
    moves: list[AliasMove]
    metric: str | None
    periods: list[dict[str, Any]]
    periods_unknown: str | None
    head: str


def history_of(project: Project, *, period: Period = "week", since: float | None = None) -> History:
    """Everything from a moment on, in seconds since the epoch (None: from the beginning)."""
    from headrace.loop.judging import primary

    entries = project.store_to_read.loops.entries(project.spec.name)
    model = model_of(project)
    champion = project.registry.champion(model)
    periods: list[dict[str, Any]] = []
    unknown = None
    try:
        measured = [one for one in over_time(project, period) if since is None or one.start.timestamp() >= since]
        periods = as_document(measured)["periods"]
    except (DataError, RegistryError, SpecError, StoreError) as error:
        unknown = f"{error.place}: {error.message}" if error.place else error.message
    moves = [move for move in reversed(project.registry.history(model)) if since is None or move.at >= since]
    wrong = [one for one in incidents(entries) if since is None or (one["until"] or float("inf")) >= since]
    return History(
        project=project.spec.name,
        model=model,
        champion=champion.version.number if champion is not None else None,
        entries=from_then(entries, since),
        incidents=wrong,
        moves=moves,
        metric=primary(champion) if champion is not None else None,
        periods=periods,
        periods_unknown=unknown,
        head=entries[-1].hash if entries else "",
    )
