"""Models to serve: a LightGBM package with a column of every type, and plain ONNX graphs; and a client of urllib."""
# ruff: noqa: DTZ001  # datetimes without a zone are among what is tested

from __future__ import annotations

import datetime as dt
import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import polars as pl
from onnx import TensorProto, helper

from headrace import FeaturePlan, Model, ModelVersion, Predictor
from headrace.builtins.lightgbm.export import export

TARGETS = {"binary": "late", "multiclass": "mood", "regression": "gain"}


def frame(n: int = 300) -> pl.DataFrame:
    rng = np.random.default_rng(3)
    x = rng.normal(size=n)
    shop = rng.choice(["north", "süd\n\"'", "east"], n)
    return pl.DataFrame(
        {
            "x": [None if i % 17 == 0 else v for i, v in enumerate(x.tolist())],
            'k "é\n': rng.integers(0, 2**40, n),
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


@dataclass(frozen=True)
class Package:
    """A package in memory."""

    version: ModelVersion
    files: dict[str, bytes]

    @property
    def manifest(self) -> dict[str, Any]:
        return {"files": {name: {} for name in self.files}}

    def read(self, name: str) -> bytes:
        return self.files[name]


def package(task: str, data: pl.DataFrame | None = None) -> tuple[Package, Predictor, pl.DataFrame]:
    """A package, what predicts with it in this process, and rows."""
    data = frame() if data is None else data
    target = TARGETS[task]
    data = data.drop([name for name in TARGETS.values() if name != target])
    plan = FeaturePlan.fit(data, target=target, task=task)
    params = {"objective": task, "verbose": -1, "num_threads": 1, "num_leaves": 7}
    if task == "multiclass":
        params["num_class"] = 3
    features = plan.matrix(data)
    codes = [plan.outputs.index(name) for name in plan.categorical]
    names = [f"f{i}" for i in range(features.shape[1])]
    labels = plan.encode_target(data).to_numpy()
    booster = lightgbm.train(
        params, lightgbm.Dataset(features, labels, feature_name=names, categorical_feature=codes), 12
    )
    text = booster.model_to_string()
    onnx = export(text)
    model = Model(
        task=task, target=target, features=plan.outputs, classes=tuple(plan.classes), onnx=onnx, native=text.encode()
    )
    predictor = Predictor(plan, model)
    files = {
        "plan.json": json.dumps(plan.document).encode(),
        "model.onnx": onnx,
        "golden.json": json.dumps(predictor.golden_rows(data), allow_nan=False).encode(),
    }
    return Package(ModelVersion("shop", 3, "0" * 64), files), predictor, data


def graph(path: Path, features: int = 4, *, rounds: int = 8) -> Path:
    """A LightGBM model of `features` numbers as an ONNX file: `features` in, `probabilities` out."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, features)).astype(np.float32)
    y = (x[:, 0] + x[:, 1] > 0).astype(int)
    params = {"objective": "binary", "verbose": -1, "num_threads": 1, "num_leaves": 15}
    booster = lightgbm.train(params, lightgbm.Dataset(x, y), rounds)
    path.write_bytes(export(booster.model_to_string()))
    return path


def write_onnx(path: Path, nodes: list[Any], inputs: list[Any], outputs: list[Any], **more: Any) -> Path:
    made = helper.make_graph(nodes, "g", inputs, outputs, **more)
    domains = {"": 17} | {node.domain: 3 for node in nodes if node.domain == "ai.onnx.ml"}
    opsets = [helper.make_opsetid(domain, version) for domain, version in domains.items()]
    model = helper.make_model(made, opset_imports=opsets, ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def value(name: str, kind: int, shape: list[Any]) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)


FLOAT = TensorProto.FLOAT


@dataclass(frozen=True)
class Reply:
    status: int
    body: bytes
    headers: dict[str, str]

    @property
    def json(self) -> Any:
        return json.loads(self.body, parse_constant=_no_constant)


def _no_constant(text: str) -> Any:
    raise AssertionError(f"{text} is not JSON")


def ask(
    url: str,
    document: Any = None,
    *,
    body: bytes | None = None,
    method: str | None = None,
    headers: dict[str, str] | None = None,
) -> Reply:
    if document is not None:
        body = json.dumps(document).encode()
    sent = {"Content-Type": "application/json"} if body is not None else {}
    request = urllib.request.Request(  # noqa: S310  # our own server
        url, data=body, method=method, headers=sent | (headers or {})
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as reply:  # noqa: S310
            return Reply(reply.status, reply.read(), {k.lower(): v for k, v in reply.headers.items()})
    except urllib.error.HTTPError as error:
        with error:
            return Reply(error.code, error.read(), {k.lower(): v for k, v in error.headers.items()})


def as_json(cell: Any) -> Any:
    """A value of a frame as a client sends it."""
    if isinstance(cell, dt.datetime | dt.date | dt.time):
        return cell.isoformat()
    if isinstance(cell, dt.timedelta):
        return cell.total_seconds()
    return str(cell) if isinstance(cell, Decimal) else cell


def records(data: pl.DataFrame) -> list[dict[str, Any]]:
    return [{name: as_json(cell) for name, cell in row.items()} for row in data.iter_rows(named=True)]


def columns(data: pl.DataFrame) -> dict[str, list[Any]]:
    return {name: [as_json(cell) for cell in data[name].to_list()] for name in data.columns}


def infer(x: np.ndarray, **more: Any) -> dict[str, Any]:
    """A request of protocol v2 to `graph`; `more` changes its only input."""
    data = {"name": "features", "shape": list(x.shape), "datatype": "FP32", "data": x.ravel().tolist(), **more}
    return {"inputs": [data]}


def rows(n: int, width: int = 4) -> np.ndarray:
    return np.random.default_rng(n).normal(size=(n, width)).astype(np.float32)
