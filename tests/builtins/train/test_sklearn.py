"""`train:sklearn` against scikit-learn called by hand."""

from __future__ import annotations

import sys

import numpy as np
import onnx
import onnxruntime
import polars as pl
import pytest
from pydantic import ValidationError
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import ExtraTreesClassifier, RandomForestRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from headrace import Dataset, FeaturePlan, Params, Predictor
from headrace.builtins.train.sklearn import SklearnTrainer
from headrace.errors import ConfigError, DataError, ExportError, MissingExtraError, ParityError
from headrace.hooks.contract import describe


def train(ctx, data, tuned=None, **config):
    stage = SklearnTrainer(SklearnTrainer.Config(**config))
    return stage.run(ctx, data.plan, data.train, data.valid, tuned)


def test_the_contract():
    contract = describe(SklearnTrainer)
    assert list(contract.outputs) == ["model"]
    assert contract.inputs["params"].optional
    assert all(field.description for field in contract.config.model_fields.values())


def test_a_linear_model_is_the_pipeline_that_one_would_write(ctx, prepared):
    data = prepared("multiclass")
    model = train(ctx, data, params={"C": 0.5})
    codes = [data.plan.outputs.index("shop")]
    numbers = [i for i in range(len(data.plan.outputs)) if i not in codes]
    by_hand = make_pipeline(
        ColumnTransformer(
            [
                ("n", make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), numbers),
                ("c", OneHotEncoder(handle_unknown="ignore"), codes),
            ]
        ),
        LogisticRegression(C=0.5, random_state=0),
    ).fit(data.matrix, data.plan.encode_target(data.raw))
    odd = data.raw_valid.with_columns(
        shop=pl.when(pl.int_range(pl.len()) % 5 == 0).then(pl.lit("never seen")).otherwise("shop"),
        x=pl.when(pl.int_range(pl.len()) % 7 == 0).then(None).otherwise("x"),
    )
    np.testing.assert_allclose(
        Predictor(data.plan, model).scores(odd), by_hand.predict_proba(data.plan.matrix(odd)), atol=1e-5
    )
    assert model.info["inside"] == [
        "missing numbers are replaced inside the model (median)",
        "numbers are scaled to mean 0 and deviation 1 inside the model",
        "1 category columns are one-hot encoded inside the model",
    ]
    assert all(line in ctx.logs for line in model.info["inside"])
    weights = np.abs(by_hand[-1].coef_).sum(axis=0)
    assert model.importance["shop"] == pytest.approx(weights[len(numbers) :].sum(), rel=1e-4)
    assert model.importance["x"] == pytest.approx(weights[0], rel=1e-4)


@pytest.mark.parametrize(
    ("task", "name", "by_hand"),
    [
        ("multiclass", "sklearn.ensemble.ExtraTreesClassifier", ExtraTreesClassifier),
        ("regression", "sklearn.ensemble.RandomForestRegressor", RandomForestRegressor),
    ],
)
def test_trees_get_codes_and_no_scaling(ctx, prepared, roundtrip, task, *, name, by_hand):
    data = prepared(task)
    model = train(ctx, data, estimator=name, params={"n_estimators": 10}, seed=4)
    impute = SimpleImputer(strategy="median")
    fitted = by_hand(n_estimators=10, random_state=4)
    fitted.fit(impute.fit_transform(data.matrix), data.plan.encode_target(data.raw))
    features = impute.transform(data.plan.matrix(data.raw_valid))
    expected = fitted.predict_proba(features) if data.plan.classes else fitted.predict(features)
    np.testing.assert_allclose(Predictor(data.plan, model).scores(data.raw_valid), expected, rtol=1e-5, atol=1e-5)
    assert model.info["inside"] == ["missing numbers are replaced inside the model (median)"]
    assert model.importance["x"] == pytest.approx(fitted.feature_importances_[data.plan.outputs.index("x")])
    assert model.native is None
    assert roundtrip(model) == model


def test_one_input_one_output_and_golden_rows(ctx, prepared):
    for task in ("binary", "regression"):
        data = prepared(task)
        model = train(ctx, data)
        onnx.checker.check_model(onnx.load_from_string(model.onnx), full_check=True)
        session = onnxruntime.InferenceSession(model.onnx, providers=["CPUExecutionProvider"])
        assert [(v.name, v.shape) for v in session.get_inputs()] == [("features", ["N", len(data.plan.outputs)])]
        expected = [("probabilities", ["N", 2])] if task == "binary" else [("prediction", ["N"])]
        assert [(v.name, v.shape) for v in session.get_outputs()] == expected
        predictor = Predictor(data.plan, model)
        golden = predictor.golden_rows(data.raw_valid)
        assert golden["tolerance"] == 1e-5
        predictor.replay(golden)


def test_the_same_seed_gives_the_same_model(make_context, prepared):
    data = prepared("binary")
    forest = {"estimator": "sklearn.ensemble.RandomForestClassifier", "params": {"n_estimators": 8}}
    models = [train(make_context(seed=seed), data, **forest) for seed in (1, 1, 2)]
    assert models[0] == models[1]
    assert models[0].onnx != models[2].onnx


def test_the_hash_seed_of_the_process_does_not_show(ctx, prepared):
    """skl2onnx writes the operator sets in the order of a set."""
    for task in ("binary", "regression"):
        imports = onnx.load_from_string(train(ctx, prepared(task)).onnx).opset_import
        domains = [entry.domain for entry in imports]
        assert domains == sorted(set(domains))


def test_it_reports_the_validation_loss_and_what_scikit_learn_warns_of(ctx, prepared):
    data = prepared("binary")
    model = train(ctx, data, params={"max_iter": 1})
    scores = Predictor(data.plan, model).scores(data.raw_valid)
    truth = data.plan.encode_target(data.raw_valid).to_numpy()
    loss = -np.log(scores[np.arange(len(truth)), truth]).mean()
    assert ctx.metrics["valid.log_loss"][0][1] == pytest.approx(loss, rel=1e-5)
    assert any("LogisticRegression warns: " in line for line in ctx.logs)
    ctx.metrics.clear()
    train(ctx, prepared("regression"))
    assert list(ctx.metrics) == ["valid.rmse"]


def test_params_of_a_tuner_override(ctx, prepared):
    data = prepared("binary")
    model = train(ctx, data, Params(values={"C": 0.01, "impute": "mean"}), params={"C": 5.0})
    assert model.info["params"]["C"] == 0.01
    assert "(mean)" in model.info["inside"][0]
    with pytest.raises(ConfigError, match="no parameter 'CC'"):
        train(ctx, data, Params(values={"CC": 1}))
    with pytest.raises(ConfigError, match="tolerance"):
        train(ctx, data, Params(values={"tolerance": -1}))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("os.system", "no public name"),
        ("sklearn.os", "no public name"),
        ("sklearn.utils._testing.assert_allclose", "no public name"),
        ("sklearn.utils.fixes.Path", "no estimator"),
        ("sklearn.externals.x.Y", "no public name"),
        ("sklearn.nothing.Here", "no module sklearn.nothing"),
        ("sklearn.linear_model.LogisticRegresion", "Did you mean sklearn.linear_model.LogisticRegression?"),
        ("sklearn.preprocessing.StandardScaler", "is no classifier"),
        ("sklearn.linear_model.Ridge", "is no classifier"),
        ("sklearn.svm.LinearSVC", "gives no probabilities"),
        ("sklearn.ensemble.VotingClassifier", "cannot be made"),
        ("sklearn.linear_model.LogisticRegression; import os", "no public name"),
    ],
)
def test_only_estimators_of_scikit_learn_are_made(ctx, prepared, name, words):
    with pytest.raises(ConfigError) as caught:
        train(ctx, prepared("binary"), estimator=name)
    assert words in str(caught.value)


def test_what_scikit_learn_or_skl2onnx_refuse(ctx, prepared):
    data = prepared("binary")
    with pytest.raises(ConfigError, match=r"Did you mean 'C'|Parameters: "):
        train(ctx, data, params={"D": 1})
    with pytest.raises(DataError, match="LogisticRegression refuses"):
        train(ctx, data, params={"C": -1.0})
    with pytest.raises(DataError, match="refuses the data"):
        train(ctx, data, impute="none")
    with pytest.raises(ExportError, match=r"skl2onnx .* cannot convert DummyClassifier"):
        train(ctx, data, estimator="sklearn.dummy.DummyClassifier")
    with pytest.raises(ValidationError):
        SklearnTrainer.Config(impute="guess")


def test_a_conversion_that_is_wrong_is_found(ctx, prepared):
    """skl2onnx ignores how scikit-learn's forests treat missing values."""
    with pytest.raises(ParityError, match="rows differ between RandomForestClassifier"):
        train(ctx, prepared("binary"), estimator="sklearn.ensemble.RandomForestClassifier", impute="none")


def test_infinite_values_are_named(ctx, prepared):
    data = prepared("binary")
    frame = data.train.frame().with_columns(
        x=pl.when(pl.int_range(pl.len()) == 3).then(np.inf).otherwise("x").cast(pl.Float32)
    )
    stage = SklearnTrainer(SklearnTrainer.Config())
    with pytest.raises(DataError, match=r"training row 3: the feature 'x' is inf"):
        stage.run(ctx, data.plan, Dataset.from_frame(frame), data.valid)


def test_only_categories_and_only_numbers(ctx):
    for column in ({"s": ["a", "b"] * 30}, {"x": [0.0, 1.0] * 30}):
        raw = pl.DataFrame(column | {"y": [False, True] * 30})
        plan = FeaturePlan.fit(raw, target="y", task="binary")
        rows = Dataset.from_frame(plan.transform(raw).with_columns(plan.encode_target(raw)))
        for config in ({}, {"estimator": "sklearn.tree.DecisionTreeClassifier"}, {"scale": False, "impute": "none"}):
            model = SklearnTrainer(SklearnTrainer.Config(**config)).run(ctx, plan, rows, rows)
            assert Predictor(plan, model).predict(raw)["prediction"].to_list() == raw["y"].to_list()


def test_without_the_extra_the_error_is_the_pip_line(ctx, prepared, monkeypatch):
    monkeypatch.setitem(sys.modules, "skl2onnx", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'headrace\[sklearn\]'"):
        train(ctx, prepared("binary"))
