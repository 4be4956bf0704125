"""schemathesis reads the server's own document, and tries what it allows and what it forbids."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import headrace
from headrace.compute.serving import permissions
from headrace.serving import tokens
from serving.served import ask, graph

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
@pytest.mark.parametrize("guarded", [False, True], ids=["open", "tokens"])
def test_schemathesis_finds_nothing(tmp_path, guarded):
    """With tokens it also tries what the document says of them: without one, and with a wrong one."""
    pytest.importorskip("schemathesis", reason="needs schemathesis: pip install 'schemathesis>=4.32'")
    config = tmp_path / "schemathesis.toml"
    config.write_text(CONFIG)
    command = [Path(sys.executable).with_name("schemathesis"), "--config-file", config, "run", "--max-examples", "20"]
    file = None
    if guarded:
        file = tmp_path / "tokens.json"
        _, secret = tokens.create(file, "schemathesis", scopes=["predict", "observe"], seconds=3600)
        command += ["--header", f"Authorization: Bearer {secret}"]
    with headrace.Server(graph(tmp_path / "late.onnx"), workers=1, max_rows=20, tokens=file) as server:
        documented = sum(map(len, document(server.url, command).get("paths", {}).values()))
        done = subprocess.run(
            [*command, "--no-color", "--seed", "1", f"{server.url}/openapi.json"],
            capture_output=True,
            text=True,
            check=False,
            timeout=250,
            cwd=tmp_path,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"Tested: {documented}" in done.stdout, done.stdout


def document(url: str, command: list[object]) -> Any:
    headers = dict(str(one).split(": ", 1) for one in command if str(one).startswith("Authorization: "))
    return ask(f"{url}/openapi.json", headers=headers).json


def test_every_route_is_documented(plain):
    """But paths of versions, which are those of the model, and labels, which a server of a file does not keep."""
    found = document(plain.url, [])["paths"]
    paths = [path for method, path, _ in permissions() if method != "gRPC" and "{version}" not in path]
    assert {path.replace("{model}", "late") for path in paths} - {"/openapi.json", "/feedback"} == set(found)
