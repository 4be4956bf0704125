"""`/invocations` beside a real `mlflow models serve`, and asked by MLflow's own scoring client."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import headrace
from serving.served import Reply, ask, value, write_onnx

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("mlflow")]

PEER = Path(__file__).parents[2] / ".peers" / "mlflow" / "bin"
HOW = "install a full MLflow beside the tests: python benches/peers.py mlflow"

# 2a - b/4, once as MLflow serves it and once as a graph.
MODEL = """
import mlflow

class Line(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return (2 * model_input["a"] - model_input["b"] / 4).to_numpy()

mlflow.models.set_model(Line())
"""
SAVE = """
import mlflow
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, Schema

signature = ModelSignature(Schema([ColSpec("double", "a"), ColSpec("double", "b")]))
mlflow.pyfunc.save_model("line", python_model="model.py", signature=signature)
"""
CLIENT = """
import json
import sys

import pandas
from mlflow.pyfunc.scoring_server.client import ScoringServerClient

client = ScoringServerClient("127.0.0.1", int(sys.argv[1]))
client.wait_server_ready()
frame = pandas.DataFrame({"b": [4.0, 8.0], "a": [1.0, 2.5]}, index=[7, 9])
answer = client.invoke(frame)
table = answer.get_predictions(predictions_format="dataframe")
print(json.dumps({"version": client.get_version(), "predictions": table[0].tolist()}))
"""


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if not (PEER / "uvicorn").exists():
        if os.environ.get("HEADRACE_REQUIRE_SYSTEM"):
            pytest.fail(HOW)
        pytest.skip(HOW)
    folder = tmp_path_factory.mktemp("scoring")
    (folder / "model.py").write_text(MODEL, encoding="utf-8")
    python = PEER / "python"
    environment = {**os.environ, "PATH": f"{PEER}{os.pathsep}{os.environ['PATH']}"}
    subprocess.run([python, "-c", SAVE], cwd=folder, check=True, capture_output=True, env=environment)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [python, "-m", "mlflow", "models", "serve", "-m", "line", "--env-manager", "local"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    process = subprocess.Popen(
        command, cwd=folder, stderr=subprocess.PIPE, text=True, start_new_session=True, env=environment
    )
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        said.append(line)
        if "Uvicorn running" in line:
            break
    else:
        pytest.fail("MLflow's scoring server ended before it was ready:\n" + "".join(said[-20:]))
    # Its log must be read, or it stops when the pipe is full.
    with subprocess.Popen(["cat"], stdin=process.stderr, stdout=subprocess.DEVNULL):
        yield f"http://127.0.0.1:{port}"
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=60)


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[headrace.Server]:
    nodes = [
        helper.make_node("Mul", ["a", "two"], ["double"]),
        helper.make_node("Div", ["b", "four"], ["quarter"]),
        helper.make_node("Sub", ["double", "quarter"], ["y"]),
    ]
    number = [value(name, TensorProto.DOUBLE, ["N"]) for name in ("a", "b", "y")]
    constants = [numpy_helper.from_array(np.float64(2), "two"), numpy_helper.from_array(np.float64(4), "four")]
    path = tmp_path_factory.mktemp("graph") / "line.onnx"
    write_onnx(path, nodes, number[:2], number[2:], initializer=constants)
    with headrace.Server(path, workers=1) as server:
        yield server


def both(theirs: str, ours: headrace.Server, body: str, kind: str) -> tuple[Reply, Reply]:
    headers = {"Content-Type": kind}
    first, second = (ask(f"{url}/invocations", body=body.encode(), headers=headers) for url in (theirs, ours.url))
    return first, second


JSON = "application/json"

ANSWERED = {
    "split, in another order": ('{"dataframe_split":{"columns":["b","a"],"data":[[4,1],[8,2.5]]}}', JSON),
    "split with an index": ('{"dataframe_split":{"index":[3],"columns":["a","b"],"data":[[4,1]]}}', JSON),
    "records": ('{"dataframe_records":[{"a":1,"b":4},{"b":-8e2,"a":2}]}', JSON),
    "inputs": ('{"inputs":{"a":[1,2],"b":[4,8]}}', JSON),
    "instances": ('{"instances":[{"a":1.5,"b":4}]}', JSON),
    "a column more": ('{"dataframe_records":[{"a":1,"b":4,"c":9}]}', JSON),
    "params": ('{"inputs":{"a":[1],"b":[4]},"params":{}}', JSON),
    "a table": ("a,b\n1,4\n2,8\n", "text/csv"),
    "a table in another order": ("b,a\n1,4\n", "text/csv; charset=utf-8"),
    "said to be UTF-8": ('{"inputs":{"a":[1],"b":[4]}}', "application/json; charset=utf-8"),
}

REFUSED = {
    "no column": ('{"dataframe_split":{"columns":["a"],"data":[[4]]}}', JSON),
    "text": ('{"dataframe_records":[{"a":"x","b":4}]}', JSON),
    "no field": ('{"rows":[1]}', JSON),
    "two fields": ('{"dataframe_records":[{"a":1,"b":4}],"instances":[]}', JSON),
    "no JSON": ("not json", JSON),
    "empty": ("", JSON),
    "an array": ("[1, 2]", JSON),
    "no known type": ("hello", "text/plain"),
    "another encoding": ("{}", "application/json; charset=utf-16"),
    "a strange parameter": ("{}", "application/json; version=2"),
}


@pytest.mark.parametrize("name", ANSWERED)
def test_what_mlflow_answers_is_answered_the_same(theirs, ours, name):
    first, second = both(theirs, ours, *ANSWERED[name])
    assert first.status == 200, first.body
    assert (second.status, second.json) == (200, first.json)


@pytest.mark.parametrize("name", REFUSED)
def test_what_mlflow_refuses_is_refused_with_its_status(theirs, ours, name):
    first, second = both(theirs, ours, *REFUSED[name])
    assert 400 <= first.status < 500, first.body
    assert second.status == first.status, (first.body, second.body)
    assert set(second.json) == {"error_code", "message"}


@pytest.mark.parametrize("path", ["/ping", "/health", "/version"])
def test_health_is_said_the_same_way(theirs, ours, path):
    assert ask(theirs + path).status == ask(ours.url + path).status == 200


@pytest.mark.parametrize("path", ["/nothing", "/invocations"])
def test_what_is_not_there_is_said_the_same_way(theirs, ours, path):
    assert ask(theirs + path).status == ask(ours.url + path).status


def test_mlflows_scoring_client_is_answered(theirs, ours):
    command = [PEER / "python", "-c", CLIENT, str(ours.port)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["predictions"] == [1.0, 3.0]
    assert said["version"]
