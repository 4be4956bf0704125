"""Permutation importance of the input columns (Breiman 2001; Fisher, Rudin and Dominici 2019)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from headrace import metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

# Cells (rows x columns) that are predicted over all permutations.
BUDGET = 400_000_000


def permutation_importance(
    predict: Callable[[pl.DataFrame], NDArray[Any]],
    frame: pl.DataFrame,
    scored: metrics.Scored,
    columns: Sequence[str],
    *,
    primary: str,
    repeats: int,
    seed: int,
    check: Callable[[], None],
) -> dict[str, float]:
    """How much worse the primary metric gets when a column says nothing: the mean over shuffles of it.

    Parameters
    ----------
    predict
        Scores of a frame, as in `Scored`.
    frame
        Rows with all input columns.
    scored
        The truth of those rows, and the model's scores of them as they are.
    columns
        Which columns to shuffle, one at a time.
    primary
        The metric.
    repeats
        Shuffles of each column.
    seed
        Seed of the shuffles; a column's shuffles do not depend on which others are asked for.
    check
        Called before each column; may raise to stop.

    Returns
    -------
    Column -> loss, positive where the model needs it. Columns that share what they know hide each other.
    Empty where the metric is undefined on these rows.

    """
    whole = metrics.measure(scored, primary)
    if isinstance(whole, metrics.Undefined):
        return {}
    found: dict[str, float] = {}
    for at, column in enumerate(columns):
        check()
        rng = np.random.Generator(np.random.PCG64DXSM(np.random.SeedSequence([seed, 2, at])))
        losses = []
        for _ in range(repeats):
            shuffled = frame.with_columns(frame[column].gather(rng.permutation(frame.height)).alias(column))
            again = metrics.Scored(scored.task, scored.truth, predict(shuffled), threshold=scored.threshold)
            value = metrics.measure(again, primary)
            if not isinstance(value, metrics.Undefined):
                losses.append(float(metrics.gain(primary, whole, value)))
        if losses:
            found[column] = float(np.mean(losses))
    return found


def within_budget(columns: Sequence[str], *, rows: int, width: int, repeats: int) -> tuple[Sequence[str], int]:
    """Which columns, and how many shuffles of each, can be afforded: fewer shuffles first, then fewer columns."""
    predictions = max(1, BUDGET // max(1, rows * width))
    repeats = max(1, min(repeats, predictions // max(1, len(columns))))
    return columns[: max(1, predictions // repeats)], repeats
