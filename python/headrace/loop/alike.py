"""Live rows brought to the types of the project's own rows: files that hold the same may say it differently."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headrace.errors import DataError

if TYPE_CHECKING:
    import polars as pl


def alike(frame: pl.DataFrame, base: pl.DataFrame, name: str | None = None) -> pl.DataFrame:
    """The columns of `base`, of its types where `frame` can say the same in them; a number may stay a wider one.

    Times without a zone are UTC. Raises `DataError` for text where the base has numbers or times, with the first such
    value and its row, by the identifier `name` if there is one.
    """
    return frame.select(_as_in(frame[column], dtype, frame, name) for column, dtype in base.schema.items())


def _as_in(series: pl.Series, dtype: Any, frame: pl.DataFrame, name: str | None) -> pl.Series:
    import polars as pl

    found = series.dtype
    if found == dtype:
        return series
    moment = (pl.Date, pl.Datetime)
    if isinstance(dtype, moment) and isinstance(found, (*moment, pl.Null)):
        return as_moments_of(series, dtype)
    if found == pl.Null:
        return series.cast(dtype)
    if dtype == pl.String and found.is_numeric():
        return as_names(series)
    if found == pl.String and (dtype.is_numeric() or dtype == pl.Boolean or isinstance(dtype, moment)):
        return _read(series, dtype, frame, name)
    if found.is_numeric() and dtype.is_numeric():
        cast = series.cast(dtype, strict=False)
        return cast if bool(cast.cast(found, strict=False).eq_missing(series).all()) else series
    return series


def _read(series: pl.Series, dtype: Any, frame: pl.DataFrame, name: str | None) -> pl.Series:
    """Text as what it says, or the first that says nothing of the kind."""
    import polars as pl

    try:
        cast = series.cast(dtype, strict=False)
    except pl.exceptions.PolarsError:
        cast = pl.Series(series.name, [None] * series.len(), dtype=dtype)
    wrong = (cast.is_null() & series.is_not_null()).arg_true()
    if not wrong.len():
        return cast
    at = int(wrong[0])
    row = f"the row {name} = {frame[name][at]!r}" if name is not None and name in frame.columns else f"row {at}"
    raise DataError(
        f"the live rows have {series[at]!r:.80} in {row}, and the project's own rows have {dtype} there",
        place=f"column {series.name!r}",
        hint=f"{wrong.len():,} of {series.len():,} live rows have such values. Correct the files, or take them away.",
    )


def as_names(series: pl.Series) -> pl.Series:
    """Numbers as text; one that is whole without a fraction, whatever type it has."""
    import polars as pl

    if series.dtype.is_float():
        whole = series.cast(pl.Int64, strict=False)
        if bool(whole.cast(series.dtype).eq_missing(series).all()):
            series = whole
    return series.cast(pl.String)


def as_moments_of(series: pl.Series, dtype: Any) -> pl.Series:
    """Dates or times as dates, times without a zone (in UTC), or times in a zone: what `dtype` is."""
    import polars as pl

    from headrace.loop.live import moments

    time = moments(series.to_frame(), series.name)
    if dtype == pl.Date:
        return time.dt.date().alias(series.name)
    zone = getattr(dtype, "time_zone", None)
    moved = time.dt.replace_time_zone(None) if zone is None else time.dt.convert_time_zone(zone)
    return moved.cast(dtype).alias(series.name)
