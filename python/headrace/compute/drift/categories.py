"""Two samples of categories, or of numbers in bins, or two rows of counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headrace import _core
from headrace.compute.drift.numbers import permuted
from headrace.compute.drift.reading import Missing, counts, table
from headrace.compute.drift.report import Statistic
from headrace.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def chi2(
    reference: Any,
    live: Any,
    *,
    bins: int | Any | None = None,
    counts: bool = False,
    least_expected: float = 5.0,
    missing: Missing = "raise",
) -> Statistic:
    """Pearson's chi-square of homogeneity: the p-value of "both samples were drawn from the same shares".

    Not goodness of fit: the reference is a sample too. With `least_expected=0` it is
    `scipy.stats.chi2_contingency(table, correction=False)`.

    Parameters
    ----------
    reference, live
        One-dimensional arrays, lists or Arrow columns. Text, booleans and integers are categories. Floats are put into
        bins. A category need not be on both sides.
    bins
        A number of quantiles of the reference, or inner edges (a value on an edge lies above it); the ends are open.
        Default: 10 for floats; with it integers are put into bins too.
    counts
        Both are counts of the same categories in the same order, not samples.
    least_expected
        Categories of which either side expects fewer rows are put together; if they are still too few, with the least
        frequent other one. With one category left nothing can differ: p = 1.
    missing
        Of null, and NaN in floats: `"raise"` refuses them, `"omit"` leaves them out.

    Returns
    -------
    Statistic
        `detectable` is the statistic that is expected at the change that is seen with power 80 % at level 5 %.

    Raises
    ------
    DataError
        A sample is empty, has missing values, or both cannot be compared.

    """
    return _test("chi2", reference, live, bins=bins, counted=counts, least_expected=least_expected, missing=missing)


def g_test(
    reference: Any,
    live: Any,
    *,
    bins: int | Any | None = None,
    counts: bool = False,
    least_expected: float = 5.0,
    missing: Missing = "raise",
) -> Statistic:
    """The likelihood ratio test of homogeneity, `2 Σ O ln(O/E)`. As `chi2`, with scipy's `lambda_="log-likelihood"`."""
    return _test("g", reference, live, bins=bins, counted=counts, least_expected=least_expected, missing=missing)


def total_variation(reference: Any, live: Any, **options: Any) -> Statistic:
    """Half the sum of `|p - q|`: the share of rows that would have to move. 0 to 1. See `psi` for the options."""
    return _distance("total_variation", reference, live, **options)


def l_infinity(reference: Any, live: Any, **options: Any) -> Statistic:
    """The largest `|p - q|` of a category. 0 to 1. See `psi` for the options."""
    return _distance("l_infinity", reference, live, **options)


def hellinger(reference: Any, live: Any, **options: Any) -> Statistic:
    """Hellinger distance, `sqrt(1 - Σ sqrt(p q))`. 0 to 1. See `psi` for the options."""
    return _distance("hellinger", reference, live, **options)


def jensenshannon(reference: Any, live: Any, *, base: float = 2.0, **options: Any) -> Statistic:
    """Jensen-Shannon distance, the square root of the divergence, as `scipy.spatial.distance.jensenshannon`.

    With `base` 2, the default, it is 0 to 1; with base e 0 to 0.833 (scipy's default, and Evidently's). See `psi` for
    the options.
    """
    if not base > 1:
        raise DataError(f"base is {base}, expected more than 1", hint="Use 2 or math.e.")
    return _distance("jensen_shannon", reference, live, base=base, **options)


def psi(reference: Any, live: Any, **options: Any) -> Statistic:
    """Population stability index, `Σ (q - p) ln(q / p)`.

    Shares are smoothed by half a row a category, `(count + 1/2) / (rows + categories / 2)`, so that an empty one costs
    what it can mean. Without drift it is about `(categories - 1) (1/n + 1/m)`: thresholds without sizes mean nothing.

    Parameters
    ----------
    reference, live, bins, counts, missing
        As in `chi2`.
    permutations
        How often to deal the pooled rows out anew for a p-value; 0, the default, gives none.
    seed
        Of the permutations.

    """
    return _distance("psi", reference, live, **options)


def _rows(
    reference: Any, live: Any, bins: int | Any | None, counted: bool, missing: Missing
) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    return counts(reference, live) if counted else table(reference, live, bins=bins, missing=missing)


def _test(
    name: str, reference: Any, live: Any, *, bins: Any, counted: bool, least_expected: float, missing: Missing
) -> Statistic:
    a, b = _rows(reference, live, bins, counted, missing)
    statistic, pvalue, detectable = _core.drift_counts(name, a, b, least_expected=least_expected)
    return Statistic(name, statistic, pvalue, None, None, 0.0, detectable, int(a.sum()), int(b.sum()), "chi-square")


def _distance(
    name: str,
    reference: Any,
    live: Any,
    *,
    bins: int | Any | None = None,
    counts: bool = False,
    missing: Missing = "raise",
    permutations: int = 0,
    seed: int = 0,
    base: float = 2.0,
) -> Statistic:
    import numpy as np

    a, b = _rows(reference, live, bins, counts, missing)
    n, m = int(a.sum()), int(b.sum())
    value, _, _ = _core.drift_counts(name, a, b, base=base)
    if not permutations:
        return Statistic(name, value, None, None, None, 0.0, None, n, m, "none")
    pooled = (a + b).astype(np.int64)
    chance = np.random.default_rng(seed)
    dealt = chance.multivariate_hypergeometric(pooled, m, size=permutations, method="marginals").astype(np.uint64)
    drawn = np.array([_core.drift_counts(name, a + b - row, row, base=base)[0] for row in dealt])
    pvalue, detectable = permuted(value, drawn)
    # PSI is no norm, and what is seen of a change is not its size less chance.
    return Statistic(name, value, pvalue, None, None, 0.0, None if name == "psi" else detectable, n, m, "permutation")
