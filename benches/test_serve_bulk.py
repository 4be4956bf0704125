"""100,000 rows of 20 numbers in one request: Arrow, binary tensors and JSON beside onnxruntime called directly.

LightGBM of 200 trees with 63 leaves. Everybody has all the processors; the client shares them with the server. Answers
are compared first. The direct call begins with a matrix and ends with one, the request with a table and ends with one.
"""

from __future__ import annotations

import io
import json
import statistics
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import lightgbm
import numpy as np
import onnxruntime
import pyarrow as pa
import pytest

import headrace
from headrace.builtins.lightgbm.export import export

ROWS = 100_000
PAIRS = 7
STREAM = "application/vnd.apache.arrow.stream"
LENGTH = "Inference-Header-Content-Length"


def post(url: str, body: bytes, headers: dict[str, str]) -> tuple[bytes, dict[str, str]]:
    request = urllib.request.Request(url, data=body, headers=headers)  # noqa: S310
    with urllib.request.urlopen(request, timeout=120) as reply:  # noqa: S310
        return reply.read(), {name.lower(): value for name, value in reply.headers.items()}


def arrow(url: str, table: pa.Table) -> np.ndarray:
    out = io.BytesIO()
    with pa.ipc.new_stream(out, table.schema) as writer:
        writer.write_table(table)
    body, _ = post(f"{url}/invocations", out.getvalue(), {"Content-Type": STREAM})
    column = pa.ipc.open_stream(body).read_all()["probabilities"].combine_chunks()
    return column.flatten().to_numpy().reshape(len(column), -1)


def binary(url: str, x: np.ndarray) -> np.ndarray:
    given = {"name": "features", "shape": x.shape, "datatype": "FP32", "parameters": {"binary_data_size": x.nbytes}}
    head = json.dumps({"inputs": [given], "parameters": {"binary_data_output": True}}).encode()
    body, headers = post(f"{url}/v2/models/model/infer", head + x.tobytes(), {LENGTH: str(len(head))})
    return np.frombuffer(body[int(headers[LENGTH.lower()]) :], np.float32).reshape(len(x), -1)


def as_json(url: str, x: np.ndarray) -> np.ndarray:
    given = {"name": "features", "shape": x.shape, "datatype": "FP32", "data": x.ravel().tolist()}
    body, _ = post(f"{url}/v2/models/model/infer", json.dumps({"inputs": [given]}).encode(), {})
    return np.float32(json.loads(body)["outputs"][0]["data"]).reshape(len(x), -1)


def timed(work: Callable[[], np.ndarray]) -> tuple[float, np.ndarray]:
    began = time.perf_counter()
    answer = work()
    return time.perf_counter() - began, answer


@pytest.mark.benchmark(group="serving: 100,000 rows at once")
def test_bulk(benchmark: Callable[..., object], tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(ROWS, 20)).astype(np.float32)
    y = (x[:, :10].sum(1) + np.sin(3 * x[:, 10:]).sum(1) + rng.normal(size=len(x)) > 0).astype(int)
    params = {"objective": "binary", "verbose": -1, "num_threads": 2, "num_leaves": 63}
    path = tmp_path / "model.onnx"
    path.write_bytes(export(lightgbm.train(params, lightgbm.Dataset(x[:20_000], y[:20_000]), 200).model_to_string()))
    table = pa.table({f"c{i}": column for i, column in enumerate(np.ascontiguousarray(x.T))})
    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    with headrace.Server(path, max_rows=ROWS, max_body_bytes=128 << 20, deadline=60, engine="onnxruntime") as server:
        ways: dict[str, Callable[[], np.ndarray]] = {
            "direct": lambda: session.run(None, {"features": x})[0],
            "arrow": lambda: arrow(server.url, table),
            "binary": lambda: binary(server.url, x),
            "json": lambda: as_json(server.url, x),
        }
        taken: dict[str, list[float]] = {name: [] for name in ways}
        wanted = ways["direct"]()
        for name, way in ways.items():
            np.testing.assert_array_equal(way(), wanted, name)

        def once() -> None:
            for name, way in ways.items():
                taken[name].append(timed(way)[0])

        benchmark.pedantic(once, rounds=PAIRS, iterations=1)
    pairs = {
        name: statistics.median(ours / direct for ours, direct in zip(taken[name], taken["direct"], strict=True))
        for name in ways
    }
    benchmark.extra_info.update({f"{name}_over_direct": round(pairs[name], 2) for name in ("arrow", "binary", "json")})
    benchmark.extra_info["direct_seconds"] = round(statistics.median(taken["direct"]), 3)
    assert pairs["arrow"] <= 1.3
