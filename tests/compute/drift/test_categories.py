"""Two samples of categories, and two rows of counts: scipy as the oracle, brute force for pooling."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
import scipy.spatial
import scipy.stats
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from headrace import drift
from headrace.errors import DataError

ROWS = st.integers(2, 30).flatmap(
    lambda size: st.tuples(*(st.lists(st.integers(0, 400), min_size=size, max_size=size) for _ in range(2)))
)


def contingency(reference, live, likelihood: bool):
    table = np.array([reference, live])
    table = table[:, table.sum(axis=0) > 0]
    return scipy.stats.chi2_contingency(table, correction=False, lambda_="log-likelihood" if likelihood else None)


@settings(max_examples=300, deadline=None)
@given(ROWS)
@pytest.mark.parametrize(("function", "likelihood"), [(drift.chi2, False), (drift.g_test, True)])
def test_tests_of_homogeneity_are_scipys(function, likelihood, rows):
    assume(min(map(sum, rows)) > 0)
    ours = function(*rows, counts=True, least_expected=0)
    theirs = contingency(*rows, likelihood)
    assert ours.statistic == pytest.approx(theirs.statistic, rel=1e-9, abs=1e-9)
    assert ours.pvalue == pytest.approx(theirs.pvalue, rel=1e-8, abs=1e-12)


@settings(max_examples=200, deadline=None)
@given(ROWS)
def test_rare_categories_are_put_together(rows):
    assume(min(map(sum, rows)) > 0)
    reference, live = rows
    n, m = sum(reference), sum(live)
    pairs = [pair for pair in zip(reference, live, strict=True) if sum(pair)]

    def enough(pair) -> bool:
        return sum(pair) * min(n, m) / (n + m) >= 5 - 1e-9

    kept = [pair for pair in pairs if enough(pair)]
    rare = [pair for pair in pairs if not enough(pair)]
    if rare:
        other = (sum(a for a, _ in rare), sum(b for _, b in rare))
        if not enough(other) and kept:
            least = min(range(len(kept)), key=lambda i: sum(kept[i]))
            kept[least] = (kept[least][0] + other[0], kept[least][1] + other[1])
        else:
            kept.append(other)
    ours = drift.chi2(reference, live, counts=True)
    if len(kept) < 2:
        assert (ours.statistic, ours.pvalue) == (0.0, 1.0)
    else:
        theirs = contingency(*zip(*kept, strict=True), likelihood=False)
        assert ours.statistic == pytest.approx(theirs.statistic, rel=1e-9, abs=1e-9)
        assert ours.pvalue == pytest.approx(theirs.pvalue, rel=1e-8, abs=1e-12)


@settings(max_examples=200, deadline=None)
@given(ROWS, st.sampled_from([2.0, math.e, 10.0]))
def test_distances_are_what_they_are_defined_to_be(rows, base):
    assume(min(map(sum, rows)) > 0)
    p, q = (np.array(row) / sum(row) for row in rows)
    js = drift.jensenshannon(*rows, counts=True, base=base).statistic
    assert js == pytest.approx(scipy.spatial.distance.jensenshannon(p, q, base=base), abs=2e-8)
    assert drift.total_variation(*rows, counts=True).statistic == pytest.approx(0.5 * np.abs(p - q).sum())
    assert drift.l_infinity(*rows, counts=True).statistic == pytest.approx(np.abs(p - q).max())
    hellinger = math.sqrt(max(0.0, 1 - np.sqrt(p * q).sum()))
    assert drift.hellinger(*rows, counts=True).statistic == pytest.approx(hellinger, abs=2e-8)
    a, b = ((np.array(row) + 0.5) / (sum(row) + len(row) / 2) for row in rows)
    assert drift.psi(*rows, counts=True).statistic == pytest.approx(((b - a) * np.log(b / a)).sum(), abs=1e-12)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from("abcde"), min_size=1), st.lists(st.sampled_from("abcdefg"), min_size=1))
def test_samples_are_counted(reference, live):
    names = sorted({*reference, *live})
    rows = [[Counter(side)[name] for name in names] for side in (reference, live)]
    expected = drift.total_variation(*rows, counts=True)
    for make in (list, np.array, pl.Series, pa.array, lambda x: pl.Series(x, dtype=pl.Categorical)):
        ours = drift.total_variation(make(reference), make(live))
        assert ours.statistic == pytest.approx(expected.statistic)
        assert (ours.n, ours.m) == (len(reference), len(live))


def test_floats_are_put_into_quantiles_of_the_reference():
    chance = np.random.default_rng(0)
    reference, live = chance.normal(size=1003), chance.normal(size=500) + 0.2
    ordered = np.sort(reference)
    edges = [ordered[k * 1003 // 10] for k in range(1, 10)]
    expected = [np.histogram(side, [-np.inf, *edges, np.inf])[0] for side in (reference, live)]
    assert drift.psi(reference, live) == drift.psi(*expected, counts=True)
    assert drift.psi(reference, live, bins=edges) == drift.psi(reference, live)
    assert drift.psi(reference, live, bins=4).statistic < drift.psi(reference, live).statistic
    assert drift.psi(np.zeros(50), np.zeros(20)).statistic == pytest.approx(
        0.0, abs=0.02
    )  # a constant has one bin or two


def test_permutations_agree_with_chi_square():
    chance = np.random.default_rng(1)
    reference, live = chance.integers(0, 6, 800), chance.integers(0, 6, 500)
    expected = drift.chi2(reference, live).pvalue
    for function in (drift.psi, drift.jensenshannon, drift.hellinger):
        assert function(reference, live, permutations=999).pvalue == pytest.approx(expected, abs=0.05)
    moved = drift.total_variation(reference, np.minimum(live + 1, 5), permutations=199)
    assert moved.pvalue == 1 / 200
    assert moved.statistic > moved.detectable


@pytest.mark.parametrize(
    ("reference", "live", "options", "says"),
    [
        ([], ["a"], {}, "reference sample has no values"),
        (["a"], [None], {"missing": "omit"}, "live sample has no values"),
        (["a", None], ["a"], {}, "reference sample has 1 missing"),
        (["a"], [True], {}, "reference holds String and live Boolean"),
        ([1, 2], [3], {"counts": True, "bins": None}, "2 categories and live has 1"),
        ([1, -2], [3, 4], {"counts": True}, "whole numbers from 0 on"),
        ([0, 0], [3, 4], {"counts": True}, "reference sample has no values"),
        ([1.0, 2.0], [3.0], {"bins": [2.0, 1.0]}, "do not ascend"),
        ([1.0, 2.0], [3.0], {"bins": 1}, "bins is 1"),
    ],
)
def test_what_cannot_be_compared_is_said(reference, live, options, says):
    with pytest.raises(DataError, match=says):
        drift.chi2(reference, live, **options)


def test_one_category_is_no_news():
    assert drift.chi2(["a"] * 30, ["a"] * 40).pvalue == 1.0
    assert drift.g_test(["a"] * 30, ["a"] * 40).statistic == 0.0


def test_a_million_categories():
    chance = np.random.default_rng(2)
    reference, live = chance.integers(0, 10**6, 10**6), chance.integers(0, 10**6, 10**6)
    assert 0.001 < drift.chi2(reference, live).pvalue < 0.999  # some fifty are frequent enough to say anything
    assert drift.total_variation(reference, live).statistic > 0.5  # which is chance alone


def test_mmd_sees_a_shift_and_nothing_else():
    chance = np.random.default_rng(3)
    reference, live = chance.normal(size=(300, 8)), chance.normal(size=(200, 8))
    same, other = drift.mmd(reference, live), drift.mmd(reference, live + 0.4)
    assert same.pvalue > 0.05 > other.pvalue
    assert same.statistic < other.statistic
    with pytest.raises(DataError, match="length 8"):
        drift.mmd(reference, live[:, :3])
    with pytest.raises(DataError, match="matrix of finite numbers"):
        drift.mmd(reference, live * np.nan)


def test_mmd_estimates_the_kernels_own():
    chance = np.random.default_rng(4)
    x, y = chance.normal(size=(80, 3)), chance.normal(size=(70, 3)) + 0.5

    def kernel(a, b):
        return np.exp(-((a[:, None] - b[None]) ** 2).sum(-1) / 2)

    exact = math.sqrt(kernel(x, x).mean() + kernel(y, y).mean() - 2 * kernel(x, y).mean())
    assert drift.mmd(x, y, bandwidth=1.0, features=20_000, permutations=0).statistic == pytest.approx(exact, rel=0.05)
