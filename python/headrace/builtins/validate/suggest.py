"""A first `expectations.toml` from data: what holds now and will probably hold next time, for a person to edit."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

import polars as pl

from headrace import SupportsArrowStream
from headrace.builtins.validate.columns import Columns, family, is_text

#: Fewer rows say little: only types are suggested.
FEW_ROWS = 30
#: A text column with at most so many values, each seen so often on average, has a closed list of them.
MOST_VALUES = 25
OFTEN = 10
#: The range of numbers is widened by so much of its width on each side.
MARGIN = 0.5
#: A share of missing values may double, and grow by so much.
NULL_SLACK = 0.02
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_ONE_PASS = 400
_ID_WORDS = ("id", "uuid", "guid", "key")
_SHAPES = {
    "UUIDs": r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}",
    "e-mail addresses": r"[^@\s]+@[^@\s]+\.[^@\s]+",
}

_HEAD = """\
# What must be true of the data. Suggested from {rows} rows; read it, and keep what you mean.
#
# Bounds are not those of the sample: the range of numbers is widened by {margin:.0%} of its width on each side, a share
# of missing values may double, and the rows may halve. "fail" stops the run, "warn" says it and goes on, "quarantine"
# sets the failing rows apart. Each key may have a policy of its own: min = {{ value = 0, policy = "warn" }}.

policy = "fail"
"""


def suggest(frame: SupportsArrowStream) -> str:
    """The text of a file of expectations that the frame meets. The same frame gives the same text.

    Types, missing values, ranges, closed lists of values, uniqueness of identifiers, the number of rows. What is likely
    to change with new data (ranges, lists) has the policy `warn`.
    """
    data = frame if isinstance(frame, pl.DataFrame) else pl.DataFrame(frame)
    rows = data.height
    parts = [_HEAD.format(rows=rows, margin=MARGIN)]
    if rows >= FEW_ROWS:
        parts.append(f"[table]\nmin_rows = {rows // 2}\n")
    facts = _facts(data)
    for name, dtype in data.schema.items():
        parts.append(_section(name, dtype, facts[name], rows, data))
    return "\n".join(parts)


def _facts(data: pl.DataFrame) -> dict[str, dict[str, Any]]:
    """Counts and extremes of every column, in one pass, or in several over very many columns."""
    columns = Columns.of(data.schema)
    asked: dict[str, pl.Expr] = {}
    for name, dtype in data.schema.items():
        value, at = columns.value(name), columns.position[name]
        asked[f"{at} missing"] = value.is_null().sum()
        if not dtype.is_nested() and dtype not in (pl.Object, pl.Binary):
            asked[f"{at} values"] = value.drop_nulls().n_unique()
        if dtype.is_numeric():
            finite = pl.when(value.is_finite()).then(value) if dtype.is_float() else value
            asked |= {f"{at} min": finite.min(), f"{at} max": finite.max()}
            if dtype.is_float():
                asked[f"{at} infinite"] = value.is_infinite().any()
    positional = columns.positional(data.lazy()).collect()
    row: dict[str, Any] = {}
    names = list(asked)
    for start in range(0, len(names), _ONE_PASS):  # polars' planning grows with the square of the number of expressions
        some = {name: asked[name] for name in names[start : start + _ONE_PASS]}
        row |= positional.lazy().select(**some).collect().row(0, named=True)
    keys = ("missing", "values", "min", "max", "infinite")
    return {name: {key: row.get(f"{at} {key}") for key in keys} for name, at in columns.position.items()}


def _section(name: str, dtype: pl.DataType, facts: Mapping[str, Any], rows: int, data: pl.DataFrame) -> str:
    lines = [f"[columns.{name if _BARE.fullmatch(name) else _quote(name)}]"]
    if dtype.is_nested() or dtype in (pl.Object, pl.Binary, pl.Null):
        return "\n".join([*lines, f"# {type(dtype).__name__}: nothing to suggest", ""])
    lines.append(f"type = {_quote(family(dtype))}")
    present = rows - facts["missing"]
    if rows < FEW_ROWS:
        return "\n".join([*lines, ""])
    lines += _nulls(facts["missing"], rows)
    if present and dtype.is_numeric():
        lines += _range(dtype, facts)
    if present and is_text(dtype):
        lines += _text(data.get_column(name).alias("values").cast(pl.String), facts["values"], present)
    if present and facts["values"] == present and (dtype.is_integer() or is_text(dtype)):
        lines += _unique(name)
    return "\n".join([*lines, ""])


def _nulls(missing: int, rows: int) -> list[str]:
    if missing == 0:
        return ["nulls = false"]
    if missing == rows:
        return ["# no value in any row of the sample"]
    most = min(1.0, math.ceil((2 * missing / rows + NULL_SLACK) * 100) / 100)
    return [f"nulls = {most:g}  # {missing / rows:.1%} in the sample"] if most < 1 else []


def _range(dtype: pl.DataType, facts: Mapping[str, Any]) -> list[str]:
    low, high = facts["min"], facts["max"]
    if low is None or facts["infinite"] or dtype.is_decimal():
        return []
    if facts["values"] == 1:
        return [f"# {low} in every row of the sample: a constant column teaches nothing"]
    width = float(high) - float(low)
    if not math.isfinite(width):
        return []
    least, most = low - MARGIN * width, high + MARGIN * width
    if not (math.isfinite(least) and math.isfinite(most)):
        return []
    wide_low, wide_high = _round_down(least), -_round_down(-most)
    if low >= 0:
        wide_low = max(0.0, wide_low)
    whole = dtype.is_integer()
    return [
        f'{key} = {{ value = {_number(value, whole=whole)}, policy = "warn" }}  # {found:g} in the sample'
        for key, value, found in (("min", wide_low, low), ("max", wide_high, high))
    ]


def _round_down(value: float) -> float:
    """The next lower number of two digits."""
    if value == 0:
        return 0.0
    unit = 10.0 ** (math.floor(math.log10(abs(value))) - 1)
    rounded = math.floor(value / unit) * unit
    return rounded if math.isfinite(rounded) and rounded <= value else value


def _number(value: float, *, whole: bool) -> str:
    if whole and abs(value) < 2**62:
        return str(math.floor(value) if value < 0 else math.ceil(value)) if not value.is_integer() else str(int(value))
    return repr(float(value))


def _text(values: pl.Series, distinct: int, present: int) -> list[str]:
    if distinct <= MOST_VALUES and present >= OFTEN * distinct:
        listed = sorted(values.drop_nulls().unique().to_list())
        return [f'allowed = {{ value = [{", ".join(map(_quote, listed))}], policy = "warn" }}']
    for what, pattern in _SHAPES.items():
        if values.drop_nulls().str.contains(rf"\A(?:{pattern})\z").all():
            return [f"regex = {_quote(pattern)}  # {what}"]
    return []


def _unique(name: str) -> list[str]:
    words = name.lower().replace("-", "_").split("_")
    if any(word in _ID_WORDS for word in words) or name.lower().endswith(_ID_WORDS):
        return ["unique = true"]
    return ["# unique = true  # every value differs in the sample"]


def _quote(text: str) -> str:
    """A TOML basic string. JSON's escapes are TOML's, but for the delete character, which TOML wants escaped."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


__all__ = ["suggest"]
