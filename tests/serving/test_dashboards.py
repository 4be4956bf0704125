"""The files for Prometheus and Grafana: rules that promtool takes, over metrics that a server has; a real scrape."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.request

import pytest

from headrace import Server
from headrace.serving import dashboards
from headrace.store import Store
from serving.served import ask
from serving.test_watching_store import made as made  # noqa: PLC0414  # a fixture
from serving.test_watching_store import predict, watching

_WHERE = "it is in Debian's package `prometheus` (.ci/run takes it from there)"


@pytest.fixture
def served(made, tmp_path):
    package, _, data = made
    root = tmp_path / "store"
    Store.open(root).close()
    with Server(package, workers=1, log=tmp_path / "log") as server:
        carrier = watching(server, package, root)
        predict(server, data)
        carrier.look()
        yield server


def test_promtool_takes_the_rules(tmp_path):
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip(f"there is no promtool: {_WHERE}")
    rules, _ = dashboards.write(tmp_path / "a" / "b")
    done = subprocess.run([promtool, "check", "rules", rules], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done
    assert "6 rules found" in done.stdout
    rules.write_text(rules.read_text().replace("rate(", "rat(", 1))
    assert subprocess.run([promtool, "check", "rules", rules], capture_output=True, check=False).returncode != 0


def test_every_metric_that_is_named_is_there(served, tmp_path):
    text = ask(f"{served.url}/metrics").body.decode()
    there = set(re.findall(r"^(headrace_\w+)", text, flags=re.MULTILINE))
    for path in dashboards.write(tmp_path):
        content = path.read_text()
        named = set(re.findall(r"\bheadrace_\w+", content))
        assert named
        assert named <= there, (path, named - there)
    panels = json.loads((tmp_path / "headrace.json").read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)


def test_prometheus_scrapes_it(served, tmp_path):
    prometheus = shutil.which("prometheus")
    if prometheus is None:
        pytest.skip(f"there is no prometheus: {_WHERE}")
    dashboards.write(tmp_path)
    config = {
        "global": {"scrape_interval": "1s"},
        "rule_files": [str(tmp_path / "headrace.rules.yml")],
        "scrape_configs": [
            {"job_name": "headrace", "static_configs": [{"targets": [f"127.0.0.1:{served.port}"]}]},
        ],
    }
    (tmp_path / "prometheus.yml").write_text(json.dumps(config))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["--config.file", tmp_path / "prometheus.yml", "--storage.tsdb.path", tmp_path / "tsdb"]
    process = subprocess.Popen(
        [prometheus, *words, f"--web.listen-address=127.0.0.1:{port}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "GOMAXPROCS": "1"},
    )
    try:
        end = time.monotonic() + 60
        while not (found := _asked(port, "headrace_rows_total")) and time.monotonic() < end:
            assert process.poll() is None
        assert found[0]["metric"]["model"] == "shop"
        assert float(found[0]["value"][1]) == 300
        assert _asked(port, 'up{job="headrace"}')[0]["value"][1] == "1"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def _asked(port, query):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/query?query={query}", timeout=5) as answer:
            return json.load(answer)["data"]["result"]
    except OSError:
        return []
