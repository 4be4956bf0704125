"""schemathesis reads the server's own document, and tries what it allows and what it forbids."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import headrace
from serving.served import graph

# That a shape is the shape of the data stands in no schema, so that what it allows may be refused; and too many rows
# are refused with 413, which is not among the codes that schemathesis expects by itself.
CONFIG = """
[checks.negative_data_rejection]
expected-statuses = [400, 404, 405, 413, 415]
[[operations]]
include-path-regex = "/infer$"
[operations.checks]
positive_data_acceptance.enabled = false
"""


@pytest.mark.slow
def test_schemathesis_finds_nothing(tmp_path):
    pytest.importorskip("schemathesis")
    config = tmp_path / "schemathesis.toml"
    config.write_text(CONFIG)
    command = [Path(sys.executable).with_name("schemathesis"), "--config-file", config, "run", "--max-examples", "20"]
    with headrace.Server(graph(tmp_path / "late.onnx"), workers=1, max_rows=20) as server:
        done = subprocess.run(
            [*command, "--no-color", "--seed", "1", f"{server.url}/openapi.json"],
            capture_output=True,
            text=True,
            check=False,
            timeout=250,
            cwd=tmp_path,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Tested: 17" in done.stdout, done.stdout
