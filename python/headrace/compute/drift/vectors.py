"""Two samples of vectors."""

from __future__ import annotations

from typing import Any

from headrace.compute.drift.numbers import permuted
from headrace.compute.drift.report import Statistic
from headrace.errors import DataError


def mmd(
    reference: Any,
    live: Any,
    *,
    features: int = 256,
    bandwidth: float | None = None,
    permutations: int = 199,
    seed: int = 0,
) -> Statistic:
    """Maximum mean discrepancy of a Gaussian kernel, over random Fourier features (Rahimi and Recht 2007).

    The distance of the means of `sqrt(2/D) cos(W x + b)`: an estimate of the kernel's own within `O(1 / sqrt(D))`.

    Parameters
    ----------
    reference, live
        Matrices, a row a vector; vectors of numbers are columns.
    features
        How many, D.
    bandwidth
        Of the kernel, `exp(-|x - y|² / (2 bandwidth²))`. Default: the median distance of up to 500 pooled vectors.
    permutations
        How often to deal the pooled vectors out anew for the p-value.
    seed
        Of features and permutations.

    Raises
    ------
    DataError
        A sample is empty or not finite, or the two have vectors of different lengths.

    """
    import numpy as np

    a, b = (_matrix(sample, side) for sample, side in ((reference, "reference"), (live, "live")))
    if a.shape[1] != b.shape[1]:
        raise DataError(f"vectors of the reference have length {a.shape[1]}, those of live {b.shape[1]}")
    chance = np.random.default_rng(seed)
    pooled = np.concatenate([a, b])
    if bandwidth is None:
        few = pooled[chance.permutation(len(pooled))[:500]]
        square = (few**2).sum(axis=1)
        apart = np.sqrt(np.maximum(square[:, None] + square[None, :] - 2 * few @ few.T, 0))
        bandwidth = float(np.median(apart[np.triu_indices(len(few), 1)])) or 1.0
    weights = chance.normal(size=(pooled.shape[1], features)) / bandwidth
    mapped = np.sqrt(2 / features) * np.cos(pooled @ weights + chance.uniform(0, 2 * np.pi, features))
    n, m = len(a), len(b)
    total = mapped.sum(axis=0)

    def distance(rows: Any) -> float:
        part = mapped[rows].sum(axis=0)
        return float(np.linalg.norm(part / m - (total - part) / n))

    value = distance(np.arange(n, n + m))
    if not permutations:
        return Statistic("mmd", value, None, None, None, 0.0, None, n, m, "none")
    drawn = np.array([distance(chance.permutation(n + m)[:m]) for _ in range(permutations)])
    pvalue, detectable = permuted(value, drawn)
    return Statistic("mmd", value, pvalue, None, None, 0.0, detectable, n, m, "permutation")


def _matrix(sample: Any, side: str) -> Any:
    import numpy as np

    try:
        matrix = np.asarray(sample, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"the {side} sample cannot be read as a matrix: {error}") from error
    if matrix.ndim == 1:
        matrix = matrix[:, None]
    if matrix.ndim != 2 or matrix.size == 0 or not np.isfinite(matrix).all():
        raise DataError(
            f"the {side} sample is not a matrix of finite numbers with a row at least",
            hint="Leave out vectors with missing values first.",
        )
    return matrix
