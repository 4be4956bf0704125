"""The columns of a table as expressions: by position, floats with NaN as missing, constants in the column's type."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl

from headrace.builtins.validate.grammar import Among, Binary, Column, Constant, Node, Unary

_COMPARE = ("==", "!=", "<", "<=", ">", ">=")


class UnfitError(ValueError):
    """An expectation does not fit the type of the column that it speaks of."""


@dataclass(frozen=True)
class Columns:
    """Name -> position and type. In the frame that the expressions are for, columns are called "0", "1", ..."""

    schema: Mapping[str, pl.DataType]
    position: Mapping[str, int]

    @classmethod
    def of(cls, schema: Mapping[str, pl.DataType]) -> Columns:
        return cls(dict(schema), {name: i for i, name in enumerate(schema)})

    def positional(self, frame: pl.LazyFrame) -> pl.LazyFrame:
        """The frame with columns called by position: a name may look like a pattern to polars."""
        return frame.rename({name: str(i) for name, i in self.position.items()})

    def value(self, name: str) -> pl.Expr:
        """The column; NaN as missing, categories as text."""
        column = pl.col(str(self.position[name]))
        dtype = self.schema[name]
        if dtype.is_float():
            return column.fill_nan(None)
        return column.cast(pl.String) if is_text(dtype) else column


def is_text(dtype: pl.DataType) -> bool:
    """Whether values are text: strings, or categories of strings."""
    return dtype == pl.String or isinstance(dtype, (pl.Categorical, pl.Enum))


def family(dtype: pl.DataType) -> str:
    """`integer`, `number`, `text`, `boolean`, `date`, `datetime`, or polars' own text for other types."""
    if dtype.is_integer():
        return "integer"
    if dtype.is_numeric():
        return "number"
    if is_text(dtype):
        return "text"
    if dtype == pl.Boolean:
        return "boolean"
    if dtype == pl.Date:
        return "date"
    return "datetime" if isinstance(dtype, pl.Datetime) else str(dtype)


def matches(dtype: pl.DataType, wanted: str) -> bool:
    """Whether a type is what the word says; an integer is a number too."""
    found = family(dtype)
    return wanted in (found, str(dtype)) or (wanted == "number" and found == "integer")


def constant(value: Any, dtype: pl.DataType) -> Any:
    """The Python value to compare a column of that type with, or `UnfitError`."""
    if dtype.is_numeric():
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return value
    elif is_text(dtype):
        if isinstance(value, str):
            return value
    elif dtype == pl.Boolean:
        if isinstance(value, bool):
            return value
    elif dtype == pl.Time:
        if isinstance(value, dt.time):
            return value
    elif isinstance(dtype, (pl.Date, pl.Datetime)):
        return _moment(value, dtype)
    raise UnfitError(f"{value!r} cannot be compared with {dtype} values")


def _moment(given: Any, dtype: pl.Date | pl.Datetime) -> dt.date:
    value: dt.date = given
    if isinstance(given, str):
        try:
            value = dt.datetime.fromisoformat(given)
        except ValueError:
            raise UnfitError(f"{value!r} is no date or time as in ISO 8601") from None
    if not isinstance(value, dt.date):
        raise UnfitError(f"{value!r} cannot be compared with {dtype} values")
    if not isinstance(value, dt.datetime):
        value = dt.datetime.combine(value, dt.time())
    if isinstance(dtype, pl.Date):
        if value.time() != dt.time() or value.tzinfo is not None:
            raise UnfitError(f"{value} has a time of day, and the column has dates")
        return value.date()
    if dtype.time_zone is None:
        if value.tzinfo is not None:
            raise UnfitError(f"{value} has a time zone, and the column has none")
        return value
    return value if value.tzinfo is not None else value.replace(tzinfo=ZoneInfo(dtype.time_zone))


def literal(value: Any, dtype: pl.DataType) -> pl.Expr:
    """`constant` as an expression; moments in the column's own type."""
    made = constant(value, dtype)
    if isinstance(dtype, pl.Datetime):
        return pl.lit(made).dt.convert_time_zone(dtype.time_zone) if dtype.time_zone else pl.lit(made)
    return pl.lit(made)


def values_as(values: list[Any], dtype: pl.DataType) -> pl.Series:
    """A list of constants as a Series to look a column's values up in."""
    made = [constant(value, dtype) for value in values]
    if is_text(dtype):
        return pl.Series(made, dtype=pl.String)
    if dtype.is_integer():
        whole = [int(v) for v in made if (isinstance(v, int) or v.is_integer()) and abs(v) < 2**64]
        return pl.Series(whole, dtype=pl.Int128).cast(dtype, strict=False).drop_nulls()
    return pl.Series(made, dtype=dtype, strict=False).drop_nulls()


# --- [[check]] ------------------------------------------------------------------------------------------------------


def compile_check(node: Node, columns: Columns) -> pl.Expr:
    """The expression as polars' own, Boolean with null for unknown. `UnfitError` where types do not go together."""
    made, kind = _compile(node, columns)
    if kind != pl.Boolean:
        raise UnfitError(f"it gives {_kind(kind)}, not true or false")
    return made


Typed = tuple[pl.Expr, Any]


def _kind(dtype: Any) -> str:
    return {"number": "a number", "text": "a text"}.get(family(dtype), f"a {family(dtype)}")


def _compile(node: Node, columns: Columns) -> Typed:
    if isinstance(node, Column):
        return columns.value(node.name), _plain(columns.schema[node.name])
    if isinstance(node, Constant):
        return pl.lit(node.value), _of_constant(node.value)
    if isinstance(node, Among):
        inside, dtype = _compile(node.of, columns)
        found = inside.is_in(values_as([value.value for value in node.values], dtype).implode())
        return (~found if node.negated else found), pl.Boolean()
    if isinstance(node, Unary):
        return _unary(node, columns)
    return _binary(node, columns)


def _plain(dtype: pl.DataType) -> pl.DataType:
    return pl.String() if is_text(dtype) else dtype


def _of_constant(value: Any) -> pl.DataType:
    if isinstance(value, bool):
        return pl.Boolean()
    if isinstance(value, str):
        return pl.String()
    return pl.Int64() if isinstance(value, int) else pl.Float64()


def _unary(node: Unary, columns: Columns) -> Typed:
    inside, dtype = _compile(node.of, columns)
    if node.sign in ("is null", "is not null"):
        return (inside.is_null() if node.sign == "is null" else inside.is_not_null()), pl.Boolean()
    if node.sign == "not":
        if dtype != pl.Boolean:
            raise UnfitError(f"`not` stands before {_kind(dtype)}")
        return ~inside, pl.Boolean()
    if node.sign == "length":
        if not is_text(dtype):
            raise UnfitError(f"`length` of {_kind(dtype)}")
        return inside.str.len_chars().cast(pl.Int64), pl.Int64()
    if not dtype.is_numeric():
        raise UnfitError(f"`{node.sign}` of {_kind(dtype)}")
    number = inside.cast(pl.Float64)
    return (number.abs() if node.sign == "abs" else -number), pl.Float64()


def _binary(node: Binary, columns: Columns) -> Typed:
    left, left_type = _compile(node.left, columns)
    right, right_type = _compile(node.right, columns)
    if node.sign in ("and", "or"):
        for dtype in (left_type, right_type):
            if dtype != pl.Boolean:
                raise UnfitError(f"`{node.sign}` stands beside {_kind(dtype)}")
        return (left & right if node.sign == "and" else left | right), pl.Boolean()
    if node.sign in _COMPARE:
        left, right = _comparable(node, (left, left_type), (right, right_type))
        made = {
            "==": left == right,
            "!=": left != right,
            "<": left < right,
            "<=": left <= right,
            ">": left > right,
            ">=": left >= right,
        }
        return made[node.sign], pl.Boolean()
    for dtype in (left_type, right_type):
        if not dtype.is_numeric():
            raise UnfitError(f"`{node.sign}` with {_kind(dtype)}")
    left, right = left.cast(pl.Float64), right.cast(pl.Float64)
    sums = {"+": left + right, "-": left - right, "*": left * right, "/": left / right}
    return sums[node.sign].fill_nan(None), pl.Float64()


def _comparable(node: Binary, left: Typed, right: Typed) -> tuple[pl.Expr, pl.Expr]:
    """Both sides in types that polars compares as meant."""
    (a, a_type), (b, b_type) = left, right
    if isinstance(node.right, Constant) and isinstance(node.right.value, str) and a_type.is_temporal():
        return a, literal(node.right.value, a_type)
    if isinstance(node.left, Constant) and isinstance(node.left.value, str) and b_type.is_temporal():
        return literal(node.left.value, b_type), b
    if a_type.is_numeric() and b_type.is_numeric():
        return a, b
    if a_type.is_temporal() and b_type.is_temporal():
        zones = {getattr(dtype, "time_zone", None) for dtype in (a_type, b_type)}
        if a_type == b_type:
            return a, b
        if pl.Time in (a_type, b_type) or (None in zones and len(zones) > 1):
            raise UnfitError(f"{a_type} is compared with {b_type}")
        zone = "UTC" if None not in zones else None
        wide = pl.Datetime("us", zone)
        return a.cast(wide), b.cast(wide)
    if a_type != b_type:
        raise UnfitError(f"{_kind(a_type)} is compared with {_kind(b_type)}")
    if a_type == pl.Boolean and node.sign not in ("==", "!="):
        raise UnfitError(f"`{node.sign}` between true and false")
    return a, b
