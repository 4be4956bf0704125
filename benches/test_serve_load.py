"""The server at twice what it can do, and batching beside none.

Goodput: answers a second that came within the deadline. Its peak is what a few clients get that ask again as soon as
they are answered (`wrk`). Then it is asked for twice as much, in two ways: open loop, where requests leave at fixed
times whatever became of those before (`serving/open_loop.py`, of 1000 connections; latency counts from when a request
should have left), and as `wrk` does it, 600 clients that ask again at once when they are refused, whatever
`Retry-After` says. Figures are medians of ratios taken in turn. *Apart*: what loads has the first processor, and the
server the others, at its peak as well; *together*: all share all, and what it costs to ask for twice as much is missing
to the server.

Batching: `max_batch_rows=1` beside the default, on a network whose weights are read once a batch, a pipeline of many
small nodes, trees and a single node. What is predicted: with `h` of a request outside the engine and `t(n)` in it,
`(h + t(1)) / (h + t(n)/n)`, where `t` is measured with onnxruntime, `h` is what is left of a request's time without
batching, and `n` the mean batch that formed.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import headrace
from headrace.builtins.lightgbm.export import export
from serving.servers import on

HERE = Path(__file__).parent
FEATURES = 20
DEADLINE = 0.2
SECONDS = 3
ROUNDS = 3
CONNECTIONS = 1000
FLOAT = TensorProto.FLOAT


def write(path: Path, nodes: list[Any], last: str, weights: dict[str, np.ndarray]) -> Path:
    shape = [None, FEATURES]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", FLOAT, shape)],
        [helper.make_tensor_value_info(last, FLOAT, [None, None])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    opsets = [helper.make_opsetid("", 17)]
    path.write_bytes(helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString())
    return path


def network(path: Path, width: int, layers: int) -> Path:
    """A perceptron: what a row costs is to read the weights, which a batch does once."""
    rng = np.random.default_rng(0)
    sizes = [FEATURES, *[width] * layers, 1]
    nodes, weights, last = [], {}, "x"
    for number, (a, b) in enumerate(itertools.pairwise(sizes)):
        weights[f"w{number}"] = (rng.normal(size=(a, b)) / np.sqrt(a)).astype(np.float32)
        nodes.append(helper.make_node("MatMul", [last, f"w{number}"], [f"m{number}"]))
        nodes.append(helper.make_node("Tanh", [f"m{number}"], [f"y{number}"]))
        last = f"y{number}"
    return write(path, nodes, last, weights)


def pipeline(path: Path, steps: int) -> Path:
    """Many nodes, each of which does little: as exported pipelines of transformations are."""
    rng = np.random.default_rng(0)
    nodes, weights, last = [], {}, "x"
    for number in range(steps):
        kind = ("Add", "Mul")[number % 2]
        weights[f"w{number}"] = rng.normal(size=(1, FEATURES)).astype(np.float32)
        nodes.append(helper.make_node(kind, [last, f"w{number}"], [f"y{number}"]))
        nodes.append(helper.make_node("Tanh", [f"y{number}"], [f"z{number}"]))
        last = f"z{number}"
    return write(path, nodes, last, weights)


def trees(path: Path) -> Path:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(5000, FEATURES)).astype(np.float32)
    y = (x[:, :5].sum(1) > 0).astype(int)
    params = {"objective": "binary", "verbose": -1, "num_threads": 2, "num_leaves": 31}
    path.write_bytes(export(lightgbm.train(params, lightgbm.Dataset(x, y), 100).model_to_string()))
    return path


def script(folder: Path) -> tuple[Path, bytes]:
    body = json.dumps({"instances": [[round(0.1 * i, 1) for i in range(FEATURES)]]})
    path = folder / "post.lua"
    path.write_text(
        f'wrk.method = "POST"\nwrk.headers["Content-Type"] = "application/json"\nwrk.body = [==[{body}]==]\n'
        "function done(summary, latency, requests)\n"
        "  io.write(string.format('TOTAL %d REFUSED %d TOOK %d\\n', "
        "summary.requests, summary.errors.status, summary.duration))\n"
        "end\n"
    )
    return path, body.encode()


def closed(url: str, lua: Path, connections: int, seconds: int = SECONDS) -> tuple[float, float]:
    """Answers and refusals a second of clients that ask again at once."""
    wrk = shutil.which("wrk")
    if wrk is None:
        pytest.skip("wrk is not installed: apt install wrk")
    command = [wrk, "-t1", f"-c{connections}", f"-d{seconds}", "--timeout", "10s", "-s", str(lua), url]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = re.search(r"TOTAL (\d+) REFUSED (\d+) TOOK (\d+)", out)
    assert found, out
    total, refused, took = map(int, found.groups())
    return (total - refused) / took * 1e6, refused / took * 1e6


def opened(server: headrace.Server, path: str, body: bytes, *, rate: float) -> dict[str, float]:
    """What became of requests that left at fixed times."""
    head = f"POST {path} HTTP/1.1\r\nHost: {server.host}\r\nContent-Type: application/json\r\n"
    sent = head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body
    command = [sys.executable, HERE / "serving" / "open_loop.py", server.host, str(server.port), str(rate)]
    command += [str(SECONDS), str(CONNECTIONS), str(DEADLINE)]
    return json.loads(subprocess.run(command, input=sent, check=True, capture_output=True).stdout)


@pytest.mark.benchmark(group="serving: twice what it can do")
@pytest.mark.parametrize("where", ["apart", "together"])
def test_goodput_at_twice_capacity(benchmark: Callable[..., object], tmp_path: Path, where: str) -> None:
    path = network(tmp_path / "m.onnx", 2000, 3)
    lua, body = script(tmp_path)
    processors = sorted(os.sched_getaffinity(0))
    if where == "apart" and len(processors) < 2:
        pytest.skip("one processor cannot be parted")
    theirs, ours = ({processors[0]}, set(processors[1:])) if where == "apart" else (set(processors), set(processors))
    peaks: list[float] = []
    in_time: list[float] = []
    late: list[float] = []
    at_once: list[float] = []
    refusals: list[float] = []
    with contextlib.ExitStack() as stack:
        with on(ours):
            server = stack.enter_context(
                headrace.Server(path, workers=len(ours), deadline=DEADLINE, max_batch_rows=1),
            )
        stack.enter_context(on(theirs))
        route = "/v1/models/m:predict"

        def one() -> None:
            peak, none = closed(server.url + route, lua, 16)
            assert none == 0
            peaks.append(peak)
            seen = opened(server, route, body, rate=2 * peak)
            assert seen["refused"]
            assert seen["errors"] == seen["refused"]
            assert seen["bare"] == 0
            assert seen["unanswered"] == 0
            in_time.append(seen["good"] / peak)
            late.append(seen["behind"])
            good, refused = closed(server.url + route, lua, 600)
            at_once.append(good / peak)
            refusals.append(refused)

        benchmark.pedantic(one, rounds=ROUNDS, iterations=1)
    benchmark.extra_info.update(
        peak=round(statistics.median(peaks)),
        open_loop=[round(ratio, 3) for ratio in in_time],
        late=late,
        refused_clients_at_once=[round(ratio, 3) for ratio in at_once],
        refusals_a_second=round(statistics.median(refusals)),
    )
    print(where, benchmark.extra_info)
    assert statistics.median(in_time) >= 0.9
    assert statistics.median(at_once) >= 0.9


def times(path: Path, rows: int) -> float:
    """Seconds that ONNX Runtime takes for so many rows."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options)
    given = {session.get_inputs()[0].name: np.ones((rows, FEATURES), np.float32)}
    best = np.inf
    for _ in range(200):
        began = time.perf_counter()
        session.run(None, given)
        best = min(best, time.perf_counter() - began)
    return float(best)


def batch(server: headrace.Server) -> float:
    """Rows of a batch, in the mean."""
    with urllib.request.urlopen(f"{server.url}/metrics") as reply:  # noqa: S310
        text = reply.read().decode()
    total, count = (
        float(re.search(rf"^headrace_batch_rows_{kind}{{[^}}]*}} (\S+)", text, re.MULTILINE)[1])  # type: ignore[index]
        for kind in ("sum", "count")
    )
    return total / count


@pytest.mark.benchmark(group="serving: batching against none")
@pytest.mark.parametrize("what", ["network", "pipeline", "trees", "one node"])
def test_batching_against_none(benchmark: Callable[..., object], tmp_path: Path, what: str) -> None:
    make = {
        "network": lambda: network(tmp_path / "m.onnx", 512, 2),
        "pipeline": lambda: pipeline(tmp_path / "m.onnx", 20),
        "trees": lambda: trees(tmp_path / "m.onnx"),
        "one node": lambda: pipeline(tmp_path / "m.onnx", 1),
    }
    path = make[what]()
    lua, _ = script(tmp_path)
    ratios: list[float] = []
    alone: list[float] = []
    rows: list[float] = []
    idle: list[float] = []
    route = "/v1/models/m:predict"
    with headrace.Server(path, workers=2) as together, headrace.Server(path, workers=2, max_batch_rows=1) as single:
        assert (together.batched, single.batched) == (True, False)

        def pair() -> None:
            fast, slow = (closed(server.url + route, lua, 64, 2)[0] for server in (together, single))
            ratios.append(fast / slow)
            alone.append(slow)
            rows.append(batch(together))
            fast, slow = (closed(server.url + route, lua, 1, 1)[0] for server in (together, single))
            idle.append(fast / slow)

        benchmark.pedantic(pair, rounds=ROUNDS, iterations=1)
    n = max(1, round(rows[0]))
    one, many = times(path, 1), times(path, n) / n
    # Both workers have a processor, which they share with what loads them.
    around = max(0.0, 2 / statistics.median(alone) - one)
    benchmark.extra_info.update(
        ratio=round(statistics.median(ratios), 2),
        predicted=round((around + one) / (around + many), 2),
        one_connection=round(statistics.median(idle), 2),
        rows_of_a_batch=round(rows[0], 1),
        microseconds={"one": round(one * 1e6, 1), "a row of a batch": round(many * 1e6, 1)},
        requests_alone=round(statistics.median(alone)),
    )
    print(what, benchmark.extra_info)
    assert statistics.median(ratios) >= 0.95
