"""`split: time`: the past to train on, what follows to choose, the latest to judge."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pydantic import Field, model_validator

from headrace import Dataset, StageContext
from headrace.builtins.split.parts import Split, SplitConfig, column_of, finish, labelled
from headrace.errors import DataError

if TYPE_CHECKING:
    import polars as pl

_GAP = re.compile(r"(\d+(?:\.\d+)?)\s*(d|h|m|s|w)?")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


class TimeSplitConfig(SplitConfig):
    """Where the parts begin: by shares of the rows, or by moments."""

    valid: float = Field(default=0.15, gt=0, lt=1, description="Share of the rows for choosing, before the test part.")
    test: float = Field(default=0.2, gt=0, lt=1, description="Share of the rows for the final judgement, the latest.")
    valid_from: str | float | None = Field(
        default=None,
        description="The validation part begins here, in place of `valid`: a date or time as in ISO 8601, or a number.",
    )
    test_from: str | float | None = Field(
        default=None, description="The test part begins here, in place of `test`; goes together with `valid_from`."
    )
    gap: str | float = Field(
        default=0.0,
        description="Rows so shortly before a later part are left out, as `7d`, `12h`, `30m`, or a number for a column "
        "of numbers: for labels that ripen, and features that look back.",
    )

    @model_validator(mode="after")
    def _consistent(self) -> TimeSplitConfig:
        if (self.valid_from is None) != (self.test_from is None):
            raise ValueError("`valid_from` and `test_from` go together: set both, or neither")
        if self.valid + self.test >= 1:
            raise ValueError(f"valid + test is {self.valid + self.test:g}, which leaves nothing to train on")
        return self


class TimeSplit:
    """Rows of one moment are never divided: a part begins at a moment and has all of its rows."""

    Config = TimeSplitConfig

    def __init__(self, config: TimeSplitConfig) -> None:
        self.config = config

    def run(self, ctx: StageContext, data: Dataset) -> Split:
        import numpy as np

        config = self.config
        if config.time_column is None:
            raise DataError(
                "a split by time needs a time column",
                place="headrace.toml",
                hint='Set `time_column = "..."` in [project], or use the random split.',
            )
        labels = labelled(data, config, ctx)
        times = _times(labels.frame, config.time_column)
        ticks = times.to_physical().to_numpy()
        if config.valid_from is not None and config.test_from is not None:
            starts = (_moment(config.valid_from, times, "valid_from"), _moment(config.test_from, times, "test_from"))
            if starts[0] >= starts[1]:
                raise DataError(
                    f"`valid_from` ({config.valid_from}) is not before `test_from` ({config.test_from})",
                    hint="The validation part comes before the test part.",
                )
        else:
            starts = _starts(np.sort(ticks), config.valid, config.test, config.time_column)
        gap = _gap(config.gap, times)
        part = np.full(len(ticks), -1, dtype=np.int8)
        part[ticks < starts[0] - gap] = 0
        part[(ticks >= starts[0]) & (ticks < starts[1] - gap)] = 1
        part[ticks >= starts[1]] = 2
        first, second = (_said(start, times) for start in starts)
        method = f"by {config.time_column}: validation from {first}, test from {second}" + (
            f", gap {config.gap}" if config.gap else ""
        )
        advice = (
            f"`{config.time_column}` is from {times.min()!s} to {times.max()!s}: choose other shares, moments or gap."
        )
        return finish(labels, part, config, ctx, method=method, advice=advice)


def _times(frame: pl.DataFrame, name: str) -> pl.Series:
    """The time column: dates, times or numbers, without gaps in it."""
    import polars as pl

    times = column_of(frame, name, "time_column")
    if not (times.dtype.is_numeric() or times.dtype in (pl.Date, pl.Datetime)):
        sample = times.drop_nulls().head(1).to_list()
        raise DataError(
            f"the time column {name!r} is {times.dtype}{f', for instance {sample[0]!r}' if sample else ''}, "
            "and must be dates, times or numbers",
            place=f"column {name!r}",
            hint=f'For CSV, say how it is written: `date_formats = {{ {name!r} = "%d/%m/%Y" }}` in [ingest].',
        )
    missing = times.is_null()
    if times.dtype.is_float():
        missing |= times.is_nan().fill_null(value=True)
    if missing.any():
        rows = ", ".join(str(i) for i in missing.arg_true().head(5))
        raise DataError(
            f"the time column {name!r} has no value in {int(missing.sum())} rows (counted from 0: {rows}, ...)",
            place=f"column {name!r}",
            hint='Fill them, or quarantine them: an expectation `nulls = false` with `policy = "quarantine"`.',
        )
    return times


def _starts(ordered: Any, valid: float, test: float, name: str) -> tuple[Any, Any]:
    """The moments at which validation and test begin, nearest to the shares, each part with a row."""
    import numpy as np

    distinct, first = np.unique(ordered, return_index=True)
    rows = len(ordered)
    if len(distinct) < 3:
        raise DataError(
            f"{name!r} has {len(distinct)} different values, too few for three parts: rows of one moment stay together",
            place=f"column {name!r}",
            hint="Use a finer time column, or the random split.",
        )
    # `first[i]` rows lie before the moment `distinct[i]`. Validation begins at 1 at the earliest, test after that.
    one = int(np.argmin(np.abs(first[1:-1] - rows * (1 - valid - test)))) + 1
    two = int(np.argmin(np.abs(first[one + 1 :] - rows * (1 - test)))) + one + 1
    return distinct[one], distinct[two]


def _moment(given: str | float, times: pl.Series, key: str) -> Any:
    """The moment as the time column's physical number."""
    import datetime as dt

    import polars as pl

    if times.dtype.is_numeric():
        if isinstance(given, str):
            raise DataError(f"`{key}` is {given!r}, and the time column has numbers", hint="Give a number.")
        return given
    try:
        moment = dt.datetime.fromisoformat(str(given))
    except ValueError as error:
        raise DataError(
            f"`{key}` is {given!r}, which is no date or time", hint="Write it as 2024-05-31 or 2024-05-31T12:00:00."
        ) from error
    if times.dtype == pl.Date:
        return pl.Series([moment.date()], dtype=pl.Date).to_physical()[0]
    zone = getattr(times.dtype, "time_zone", None)
    if moment.tzinfo is not None:
        moment = moment.astimezone(dt.UTC).replace(tzinfo=None)
    elif zone not in (None, "UTC"):
        local = pl.Series([moment], dtype=pl.Datetime("us")).dt.replace_time_zone(zone)
        return local.cast(times.dtype).to_physical()[0]
    return pl.Series([moment], dtype=pl.Datetime("us")).cast(pl.Datetime(times.dtype.time_unit)).to_physical()[0]  # type: ignore[attr-defined]


def _gap(given: str | float, times: pl.Series) -> float:
    """The gap in physical units of the time column."""
    import polars as pl

    match = _GAP.fullmatch(str(given))
    if match is None:
        raise DataError(f"`gap` is {given!r}", hint="Write 7d, 12h, 30m, or a number for a column of numbers.")
    number, unit = float(match[1]), match[2]
    if times.dtype.is_numeric():
        if unit:
            raise DataError(f"`gap` is {given!r}, and the time column has numbers", hint="Give a number.")
        return number
    if number and not unit:
        raise DataError(f"`gap` is {given!r}, without a unit", hint="Write 7d, 12h or 30m.")
    seconds = number * _SECONDS[unit or "s"]
    if times.dtype == pl.Date:
        return seconds / 86_400
    return seconds * {"ms": 1e3, "us": 1e6, "ns": 1e9}[times.dtype.time_unit]  # type: ignore[attr-defined]


def _said(start: Any, times: pl.Series) -> str:
    import polars as pl

    if times.dtype.is_numeric():
        return f"{start:g}"
    return str(pl.Series([int(start)], dtype=pl.Int64).cast(times.dtype)[0])
