"""Metrics over time of a project's live rows, by version and by slice, from labels as they are known by now."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from headrace.errors import SpecError
from headrace.hooks.catalog import nearest
from headrace.loop.live import Live, moments
from headrace.loop.moves import OWN
from headrace.loop.policy import columns_of, read_policy
from headrace.project.feedback import LOG, all_metrics, as_text, by_parts, summary
from headrace.project.looping import ProjectWorkshop, file_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl

    from headrace.compute.inference import Predictor
    from headrace.loop.policy import Columns, LoopPolicy
    from headrace.project import Project
    from headrace.project.feedback import Measured, Period

_EVERY = {"hour": "1h", "day": "1d", "week": "1w", "month": "1mo"}


def over_time(project: Project, period: Period = "week") -> list[Measured]:
    """The metrics of each version in each period, oldest first; of all rows, and by the slices of `[loop.live]`.

    From what the server logged, with `use = "served"`. Files do not say who predicted: there the version that was
    champion when the row happened predicts it now. A row counts once, with the label that counts by now. Raises
    `SpecError` for a slice that is no column, `DataError` for files that are not as they must be.
    """
    policy = read_policy(project.spec)
    columns = columns_of(project.spec, policy)
    if policy.live is None or columns is None:
        return []
    if policy.live.use == "served":
        log = project.store_to_read.root / LOG
        model = ProjectWorkshop(project).model
        return summary(project, log=log, period=period, slices=policy.live.slices, model=model)
    return _of_files(project, policy, columns, period)


def _of_files(project: Project, policy: LoopPolicy, columns: Columns, period: Period) -> list[Measured]:
    import polars as pl

    model = ProjectWorkshop(project).model
    reigns = _reigns(project, model)
    frame = Live(file_rows(project, policy, columns), columns).rows(None, dt.datetime.now(dt.UTC))
    slices = policy.live.slices if policy.live is not None else ()
    for name in slices:
        if name not in frame.columns and frame.height:
            raise SpecError(
                f"{name!r} is no column of the live rows",
                place=project.spec.place("loop", "live", "slices"),
                hint=nearest(name, frame.columns),
            )
    if not reigns or not frame.height:
        return []
    when = moments(frame, columns.time)
    marked = pl.DataFrame(
        {
            "start": when.dt.truncate(_EVERY[period]),
            "version": _champions(when, reigns),
            "label": frame[columns.target],
            "__row": pl.int_range(frame.height, eager=True),
        }
    ).with_columns(pl.lit(model).alias("model"), *(as_text(frame[name]).alias(f"/{name}") for name in slices))
    predictors: dict[str, Predictor] = {}

    def measure(_model: str, version: str, rows: pl.DataFrame) -> dict[str, float | None]:
        return _measured(project, predictors, f"{model}@{version}", frame[rows["__row"]])

    return by_parts(marked.filter(pl.col("version").is_not_null()), slices, measure)


def _measured(
    project: Project, predictors: dict[str, Predictor], which: str, rows: pl.DataFrame
) -> dict[str, float | None]:
    from headrace.compute.inference import Predictor
    from headrace.compute.metrics import Scored

    if which not in predictors:
        package = project.registry.resolve(which)
        predictors[which] = Predictor.from_package(package, transforms=project.transforms)
    predictor = predictors[which]
    truth = predictor.plan.encode_target(rows, strict=False)
    known = truth.is_not_null()
    if not known.any():
        return {}
    scores = predictor.scores(rows.filter(known))
    return all_metrics(Scored(predictor.plan.task, truth.filter(known).to_numpy(), scores))


def _reigns(project: Project, model: str) -> list[tuple[float, int]]:
    """From when on which version was champion. The loop's own promotions count by the loop's clock."""
    found: list[tuple[float, int]] = []
    first: int | None = None
    for entry in project.store_to_read.loops.entries(project.spec.name):
        if entry.kind == "promoted":
            first = entry.body["previous"] if not found else first
            found.append((entry.at, int(entry.body["version"])))
        elif entry.kind == "rolled back":
            found.append((entry.at, int(entry.body["to"])))
    by_hand = [move for move in project.registry.history(model, "champion") if not move.why.startswith(OWN)]
    moves = [(move.at, move.version) for move in reversed(by_hand) if move.version is not None]
    if moves and (not found or moves[0][0] < found[0][0]):
        first = moves[0][1]
    before = [] if first is None else [(float("-inf"), first)]
    return before + sorted([*found, *moves])


def lately(project: Project, found: Sequence[Measured]) -> dict[str, Any] | None:
    """How the champion does in the last period with labels: its metric, on all rows and in the worst slice."""
    from headrace.compute import metrics
    from headrace.loop.judging import primary

    champion = project.registry.champion(ProjectWorkshop(project).model)
    if champion is None:
        return None
    name, version = primary(champion), str(champion.version.number)
    mine = [one for one in found if one.version == version and one.metrics.get(name) is not None]
    whole = [one for one in mine if one.slice is None]
    if not whole:
        return None
    last = max(whole, key=lambda one: one.start)
    parts = [one for one in mine if one.slice is not None and one.start == last.start]
    sign = 1 if metrics.METRICS[name].better == "higher" else -1
    worst = min(parts, key=lambda one: sign * (one.metrics[name] or 0.0), default=None)
    document = {
        "metric": name,
        "version": champion.version.number,
        "start": last.start.isoformat(),
        "labelled": last.labelled,
        "rows": last.rows,
        "value": last.metrics[name],
        "worst": None,
    }
    if worst is not None and worst.slice is not None:
        column, value = worst.slice
        said = {"column": column, "value": value, "labelled": worst.labelled, "metric": worst.metrics[name]}
        document["worst"] = said
    return document


def _champions(when: pl.Series, reigns: list[tuple[float, int]]) -> Any:
    """The version at each moment, as text; null before the first."""
    import polars as pl

    seconds = when.dt.timestamp("us").cast(pl.Float64) / 1e6
    found = pl.Series("version", [None] * len(when), dtype=pl.String)
    for at, version in reigns:
        found = found.set(seconds >= at, str(version)) if at != float("-inf") else found.fill_null(str(version))
    return found
