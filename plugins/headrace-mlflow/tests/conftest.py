"""A real `mlflow server` on loopback."""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
HOW = "install a full MLflow: python benches/peers.py mlflow (or pip install mlflow into this environment)"


def mlflow_python() -> Path | None:
    """An interpreter that has the server: this one, or the peer's."""
    if (
        importlib.util.find_spec("mlflow.server")
        and importlib.util.find_spec("alembic")
        and importlib.util.find_spec("flask")
    ):
        return Path(sys.executable)
    peer = ROOT / ".peers" / "mlflow" / "bin" / "python"
    return peer if peer.exists() else None


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    python = mlflow_python()
    if python is None:
        if os.environ.get("HEADRACE_REQUIRE_SYSTEM"):
            pytest.fail(HOW)
        pytest.skip(HOW)
    folder = tmp_path_factory.mktemp("mlflow")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        *(python, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"),
        *("--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", str(folder / "artifacts")),
    ]
    process = subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stderr is not None
    log = []
    for line in process.stderr:
        log.append(line)
        if "Application startup complete" in line:
            break
    else:
        pytest.fail("the server ended before it was ready:\n" + "".join(log[-20:]))
    # Its log must be read, or it stops when the pipe is full.
    drain = subprocess.Popen(["cat"], stdin=process.stderr, stdout=subprocess.DEVNULL)
    yield f"http://127.0.0.1:{port}"
    os.killpg(process.pid, 15)
    process.wait(timeout=30)
    drain.wait(timeout=30)


@pytest.fixture
def tracking(server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    return server
