"""Graphs that are one tree ensemble: walked in Rust, with the answers of onnxruntime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper

import headrace
from headrace.builtins.lightgbm.export import export
from headrace.errors import ModelFormatError, ServingError
from serving.served import ask, infer

F = 6
ROWS = 400

OBJECTIVES: list[dict[str, Any]] = [
    {"objective": "binary"},
    {"objective": "binary", "sigmoid": 0.3},
    {"objective": "multiclass", "num_class": 3},
    {"objective": "multiclassova", "num_class": 3},
    {"objective": "regression"},
    {"objective": "regression", "reg_sqrt": True},
    {"objective": "poisson"},
    {"objective": "cross_entropy"},
    {"objective": "cross_entropy_lambda"},
    {"objective": "binary", "boosting": "rf", "bagging_fraction": 0.5, "bagging_freq": 1},
    {"objective": "regression", "use_missing": False},
]


def data() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    x = rng.normal(size=(2000, F)).astype(np.float32).round(2)
    x[rng.random(x.shape) < 0.1] = np.nan
    return x, np.nan_to_num(x[:, 0] + np.sin(3 * x[:, 1])) + rng.normal(size=len(x)) / 3


def booster(params: dict[str, Any], **dataset: Any) -> lightgbm.Booster:
    x, y = data()
    kind = params["objective"]
    if kind.startswith("multiclass"):
        y = np.digitize(y, [-0.5, 0.5])
    elif kind in ("binary", "cross_entropy", "cross_entropy_lambda"):
        y = (y > 0).astype(int)
    elif kind == "poisson":
        y = np.abs(y).round()
    settings = {"num_leaves": 31, "min_data_in_leaf": 5, "verbose": -1, "num_threads": 1, **params}
    return lightgbm.train(settings, lightgbm.Dataset(x, y, **dataset), 40)


def hard(model: lightgbm.Booster) -> np.ndarray:
    """Thresholds, the floats beside them, infinities, NaN and numbers of all sizes, by chance."""
    rng = np.random.default_rng(7)
    table = model.trees_to_dataframe()
    splits = np.array([float(one) for one in table.threshold.dropna()])
    splits = splits[np.abs(splits) < 1e30].astype(np.float32)  # LightGBM's infinity is 1e300
    some = np.concatenate(
        [splits, np.nextafter(splits, np.float32(9)), np.nextafter(splits, np.float32(-9)), rng.normal(size=50)]
    )
    special = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-38, -1e-45, 3e38]
    return rng.choice(np.concatenate([some, np.tile(special, 10)]), (ROWS, F)).astype(np.float32)


def answers(path: Path, x: np.ndarray, name: str, **options: Any) -> tuple[str, np.ndarray]:
    with headrace.Server(path, workers=1, max_rows=len(x), **options) as server:
        document = infer(x, datatype="FP32", name=name)
        reply = ask(f"{server.url}/v2/models/{path.stem}/infer", document)
        assert reply.status == 200, reply.body
        (output,) = reply.json["outputs"]
        alone = ask(f"{server.url}/v2/models/{path.stem}/infer", infer(x[:1], datatype="FP32", name=name)).json
        assert alone["outputs"][0]["data"] == output["data"][: len(alone["outputs"][0]["data"])]
        values = [np.nan if value is None else value for value in output["data"]]
        return server.engine, np.array(values, np.float32).reshape(output["shape"])


def expected(path: Path, x: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    (output,) = session.run(None, {session.get_inputs()[0].name: x})
    # JSON has no infinity.
    return np.where(np.isfinite(output), output, np.float32(np.nan))


@pytest.mark.parametrize("params", OBJECTIVES, ids=lambda params: "-".join(str(value) for value in params.values()))
def test_every_objective_gives_what_onnxruntime_gives(tmp_path, params):
    model = booster(params)
    path = tmp_path / "m.onnx"
    path.write_bytes(export(model.model_to_string()))
    x = hard(model)
    engine, found = answers(path, x, "features", engine="trees")
    assert engine == "trees"
    # The sums are exact; softmax and exp of two libraries may differ in the last of 53 bits, which seldom shows in 24.
    np.testing.assert_allclose(found, expected(path, x), rtol=2e-7, atol=1e-12)
    assert np.mean(found == expected(path, x)) + np.mean(np.isnan(found)) > 0.99


@pytest.mark.parametrize(("base", "aggregate"), [([0.25], "SUM"), (None, None)])
def test_regressors_of_other_exporters_are_walked(tmp_path, base, aggregate):
    # Two trees: x0 <= 0.5 ? (x1 <= -1 ? 1 : 2) : 4, and x1 <= 2 ? 8 : 16, where a missing x0 goes low.
    optional = {} if base is None else {"base_values": base, "aggregate_function": aggregate}
    node = helper.make_node(
        "TreeEnsembleRegressor",
        ["x"],
        ["y"],
        domain="ai.onnx.ml",
        n_targets=1,
        nodes_treeids=[0, 0, 0, 0, 0, 1, 1, 1],
        nodes_nodeids=[0, 1, 2, 3, 4, 0, 1, 2],
        nodes_featureids=[0, 1, 0, 0, 0, 1, 0, 0],
        nodes_values=[0.5, -1.0, 0.0, 0.0, 0.0, 2.0, 0.0, 0.0],
        nodes_modes=["BRANCH_LEQ", "BRANCH_LEQ", "LEAF", "LEAF", "LEAF", "BRANCH_LEQ", "LEAF", "LEAF"],
        nodes_truenodeids=[1, 3, 0, 0, 0, 1, 0, 0],
        nodes_falsenodeids=[2, 4, 0, 0, 0, 2, 0, 0],
        nodes_missing_value_tracks_true=[1, 0, 0, 0, 0, 0, 0, 0],
        target_treeids=[0, 0, 0, 1, 1],
        target_nodeids=[2, 3, 4, 1, 2],
        target_ids=[0] * 5,
        target_weights=[4.0, 1.0, 2.0, 8.0, 16.0],
        **optional,
    )
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 2])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 1])]
    graph = helper.make_graph([node], "trees", inputs, outputs)
    opsets = [helper.make_opsetid("", 19), helper.make_opsetid("ai.onnx.ml", 3)]
    path = tmp_path / "r.onnx"
    path.write_bytes(helper.make_model(graph, ir_version=9, opset_imports=opsets).SerializeToString())
    values = np.array([-np.inf, -1.0, 0.0, 0.5, 0.6, 2.0, 2.1, np.inf, np.nan], np.float32)
    x = np.stack(np.meshgrid(values, values), -1).reshape(-1, 2)
    engine, found = answers(path, x, "x", engine="trees")
    assert engine == "trees"
    np.testing.assert_array_equal(found, expected(path, x))


def test_what_is_no_ensemble_alone_is_onnxruntimes(tmp_path):
    x, y = data()
    coded = np.column_stack([x[:, :1], np.random.default_rng(0).integers(0, 9, len(x))]).astype(np.float32)
    params = {"objective": "regression", "verbose": -1, "num_threads": 1, "min_data_per_group": 1}
    model = lightgbm.train(params, lightgbm.Dataset(coded, y + coded[:, 1] % 3, categorical_feature=[1]), 5)
    path = tmp_path / "c.onnx"
    path.write_bytes(export(model.model_to_string()))
    engine, found = answers(path, coded[:50], "features")
    assert engine == "onnxruntime"
    np.testing.assert_array_equal(found, expected(path, coded[:50]))
    with pytest.raises(ModelFormatError, match="not one tree ensemble"):
        headrace.Server(path, engine="trees")


def test_the_engine_can_be_chosen(tmp_path):
    path = tmp_path / "m.onnx"
    path.write_bytes(export(booster({"objective": "binary"}).model_to_string()))
    with headrace.Server(path, workers=1, engine="onnxruntime") as server:
        assert server.engine == "onnxruntime"
    with headrace.Server(path, workers=1) as server:
        assert server.engine in {"trees", "onnxruntime"}
    with pytest.raises(ServingError, match="engine is 'fast', expected auto"):
        headrace.Server(path, engine="fast")
