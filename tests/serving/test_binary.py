"""Binary tensors of protocol v2: Triton's own client with its defaults, and everything that can be wrong."""

from __future__ import annotations

import json
import struct

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper

import headrace
from serving.served import ask, columns, infer, rows, value, write_onnx

triton = pytest.importorskip("tritonclient.http")

LENGTH = "Inference-Header-Content-Length"


def binary(document: dict, tail: bytes, *, length: object = None) -> tuple[bytes, dict[str, str]]:
    head = json.dumps(document).encode()
    headers = {LENGTH: str(len(head) if length is None else length), "Content-Type": "application/octet-stream"}
    return head + tail, headers


def read(reply) -> dict[str, np.ndarray]:
    """The outputs of an answer, by the protocol's own words."""
    length = int(reply.headers[LENGTH.lower()])
    document, tail, found = json.loads(reply.body[:length]), reply.body[length:], {}
    for output in document["outputs"]:
        assert "data" not in output
        size = output["parameters"]["binary_data_size"]
        found[output["name"]] = np.frombuffer(tail[:size], "<f4").reshape(output["shape"])
        tail = tail[size:]
    assert tail == b""
    return found


def expected(model, x):
    session = onnxruntime.InferenceSession(model.read_bytes(), providers=["CPUExecutionProvider"])
    return session.run(None, {"features": x})[0]


@pytest.mark.parametrize("packed", [None, "gzip", "deflate"])
def test_tritons_client_with_its_defaults(plain, model, packed):
    x = rows(7)
    x[1, 2] = np.nan
    client = triton.InferenceServerClient(f"{plain.host}:{plain.port}")
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("late")
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
    (column,) = client.get_model_metadata("late")["inputs"]
    given = triton.InferInput(column["name"], list(x.shape), column["datatype"])
    given.set_data_from_numpy(x)
    for outputs in (None, [triton.InferRequestedOutput("probabilities")]):
        answer = client.infer("late", [given], outputs=outputs, request_id="4", request_compression_algorithm=packed)
        np.testing.assert_array_equal(answer.as_numpy("probabilities"), expected(model, x))
        assert answer.get_response()["id"] == "4"
    with pytest.raises(Exception, match="no output 'z'"):
        client.infer("late", [given], outputs=[triton.InferRequestedOutput("z")])


def test_tritons_client_and_a_package(served):
    server, predictor, data = served
    head = data[:20].with_columns(x=data["x"][:20].fill_null(float("nan")))
    wanted = predictor.predict(data[:20])
    client = triton.InferenceServerClient(f"{server.host}:{server.port}")
    kinds = {"FP64": np.float64, "INT64": np.int64, "BOOL": np.bool_, "BYTES": np.object_}
    given = []
    for column in client.get_model_metadata("shop")["inputs"]:
        cells = columns(head.select(column["name"]))[column["name"]]
        array = np.array(cells, kinds[column["datatype"]])
        given.append(triton.InferInput(column["name"], [20], column["datatype"]))
        given[-1].set_data_from_numpy(array)
    answer = client.infer("shop", given)
    for name in wanted.columns:
        found = answer.as_numpy(name)
        if found.dtype == np.object_:
            found = np.array([text.decode() for text in found])
        np.testing.assert_array_equal(found, wanted[name].to_numpy())


def test_every_type_there_and_back(tmp_path):
    kinds = {
        "f": (TensorProto.FLOAT, "FP32", np.array([[0.5], [-np.inf]], np.float32)),
        "d": (TensorProto.DOUBLE, "FP64", np.array([[1e300], [np.nan]])),
        "i": (TensorProto.INT32, "INT32", np.array([[-3], [2**31 - 1]], np.int32)),
        "l": (TensorProto.INT64, "INT64", np.array([[-(2**63)], [2**63 - 1]])),
        "b": (TensorProto.BOOL, "BOOL", np.array([[True], [False]])),
        "s": (TensorProto.STRING, "BYTES", np.array([["é\n"], [""]], np.object_)),
    }
    path = write_onnx(
        tmp_path / "all.onnx",
        [helper.make_node("Identity", [name], [f"{name}_out"]) for name in kinds],
        [value(name, kind, [None, 1]) for name, (kind, _, _) in kinds.items()],
        [value(f"{name}_out", kind, [None, 1]) for name, (kind, _, _) in kinds.items()],
    )
    with headrace.Server(path, workers=1) as server:
        client = triton.InferenceServerClient(f"{server.host}:{server.port}")
        given = []
        for name, (_, datatype, array) in kinds.items():
            given.append(triton.InferInput(name, [2, 1], datatype))
            # Some as JSON, some as bytes, in one request.
            given[-1].set_data_from_numpy(array, binary_data=name not in "il")
        wanted = [triton.InferRequestedOutput(f"{name}_out", binary_data=name != "l") for name in kinds]
        answer = client.infer("all", given, outputs=wanted)
        for name, (_, _, array) in kinds.items():
            found = answer.as_numpy(f"{name}_out")
            if name == "s":
                found = np.vectorize(bytes.decode, otypes=[object])(found)
            np.testing.assert_array_equal(found, array)


def test_outputs_as_bytes_for_a_request_of_json(plain, model):
    x = rows(3)
    for document in (
        {**infer(x), "parameters": {"binary_data_output": True}},
        {**infer(x), "outputs": [{"name": "probabilities", "parameters": {"binary_data": True}}]},
    ):
        reply = ask(f"{plain.url}/v2/models/late/infer", document)
        assert reply.headers["content-type"] == "application/octet-stream"
        np.testing.assert_array_equal(read(reply)["probabilities"], expected(model, x))
    wanted = [{"name": "probabilities", "parameters": {"binary_data": False}}]
    reply = ask(
        f"{plain.url}/v2/models/late/infer",
        {**infer(x), "outputs": wanted, "parameters": {"binary_data_output": True}},
    )
    assert reply.json["outputs"][0]["shape"] == [3, 2]
    assert LENGTH.lower() not in reply.headers


def test_a_body_of_nothing_but_the_input(plain, model, served):
    x = rows(5)
    reply = ask(f"{plain.url}/v2/models/late/infer", body=x.tobytes(), headers={LENGTH: "0"})
    np.testing.assert_array_equal(read(reply)["probabilities"], expected(model, x))
    reply = ask(f"{plain.url}/v2/models/late/infer", body=x.tobytes()[:-1], headers={LENGTH: "0"})
    assert (reply.status, reply.json["error"]) == (
        400,
        "the input 'features': 79 bytes are no whole number of its rows",
    )
    reply = ask(f"{served[0].url}/v2/models/shop/infer", body=b"\0", headers={LENGTH: "0"})
    assert (reply.status, "one input" in reply.json["error"]) == (400, True)


@pytest.mark.parametrize(
    ("change", "tail", "length", "message"),
    [
        ({}, b"\0" * 16, 10**6, "inference-header-content-length is 1000000, the body has "),
        ({}, b"\0" * 16, -1, "inference-header-content-length is '-1', expected"),
        ({}, b"\0" * 16, 2**70, "inference-header-content-length is '1180591620717411303424', expected"),
        ({}, b"\0" * 16, "x", "inference-header-content-length is 'x', expected"),
        ({}, b"\0" * 16, 5, "the body cannot be read: "),
        ({}, b"\0" * 15, None, "the input 'features': its binary_data_size is 16, of the body 15 bytes are left"),
        ({}, b"\0" * 17, None, "1 bytes of the body belong to no input"),
        ({"size": 2**63}, b"\0" * 16, None, "the input 'features': its binary_data_size is 9223372036854775808, of"),
        ({"size": -1}, b"\0" * 16, None, "the body cannot be read: invalid value: integer `-1`"),
        ({"size": 12}, b"\0" * 12, None, "the input 'features': its binary data has 12 bytes, 4 values of 4 bytes"),
        ({"shape": [2, 4]}, b"\0" * 16, None, "the input 'features': its binary data has 16 bytes, 8 values of"),
        ({"shape": [2**62, 4]}, b"\0" * 16, None, "the input 'features': the shape [4611686018427387904, 4] has more"),
        ({"shape": [2**61, 1]}, b"\0" * 16, None, "the input 'features': its binary data has 16 bytes, 2305843009213"),
        ({"shape": [2**60, 0], "size": 0}, b"", None, "the request has 1152921504606846976 rows"),
        ({"shape": [-1, 4]}, b"\0" * 16, None, "the input 'features': the shape [-1, 4] has a negative length"),
        ({"data": [1, 2, 3, 4]}, b"\0" * 16, None, "the input 'features': it has `data` and a binary_data_size"),
    ],
)
def test_what_lies_about_its_bytes_is_refused(plain, change, tail, length, message):
    change = dict(change)
    size = change.pop("size", 16)
    document = infer(rows(1), **{"data": None, **change}, parameters={"binary_data_size": size})
    body, headers = binary(document, tail, length=length)
    reply = ask(f"{plain.url}/v2/models/late/infer", body=body, headers=headers)
    assert reply.status in (400, 413)
    assert reply.json["error"].startswith(message)


@pytest.mark.parametrize(
    ("datatype", "tail", "message"),
    [
        ("BYTES", struct.pack("<I", 9) + b"a", "its binary data ends within the text 0"),
        ("BYTES", b"\0\0\0", "its binary data ends within the text 0"),
        ("BYTES", struct.pack("<I", 2**32 - 1), "its binary data ends within the text 0"),
        ("BYTES", struct.pack("<I", 1) + b"\xff", "the text 0 is not UTF-8"),
        ("BYTES", b"\0" * 8, "its binary data has 2 texts, 1 were expected"),
        ("BYTES", b"", "its binary data has 0 texts, 1 were expected"),
        ("BOOL", b"\2", "its binary data holds 2 as a boolean, expected 0 or 1"),
        ("FP16", b"\0\0", "FP16 is not understood as bytes; send FP32"),
        ("INT64", b"\0" * 7, "its binary data has 7 bytes, 1 values of 8 bytes were expected"),
    ],
)
def test_a_column_of_a_package_whose_bytes_are_wrong(served, datatype, tail, message):
    server, _, _ = served
    one = {"name": "shop", "shape": [1], "datatype": datatype, "parameters": {"binary_data_size": len(tail)}}
    body, headers = binary({"inputs": [one]}, tail)
    reply = ask(f"{server.url}/v2/models/shop/infer", body=body, headers=headers)
    assert (reply.status, reply.json) == (400, {"error": f"the input 'shop': {message}"})


def test_classes_instead_of_an_output_are_refused(plain):
    wanted = [{"name": "probabilities", "parameters": {"classification": 1}}]
    reply = ask(f"{plain.url}/v2/models/late/infer", {**infer(rows(1)), "outputs": wanted})
    assert (reply.status, "'classification' is not understood" in reply.json["error"]) == (400, True)
