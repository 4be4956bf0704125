"""Columns of a frame as a plan expects them: the declared casts, and errors for everything else.

Declared casts, and no others: any width of a number for any other; whole floats for an integer column (a null that
turned integers into floats on the way); categorical and enum for string; a date for a datetime without zone; a zoned
datetime for one of another zone (the same instant); a column of type null for anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NoReturn

from headrace import _core
from headrace.compute.mixed import place_of_mixed
from headrace.compute.plan.execute import exportable
from headrace.compute.plan.nearest import did_you_mean
from headrace.compute.plan.types import family, polars_type, time_zone, type_name
from headrace.errors import DataError

if TYPE_CHECKING:
    import polars as pl

    from headrace.compute.plan.document import Column

_PLURAL: Final = {
    "integer": "whole numbers",
    "float": "numbers",
    "boolean": "booleans",
    "string": "text",
    "date": "dates",
    "datetime": "datetimes",
    "time": "times of day",
    "duration": "durations",
}
_BEYOND_INT64: Final = 2.0**63


def as_frame(frame: Any) -> pl.DataFrame:
    """Any Arrow-capable frame as polars, without a copy where polars can."""
    import polars as pl

    if isinstance(frame, pl.DataFrame):
        return frame
    if not hasattr(frame, "__arrow_c_stream__"):
        raise DataError(
            f"expected a frame (polars, pyarrow, pandas, DuckDB, ...), found {type(frame).__name__}",
            hint="Make a frame of it, such as polars.DataFrame(rows).",
        )
    if type(frame).__module__.partition(".")[0] == "pyarrow" and hasattr(frame, "validate"):
        # Buffers that contradict each other end the process in polars. A reader, which has no `validate`, is read once.
        _core.check_utf8(frame)
    try:
        return pl.DataFrame(frame)
    except (pl.exceptions.PolarsError, ValueError, TypeError, OverflowError) as error:  # pyarrow's are among them
        name = _unreadable(frame)
        raise DataError(
            f"the frame cannot be read: {error}",
            place=place_of_mixed(frame) if name is None else f"column {name!r}",
            hint="Leave the column out, or cast it to a type that polars knows.",
        ) from error


def checked_frame(frame: Any) -> pl.DataFrame:
    """The same, with all its text known to be UTF-8; `DataError` names the column and the row of what is not.

    polars takes text of Arrow on trust, and ends in a panic where it is handed on to Python.
    """
    made = as_frame(frame)
    _core.check_utf8(exportable(made, ()))
    return made


def _unreadable(frame: Any) -> str | None:
    """The column that cannot be read, of a frame of pyarrow."""
    import polars as pl

    names = getattr(frame, "column_names", ())
    for position, name in enumerate(names):
        try:
            pl.DataFrame(frame.select([position]))
        except pl.exceptions.PolarsError:
            return str(name)
    return None


def column_of(frame: pl.DataFrame, name: str) -> pl.Series:
    """A column by exact name; `DataError` with the nearest names if it is not there."""
    found: pl.Series | None = frame.get_column(name, default=None)
    if found is None:
        raise DataError(
            f"the frame has no column {name!r}, which the feature plan reads",
            place=f"column {name!r}",
            hint=did_you_mean(name, frame.columns) if frame.width else "The frame has no columns at all.",
        )
    return found


def read_column(series: pl.Series, column: Column) -> pl.Series:
    """Check a column against the plan and apply the declared casts.

    Returns
    -------
    Series
        of the declared family: integers and floats in whatever width, text as String, datetimes with a zone if and
        only if declared with one.

    """
    import polars as pl

    expected, found = family(column.type), family(type_name(series.dtype))
    if found == "null":
        return series.cast(polars_type(column.type))
    if expected == found == "string":
        return series if series.dtype == pl.String else series.cast(pl.String)
    if expected == found == "datetime" and bool(time_zone(column.type)) != bool(time_zone(type_name(series.dtype))):
        which = "has a time zone" if time_zone(type_name(series.dtype)) else "has no time zone"
        _refuse(series, column, f"{which}, the feature plan expects {column.type}")
    if expected == found or (expected == "float" and found == "integer"):
        return series
    if expected == "integer" and found == "float":
        return _whole(series, column)
    if expected == "datetime" and found == "date" and not time_zone(column.type):
        return series.cast(polars_type(column.type))
    return _refuse(
        series,
        column,
        f"holds {_PLURAL.get(found, type_name(series.dtype))} ({type_name(series.dtype)}), the feature plan expects "
        f"{_PLURAL[expected]} ({column.type})",
    )


def _whole(series: pl.Series, column: Column) -> pl.Series:
    import polars as pl

    floats = series.cast(pl.Float64).fill_nan(None)
    bad = (floats != floats.floor()) | (floats.abs() >= _BEYOND_INT64)  # infinities are beyond
    if bad.any():
        row = bad.arg_true()[0]
        raise DataError(
            f"holds {floats[row]!r} ({type_name(series.dtype)}), the feature plan expects whole numbers "
            f"({column.type})",
            place=f"column {column.name!r}, row {row}",
            hint="Fix the value, or fit the plan again on data in which the column is a float.",
        )
    return floats.cast(pl.Int64)


def _refuse(series: pl.Series, column: Column, what: str) -> NoReturn:
    import polars as pl

    rows = series.is_not_null().arg_true()
    row = int(rows[0]) if len(rows) else 0
    if series.dtype == pl.String and family(column.type) in ("integer", "float"):
        no_number = (
            series.str.strip_chars().cast(pl.Float64, strict=False).is_null() & series.is_not_null()
        ).arg_true()
        row = int(no_number[0]) if len(no_number) else row
    value = f"; there stands {_short(series[row])}" if len(rows) else ""
    raise DataError(
        f"{what}{value}",
        place=f"column {column.name!r}, row {row}" if len(rows) else f"column {column.name!r}",
        hint="Read or cast the column with the type that it had in training.",
    )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
