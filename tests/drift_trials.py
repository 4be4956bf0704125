"""Trials with and without drift, for the null suite, the power table and the bench: data, bins, and Evidently's rules.

Evidently's rules are written from their published definition (0.7, defaults), with scipy. Up to 1000 rows of reference:
Kolmogorov-Smirnov for numbers, and for categories chi-square against the reference's shares as if they were exact, at
5 %. Above: Wasserstein over the reference's standard deviation, and Jensen-Shannon in nats, from 0.1.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.spatial
import scipy.stats

from headrace import drift

ALPHA = 0.05
# Not of the order: their p-values are claimed to be right where no cell is rare, the others' to be right or too large.
SHARP = ("kuiper", "cramer_von_mises", "total_variation", "jensen_shannon", "hellinger", "psi", "chi2", "g")
CONSERVATIVE = ("ks", "l_infinity", "null_rate", "unseen_rate")


@dataclass(frozen=True)
class Data:
    name: str
    draw: Callable[[np.random.Generator, int], np.ndarray]
    ordered: bool


NORMAL = Data("normal", lambda chance, n: chance.normal(size=n), ordered=True)
CAUCHY = Data("Cauchy", lambda chance, n: chance.standard_cauchy(size=n), ordered=True)
LOGNORMAL = Data("log-normal, sigma 3", lambda chance, n: chance.lognormal(sigma=3, size=n), ordered=True)
TIES = Data("Poisson(2)", lambda chance, n: chance.poisson(2, size=n).astype(float), ordered=True)
ZEROS = Data(
    "90 % zeros", lambda chance, n: np.where(chance.random(n) < 0.9, 0.0, chance.exponential(size=n)), ordered=True
)


@functools.cache
def categories(count: int) -> Data:
    return Data(f"{count} categories", lambda chance, n: chance.integers(0, count, n), ordered=False)


ZIPF = Data("Zipf(1.5)", lambda chance, n: chance.zipf(1.5, n), ordered=False)

DATA = (NORMAL, CAUCHY, LOGNORMAL, TIES, ZEROS, categories(2), categories(10), categories(50), categories(500), ZIPF)
SIZES = ((20, 20), (50, 1000), (100, 50), (1000, 1000), (1001, 50), (3000, 700), (20_000, 5000))
# The public ones: data, rows of reference, rows live.
EVIDENTLY = ((categories(10), 1000, 1000), (categories(50), 1001, 1001), (NORMAL, 1001, 50))


def counted(name: str, data: Data, reference: np.ndarray, live: np.ndarray) -> drift.CountedColumn:
    """Both on bins of the reference: its quantiles and frequent values, or its categories."""
    if data.ordered:
        edges = np.unique(np.sort(reference)[np.arange(1, 128) * len(reference) // 128])
        rows = [
            np.bincount(np.searchsorted(edges, x, side="right"), minlength=len(edges) + 1) for x in (reference, live)
        ]
        return drift.CountedColumn(name, rows[0], rows[1], edges=edges)
    seen, first = np.unique(reference, return_counts=True)
    at = np.searchsorted(seen, live).clip(max=len(seen) - 1)
    known = seen[at] == live
    second = np.bincount(at[known], minlength=len(seen))
    return drift.CountedColumn(name, first, second, categories=seen.astype(str), unseen=int((~known).sum()))


def compared(data: Data, pairs: list[tuple[np.ndarray, np.ndarray]], **options) -> list[drift.ColumnDrift]:
    """Each pair as a column, each judged by itself."""
    columns = [counted(str(index), data, *pair) for index, pair in enumerate(pairs)]
    report = {column.name: column for column in drift.compare_counts(columns, **options)}
    return [report[str(index)] for index in range(len(pairs))]


def trials(data: Data, n: int, m: int, count: int, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    chance = np.random.default_rng([seed, n, m, len(data.name), data.ordered])
    return [(data.draw(chance, n), data.draw(chance, m)) for _ in range(count)]


def evidently(data: Data, reference: np.ndarray, live: np.ndarray) -> tuple[bool, float]:
    """Whether Evidently's default alarms, and how strange it finds the data (the greater the stranger)."""
    if data.ordered and len(np.unique(reference)) > 5:
        if len(reference) <= 1000:
            pvalue = scipy.stats.ks_2samp(reference, live).pvalue
            return pvalue <= ALPHA, -pvalue
        distance = scipy.stats.wasserstein_distance(reference, live) / max(np.std(reference), 1e-3)
        return distance >= 0.1, distance
    names = np.union1d(reference, live)
    p, q = (np.array([np.sum(side == name) for name in names]) / len(side) for side in (reference, live))
    if len(reference) > 1000:
        distance = scipy.spatial.distance.jensenshannon(p, q)
        return distance >= 0.1, distance
    if len(names) > 2:
        with np.errstate(divide="ignore", invalid="ignore"):
            statistic = np.nansum((q - p) ** 2 / p) * len(live)
        pvalue = scipy.stats.chi2.sf(statistic, len(names) - 1)
        return pvalue < ALPHA, -pvalue
    rate, n, m = (p[0] * len(reference) + q[0] * len(live)) / (len(reference) + len(live)), len(reference), len(live)
    z = (p[0] - q[0]) / max(np.sqrt(rate * (1 - rate) * (1 / n + 1 / m)), 1e-12)
    return 2 * scipy.stats.norm.sf(abs(z)) < ALPHA, abs(z)
