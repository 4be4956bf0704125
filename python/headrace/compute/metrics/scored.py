"""Rows with their truth and what a model said about them, and the sums that every metric is made of."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from headrace.types import Task

    Floats = NDArray[np.float64]
    Ints = NDArray[np.intp]

CALIBRATION_BINS = 15

# The smallest step of float32 at 1: models answer in float32, so a probability of 0 means "below that".
# scikit-learn's log_loss clips at the same place when it is given float32.
SMALLEST = float(np.finfo(np.float32).eps)


class Scored:
    """The truth of N rows and the scores that a model gave them.

    Parameters
    ----------
    task
        What kind of model it is.
    truth
        [N]: class indices 0..K-1 (any integer type), or numbers for regression.
    scores
        Classification: probabilities [N, K], column k for class k; for a binary model the class of column 1
        is the positive one. Regression: predictions [N].
    threshold
        Binary only: a row is predicted positive when its probability is at least this.

    Raises
    ------
    DataError
        The shapes do not fit, or a class index is out of range.

    """

    def __init__(self, task: Task, truth: ArrayLike, scores: ArrayLike, *, threshold: float = 0.5) -> None:
        self.task = task
        self.threshold = threshold
        self.scores: Floats = np.asarray(scores, dtype=np.float64)
        self.regression = task == "regression"
        self.truth: NDArray[Any] = np.asarray(truth, dtype=np.float64 if self.regression else np.intp)
        width = 1 if self.regression else 2
        if self.truth.ndim != 1 or self.scores.ndim != width or len(self.scores) != len(self.truth):
            found = f"truth of shape {self.truth.shape} with scores of shape {self.scores.shape}"
            raise DataError(f"a {task} model cannot be scored on {found}")
        self.classes = 0 if self.regression else self.scores.shape[1]
        if task == "binary" and self.classes != 2:
            raise DataError(f"a binary model has 2 columns of probabilities, found {self.classes}")
        if self.classes and len(self.truth) and not 0 <= self.truth.min() <= self.truth.max() < self.classes:
            raise DataError(f"class indices must be between 0 and {self.classes - 1}, found {self.truth.max()}")

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(self.truth)

    @cached_property
    def flaw(self) -> str | None:
        """Why nothing can be measured on these rows, if so."""
        if not self.rows:
            return "there are no rows"
        fine = np.isfinite(self.scores) if self.regression else np.isfinite(self.scores).all(axis=1)
        if not fine.all():
            return f"the model gave NaN or infinity for {self.rows - int(fine.sum())} of {self.rows} rows"
        if self.regression and not np.isfinite(self.truth).all():
            return "the target has NaN or infinite values"
        return None

    def take(self, rows: NDArray[Any]) -> Scored:
        """The same for some of the rows: indices, or a mask."""
        return Scored(self.task, self.truth[rows], self.scores[rows], threshold=self.threshold)

    @cached_property
    def predicted(self) -> Ints:
        """The predicted class index of each row. Of equal probabilities the first class wins."""
        if self.task == "binary":
            return (self.scores[:, 1] >= self.threshold).astype(np.intp)
        best: Ints = self.scores.argmax(axis=1)
        return best

    @cached_property
    def cells(self) -> Ints:
        """Where each row is counted in the flattened confusion matrix."""
        return self.truth * self.classes + self.predicted

    @cached_property
    def confidence(self) -> tuple[Floats, Floats]:
        """What is claimed and what came true: P(positive), or P(predicted class) and whether it was right."""
        if self.task == "binary":
            return self.scores[:, 1], self.truth.astype(np.float64)
        return self.scores.max(axis=1), (self.predicted == self.truth).astype(np.float64)

    @cached_property
    def bins(self) -> Ints:
        """The calibration bin of each row: equal numbers of rows, edges as in scikit-learn's "quantile"."""
        claimed = self.confidence[0]
        edges = np.unique(np.quantile(claimed, np.linspace(0, 1, CALIBRATION_BINS + 1)))
        return np.searchsorted(edges[1:-1], claimed)

    @cached_property
    def losses(self) -> Floats:
        """What a row adds to each mean: columns log loss and Brier; regression: `ERROR_COLUMNS`.

        A relative error against 0 is infinite, a very large error has no square: `Tally.sums` leaves such rows out
        where they are not counted.
        """
        if self.regression:
            error = self.scores - self.truth
            with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
                columns = [error, np.abs(error), error**2, np.abs(error / self.truth)]
            return np.column_stack(columns)
        of_truth = np.take_along_axis(self.scores, self.truth[:, None], axis=1)[:, 0]
        surprise = -np.log(np.clip(of_truth, SMALLEST, 1 - SMALLEST))
        if self.task == "binary":
            return np.column_stack([surprise, (self.scores[:, 1] - self.truth) ** 2])
        distance = (self.scores**2).sum(axis=1) - 2 * of_truth + 1
        return np.column_stack([surprise, distance])

    @cached_property
    def overflows(self) -> bool:
        """Whether `losses` has infinities: 0 times one is no number."""
        return not np.isfinite(self.losses).all()

    @cached_property
    def by_error(self) -> tuple[Ints, Floats]:
        """Regression: the rows in the order of their absolute error, and those errors."""
        errors = np.abs(self.scores - self.truth)
        order = np.argsort(errors, kind="stable")
        return order, errors[order]

    @cached_property
    def _rankings(self) -> dict[int, tuple[Ints, Ints | None, Floats]]:
        return {}

    def ranking(self, label: int) -> tuple[Ints, Ints | None, Floats]:
        """Rows by ascending P(class `label`), the last row of each group of ties (None: no ties), rows of the class."""
        if label not in self._rankings:
            column = self.scores[:, label]
            order = np.argsort(column, kind="stable")
            ordered = column[order]
            last = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))  # the end of the array
            mine = (self.truth[order] == label).astype(np.float64)
            self._rankings[label] = (order, None if len(last) == len(order) else last, mine)
        return self._rankings[label]


class Tally:
    """Sums over the rows of a `Scored`, each row counted `weights` times (None: once)."""

    def __init__(self, scored: Scored, weights: Floats | None = None) -> None:
        self.scored = scored
        self.weights: Floats = np.ones(scored.rows) if weights is None else weights

    @cached_property
    def total(self) -> float:
        """How many rows are counted."""
        return float(self.weights.sum())

    @cached_property
    def confusion(self) -> Floats:
        """[K, K]: rows by true class and predicted class."""
        k = self.scored.classes
        return _sums(self.scored.cells, self.weights, k * k).reshape(k, k)

    @cached_property
    def sums(self) -> Floats:
        """The weighted sum of each column of `Scored.losses`. A row that is not drawn (weight 0) has no part in it."""
        weights, losses = self.weights, self.scored.losses
        if self.scored.overflows:
            drawn = weights > 0
            weights, losses = weights[drawn], losses[drawn]
        with np.errstate(over="ignore", invalid="ignore"):
            result: Floats = weights @ losses
        return result

    @cached_property
    def _below(self) -> dict[int, tuple[Floats, Floats]]:
        return {}

    def below(self, label: int) -> tuple[Floats, Floats]:
        """Rows of class `label`, and other rows, that score at most as much as each distinct score, ascending."""
        if label not in self._below:
            order, last, mine = self.scored.ranking(label)
            weights = self.weights[order]
            rows = np.cumsum(weights)
            weights *= mine
            hits = np.cumsum(weights)
            if last is not None:
                hits, rows = hits[last], rows[last]
            self._below[label] = (hits, rows - hits)
        return self._below[label]

    @cached_property
    def calibration(self) -> tuple[Floats, Floats, Floats]:
        """By calibration bin: rows, sum of what was claimed, sum of what came true."""
        claimed, true = self.scored.confidence
        bins = self.scored.bins
        weights = self.weights
        return _sums(bins, weights), _sums(bins, weights * claimed), _sums(bins, weights * true)


def _sums(codes: Ints, weights: Floats, least: int = 0) -> Floats:
    """The sum of the weights of each code."""
    sums: Floats = np.bincount(codes, weights=weights, minlength=least).astype(np.float64, copy=False)
    return sums


ERROR_COLUMNS: Sequence[str] = ("error", "absolute", "squared", "relative")
