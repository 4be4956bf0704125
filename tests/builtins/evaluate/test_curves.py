"""Curves against scikit-learn; thinning keeps their shape."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import auc, confusion_matrix, precision_recall_curve, roc_curve

from headrace.builtins.evaluate.curves import calibration, confusion, curves, precision_recall, residuals, roc
from headrace.compute.metrics import Scored


def binary(n, seed=0, digits=6):
    rng = np.random.default_rng(seed)
    truth = (rng.random(n) < 0.3).astype(int)
    p = np.round(1 / (1 + np.exp(-(truth + rng.normal(size=n) - 1))), digits)
    return truth, p, Scored("binary", truth, np.column_stack([1 - p, p]))


@pytest.mark.parametrize("digits", [1, 2, 6])
def test_roc_of_few_points_is_that_of_scikit_learn(digits):
    truth, p, scored = binary(60, digits=digits)
    fpr, tpr, _ = roc_curve(truth, p, drop_intermediate=False)
    found = roc(scored, 1)
    assert found["fpr"] == pytest.approx(fpr, abs=1e-6)
    assert found["tpr"] == pytest.approx(tpr, abs=1e-6)


def test_a_thinned_roc_has_the_same_area():
    truth, p, scored = binary(20_000)
    found = roc(scored, 1)
    assert len(found["fpr"]) <= 205
    assert auc(found["fpr"], found["tpr"]) == pytest.approx(auc(*roc_curve(truth, p)[:2]), abs=2e-3)
    assert (found["fpr"][0], found["tpr"][0], found["fpr"][-1], found["tpr"][-1]) == (0, 0, 1, 1)


def test_precision_and_recall_are_those_of_scikit_learn():
    truth, p, scored = binary(50)
    precision, recall, _ = precision_recall_curve(truth, p, drop_intermediate=False)
    wanted = set(zip(np.round(recall, 6), np.round(precision, 6), strict=True))
    found = precision_recall(scored, 1)
    assert set(zip(found["recall"], found["precision"], strict=True)) <= wanted
    assert found["share"] == truth.mean()


def test_calibration_is_that_of_scikit_learn_within_wilson_bounds():
    truth, p, scored = binary(3000)
    observed, claimed = calibration_curve(truth, p, n_bins=15, strategy="quantile")
    found = calibration(scored, 0.95)
    assert found["observed"] == pytest.approx(observed, abs=1e-6)
    assert found["claimed"] == pytest.approx(claimed, abs=1e-6)
    assert all(0 <= low <= o <= high <= 1 for low, o, high in zip(found["low"], observed, found["high"], strict=True))
    assert sum(found["rows"]) == 3000


def test_confusion_is_that_of_scikit_learn_and_merges_rare_classes():
    rng = np.random.default_rng(0)
    truth, scores = rng.integers(0, 3, 200), rng.dirichlet(np.ones(3), 200)
    found = confusion(Scored("multiclass", truth, scores), ["a", "b", "c"])
    assert found["counts"] == confusion_matrix(truth, scores.argmax(axis=1)).tolist()
    truth = np.minimum(rng.geometric(0.1, 3000) - 1, 49)
    scores = np.eye(50)[truth]
    found = confusion(Scored("multiclass", truth, scores), [str(k) for k in range(50)])
    assert found["labels"][-1] == "(others)"
    assert len(found["labels"]) == 20
    assert np.sum(found["counts"]) == 3000
    assert np.trace(found["counts"]) == 3000


def test_residuals_of_a_constant_prediction():
    found = residuals(Scored("regression", np.arange(50.0), np.full(50, 3.0)), seed=0)
    assert found["bands"]["predicted"] == [3.0]
    assert sum(found["counts"]) == 50
    assert len(found["predicted"]) == 50


def test_no_curves_where_scores_are_no_numbers():
    assert curves(Scored("regression", [1.0], [np.nan]), [], level=0.9, seed=0) == {}
