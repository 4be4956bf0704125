"""Counts of a profile's bins as bars that a person can look at: a few dozen, on an axis of values or of categories."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from headrace.builtins.report.markup import number

if TYPE_CHECKING:
    from collections.abc import Sequence

BARS = 40
MOST_CATEGORIES, FEW_CATEGORIES = 12, 4
_SMALL = 0.01
MOST_ATOMS = 24
_TAIL = 0.005
_SPECIAL = {"null": "missing", "nan": "NaN", "inf": "infinite", "-inf": "minus infinite"}


@dataclass(frozen=True)
class Bars:
    """Shares (0 to 1) of the reference and live.

    `edges` are those of a histogram, one more than there are bars; None for categories, whose names are `labels`.
    `apart` are named bars beside either: missing, below and above all that the reference had, unseen.
    """

    edges: list[float] | None
    labels: list[str]
    reference: list[float]
    live: list[float]
    apart: list[tuple[str, float, float]]


@dataclass(frozen=True)
class Bin:
    """One row of `Profile.counts`."""

    bin: str
    low: float | None
    high: float | None
    category: str | None
    reference: float
    live: float


def bars(bins: Sequence[Bin], kind: str) -> Bars | None:
    """What to draw of a column; None where there is nothing. `kind` as in `Profile.columns`."""
    totals = sum(b.reference for b in bins), sum(b.live for b in bins)
    if not any(totals):
        return None
    shares = [
        (b, b.reference / totals[0] if totals[0] else 0.0, b.live / totals[1] if totals[1] else 0.0) for b in bins
    ]
    if any(b.bin in ("category", "unseen", "other") for b in bins):
        return _nominal(shares)
    return _ordered(shares, kind)


def _nominal(shares: list[tuple[Bin, float, float]]) -> Bars:
    named = [(b.category or "", p, q) for b, p, q in shares if b.bin == "category"]
    named.sort(key=lambda one: (-max(one[1], one[2]), one[0]))
    large = sum(max(p, q) >= _SMALL for _, p, q in named)  # bars of no length tell nothing
    count = min(MOST_CATEGORIES, max(large, FEW_CATEGORIES))
    rest = named[count:]
    other = [one for one in shares if one[0].bin == "other"]
    apart = [(f"{len(rest):,} more" if rest else "others", *_sums(rest, other))] if rest or _any(other) else []
    for kind, label in (("unseen", "not in the reference"), ("null", "missing")):
        found = [one for one in shares if one[0].bin == kind]
        if _any(found):
            apart.append((label, *_sums(found)))
    shown = named[:count]
    return Bars(None, [n for n, _, _ in shown], [p for _, p, _ in shown], [q for _, _, q in shown], apart)


def _ordered(shares: list[tuple[Bin, float, float]], kind: str) -> Bars:
    values = [one for one in shares if one[0].bin in ("atom", "interval")]
    inside = values if values and math.isfinite(_high(values[-1][0]) - _low(values[0][0])) else []
    apart = []
    if not inside and _any(values):  # an axis cannot be as long as all numbers
        apart.append(("any value", *_sums(values)))
    for where, sign in (("below", "<"), ("above", ">")):
        found = [one for one in shares if one[0].bin == where]
        if _any(found):
            edge = found[0][0].high if where == "below" else found[0][0].low
            apart.append((f"{sign} {value_text(edge, kind)}", *_sums(found)))
    for special, label in _SPECIAL.items():
        found = [one for one in shares if one[0].bin == special]
        if _any(found):
            apart.append((label, *_sums(found)))
    atoms = [(b, p, q) for b, p, q in inside if b.bin == "atom"]
    between = sum(max(p, q) for b, p, q in inside if b.bin == "interval")
    if atoms and len(atoms) <= MOST_ATOMS and between < 1e-9:
        labels = [value_text(b.low, kind) for b, _, _ in atoms]
        return Bars(None, labels, [p for _, p, _ in atoms], [q for _, _, q in atoms], apart)
    edges = _edges(inside)
    if not edges:
        return Bars(None, [], [], [], apart)
    return Bars(edges, [], _spread(inside, edges, 1), _spread(inside, edges, 2), apart)


def _edges(inside: list[tuple[Bin, float, float]]) -> list[float]:
    """Of equal bars over the values, without tails that would squeeze the rest."""
    if not inside:
        return []
    total = sum(p + q for _, p, q in inside) or 1.0
    low, high = _low(inside[0][0]), _high(inside[-1][0])
    gone, left, right = 0.0, low, high
    for b, p, q in inside:
        if gone <= _TAIL * total:
            left = _low(b)
        gone += p + q
        if gone >= (1 - _TAIL) * total:
            right = _high(b)
            break
    if high - low > 2 * (right - left) > 0:
        low, high = left, right
    if not high > low:
        low, high = low - 0.5, high + 0.5
    whole = all(b.low is not None and float(b.low).is_integer() for b, _, _ in inside if b.bin == "atom")
    count = BARS
    if whole and any(b.bin == "atom" for b, _, _ in inside) and high - low >= 2:  # whole numbers: bars as wide as some
        width = max(1, -(-int(high - low + 1) // BARS))
        low = low - 0.5
        count = -(-int(high - low + 0.5) // width)
        high = low + count * width
    return [low + (high - low) * i / count for i in range(count + 1)]


def _spread(inside: list[tuple[Bin, float, float]], edges: list[float], side: int) -> list[float]:
    """Masses on the bars: those of an interval evenly over its width, what lies outside in the outermost bar."""
    sums = [0.0] * (len(edges) - 1)
    first, last, width = edges[0], edges[-1], edges[1] - edges[0]
    for one in inside:
        mass: Any = one[side]
        if not mass:
            continue
        low, high = _low(one[0]), _high(one[0])
        if high <= low or high <= first or low >= last:
            middle = min(max((low + high) / 2, first), last)
            sums[min(int((middle - first) / width), len(sums) - 1)] += mass
            continue
        for at, (a, b) in enumerate(pairwise([low, *edges[1:-1], high])):  # the outermost bars are open
            sums[at] += mass * max(0.0, min(b, high) - max(a, low)) / (high - low)
    return sums


def _low(one: Bin) -> float:
    return float(one.low if one.low is not None else 0.0)


def _high(one: Bin) -> float:
    return float(one.high if one.high is not None else _low(one))


def _any(found: list[tuple[Bin, float, float]]) -> bool:
    return any(p or q for _, p, q in found)


def _sums(*parts: list[Any]) -> tuple[float, float]:
    every = [one for part in parts for one in part]
    return sum(one[1] for one in every), sum(one[2] for one in every)


def value_text(value: float | None, kind: str) -> str:
    """A value as its kind is written: days and seconds since 1970 as dates and moments."""
    if value is None:
        return ""
    try:
        match kind:
            case "date":
                return (date(1970, 1, 1) + timedelta(days=value)).isoformat()
            case "datetime":
                return datetime.fromtimestamp(value, UTC).strftime("%Y-%m-%d %H:%M")
            case "time":
                return f"{int(value // 3600):02d}:{int(value % 3600 // 60):02d}"
            case "boolean":
                return "true" if value else "false"
    except (OverflowError, ValueError, OSError):
        return number(value)
    return number(int(value)) if float(value).is_integer() and abs(value) < 1e15 else number(value)
