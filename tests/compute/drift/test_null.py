"""Data without drift: how often each test says that there is some; and data with drift, that they are found.

The fast version takes a few settings; the slow one the grid of sizes, categories, ties and heavy tails. `python
tests/compute/drift/test_null.py` prints the table.
"""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest

import drift_trials as t
from headrace import drift


def rates(data: t.Data, n: int, m: int, count: int) -> dict[str, float]:
    """Share of trials in which each p-value is at most 5 %, and in which each verdict was given."""
    found: Counter[str] = Counter()
    pairs = t.trials(data, n, m, count)
    for column in t.compared(data, pairs):
        found.update(name for name, one in column.statistics.items() if one.pvalue <= t.ALPHA)
        found["pvalue"] += column.pvalue <= t.ALPHA
        found["alarm alone"] += column.pvalue_delta <= t.ALPHA
        found[column.verdict] += 1
    found["Evidently"] = sum(t.evidently(data, *pair)[0] for pair in pairs[:200])
    shares = {name: number / count for name, number in found.items()}
    shares["Evidently"] = found["Evidently"] / min(count, 200)
    return shares


def smooth(data: t.Data, n: int, m: int) -> bool:
    """Whether there are enough possible p-values that one test in twenty is to be expected, and not fewer."""
    return min(n, m) >= 700 and data in (t.NORMAL, t.CAUCHY, t.LOGNORMAL, t.categories(10))


def judge(data: t.Data, n: int, m: int, count: int) -> dict[str, float]:
    """Four standard errors for a single rate, as there are hundreds; three where they are put together."""
    shares = rates(data, n, m, count)
    four = 4 * math.sqrt(t.ALPHA * (1 - t.ALPHA) / count)
    for name in (*t.SHARP, *t.CONSERVATIVE, "pvalue", "alarm alone"):
        assert shares.get(name, 0.0) <= t.ALPHA + four, (name, data.name, n, m)
    if smooth(data, n, m):
        for name in t.SHARP:
            assert shares.get(name, t.ALPHA) >= t.ALPHA - four, (name, data.name, n, m)
    return shares


FAST = (
    (t.NORMAL, 20, 20),
    (t.CAUCHY, 1000, 1000),
    (t.TIES, 1001, 50),
    (t.ZEROS, 3000, 700),
    (t.categories(2), 100, 50),
    (t.categories(10), 1000, 1000),
    (t.categories(50), 50, 1000),
    (t.ZIPF, 1000, 1000),
)


@pytest.mark.parametrize(("data", "n", "m"), FAST, ids=lambda value: getattr(value, "name", value))
def test_no_drift_is_no_alarm(data, n, m):
    judge(data, n, m, 300)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_no_drift_is_no_alarm_on_the_grid():
    count = 500
    every = {(data, n, m): judge(data, n, m, count) for data in t.DATA for n, m in t.SIZES}
    for name in (*t.SHARP, *t.CONSERVATIVE, "pvalue", "alarm alone"):
        found = [shares[name] for shares in every.values() if name in shares]
        if not found:
            continue  # it never alarmed, anywhere
        assert np.mean(found) <= t.ALPHA + 3 * math.sqrt(t.ALPHA * (1 - t.ALPHA) / (count * len(found))), name
    for name in t.SHARP:
        found = [shares.get(name, t.ALPHA) for (data, n, m), shares in every.items() if smooth(data, n, m)]
        assert np.mean(found) >= t.ALPHA - 3 * math.sqrt(t.ALPHA * (1 - t.ALPHA) / (count * len(found))), name


def test_where_evidently_cries_wolf_we_do_not():
    ours, theirs = [], []
    for data, n, m in t.EVIDENTLY:
        shares = rates(data, n, m, 200)
        ours.append(shares.get("drift", 0.0))
        theirs.append(shares["Evidently"])
    assert max(ours) <= 0.01
    assert theirs == pytest.approx([0.47, 0.85, 0.98], abs=0.1)


def test_a_million_rows_alarm_on_nothing_that_matters():
    """A shift of a hundredth of a standard deviation: significant beyond doubt, and irrelevant."""
    chance = np.random.default_rng(0)
    (column,) = t.compared(t.NORMAL, [(chance.normal(size=10**6), chance.normal(size=10**6) + 0.01)])
    assert column.pvalue < 1e-6
    assert column.verdict == "no drift"


def test_fifty_rows_are_not_enough_to_say_no():
    chance = np.random.default_rng(1)
    (column,) = t.compared(t.NORMAL, [(chance.normal(size=10**5), chance.normal(size=50))])
    assert column.verdict == "not enough data"
    assert column.effect.detectable > 0.2
    (column,) = t.compared(t.NORMAL, [(chance.normal(size=10**5), chance.normal(size=50) + 2)])
    assert column.verdict == "drift"


@pytest.mark.parametrize(("data", "moved"), [(t.NORMAL, 0.6), (t.categories(10), None)], ids=["numbers", "categories"])
def test_bounds_hold_the_true_size(data, moved):
    """In nineteen of twenty trials each, as one-sided 95 % bounds do."""
    chance = np.random.default_rng(2)
    shares = np.full(10, 0.1)
    other = shares + 0.05 * np.array([1, -1] * 5)
    if data.ordered:
        truth = 2 * 0.6179114221889526 - 1  # 2 Φ(0.3) - 1
        pairs = [(chance.normal(size=500), chance.normal(size=400) + moved) for _ in range(300)]
    else:
        truth = 0.25
        pairs = [(chance.choice(10, 500, p=shares), chance.choice(10, 400, p=other)) for _ in range(300)]
    parts = [column.parts["values"] for column in t.compared(data, pairs)]
    three = 3 * math.sqrt(0.05 * 0.95 / 300)
    assert np.mean([part.low <= truth for part in parts]) >= 0.95 - three
    assert np.mean([truth <= part.high for part in parts]) >= 0.95 - three


def test_at_the_edge_of_relevance_the_alarm_keeps_its_level():
    """The true distance is exactly delta, all of it at one place, which is where an alarm is likeliest."""
    chance = np.random.default_rng(3)
    reference = [chance.random(800) for _ in range(400)]
    live = [
        np.where(chance.random(600) < 0.6, 0.5 * chance.random(600), 0.5 + 0.5 * chance.random(600)) for _ in range(400)
    ]
    columns = t.compared(t.NORMAL, list(zip(reference, live, strict=True)), delta=0.1)
    three = 3 * math.sqrt(0.05 * 0.95 / 400)
    assert np.mean([column.pvalue_delta <= 0.05 for column in columns]) <= 0.05 + three
    assert np.mean([column.parts["values"].high <= 0.1 for column in columns]) <= 0.05 + three


@pytest.mark.parametrize("count", [2, 3, 10, 50])
@pytest.mark.parametrize("spread", [False, True], ids=["one pair", "all"])
def test_categories_at_the_edge_of_relevance(count, spread):
    """The true variation is exactly delta: between two categories, or over all of them."""
    chance = np.random.default_rng(count)
    p = np.full(count, 1 / count) if count > 3 else np.array([0.5, 0.5] if count == 2 else [0.3, 0.4, 0.3])
    q = p.copy()
    if spread:
        half = count // 2
        q[:half] *= 1 + 0.1 / p[:half].sum()
        q[half:] *= 1 - 0.1 / p[half:].sum()
    else:
        q[0] += 0.1
        q[1:] *= (1 - q[0]) / p[1:].sum()
    columns = [
        drift.CountedColumn(str(i), chance.multinomial(900, p), chance.multinomial(600, q), categories=np.arange(count))
        for i in range(600)
    ]
    parts = [column.parts["values"] for column in drift.compare_counts(columns)]
    three = 3 * math.sqrt(0.05 * 0.95 / 600)
    assert np.mean([part.pvalue <= 0.05 for part in parts]) <= 0.05 + three
    assert np.mean([part.low > 0.1 for part in parts]) <= 0.05 + three
    assert np.mean([part.high <= 0.1 for part in parts]) <= 0.05 + three


@pytest.mark.parametrize("count", [10, 50])
def test_one_category_that_takes_a_fifth_of_the_rows_is_found(count):
    chance = np.random.default_rng(count)
    p = np.full(count, 1 / count)
    q = 0.8 * p + 0.2 * (np.arange(count) == 0)
    column = drift.CountedColumn("x", chance.multinomial(2000, p), chance.multinomial(2000, q), categories=range(count))
    assert drift.compare_counts([column])["x"].verdict == "drift"


@pytest.mark.parametrize(("n", "m"), [(60, 40), (400, 400), (5000, 1000)])
@pytest.mark.parametrize("rate", [0.005, 0.05, 0.5])
def test_rates_at_the_edge_of_relevance(n, m, rate):
    chance = np.random.default_rng(4)
    columns = [
        drift.CountedColumn(
            str(i),
            [n],
            [m],
            categories=["a"],
            null=(int(chance.binomial(n, rate)), int(chance.binomial(m, rate + 0.02))),
        )
        for i in range(600)
    ]
    parts = [column.parts.get("null") for column in drift.compare_counts(columns)]
    three = 3 * math.sqrt(0.05 * 0.95 / 600)
    assert np.mean([part is not None and part.pvalue <= 0.05 for part in parts]) <= 0.05 + three
    assert np.mean([part is None or part.high <= 0.02 for part in parts]) <= 0.05 + three


def test_many_columns_share_one_false_discovery_rate():
    chance = np.random.default_rng(5)
    false, found = [], []
    for _ in range(60):
        pairs = [(chance.normal(size=300), chance.normal(size=300) + (2 if i < 5 else 0)) for i in range(25)]
        report = drift.compare_counts([t.counted(str(i), t.NORMAL, *pair) for i, pair in enumerate(pairs)])
        wrong = [name for name in report.drifted if int(name) >= 5]
        false.append(len(wrong) / max(1, len(report.drifted)))
        found.append(len(report.drifted) - len(wrong))
    assert np.mean(false) <= 0.05
    assert np.mean(found) >= 4.9


def main() -> None:
    head = ("data", "n", "m", "Evidently", "our verdict", "not enough", "p (column)", *t.SHARP, *t.CONSERVATIVE)
    print("| " + " | ".join(head) + " |\n|" + "---|" * len(head))
    grid = [*t.EVIDENTLY, *((data, n, m) for data in t.DATA for n, m in t.SIZES)]
    for data, n, m in grid:
        shares = rates(data, n, m, 1000)
        cells = [shares.get(name, 0.0) for name in ("Evidently", "drift", "not enough data", "pvalue")]
        cells += [shares.get(name, 0.0) for name in (*t.SHARP, *t.CONSERVATIVE)]
        print(f"| {data.name} | {n} | {m} | " + " | ".join(f"{cell:.3f}" for cell in cells) + " |", flush=True)


if __name__ == "__main__":
    main()
