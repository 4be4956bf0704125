"""Two samples of numbers, as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from headrace import _core
from headrace.compute.drift.reading import Missing, numbers
from headrace.compute.drift.report import Statistic
from headrace.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

Method = Literal["auto", "exact", "asymptotic"]


def ks_2samp(
    reference: Any, live: Any, *, method: Method = "auto", missing: Missing = "raise", threads: int = 1
) -> Statistic:
    """Kolmogorov-Smirnov: the largest distance of the two distribution functions, two-sided.

    As `scipy.stats.ks_2samp`: exact up to 10,000 values a side, else the one-sample distribution at the effective size
    (`method` says otherwise), without regard to ties, which makes the p-value too large where there are some. -0.0 and
    0.0 are one value, infinities are values. Values are sorted in Rust by radix on order-preserving keys.

    Parameters
    ----------
    reference, live
        One-dimensional arrays, lists or Arrow columns of numbers, dates or times; computed as float64.
    method
        How the p-value is computed.
    missing
        NaN and null are in no order: `"raise"` refuses them, `"omit"` leaves them out.
    threads
        2 sorts both samples at once. The result is the same.

    Returns
    -------
    Statistic
        With one-sided 95 % bounds of the true distance, and the distance that is seen with power 80 % at level 5 %.

    Raises
    ------
    DataError
        A sample is empty, not numeric, or has missing values.

    """
    a, b = numbers(reference, "reference", missing), numbers(live, "live", missing)
    statistic, pvalue, exact = _core.drift_samples("ks", a, b, method=method, threads=threads)
    low, high, detectable = _core.drift_ks_bounds(statistic, len(a), len(b))
    return Statistic(
        "ks", statistic, pvalue, low, high, 0.0, detectable, len(a), len(b), "exact" if exact else "asymptotic"
    )


def kuiper_2samp(reference: Any, live: Any, *, method: Method = "auto", missing: Missing = "raise") -> Statistic:
    """Kuiper's V: how far one distribution function rises above the other, plus how far it falls below.

    It sees changes of spread as well as of location, and does not depend on where a cycle (hours, angles) begins. Exact
    while that takes some hundredths of a second, else by Kuiper's limit with Stephens' correction (Biometrika 1965).
    Parameters, treatment of missing values and errors are those of `ks_2samp`.
    """
    return _test("kuiper", reference, live, method, missing)


def cramervonmises_2samp(
    reference: Any, live: Any, *, method: Method = "auto", missing: Missing = "raise"
) -> Statistic:
    """Cramér-von Mises: T of Anderson (1962), ties by midranks.

    As `scipy.stats.cramervonmises_2samp`: exact up to 20 values a side, else by the limit. Parameters, treatment of
    missing values and errors are those of `ks_2samp`.
    """
    return _test("cramer_von_mises", reference, live, method, missing)


def wasserstein(
    reference: Any,
    live: Any,
    *,
    scale: Literal["std", "iqr"] | None = None,
    permutations: int = 0,
    seed: int = 0,
    missing: Missing = "raise",
) -> Statistic:
    """Wasserstein-1: the area between the two distribution functions, as `scipy.stats.wasserstein_distance`.

    Parameters
    ----------
    scale
        Divide by the reference's standard deviation or by the distance of its quartiles; None leaves the unit of the
        values.
    permutations
        How often to deal the pooled rows out anew for a p-value; 0 gives none.
    seed
        Of the permutations.

    Raises
    ------
    DataError
        As in `ks_2samp`; also for infinite values, and where the reference has no spread to divide by.

    """
    import numpy as np

    a, b = numbers(reference, "reference", missing), numbers(live, "live", missing)
    unit = 1.0
    if scale is not None:
        if scale not in ("std", "iqr"):
            raise DataError(f'scale is {scale!r}, expected "std", "iqr" or None')
        spread = a.std() if scale == "std" else float(np.subtract(*np.quantile(a, [0.75, 0.25]))) if len(a) else 0.0
        if len(a) and not spread > 0:
            raise DataError(
                f"the reference sample has no spread ({scale} is {spread})", hint="Leave scale out, or use ks_2samp."
            )
        unit = float(spread)
    name = "wasserstein" if scale is None else f"wasserstein_{scale}"
    return _distance(
        name,
        a,
        b,
        lambda x, y: _core.drift_samples("wasserstein", x, y)[0] / unit,
        permutations=permutations,
        seed=seed,
    )


def energy(reference: Any, live: Any, *, permutations: int = 0, seed: int = 0, missing: Missing = "raise") -> Statistic:
    """Energy distance, `sqrt(2 ∫(F - G)²)`, as `scipy.stats.energy_distance`. See `wasserstein` for the parameters."""
    a, b = numbers(reference, "reference", missing), numbers(live, "live", missing)
    return _distance(
        "energy", a, b, lambda x, y: _core.drift_samples("energy", x, y)[0], permutations=permutations, seed=seed
    )


def _test(name: str, reference: Any, live: Any, method: Method, missing: Missing) -> Statistic:
    a, b = numbers(reference, "reference", missing), numbers(live, "live", missing)
    statistic, pvalue, exact = _core.drift_samples(name, a, b, method=method)
    how = "exact" if exact else "asymptotic"
    return Statistic(name, statistic, pvalue, None, None, 0.0, None, len(a), len(b), how)


def _distance(
    name: str,
    a: NDArray[np.float64],
    b: NDArray[np.float64],
    of: Callable[[NDArray[np.float64], NDArray[np.float64]], float],
    *,
    permutations: int,
    seed: int,
) -> Statistic:
    import numpy as np

    value = of(a, b)
    if not permutations:
        return Statistic(name, value, None, None, None, 0.0, None, len(a), len(b), "none")
    chance = np.random.default_rng(seed)
    pooled = np.concatenate([a, b])
    drawn = np.empty(permutations)
    for index in range(permutations):
        dealt = chance.permutation(pooled)
        drawn[index] = of(dealt[: len(a)], dealt[len(a) :])
    pvalue, detectable = permuted(value, drawn)
    return Statistic(name, value, pvalue, None, None, 0.0, detectable, len(a), len(b), "permutation")


def permuted(value: float, drawn: NDArray[np.float64]) -> tuple[float, float]:
    """p-value of `value` among values under no change, and the size that is seen with power 80 % at level 5 %.

    For seminorms of the difference: one of a true size is seen as at least that less what chance makes of it, so
    critical value plus the quantile of chance is always enough.
    """
    import numpy as np

    slack = 1e-12 * max(abs(value), 1e-12)  # what differs by rounding alone is equal
    pvalue = (1 + int((drawn >= value - slack).sum())) / (1 + len(drawn))
    critical = np.quantile(drawn, 0.95, method="higher") if len(drawn) >= 19 else np.inf
    return pvalue, float(critical + np.quantile(drawn, 0.8, method="higher"))
