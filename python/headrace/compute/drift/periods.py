"""Live rows by day, week or month."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from headrace.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import polars as pl

Period = Literal["day", "week", "month"]
MOST = 2_000
_EVERY = {"day": "1d", "week": "1w", "month": "1mo"}
_FORMAT = {"day": "%Y-%m-%d", "week": "%Y-%m-%d", "month": "%Y-%m"}


@dataclass(frozen=True)
class Part:
    """Rows of one period.

    `start`: its first day (`2013-07-01`; a week begins on Monday), or its month (`2013-07`); None for rows without a
    time. `order`: ascends with time.
    """

    start: str | None
    order: int
    frame: pl.DataFrame


def by_period(frame: pl.DataFrame, column: str, period: Period) -> Iterator[Part]:
    """The rows of each period in which there are any, in order; then those without a time.

    Times with a zone are cut at that zone's midnight. Raises `DataError` where the column is missing, is no time, or
    would make more than 2,000 periods.
    """
    import polars as pl

    if column not in frame.columns:
        raise DataError(
            "there is no such column", place=f"column {column!r}", hint=f"There is {', '.join(frame.columns[:20])}."
        )
    times = frame.get_column(column)
    if not isinstance(times.dtype, pl.Date | pl.Datetime):
        raise DataError(
            f"expected dates or moments to cut the rows by, found {times.dtype}",
            place=f"column {column!r}",
            hint="Name a column of dates or datetimes; say its type where the file is read.",
        )
    starts = times.dt.truncate(_EVERY[period]).alias("start")
    distinct = starts.drop_nulls().unique().sort()
    check(distinct.len(), column, period)
    # As text and whole numbers: Python's own dates end with the year 9999.
    names, orders = distinct.dt.to_string(_FORMAT[period]), distinct.to_physical()
    for at, (name, order) in enumerate(zip(names, orders, strict=True)):
        yield Part(name, order, frame.filter(starts == distinct[at : at + 1]))
    if starts.null_count():
        yield Part(None, 0, frame.filter(starts.is_null()))


def check(periods: int, column: str, period: Period) -> None:
    """`DataError` for more than so many."""
    if periods > MOST:
        raise DataError(
            f"there are more than {MOST:,} periods of a {period}",
            place=f"column {column!r}",
            hint="Take a longer period, or fewer rows.",
        )
