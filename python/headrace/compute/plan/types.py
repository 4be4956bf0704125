"""Names of column types in a plan: neutral ones, so that a plan means the same outside polars.

`boolean`, `int8` ... `int128`, `uint8` ... `uint128`, `float16`, `float32`, `float64`, `decimal[precision,scale]`,
`string` (also categorical and enum columns), `date`, `time`, `datetime[unit]`, `datetime[unit, zone]`,
`duration[unit]`, `null`; a unit is `ms`, `us` or `ns`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, Literal, cast

if TYPE_CHECKING:
    import polars as pl

Family = Literal["integer", "float", "boolean", "string", "date", "datetime", "time", "duration", "null", "other"]
"""What values mean, whatever their width. `float` includes decimals."""

_INTEGER: Final = re.compile(r"u?int(8|16|32|64|128)")
_FLOAT: Final = re.compile(r"float(16|32|64)|decimal\[(\d+),(\d+)\]")
_DATETIME: Final = re.compile(r"datetime\[(ms|us|ns)(?:, (.+))?\]")
_DURATION: Final = re.compile(r"duration\[(ms|us|ns)\]")
_PLAIN: Final = {"boolean": "Boolean", "string": "String", "date": "Date", "time": "Time", "null": "Null"}


def type_name(dtype: pl.DataType) -> str:
    """The name of a polars type; of one that plans do not know, polars' own text in lower case."""
    import polars as pl

    if isinstance(dtype, pl.Categorical | pl.Enum):
        return "string"
    if isinstance(dtype, pl.Datetime):
        return f"datetime[{dtype.time_unit}, {dtype.time_zone}]" if dtype.time_zone else f"datetime[{dtype.time_unit}]"
    if isinstance(dtype, pl.Duration):
        return f"duration[{dtype.time_unit}]"
    if isinstance(dtype, pl.Decimal):
        return f"decimal[{dtype.precision},{dtype.scale}]"
    return str(dtype).lower()


def polars_type(name: str) -> Any:
    """The polars type that a name stands for; KeyError for a name that stands for none."""
    import polars as pl

    if name in _PLAIN:
        return getattr(pl, _PLAIN[name])()
    if _INTEGER.fullmatch(name):
        return getattr(
            pl, name.replace("uint", "UInt").replace("int", "Int") if name[0] == "i" else f"UInt{name[4:]}"
        )()
    if match := _FLOAT.fullmatch(name):
        return pl.Decimal(int(match[2]), int(match[3])) if match[2] else getattr(pl, f"Float{match[1]}")()
    if match := _DATETIME.fullmatch(name):
        return pl.Datetime(match[1], match[2])  # type: ignore[arg-type]  # the pattern admits only the three units
    if match := _DURATION.fullmatch(name):
        return pl.Duration(match[1])  # type: ignore[arg-type]
    raise KeyError(name)


def family(name: str) -> Family:
    """The family of a type name."""
    if name in _PLAIN:
        return cast(Family, name)
    if _INTEGER.fullmatch(name):
        return "integer"
    if _FLOAT.fullmatch(name):
        return "float"
    if _DATETIME.fullmatch(name):
        return "datetime"
    return "duration" if _DURATION.fullmatch(name) else "other"


def time_zone(name: str) -> str | None:
    """The zone of a `datetime[unit, zone]`."""
    match = _DATETIME.fullmatch(name)
    return match[2] if match else None
