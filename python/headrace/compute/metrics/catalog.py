"""Which metrics there are, for which task, and which way is better. Light: no numpy."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from headrace.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from headrace.types import Task

Better = Literal["higher", "lower", "zero"]


@dataclass(frozen=True)
class Metric:
    """A metric: its name in specs and reports, its title, the tasks that have it, and what it means.

    `better` is "zero" where a value is good when it is near zero from either side (a bias).
    """

    name: str
    title: str
    tasks: tuple[Task, ...]
    better: Better
    meaning: str

    @property
    def inline(self) -> str:
        """The title inside a sentence."""
        name_or_short = self.title.startswith(("Brier", "Matthews")) or self.title[:2].isupper()
        return self.title if name_or_short else self.title[0].lower() + self.title[1:]


_BOTH: tuple[Task, ...] = ("binary", "multiclass")

_ALL = (
    Metric("log_loss", "Log loss", _BOTH, "lower", "mean negative logarithm of the probability of the true class"),
    Metric("brier", "Brier score", _BOTH, "lower", "mean squared error of the probabilities"),
    Metric("roc_auc", "ROC AUC", ("binary",), "higher", "chance that a positive row scores above a negative one"),
    Metric("average_precision", "Average precision", ("binary",), "higher", "precision averaged over the recall"),
    Metric(
        "roc_auc_ovr",
        "ROC AUC, one vs rest",
        ("multiclass",),
        "higher",
        "mean over classes of the AUC against the rest",
    ),
    Metric("accuracy", "Accuracy", _BOTH, "higher", "share of rows whose class is predicted"),
    Metric("balanced_accuracy", "Balanced accuracy", _BOTH, "higher", "mean over classes of the share predicted"),
    Metric("precision", "Precision", ("binary",), "higher", "share of the predicted positives that are positive"),
    Metric("recall", "Recall", ("binary",), "higher", "share of the positives that are predicted"),
    Metric("f1", "F1", ("binary",), "higher", "harmonic mean of precision and recall"),
    Metric("f1_macro", "F1, macro", ("multiclass",), "higher", "mean over classes of F1"),
    Metric("f1_weighted", "F1, weighted", ("multiclass",), "higher", "mean of F1, classes weighted by their rows"),
    Metric("mcc", "Matthews correlation", _BOTH, "higher", "correlation of truth and prediction"),
    Metric(
        "ece",
        "Expected calibration error",
        _BOTH,
        "lower",
        "mean distance of confidence and frequency, in 15 bins",
    ),
    Metric("rmse", "RMSE", ("regression",), "lower", "root of the mean squared error"),
    Metric("mae", "MAE", ("regression",), "lower", "mean absolute error"),
    Metric("medae", "Median absolute error", ("regression",), "lower", "median of the absolute errors"),
    Metric("r2", "R²", ("regression",), "higher", "share of the variance that is explained"),
    Metric("mape", "MAPE", ("regression",), "lower", "mean of |error / truth|; undefined where a truth is 0"),
    Metric("bias", "Bias", ("regression",), "zero", "mean of prediction minus truth"),
)

METRICS: Mapping[str, Metric] = MappingProxyType({metric.name: metric for metric in _ALL})

# Each is a strictly proper scoring rule or a consistent one, and needs no threshold: it cannot be raised by
# anything but better predictions (Gneiting and Raftery 2007; for the mean and squared error, Gneiting 2011).
# They are also what LightGBM minimises by default, so that training, early stopping and judgement agree.
PRIMARY: Mapping[Task, str] = MappingProxyType({"binary": "log_loss", "multiclass": "log_loss", "regression": "rmse"})


def for_task(task: Task) -> tuple[Metric, ...]:
    """The metrics of a task, in the order in which reports show them."""
    return tuple(metric for metric in _ALL if task in metric.tasks)


def known(name: str, task: Task | None = None, *, place: str) -> Metric:
    """The metric of that name.

    Raises
    ------
    ConfigError
        There is none of that name for `task` (None: for any); the hint has the nearest names.

    """
    metric = METRICS.get(name)
    if metric is not None and (task is None or task in metric.tasks):
        return metric
    names = [m.name for m in (_ALL if task is None else for_task(task))]
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    fit = "" if task is None else f" of a {task} model"
    message = f"'{name}' is not a metric{fit}"
    hint = f"Did you mean '{near[0]}'? " if near else ""
    raise ConfigError(message, place=place, hint=f"{hint}Known: {', '.join(names)}.")
