"""The bootstrap: how far a metric would move on other rows from the same source.

Rows are drawn with replacement (Efron 1979), as counts: a replicate is a vector of how often each row is
drawn, and every metric is computed from weighted sums over rows that were sorted once. Rows are not
stratified by class: the share of the classes is a property of the rows drawn, and fixing it would make the
intervals of metrics that depend on it (log loss, average precision, accuracy) too narrow. Where rows come in
groups that are alike (all flights of a day, all visits of a customer), `units` draws whole groups (Davison
and Hinkley 1997, section 3.8).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from headrace.compute.metrics.catalog import METRICS
from headrace.compute.metrics.formulas import Undefined, value_of
from headrace.compute.metrics.scored import Scored, Tally
from headrace.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import polars as pl
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

# Rows counted over all replicates: about half a minute on one core.
BUDGET = 750_000_000
FEWEST = 200

# An interval over replicates of which more than this share have no value would be one of another quantity.
MOST_UNDEFINED = 0.05


@dataclass(frozen=True)
class Interval:
    """A percentile interval, ends included."""

    low: float
    high: float


class Resampling:
    """Draws with replacement: iterate for `replicates` vectors of counts, float64 [rows]; the same each time.

    Parameters
    ----------
    rows
        How many rows there are.
    replicates
        How many draws.
    seed
        Anything that numpy's `SeedSequence` takes.
    units
        [rows]: group codes 0..G-1; whole groups are drawn, G of them. None: each row is a group of its own.

    """

    def __init__(
        self, rows: int, *, replicates: int, seed: int | Sequence[int], units: NDArray[np.intp] | None = None
    ) -> None:
        if rows < 1 or replicates < 1:
            raise ConfigError(f"cannot draw {replicates} replicates of {rows} rows: both must be at least 1")
        self.rows = rows
        self.replicates = replicates
        self.seed = seed
        self.units = units
        self.count = rows if units is None else int(units.max()) + 1

    def __iter__(self) -> Iterator[Floats]:
        rng = np.random.Generator(np.random.PCG64DXSM(np.random.SeedSequence(self.seed)))
        for _ in range(self.replicates):
            drawn = np.bincount(rng.integers(0, self.count, self.count), minlength=self.count).astype(np.float64)
            yield drawn if self.units is None else drawn[self.units]


def groups(frame: pl.DataFrame, column: str | None) -> NDArray[np.intp] | None:
    """The `units` of a frame's rows by the value of a column: codes 0..G-1 [rows]; null is a value. None: no column."""
    if column is None:
        return None
    ranks = frame[column].rank("dense").fill_null(0).to_numpy()
    return np.unique(ranks, return_inverse=True)[1].astype(np.intp)


def affordable(replicates: int, rows: int, classes: int = 2) -> int:
    """How many replicates fit the budget of work: `replicates`, or fewer for very many rows.

    Never fewer than 200 unless fewer are asked for. The metrics of a model with many classes cost as much
    again for every four of them.
    """
    return min(replicates, max(FEWEST, int(BUDGET / (max(1, rows) * (1 + classes / 4)))))


def replicate(
    samples: Sequence[Scored],
    names: Sequence[str],
    resampling: Resampling,
    *,
    check: Callable[[], None] | None = None,
) -> Floats:
    """Values on resampled rows, the same draw for all `samples`: what makes a comparison of them paired.

    Parameters
    ----------
    samples
        Several models' scores of the same rows in the same order.
    names
        Metrics.
    resampling
        The draws.
    check
        Called before each draw; may raise to stop.

    Returns
    -------
    float64 [replicates, len(samples), len(names)], NaN where a metric is undefined on a draw.

    """
    values = np.full((resampling.replicates, len(samples), len(names)), np.nan)
    for at, weights in enumerate(resampling):
        if check is not None:
            check()
        for which, sample in enumerate(samples):
            tally = Tally(sample, weights)
            for column, name in enumerate(names):
                value = value_of(tally, name)
                if not isinstance(value, Undefined):
                    values[at, which, column] = value
    return values


def percentile(values: ArrayLike, level: float) -> Interval | Undefined:
    """The central interval that holds `level` of the replicates, or why there is none."""
    array = np.asarray(values, dtype=np.float64)
    fine = array[np.isfinite(array)]
    if len(fine) < (1 - MOST_UNDEFINED) * len(array) or not len(fine):
        return Undefined(f"undefined on {len(array) - len(fine)} of {len(array)} resamples")
    # Of the two replicates around an end the outer one: what is rounded is rounded towards doubt.
    low = np.quantile(fine, (1 - level) / 2, method="lower")
    high = np.quantile(fine, (1 + level) / 2, method="higher")
    return Interval(float(low), float(high))


def gain(name: str, ours: ArrayLike, theirs: ArrayLike) -> Floats:
    """By how much `ours` is better than `theirs`: positive is better, whichever way the metric runs."""
    a, b = np.asarray(ours, dtype=np.float64), np.asarray(theirs, dtype=np.float64)
    better = METRICS[name].better
    if better == "zero":
        return np.abs(b) - np.abs(a)
    return a - b if better == "higher" else b - a
