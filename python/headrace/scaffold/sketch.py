"""What a table looks like to somebody who is to predict one of its columns: the facts behind a first `headrace.toml`.

Decided here are only things that no stage decides by itself: the task, which column is the time of a row, which ones
name things, how to divide the rows. What becomes of each feature column is the feature plan's own decision, asked for
here so that the file can say it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from headrace.errors import DataError, SpecError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import polars as pl

    from headrace.types import Task

_MOST_CELLS: Final = 20_000_000
"""Columns are judged on at most so many cells, evenly spread over the rows."""
_FEWEST_TIMES: Final = 10
_FEWEST_ENTITIES: Final = 30
_SHOWN_LABELS: Final = 20
_TIMES_TRIED: Final = 3

# Dates that belong to a thing, not to the moment of the row.
_NOT_THE_ROW: Final = re.compile(
    r"birth|born|dob|expir|valid|until|due|since|founded|end|last|next|prev", re.IGNORECASE
)
_THE_ROW: Final = re.compile(r"time|date|day|created|event|timestamp|(^|_)(ts|at|on|when)($|_)", re.IGNORECASE)
_ENTITY: Final = re.compile(r"(^|[_\- .])(id|uuid|guid)$|[a-z]I[Dd]$", re.IGNORECASE)


@dataclass(frozen=True)
class Division:
    """How to divide the rows: the split to use, the column that it goes by, and why."""

    use: Literal["time", "group", "random"]
    column: str | None
    why: str


@dataclass(frozen=True)
class Sketch:
    """The facts about a table.

    `rows`: how many there are; `looked_at`: how many of them were read, `unlabelled` of those have no target. `types`:
    column -> type as the feature plan names it. `labels`: the most frequent target values with their counts
    (classification), else empty. `spread`: smallest, median and largest target value (regression). `choices`: what the
    feature plan would make of each column (`column`, `decision`, `reason`). `judged_rows`: how many rows were looked at
    for that. `time_parts`: the parts of the time column that recur within the data, where the rows are divided by it.
    """

    rows: int
    looked_at: int
    types: Mapping[str, str]
    target: str
    task: Task
    unlabelled: int
    classes: int
    rarest: int
    labels: Sequence[tuple[str, int]]
    spread: Sequence[float]
    time_column: str | None
    time_parts: Sequence[str] | None
    other_times: Sequence[str]
    id_columns: Sequence[str]
    division: Division
    choices: Sequence[Mapping[str, Any]]
    judged_rows: int

    @property
    def known(self) -> int:
        """Rows with a target, of those that were looked at."""
        return self.looked_at - self.unlabelled

    @property
    def labelled(self) -> int:
        """Rows that can be learnt from, of all."""
        return round(self.rows * self.known / self.looked_at)


def sketch(
    frame: pl.DataFrame,
    target: str,
    *,
    place: str,
    rows: int | None = None,
    task: Task | None = None,
    time_column: str | None = None,
) -> Sketch:
    """Look at `frame`, which is all of the data, or an even sample of its `rows`.

    `task` and `time_column` are what the person says; else they are found out. `place` names the data in messages.
    Raises `DataError` where the data cannot be learnt from, `SpecError` where what the person says does not fit it.
    """
    from headrace import FeaturePlan

    check_column(frame, target, what="target", place=place)
    if time_column is not None:
        check_column(frame, time_column, what="time column", place=place)
    inferred = FeaturePlan.infer_task(frame, target) if task is None else task
    known = FeaturePlan.labelled(frame, target)
    if known.is_empty():
        raise DataError(f"the target {target!r} has no value in any row", place=place, hint="Choose another target.")
    judged = _thinned(known)
    times = _times(frame, target)
    entities = _entities(judged, target)
    stated = _stated_time(frame, time_column, place)
    candidates = [stated] if stated is not None else times[:_TIMES_TRIED]
    division = _divide(known, target, inferred, candidates, entities, stated=stated is not None)
    best = division.column if division.use == "time" else stated
    parts = recurring_parts(frame[best]) if best is not None and division.use == "time" else None
    config = {} if best is None or parts is None else {"columns": {best: time_config(parts)}}
    try:
        choices = FeaturePlan.fit(judged, target=target, task=inferred, config=config).choices
    except DataError as error:  # its hint speaks of a spec, and there is none yet
        hint = "Give data with a column that says something about the target."
        raise DataError(error.message, place=error.place or place, hint=hint) from error
    ids = [c["column"] for c in choices if c["decision"] == "dropped" and _names_rows(judged[c["column"]])]
    if best is not None and best in ids:
        ids.remove(best)
    labels = [] if inferred == "regression" else _labels(known[target])
    return Sketch(
        rows=frame.height if rows is None else rows,
        looked_at=frame.height,
        types=_types(frame),
        target=target,
        task=inferred,
        unlabelled=frame.height - known.height,
        classes=len(labels),
        rarest=min((count for _, count in labels), default=0),
        labels=labels[:_SHOWN_LABELS],
        spread=_spread(known[target]) if inferred == "regression" else (),
        time_column=best,
        time_parts=parts,
        other_times=[name for name in times if name != best],
        id_columns=[*ids, *(name for name in entities if name not in ids)],
        division=division,
        choices=choices,
        judged_rows=judged.height,
    )


def check_column(frame: pl.DataFrame, name: str, *, what: str, place: str) -> None:
    """Raise `SpecError` with the nearest names if the table has no such column."""
    if name in frame.columns:
        return
    import difflib

    near = difflib.get_close_matches(name, frame.columns, n=3, cutoff=0.5)
    shown = ", ".join(map(repr, near or frame.columns[:12])) + (", ..." if not near and frame.width > 12 else "")
    raise SpecError(
        f"there is no column {name!r} to be the {what}",
        place=place,
        hint=f"Did you mean {shown}?" if near else f"The columns are {shown}.",
    )


def _thinned(frame: pl.DataFrame) -> pl.DataFrame:
    most = max(2000, _MOST_CELLS // max(frame.width, 1))
    return frame if frame.height <= most else frame.gather_every(-(-frame.height // most))


def _types(frame: pl.DataFrame) -> dict[str, str]:
    from headrace.compute.plan.types import type_name

    return {name: type_name(dtype) for name, dtype in frame.schema.items()}


# --- time --------------------------------------------------------------------------------


def _times(frame: pl.DataFrame, target: str) -> list[str]:
    """Columns that may be the time of a row, the likeliest first."""
    import polars as pl

    found: list[tuple[int, str]] = []
    for series in frame.get_columns():
        if series.name == target or not isinstance(series.dtype, pl.Date | pl.Datetime):
            continue
        if series.null_count() or series.n_unique() < _FEWEST_TIMES or _NOT_THE_ROW.search(series.name):
            continue
        likely = 2 * bool(_THE_ROW.search(series.name)) + 3 * series.is_sorted() + isinstance(series.dtype, pl.Datetime)
        found.append((-likely, series.name))
    return [name for _, name in sorted(found, key=lambda item: item[0])]


def recurring_parts(series: pl.Series) -> tuple[str, ...] | None:
    """The parts of a time that came round at least twice; None where the column holds plain numbers.

    A model that is tested on what came later has never seen that later year; and of the months of a single year, it has
    seen each once, so that it cannot tell the month from all else that was new then.
    """
    import polars as pl

    if not isinstance(series.dtype, pl.Date | pl.Datetime):
        return None
    dates = series.alias("time").dt.date()  # polars takes some names of columns for patterns
    first, last = dates.min(), dates.max()
    days = (last - first).days  # type: ignore[operator, union-attr]  # dates, and not empty
    parts = [part for part, least in (("month", 730), ("day", 61), ("day_of_week", 14)) if days >= least]
    clock = ["hour", "minute"] if isinstance(series.dtype, pl.Datetime) and days >= 2 else []
    return (*parts, *clock)


def time_config(parts: Sequence[str]) -> dict[str, Any]:
    """What `[features] columns` says of a time column of which only `parts` recur."""
    return {"time_parts": list(parts)} if parts else {"treat_as": "drop"}


def _stated_time(frame: pl.DataFrame, name: str | None, place: str) -> str | None:
    import polars as pl

    if name is None:
        return None
    series = frame[name]
    if not isinstance(series.dtype, pl.Date | pl.Datetime) and not series.dtype.is_integer():
        raise SpecError(
            f"the time column {name!r} is of type {series.dtype}; dates, times and whole numbers have an order in time",
            place=place,
            hint="Choose another column, or write the file with dates.",
        )
    if series.null_count():
        raise SpecError(
            f"the time column {name!r} is missing in {series.null_count()} of {len(series)} rows",
            place=place,
            hint="Choose another column, or fill it.",
        )
    return name


# --- names of things --------------------------------------------------------------------------------


def _names_rows(series: pl.Series) -> bool:
    """Of a column that the plan drops: whether because nearly every row has a value of its own."""
    import polars as pl

    if not (series.dtype.is_integer() or isinstance(series.dtype, pl.String | pl.Categorical | pl.Enum)):
        return False
    present = series.alias("value").drop_nulls()
    return len(present) > 1 and present.n_unique() * 2 > len(present)


def _entities(frame: pl.DataFrame, target: str) -> list[str]:
    """Columns that name things which several rows are about: customers, machines, patients."""
    import polars as pl

    found = []
    for series in frame.get_columns():
        if series.name == target or not _ENTITY.search(series.name):
            continue
        if not (series.dtype.is_integer() or isinstance(series.dtype, pl.String)):
            continue
        distinct = series.n_unique()
        if not series.null_count() and _FEWEST_ENTITIES <= distinct <= frame.height // 2:
            found.append(series.name)
    return found


# --- division --------------------------------------------------------------------------------


def _divide(
    known: pl.DataFrame,
    target: str,
    task: Task,
    times: Sequence[str],
    entities: Sequence[str],
    *,
    stated: bool,
    seed: int = 0,
) -> Division:
    """The first division that the split stages themselves can make of these rows."""
    problems = []
    for name in times:
        problem = _trial("time", known, {"target": target, "task": task, "time_column": name}, seed)
        if problem is None:
            how = "you named it" if stated else "every row has one, and it may be when the row happened"
            return Division(
                "time",
                name,
                f"{name!r} orders the rows in time ({how}): learn from the past, be judged by what came later",
            )
        problems.append(f"not by {name!r}: {problem.message}")
    for name in entities:
        problem = _trial("group", known, {"target": target, "task": task, "by": (name,)}, seed)
        if problem is None:
            why = (
                f"rows with the same {name!r} stay together, so that the model is judged by ones that it has never seen"
            )
            return Division("group", name, why)
        problems.append(f"not by {name!r}: {problem.message}")
    problem = _trial("random", known, {"target": target, "task": task}, seed)
    if problem is not None:
        raise DataError(
            f"the rows cannot be divided into parts to train, choose and test with: {problem.message}",
            place=problem.place,
            hint=problem.hint,
        )
    why = "; ".join(problems) or "no column says when a row happened, or which rows belong together"
    return Division("random", None, f"by chance ({why})")


def _trial(use: str, frame: pl.DataFrame, config: Mapping[str, Any], seed: int) -> DataError | None:
    """Let the split stage itself try; what is in its way, or None."""
    from headrace import Dataset
    from headrace.builtins.split.group import GroupSplit
    from headrace.builtins.split.random import RandomSplit
    from headrace.builtins.split.time import TimeSplit

    stages: dict[str, Any] = {"time": TimeSplit, "group": GroupSplit, "random": RandomSplit}
    stage = stages[use](stages[use].Config(**config, leakage="off"))
    try:
        stage.run(_Alone(seed), Dataset.from_frame(frame))
    except DataError as error:
        return error
    return None


@dataclass(frozen=True)
class _Alone:
    """As much of a `StageContext` as a split needs."""

    seed: int

    def log(self, message: str) -> None:
        """Nobody listens to a trial."""

    def check_cancelled(self) -> None:
        """A trial is short."""


# --- the target --------------------------------------------------------------------------------


def _labels(series: pl.Series) -> list[tuple[str, int]]:
    counts = series.alias("label").value_counts(sort=True)
    return [(str(label), count) for label, count in counts.iter_rows()]


def _spread(series: pl.Series) -> tuple[float, ...]:
    import polars as pl

    numbers = series.alias("value").cast(pl.Float64)
    return tuple(float(value) for value in (numbers.min(), numbers.median(), numbers.max()) if value is not None)  # type: ignore[arg-type]
