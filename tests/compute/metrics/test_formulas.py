"""The metrics against scikit-learn, and what they say where scikit-learn guesses."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sklearn import metrics as oracle
from sklearn.calibration import calibration_curve

from headrace.compute.metrics import METRICS, PRIMARY, Scored, Undefined, for_task, known, measure
from headrace.compute.metrics.formulas import FORMULAS
from headrace.compute.metrics.scored import SMALLEST
from headrace.errors import ConfigError, DataError

quick = settings(max_examples=80, deadline=None)  # the machine may be busy

# Few distinct scores, so that ties are the rule; 0 and 1 among them.
GRID = st.sampled_from([0.0, 0.05, 0.25, 0.4999999, 0.5, 0.75, 0.999, 1.0])
BINARY = st.lists(st.tuples(st.integers(0, 1), GRID | st.floats(0, 1)), min_size=1, max_size=40)
NUMBERS = st.floats(-1e6, 1e6).map(lambda v: round(v, 3))
WIDE = NUMBERS | st.floats(-1e300, 1e300)


def binary(rows, threshold=0.5):
    truth = np.array([t for t, _ in rows])
    p = np.array([s for _, s in rows], dtype=np.float64)
    return truth, p, Scored("binary", truth, np.column_stack([1 - p, p]), threshold=threshold)


def expect(found, wanted, **tolerance):
    assert not isinstance(found, Undefined), found
    assert found == pytest.approx(wanted, **{"rel": 1e-9, "abs": 1e-12, **tolerance})


@quick
@given(BINARY, st.sampled_from([0.1, 0.5, 0.9]))
def test_binary_metrics_are_those_of_scikit_learn(rows, threshold):
    truth, p, scored = binary(rows, threshold)
    called = (p >= threshold).astype(int)
    expect(measure(scored, "accuracy"), oracle.accuracy_score(truth, called))
    expect(measure(scored, "brier"), oracle.brier_score_loss(truth, p, pos_label=1, labels=[0, 1]))
    clipped = np.clip(p, SMALLEST, 1 - SMALLEST)
    expect(measure(scored, "log_loss"), oracle.log_loss(truth, clipped, labels=[0, 1]), rel=1e-6)
    both = 0 < truth.sum() < len(truth)
    for name, function in {
        "roc_auc": oracle.roc_auc_score,
        "average_precision": oracle.average_precision_score,
    }.items():
        if both:
            expect(measure(scored, name), function(truth, p))
    expect_or_reason = {
        "balanced_accuracy": (both, oracle.balanced_accuracy_score),
        "mcc": (both, oracle.matthews_corrcoef),
        "precision": (called.any(), oracle.precision_score),
        "recall": (truth.any(), oracle.recall_score),
        "f1": (called.any() or truth.any(), oracle.f1_score),
    }
    for name, (defined, function) in expect_or_reason.items():
        found = measure(scored, name)
        if defined:
            expect(found, function(truth, called))
        else:
            assert isinstance(found, Undefined)
            assert found.reason


@quick
@given(BINARY)
def test_what_one_class_cannot_tell_is_undefined(rows):
    _truth, _, scored = binary([(1, s) for _, s in rows])
    for name in ("roc_auc", "balanced_accuracy", "mcc"):
        assert measure(scored, name) == Undefined("all rows are of one class")
    assert measure(scored, "average_precision") == 1.0
    _, _, scored = binary([(0, s) for _, s in rows])
    assert measure(scored, "average_precision") == Undefined("no row is positive")
    assert measure(scored, "recall") == Undefined("no row is positive")


@quick
@given(BINARY)
def test_weights_are_repeated_rows(rows):
    truth, _p, scored = binary(rows)
    counts = np.random.default_rng(len(rows)).integers(0, 4, len(rows))
    again = Scored("binary", np.repeat(truth, counts), np.repeat(scored.scores, counts, axis=0))
    again.__dict__["bins"] = np.repeat(scored.bins, counts)  # the bins are those of all the rows, on purpose
    for metric in for_task("binary"):
        found, wanted = measure(scored, metric.name, counts.astype(float)), measure(again, metric.name)
        if isinstance(wanted, Undefined):
            assert isinstance(found, Undefined), metric.name
        else:
            expect(found, wanted)


def test_calibration_error_is_read_off_the_calibration_curve_of_scikit_learn():
    rng = np.random.default_rng(3)
    p = np.round(rng.random(1500), 4)
    truth = (rng.random(1500) < p**2).astype(int)
    scored = Scored("binary", truth, np.column_stack([1 - p, p]))
    observed, claimed = calibration_curve(truth, p, n_bins=15, strategy="quantile")
    rows = np.bincount(scored.bins)
    expect(measure(scored, "ece"), float((np.abs(observed - claimed) * rows).sum() / rows.sum()))


@quick
@given(st.integers(2, 5), st.integers(1, 40), st.randoms(use_true_random=False))
def test_multiclass_metrics_are_those_of_scikit_learn(classes, rows, random):
    rng = np.random.default_rng(random.randrange(2**32))
    truth = rng.integers(0, classes, rows)
    scores = np.round(rng.dirichlet(np.ones(classes), rows), 1) + 0.01
    scores /= scores.sum(axis=1, keepdims=True)
    scored = Scored("multiclass", truth, scores)
    called, labels = scores.argmax(axis=1), list(range(classes))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expect(measure(scored, "accuracy"), oracle.accuracy_score(truth, called))
        expect(measure(scored, "f1_macro"), oracle.f1_score(truth, called, average="macro"))
        expect(measure(scored, "f1_weighted"), oracle.f1_score(truth, called, average="weighted"))
        expect(measure(scored, "log_loss"), oracle.log_loss(truth, scores, labels=labels), rel=1e-6)
        onehot = np.eye(classes)[truth]
        expect(measure(scored, "brier"), float(((scores - onehot) ** 2).sum(axis=1).mean()))
        several = len(set(truth)) > 1
        if several:
            expect(measure(scored, "mcc"), oracle.matthews_corrcoef(truth, called))
            expect(measure(scored, "balanced_accuracy"), oracle.balanced_accuracy_score(truth, called))
            present = sorted(set(truth))
            wanted = [oracle.roc_auc_score(truth == k, scores[:, k]) for k in present]
            expect(measure(scored, "roc_auc_ovr"), float(np.mean(wanted)))
        else:
            assert isinstance(measure(scored, "roc_auc_ovr"), Undefined)
            assert isinstance(measure(scored, "mcc"), Undefined)


@quick
@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=40))
def test_regression_metrics_are_those_of_scikit_learn(rows):
    truth, said = np.array(rows).T
    scored = Scored("regression", truth, said)
    expect(measure(scored, "rmse"), oracle.root_mean_squared_error(truth, said), rel=1e-7)
    expect(measure(scored, "mae"), oracle.mean_absolute_error(truth, said))
    expect(measure(scored, "medae"), oracle.median_absolute_error(truth, said))
    expect(measure(scored, "bias"), float(np.mean(said - truth)), abs=1e-6)
    if len(set(truth)) > 1:
        expect(measure(scored, "r2"), oracle.r2_score(truth, said), rel=1e-6)
    else:
        assert measure(scored, "r2") == Undefined("the target is the same in all rows")
    if (truth == 0).any():
        assert "target is 0" in measure(scored, "mape").reason
    else:
        expect(measure(scored, "mape"), oracle.mean_absolute_percentage_error(truth, said))


@quick
@given(st.lists(st.tuples(WIDE, WIDE, st.integers(0, 3)), min_size=1, max_size=30))
@example([(1e6, -1e6, 0), (0.001, 0.002, 1), (0.002, 0.002, 2)])  # rows that are not drawn: far larger,
@example([(1e300, -1e300, 0), (1.0, 2.0, 1), (2.0, 2.0, 2)])  # without a square,
@example([(0.0, 1.0, 0), (1.0, 2.0, 1), (2.0, 2.0, 2)])  # without a relative error
def test_regression_weights_are_repeated_rows(rows):
    truth, said, counts = np.array(rows).T
    counts = counts.astype(int)
    scored = Scored("regression", truth, said)
    again = Scored("regression", np.repeat(truth, counts), np.repeat(said, counts))
    for metric in for_task("regression"):
        found, wanted = measure(scored, metric.name, counts.astype(float)), measure(again, metric.name)
        if isinstance(wanted, Undefined):
            assert isinstance(found, Undefined), metric.name
        else:
            # Sums in another order: of numbers that cancel, as many digits are lost as their sizes differ by.
            size = 1e-12 * float(np.abs(again.losses[:, 0]).max()) if metric.name == "bias" else 0.0
            expect(found, wanted, rel=1e-6, abs=max(1e-6, size))


def test_numbers_that_are_no_numbers_are_never_passed_on():
    nan = Scored("binary", [0, 1], [[0.5, 0.5], [math.nan, math.nan]])
    for metric in for_task("binary"):
        assert measure(nan, metric.name) == Undefined("the model gave NaN or infinity for 1 of 2 rows")
    huge = Scored("regression", [1e300, -1e300], [-1e300, 1e300])
    assert measure(huge, "rmse") == Undefined("the value is too large for a number")
    assert "NaN" in measure(Scored("regression", [math.nan], [1.0]), "mae").reason
    assert measure(Scored("regression", [], []), "mae") == Undefined("there are no rows")


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(DataError, match="2 columns"):
        Scored("binary", [0, 1], [[1.0], [1.0]])
    with pytest.raises(DataError, match="shape"):
        Scored("regression", [0, 1], [[1.0], [1.0]])
    with pytest.raises(DataError, match="between 0 and 2"):
        Scored("multiclass", [3], [[0.2, 0.3, 0.5]])


def test_every_metric_in_the_catalog_has_a_formula_and_a_task():
    assert set(FORMULAS) == set(METRICS)
    for task, name in PRIMARY.items():
        assert name in [m.name for m in for_task(task)]
    assert all(metric.tasks and metric.meaning and metric.title for metric in METRICS.values())


def test_an_unknown_metric_names_the_nearest():
    with pytest.raises(ConfigError, match="Did you mean 'roc_auc'") as caught:
        known("rocauc", "binary", place="stage gate")
    assert "stage gate" in str(caught.value)
    with pytest.raises(ConfigError, match="not a metric of a regression model"):
        known("f1", "regression", place="stage evaluate")
