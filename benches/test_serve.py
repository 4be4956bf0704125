"""The server beside FastAPI and onnxruntime: one row of 20 numbers a request, LightGBM of 200 trees with 63 leaves.

Closed loop: each connection asks again as soon as it is answered. The answers are compared first. FastAPI has as many
processes as ours has threads. Together, both have all the processors, which they share with what loads them (`wrk`, of
one thread): there `wrk` takes about as much of ours as ours does itself, and next to nothing of FastAPI. Apart, `wrk`
has one processor and the servers have the others. Each figure is a ratio of medians over pairs taken in turn, after a
first run that is not counted.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import lightgbm
import numpy as np
import pytest

import headrace
from headrace.builtins.lightgbm.export import export
from serving.servers import on

HERE = Path(__file__).parent
PAIRS = 3
UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}


def ask(url: str, document: object) -> dict[str, list[list[float]]]:
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, data=json.dumps(document).encode(), headers=headers)  # noqa: S310
    with urllib.request.urlopen(request, timeout=10) as reply:  # noqa: S310
        return json.load(reply)


@contextmanager
def fastapi(model: Path, processes: int) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, HERE / "serving" / "fastapi_app.py", str(port), str(processes)]
    with subprocess.Popen(command, env={**os.environ, "MODEL": str(model)}, start_new_session=True) as process:
        try:
            url, until = f"http://127.0.0.1:{port}", time.monotonic() + 60
            while True:
                try:
                    urllib.request.urlopen(f"{url}/openapi.json", timeout=10).close()  # noqa: S310
                    break
                except urllib.error.URLError:
                    assert process.poll() is None
                    assert time.monotonic() < until
            yield url
        finally:
            os.killpg(process.pid, signal.SIGTERM)


def load(url: str, script: Path, connections: int, seconds: int = 3) -> tuple[float, float]:
    """Requests a second, and the median latency in seconds."""
    wrk = shutil.which("wrk")
    if wrk is None:
        pytest.skip("wrk is not installed: apt install wrk")
    command = [
        wrk,
        "-t1",
        f"-c{connections}",
        f"-d{seconds}",
        "--latency",
        "-s",
        script,
        f"{url}/v1/models/model:predict",
    ]
    command.append(f"{url}/v1/models/model:predict")
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert "Non-2xx" not in out, out
    assert "Socket errors" not in out, out
    rate = re.search(r"Requests/sec:\s+([\d.]+)", out)
    half = re.search(r"50%\s+([\d.]+)(us|ms|s)", out)
    assert rate, out
    assert half, out
    return float(rate[1]), float(half[1]) * UNITS[half[2]]


@pytest.mark.benchmark(group="serving: one row of JSON")
@pytest.mark.parametrize(("connections", "where"), [(64, "together"), (64, "apart"), (1, "together")])
def test_one_row(benchmark: Callable[..., object], tmp_path: Path, connections: int, where: str) -> None:
    pytest.importorskip("fastapi")
    pytest.importorskip("uvicorn")
    processors = sorted(os.sched_getaffinity(0))
    if where == "apart" and len(processors) < 2:
        pytest.skip("one processor cannot be parted")
    theirs, ours = ({processors[0]}, set(processors[1:])) if where == "apart" else (set(processors), set(processors))
    rng = np.random.default_rng(0)
    x = rng.normal(size=(20_000, 20)).astype(np.float32)
    y = (x[:, :10].sum(1) + np.sin(3 * x[:, 10:]).sum(1) + rng.normal(size=len(x)) > 0).astype(int)
    params = {"objective": "binary", "verbose": -1, "num_threads": 2, "num_leaves": 63}
    path = tmp_path / "model.onnx"
    path.write_bytes(export(lightgbm.train(params, lightgbm.Dataset(x, y), 200).model_to_string()))
    row = {"instances": [[round(float(value), 4) for value in x[0]]]}
    script = tmp_path / "post.lua"
    script.write_text(
        f'wrk.method = "POST"\nwrk.headers["Content-Type"] = "application/json"\nwrk.body = [==[{json.dumps(row)}]==]\n'
    )
    rates: list[tuple[float, float]] = []
    halves: list[tuple[float, float]] = []
    with contextlib.ExitStack() as stack:
        with on(ours):
            server = stack.enter_context(headrace.Server(path, workers=len(ours)))
            urls = (server.url, stack.enter_context(fastapi(path, len(ours))))
        stack.enter_context(on(theirs))
        answers = [ask(f"{url}/v1/models/model:predict", row)["predictions"] for url in urls]
        np.testing.assert_allclose(np.float32(answers[0]), np.float32(answers[1]), rtol=0, atol=0)
        for url in urls:
            load(url, script, connections, seconds=1)

        def pair() -> None:
            (rate, half), (other_rate, other_half) = (load(url, script, connections) for url in urls)
            rates.append((rate, other_rate))
            halves.append((half, other_half))

        benchmark.pedantic(pair, rounds=PAIRS, iterations=1)
    faster = statistics.median(ours for ours, _ in rates) / statistics.median(theirs for _, theirs in rates)
    sooner = statistics.median(ours for ours, _ in halves) / statistics.median(theirs for _, theirs in halves)
    benchmark.extra_info.update(
        requests_per_second=round(statistics.median(ours for ours, _ in rates)),
        times_the_requests_of_fastapi=round(faster, 1),
        median_latency_over_fastapi=round(sooner, 3),
    )
    print(where, connections, benchmark.extra_info)
    if connections == 1:
        assert sooner <= 0.25
    else:
        assert faster >= 15
