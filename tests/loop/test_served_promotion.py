"""A running `headrace serve`, labels sent to it, and `headrace loop --once`, which it follows: by commands alone."""

from __future__ import annotations

import json
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import polars as pl
import pytest

from loop_project import World, rows

COMMAND = (sys.executable, "-m", "headrace.cli.main")
LIVE = """
[loop.live]
use = "served"

"""


def post(url: str, body: Any, **headers: str) -> tuple[str | None, Any]:
    sent = {"Content-Type": "application/json", **headers}
    with urlopen(Request(url, json.dumps(body).encode(), sent), timeout=30) as reply:  # noqa: S310
        return reply.headers["headrace-version"], json.load(reply)


def project(folder: Path) -> None:
    World(folder, triggers="[loop.triggers.new_data]\nrows = 1000\n")
    path = folder / "headrace.toml"
    text = path.read_text()
    begin, end = text.index("[loop.live]"), text.index("[loop.watch]")
    path.write_text(text[:begin] + LIVE + text[end:])


@pytest.mark.slow  # a segment of the log is closed after a minute
@pytest.mark.e2e
def test_a_running_server_follows_what_the_loop_learnt_from_its_own_predictions_and_labels(tmp_path: Path) -> None:
    """Requests, prediction log, `POST /feedback`, a run, a promotion, and the same process answers with version 2."""
    project(tmp_path)

    def command(*words: str) -> str:
        words = (*COMMAND, *words, "--project", str(tmp_path))
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    command("run")
    assert "began" in command("loop", "--once")
    serve = [*COMMAND, "serve", "tide", "--port", "0", "--json", "--project", str(tmp_path)]
    server = subprocess.Popen(serve, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        url = json.loads(server.stdout.readline())["url"]
        turned = rows(5, range(15), 100, flip=True)
        probe = {"dataframe_records": turned.select("x", "y").head(20).to_dicts()}
        for number, part in enumerate(turned.iter_slices(500)):
            name = f"order-{number}"
            body = {"dataframe_records": part.select("x", "y").to_dicts()}
            assert post(f"{url}/invocations", body, **{"X-Request-Id": name})[0] == "tide@1"
            truth = [{"id": name, "row": row, "label": value} for row, value in enumerate(part["high"].to_list())]
            assert post(f"{url}/feedback", truth)[1]["labels"] == 500
        end = time.monotonic() + 60
        while sum(pl.read_ipc(path).height for path in (tmp_path / ".headrace/predictions").glob("*.arrow")) < 1500:
            assert time.monotonic() < end, "what was predicted is in the log soon"
            select.select([], [], [], 0.25)
        said = command("loop", "--once")
        assert "version 2" in said
        assert "promoted" in said
        while (version := post(f"{url}/invocations", probe)[0]) != "tide@2":
            assert version == "tide@1"
            assert time.monotonic() < end + 60, "the server follows the registry"
        answers = post(f"{url}/invocations", probe)[1]["predictions"]
        assert server.poll() is None
    finally:
        server.send_signal(signal.SIGTERM)
        server.communicate(timeout=60)
    assert server.returncode == 0
    assert len(answers) == 20
