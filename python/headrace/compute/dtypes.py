"""Column types as text: a closed list, so that a type can stand in a file that a person edits."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal, cast

from headrace.errors import DataError

if TYPE_CHECKING:
    import polars as pl

PLAIN = (
    "Boolean", "Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64", "Float32", "Float64",
    "String", "Binary", "Date", "Time", "Categorical", "Null",
)  # fmt: skip
_POLARS_DATETIME = re.compile(r"Datetime\(time_unit='(ms|us|ns)', time_zone=(?:None|'([A-Za-z0-9_+\-/]+)')\)")
_POLARS_DURATION = re.compile(r"Duration\(time_unit='(ms|us|ns)'\)")
_DATETIME = re.compile(r"Datetime(?:\[(ms|us|ns)(?:, ?([A-Za-z0-9_+\-/]+))?\])?")
_DURATION = re.compile(r"Duration(?:\[(ms|us|ns)\])?")
_DECIMAL = re.compile(r"Decimal\[(\d{1,2}), ?(\d{1,2})\]")


def dtype_from_text(text: str) -> pl.DataType:
    """The polars type that `text` names.

    `Int64`, `String`, `Date` and the other names of `PLAIN`; `Datetime`, `Datetime[ms]`, `Datetime[us, UTC]`;
    `Duration[us]`; `Decimal[10, 2]`. Microseconds where no unit stands. `str()` of such a polars type is read as well.
    Anything else is a `DataError`.
    """
    import polars as pl

    if text in PLAIN:
        return cast("pl.DataType", getattr(pl, text)())
    if match := _DATETIME.fullmatch(text) or _POLARS_DATETIME.fullmatch(text):
        return pl.Datetime(_unit(match[1]), match[2])
    if match := _DURATION.fullmatch(text) or _POLARS_DURATION.fullmatch(text):
        return pl.Duration(_unit(match[1]))
    if match := _DECIMAL.fullmatch(text):
        return pl.Decimal(int(match[1]), int(match[2]))
    raise DataError(
        f"{text!r} is not a column type",
        hint=f"The types are {', '.join(PLAIN)}, Datetime, Datetime[us, UTC], Duration[us] and Decimal[10, 2].",
    )


def _unit(text: str | None) -> Literal["ms", "us", "ns"]:
    return cast("Literal['ms', 'us', 'ns']", text or "us")
