"""The requests that platforms document, by plain HTTP; and the document of all routes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

import headrace
from headrace.cli.platform import platform
from headrace.cli.serve import of_environment
from headrace.errors import ServingError
from serving.served import ask, columns, rows


def expected(model, x):
    session = onnxruntime.InferenceSession(model.read_bytes(), providers=["CPUExecutionProvider"])
    return session.run(None, {"features": x})[0]


def test_vertex(model):
    environment = {
        "AIP_HTTP_PORT": "8081",
        "AIP_HEALTH_ROUTE": "/healthy",
        "AIP_PREDICT_ROUTE": "/v1/endpoints/7/deployedModels/8:predict",
        "AIP_MODE": "PREDICTION",
    }
    place = platform("vertex", environment)
    assert place.port == 8081
    x = rows(3)
    with headrace.Server(model, workers=1, paths=place.routes) as server:
        assert ask(f"{server.url}/healthy").status == 200
        document = {"instances": x.tolist(), "parameters": {"more": [1]}}
        reply = ask(f"{server.url}/v1/endpoints/7/deployedModels/8:predict", document)
        np.testing.assert_array_equal(np.float32(reply.json["predictions"]), expected(model, x))
        assert ask(f"{server.url}/healthy", {"instances": []}).status == 405
        assert ask(f"{server.url}/v1/endpoints/7/deployedModels/9:predict", document).status == 404
        assert ask(f"{server.url}/v1/models/late:predict", {"instances": x.tolist()}).status == 200
    own = platform("vertex", {"AIP_ENDPOINT_ID": "5", "AIP_DEPLOYED_MODEL_ID": "6"})
    routes = {"/v1/endpoints/5/deployedModels/6": "ready", "/v1/endpoints/5/deployedModels/6:predict": "predict"}
    assert (own.port, own.routes) == (8080, routes)


@pytest.mark.parametrize(
    ("name", "environment", "message"),
    [
        ("vertex", {"AIP_MODE": "TRAINING"}, "AIP_MODE is 'TRAINING'"),
        ("vertex", {"AIP_HTTP_PORT": "http"}, "AIP_HTTP_PORT is 'http', expected 1 to 65535"),
        ("vertex", {"AIP_HEALTH_ROUTE": "/a", "AIP_PREDICT_ROUTE": "/a"}, "both asked at /a"),
        ("sagemaker", {"SAGEMAKER_BIND_TO_PORT": "0"}, "SAGEMAKER_BIND_TO_PORT is '0'"),
    ],
)
def test_a_variable_that_cannot_be_is_named(name, environment, message):
    with pytest.raises(ServingError, match=message):
        platform(name, environment)


def test_azure(model):
    x = rows(2)
    with headrace.Server(model, workers=1, paths=platform("azure", {}).routes) as server:
        assert [ask(server.url + path).status for path in ("/", "/ready")] == [200, 200]
        reply = ask(f"{server.url}/score", {"instances": x.tolist()})
        np.testing.assert_array_equal(np.float32(reply.json["predictions"]), expected(model, x))


@pytest.mark.parametrize(
    ("routes", "message"),
    [
        ({"score": "predict"}, "route is 'score', expected a path that begins with /"),
        ({"/a b": "predict"}, "expected a path"),
        ({"/a?b": "predict"}, "expected a path"),
        ({"/a": "score"}, "route is 'score', expected live, ready or predict"),
        ({"/metrics": "predict"}, "route is '/metrics', expected a path on which the server does not answer"),
        ({"/invocations": "live"}, "'/invocations'"),
        ({"/v2/models/late/infer/": "predict"}, "'/v2/models/late/infer/'"),
        ({"/openapi.json": "ready"}, "'/openapi.json'"),
        ({"/feedback": "predict"}, "'/feedback'"),
    ],
)
def test_a_route_that_cannot_be_is_refused(model, routes, message):
    with pytest.raises(ServingError, match=message.replace("?", r"\?")):
        headrace.Server(model, paths=routes)


def test_a_path_that_means_the_same_may_be_named(model):
    """Platforms say /ping and /invocations themselves."""
    paths = {"/ping": "ready", "/invocations": "predict", "/v1/models/late:predict": "predict", "/": "live"}
    with headrace.Server(model, workers=1, paths=paths) as server:
        assert [ask(server.url + path).status for path in ("/ping", "/")] == [200, 200]
        assert ask(f"{server.url}/v1/models/late:predict", {"instances": rows(1).tolist()}).status == 200


def test_a_variable_that_is_empty_is_not_there():
    assert platform("vertex", {"AIP_HTTP_PORT": ""}).port == 8080
    assert platform("sagemaker", {"SAGEMAKER_BIND_TO_PORT": ""}).port == 8080


def test_a_path_in_the_environment_may_have_blanks(tmp_path):
    (tmp_path / "my model").mkdir()
    path = tmp_path / "my model" / "model.onnx"
    path.write_bytes(b"")
    assert of_environment(str(path)) == (str(path),)
    assert of_environment("shop late@2") == ("shop", "late@2")
    assert of_environment(f"a.onnx {tmp_path}/b.onnx") == ("a.onnx", f"{tmp_path}/b.onnx")


def test_sagemaker(served):
    """As `your-algorithms-inference-code` has it: GET /ping is empty, POST /invocations in several types."""
    server, predictor, data = served
    assert (ask(f"{server.url}/ping").status, ask(f"{server.url}/ping").body) == (200, b"")
    wanted = predictor.predict(data[:5])
    wanted = wanted["prediction"].to_list() if wanted.width == 1 else wanted.to_dicts()
    headers = {"X-Amzn-SageMaker-Custom-Attributes": "trace=1", "X-Amzn-SageMaker-Inference-Id": "9"}
    reply = ask(f"{server.url}/invocations", {"inputs": columns(data[:5])}, headers=headers)
    assert reply.json["predictions"] == wanted


def test_the_argument_serve_and_the_environment(model):
    """SageMaker starts `docker run image serve`, with `headrace` as entry point."""
    environment = {**os.environ, "HEADRACE_PLATFORM": "vertex", "HEADRACE_MODEL": str(model), "AIP_HEALTH_ROUTE": "/up"}
    command = [Path(sys.executable).with_name("headrace"), "serve", "--port", "0", "--json", "--route", "/more=live"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            url = json.loads(process.stdout.readline())["url"]
            assert [ask(url + path).status for path in ("/up", "/more", "/ping")] == [200, 200, 200]
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def test_the_document_names_every_route_that_is_open(plain):
    document = ask(f"{plain.url}/openapi.json").json
    assert document["openapi"] == "3.1.0"
    for path, methods in document["paths"].items():
        for method in methods:
            reply = ask(plain.url + path, method=method.upper(), body=b"{" if method == "post" else None)
            assert reply.status == (400 if method == "post" else 200), (method, path)
    instances = document["paths"]["/v1/models/late:predict"]["post"]["requestBody"]["content"]["application/json"]
    row = instances["schema"]["properties"]["instances"]["items"]
    assert (row["minItems"], row["maxItems"]) == (4, 4)
