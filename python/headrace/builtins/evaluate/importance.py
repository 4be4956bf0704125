"""Permutation importance of the input columns (Breiman 2001; Fisher, Rudin and Dominici 2019)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from headrace import metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

# Cells (rows x columns) that are predicted over all permutations.
BUDGET = 400_000_000


def permutation_importance(
    predict: Callable[[NDArray[Any]], NDArray[Any]],
    features: NDArray[Any],
    scored: metrics.Scored,
    columns: Mapping[str, Sequence[int]],
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
        Scores of features [rows, features], as in `Scored`.
    features
        What the model takes [rows, features]. A row's features come from that row alone, so to shuffle an input column
        is to shuffle all features that are made of it together; nothing is transformed anew.
    scored
        The truth of those rows, and the model's scores of them as they are.
    columns
        Which input columns to shuffle, one at a time, and the positions of the features that are made of each.
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
    working = np.array(features)
    for at, (column, made) in enumerate(columns.items()):
        check()
        rng = np.random.Generator(np.random.PCG64DXSM(np.random.SeedSequence([seed, 2, at])))
        losses = []
        for _ in range(repeats):
            order = rng.permutation(len(features))
            for position in made:
                working[:, position] = features[order, position]
            again = metrics.Scored(scored.task, scored.truth, predict(working), threshold=scored.threshold)
            value = metrics.measure(again, primary)
            if not isinstance(value, metrics.Undefined):
                losses.append(float(metrics.gain(primary, whole, value)))
        for position in made:
            working[:, position] = features[:, position]
        if losses:
            found[column] = float(np.mean(losses))
    return found


def within_budget(columns: Sequence[str], *, rows: int, width: int, repeats: int) -> tuple[Sequence[str], int]:
    """Which columns, and how many shuffles of each, can be afforded: fewer shuffles first, then fewer columns."""
    predictions = max(1, BUDGET // max(1, rows * width))
    repeats = max(1, min(repeats, predictions // max(1, len(columns))))
    return columns[: max(1, predictions // repeats)], repeats
