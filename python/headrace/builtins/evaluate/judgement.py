"""The metrics of a model and of the trivial predictor on the same rows, with intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace import metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray


# The plug-in estimate of a calibration error is too high by an amount that each resampling adds once more, so
# that a percentile interval would lie above the value itself (Kumar, Liang and Ma 2019 on the bias).
WITHOUT_INTERVAL = {"ece": "resampling overstates a calibration error, so that there is no honest interval"}


@dataclass(frozen=True)
class Trivial:
    """The best predictor that looks at no column: what a model must beat to be worth its keep.

    `typical` is what it says of every row, `centre` what it says where absolute errors are measured.
    """

    typical: metrics.Scored
    centre: metrics.Scored
    words: Mapping[str, str]

    @classmethod
    def of(cls, scored: metrics.Scored, training_truth: NDArray[Any]) -> Trivial:
        """From the target of the training rows: class shares; or the mean, and the median for absolute errors."""
        if scored.task == "regression":
            mean, median = float(np.mean(training_truth)), float(np.median(training_truth))
            typical = metrics.Scored("regression", scored.truth, np.full(scored.rows, mean))
            centre = metrics.Scored("regression", scored.truth, np.full(scored.rows, median))
            words = {"typical": "the mean of the training target", "centre": "the median of the training target"}
            return cls(typical, centre, words)
        counts = np.bincount(training_truth, minlength=scored.classes)
        shares = np.broadcast_to(counts / counts.sum(), (scored.rows, scored.classes))
        same = metrics.Scored(scored.task, scored.truth, shares, threshold=scored.threshold)
        shares_words = "the class shares of the training rows"
        return cls(same, same, {"typical": shares_words, "centre": shares_words})

    def for_metric(self, name: str) -> tuple[metrics.Scored, str]:
        """Its scores for a metric, and what they are in words."""
        which = "centre" if name in {"mae", "medae", "mape"} else "typical"
        return getattr(self, which), self.words[which]

    def take(self, rows: NDArray[Any]) -> Trivial:
        """The same for some of the rows."""
        return Trivial(self.typical.take(rows), self.centre.take(rows), self.words)


@dataclass(frozen=True)
class Judgement:
    """`metrics` and `baseline` as in `headrace.Evaluation`."""

    metrics: dict[str, dict[str, Any]]
    baseline: dict[str, dict[str, Any]]


def judge(
    scored: metrics.Scored,
    trivial: Trivial,
    resampling: metrics.Resampling,
    *,
    level: float,
    check: Callable[[], None],
) -> Judgement:
    """Every metric of the task, for the model and for the trivial predictor, and by how much the model is better."""
    names = [metric.name for metric in metrics.for_task(scored.task)]
    samples = [scored, trivial.typical]
    if trivial.centre is not trivial.typical:
        samples.append(trivial.centre)
    drawn = [name for name in names if name not in WITHOUT_INTERVAL]
    draws = metrics.replicate(samples, drawn, resampling, check=check)
    judgement = Judgement({}, {})
    for name in names:
        better = metrics.METRICS[name].better
        rival, words = trivial.for_metric(name)
        ours, theirs = metrics.measure(scored, name), metrics.measure(rival, name)
        our_draws = their_draws = np.full(resampling.replicates, np.nan)
        if name in drawn:
            at = drawn.index(name)
            our_draws, their_draws = draws[:, 0, at], draws[:, 1 if rival is trivial.typical else 2, at]
        judgement.metrics[name] = entry(name, ours, our_draws, level, better=better)
        gained: dict[str, Any] = {"gain": None, "gain_low": None, "gain_high": None}
        if not isinstance(ours, metrics.Undefined) and not isinstance(theirs, metrics.Undefined):
            gained["gain"] = float(metrics.gain(name, ours, theirs))
            interval = metrics.percentile(metrics.gain(name, our_draws, their_draws), level)
            if not isinstance(interval, metrics.Undefined):
                gained |= {"gain_low": interval.low, "gain_high": interval.high}
        judgement.baseline[name] = {
            **entry(name, theirs, their_draws, level, better=better),
            **gained,
            "predictor": words,
        }
    return judgement


def entry(
    name: str, value: float | metrics.Undefined, draws: NDArray[np.float64], level: float, **more: Any
) -> dict[str, Any]:
    """One metric as JSON: value and interval, None with a reason where there is none; never NaN."""
    if isinstance(value, metrics.Undefined):
        return {"value": None, "low": None, "high": None, "reason": value.reason, **more}
    if name in WITHOUT_INTERVAL:
        return {"value": finite(value), "low": None, "high": None, "reason": WITHOUT_INTERVAL[name], **more}
    interval = metrics.percentile(draws, level)
    if isinstance(interval, metrics.Undefined):
        return {"value": finite(value), "low": None, "high": None, "reason": interval.reason, **more}
    return {"value": finite(value), "low": interval.low, "high": interval.high, **more}


def finite(value: float) -> float | None:
    """The number, or None where JSON has none for it."""
    return float(value) if math.isfinite(value) else None
