"""Why two rows that should be the same are not the same to a plan."""

from __future__ import annotations

import datetime as dt
import json
import math
import re
import unicodedata
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Final

from headrace.compute.plan.document import (
    BinsStep,
    CategoryStep,
    FrequencyStep,
    NumberStep,
    OneHotStep,
    TargetStep,
)
from headrace.compute.plan.keys import key_text
from headrace.compute.plan.nearest import did_you_mean
from headrace.compute.plan.read import checked_frame, read_column
from headrace.compute.plan.types import family, polars_type, time_zone
from headrace.errors import DataError, DataTypeError
from headrace.types import ColumnSkew, OutputSkew, Skew

if TYPE_CHECKING:
    import polars as pl

    from headrace.compute.plan.document import Column, Step
    from headrace.compute.plan.feature_plan import FeaturePlan
    from headrace.types import SkewReason, SupportsArrowStream

_ABSENT: Final = object()
_LEAST: Final = -(2**63)
_GREATEST: Final = 2**64 - 1
# Of a time in ISO 8601, what follows its microseconds.
_FRACTION: Final = re.compile(r":\d\d\.\d{6}(\d+)")


def explain(
    plan: FeaturePlan, inputs: tuple[Column, ...], steps: tuple[Step, ...], training: Any, serving: Any
) -> Skew:
    """See `FeaturePlan.explain_skew`."""
    before, after = _row(training, "training"), _row(serving, "serving")
    base = {column.name: _typed(before.get(column.name), column) for column in inputs}
    names = [column.name for column in inputs]
    found: list[ColumnSkew] = []
    changed: dict[str, pl.Series] = {}
    refused = False
    for column in inputs:
        old, new = before.get(column.name, _ABSENT), after.get(column.name, _ABSENT)
        if old is _ABSENT and new is _ABSENT:
            raise DataError(
                f"neither row has the column {column.name!r}, which the feature plan reads",
                place=f"column {column.name!r}",
                hint=did_you_mean(column.name, [str(name) for name in before]),
            )
        reason = _reason(column, old, new, [step for step in steps if column.name in step.reads], list(after))
        try:
            changed[column.name] = _typed(None if new is _ABSENT else new, column)
            if new is not _ABSENT:
                _served(plan, dict.fromkeys(names) | {column.name: new})
            bad = new is _ABSENT
        except DataError as error:
            bad = True
            reason = reason or ("type", error.message)
        refused |= bad
        outputs = () if bad else _changes(plan, base, base | {column.name: changed[column.name]})
        if reason is None and outputs:
            reason = ("value", f"{_short(new)} where training has {_short(old)}")
        if reason is None:
            continue
        found.append(ColumnSkew(column.name, *reason, outputs=outputs, refused=bad))
    return Skew(tuple(found), () if refused else _changes(plan, base, changed))


def _changes(plan: FeaturePlan, old: Mapping[str, pl.Series], new: Mapping[str, pl.Series]) -> tuple[OutputSkew, ...]:
    import numpy as np
    import polars as pl

    left, right = (plan.matrix(pl.DataFrame(dict(row)))[0] for row in (old, new))
    differs = np.flatnonzero(left.view(np.uint32) != right.view(np.uint32))
    return tuple(OutputSkew(plan.outputs[i], float(left[i]), float(right[i])) for i in differs)


# --- rows -----------------------------------------------------------------------------------------------------------


def _row(row: Mapping[str, Any] | str | bytes | SupportsArrowStream, which: str) -> Mapping[str, Any]:
    if isinstance(row, Mapping):
        return row
    if isinstance(row, str | bytes):
        try:
            found = json.loads(row)
        except ValueError as error:
            raise DataError(f"the {which} row is no JSON: {error}", place=f"{which} row") from error
        if not isinstance(found, dict):
            raise DataError(f"the {which} row is {type(found).__name__}, expected an object", place=f"{which} row")
        return found
    frame = checked_frame(row)
    if frame.height != 1:
        raise DataError(
            f"the frame has {frame.height} rows, expected one", place=f"{which} row", hint="Pass frame[i : i + 1]."
        )
    # Not through Python where a series says more: nanoseconds, widths, zones.
    return {name: frame.get_column(name) for name in frame.columns}


def row_json(row: Any) -> bytes:
    """Python values as the JSON object that a plan reads: NaN as null, dates as ISO 8601, durations in seconds.

    Raises
    ------
    DataError
        A value that no row of JSON can hold; names its column.

    """
    if not isinstance(row, Mapping):
        raise DataTypeError(
            f"the row is of type {type(row).__name__}, expected a mapping or JSON", hint="Give a value for each column."
        )
    return json.dumps({str(name): _as_json(value, name) for name, value in row.items()}).encode()


def _of_python(value: Any) -> Any:
    """A scalar of numpy as what Python has for it; of dates and durations Python may have none, so they stay."""
    if type(value).__module__ == "numpy" and hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        return value if value.dtype.kind in "mM" else value.item()
    return value


def _as_json(value: Any, name: object) -> Any:
    value = _of_python(value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _as_unicode(value, name)
    if isinstance(value, float) and not math.isfinite(value):
        if math.isnan(value):
            return None
        raise DataError(f"holds {value}, which no JSON has", place=f"column {name!r}", hint="Use a frame of one row.")
    if isinstance(value, int) and not _LEAST <= value <= _GREATEST:
        raise DataError(
            f"holds {_short(value)}, which is beyond 64 bits", place=f"column {name!r}", hint="Use a frame of one row."
        )
    if isinstance(value, dt.datetime) and value.tzinfo is not None:
        try:
            return value.astimezone(dt.UTC).isoformat()  # offsets with seconds, as clocks had them, are not ISO 8601
        except OverflowError as error:
            raise DataError(
                f"holds {_short(value)}, which is beyond the calendar in UTC", place=f"column {name!r}", hint="Fix it."
            ) from error
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, dt.timedelta):
        return value.total_seconds()
    if isinstance(value, Decimal):
        return str(value)
    try:
        json.dumps(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise DataTypeError(
            f"holds {_short(value)} ({type(value).__name__}), which no row of JSON can hold",
            place=f"column {name!r}",
            hint="Give a number, a text, True or False, a date, a time or None; or a frame of one row.",
        ) from error
    return value


def _as_unicode(text: str, name: object) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"holds {_short(text)}, which is no Unicode: {error.reason}", place=f"column {name!r}", hint="Fix the text."
        ) from error
    return text


def _served(plan: FeaturePlan, row: Mapping[str, Any]) -> None:
    """Refuses what `FeaturePlan.row` refuses: Python's readers of dates, times and decimals take more than that."""
    if not plan.transforms and not any(_is_series(value) for value in row.values()):
        plan.row(dict(row), extra_columns="ignore")


def _is_series(value: Any) -> bool:
    return type(value).__module__.startswith("polars.")


def _typed(value: Any, column: Column) -> pl.Series:
    """One value as a series that the plan takes; texts for what has a calendar, as rows of JSON have them."""
    import polars as pl

    value = _of_python(value)
    if value is None:
        return pl.Series("value", [None], dtype=polars_type(column.type))
    if isinstance(value, pl.Series):
        return read_column(value.alias("value"), column)
    made = _parsed(value, column)
    dtype: Any = polars_type(column.type) if isinstance(made, dt.datetime | Decimal) else None
    if isinstance(made, dt.datetime) and made.tzinfo is not None:
        made, dtype = made.astimezone(dt.UTC), pl.Datetime(dtype.time_unit, "UTC")
    try:
        series = pl.Series("value", [made], dtype=dtype)
    except (TypeError, OverflowError, pl.exceptions.PolarsError) as error:
        raise DataError(f"holds {_short(value)}: {error}", place=f"column {column.name!r}") from error
    return read_column(series, column)


def _parsed(value: Any, column: Column) -> Any:
    kind = family(column.type)
    readers: dict[str, Any] = {
        "date": dt.date.fromisoformat,
        "datetime": dt.datetime.fromisoformat,
        "time": dt.time.fromisoformat,
    }
    if isinstance(value, str) and kind in readers:
        try:
            value = readers[kind](value)
        except ValueError as error:
            raise DataError(
                f"holds {_short(value)}, which is no {kind} in ISO 8601", place=f"column {column.name!r}"
            ) from error
    if isinstance(value, dt.datetime):
        if (value.tzinfo is None) != (time_zone(column.type) is None):
            which = "has no time zone" if value.tzinfo is None else "has a time zone"
            raise DataError(f"{which}, the feature plan expects {column.type}", place=f"column {column.name!r}")
        return value
    if kind == "duration" and isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return dt.timedelta(seconds=value)
        except (OverflowError, ValueError) as error:
            raise DataError(
                f"holds {_short(value)} seconds, more than its type can", place=f"column {column.name!r}"
            ) from error
    if isinstance(value, str):
        return _as_unicode(value, column.name) if not column.type.startswith("decimal") else _decimal(value, column)
    return value


def _decimal(text: str, column: Column) -> Decimal:
    try:
        found = Decimal(text)
    except InvalidOperation as error:
        raise DataError(f"holds {_short(text)}, which is no decimal", place=f"column {column.name!r}") from error
    if not found.is_finite():
        raise DataError(f"holds {_short(text)}, which is no decimal", place=f"column {column.name!r}")
    return found


# --- reasons --------------------------------------------------------------------------------------------------------


def _reason(column: Column, old: Any, new: Any, steps: list[Step], known: list[str]) -> tuple[SkewReason, str] | None:
    """How two values differ; None where they mean the same."""
    if new is _ABSENT:
        return "missing column", f"the serving row has no such column. {did_you_mean(column.name, known)}"
    if old is _ABSENT:
        return "missing column", "the training row has no such column"
    old, new = _plain(old, column), _plain(new, column)
    if old is None or new is None:
        if old is new:
            return None
        return "missing value", f"{_short(new)} where training has {_short(old)}"
    return _written(old, new) or _zone(column, old, new) or _meaning(column, old, new, steps)


def _plain(value: Any, column: Column) -> Any:
    import polars as pl

    if isinstance(value, pl.Series):
        value = value[0]
    value = _of_python(value)
    if isinstance(value, float) and math.isnan(value):
        return None
    try:
        exact = family(column.type) == "duration" or (column.type.startswith("decimal") and isinstance(value, str))
        return _parsed(value, column) if exact else value
    except DataError:
        return value  # that it is refused is said elsewhere


def _written(old: Any, new: Any) -> tuple[SkewReason, str] | None:
    """A value of another type, or a text that only looks different."""
    kinds = (_kind(old), _kind(new))
    if kinds[0] != kinds[1]:
        if "text" in kinds and "number" not in kinds and "truth value" not in kinds:
            return None  # a date as text is how JSON has it; whether it can be read is found out elsewhere
        same = "the same written otherwise: " if _same_written(str(old), str(new)) else ""
        return "type", f"{same}the {kinds[1]} {_short(new)} where training has the {kinds[0]} {_short(old)}"
    if isinstance(old, str) and old != new and (how := _same_written(old, new)):
        return "format", f"{_short(new)} where training has {_short(old)}: {how}"
    return None


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "truth value"
    return "number" if isinstance(value, int | float | Decimal) else "text" if isinstance(value, str) else "time"


def _same_written(old: str, new: str) -> str | None:
    """How two texts differ that stand for the same, or None."""
    if old.strip() == new.strip():
        return "other white space around it"
    if unicodedata.normalize("NFC", old) == unicodedata.normalize("NFC", new):
        return "the same letters in another Unicode normal form"
    if old.casefold().strip() == new.casefold().strip():
        return "other upper and lower case"
    numbers = [_number(text) for text in (old, new)]
    if None not in numbers and numbers[0] == numbers[1]:
        return "the same number written otherwise"
    if unicodedata.normalize("NFKC", old).casefold().strip() == unicodedata.normalize("NFKC", new).casefold().strip():
        return "other forms of the same letters"
    return None


def _number(text: str) -> Decimal | None:
    try:
        found = Decimal(text.strip().replace(",", "."))
    except InvalidOperation:
        return None
    return found if found.is_finite() else None


def _zone(column: Column, old: Any, new: Any) -> tuple[SkewReason, str] | None:
    if family(column.type) != "datetime":
        return None
    try:
        old, new = (dt.datetime.fromisoformat(v) if isinstance(v, str) else v for v in (old, new))
    except ValueError:
        return None
    if not (isinstance(old, dt.datetime) and isinstance(new, dt.datetime)):
        return None
    if (old.tzinfo is None) != (new.tzinfo is None):
        which = "no time zone" if new.tzinfo is None else "a time zone"
        return "zone", f"{new.isoformat()} has {which}, in training {old.isoformat()}"
    if old.tzinfo is not None and old != new and old.replace(tzinfo=None) == new.replace(tzinfo=None):
        hours = (new - old).total_seconds() / 3600
        return "zone", f"the same clock in another zone, {hours:+g} hours: {new.isoformat()} for {old.isoformat()}"
    return None


def _meaning(column: Column, old: Any, new: Any, steps: list[Step]) -> tuple[SkewReason, str] | None:
    try:
        left, right = _typed(old, column), _typed(new, column)
    except DataError as error:
        return "type", error.message
    if left.cast(right.dtype, strict=False).equals(right, check_names=False) and not _beyond_digits(old, new):
        return None
    shown = f"{_short(new)} where training has {_short(old)}"
    if unseen := _unseen(left, right, column, steps):
        return "unseen", f"{shown}; {unseen}"
    for step in steps:
        if isinstance(step, NumberStep | BinsStep) and (beyond := _beyond(float(right[0]), float(left[0]), step)):
            return "outside", f"{shown}; {beyond}"
    return "value", shown


def _beyond_digits(old: Any, new: Any) -> bool:
    """Whether they differ in digits that a series made of them loses: a decimal's beyond the scale, nanoseconds."""
    if isinstance(old, Decimal) and isinstance(new, Decimal):
        return old != new
    if not (isinstance(old, str) and isinstance(new, str)):
        return False
    first, second = (_FRACTION.search(text) for text in (old, new))
    return (first.group(1).rstrip("0") if first else "") != (second.group(1).rstrip("0") if second else "")


def _unseen(left: pl.Series, right: pl.Series, column: Column, steps: list[Step]) -> str | None:
    for step in steps:
        if len(step.reads) > 1:
            continue
        if isinstance(step, CategoryStep | OneHotStep):
            known = set(step.vocabulary)
        elif isinstance(step, FrequencyStep):
            known = {text for text, _ in step.counts}
        elif isinstance(step, TargetStep):
            known = {text for text, _ in step.encodings}
        else:
            continue
        if key_text(left, column.type)[0] in known and (text := key_text(right, column.type)[0]) not in known:
            return f"it is not among the {len(known)} values of training. {did_you_mean(str(text), sorted(known))}"
    return None


def _beyond(new: float, old: float, step: NumberStep | BinsStep) -> str | None:
    if isinstance(step, NumberStep):
        low, high = step.clip or (None, None)
        what = f"it is clipped to {_end(low)} .. {_end(high)}"
    else:
        low, high = (step.edges[0], step.edges[-1]) if step.edges else (None, None)
        what = f"it lies beyond the edges {_end(low)} .. {_end(high)}"
    out = (low is not None and new < low <= old) or (high is not None and new > high >= old)
    return what if out else None


def _end(value: float | None) -> str:
    return "open" if value is None else f"{value:g}"


def _short(value: Any) -> str:
    text = value.isoformat() if isinstance(value, dt.date | dt.time) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
