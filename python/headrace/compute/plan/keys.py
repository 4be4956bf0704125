"""Key text: how values are written where texts are looked up or hashed (see `document`)."""

from __future__ import annotations

import datetime as dt
import math
from typing import TYPE_CHECKING, Any

from headrace.compute.plan.types import family, polars_type, type_name
from headrace.compute.plan.types import time_zone as zone_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl

SEPARATOR = "\x1f"


def float_text(value: float, *, single: bool = False) -> str:
    """A float by the fewest digits that read back as it, as ECMAScript's Number::toString writes them.

    `single`: as it, the same float32.
    """
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if value == 0:
        return "0"
    if single:
        import numpy as np

        shown = np.format_float_scientific(np.float32(value), unique=True, trim="-")
    else:
        shown = repr(value)
    sign = "-" if value < 0 else ""
    mantissa, _, exponent = shown.lstrip("-").partition("e")
    whole, _, fraction = mantissa.partition(".")
    point = len(whole) + int(exponent or 0)
    digits = (whole + fraction).lstrip("0")
    point -= len(whole + fraction) - len(digits)
    digits = digits.rstrip("0")
    count = len(digits)
    if count <= point <= 21:
        return sign + digits + "0" * (point - count)
    if 0 < point <= 21:
        return f"{sign}{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    tail = f".{digits[1:]}" if count > 1 else ""
    return f"{sign}{digits[0]}{tail}e{'+' if point > 0 else '-'}{abs(point - 1)}"


def key_text(series: pl.Series, type_: str | None = None) -> pl.Series:
    """The key texts of a column as String, null where the value is missing.

    `type_`: the type of the signature; default: the column's own.
    """
    import polars as pl

    series = series.alias("value")
    name = type_ or type_name(series.dtype)
    kind = family(name)
    if series.dtype == pl.String:
        return series
    if kind in ("string", "integer", "boolean"):
        return series.cast(pl.String)
    if kind == "float" and type_ is not None and not type_.startswith("decimal"):
        series = series.cast(polars_type(type_))
    values = series.unique()
    texts = [_text(value, name) for value in _exact(values, kind).to_list()]
    pairs = pl.DataFrame({"value": values, "text": pl.Series(texts, dtype=pl.String)})
    return series.to_frame().join(pairs, on="value", how="left", nulls_equal=True, maintain_order="left")["text"]


def cross_text(parts: Sequence[pl.Series]) -> pl.Series:
    """Key texts of one column, or of several joined; null where one is."""
    import polars as pl

    if len(parts) == 1:
        return parts[0]
    frame = pl.DataFrame({str(index): part for index, part in enumerate(parts)})
    escaped = [
        pl.col(name).str.replace_all("\\", "\\\\", literal=True).str.replace_all(SEPARATOR, "\\u", literal=True)
        for name in frame.columns
    ]
    return frame.select(pl.concat_str(escaped, separator=SEPARATOR, ignore_nulls=False).alias("value"))["value"]


def shown(text: str) -> str:
    """A key text as a person reads it: the parts of a cross between bars."""
    return text.replace(SEPARATOR, "|")


def _exact(values: pl.Series, kind: str) -> pl.Series:
    """As Python values that lose nothing: counts of nanoseconds do not fit those of the standard library."""
    return values.to_physical() if kind in ("date", "datetime", "time") else values


def _text(value: Any, name: str) -> str | None:
    kind = family(name)
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if kind == "date":
        return _date(value)
    if kind == "time":
        return _clock(value, 1_000_000_000)
    if kind == "datetime":
        units = {"ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}[name[9:11]]
        days, rest = divmod(value, 86_400 * units)
        return f"{_date(days)}T{_clock(rest, units)}{'Z' if zone_of(name) else ''}"
    if name.startswith("decimal"):
        text = format(value, "f")
        return text.rstrip("0").rstrip(".") if "." in text else text
    return float_text(value, single=name != "float64")


_EPOCH = dt.date(1970, 1, 1).toordinal()


def _date(days: int) -> str:
    if 1 <= days + _EPOCH <= dt.date.max.toordinal():
        return (dt.date(1970, 1, 1) + dt.timedelta(days=days)).isoformat()
    # 400 years of the Gregorian calendar are so many days; years beyond four digits have a sign.
    shift, within = divmod(days, 146_097)
    inside = dt.date(1970, 1, 1) + dt.timedelta(days=within)
    year = inside.year + 400 * shift
    return f"{year:04}{inside:-%m-%d}" if 0 <= year <= 9999 else f"{year:+05}{inside:-%m-%d}"


def _clock(count: int, units: int) -> str:
    seconds, rest = divmod(count, units)
    text = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    fraction = f"{rest * (1_000_000_000 // units):09}".rstrip("0")
    return f"{text}.{fraction}" if fraction else text
