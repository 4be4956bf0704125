"""The evaluation as a whole, on models whose scores are known by heart."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from headrace import Dataset, FeaturePlan, Predictor, errors
from headrace.builtins.evaluate.holdout import HoldoutEvaluation

QUICK = {"replicates": 60, "importance_rows": 300, "importance_repeats": 2, "slice_rows": 30}


def rows(n=600, seed=0):
    rng = np.random.default_rng(seed)
    x, noise = rng.normal(size=n), rng.normal(size=n)
    group = rng.choice(["a", "b", "c"], n)
    late = rng.random(n) < 1 / (1 + np.exp(-(2 * x - 1)))
    return pl.DataFrame({"x": x, "noise": noise, "group": group, "late": late})


def evaluate(ctx, model, plan, train, test, **config):
    stage = HoldoutEvaluation(HoldoutEvaluation.Config(**{**QUICK, **config}))
    return stage.run(ctx, model, plan, Dataset.from_frame(train), Dataset.from_frame(test))


@pytest.fixture
def flights(linear_model):
    train, test = rows(seed=1), rows(seed=2)
    plan = FeaturePlan.fit(train, target="late", task="binary")
    return linear_model(plan, {"x": 2.0}, bias=-1.0), plan, train, test


def test_binary_values_are_those_of_scikit_learn_and_can_be_kept(ctx, flights, roundtrip):
    model, plan, train, test = flights
    found = evaluate(ctx, model, plan, train, test)
    p = Predictor(plan, model).scores(test)[:, 1]
    assert found.metrics["roc_auc"]["value"] == pytest.approx(roc_auc_score(test["late"], p))
    assert found.metrics["log_loss"]["value"] == pytest.approx(log_loss(test["late"], p), rel=1e-6)
    assert found.primary == "log_loss"
    assert found.rows == 600
    for measured in found.metrics.values():
        if measured["low"] is not None:
            assert measured["low"] <= measured["value"] <= measured["high"]
    share = train["late"].mean()
    assert found.baseline["log_loss"]["value"] == pytest.approx(log_loss(test["late"], np.full(600, share)), rel=1e-6)
    assert 0 < found.baseline["log_loss"]["gain_low"] < found.baseline["log_loss"]["gain"]
    again = roundtrip(found)
    assert json.loads(json.dumps(again.metrics)) == json.loads(json.dumps(found.metrics))
    assert ctx.metrics["roc_auc"] == [(None, pytest.approx(roc_auc_score(test["late"], p)))]


def test_the_same_seed_gives_the_same_evaluation(make_context, flights):
    model, plan, train, test = flights
    first = evaluate(make_context(seed=3), model, plan, train, test)
    assert first == evaluate(make_context(seed=3), model, plan, train, test)
    other = evaluate(make_context(seed=4), model, plan, train, test)
    assert first.metrics["log_loss"]["low"] != other.metrics["log_loss"]["low"]
    assert first.metrics["log_loss"]["value"] == other.metrics["log_loss"]["value"]


def test_what_the_model_uses_is_important_and_the_rest_is_not(ctx, flights):
    model, plan, train, test = flights
    found = evaluate(ctx, model, plan, train, test).importance
    assert found["x"] > 0.1
    assert found["noise"] == found["group"] == 0.0


def test_slices_find_the_part_where_the_model_is_weak(ctx, linear_model):
    train, test = rows(2000, 1), rows(2000, 2)
    flipped = pl.when(pl.col("group") == "b").then(~pl.col("late")).otherwise(pl.col("late")).alias("late")
    test = test.with_columns(flipped)
    plan = FeaturePlan.fit(train, target="late", task="binary")
    model = linear_model(plan, {"x": 2.0}, bias=-1.0)
    found = evaluate(ctx, model, plan, train, test, slices=["group"])
    assert next(s["value"] for s in found.slices) == "b"
    assert sum(s["rows"] for s in found.slices) == 2000
    worst = found.slices[0]["metrics"]["log_loss"]
    assert worst["low"] > found.metrics["log_loss"]["value"]
    assert worst["value"] > worst["baseline"]


def test_one_class_in_the_test_rows_gives_reasons_instead_of_nan(ctx, flights, roundtrip):
    model, plan, train, test = flights
    found = roundtrip(evaluate(ctx, model, plan, train, test.filter(pl.col("late"))))
    assert found.metrics["roc_auc"] == {
        "value": None,
        "low": None,
        "high": None,
        "reason": "all rows are of one class",
        "better": "higher",
    }
    assert found.metrics["recall"]["value"] is not None
    assert found.baseline["roc_auc"]["gain"] is None
    assert found.curves["roc"] == []


def test_multiclass(ctx, linear_model, roundtrip):
    rng = np.random.default_rng(0)
    x, z = rng.normal(size=(2, 500))
    label = np.array(["a", 'b "x"', "c"])[np.stack([x, -x, z]).argmax(axis=0)]
    frame = pl.DataFrame({"x": x, "z": z, "kind": label})
    plan = FeaturePlan.fit(frame, target="kind", task="multiclass")
    model = linear_model(plan, {"x": [3.0, -3.0, 0], "z": [0, 0, 3.0]}, bias=[0, 0, 0])
    found = roundtrip(evaluate(ctx, model, plan, frame, frame))
    assert found.metrics["accuracy"]["value"] == 1.0
    assert found.metrics["roc_auc_ovr"]["value"] > 0.95
    assert {one["class"] for one in found.curves["roc"]} == {"a", 'b "x"', "c"}
    assert np.trace(np.array(found.curves["confusion"]["counts"])) == 500


def test_regression_beside_the_mean_and_the_median(ctx, linear_model, roundtrip):
    rng = np.random.default_rng(0)
    x = rng.normal(size=500)
    frame = pl.DataFrame({"x": x, "y": np.exp(x) + 1.0})
    plan = FeaturePlan.fit(frame, target="y", task="regression")
    model = linear_model(plan, {"x": 1.5}, bias=2.5)
    found = roundtrip(evaluate(ctx, model, plan, frame, frame))
    assert found.primary == "rmse"
    y = frame["y"].to_numpy()
    assert found.baseline["rmse"]["value"] == pytest.approx(y.std())
    assert found.baseline["mae"]["value"] == pytest.approx(np.abs(y - np.median(y)).mean())
    assert found.baseline["mae"]["predictor"] == "the median of the training target"
    assert len(found.curves["residuals"]["predicted"]) == 400
    assert sum(found.curves["residuals"]["counts"]) == 500


def test_rows_without_a_target_are_left_out_and_said(ctx, flights):
    model, plan, train, test = flights
    some = test.with_columns(pl.when(pl.int_range(pl.len()) < 7).then(None).otherwise(pl.col("late")).alias("late"))
    found = evaluate(ctx, model, plan, train, some)
    assert found.rows == 593
    assert "7 of 600 rows have no target and were left out" in found.about["notes"]
    with pytest.raises(errors.DataError, match="none of 600 rows has a known target 'late'"):
        evaluate(ctx, model, plan, train, test.with_columns(pl.lit(None, dtype=pl.Boolean).alias("late")))


def test_a_class_that_training_did_not_have_is_said(ctx, linear_model):
    train = pl.DataFrame({"x": [0.0, 1.0] * 30, "kind": ["a", "b"] * 30})
    plan = FeaturePlan.fit(train, target="kind", task="binary")
    test = train.with_columns(pl.when(pl.int_range(pl.len()) < 2).then(pl.lit("new")).otherwise("kind").alias("kind"))
    found = evaluate(ctx, linear_model(plan, {"x": 1.0}), plan, train, test)
    assert found.rows == 58
    assert any("a class unknown in training" in note for note in found.about["notes"])


def test_groups_that_are_alike_make_wider_intervals(make_context, linear_model):
    base = rows(60, 5)
    test = pl.concat([base] * 10).with_columns(day=pl.Series(np.tile(np.arange(60), 10)))
    plan = FeaturePlan.fit(rows(seed=1), target="late", task="binary")
    model = linear_model(plan, {"x": 2.0}, bias=-1.0)

    def width(**config):
        found = evaluate(make_context(), model, plan, rows(seed=1), test, replicates=300, **config)
        return found.metrics["log_loss"]["high"] - found.metrics["log_loss"]["low"]

    assert 2.2 < width(resample_by="day") / width() < 4.5  # sqrt(10) = 3.2


def test_a_column_that_does_not_exist_names_the_nearest(ctx, flights):
    model, plan, train, test = flights
    for config in ({"slices": ["grup"]}, {"resample_by": "grup"}):
        with pytest.raises(errors.ConfigError, match="Did you mean 'group'"):
            evaluate(ctx, model, plan, train, test, **config)


def test_a_metric_of_another_task_is_refused(ctx, flights):
    model, plan, train, test = flights
    with pytest.raises(errors.ConfigError, match="'rmse' is not a metric of a binary model"):
        evaluate(ctx, model, plan, train, test, primary="rmse")
    with pytest.raises(ValueError, match="not a metric"):
        HoldoutEvaluation.Config(primary="rocauc")


def test_it_can_be_interrupted(make_context, flights):
    model, plan, train, test = flights
    with pytest.raises(errors.CancelledError):
        evaluate(make_context(cancel_after=5), model, plan, train, test)


def test_where_there_are_too_many_columns_the_most_used_are_shuffled(ctx, linear_model, monkeypatch):
    from headrace.builtins.evaluate import importance

    train = rows(seed=1)
    plan = FeaturePlan.fit(train, target="late", task="binary")
    model = linear_model(plan, {"x": 2.0}, importance={"x": 9.0, "group": 1.0})
    monkeypatch.setattr(importance, "BUDGET", 2 * 300 * 3)
    found = evaluate(ctx, model, plan, train, train)
    assert list(found.importance) == ["x", "group"]
    assert "importance was measured for 2 of 3 columns, those most used" in found.about["notes"]


def test_names_from_the_wild(ctx, linear_model, roundtrip):
    train = rows(seed=1).rename({"group": 'g "q"\n🦆', "x": "x | y"})
    plan = FeaturePlan.fit(train, target="late", task="binary")
    found = roundtrip(evaluate(ctx, linear_model(plan, {"x | y": 2.0}), plan, train, train))
    assert {s["column"] for s in found.slices} >= {'g "q"\n🦆', "x | y"}
