"""Intervals: the same draw for every model, groups kept whole, coverage as promised."""

from __future__ import annotations

import numpy as np
import pytest

from headrace.compute.metrics import (
    Interval,
    Resampling,
    Scored,
    Undefined,
    affordable,
    gain,
    measure,
    percentile,
    replicate,
)
from headrace.errors import CancelledError, ConfigError


def coin(rng, rows, skill=1.0):
    truth = (rng.random(rows) < 0.3).astype(int)
    p = 1 / (1 + np.exp(-(skill * truth + rng.normal(size=rows) - 1)))
    return Scored("binary", truth, np.column_stack([1 - p, p]))


def test_the_same_seed_draws_the_same():
    a, b = (list(Resampling(50, replicates=3, seed=[4, 1])) for _ in range(2))
    assert np.array_equal(a, b)
    assert not np.array_equal(a, list(Resampling(50, replicates=3, seed=[5, 1])))
    assert all(w.sum() == 50 for w in a)


def test_groups_are_drawn_whole():
    units = np.repeat(np.arange(10), [1, 2, 3, 4, 5, 1, 1, 1, 1, 1])
    for weights in Resampling(len(units), replicates=20, seed=0, units=units):
        for unit in range(10):
            assert len(set(weights[units == unit])) == 1
        assert sum(weights[units == unit][0] for unit in range(10)) == 10


def test_one_draw_is_shared_by_all_models():
    scored = coin(np.random.default_rng(0), 300)
    values = replicate([scored, scored], ["roc_auc", "log_loss"], Resampling(300, replicates=30, seed=0))
    assert values.shape == (30, 2, 2)
    assert np.array_equal(values[:, 0], values[:, 1])
    assert len(np.unique(values[:, 0, 0])) > 20


def test_a_replicate_is_the_metric_of_the_rows_drawn():
    scored = coin(np.random.default_rng(1), 80)
    resampling = Resampling(80, replicates=5, seed=2)
    values = replicate([scored], ["roc_auc"], resampling)[:, 0, 0]
    for value, weights in zip(values, resampling, strict=True):
        drawn = np.repeat(np.arange(80), weights.astype(int))
        assert value == pytest.approx(measure(scored.take(drawn), "roc_auc"), rel=1e-12)


def test_the_interval_covers_as_often_as_it_says():
    rng, truth, held = np.random.default_rng(7), 0.0, 0
    population = coin(rng, 200_000)
    truth = measure(population, "roc_auc")
    for trial in range(150):
        scored = population.take(rng.integers(0, 200_000, 250))
        values = replicate([scored], ["roc_auc"], Resampling(250, replicates=150, seed=trial))
        found = percentile(values[:, 0, 0], 0.9)
        assert isinstance(found, Interval)
        held += found.low <= truth <= found.high
    assert 0.82 <= held / 150 <= 0.97


def test_no_interval_where_many_resamples_have_no_value():
    scored = Scored("binary", [1] + [0] * 39, np.full((40, 2), 0.5))
    values = replicate([scored], ["roc_auc"], Resampling(40, replicates=200, seed=0))[:, 0, 0]
    found = percentile(values, 0.95)
    assert isinstance(found, Undefined)
    assert "of 200 resamples" in found.reason


def test_a_gain_is_positive_when_it_is_better():
    assert gain("roc_auc", 0.8, 0.7) == pytest.approx(0.1)
    assert gain("log_loss", 0.3, 0.4) == pytest.approx(0.1)
    assert gain("bias", -0.1, 0.3) == pytest.approx(0.2)


def test_very_many_rows_get_fewer_replicates_but_enough():
    assert affordable(1000, 67_000) == 1000
    assert affordable(1000, 10_000_000) == 200
    assert affordable(100, 10_000_000) == 100
    assert 200 <= affordable(1000, 1_000_000) < 1000


def test_stops_when_it_is_told_to():
    def stop():
        raise CancelledError("the run was interrupted")

    with pytest.raises(CancelledError):
        replicate([coin(np.random.default_rng(0), 10)], ["brier"], Resampling(10, replicates=5, seed=0), check=stop)


def test_nothing_can_be_drawn_from_no_rows():
    with pytest.raises(ConfigError):
        Resampling(0, replicates=5, seed=0)
