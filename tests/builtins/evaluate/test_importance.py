"""Permutation importance against scikit-learn, and its limits."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.inspection import permutation_importance as oracle
from sklearn.linear_model import LinearRegression

from headrace.builtins.evaluate.importance import permutation_importance, within_budget
from headrace.compute.metrics import Scored


def test_agrees_with_scikit_learn_within_the_noise_of_shuffling():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(800, 3))
    y = 3 * x[:, 0] + x[:, 1] + rng.normal(size=800) * 0.1
    fitted = LinearRegression().fit(x, y)
    wanted = oracle(fitted, x, y, n_repeats=20, scoring="neg_root_mean_squared_error", random_state=0).importances_mean
    found = permutation_importance(
        fitted.predict,
        x,
        Scored("regression", y, fitted.predict(x)),
        {"a": [0], "b": [1], "c": [2]},
        primary="rmse",
        repeats=20,
        seed=0,
        check=lambda: None,
    )
    assert list(found.values()) == pytest.approx(wanted, rel=0.05, abs=0.01)


def test_nothing_where_the_metric_is_undefined():
    scored = Scored("binary", [1, 1], [[0.5, 0.5]] * 2)
    features = np.array([[1.0], [2.0]])
    found = permutation_importance(
        lambda _: scored.scores, features, scored, {"a": [0]}, primary="roc_auc", repeats=1, seed=0, check=lambda: None
    )
    assert found == {}


def test_features_of_one_column_are_shuffled_together():
    rng = np.random.default_rng(1)
    column = rng.normal(size=400)
    features = np.stack([column, column, rng.normal(size=400)], axis=1)
    truth = column * 2

    def predict(made):
        # Whoever shuffles the two apart is seen: they would differ.
        assert np.array_equal(made[:, 0], made[:, 1])
        return made[:, 0] + made[:, 1]

    found = permutation_importance(
        predict,
        features,
        Scored("regression", truth, predict(features)),
        {"a": [0, 1], "b": [2]},
        primary="rmse",
        repeats=2,
        seed=0,
        check=lambda: None,
    )
    assert found["a"] > 1
    assert found["b"] == 0


def test_many_columns_get_fewer_shuffles_and_then_fewer_columns():
    names = [f"c{i}" for i in range(5000)]
    columns, repeats = within_budget(names, rows=2000, width=5000, repeats=5)
    assert repeats == 1
    assert 1 <= len(columns) < 5000
    assert within_budget(names[:20], rows=2000, width=20, repeats=5) == (names[:20], 5)
