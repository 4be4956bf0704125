"""Permutation importance against scikit-learn, and its limits."""

from __future__ import annotations

import numpy as np
import polars as pl
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
        lambda frame: fitted.predict(frame.to_numpy()),
        pl.DataFrame(x, schema=["a", "b", "c"]),
        Scored("regression", y, fitted.predict(x)),
        ["a", "b", "c"],
        primary="rmse",
        repeats=20,
        seed=0,
        check=lambda: None,
    )
    assert list(found.values()) == pytest.approx(wanted, rel=0.05, abs=0.01)


def test_nothing_where_the_metric_is_undefined():
    scored = Scored("binary", [1, 1], [[0.5, 0.5]] * 2)
    frame = pl.DataFrame({"a": [1, 2]})
    found = permutation_importance(
        lambda _: scored.scores, frame, scored, ["a"], primary="roc_auc", repeats=1, seed=0, check=lambda: None
    )
    assert found == {}


def test_many_columns_get_fewer_shuffles_and_then_fewer_columns():
    names = [f"c{i}" for i in range(5000)]
    columns, repeats = within_budget(names, rows=2000, width=5000, repeats=5)
    assert repeats == 1
    assert 1 <= len(columns) < 5000
    assert within_budget(names[:20], rows=2000, width=20, repeats=5) == (names[:20], 5)
