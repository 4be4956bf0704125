"""What it costs to be watched: one row of 20 columns through plan, live window and log, beside the bare graph.

All three answer the same model, LightGBM of 200 trees with 63 leaves, to 64 connections that ask again at once: the
graph without anything; the package, with its feature plan; and the package with live windows and a log of every row.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import polars as pl
import pytest

import headrace
from headrace import FeaturePlan, Model, ModelVersion, Predictor, drift
from headrace.builtins.lightgbm.export import export
from test_serve import load

WORKERS, ROUNDS, CONNECTIONS = 2, 3, 64
LEAST = 0.7


@dataclass(frozen=True)
class Package:
    version: ModelVersion
    files: dict[str, bytes]

    @property
    def manifest(self) -> dict[str, Any]:
        return {"files": {name: {} for name in self.files}}

    def read(self, name: str) -> bytes:
        return self.files[name]


def package() -> tuple[Package, pl.DataFrame]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(20_000, 20))
    y = x[:, :10].sum(1) + np.sin(3 * x[:, 10:]).sum(1) + rng.normal(size=len(x)) > 0
    data = pl.DataFrame({f"column_{i}": x[:, i] for i in range(20)}).with_columns(pl.Series("y", y))
    plan = FeaturePlan.fit(data, target="y", task="binary")
    features = plan.matrix(data)
    params = {"objective": "binary", "verbose": -1, "num_threads": 2, "num_leaves": 63}
    text = lightgbm.train(params, lightgbm.Dataset(features, y.astype(int)), 200).model_to_string()
    onnx = export(text)
    model = Model(
        task="binary", target="y", features=plan.outputs, classes=tuple(plan.classes), onnx=onnx, native=text.encode()
    )
    predictor = Predictor(plan, model)
    files = {
        "plan.json": json.dumps(plan.document).encode(),
        "model.onnx": onnx,
        "golden.json": json.dumps(predictor.golden_rows(data), allow_nan=False).encode(),
        **drift.Reference.fit(predictor, data, data.head(2000)).files(),
    }
    return Package(ModelVersion("model", 1, "0" * 64), files), data


def script(path: Path, document: object) -> Path:
    body = json.dumps(document)
    path.write_text(
        f'wrk.method = "POST"\nwrk.headers["Content-Type"] = "application/json"\nwrk.body = [==[{body}]==]\n'
    )
    return path


@pytest.mark.benchmark(group="serving: watched")
def test_watched(benchmark: Callable[..., object], tmp_path: Path) -> None:
    made, data = package()
    (tmp_path / "model.onnx").write_bytes(made.files["model.onnx"])
    row = {name: round(value, 4) for name, value in data.drop("y").row(0, named=True).items()}
    matrix = script(tmp_path / "matrix.lua", {"instances": [list(row.values())]})
    named = script(tmp_path / "named.lua", {"instances": [row]})
    log = tmp_path / "log"
    rates: dict[str, list[float]] = {"graph": [], "package": [], "watched": []}
    with (
        headrace.Server(tmp_path / "model.onnx", workers=WORKERS) as graph,
        headrace.Server(made, workers=WORKERS, window=None) as plain,
        headrace.Server(made, workers=WORKERS, log=log) as watched,
    ):

        def all_in_turn() -> None:
            rates["graph"].append(load(graph.url, matrix, CONNECTIONS)[0])
            rates["package"].append(load(plain.url, named, CONNECTIONS)[0])
            rates["watched"].append(load(watched.url, named, CONNECTIONS)[0])

        benchmark.pedantic(all_in_turn, rounds=ROUNDS, iterations=1)
        counted = sum(window.rows for window in watched.windows())
        answered = watched._core.totals()[1]
    logged = sum(pl.read_ipc(path, columns=["row"]).height for path in log.glob("*.arrow"))
    graph_rate, plain_rate, watched_rate = (statistics.median(rates[name]) for name in ("graph", "package", "watched"))
    benchmark.extra_info.update(
        requests_per_second_of_the_graph=round(graph_rate),
        package_over_graph=round(plain_rate / graph_rate, 3),
        watched_over_graph=round(watched_rate / graph_rate, 3),
        watched_over_package=round(watched_rate / plain_rate, 3),
        counted_of_answered=round(counted / answered, 4),
        logged_of_answered=round(logged / answered, 4),
    )
    assert watched_rate >= LEAST * graph_rate
    assert counted >= 0.99 * answered
