"""From the server into the store: windows of servers add up, a store that is gone costs no count; and metrics."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from headrace import Server, Window
from headrace.serving.watching import Watching, joined
from headrace.store import Store
from serving.served import ask, records
from serving.test_watching import watched


@pytest.fixture
def made():
    package, reference, data = watched("binary")
    package.files["metrics.json"] = json.dumps({"importance": {"x": 1.0}}).encode()
    return package, reference, data


def watching(server, package, root, said=None):
    said = [] if said is None else said
    return Watching(server, lambda: Store.open(root, create=False), lambda _name, _number: package, say=said.append)


def predict(server, data):
    assert ask(f"{server.url}/v1/models/shop:predict", {"instances": records(data)}).status == 200


def test_windows_of_servers_and_restarts_add_up(made, tmp_path):
    package, reference, data = made
    root = tmp_path / "store"
    Store.open(root).close()
    for start in (0, 100, 200):
        with Server(package, workers=1) as server:
            carrier = watching(server, package, root)
            predict(server, data[start : start + 60])
            carrier.look()
            carrier.look()
            predict(server, data[start + 60 : start + 100])
        carrier.stop()
    with Store.open(root) as store:
        kept = store.live.windows("shop")
    assert len({window.server for window in kept}) == 3
    expected = reference.counted(data)
    total = reference.inputs.window()
    scores = reference.scores.window()
    for window in kept:
        total += Window.from_bytes(window.inputs, reference.inputs)
        scores += Window.from_bytes(window.scores, reference.scores)
    assert total == expected.inputs
    assert scores == expected.scores


def test_a_store_that_is_gone_costs_no_count(made, tmp_path):
    package, _, data = made
    root, said = tmp_path / "store", []
    Store.open(root).close()
    with Server(package, workers=1) as server:
        carrier = watching(server, package, root, said)
        predict(server, data[:10])
        shutil.rmtree(root)
        for _ in range(3):
            predict(server, data[:10])
            carrier.look()
        text = ask(f"{server.url}/metrics").body.decode()
        assert "headrace_window_unstored_rows 40\n" in text
        assert "headrace_store_failures_total 3\n" in text
        assert len(said) == 1
        assert "live windows cannot be stored" in said[0]
        Store.open(root).close()
        carrier.look()
        with Store.open(root) as store:
            assert sum(window.rows for window in store.live.windows("shop")) == 40


def test_metrics_say_what_drifted(made, tmp_path):
    package, _, data = made
    root = tmp_path / "store"
    Store.open(root).close()
    with Server(package, workers=1, log=tmp_path / "log", log_sample=0.5) as server:
        carrier = watching(server, package, root)
        moved = data.with_columns(pl.col("x") + 10)
        predict(server, moved)
        carrier.look()
        text = ask(f"{server.url}/metrics").body.decode()
    assert re.search(r'headrace_drift_alarm\{[^}]*column="x"\} 1.0', text)
    assert "headrace_window_rows_total 300\n" in text
    families = re.findall(r"^# TYPE (\S+)", text, flags=re.MULTILINE)
    assert len(families) == len(set(families))
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("there is no promtool: it is in Debian's package `prometheus` (.ci/run takes it from there)")
    done = subprocess.run([promtool, "check", "metrics"], input=text.encode(), capture_output=True, check=False)
    assert done.returncode == 0, done


def test_texts_are_joined_by_family():
    a = '# HELP m about\n# TYPE m gauge\nm{v="1"} 1\n'
    b = '# HELP m about\n# TYPE m gauge\nm{v="2"} 2\n# HELP n other\n# TYPE n counter\nn 3\n'
    assert joined([a, b]) == (
        '# HELP m about\n# TYPE m gauge\nm{v="1"} 1\nm{v="2"} 2\n# HELP n other\n# TYPE n counter\nn 3\n'
    )


KILLED = """
import os, signal, sys
from headrace import Server
from serving.served import ask, infer, rows
server = Server(sys.argv[1], log=sys.argv[2], log_segment_time=0.05)
for number in range(400):
    ask(f"{server.url}/v2/models/m/infer", infer(rows(1)))
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_server_logged_is_whole(tmp_path):
    from serving.served import graph

    path = graph(tmp_path / "m.onnx")
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", KILLED, path, tmp_path / "log"], check=False, env=environment)
    assert done.returncode == -signal.SIGKILL
    segments = sorted((tmp_path / "log").glob("*.arrow"))
    assert segments
    log = pl.concat([pl.read_ipc(path) for path in segments])
    assert 0 < log.height <= 400
    assert log["request_id"].n_unique() == log.height


def test_the_oldest_segments_are_removed(tmp_path):
    from serving.served import graph, infer, rows

    path = graph(tmp_path / "m.onnx")
    with Server(path, log=tmp_path / "log", log_segment_bytes=1, log_total_bytes=10_000, workers=1) as server:
        for _ in range(20):
            ask(f"{server.url}/v2/models/m/infer", infer(rows(1)))
            server.windows()
        text = ask(f"{server.url}/metrics").body.decode()
    left = list((tmp_path / "log").glob("*.arrow"))
    assert sum(path.stat().st_size for path in left) <= 10_000
    removed = int(re.search(r"^headrace_log_removed_segments_total (\d+)", text, flags=re.MULTILINE)[1])
    assert removed == 20 - len(left)


def test_a_log_that_cannot_be_written_drops_and_counts(tmp_path):
    from serving.served import graph, infer, rows

    path = graph(tmp_path / "m.onnx")
    folder = tmp_path / "log"
    with Server(path, log=folder, log_segment_bytes=1, workers=1) as server:
        folder.rmdir()
        folder.write_text("in the way")
        assert ask(f"{server.url}/v2/models/m/infer", infer(rows(3))).status == 200
        server.windows()
        assert "headrace_log_dropped_rows_total 3\n" in ask(f"{server.url}/metrics").body.decode()
        assert "prediction log" in server.trouble()
        assert server.trouble() is None
