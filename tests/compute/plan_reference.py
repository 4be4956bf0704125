"""Format 2 of the feature plan in plain Python, one value after the other: what the fast implementation must equal.

Slow and simple on purpose. Reads the document as JSON values, and a frame as polars columns of exactly the types that
the plan declares (casting is not its business). Every step follows the text of `headrace.compute.plan.document`.
"""

from __future__ import annotations

import datetime as dt
import math
import re
import struct
import zoneinfo
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import polars as pl

QUIET_NAN = 0x7FC00000
SEPARATOR = "\x1f"
UNITS = {"ms": 10**3, "us": 10**6, "ns": 10**9}
EPOCH = dt.date(1970, 1, 1).toordinal()


def run(document: dict[str, Any], frame: pl.DataFrame) -> tuple[list[str], np.ndarray]:
    """Names and values, float32 [rows, outputs] with one NaN, of all outputs."""
    names = [name for step in document["steps"] for name in outputs_of(step)]
    columns = [*document["inputs"], *(column for t in document["transforms"] for column in t["gives"])]
    types = {column["name"]: column["type"] for column in columns}
    raw = {name: physical(frame.get_column(name), type_) for name, type_ in types.items()}
    rows = []
    for index in range(frame.height):
        row: list[int] = []
        for step in document["steps"]:
            read = [step["input"]] if "input" in step else step["inputs"]
            row += run_step(step, [(raw[name][index], types[name]) for name in read])
        rows.append(row)
    bits = np.array(rows, dtype=np.uint32).reshape(frame.height, len(names))
    return names, bits.view(np.float32)


def outputs_of(step: dict[str, Any]) -> list[str]:
    match step["op"]:
        case "number" if step["indicator"] is not None:
            return [step["output"], step["indicator"]]
        case "one_hot":
            return [f"{step['output']}={text}" for text in step["vocabulary"]]
        case "hash" | "text":
            return [f"{step['output']}.{index}" for index in range(step["size"])]
        case "target":
            return list(step["outputs"])
    return [step["output"]]


def physical(series: pl.Series, type_: str) -> list[Any]:
    """Calendar types as counts, so that nothing is lost; decimals as Decimal; NaN as None."""
    if type_ == "string":
        return series.cast(pl.String).to_list()
    if type_.startswith(("date", "time", "duration")):
        return series.to_physical().to_list()
    return [None if isinstance(v, float) and math.isnan(v) else v for v in series.to_list()]


def run_step(step: dict[str, Any], values: list[tuple[Any, str]]) -> list[int]:
    """Bits of the outputs of one step for one row."""
    return OPERATIONS[step["op"]](step, values)


# --- rounding -------------------------------------------------------------------------------------------------------


def float32(value: float | None) -> int:
    """The bits of the float32 nearest to a real number, ties to even; the quiet NaN for None and NaN."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return QUIET_NAN
    if isinstance(value, int):  # struct goes by way of float64, which rounds twice
        return exactly(Fraction(value))
    try:
        return struct.unpack("<I", struct.pack("<f", value))[0]
    except OverflowError:
        return 0x7F800000 if value > 0 else 0xFF800000


def exactly(value: Fraction) -> int:
    """A rational as float32, by exact arithmetic: never more than float64 beyond its middle."""
    if value == 0:
        return 0
    magnitude = abs(value)
    exponent = magnitude.numerator.bit_length() - magnitude.denominator.bit_length()
    while Fraction(2) ** exponent > magnitude:
        exponent -= 1
    while Fraction(2) ** (exponent + 1) <= magnitude:
        exponent += 1
    ulp = Fraction(2) ** (max(exponent, -126) - 23)
    whole = round(magnitude / ulp)  # a Fraction rounds ties to even
    nearest = whole * ulp
    if nearest >= Fraction(2) ** 128:
        return 0x7F800000 if value > 0 else 0xFF800000
    return struct.unpack("<I", struct.pack("<f", float(nearest if value > 0 else -nearest)))[0]


def finish(step: dict[str, Any], quantity: float | None) -> list[int]:
    """`impute` and `scaling` of a quantity."""
    if quantity is None:
        quantity = step.get("impute")
    if quantity is None:
        return [QUIET_NAN]
    return [float32(scaled(float(quantity), step.get("scaling")))]


def scaled(quantity: float, scaling: dict[str, float] | None) -> float:
    return quantity if scaling is None else (quantity - scaling["center"]) / scaling["scale"]


# --- numbers --------------------------------------------------------------------------------------------------------


def number(step: dict[str, Any], values: list[tuple[Any, str]]) -> list[int]:
    value = values[0][0]
    indicator = [] if step["indicator"] is None else [float32(float(value is None))]
    if isinstance(value, Decimal):
        value = float(value)
    if step["impute"] is None and step["clip"] is None and not step["log"] and step["scaling"] is None:
        return [float32(value), *indicator]
    quantity = step["impute"] if value is None else float(value)
    if quantity is None:
        return [QUIET_NAN, *indicator]
    low, high = step["clip"] or (None, None)
    if low is not None and quantity < low:
        quantity = low
    elif high is not None and quantity > high:
        quantity = high
    if step["log"]:
        quantity = math.copysign(log1p(abs(quantity)), quantity)
    return [float32(scaled(float(quantity), step["scaling"])), *indicator]


def boolean(step: dict[str, Any], values: list[tuple[Any, str]]) -> list[int]:
    value = values[0][0]
    return finish(step, None if value is None else float(value))


def bins(step: dict[str, Any], values: list[tuple[Any, str]]) -> list[int]:
    value = values[0][0]
    return finish(step, None if value is None else sum(edge <= float(value) for edge in step["edges"]))


def log1p(x: float) -> float:
    """log(1 + x) for x >= 0 as FreeBSD's msun (s_log1p.c) computes it, which is what the Rust crate `libm` has."""
    high = struct.unpack("<Q", struct.pack("<d", x))[0] >> 32
    if high >= 0x7FF00000 or high << 1 < 0x3CA00000 << 1:
        return x
    k, c, f = 0, 0.0, x
    if high >= 0x3FDA827A:
        u = 1.0 + x
        bits = struct.unpack("<Q", struct.pack("<d", u))[0]
        high = (bits >> 32) + 0x3FF00000 - 0x3FE6A09E
        k = (high >> 20) - 0x3FF
        if k < 54:
            c = (1.0 - (u - x) if k >= 2 else x - (u - 1.0)) / u
        high = (high & 0x000FFFFF) + 0x3FE6A09E
        f = struct.unpack("<d", struct.pack("<Q", high << 32 | bits & 0xFFFFFFFF))[0] - 1.0
    half = 0.5 * f * f
    s = f / (2.0 + f)
    z = s * s
    w = z * z
    t1 = w * (3.999999999940941908e-01 + w * (2.222219843214978396e-01 + w * 1.531383769920937332e-01))
    t2 = z * (
        6.666666666666735130e-01
        + w * (2.857142874366239149e-01 + w * (1.818357216161805012e-01 + w * 1.479819860511658591e-01))
    )
    rest = t2 + t1
    return s * (half + rest) + (k * 1.90821492927058770002e-10 + c) - half + f + k * 6.93147180369123816490e-01


# --- keys -----------------------------------------------------------------------------------------------------------


def key_of(values: list[tuple[Any, str]]) -> str | None:
    """The key text of a row, or None where it is missing."""
    parts = [key_text(value, type_) for value, type_ in values]
    if None in parts:
        return None
    if len(parts) == 1:
        return parts[0]
    return SEPARATOR.join(part.replace("\\", "\\\\").replace(SEPARATOR, "\\u") for part in parts)


def key_text(value: Any, type_: str) -> str | None:
    if value is None:
        return None
    if type_ == "string":
        return value
    if type_ == "boolean":
        return "true" if value else "false"
    if type_ == "date":
        return date_text(value)
    if type_ == "time":
        return clock_text(value, 10**9)
    if type_.startswith("datetime"):
        units = UNITS[type_[9:11]]
        days, rest = divmod(value, 86_400 * units)
        return date_text(days) + "T" + clock_text(rest, units) + ("Z" if "," in type_ else "")
    if type_.startswith("decimal"):
        text = format(value, "f")
        return re.sub(r"\.?0+$", "", text) if "." in text else text
    if type_ in ("float16", "float32"):
        return ecmascript(shortest(value))
    if type_ == "float64":
        return ecmascript(repr(value))
    return str(value)


def shortest(value: float) -> str:
    """The fewest digits that read back as the same float32."""
    if math.isinf(value):
        return repr(value)
    for digits in range(1, 10):
        text = f"{value:.{digits - 1}e}"
        if float32(float(text)) == float32(value):
            return text
    raise AssertionError(value)


def ecmascript(text: str) -> str:
    """Digits as ECMAScript's Number::toString arranges them."""
    value = Decimal(text)
    if value.is_infinite():
        return "Infinity" if value > 0 else "-Infinity"
    if value == 0:
        return "0"
    sign, digits, exponent = value.as_tuple()
    joined = "".join(map(str, digits)).rstrip("0")
    k, n = len(joined), len(digits) + exponent
    minus = "-" if sign else ""
    if k <= n <= 21:
        return minus + joined + "0" * (n - k)
    if 0 < n <= 21:
        return minus + joined[:n] + "." + joined[n:]
    if -6 < n <= 0:
        return minus + "0." + "0" * -n + joined
    mantissa = joined if k == 1 else f"{joined[0]}.{joined[1:]}"
    return f"{minus}{mantissa}e{'+' if n > 0 else '-'}{abs(n - 1)}"


def date_text(days: int) -> str:
    year, month, day = civil(days)
    return f"{year:04}-{month:02}-{day:02}" if 0 <= year <= 9999 else f"{year:+05}-{month:02}-{day:02}"


def civil(days: int) -> tuple[int, int, int]:
    """Year, month and day, also beyond the calendar of Python: 400 years are 146,097 days."""
    shift, within = divmod(days, 146_097)
    inside = dt.date.fromordinal(EPOCH + within)
    return inside.year + 400 * shift, inside.month, inside.day


def clock_text(count: int, units: int) -> str:
    seconds, rest = divmod(count, units)
    fraction = str(rest * (10**9 // units)).zfill(9).rstrip("0")
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}" + (f".{fraction}" if fraction else "")


def category(step: dict[str, Any], values: list[tuple[Any, str]]) -> list[int]:
    key = key_of(values)
    if key is None:
        return [float32(float(step["missing"]))]
    vocabulary = step["vocabulary"]
    return [float32(float(vocabulary.index(key) if key in vocabulary else step["unseen"]))]


def one_hot(step: dict[str, Any], values: list[tuple[Any, str]]) -> list[int]:
    key = key_of(values)
    return [float32(float(key == text)) for text in step["vocabulary"]]


def frequency(step: dict[str, Any], values: list[tuple[Any, str]]) -> list[int]:
    key = key_of(values)
    return finish(step, None if key is None else dict(step["counts"]).get(key, 0) / step["rows"])


def target(step: dict[str, Any], values: list[tuple[Any, str]]) -> list[int]:
    key = key_of(values)
    numbers = step["missing"] if key is None else dict(step["encodings"]).get(key, step["unseen"])
    scalings = step["scaling"] or [None] * len(numbers)
    return [float32(scaled(float(q), scaling)) for q, scaling in zip(numbers, scalings, strict=True)]


# --- hashes ---------------------------------------------------------------------------------------------------------


def murmur3(data: bytes) -> int:
    """MurmurHash3_x86_32 with seed 0, signed."""
    mask = 0xFFFFFFFF
    state = 0
    for start in range(0, len(data), 4):
        block = data[start : start + 4]
        word = int.from_bytes(block, "little") * 0xCC9E2D51 & mask
        word = (word << 15 | word >> 17) & mask
        state ^= word * 0x1B873593 & mask
        if len(block) == 4:
            state = ((state << 13 | state >> 19) & mask) * 5 + 0xE6546B64 & mask
    state ^= len(data)
    state = (state ^ state >> 16) * 0x85EBCA6B & mask
    state = (state ^ state >> 13) * 0xC2B2AE35 & mask
    state ^= state >> 16
    return state - 2**32 if state >= 2**31 else state


def bucket(step: dict[str, Any], values: list[tuple[Any, str]]) -> list[int]:
    key = key_of(values)
    if key is None:
        return [float32(float(step["buckets"]))]
    return [float32(float(abs(murmur3((step["prefix"] + key).encode())) % step["buckets"]))]


def hashed(step: dict[str, Any], values: list[tuple[Any, str]]) -> list[int]:
    made = [0.0] * step["size"]
    key = key_of(values)
    if key is not None:
        hash_ = murmur3((step["prefix"] + key).encode())
        made[abs(hash_) % step["size"]] = -1.0 if step["signed"] and hash_ < 0 else 1.0
    return [float32(value) for value in made]


def text(step: dict[str, Any], values: list[tuple[Any, str]]) -> list[int]:
    """By scikit-learn itself: it is the definition."""
    from sklearn.feature_extraction.text import HashingVectorizer

    vectorizer = HashingVectorizer(
        n_features=step["size"],
        analyzer=step["analyzer"],
        ngram_range=tuple(step["ngrams"]),
        lowercase=step["lowercase"],
        strip_accents=step["strip_accents"],
        stop_words=(step["stop_words"] or None) if step["analyzer"] == "word" else None,
        alternate_sign=step["signed"],
        norm=step["norm"],
        binary=step["binary"],
        dtype=np.float64,
    )
    row = vectorizer.transform([values[0][0] or ""]).toarray()[0]
    return [float32(float(value)) for value in row]


# --- time -----------------------------------------------------------------------------------------------------------


def part_of(step: dict[str, Any], value: int, type_: str) -> int:
    """A field of the calendar. Zones by the standard library, so within its years."""
    if type_ == "time":
        days, seconds = 0, value // 10**9
    elif type_ == "date":
        days, seconds = value, 0
    else:
        total = value // UNITS[type_[9:11]]
        if step["time_zone"] is not None:
            moment = dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(seconds=total)
            offset = moment.astimezone(zoneinfo.ZoneInfo(step["time_zone"])).utcoffset()
            assert offset is not None
            total += int(offset.total_seconds())
        days, seconds = divmod(total, 86_400)
    year, month, day = civil(days)
    shift = days // 146_097 * 146_097
    date = dt.date.fromordinal(EPOCH + days - shift)  # the same day of a year that Python has
    return {
        "year": lambda: year,
        "quarter": lambda: (month + 2) // 3,
        "month": lambda: month,
        "week": lambda: date.isocalendar().week,
        "day": lambda: day,
        "day_of_year": lambda: date.timetuple().tm_yday,
        "day_of_week": date.isoweekday,
        "hour": lambda: seconds // 3600,
        "minute": lambda: seconds // 60 % 60,
        "second": lambda: seconds % 60,
        "days": lambda: days,
    }[step["part"]]()


def time_part(step: dict[str, Any], values: list[tuple[Any, str]]) -> list[int]:
    value, type_ = values[0]
    return finish(step, None if value is None else part_of(step, value, type_))


def time_cycle(step: dict[str, Any], values: list[tuple[Any, str]]) -> list[int]:
    value, type_ = values[0]
    return finish(step, None if value is None else step["table"][part_of(step, value, type_) - step["first"]])


def seconds(step: dict[str, Any], values: list[tuple[Any, str]]) -> list[int]:
    value, type_ = values[0]
    return finish(step, None if value is None else float(value) / UNITS[type_[9:11]])


def difference(step: dict[str, Any], values: list[tuple[Any, str]]) -> list[int]:
    if any(value is None for value, _ in values):
        return finish(step, None)
    units = max(unit_of(type_) for _, type_ in values)
    counts = [
        value * 86_400 * units if type_ == "date" else value * (units // unit_of(type_)) for value, type_ in values
    ]
    return finish(step, float(counts[0] - counts[1]) / units)


def unit_of(type_: str) -> int:
    return UNITS["ms" if type_ == "date" else "ns" if type_ == "time" else type_[9:11]]


OPERATIONS = {
    "number": number,
    "boolean": boolean,
    "bins": bins,
    "category": category,
    "one_hot": one_hot,
    "frequency": frequency,
    "target": target,
    "bucket": bucket,
    "hash": hashed,
    "text": text,
    "time_part": time_part,
    "time_cycle": time_cycle,
    "seconds": seconds,
    "difference": difference,
}
