"""Predictions from raw rows, against LightGBM and against arithmetic; golden rows; what a package may not be."""
# ruff: noqa: DTZ001  # datetimes without a zone are among what is tested

from __future__ import annotations

import copy
import datetime as dt
import json
import math
from dataclasses import replace
from decimal import Decimal

import lightgbm
import numpy as np
import onnx
import polars as pl
import pytest
from onnx import TensorProto, helper, numpy_helper

from headrace import FeaturePlan, Model, ModelVersion, Predictor
from headrace.builtins.lightgbm.export import export
from headrace.errors import ConfigError, DataError, HeadraceError, ModelFormatError


def frame(n: int = 400) -> pl.DataFrame:
    rng = np.random.default_rng(3)
    x = rng.normal(size=n)
    shop = rng.choice(["north", "south", "east"], n)
    return pl.DataFrame(
        {
            "x": [None if i % 17 == 0 else v for i, v in enumerate(x.tolist())],
            "k": rng.integers(0, 2**40, n),
            "shop": shop.tolist(),
            "ok": (rng.random(n) < 0.5).tolist(),
            "price": [Decimal(int(v)) / 100 for v in rng.integers(0, 9999, n)],
            "at": [dt.datetime(2024, 1, 1) + dt.timedelta(hours=7 * i) for i in range(n)],
            "zoned": pl.Series(
                [dt.datetime(2024, 1, 1) + dt.timedelta(hours=i) for i in range(n)]
            ).dt.replace_time_zone("UTC"),
            "day": [dt.date(2024, 1, 1) + dt.timedelta(days=i) for i in range(n)],
            "clock": [dt.time(i % 24, i % 60) for i in range(n)],
            "took": [dt.timedelta(milliseconds=i) for i in range(n)],
            "late": (x + (shop == "north") > 0.5).tolist(),
            "mood": np.where(x > 0.7, "up", np.where(x < -0.7, "down", "flat")).tolist(),
            "gain": (3 * x + rng.normal(size=n)).tolist(),
        }
    )


TARGETS = {"binary": "late", "multiclass": "mood", "regression": "gain"}


def trained(task: str) -> tuple[FeaturePlan, Model, lightgbm.Booster, pl.DataFrame]:
    data = frame()
    target = TARGETS[task]
    data = data.drop([name for name in TARGETS.values() if name != target])
    plan = FeaturePlan.fit(data, target=target, task=task)
    params = {"objective": task, "verbose": -1, "num_threads": 1, "num_leaves": 7}
    if task == "multiclass":
        params["num_class"] = 3
    features = plan.matrix(data)
    codes = [plan.outputs.index(name) for name in plan.categorical]
    names = [f"f{i}" for i in range(features.shape[1])]
    made = lightgbm.Dataset(
        features, plan.encode_target(data).to_numpy(), feature_name=names, categorical_feature=codes
    )
    booster = lightgbm.train(params, made, 12)
    text = booster.model_to_string()
    model = Model(
        task=task,
        target=target,
        features=plan.outputs,
        classes=tuple(plan.classes),
        onnx=export(text),
        native=text.encode(),
    )
    return plan, model, booster, data


@pytest.fixture(scope="module", params=sorted(TARGETS))
def case(request):
    return trained(request.param)


@pytest.fixture(scope="module")
def binary():
    return trained("binary")


def package_of(predictor: Predictor, rows: pl.DataFrame, **changes: bytes):
    files = {
        "plan.json": json.dumps(predictor.plan.document).encode(),
        "model.onnx": predictor.model.onnx,
        "golden.json": json.dumps(predictor.golden_rows(rows), allow_nan=False).encode(),
        **{name.replace("_", "."): data for name, data in changes.items()},
    }

    class Package:
        version = ModelVersion(name="m", number=1, package="0" * 64)
        manifest: dict = {}  # noqa: RUF012

        def read(self, name: str) -> bytes:
            return files[name]

    return Package()


def message(call, kind: type[HeadraceError] = ModelFormatError) -> str:
    with pytest.raises(kind) as caught:
        call()
    return str(caught.value)


# --- predictions ----------------------------------------------------------------------------------------------------


def test_scores_are_those_of_lightgbm(case):
    plan, model, booster, data = case
    scores = Predictor(plan, model).scores(data)
    expected = booster.predict(plan.matrix(data))
    if plan.task == "binary":
        expected = np.stack([1 - expected, expected], axis=1)
    assert scores.dtype == np.float64
    assert scores.shape == expected.shape
    np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-6)


def test_predictions_have_labels_in_the_type_of_the_target(case):
    plan, model, _, data = case
    predictor = Predictor(plan, model)
    got = predictor.predict(data)
    scores = predictor.scores(data)
    assert got.height == data.height
    assert got["prediction"].dtype == data[plan.target].dtype
    if plan.task == "regression":
        assert got.columns == ["prediction"]
        assert got["prediction"].to_list() == scores.tolist()
        return
    names = {"binary": ["false", "true"], "multiclass": ["down", "flat", "up"]}[plan.task]
    assert got.columns == ["prediction", *(f"probability_{name}" for name in names)]
    assert np.array_equal(got[:, 1:].to_numpy(), scores)
    assert got["prediction"].to_list() == [plan.classes[row.index(max(row))] for row in scores.tolist()]
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-6)


def test_row_by_row_and_on_any_number_of_threads_the_bits_are_the_same(case):
    plan, model, _, data = case
    whole = Predictor(plan, model).scores(data)
    assert np.array_equal(whole, Predictor(plan, model, threads=2).scores(data))
    one = Predictor(plan, model)
    assert np.array_equal(whole[:40], np.concatenate([one.scores(data[i : i + 1]) for i in range(40)]))
    assert one.scores(data[:0]).shape == (0, *whole.shape[1:])
    assert one.predict(data[:0]).height == 0


def test_blocks_do_not_show(binary, monkeypatch):
    plan, model, _, data = binary
    whole = Predictor(plan, model).scores(data)
    monkeypatch.setattr("headrace.compute.inference._ROWS_AT_ONCE", 7)
    assert np.array_equal(whole, Predictor(plan, model).scores(data))


def test_columns_are_found_by_name_and_never_guessed(binary):
    plan, model, _, data = binary
    predictor = Predictor(plan, model)
    whole = predictor.scores(data)
    shuffled = data.select(sorted(data.columns)).with_columns(surplus=pl.lit("?"))
    assert np.array_equal(whole, predictor.scores(shuffled))
    assert np.array_equal(whole, predictor.scores(data.drop("late")))  # the target is not needed
    assert np.array_equal(whole, predictor.scores(data.to_arrow()))
    assert "column 'shop'" in message(lambda: predictor.predict(data.drop("shop")), DataError)
    swapped = data.rename({"x": "shop", "shop": "x"})
    assert "column 'x', row 0" in message(lambda: predictor.predict(swapped), DataError)


def test_missing_values_and_categories_never_seen_are_predicted(case):
    plan, model, booster, data = case
    odd = data[:3].with_columns(
        shop=pl.Series(["west", None, ""]), x=pl.Series([math.nan, math.inf, -math.inf]), ok=pl.Series([None] * 3)
    )
    scores = Predictor(plan, model).scores(odd)
    expected = booster.predict(plan.matrix(odd))
    np.testing.assert_allclose(
        scores[..., -1] if plan.classes else scores,
        expected[..., -1] if plan.task == "multiclass" else expected,
        atol=1e-6,
    )


def test_the_runtime_says_nothing(binary, capfd):
    plan, model, _, data = binary
    Predictor(plan, model).predict(data)
    said = capfd.readouterr()
    assert said.out == ""
    assert said.err == ""


def test_scores_of_features_checks_their_shape(binary):
    plan, model, _, data = binary
    predictor = Predictor(plan, model)
    features = plan.matrix(data)
    assert np.array_equal(predictor.scores_of(features), predictor.scores(data))
    assert np.array_equal(predictor.scores_of(np.asfortranarray(features)), predictor.scores(data))
    for wrong in (features[:, 1:], features.astype(np.float64), features[0]):
        assert "float32 features of the shape" in message(lambda wrong=wrong: predictor.scores_of(wrong), DataError)


# --- models that are none --------------------------------------------------------------------------------------------


def test_a_model_and_a_plan_that_do_not_belong_together(binary):
    plan, model, _, _ = binary
    for changes, word in (
        ({"features": plan.outputs[::-1]}, "features"),
        ({"classes": (0, 1)}, "classes"),
        ({"target": "x"}, "target"),
        ({"task": "multiclass"}, "task"),
    ):
        assert word in message(lambda changes=changes: Predictor(plan, replace(model, **changes)))
    with pytest.raises(ConfigError):
        Predictor(plan, model, threads=0)


@pytest.mark.parametrize("data", [b"", b"not onnx", b"\x80\x04pickle", b"\x08\x0a"])
def test_bytes_that_are_no_model(binary, data):
    plan, model, _, _ = binary
    assert "model.onnx" in message(lambda: Predictor(plan, replace(model, onnx=data)))


def identity(plan: FeaturePlan, **changes) -> bytes:
    """A model that gives zeros (NaN for NaN), with something changed."""
    width, classes = len(plan.outputs), len(plan.classes)
    names = {"input": "features", "output": "probabilities", "width": width, "classes": classes} | changes
    weights = numpy_helper.from_array(np.zeros((names["width"], names["classes"]), np.float32), "w")
    if "external" in changes:
        weights.ClearField("raw_data")
        weights.data_location = TensorProto.EXTERNAL
        weights.external_data.add(key="location", value="../../etc/passwd")
    graph = helper.make_graph(
        [helper.make_node("MatMul", [names["input"], "w"], [names["output"]])],
        "g",
        [helper.make_tensor_value_info(names["input"], TensorProto.FLOAT, ["N", names["width"]])],
        [helper.make_tensor_value_info(names["output"], TensorProto.FLOAT, ["N", names["classes"]])],
        [weights],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return made.SerializeToString()


def test_a_graph_with_other_inputs_or_outputs(binary):
    plan, model, _, data = binary
    assert not np.nanmax(Predictor(plan, replace(model, onnx=identity(plan))).scores(data))
    for changes in ({"input": "x"}, {"output": "label"}, {"width": 3}, {"classes": 5}):
        text = message(lambda changes=changes: Predictor(plan, replace(model, onnx=identity(plan, **changes))))
        assert "expected one" in text


# --- golden rows ----------------------------------------------------------------------------------------------------


def test_a_package_predicts_what_the_model_predicted(case):
    plan, model, _, data = case
    predictor = Predictor(plan, model)
    loaded = Predictor.from_package(package_of(predictor, data), threads=2)
    assert loaded.predict(data).equals(predictor.predict(data))


def test_golden_rows_are_json_and_hold_the_edges(case):
    plan, model, _, data = case
    golden = Predictor(plan, model).golden_rows(data, n=5)
    json.dumps(golden, allow_nan=False)
    assert len(golden["rows"]) == len(golden["scores"]) == len(golden["features"]) == 7
    assert golden["rows"][-2] == [None] * len(plan.inputs)
    assert golden["tolerance"] == 0.0
    assert [entry["name"] for entry in golden["inputs"]] == list(plan.inputs)
    assert len(Predictor(plan, model).golden_rows(data[:2], n=5)["rows"]) == 4
    assert "at least one row" in message(lambda: Predictor(plan, model).golden_rows(data[:0]), DataError)


def changed(golden, path, value):
    made = copy.deepcopy(golden)
    at = made
    for key in path[:-1]:
        at = at[key]
    if value is KeyError:
        del at[path[-1]]
    else:
        at[path[-1]] = value(at[path[-1]]) if callable(value) else value
    return made


def next_float32(value: float) -> float:
    return float(np.nextafter(np.float32(value), np.float32(np.inf)))


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (["scores", 1, 0], next_float32, "golden row 1 gives the score 'false'"),
        (["features", 2, 0], next_float32, "golden row 2 gives the feature 'x'"),
        (["features", 2, 0], "nan", "'x' as"),
        (["rows", 0, 2], "south-east", "golden row 0 gives the feature 'shop'"),
        (["plan"], "0" * 64, "another feature plan"),
        (["inputs", 0, "type"], "int64", "another feature plan"),
        (["format"], 2, "format 2"),
        (["rows", 0], [], "number of values"),
        (["rows", 0, 0], "abc", "damaged"),
        (["rows", 0, 1], 1.5, "damaged"),
        (["scores"], KeyError, "damaged"),
        (["scores"], [[0.5, 0.5]], "shape"),
        (["made_with"], {}, "damaged"),
        (["tolerance"], "many", "damaged"),
    ],
)
def test_a_changed_bit_refuses(binary, path, value, words):
    plan, model, _, data = binary
    predictor = Predictor(plan, model)
    golden = predictor.golden_rows(data)
    predictor.replay(golden)
    damaged = changed(golden, path, value)
    assert words in message(lambda: predictor.replay(damaged))
    package = package_of(predictor, data, golden_json=json.dumps(damaged).encode())
    assert words in message(lambda: Predictor.from_package(package))


def test_a_score_may_move_a_little_only_with_another_runtime(binary):
    plan, model, _, data = binary
    predictor = Predictor(plan, model)
    moved = changed(predictor.golden_rows(data), ["scores", 0, 0], next_float32)
    moved["made_with"]["onnxruntime"] = "0.1"
    predictor.replay(moved)
    far = changed(moved, ["scores", 0, 0], lambda value: value + 1e-4)
    assert "made with ONNX Runtime 0.1" in message(lambda: predictor.replay(far))


def test_another_model_does_not_pass_for_this_one(binary):
    plan, model, _, data = binary
    other = package_of(Predictor(plan, model), data, model_onnx=identity(plan))
    assert "score" in message(lambda: Predictor.from_package(other))


def test_a_package_whose_parts_are_damaged(binary):
    plan, model, _, data = binary
    predictor = Predictor(plan, model)
    assert "plan.json" in message(lambda: Predictor.from_package(package_of(predictor, data, plan_json=b"{")))
    assert "JSON object" in message(lambda: Predictor.from_package(package_of(predictor, data, plan_json=b"[]")))
    assert "model.onnx" in message(lambda: Predictor.from_package(package_of(predictor, data, model_onnx=b"junk")))
    outside = package_of(predictor, data, model_onnx=identity(plan, external=True))
    assert "another file" in message(lambda: Predictor.from_package(outside))


def test_columns_with_odd_names_survive_the_package():
    data = frame().select("x", "shop", "late").rename({"x": "", "shop": 'a "🦆"\n'})
    plan = FeaturePlan.fit(data, target="late", task="binary")
    model = Model(task="binary", target="late", features=plan.outputs, classes=tuple(plan.classes), onnx=identity(plan))
    loaded = Predictor.from_package(package_of(Predictor(plan, model), data))
    assert loaded.predict(data).columns == ["prediction", "probability_false", "probability_true"]


def test_the_model_onnx_is_checked_by_onnx_itself(binary):
    onnx.checker.check_model(onnx.load_from_string(binary[1].onnx))
