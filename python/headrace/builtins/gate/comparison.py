"""Challenger against champion on the same rows, by a paired bootstrap."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace import metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

WITHOUT_INTERVAL = frozenset({"ece"})


@dataclass(frozen=True)
class Comparison:
    """By how much the challenger is better in each metric, and the bound that decides.

    `bound` is the one-sided lower confidence bound of the gain in the deciding metric; None, with `reason`, where there
    is none. `table`: metric -> `challenger`, `champion`, `gain`, `low`, `high`, `better`; `low` of the deciding metric
    is `bound`.
    """

    bound: float | None
    reason: str | None
    table: dict[str, dict[str, Any]]


def compare(
    challenger: metrics.Scored,
    champion: metrics.Scored,
    resampling: metrics.Resampling,
    *,
    primary: str,
    level: float,
    check: Callable[[], None],
    names: Sequence[str] | None = None,
) -> Comparison:
    """Resample the rows, each time measure both models on the same draw, and look at the differences.

    Pairing takes out what makes rows easy or hard for both, which is most of the noise. The lower end of the central
    interval of 2 * `level` - 1 is the one-sided bound at `level`. `names`: the metrics of the table, `primary` among
    them; default: all of the task.
    """
    names = names or [metric.name for metric in metrics.for_task(challenger.task)]
    drawn = [name for name in names if name not in WITHOUT_INTERVAL]
    draws = metrics.replicate([challenger, champion], drawn, resampling, check=check)
    table: dict[str, dict[str, Any]] = {}
    reason: str | None = None
    for name in names:
        ours, theirs = metrics.measure(challenger, name), metrics.measure(champion, name)
        row: dict[str, Any] = {"challenger": _value(ours), "champion": _value(theirs), "gain": None, "low": None}
        row |= {"high": None, "better": metrics.METRICS[name].better}
        undefined = next((v for v in (ours, theirs) if isinstance(v, metrics.Undefined)), None)
        if undefined is None and not isinstance(ours, metrics.Undefined) and not isinstance(theirs, metrics.Undefined):
            row["gain"] = float(metrics.gain(name, ours, theirs))
            if name in drawn:
                at = drawn.index(name)
                interval = metrics.percentile(metrics.gain(name, draws[:, 0, at], draws[:, 1, at]), 2 * level - 1)
                if isinstance(interval, metrics.Undefined):
                    undefined = interval
                else:
                    row |= {"low": interval.low, "high": interval.high}
        if name == primary and row["low"] is None:
            reason = undefined.reason if undefined else f"there is no interval for '{name}'"
        table[name] = row
    return Comparison(bound=table[primary]["low"], reason=reason, table=table)


def _value(value: float | metrics.Undefined) -> float | None:
    return None if isinstance(value, metrics.Undefined) else value


def realigned(scores: NDArray[Any], theirs: Sequence[Any], ours: Sequence[Any]) -> NDArray[np.float64]:
    """Probabilities of another model's classes, in the order of our classes; 0 for a class that it does not know."""
    result = np.zeros((len(scores), len(ours)))
    place = {json.dumps(label): at for at, label in enumerate(theirs)}  # as text, since True and 1 are equal otherwise
    for at, label in enumerate(ours):
        if json.dumps(label) in place:
            result[:, at] = scores[:, place[json.dumps(label)]]
    return result
