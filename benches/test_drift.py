"""Drift: ks_2samp beside scipy, false alarms and power beside Evidently's rules.

`ratio` in `extra_info` is scipy's time over ours, medians of runs in turn, on equal results. The tables are about what
is said, not how fast: Evidently's default rules as they are published (tests/drift_trials.py), compared with Evidently
itself where `python benches/peers.py evidently` has installed it.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import scipy.stats

import drift_trials as t
from headrace import drift

sys.path.insert(0, str(Path(__file__).parent))
from peers import python_of

ROUNDS = 7


def seconds(work, *args, **options) -> float:
    began = time.perf_counter()
    work(*args, **options)
    return time.perf_counter() - began


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("data", [t.NORMAL, t.LOGNORMAL, t.TIES], ids=lambda data: data.name)
def test_ks_2samp(benchmark, data, threads):
    chance = np.random.default_rng(0)
    reference, live = data.draw(chance, 1_000_000), data.draw(chance, 1_000_000)
    ours, theirs = drift.ks_2samp(reference, live, threads=threads), scipy.stats.ks_2samp(reference, live)
    assert ours.statistic == pytest.approx(theirs.statistic, rel=1e-12)
    assert ours.pvalue == pytest.approx(theirs.pvalue, rel=1e-6)

    pairs = [
        (seconds(scipy.stats.ks_2samp, reference, live), seconds(drift.ks_2samp, reference, live, threads=threads))
        for _ in range(ROUNDS)
    ]
    peer, own = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(a / b for a, b in pairs)
    benchmark.group = "ks_2samp, two samples of 1 M"
    benchmark.extra_info.update(
        peer="scipy.stats.ks_2samp",
        ratio=round(ratio, 2),
        milliseconds=round(own * 1e3),
        peer_milliseconds=round(peer * 1e3),
    )
    print(f"\n{data.name} threads={threads} {benchmark.extra_info}")
    benchmark.pedantic(drift.ks_2samp, args=(reference, live), kwargs={"threads": threads}, rounds=ROUNDS)
    assert ratio > 3


def test_false_alarms():
    """No drift: share of 400 trials in which there is an alarm."""
    print(
        "\n| data | n | m | Evidently | ours: drift | ours: not enough data | p of no change at most 5 % |\n"
        + "|---" * 7
        + "|"
    )
    for data, n, m in (
        *t.EVIDENTLY,
        (t.NORMAL, 50, 50),
        (t.categories(2), 500, 500),
        (t.ZIPF, 2000, 500),
        (t.CAUCHY, 1001, 1000),
    ):
        pairs = t.trials(data, n, m, 400)
        theirs = np.mean([t.evidently(data, *pair)[0] for pair in pairs])
        columns = t.compared(data, pairs)
        ours = [np.mean([column.verdict == verdict for column in columns]) for verdict in ("drift", "not enough data")]
        small = np.mean([column.pvalue <= t.ALPHA for column in columns])
        print(f"| {data.name} | {n} | {m} | {theirs:.0%} | {ours[0]:.1%} | {ours[1]:.0%} | {small:.1%} |")
        assert ours[0] <= 0.05


def moved(data: t.Data, size: float, values: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    """A shift by `size` deviations; of categories, the share `size` of all rows moves to the first."""
    return values + size if data.ordered else np.where(chance.random(len(values)) < size, 0, values)


def test_power():
    """True positives against the size of the change, every rule at the threshold that alarms in 5 % without drift."""
    chance = np.random.default_rng(1)
    count = 200
    heads = ("data", "n", "m", "change", "Evidently's default", "its score at 5 %", "our p at 5 %", "CvM, chi2 at 5 %")
    print("\n| " + " | ".join((*heads, "ours: drift")) + " |")
    print("|---" * 9 + "|")
    for data, n, m, sizes in (
        (t.NORMAL, 1001, 200, (0.0, 0.1, 0.2, 0.3, 0.5)),
        (t.CAUCHY, 1001, 200, (0.0, 0.2, 0.4, 0.6, 1.0)),
        (t.categories(10), 1000, 1000, (0.0, 0.03, 0.06, 0.1, 0.2)),
        (t.categories(50), 1001, 1001, (0.0, 0.03, 0.06, 0.1, 0.2)),
    ):
        cuts: list[float] = []
        for size in sizes:
            pairs = [(a, moved(data, size, b, chance)) for a, b in t.trials(data, n, m, count, seed=int(size * 100))]
            theirs = [t.evidently(data, *pair) for pair in pairs]
            columns = t.compared(data, pairs)
            scores = [
                [score for _, score in theirs],
                [-column.pvalue for column in columns],
                [-column.statistics["cramer_von_mises" if data.ordered else "chi2"].pvalue for column in columns],
            ]
            if size == 0.0:
                cuts = [float(np.quantile(score, 0.95, method="higher")) for score in scores]
            found = [np.mean(np.array(score) > cut) for score, cut in zip(scores, cuts, strict=True)]
            default, drifted = np.mean([alarm for alarm, _ in theirs]), np.mean([c.verdict == "drift" for c in columns])
            print(
                f"| {data.name} | {n} | {m} | {size} | {default:.0%} | {found[0]:.0%} | {found[1]:.0%} | "
                f"{found[2]:.0%} | {drifted:.0%} |"
            )
        assert found[1] >= 0.9


SCRIPT = """
import json, sys
import pandas as pd
from evidently.legacy.calculations.stattests import get_stattest
from evidently.legacy.core import ColumnType
answers = []
for ordered, reference, live in json.load(sys.stdin):
    kind = ColumnType.Numerical if ordered else ColumnType.Categorical
    a, b = pd.Series(reference), pd.Series(live)
    if not ordered:
        a, b = a.astype(str), b.astype(str)
    result = get_stattest(a, b, kind, None)(a, b, kind, None)
    answers.append([bool(result.drifted), float(result.drift_score)])
print(json.dumps(answers))
"""


def test_the_rules_are_evidentlys():
    """What stands for Evidently in the tables says what Evidently says."""
    python = python_of("evidently")
    if not python.exists():
        pytest.skip("Evidently is not installed: python benches/peers.py evidently")
    settings = [*t.EVIDENTLY, (t.NORMAL, 200, 100), (t.categories(2), 300, 200), (t.ZIPF, 1500, 300)]
    trials = [(data, *pair) for data, n, m in settings for pair in t.trials(data, n, m, 20)]
    asked = json.dumps([[data.ordered, a.tolist(), b.tolist()] for data, a, b in trials])
    done = subprocess.run(
        [python, "-W", "ignore", "-c", SCRIPT], input=asked, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    theirs = json.loads(done.stdout.splitlines()[-1])
    for (data, a, b), (alarm, score) in zip(trials, theirs, strict=True):
        ours, strange = t.evidently(data, a, b)
        assert ours == alarm
        if data.ordered or len(set(a.tolist())) > 2:
            assert abs(strange) == pytest.approx(score, rel=1e-6, abs=1e-9)
