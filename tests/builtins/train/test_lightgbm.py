"""`train:lightgbm` against LightGBM called by hand."""

from __future__ import annotations

import itertools
import math

import lightgbm
import numpy as np
import polars as pl
import pytest
from lightgbm.basic import _ConfigAliases
from pydantic import ValidationError

from headrace import Dataset, FeaturePlan, Params, Predictor
from headrace.builtins.lightgbm import parameters
from headrace.builtins.lightgbm.train import LightGBMTrainer
from headrace.errors import CancelledError, ConfigError, DataError
from headrace.hooks.contract import describe

SMALL = {"n_estimators": 25, "num_leaves": 7, "parity_rows": 500}


def train(ctx, data, tuned=None, **config):
    stage = LightGBMTrainer(LightGBMTrainer.Config(**(SMALL | config)))
    return stage.run(ctx, data.plan, data.train, data.valid, tuned)


def test_the_contract():
    contract = describe(LightGBMTrainer)
    assert {name: spec.optional for name, spec in contract.inputs.items()} == {
        "plan": False,
        "train_features": False,
        "valid_features": False,
        "params": True,
    }
    assert list(contract.outputs) == ["model"]
    assert all(field.description for field in contract.config.model_fields.values())


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_the_model_is_the_one_that_lightgbm_trains(ctx, prepared, roundtrip, task):
    data = prepared(task)
    model = train(ctx, data, early_stopping_rounds=5)
    native = lightgbm.Booster(model_str=model.native.decode())
    scores = Predictor(data.plan, model).scores(data.raw_valid)
    expected = native.predict(data.plan.matrix(data.raw_valid))
    np.testing.assert_allclose(scores[:, 1] if task == "binary" else scores, expected, rtol=1e-6, atol=1e-6)

    options = dict(model.info["parameters"])
    codes = [data.plan.outputs.index(name) for name in data.plan.categorical]
    by_hand = lightgbm.train(
        options,
        lightgbm.Dataset(
            data.matrix, data.plan.encode_target(data.raw).to_numpy(), categorical_feature=codes, params=options
        ),
        num_boost_round=model.info["iterations"],
    )
    np.testing.assert_array_equal(by_hand.predict(data.plan.matrix(data.raw_valid)), expected)

    assert model.task == task
    assert model.features == data.plan.outputs
    assert model.classes == data.plan.classes
    assert roundtrip(model) == model
    assert model.parity["leaf_mismatches"] == 0
    assert model.parity["given_rows"] == data.raw_valid.height
    gain = native.feature_importance("gain")
    assert list(model.importance.values()) == gain.tolist()
    assert model.importance["x"] == max(gain)


def test_it_beats_guessing(ctx, prepared):
    data = prepared("binary")
    scores = Predictor(data.plan, train(ctx, data)).predict(data.raw_valid)
    assert (scores["prediction"] == data.raw_valid["y"]).mean() > 0.85


def test_the_same_seed_gives_the_same_bytes(make_context, prepared):
    data = prepared("binary")
    drawn = {"bagging_fraction": 0.6, "bagging_freq": 1, "feature_fraction": 0.7}
    models = [train(make_context(seed=5, threads=t), data, **drawn) for t in (2, 2, 1)]
    assert models[0] == models[1]
    assert models[2].onnx == models[0].onnx  # deterministic holds for any number of threads
    assert train(make_context(seed=6), data, **drawn).onnx != models[0].onnx
    assert train(make_context(seed=6), data, seed=5, **drawn).onnx == models[0].onnx


def test_early_stopping_keeps_the_best_round(ctx, prepared):
    data = prepared("binary", n=120, seed=9)
    model = train(ctx, data, n_estimators=200, early_stopping_rounds=5, learning_rate=0.5)
    series = ctx.metrics["valid.binary_logloss"]
    points = [value for step, value in series if step is not None]
    assert [step for step, _ in series if step is not None] == list(range(1, len(points) + 1))
    best = int(np.argmin(points)) + 1
    assert model.info["iterations"] == best
    assert len(points) == best + 5 < 200
    assert series[-1] == (None, points[best - 1])
    assert lightgbm.Booster(model_str=model.native.decode()).num_trees() == best
    assert ctx.metrics["rounds"] == [(None, float(best))]
    assert ctx.steps[0] == (1, 200)
    assert ctx.steps[-1] == (200, 200)


def test_the_best_round_is_lightgbms(make_context, prepared):
    for task, metric in (("binary", "auc"), ("binary", "average_precision"), ("regression", "l1")):
        data = prepared(task, n=150, seed=11)
        ctx = make_context(threads=1)
        model = train(ctx, data, n_estimators=80, early_stopping_rounds=6, learning_rate=0.4, metric=metric)
        codes = [data.plan.outputs.index(name) for name in data.plan.categorical]
        options = model.info["parameters"] | {"num_threads": 1}
        made = lightgbm.Dataset(data.matrix, data.plan.encode_target(data.raw).to_numpy(), categorical_feature=codes)
        valid = made.create_valid(data.plan.matrix(data.raw_valid), data.plan.encode_target(data.raw_valid).to_numpy())
        stop = lightgbm.early_stopping(6, verbose=False, min_delta=1e-11)
        by_hand = lightgbm.train(options, made, 80, valid_sets=[valid], callbacks=[stop])
        assert model.info["iterations"] == by_hand.best_iteration
        assert ctx.metrics[f"valid.{metric}"][-1][1] == pytest.approx(by_hand.best_score["valid_0"][metric], rel=1e-11)


def test_targets_that_are_missing_are_named(ctx, prepared):
    data = prepared("binary")
    frame = data.train.frame().with_columns(y=pl.when(pl.int_range(pl.len()) == 5).then(None).otherwise("y"))
    stage = LightGBMTrainer(LightGBMTrainer.Config(**SMALL))
    with pytest.raises(DataError, match="row 5: the target 'y' has no value in 1 of 300 rows"):
        stage.run(ctx, data.plan, Dataset.from_frame(frame), data.valid)


def test_without_validation_rows_all_rounds_are_used_and_it_says_so(ctx, prepared):
    data = prepared("binary")
    stage = LightGBMTrainer(LightGBMTrainer.Config(**SMALL))
    model = stage.run(ctx, data.plan, data.train, Dataset.from_frame(data.valid.frame()[:0]))
    assert model.info["iterations"] == 25
    assert any("no validation rows" in line for line in ctx.logs)
    assert "valid.binary_logloss" not in ctx.metrics


def test_a_stopped_run_ends_the_training(ctx, prepared):
    ctx.cancel_after = 4
    with pytest.raises(CancelledError):
        train(ctx, prepared("binary"), n_estimators=10_000)
    assert len(ctx.steps) < 5


def test_params_of_a_tuner_override_the_config(ctx, prepared):
    data = prepared("binary")
    found = Params(values={"num_leaves": 4, "learning_rate": 0.3, "path_smooth": 2.0})
    model = train(ctx, data, found, num_leaves=20)
    used = model.info["parameters"]
    assert (used["num_leaves"], used["learning_rate"], used["path_smooth"]) == (4, 0.3, 2.0)
    with pytest.raises(ConfigError, match="num_leaves"):
        train(ctx, data, Params(values={"num_leaves": 1}))
    with pytest.raises(ConfigError, match=r"no training parameter 'num_leafs'\s+Did you mean 'num_leaves'"):
        train(ctx, data, Params(values={"num_leafs": 5}))


# --- small and odd data ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_twenty_rows_teach_something(ctx, prepared, task):
    data = prepared(task, n=24, seed=2)
    model = train(ctx, data, early_stopping_rounds=0)
    assert max(model.importance.values()) > 0
    scores = Predictor(data.plan, model).scores(data.raw)
    assert len(np.unique(scores.round(6))) > 2


def test_one_feature(ctx):
    raw = pl.DataFrame({"x": [0.0, 1.0] * 20, "y": [False, True] * 20})
    plan = FeaturePlan.fit(raw, target="y", task="binary")
    rows = Dataset.from_frame(plan.transform(raw).with_columns(plan.encode_target(raw)))
    model = LightGBMTrainer(LightGBMTrainer.Config(**SMALL)).run(ctx, plan, rows, rows)
    assert Predictor(plan, model).predict(raw)["prediction"].to_list() == raw["y"].to_list()


def test_nothing_to_learn_gives_a_constant_and_says_so(ctx):
    raw = pl.DataFrame({"x": [0.0, 0.0, 1.0, 1.0] * 10, "y": [1.0, 2.0] * 20})
    plan = FeaturePlan.fit(raw, target="y", task="regression")
    rows = Dataset.from_frame(plan.transform(raw).with_columns(plan.encode_target(raw)))
    model = LightGBMTrainer(LightGBMTrainer.Config(**SMALL)).run(ctx, plan, rows, rows)
    assert any("predicts a constant" in line for line in ctx.logs)
    np.testing.assert_allclose(Predictor(plan, model).scores(raw), 1.5)


def test_too_few_rows(ctx, prepared):
    data = prepared("binary")
    stage = LightGBMTrainer(LightGBMTrainer.Config(**SMALL))
    for n in (0, 1):
        with pytest.raises(DataError, match=f"there are {n} training rows"):
            stage.run(ctx, data.plan, Dataset.from_frame(data.train.frame()[:n]), data.valid)


def test_frames_of_another_plan(ctx, prepared):
    data = prepared("binary")
    stage = LightGBMTrainer(LightGBMTrainer.Config(**SMALL))
    with pytest.raises(DataError, match="'shop'"):
        stage.run(ctx, data.plan, Dataset.from_frame(data.train.frame().drop("shop")), data.valid)
    reversed_ = Dataset.from_frame(data.train.frame().select(reversed(data.train.columns)))
    with pytest.raises(DataError, match="another order"):
        stage.run(ctx, data.plan, reversed_, data.valid)


def test_feature_names_may_be_anything(ctx, prepared):
    names = {"x": 'a"[b]{c}:,\n', "u": "🦆 ", "shop": "f0", "day": ""}
    odd, plain = prepared("binary", names=names), prepared("binary")
    model = train(ctx, odd)
    assert model.onnx == train(ctx, plain).onnx
    assert list(model.importance)[:3] == ['a"[b]{c}:,\n', "🦆 ", "f0"]
    with pytest.raises(ConfigError, match="no feature"):
        train(ctx, odd, monotone_constraints={"x": 1})


# --- what can be set -------------------------------------------------------------------------------------------------


def test_categories_are_sets_or_numbers(ctx, prepared):
    data = prepared("binary")
    for how, expected in (("native", True), ("ordinal", False)):
        text = train(ctx, data, categorical=how).native.decode()
        counts = [int(line.removeprefix("num_cat=")) for line in text.splitlines() if line.startswith("num_cat=")]
        assert any(counts) == expected


def test_monotone_constraints_hold(ctx, prepared):
    data = prepared("regression")
    model = train(ctx, data, monotone_constraints={"x": -1, "u": 0})  # against the data, so that it shows
    features = np.repeat(data.matrix[:20], 50, axis=0)
    features[:, data.plan.outputs.index("x")] = np.tile(np.linspace(-3, 3, 50, dtype=np.float32), 20)
    scores = Predictor(data.plan, model).scores_of(features).reshape(20, 50)
    assert (np.diff(scores, axis=1) <= 1e-6).all()
    with pytest.raises(ConfigError, match="categories without an order"):
        train(ctx, data, monotone_constraints={"shop": 1})
    with pytest.raises(ConfigError, match="Did you mean 'shop'"):
        train(ctx, data, monotone_constraints={"shopp": 1})


def test_class_weights(ctx, prepared):
    data = prepared("binary")
    plain, heavy = train(ctx, data), train(ctx, data, class_weight={"true": 20})
    mean = [Predictor(data.plan, m).scores(data.raw_valid)[:, 1].mean() for m in (plain, heavy)]
    assert mean[1] > mean[0] + 0.05
    balanced = train(ctx, data, class_weight="balanced")
    codes = data.plan.encode_target(data.raw).to_numpy()
    counts = np.bincount(codes)
    by_hand = {name: len(codes) / (2 * count) for name, count in zip(("false", "true"), counts.tolist(), strict=True)}
    assert train(ctx, data, class_weight=by_hand).onnx == balanced.onnx
    for weights, word in (({"True": 2}, "Classes: false, true"), ({"true": -1}, "-1"), ({"true": math.inf}, "inf")):
        with pytest.raises(ConfigError, match=word):
            train(ctx, data, class_weight=weights)
    with pytest.raises(ConfigError, match="regression"):
        train(ctx, prepared("regression"), class_weight="balanced")


@pytest.mark.parametrize(
    ("task", "objective"),
    [("multiclass", "multiclassova"), *(("regression", name) for name in (
        "regression_l1", "huber", "fair", "poisson", "quantile", "mape", "gamma", "tweedie"))],
)  # fmt: skip
def test_every_objective_trains_and_exports(ctx, prepared, task, objective):
    data = prepared(task)
    model = train(ctx, data, objective=objective, n_estimators=8)
    expected = lightgbm.Booster(model_str=model.native.decode()).predict(data.matrix)
    np.testing.assert_allclose(Predictor(data.plan, model).scores(data.raw), expected, rtol=1e-5, atol=1e-6)
    assert any(name.startswith("valid.") for name in ctx.metrics)


@pytest.mark.parametrize("boosting", ["dart", "rf"])
def test_other_kinds_of_boosting(ctx, prepared, boosting):
    data = prepared("binary")
    drawn = {"bagging_fraction": 0.5, "bagging_freq": 1}
    model = train(ctx, data, boosting=boosting, n_estimators=10, **drawn)
    expected = lightgbm.Booster(model_str=model.native.decode()).predict(data.matrix)
    np.testing.assert_allclose(Predictor(data.plan, model).scores(data.raw)[:, 1], expected, atol=1e-6)
    assert any("early stopping is off" in line for line in ctx.logs) == (boosting == "dart")


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"objective": "regression"}, ["does not fit a binary task", "Possible: binary."]),
        ({"metric": "rmse"}, ["metric 'rmse'", "auc"]),
        ({"params": {"num_leafs": 3}}, ["no training parameter 'num_leafs'", "'num_leaves'"]),
        ({"params": {"num_leaves": 3}}, ["key of its own", "stage's own table"]),
        ({"params": {"eta": 0.1}}, ["key of its own, `learning_rate`"]),
        ({"params": {"subsample_for_bin": 9}}, ["another name of 'bin_construct_sample_cnt'"]),
        ({"params": {"linear_tree": True}}, ["cannot be exported"]),
        ({"params": {"n_jobs": 4}}, ["what the run gives"]),
        ({"params": {"device": "gpu"}}, ["is the CPU"]),
        ({"params": {"forcedsplits_filename": "/etc/passwd"}}, ["no training parameter"]),
        ({"params": {"output_model": "x"}}, ["no training parameter"]),
    ],
)
def test_what_cannot_be_set_says_why(ctx, prepared, config, words):
    with pytest.raises(ConfigError) as caught:
        train(ctx, prepared("binary"), **config)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    "config",
    [
        {"num_leaves": 1},
        {"learning_rate": 0},
        {"feature_fraction": 1.5},
        {"boosting": "rf"},
        {"objective": "lambdarank"},
        {"monotone_constraints": {"x": 2}},
        {"nleaves": 3},
    ],
)
def test_values_out_of_range_are_refused_at_once(config):
    with pytest.raises(ValidationError):
        LightGBMTrainer.Config(**config)


def test_what_lightgbm_itself_refuses_is_a_data_error(ctx, prepared):
    with pytest.raises(DataError, match="LightGBM refuses"):
        train(ctx, prepared("binary"), params={"pos_bagging_fraction": 7.0})


def test_names_of_parameters_are_lightgbms():
    """LightGBM's own list is the oracle."""
    known = _ConfigAliases._get_all_param_aliases()
    ours = {"n_estimators": "num_iterations", "early_stopping_rounds": "early_stopping_round"}
    fields = set(LightGBMTrainer.Config.model_fields) - {"categorical", "class_weight", "params", "parity_rows"}
    for name in itertools.chain(parameters.EXTRA, parameters.RESERVED, fields):
        assert ours.get(name, name) in known, name
    for alias, name in parameters.ALIASES.items():
        assert alias in known[ours.get(name, name)], alias
    for name in itertools.chain(parameters.EXTRA, fields):
        for alias in known[ours.get(name, name)]:
            if alias not in (name, ours.get(name)):
                assert parameters.ALIASES.get(alias) == name, alias
    assert not parameters.EXTRA & fields
    assert not parameters.EXTRA & set(parameters.RESERVED)
