"""The metrics, as functions of a `Tally`.

Definitions are scikit-learn's where it has the metric, except where a value would be made up: what the rows
cannot tell is `Undefined`, with the reason, never 0 and never NaN.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from headrace.compute.metrics.catalog import known
from headrace.compute.metrics.scored import ERROR_COLUMNS, Scored, Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_COLUMN = MappingProxyType({name: at for at, name in enumerate(ERROR_COLUMNS)})


@dataclass(frozen=True)
class Undefined:
    """There is no value, and why."""

    reason: str


Value = float | Undefined


def measure(scored: Scored, name: str, weights: Floats | None = None) -> Value:
    """The value of metric `name`, each row counted `weights` times (None: once).

    Raises
    ------
    ConfigError
        There is no metric of that name for the task.

    """
    known(name, scored.task, place="metric")
    return value_of(Tally(scored, weights), name)


def value_of(tally: Tally, name: str) -> Value:
    """As `measure`, on sums that several metrics share."""
    if tally.scored.flaw:
        return Undefined(tally.scored.flaw)
    if tally.total == 0:
        return Undefined("there are no rows")
    value = FORMULAS[name](tally)
    if isinstance(value, Undefined) or math.isfinite(value):
        return value
    return Undefined("the value is too large for a number")


# --- classification ----------------------------------------------------------------------------------------


def _log_loss(tally: Tally) -> Value:
    return float(tally.sums[0]) / tally.total


def _brier(tally: Tally) -> Value:
    return float(tally.sums[1]) / tally.total


def _roc_auc(tally: Tally) -> Value:
    return _auc(tally, 1)


def _auc(tally: Tally, label: int) -> Value:
    hits, others = tally.below(label)
    if not hits[-1] or not others[-1]:
        return Undefined("all rows are of one class")
    # P(a positive scores above a negative) + P(equal) / 2, the Mann-Whitney statistic, as the area under the curve.
    area = hits[0] * others[0] + (hits[1:] - hits[:-1]) @ (others[1:] + others[:-1])
    return float(area) / (2 * float(hits[-1]) * float(others[-1]))


def _roc_auc_ovr(tally: Tally) -> Value:
    present = np.flatnonzero(tally.confusion.sum(axis=1))
    if len(present) < 2:
        return Undefined("all rows are of one class")
    values = [_auc(tally, int(label)) for label in present]
    return math.fsum(v for v in values if not isinstance(v, Undefined)) / len(values)


def _average_precision(tally: Tally) -> Value:
    hits, others = tally.below(1)
    if not hits[-1]:
        return Undefined("no row is positive")
    gained = np.diff(hits, prepend=0.0)
    found = hits[-1] - hits + gained  # positives that score at least as much
    called = found + others[-1] - np.append(0.0, others[:-1])
    precision = np.divide(found, called, out=np.zeros_like(found), where=called > 0)
    return float(gained @ precision) / float(hits[-1])


def _accuracy(tally: Tally) -> Value:
    return float(np.trace(tally.confusion)) / tally.total


def _balanced_accuracy(tally: Tally) -> Value:
    rows = tally.confusion.sum(axis=1)
    present = rows > 0
    if present.sum() < 2:
        return Undefined("all rows are of one class")
    return float((np.diag(tally.confusion)[present] / rows[present]).mean())


def _precision(tally: Tally) -> Value:
    called = float(tally.confusion[:, 1].sum())
    return float(tally.confusion[1, 1]) / called if called else Undefined("the model calls no row positive")


def _recall(tally: Tally) -> Value:
    there = float(tally.confusion[1].sum())
    return float(tally.confusion[1, 1]) / there if there else Undefined("no row is positive")


def _f1_each(tally: Tally) -> tuple[Floats, Floats, Floats]:
    """F1 of each class, rows of each class, and rows of it plus rows called it."""
    hits, rows, called = np.diag(tally.confusion), tally.confusion.sum(axis=1), tally.confusion.sum(axis=0)
    either = rows + called
    return np.divide(2 * hits, either, out=np.zeros_like(either), where=either > 0), rows, either


def _f1(tally: Tally) -> Value:
    f1, _, either = _f1_each(tally)
    return float(f1[1]) if either[1] else Undefined("no row is positive, and the model calls none positive")


def _f1_macro(tally: Tally) -> Value:
    f1, _, either = _f1_each(tally)
    return float(f1[either > 0].mean())


def _f1_weighted(tally: Tally) -> Value:
    f1, rows, _ = _f1_each(tally)
    return float(f1 @ rows) / tally.total


def _mcc(tally: Tally) -> Value:
    """The multiclass form (Gorodkin 2004). 0, its limit, where the model calls every row the same."""
    rows, called = tally.confusion.sum(axis=1), tally.confusion.sum(axis=0)
    total = tally.total
    spread = (total**2 - float(rows @ rows)) * (total**2 - float(called @ called))
    if (rows > 0).sum() < 2:
        return Undefined("all rows are of one class")
    if (called > 0).sum() < 2:
        return 0.0
    return (float(np.trace(tally.confusion)) * total - float(rows @ called)) / math.sqrt(spread)


def _ece(tally: Tally) -> Value:
    """In bins of equal numbers of rows (Nguyen and O'Connor 2015); multiclass: of the predicted class."""
    _, claimed, true = tally.calibration
    return float(np.abs(claimed - true).sum()) / tally.total


# --- regression --------------------------------------------------------------------------------------------


def _mean(tally: Tally, column: str) -> float:
    return float(tally.sums[_COLUMN[column]]) / tally.total


def _rmse(tally: Tally) -> Value:
    return math.sqrt(_mean(tally, "squared"))


def _mae(tally: Tally) -> Value:
    return _mean(tally, "absolute")


def _bias(tally: Tally) -> Value:
    return _mean(tally, "error")


def _medae(tally: Tally) -> Value:
    order, errors = tally.scored.by_error
    upto = np.cumsum(tally.weights[order])
    middle = np.searchsorted(upto, [(upto[-1] - 1) // 2, upto[-1] // 2], side="right")
    return float(errors[middle].mean())


def _r2(tally: Tally) -> Value:
    drawn = tally.weights > 0
    truth, weights = tally.scored.truth[drawn], tally.weights[drawn]
    if truth.min() == truth.max():
        return Undefined("the target is the same in all rows")
    with np.errstate(over="ignore", invalid="ignore"):
        spread = float(weights @ (truth - weights @ truth / tally.total) ** 2) / tally.total
    return 1 - _mean(tally, "squared") / spread if spread else Undefined("the target hardly varies")


def _mape(tally: Tally) -> Value:
    drawn = tally.weights > 0
    zeros = int((tally.scored.truth[drawn] == 0).sum())
    if zeros:
        return Undefined(f"the target is 0 in {zeros} of {int(drawn.sum())} rows")
    return _mean(tally, "relative")


FORMULAS: Mapping[str, Callable[[Tally], Value]] = MappingProxyType(
    {
        "log_loss": _log_loss,
        "brier": _brier,
        "roc_auc": _roc_auc,
        "average_precision": _average_precision,
        "roc_auc_ovr": _roc_auc_ovr,
        "accuracy": _accuracy,
        "balanced_accuracy": _balanced_accuracy,
        "precision": _precision,
        "recall": _recall,
        "f1": _f1,
        "f1_macro": _f1_macro,
        "f1_weighted": _f1_weighted,
        "mcc": _mcc,
        "ece": _ece,
        "rmse": _rmse,
        "mae": _mae,
        "medae": _medae,
        "r2": _r2,
        "mape": _mape,
        "bias": _bias,
    }
)
