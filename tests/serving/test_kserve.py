"""KServe's own clients, REST and gRPC, beside the others against one running server; answers are onnxruntime's."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from serving.served import ask, infer, rows

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("kserve")]

PEER = Path(__file__).parents[2] / ".peers" / "kserve" / "bin" / "python"
HOW = "install KServe's clients beside the tests: python benches/peers.py kserve"

# Their pins are not ours, so they ask from an environment of their own.
CLIENT = """
import asyncio
import json
import sys

import numpy
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.protocol.infer_type import RequestedOutput

url, rows = sys.argv[1], numpy.array(json.loads(sys.argv[2]), dtype=numpy.float32)


def request(binary):
    features = InferInput(name="features", shape=list(rows.shape), datatype="FP32")
    features.set_data_from_numpy(rows, binary_data=binary)
    outputs = [RequestedOutput("probabilities", parameters={"binary_data": binary})]
    return InferRequest(model_name="late", infer_inputs=[features], request_outputs=outputs, request_id="7")


def said(response):
    (output,) = response.outputs
    return {"id": response.id, "model": response.model_name, "p": output.as_numpy().tolist()}


async def main():
    v1, v2 = (InferenceRESTClient(RESTConfig(protocol=protocol)) for protocol in ("v1", "v2"))
    grpc = InferenceGRPCClient(url.removeprefix("http://"))
    found = {
        "v1": await v1.infer(url, {"instances": rows.tolist()}, model_name="late"),
        "json": said(await v2.infer(url, request(False), model_name="late")),
        "binary": said(await v2.infer(url, request(True), model_name="late")),
        "grpc": said(await grpc.infer(request(True))),
        "well": [
            await v1.is_server_live(url),
            await v1.is_model_ready(url, "late"),
            await v2.is_server_live(url),
            await v2.is_server_ready(url),
            await v2.is_model_ready(url, "late"),
            await grpc.is_server_live(),
            await grpc.is_server_ready(),
            await grpc.is_model_ready("late"),
        ],
    }
    for client, model in ((v1, "late"), (v2, "other")):
        try:
            await client.infer(url, {"instances": [["x"]]}, model_name=model)
        except Exception as error:
            found.setdefault("refused", []).append(str(error))
    await v1.close()
    await v2.close()
    await grpc.close()
    print(json.dumps(found))


asyncio.run(main())
"""


@pytest.fixture(scope="module")
def python() -> Path:
    if not PEER.exists():
        if os.environ.get("HEADRACE_REQUIRE_SYSTEM"):
            pytest.fail(HOW)
        pytest.skip(HOW)
    return PEER


def test_kserves_clients_and_the_others_against_one_server(python, plain, model):
    x = rows(3)
    session = onnxruntime.InferenceSession(model.read_bytes(), providers=["CPUExecutionProvider"])
    wanted = session.run(["probabilities"], {"features": x})[0]
    line = [python, "-c", CLIENT, plain.url, json.dumps(x.tolist())]
    done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    np.testing.assert_array_equal(np.float32(found["v1"]["predictions"]), wanted)
    for way in ("json", "binary", "grpc"):
        assert (found[way]["id"], found[way]["model"]) == ("7", "late")
        np.testing.assert_array_equal(np.float32(found[way]["p"]), wanted)
    assert found["well"] == [True] * 8
    assert "'features'" in found["refused"][0]
    assert "404" in found["refused"][1]
    # Triton's clients, and the accents of the platforms, against the very same server.
    triton = pytest.importorskip("tritonclient.http")
    pytest.importorskip("gevent")
    from tritonclient import grpc

    for library, url in ((triton, f"127.0.0.1:{plain.port}"), (grpc, f"127.0.0.1:{plain.port}")):
        tensor = library.InferInput("features", x.shape, "FP32")
        tensor.set_data_from_numpy(x)
        client = library.InferenceServerClient(url)
        np.testing.assert_array_equal(client.infer("late", [tensor]).as_numpy("probabilities"), wanted)
        client.close()
    for path, document in (
        ("/invocations", {"instances": x.tolist()}),
        ("/v1/models/late:predict", {"instances": x.tolist()}),
    ):
        np.testing.assert_array_equal(np.float32(ask(plain.url + path, document).json["predictions"]), wanted)
    outputs = ask(f"{plain.url}/v2/models/late/infer", infer(x)).json["outputs"]
    np.testing.assert_array_equal(np.float32(outputs[0]["data"]).reshape(wanted.shape), wanted)
