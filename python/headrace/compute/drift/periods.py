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
    """Rows of one period. `start`: its first day (`2013-07-01`; a week begins on Monday), or its month (`2013-07`)."""

    start: str
    frame: pl.DataFrame


def by_period(frame: pl.DataFrame, column: str, period: Period) -> Iterator[Part]:
    """The rows of each period in which there are any, in order; those without a time are in none.

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
    starts = times.dt.truncate(_EVERY[period])
    distinct = starts.drop_nulls().unique().sort()
    if distinct.len() > MOST:
        raise DataError(
            f"there are {distinct.len():,} periods of a {period}, at most {MOST:,} are looked at",
            place=f"column {column!r}",
            hint="Take a longer period, or fewer rows.",
        )
    for start in distinct:
        yield Part(start.strftime(_FORMAT[period]), frame.filter(starts == start))
