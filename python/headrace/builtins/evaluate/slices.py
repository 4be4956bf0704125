"""How good a model is on parts of the rows: by value of a column, by range of a number or a time."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from headrace import metrics
from headrace.builtins.evaluate.judgement import Trivial, entry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray


RANGES = 4
MOST_ROWS = 500_000


@dataclass(frozen=True)
class Part:
    """Some of the rows: those where `column` is `value` (a value or a range, as text)."""

    column: str
    value: str
    rows: NDArray[np.intp]


def parts(frame: pl.DataFrame, column: str, *, most: int, fewest: int, asked: bool) -> Iterator[Part]:
    """The parts of one column that have at least `fewest` rows.

    A number or a time with more than `most` values becomes quarters with about as many rows each. Text with
    more values is left out, unless it was `asked` for: then its `most` frequent values are taken. Nulls are a
    part of their own.
    """
    series = frame[column].alias("value")  # polars takes some names of columns for patterns
    if series.dtype.is_nested() or series.dtype in (pl.Binary, pl.Object, pl.Null):
        return
    missing = series.is_null() | (series.is_nan() if series.dtype.is_float() else False)
    codes, labels = _coded(series.filter(~missing), most=most, asked=asked)
    present = np.flatnonzero(~missing.to_numpy())
    for code, label in enumerate(labels):
        rows = present[codes == code]
        if len(rows) >= fewest:
            yield Part(column, label, rows)
    absent = np.flatnonzero(missing.to_numpy())
    if labels and len(absent) >= fewest:
        yield Part(column, "(null)", absent)


def _coded(series: pl.Series, *, most: int, asked: bool) -> tuple[NDArray[np.intp], list[str]]:
    """A code for each row (-1: in no part), and the label of each code."""
    none = np.full(len(series), -1, dtype=np.intp)
    distinct = series.n_unique()
    if distinct < 2:
        return none, []
    if distinct > most and (series.dtype.is_numeric() or series.dtype.is_temporal()):
        return _ranges(series)
    if distinct > most and not asked:
        return none, []
    counts = series.value_counts()
    values = counts.sort(["count", "value"], descending=[True, False])["value"].head(most)
    values = values.sort()
    codes = none.copy()
    for code, value in enumerate(values.to_list()):
        codes[(series == value).to_numpy()] = code
    return codes, [_text(value) for value in values.to_list()]


def _ranges(series: pl.Series) -> tuple[NDArray[np.intp], list[str]]:
    physical = series.to_physical().cast(pl.Float64).to_numpy()
    cuts = np.unique(np.quantile(physical, np.linspace(0, 1, RANGES + 1)[1:-1], method="lower"))
    cuts = cuts[cuts < physical.max()]
    codes = np.searchsorted(cuts, physical, side="left")
    ordered = np.argsort(physical, kind="stable")
    labels = []
    for code in range(len(cuts) + 1):
        inside = ordered[codes[ordered] == code]
        low, high = _text(series[int(inside[0])]), _text(series[int(inside[-1])])
        labels.append(low if low == high else f"{low} to {high}")
    return codes, labels


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dt.datetime):
        return value.strftime("%Y-%m-%d %H:%M" if value.second == value.microsecond == 0 else "%Y-%m-%d %H:%M:%S")
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def judge_parts(
    scored: metrics.Scored,
    trivial: Trivial,
    found: Sequence[Part],
    *,
    primary: str,
    level: float,
    replicates: int,
    seed: int,
    units: NDArray[np.intp] | None,
    check: Callable[[], None],
) -> list[dict[str, Any]]:
    """The entries of `Evaluation.slices`, worst first.

    Each has the primary metric with its interval and with what the trivial predictor reaches there, and the
    values of the other metrics. The intervals are those of each part alone: among many parts, some look bad
    by chance.
    """
    judged: list[tuple[float, dict[str, Any]]] = []
    others = [metric.name for metric in metrics.for_task(scored.task) if metric.name != primary]
    for at, part in enumerate(found):
        check()
        sample, rival = scored.take(part.rows), trivial.take(part.rows).for_metric(primary)[0]
        own_units = None if units is None else np.unique(units[part.rows], return_inverse=True)[1].astype(np.intp)
        resampling = metrics.Resampling(sample.rows, replicates=replicates, seed=[seed, 3, at], units=own_units)
        draws = metrics.replicate([sample], [primary], resampling, check=check)[:, 0, 0]
        value, theirs = metrics.measure(sample, primary), metrics.measure(rival, primary)
        better = metrics.METRICS[primary].better
        main = entry(primary, value, draws, level, better=better)
        main["baseline"] = None if isinstance(theirs, metrics.Undefined) else theirs
        measured: dict[str, Any] = {primary: main}
        for name in others:
            other = metrics.measure(sample, name)
            if isinstance(other, metrics.Undefined):
                measured[name] = {"value": None, "reason": other.reason, "better": metrics.METRICS[name].better}
            else:
                measured[name] = {"value": other, "better": metrics.METRICS[name].better}
        badness = -np.inf if isinstance(value, metrics.Undefined) else float(metrics.gain(primary, 0.0, value))
        judged.append((badness, {"column": part.column, "value": part.value, "rows": sample.rows, "metrics": measured}))
    judged.sort(key=lambda item: (-item[0], str(item[1]["column"]), str(item[1]["value"])))
    return [slice_ for _, slice_ in judged]
