"""Starts the servers that ours is measured beside, each with the same model, and says how each is asked.

What does not install, or is not there, is skipped with how to get it. Each has two processes or workers, like ours.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

HERE = Path(__file__).parent
PEERS = Path(__file__).parents[2] / ".peers"
WORKERS = 2
READY_WITHIN = 120.0


@dataclass(frozen=True)
class Asked:
    """Where a server is asked, with what, and how its answer is read."""

    port: int
    path: str
    body: bytes
    read: Callable[[Any], Any]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{self.path}"

    @property
    def wire(self) -> bytes:
        """The request as it goes over the wire."""
        head = f"POST {self.path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nContent-Type: application/json\r\n"
        return head.encode() + b"Content-Length: %d\r\n\r\n" % len(self.body) + self.body

    def ask(self) -> np.ndarray:
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.url, data=self.body, headers=headers)  # noqa: S310
        with urllib.request.urlopen(request, timeout=30) as reply:  # noqa: S310
            return np.array(self.read(json.load(reply)), dtype=np.float32).ravel()


@contextmanager
def on(processors: set[int]) -> Iterator[None]:
    """What is started meanwhile has these processors."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, processors)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@contextmanager
def process(command: list[Any], asked: Asked, folder: Path, **environment: str) -> Iterator[Asked]:
    """The server that a command starts, once it answers; its processes are ended at the end, all of them."""
    log = folder / "log.txt"
    variables = {**os.environ, **environment}
    with (
        log.open("wb") as said,
        subprocess.Popen(
            command, env=variables, cwd=folder, stdout=said, stderr=said, start_new_session=True
        ) as started,
    ):
        try:
            until = time.monotonic() + READY_WITHIN
            while True:
                try:
                    asked.ask()
                    break
                except (OSError, ValueError, KeyError) as error:
                    if started.poll() is not None or time.monotonic() > until:
                        tail = log.read_text(errors="replace")[-2000:]
                        raise AssertionError(f"{command[0]} does not answer: {tail}") from error
                    time.sleep(0.2)
            yield asked
        finally:
            with suppress(ProcessLookupError):
                os.killpg(started.pid, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                started.wait(20)
            with suppress(ProcessLookupError):
                os.killpg(started.pid, signal.SIGKILL)


def python_of(name: str) -> Path:
    python = PEERS / name / "bin" / "python"
    if not python.exists():
        pytest.skip(f"{name} is not installed: python benches/peers.py {name}")
    return python


def instances(row: list[float]) -> bytes:
    return json.dumps({"instances": [row]}).encode()


def tensor(row: list[float], name: str = "features") -> bytes:
    data = {"name": name, "shape": [1, len(row)], "datatype": "FP32", "data": row}
    return json.dumps({"inputs": [data]}).encode()


@contextmanager
def fastapi(model: Path, row: list[float], folder: Path) -> Iterator[Asked]:
    pytest.importorskip("fastapi")
    pytest.importorskip("uvicorn")
    asked = Asked(free_port(), "/v1/models/model:predict", instances(row), lambda reply: reply["predictions"])
    command = [sys.executable, HERE / "fastapi_app.py", str(asked.port), str(WORKERS)]
    with process(command, asked, folder, MODEL=str(model)) as started:
        yield started


@contextmanager
def mlserver(model: Path, row: list[float], folder: Path) -> Iterator[Asked]:
    """With its inference pool; without adaptive batching, with which it took longer for such a model."""
    python = python_of("mlserver")
    asked = Asked(free_port(), "/v2/models/model/infer", tensor(row), lambda reply: reply["outputs"][0]["data"])
    shutil.copy(HERE / "mlserver_app.py", folder)
    ports = {"http_port": asked.port, "grpc_port": free_port(), "metrics_port": free_port()}
    settings = {"host": "127.0.0.1", "parallel_workers": WORKERS, "debug": False, "metrics_endpoint": None, **ports}
    (folder / "settings.json").write_text(json.dumps(settings))
    about = {"name": "model", "implementation": "mlserver_app.Trees"}
    (folder / "model-settings.json").write_text(json.dumps(about))
    command = [python, "-c", "from mlserver.cli import main; main()", "start", "."]
    with process(command, asked, folder, MODEL=str(model), PYTHONPATH=str(folder)) as started:
        yield started


@contextmanager
def litserve(model: Path, row: list[float], folder: Path) -> Iterator[Asked]:
    asked = Asked(free_port(), "/predict", instances(row), lambda reply: reply["predictions"])
    command = [python_of("litserve"), HERE / "litserve_app.py", str(asked.port), str(WORKERS)]
    with process(command, asked, folder, MODEL=str(model)) as started:
        yield started


@contextmanager
def bentoml(model: Path, row: list[float], folder: Path) -> Iterator[Asked]:
    asked = Asked(free_port(), "/predict", instances(row), lambda reply: reply)
    command = [python_of("bentoml"), "-m", "bentoml", "serve", "bentoml_app:Trees", "--working-dir", HERE]
    command += ["--host", "127.0.0.1", "--port", str(asked.port)]
    quiet = {"BENTOML_DO_NOT_TRACK": "True", "BENTOML_HOME": str(folder / "home")}
    with process(command, asked, folder, MODEL=str(model), **quiet) as started:
        yield started


@contextmanager
def rayserve(model: Path, row: list[float], folder: Path) -> Iterator[Asked]:
    asked = Asked(free_port(), "/predict", instances(row), lambda reply: reply["predictions"])
    command = [python_of("rayserve"), HERE / "rayserve_app.py", str(asked.port), str(WORKERS)]
    with process(command, asked, folder, MODEL=str(model), RAY_USAGE_STATS_ENABLED="0") as started:
        yield started


@contextmanager
def nginx(model: Path, row: list[float], folder: Path) -> Iterator[Asked]:
    """What the loopback carries: the right answer, as a constant."""
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        pytest.skip("nginx is not installed: apt install nginx-light")
    import onnxruntime

    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    answer = json.dumps({"predictions": session.run(None, {"features": np.array([row], dtype=np.float32)})[0].tolist()})
    asked = Asked(free_port(), "/predict", instances(row), lambda reply: reply["predictions"])
    parts = "".join(f"{kind}_temp_path {folder}; " for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    (folder / "nginx.conf").write_text(
        f"daemon off; pid {folder}/pid; worker_processes {WORKERS}; error_log stderr;\n"
        "events { worker_connections 1024; }\n"
        f"http {{ access_log off; keepalive_requests 1000000000; {parts}\n"
        f"server {{ listen 127.0.0.1:{asked.port}; location / {{\n"
        f"default_type application/json; return 200 '{answer}'; }} }} }}\n"
    )
    with process([program, "-c", folder / "nginx.conf", "-e", "stderr"], asked, folder) as started:
        yield started


@contextmanager
def headrace(model: Path, row: list[float], folder: Path, *options: str) -> Iterator[Asked]:
    """Ours, as a command."""
    asked = Asked(free_port(), "/v1/models/model:predict", instances(row), lambda reply: reply["predictions"])
    command = [sys.executable, "-m", "headrace.cli.main", "serve", model, "--port", str(asked.port)]
    with process([*command, "--workers", str(WORKERS), *options], asked, folder) as started:
        yield started


PEERS_BY_NAME = {
    "FastAPI + onnxruntime": fastapi,
    "MLServer": mlserver,
    "LitServe": litserve,
    "BentoML": bentoml,
    "Ray Serve": rayserve,
}
