"""Two samples of numbers: the same as scipy where scipy has it, brute force where it does not, and what is refused."""

from __future__ import annotations

import datetime as dt
import itertools
import math
import warnings

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
import scipy.stats
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from headrace import drift
from headrace.errors import DataError

FINITE = st.floats(allow_nan=False, allow_infinity=False)
TIED = st.integers(-3, 3).map(float)
TAILED = st.floats(-6, 6).map(lambda x: math.copysign(10 ** abs(x) ** 3, x))
SMALL = st.sampled_from([0.0, -0.0, 5e-324, -5e-324, 1.0, 1.7e308, -1.7e308])


def samples(least: int = 1, infinite: bool = False):
    kinds = [FINITE, TIED, TAILED, SMALL]
    if infinite:
        kinds.append(st.sampled_from([-math.inf, math.inf, 0.0]))
    return st.sampled_from(kinds).flatmap(
        lambda kind: st.tuples(st.lists(kind, min_size=least, max_size=40), st.lists(kind, min_size=least, max_size=40))
    )


def close(ours: float, theirs: float, relative: float = 1e-9, absolute: float = 1e-12) -> bool:
    return ours == pytest.approx(theirs, rel=relative, abs=absolute)


# --- scipy as the oracle ---------------------------------------------------------------------------------------------


@settings(max_examples=300, deadline=None)
@given(samples(infinite=True))
def test_ks_is_scipys(pair):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        ours, theirs = drift.ks_2samp(*pair), scipy.stats.ks_2samp(*pair)
    assume(not said)  # scipy's own rounding sometimes leaves [0, 1], and it falls back to the limit
    assert close(ours.statistic, theirs.statistic)
    assert close(ours.pvalue, theirs.pvalue)
    assert (ours.n, ours.m, ours.method) == (len(pair[0]), len(pair[1]), "exact")


@settings(max_examples=150, deadline=None)
@given(samples())
def test_ks_by_the_limit_is_scipys(pair):
    n, m = map(len, pair)
    assume(round(n * m / (n + m)) >= 1)
    ours, theirs = drift.ks_2samp(*pair, method="asymptotic"), scipy.stats.ks_2samp(*pair, method="asymp")
    assert close(ours.pvalue, theirs.pvalue, 1e-6)


@pytest.mark.parametrize(
    ("n", "m"), [(150, 145), (290, 310), (3000, 700), (10_001, 5), (12_000, 11_000), (200_000, 90_000)]
)
@pytest.mark.parametrize("shift", [0.0, 0.02, 0.1, 0.6])
def test_ks_of_larger_samples_is_scipys(n, m, shift):
    chance = np.random.default_rng(n + m)
    reference, live = chance.standard_t(2, size=n), chance.standard_t(2, size=m) + shift
    for method, name in (("auto", "auto"), ("asymptotic", "asymp")):
        ours = drift.ks_2samp(reference, live, method=method, threads=2)
        theirs = scipy.stats.ks_2samp(reference, live, method=name)
        assert close(ours.statistic, theirs.statistic)
        assert close(ours.pvalue, theirs.pvalue, 1e-6, 1e-300)


@settings(max_examples=200, deadline=None)
@given(samples(least=2))
def test_cramer_von_mises_is_scipys(pair):
    ours, theirs = drift.cramervonmises_2samp(*pair), scipy.stats.cramervonmises_2samp(*pair)
    assert close(ours.statistic, theirs.statistic)
    if len({*map(float, pair[0]), *map(float, pair[1])}) > 1:  # of one value scipy says that it differs from itself
        assert close(ours.pvalue, theirs.pvalue, 1e-9, 1e-7)  # scipy cuts its series off at 1e-7


@pytest.mark.parametrize(("n", "m"), [(1, 1), (1, 10), (3, 50), (1000, 30)])
def test_a_constant_does_not_differ_from_itself(n, m):
    for function in (drift.ks_2samp, drift.kuiper_2samp, drift.cramervonmises_2samp):
        assert function(np.full(n, 2.5), np.full(m, 2.5)).pvalue == 1.0


def test_cramer_von_mises_keeps_its_digits_in_the_tail():
    """scipy's series ends in noise there; the limit's tail falls as exp(-pi² x / 2)."""
    chance = np.random.default_rng(0)
    reference = chance.normal(size=4000)
    far = [drift.cramervonmises_2samp(reference, reference[:2000] + shift) for shift in (0.2, 0.25, 0.3)]
    slopes = [
        (math.log(a.pvalue) - math.log(b.pvalue)) / (b.statistic - a.statistic) for a, b in itertools.pairwise(far)
    ]
    assert all(p.pvalue < 1e-7 for p in far)
    assert slopes == pytest.approx([math.pi**2 / 2] * 2, rel=0.02)


@settings(max_examples=200, deadline=None)
@given(samples())
def test_distances_are_scipys(pair):
    assume(max(map(abs, [*pair[0], *pair[1]])) < 1e300)  # scipy's own differences overflow beyond
    scale = max(map(abs, [*pair[0], *pair[1]]))
    ours, theirs = drift.wasserstein(*pair).statistic, scipy.stats.wasserstein_distance(*pair)
    assert close(ours, theirs, 1e-9, 1e-12 * scale + 1e-300)
    ours, theirs = drift.energy(*pair).statistic, scipy.stats.energy_distance(*pair)
    assert close(ours, theirs, 1e-6, 1e-7 * math.sqrt(scale) + 1e-150)


# --- brute force where scipy has nothing -----------------------------------------------------------------------------


def kuiper_of(labels, n: int, m: int) -> float:
    gaps = np.concatenate([[0], np.cumsum(np.where(labels, 1 / n, -1 / m))])
    return gaps.max() - gaps.min()


@pytest.mark.parametrize(("n", "m"), [(1, 1), (2, 3), (4, 4), (3, 6), (5, 7)])
def test_kuiper_is_exact(n, m):
    every = []
    for chosen in itertools.combinations(range(n + m), n):
        labels = np.zeros(n + m, dtype=bool)
        labels[list(chosen)] = True
        every.append(kuiper_of(labels, n, m))
    chance = np.random.default_rng(1)
    for _ in range(5):
        order = chance.permutation(n + m).astype(float)
        labels = np.zeros(n + m, dtype=bool)
        labels[order[:n].astype(int)] = True
        ours = drift.kuiper_2samp(order[:n], order[n:])
        assert ours.method == "exact"
        assert close(ours.statistic, kuiper_of(labels, n, m))
        assert close(ours.pvalue, np.mean(np.array(every) >= ours.statistic - 1e-12))


def test_the_limit_of_kuiper_meets_its_exact_distribution():
    chance = np.random.default_rng(2)
    for shift in (0.0, 0.3, 0.6):
        reference, live = chance.normal(size=120), chance.normal(size=90) + shift
        exact = drift.kuiper_2samp(reference, live, method="exact").pvalue
        assert drift.kuiper_2samp(reference, live, method="asymptotic").pvalue == pytest.approx(
            exact, rel=0.15, abs=0.02
        )


def test_permutations_give_a_p_value_that_knows_a_shift():
    chance = np.random.default_rng(3)
    reference, live = chance.normal(size=200), chance.normal(size=150)
    for of in (drift.wasserstein, drift.energy):
        same, other = (of(reference, live + shift, permutations=199) for shift in (0.0, 1.0))
        assert same.pvalue > 0.05 > other.pvalue == 1 / 200
        assert same.statistic < same.detectable < other.statistic
    assert drift.wasserstein(reference, live).pvalue is None


def test_scales_of_wasserstein():
    chance = np.random.default_rng(4)
    reference, live = chance.normal(size=500) * 1e-6, chance.normal(size=300) * 1e-6
    plain = drift.wasserstein(reference, live).statistic
    assert close(drift.wasserstein(reference, live, scale="std").statistic, plain / reference.std())
    spread = np.subtract(*np.quantile(reference, [0.75, 0.25]))
    assert close(drift.wasserstein(reference, live, scale="iqr").statistic, plain / spread)
    with pytest.raises(DataError, match="no spread"):
        drift.wasserstein([1.0, 1.0], [2.0], scale="std")


def test_bounds_of_ks_hold_the_true_distance():
    """N(0, 1) against N(0.3, 1): the true distance is 2 Φ(0.15) - 1."""
    chance, truth = np.random.default_rng(5), 2 * scipy.stats.norm.cdf(0.15) - 1
    trials = [drift.ks_2samp(chance.normal(size=80), chance.normal(size=60) + 0.3) for _ in range(400)]
    assert np.mean([t.low <= truth for t in trials]) >= 0.95
    assert np.mean([truth <= t.high for t in trials]) >= 0.95 - 3 * math.sqrt(0.05 * 0.95 / 400)
    seen = trials[0].detectable
    assert 0.2 < seen < 0.4


def test_the_detectable_distance_is_detected():
    """With power 80 % at least, for the hardest shape there is: all of the difference at one point."""
    chance = np.random.default_rng(6)
    size = drift.ks_2samp(np.zeros(200), np.zeros(300)).detectable
    found = 0
    for _ in range(300):
        reference = chance.uniform(size=200)
        live = chance.uniform(size=300)
        low = chance.uniform(size=300) < 0.5 + size / 2
        live = np.where(low, live * 0.5, 0.5 + live * 0.5)
        reference = np.where(chance.uniform(size=200) < 0.5 - size / 2, reference * 0.5, 0.5 + reference * 0.5)
        found += drift.ks_2samp(reference, live).pvalue <= 0.05
    assert found / 300 >= 0.8 - 3 * math.sqrt(0.16 / 300)


# --- what comes in, and what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "function", [drift.ks_2samp, drift.kuiper_2samp, drift.cramervonmises_2samp, drift.wasserstein]
)
@pytest.mark.parametrize(
    "make",
    [
        list,
        np.array,
        lambda x: np.array(x, dtype=np.int32),
        pl.Series,
        pa.array,
        lambda x: pa.chunked_array([x[:3], x[3:]]),
        lambda x: pl.Series([*x, None]),
        lambda x: np.array([*x, math.nan]),
        lambda x: np.array([x, x]).T[:, 0],  # strided
    ],
)
def test_arrays_and_columns_say_the_same(function, make):
    reference, live = [1, 5, 3, 3, 8, 9, 2], [4, 4, 7, 1, 0, 11]
    assert function(make(reference), make(live), missing="omit") == function(reference, live)


def test_dates_are_numbers():
    days = [dt.date(2026, 1, 1) + dt.timedelta(days=i) for i in range(20)]
    ours = drift.ks_2samp(pl.Series(days[:12]), pl.Series(days[8:]))
    assert ours.statistic == drift.ks_2samp(range(12), range(8, 20)).statistic


@pytest.mark.parametrize("function", [drift.ks_2samp, drift.kuiper_2samp, drift.cramervonmises_2samp, drift.energy])
@pytest.mark.parametrize(
    ("reference", "live", "says"),
    [
        ([], [1.0], "reference sample has no values"),
        ([1.0], [], "live sample has no values"),
        ([1.0, math.nan], [1.0], "reference sample has 1 missing"),
        ([1.0], pl.Series([None, None, 2.0]), "live sample has 2 missing"),
        (["a"], [1.0], "expected numbers"),
        (pl.Series(["a"]), [1.0], "expected numbers"),
        ([1.0], [[1.0, 2.0]], "2 dimensions"),
        ([1.0], object(), "live sample"),
        ([1.0], [1 + 2j], "live sample"),
    ],
)
def test_what_cannot_be_compared_is_said(function, reference, live, says):
    with pytest.raises(DataError, match=says):
        function(reference, live)


def test_infinities_have_an_order_but_no_distance():
    assert drift.ks_2samp([0.0, math.inf], [0.0, 1.0]).statistic == 0.5
    for function in (drift.wasserstein, drift.energy):
        with pytest.raises(DataError, match="live sample has infinite"):
            function([0.0], [-math.inf])


def test_options_are_checked():
    with pytest.raises(DataError, match="method is 'fast'"):
        drift.ks_2samp([1.0], [2.0], method="fast")
    with pytest.raises(DataError, match="missing is 'drop'"):
        drift.ks_2samp([1.0], [2.0], missing="drop")
    with pytest.raises(DataError, match="scale is 'mad'"):
        drift.wasserstein([1.0], [2.0], scale="mad")


def test_nothing_missing_is_left_after_omitting():
    with pytest.raises(DataError, match="live sample has no values"):
        drift.ks_2samp([1.0], [math.nan, None], missing="omit")
