"""The statistics of the gate: how often it is wrong, and that pairing helps."""

from __future__ import annotations

import numpy as np
import pytest

from headrace.builtins.gate.comparison import compare, realigned
from headrace.compute.metrics import Resampling, Scored, gain, measure, replicate


def pair(rng, rows, *, ours=1.0, theirs=1.0):
    """Two models of the same rows: the same signal, each with noise of its own."""
    signal = rng.normal(size=rows)
    truth = (rng.random(rows) < 1 / (1 + np.exp(-2 * signal))).astype(int)

    def scored(noise):
        p = 1 / (1 + np.exp(-(signal + noise * rng.normal(size=rows))))
        return Scored("binary", truth, np.column_stack([1 - p, p]))

    return scored(ours), scored(theirs)


def bound(a, b, *, seed, replicates=150, level=0.95, metric="log_loss"):
    resampling = Resampling(a.rows, replicates=replicates, seed=seed)
    return compare(a, b, resampling, primary=metric, level=level, check=lambda: None, names=[metric]).bound


def test_a_model_that_is_no_better_is_promoted_as_rarely_as_promised():
    rng = np.random.default_rng(11)
    promoted = sum(bound(*pair(rng, 250), seed=trial) > 0 for trial in range(300))
    assert promoted <= 29  # 5 % of 300 is 15; more than 29 has a chance of 0.0003


def test_a_model_that_is_better_is_promoted():
    rng = np.random.default_rng(12)
    promoted = sum(bound(*pair(rng, 600, ours=0.4, theirs=1.0), seed=trial) > 0 for trial in range(25))
    assert promoted >= 24


def test_a_model_that_is_worse_never_is():
    rng = np.random.default_rng(13)
    assert not any(bound(*pair(rng, 600, ours=1.0, theirs=0.4), seed=trial) > 0 for trial in range(25))


def test_pairing_makes_the_interval_narrower():
    rng = np.random.default_rng(14)
    signal = rng.normal(size=500)
    truth = (rng.random(500) < 1 / (1 + np.exp(-3 * signal))).astype(int)
    scores = [1 / (1 + np.exp(-(signal * 2 + 0.1 * rng.normal(size=500)))) for _ in range(2)]
    a, b = (Scored("binary", truth, np.column_stack([1 - p, p])) for p in scores)
    table = compare(
        a, b, Resampling(500, replicates=300, seed=0), primary="log_loss", level=0.95, check=lambda: None
    ).table["log_loss"]
    alone = replicate([a], ["log_loss"], Resampling(500, replicates=300, seed=0))[:, 0, 0]
    apart = replicate([b], ["log_loss"], Resampling(500, replicates=300, seed=1))[:, 0, 0]
    low, high = np.quantile(gain("log_loss", alone, apart), [0.05, 0.95])
    assert table["high"] - table["low"] < 0.5 * (high - low)


def test_the_table_has_every_metric_and_its_gain():
    a, b = pair(np.random.default_rng(0), 200)
    found = compare(a, b, Resampling(200, replicates=100, seed=0), primary="roc_auc", level=0.9, check=lambda: None)
    for name, row in found.table.items():
        assert row["challenger"] == measure(a, name)
        assert row["champion"] == measure(b, name)
        assert row["gain"] == pytest.approx(float(gain(name, row["challenger"], row["champion"])))
        assert (row["low"] is None) == (name == "ece")
        if row["low"] is not None:
            assert row["low"] <= row["high"]
    assert found.bound == found.table["roc_auc"]["low"]


def test_no_bound_where_there_is_no_value():
    scored = Scored("binary", [1] * 60, [[0.4, 0.6]] * 60)
    found = compare(
        scored, scored, Resampling(60, replicates=100, seed=0), primary="roc_auc", level=0.95, check=lambda: None
    )
    assert (found.bound, found.reason) == (None, "all rows are of one class")
    broken = Scored("binary", [1, 0] * 30, [[np.nan, 0.6]] * 60)
    found = compare(
        broken, scored, Resampling(60, replicates=100, seed=0), primary="log_loss", level=0.95, check=lambda: None
    )
    assert found.bound is None
    assert "NaN" in found.reason


def test_classes_in_another_order_are_put_right_and_unknown_ones_get_nothing():
    scores = np.array([[0.1, 0.2, 0.7]])
    assert realigned(scores, ["c", "a", "x"], ["a", "b", "c"]).tolist() == [[0.2, 0.0, 0.1]]
    assert realigned(np.array([[0.3, 0.7]]), [False, True], [0, 1]).tolist() == [[0.0, 0.0]]
