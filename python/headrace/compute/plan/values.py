"""What columns hold, as numbers: what fitting looks at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from headrace.compute.plan.types import type_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import numpy.typing as npt
    import polars as pl

    from headrace.compute.plan.document import NumberStep

_ACCESSORS: Final[Mapping[str, str]] = {"day_of_year": "ordinal_day", "day_of_week": "weekday"}
_UNITS: Final[Mapping[str, int]] = {"ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
_DAY: Final = 86_400


def number(series: pl.Series) -> npt.NDArray[np.float32]:
    """The real number of each value, rounded once to float32; NaN where null."""
    import polars as pl

    if isinstance(series.dtype, pl.Decimal):
        series = series.cast(pl.Float64)
    return series.cast(pl.Float32).to_numpy()


def conditioned(series: pl.Series, step: NumberStep | None = None) -> npt.NDArray[np.float64]:
    """Float64 numbers, NaN where missing; after what `step` says of imputing, clipping and logarithms. A new array."""
    import numpy as np
    import polars as pl

    values: npt.NDArray[np.float64] = np.array(series.cast(pl.Float64).to_numpy())
    if step is None:
        return values
    if step.impute is not None:
        values[np.isnan(values)] = step.impute
    low, high = step.clip or (None, None)
    if low is not None:
        values[values < low] = low
    if high is not None:
        values[values > high] = high
    return np.copysign(np.log1p(np.abs(values)), values) if step.log else values


def time_part(series: pl.Series, part: str, time_zone: str | None) -> pl.Series:
    """A field of the calendar as integers, null where the value is."""
    import polars as pl

    if time_zone is not None:
        series = series.dt.convert_time_zone(time_zone)
    if part == "days":
        return series.dt.date().to_physical() if isinstance(series.dtype, pl.Datetime) else series.to_physical()
    return getattr(series.dt, _ACCESSORS.get(part, part))()  # type: ignore[no-any-return]


def seconds(series: pl.Series) -> npt.NDArray[np.float64]:
    """Durations in seconds, NaN where null."""
    import numpy as np
    import polars as pl

    units: Any = series.dtype
    return np.asarray(series.to_physical().cast(pl.Float64).to_numpy() / _UNITS[units.time_unit])


def difference(later: pl.Series, earlier: pl.Series) -> npt.NDArray[np.float64]:
    """Seconds from one column of dates, datetimes or times of day to another, exact in integers; NaN where null."""
    import numpy as np
    import polars as pl

    units = max(_unit(later), _unit(earlier))
    counts = _count(later, units) - _count(earlier, units)
    return np.asarray(counts.cast(pl.Float64).to_numpy() / units)


def _unit(series: pl.Series) -> int:
    name = type_name(series.dtype)
    return _UNITS[name[9:11]] if name.startswith("datetime") else _UNITS["ns" if name == "time" else "ms"]


def _count(series: pl.Series, units: int) -> pl.Series:
    import polars as pl

    factor = _DAY * units if series.dtype == pl.Date else units // _unit(series)
    return series.to_physical().cast(pl.Int128) * pl.Series([factor], dtype=pl.Int128)
