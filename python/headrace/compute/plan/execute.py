"""Runs the steps of a plan over a frame, in polars and numpy. Reads nothing but the document."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headrace.compute.plan.document import (
    BooleanStep,
    CategoryStep,
    FrequencyStep,
    NumberStep,
    SecondsStep,
    TimeCycleStep,
    TimePartStep,
)
from headrace.compute.plan.read import column_of, read_column

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np
    import numpy.typing as npt
    import polars as pl

    from headrace.compute.plan.document import PlanDocument, Step


def execute(plan: PlanDocument, frame: pl.DataFrame) -> npt.NDArray[np.float32]:
    """All outputs of a plan.

    Returns
    -------
    ndarray
        float32 [rows, steps], column-major, rows in the order of the frame; every NaN is 0x7fc00000. A row's bits do
        not depend on other rows, nor on how the frame is chunked.

    Raises
    ------
    DataError
        A column is missing or of a type that is neither the plan's nor a declared cast of it.

    """
    import numpy as np

    columns = {column.name: read_column(column_of(frame, column.name).alias("value"), column) for column in plan.inputs}
    out = np.empty((frame.height, len(plan.steps)), dtype=np.float32, order="F")
    for index, step in enumerate(plan.steps):
        out[:, index] = run_step(step, columns[step.input])
    out[np.isnan(out)] = np.nan
    return out


def run_step(step: Step, series: pl.Series) -> npt.NDArray[np.float32]:
    """One output column of one input column that `read_column` has checked."""
    return _OPERATIONS[type(step)](step, series)


def number(_: Any, series: pl.Series) -> npt.NDArray[np.float32]:
    """The real number of each value, rounded once to float32; NaN where null."""
    import polars as pl

    if isinstance(series.dtype, pl.Decimal):
        series = series.cast(pl.Float64)
    return series.cast(pl.Float32).to_numpy()


def as_text(series: pl.Series) -> pl.Series:
    """How a value is written where texts are compared."""
    import polars as pl

    return series if series.dtype == pl.String else series.cast(pl.String)


def time_part(series: pl.Series, part: str, time_zone: str | None) -> pl.Series:
    """A field of the calendar as integers, null where the value is."""
    import polars as pl

    if time_zone is not None:
        series = series.dt.convert_time_zone(time_zone)
    if part == "days":
        return series.dt.date().to_physical() if isinstance(series.dtype, pl.Datetime) else series.to_physical()
    return getattr(series.dt, _ACCESSORS.get(part, part))()  # type: ignore[no-any-return]


def _category(step: CategoryStep, series: pl.Series) -> npt.NDArray[np.float32]:
    import numpy as np

    positions, known = _look_up(series, step.vocabulary)
    codes = positions.astype(np.float32)
    codes[~known] = step.unseen
    codes[series.is_null().to_numpy()] = step.missing
    return codes


def _frequency(step: FrequencyStep, series: pl.Series) -> npt.NDArray[np.float32]:
    import numpy as np

    positions, known = _look_up(series, [text for text, _ in step.counts])
    shares = (np.array([count for _, count in step.counts] or [0], dtype=np.float64) / step.rows).astype(np.float32)
    found = np.where(known, shares[positions], np.float32(0))
    found[series.is_null().to_numpy()] = np.nan
    return found


def _look_up(series: pl.Series, vocabulary: Any) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.bool_]]:
    """Positions in the vocabulary, 0 where the text is null or not in it; and where it is in it."""
    import polars as pl

    codes = as_text(series).cast(pl.Enum(vocabulary), strict=False).to_physical()
    return codes.fill_null(0).cast(pl.Int64).to_numpy(), codes.is_not_null().to_numpy()


def _time_part(step: TimePartStep, series: pl.Series) -> npt.NDArray[np.float32]:
    return number(step, time_part(series, step.part, step.time_zone))


def _time_cycle(step: TimeCycleStep, series: pl.Series) -> npt.NDArray[np.float32]:
    import numpy as np
    import polars as pl

    parts = time_part(series, step.part, step.time_zone)
    table = np.array(step.table, dtype=np.float32)
    positions = parts.cast(pl.Int64).fill_null(step.first).to_numpy() - step.first
    found: npt.NDArray[np.float32] = table[positions]
    found[parts.is_null().to_numpy()] = np.nan
    return found


def _seconds(_: SecondsStep, series: pl.Series) -> npt.NDArray[np.float32]:
    import numpy as np
    import polars as pl

    units = {"ms": 1e3, "us": 1e6, "ns": 1e9}[series.dtype.time_unit]  # type: ignore[attr-defined]  # a Duration
    seconds: npt.NDArray[np.float64] = series.to_physical().cast(pl.Float64).to_numpy() / units
    return seconds.astype(np.float32)


_ACCESSORS = {"day_of_year": "ordinal_day", "day_of_week": "weekday"}
_OPERATIONS: Mapping[type, Callable[[Any, pl.Series], npt.NDArray[np.float32]]] = {
    NumberStep: number,
    BooleanStep: number,
    CategoryStep: _category,
    FrequencyStep: _frequency,
    TimePartStep: _time_part,
    TimeCycleStep: _time_cycle,
    SecondsStep: _seconds,
}
