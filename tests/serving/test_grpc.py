"""gRPC on the port of HTTP: Triton's client, the health service, and calls that are wrong."""

from __future__ import annotations

import itertools
import json
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper

import headrace
from serving.served import ask, columns, graph, infer, rows, value, write_onnx

grpc = pytest.importorskip("grpc")
triton = pytest.importorskip("tritonclient.grpc")
pb = pytest.importorskip("tritonclient.grpc.service_pb2")
INFER = "/inference.GRPCInferenceService/ModelInfer"


@pytest.fixture
def client(plain):
    with triton.InferenceServerClient(f"{plain.host}:{plain.port}") as client:
        yield client


@pytest.fixture
def channel(plain):
    with grpc.insecure_channel(f"{plain.host}:{plain.port}") as channel:
        yield channel


def call(channel, path: str, message: bytes, **more) -> bytes:
    return channel.unary_unary(path)(message, **{"timeout": 20, **more})


def refused(channel, path: str, message: bytes, **more):
    with pytest.raises(grpc.RpcError) as caught:
        call(channel, path, message, **more)
    return caught.value.code().name, caught.value.details()


def expected(model, x):
    session = onnxruntime.InferenceSession(model.read_bytes(), providers=["CPUExecutionProvider"])
    return session.run(None, {"features": x})[0]


@pytest.mark.parametrize("packed", [None, "gzip", "deflate"])
def test_tritons_client_with_its_defaults(client, model, packed):
    x = rows(7)
    x[1, 2] = np.nan
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("late")
    assert client.is_model_ready("late", "1")
    assert "binary_tensor_data" in client.get_server_metadata().extensions
    described = client.get_model_metadata("late")
    assert (described.name, list(described.versions), described.platform) == ("late", ["1"], "onnxruntime_onnx")
    (column,) = described.inputs
    given = triton.InferInput(column.name, list(x.shape), column.datatype)
    given.set_data_from_numpy(x)
    for outputs in (None, [triton.InferRequestedOutput("probabilities")]):
        answer = client.infer("late", [given], outputs=outputs, request_id="4", compression_algorithm=packed)
        np.testing.assert_array_equal(answer.as_numpy("probabilities"), expected(model, x))
        found = answer.get_response()
        assert (found.id, found.model_name, found.model_version) == ("4", "late", "1")


def test_tritons_client_and_a_package(served):
    server, predictor, data = served
    wanted = predictor.predict(data[:20])
    head = data[:20].with_columns(x=data["x"][:20].fill_null(float("nan")))
    kinds = {"FP64": np.float64, "INT64": np.int64, "BOOL": np.bool_, "BYTES": np.object_}
    with triton.InferenceServerClient(f"{server.host}:{server.port}") as client:
        given = []
        for column in client.get_model_metadata("shop").inputs:
            cells = columns(head.select(column.name))[column.name]
            given.append(triton.InferInput(column.name, [20], column.datatype))
            given[-1].set_data_from_numpy(np.array(cells, kinds[column.datatype]))
        answer = client.infer("shop", given)
    for name in wanted.columns:
        found = answer.as_numpy(name)
        if found.dtype == np.object_:
            found = np.array([text.decode() for text in found])
        np.testing.assert_array_equal(found, wanted[name].to_numpy())


def test_typed_contents_are_answered_with_typed_contents(tmp_path):
    kinds = {
        "f": (TensorProto.FLOAT, "FP32", "fp32_contents", [0.5, -2.0]),
        "d": (TensorProto.DOUBLE, "FP64", "fp64_contents", [1e300, 0.1]),
        "i": (TensorProto.INT32, "INT32", "int_contents", [-3, 2**31 - 1]),
        "l": (TensorProto.INT64, "INT64", "int64_contents", [-(2**63), 2**63 - 1]),
        "b": (TensorProto.BOOL, "BOOL", "bool_contents", [True, False]),
        "s": (TensorProto.STRING, "BYTES", "bytes_contents", ["é\n".encode(), b""]),
    }
    path = write_onnx(
        tmp_path / "all.onnx",
        [helper.make_node("Identity", [name], [f"{name}_out"]) for name in kinds],
        [value(name, kind, [None, 1]) for name, (kind, *_) in kinds.items()],
        [value(f"{name}_out", kind, [None, 1]) for name, (kind, *_) in kinds.items()],
    )
    request = pb.ModelInferRequest(model_name="all")
    for name, (_, datatype, field, values) in kinds.items():
        given = request.inputs.add(name=name, datatype=datatype, shape=[2, 1])
        getattr(given.contents, field).extend(values)
    with headrace.Server(path, workers=1) as server, grpc.insecure_channel(f"{server.host}:{server.port}") as channel:
        answer = pb.ModelInferResponse.FromString(call(channel, INFER, request.SerializeToString()))
    assert not answer.raw_output_contents
    for output, (name, (_, datatype, field, values)) in zip(answer.outputs, kinds.items(), strict=True):
        assert (output.name, output.datatype, list(output.shape)) == (f"{name}_out", datatype, [2, 1])
        assert list(getattr(output.contents, field)) == values


def test_health(plain, channel):
    serving = b"\x08\x01"
    health = "/grpc.health.v1.Health/Check"
    assert call(channel, health, b"") == serving
    name = b"inference.GRPCInferenceService"
    assert call(channel, health, b"\x0a" + bytes([len(name)]) + name) == serving
    assert refused(channel, health, b"\x0a\x01x") == ("NOT_FOUND", "there is no service 'x'")
    assert refused(channel, "/grpc.health.v1.Health/Watch", b"")[0] == "UNIMPLEMENTED"


def request(**more):
    x = rows(1)
    made = pb.ModelInferRequest(**{"model_name": "late", "raw_input_contents": [x.tobytes()], **more})
    if not made.inputs:
        made.inputs.add(name="features", datatype="FP32", shape=[1, 4])
    return made


@pytest.mark.parametrize(
    ("made", "code", "message"),
    [
        (b"\xff", "INVALID_ARGUMENT", "the message cannot be read: "),
        (b"\x3a\x7f", "INVALID_ARGUMENT", "the message cannot be read: "),
        (b"\x0b" * 10_000, "INVALID_ARGUMENT", "the message cannot be read: "),
        ({"model_name": "ö\n%"}, "NOT_FOUND", "there is no model 'ö\\n%'"),
        ({"model_version": "2"}, "NOT_FOUND", "there is no version '2' of the model"),
        ({"raw_input_contents": []}, "INVALID_ARGUMENT", "the input 'features': its binary data has 0 bytes, 4 values"),
        (
            {"raw_input_contents": [b"\0" * 15]},
            "INVALID_ARGUMENT",
            "the input 'features': its binary data has 15 bytes",
        ),
        ({"raw_input_contents": [b"\0" * 16] * 2}, "INVALID_ARGUMENT", "the request has 2 raw_input_contents and 1 in"),
        ({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1]}]}, "INVALID_ARGUMENT", "the model has no input"),
        (
            {"inputs": [{"name": "features", "datatype": "FP64", "shape": [1, 4]}]},
            "INVALID_ARGUMENT",
            "the input 'features': its datatype is 'FP64'",
        ),
        (
            {"inputs": [{"name": "features", "datatype": "FP32", "shape": [-1, 4]}]},
            "INVALID_ARGUMENT",
            "the input 'features': the shape [-1, 4] has a negative length",
        ),
        (
            {"inputs": [{"name": "features", "datatype": "FP32", "shape": [2**62, 4]}]},
            "INVALID_ARGUMENT",
            "the input 'features': the shape [4611686018427387904, 4] has more values",
        ),
        (
            {"inputs": [{"name": "features", "shape": [1, 4], "contents": {"fp32_contents": [1]}}]},
            "INVALID_ARGUMENT",
            "the request has raw_input_contents and contents of an input",
        ),
        ({"outputs": [{"name": "z"}]}, "INVALID_ARGUMENT", "the model has no output 'z'"),
        (
            {"outputs": [{"name": "probabilities"}] * 2},
            "INVALID_ARGUMENT",
            "the output 'probabilities' is wanted",
        ),
        (
            {
                "inputs": [{"name": "features", "datatype": "FP32", "shape": [51, 4]}],
                "raw_input_contents": [b"\0" * 816],
            },
            "RESOURCE_EXHAUSTED",
            "the request has 51 rows, at most 50",
        ),
        (b"\0" * 20_001, "RESOURCE_EXHAUSTED", "the body is larger than "),
    ],
    ids=range(17),
)
def test_a_call_that_is_wrong_has_a_code_and_a_reason(channel, made, code, message):
    made = made if isinstance(made, bytes) else request(**made).SerializeToString()
    found = refused(channel, INFER, made)
    assert (found[0], found[1][: len(message)]) == (code, message)
    assert call(channel, INFER, request().SerializeToString())


def test_calls_that_do_not_exist_and_names_of_other_machines(plain, channel):
    assert refused(channel, "/inference.GRPCInferenceService/ModelStreamInfer", b"") == (
        "UNIMPLEMENTED",
        "there is no such call",
    )
    other = [("grpc.default_authority", "evil.example")]
    with grpc.insecure_channel(f"{plain.host}:{plain.port}", options=other) as stranger:
        assert refused(stranger, INFER, request().SerializeToString())[0] == "PERMISSION_DENIED"


def test_many_empty_fields_are_not_made_into_tensors(model):
    with headrace.Server(model, workers=1) as server, grpc.insecure_channel(f"{server.host}:{server.port}") as channel:
        message = "the message has more than 65536 fields"
        assert refused(channel, INFER, b"\x2a\x00" * 70_000) == ("INVALID_ARGUMENT", message)


def test_a_bomb_is_not_unpacked(plain):
    with grpc.insecure_channel(f"{plain.host}:{plain.port}", compression=grpc.Compression.Gzip) as channel:
        code, message = refused(channel, INFER, bytes(3_000_000))
        assert (code, message.startswith("the body is larger than 20000 bytes")) == ("RESOURCE_EXHAUSTED", True)


def test_a_deadline_is_kept(tmp_path):
    """A model that takes a second, and clients that have less."""
    shape = [None, 2000]
    weights = helper.make_tensor("w", TensorProto.FLOAT, [2000, 2000], np.zeros(4_000_000, np.float32))
    names = ["x", *(f"y{i}" for i in range(100))]
    nodes = [helper.make_node("MatMul", [a, "w"], [b]) for a, b in itertools.pairwise(names)]
    path = write_onnx(
        tmp_path / "slow.onnx",
        nodes,
        [value("x", TensorProto.FLOAT, shape)],
        [value(names[-1], TensorProto.FLOAT, shape)],
        initializer=[weights],
    )
    x = np.zeros((60, 2000), np.float32)
    made = pb.ModelInferRequest(model_name="slow", raw_input_contents=[x.tobytes()])
    made.inputs.add(name="x", datatype="FP32", shape=x.shape)
    with headrace.Server(path, workers=1) as server, grpc.insecure_channel(f"{server.host}:{server.port}") as channel:
        assert refused(channel, INFER, made.SerializeToString(), timeout=0.05)[0] == "DEADLINE_EXCEEDED"
        made.parameters["timeout"].int64_param = 20_000
        code, message = refused(channel, INFER, made.SerializeToString())
        # The first may still be computed: then it is clear at once that this one cannot be in time.
        assert code in ("DEADLINE_EXCEEDED", "UNAVAILABLE")
        assert "deadline of 20 ms" in message or "in time" in message


def test_an_answer_names_its_version_a_key_stays_and_shadows_are_tried(tmp_path):
    """What REST has in headers, gRPC has in metadata."""

    def asked(key: str | None = None, name: str = "two"):
        made = pb.ModelInferRequest(model_name=name, raw_input_contents=[rows(1).tobytes()])
        made.inputs.add(name="features", datatype="FP32", shape=[1, 4])
        metadata = (("headrace-key", key),) if key else ()
        _, answered = channel.unary_unary(INFER).with_call(made.SerializeToString(), timeout=20, metadata=metadata)
        return dict(answered.initial_metadata())["headrace-version"]

    for name in ("a", "b", "c"):
        graph(tmp_path / f"{name}.onnx")
    with headrace.Server([], workers=1) as server, grpc.insecure_channel(f"{server.host}:{server.port}") as channel:
        one, two, tried = (server.load(tmp_path / f"{name}.onnx") for name in ("a", "b", "c"))
        server.route("two", {one: 1, two: 1}, shadows=[tried])
        server.open()
        assert {asked() for _ in range(10)} == {"a@1", "b@1"}
        by_key = {key: asked(key) for key in map(str, range(20))}
        assert set(by_key.values()) == {"a@1", "b@1"}
        for key, version in by_key.items():
            reply = ask(f"{server.url}/v2/models/two/infer", infer(rows(1)), headers={"headrace-key": key})
            assert asked(key) == version == reply.headers["headrace-version"]
        made = pb.ModelInferRequest(model_name="two")
        with pytest.raises(grpc.RpcError) as caught:
            call(channel, INFER, made.SerializeToString())
        seen = dict([*caught.value.initial_metadata(), *caught.value.trailing_metadata()])
        assert seen["headrace-version"] in ("a@1", "b@1")
        began = time.monotonic()
        while f'headrace_shadow_rows_total{{model="c",version="1"}} {10 + 20 * 3}' not in metrics(server):
            assert time.monotonic() - began < 20, metrics(server)


def metrics(server) -> str:
    return ask(f"{server.url}/metrics").body.decode()


def test_a_header_may_be_the_deadline_as_well(plain, channel):
    made = pb.ModelInferRequest(model_name="late", raw_input_contents=[rows(1).tobytes()])
    made.inputs.add(name="features", datatype="FP32", shape=[1, 4])
    call(channel, INFER, made.SerializeToString(), metadata=(("headrace-deadline", "5"),))
    code, message = refused(channel, INFER, made.SerializeToString(), metadata=(("headrace-deadline", "soon"),))
    assert (code, message) == ("INVALID_ARGUMENT", "headrace-deadline is 'soon', expected seconds, such as 0.25")


def test_both_protocols_at_once(plain, client, model):
    x = rows(3)
    wanted = expected(model, x)
    given = triton.InferInput("features", [3, 4], "FP32")
    given.set_data_from_numpy(x)

    def one(number: int) -> np.ndarray:
        if number % 2:
            return client.infer("late", [given]).as_numpy("probabilities")
        reply = ask(f"{plain.url}/v2/models/late/infer", infer(x))
        return np.float32(reply.json["outputs"][0]["data"]).reshape(3, 2)

    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(one, range(100)):
            np.testing.assert_array_equal(found, wanted)


def test_rest_over_http2(plain):
    done = subprocess.run(
        ["curl", "-s", "--http2-prior-knowledge", f"{plain.url}/v2/models/late"], capture_output=True, check=False
    )
    if done.returncode == 2:
        pytest.skip("curl has no HTTP/2")
    assert json.loads(done.stdout)["name"] == "late"


@pytest.mark.parametrize(
    "sent", [b"P", b"PR", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 99, b"PRI", b"PROPFIND / HTTP/1.1\r\n\r\n"]
)
def test_a_broken_beginning_leaves_the_others_alone(plain, sent):
    with socket.create_connection((plain.host, plain.port), timeout=10) as connection:
        connection.sendall(sent)
        assert ask(f"{plain.url}/v2/health/live").status == 200
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(4096):
            pass
    assert ask(f"{plain.url}/v2/health/live").status == 200


def test_the_end_of_the_server_ends_calls_in_order(model):
    server = headrace.Server(model, workers=1)
    with grpc.insecure_channel(f"{server.host}:{server.port}") as channel:
        assert call(channel, INFER, request().SerializeToString())
        began = time.monotonic()
        server.stop()
        assert time.monotonic() - began < 5
        assert refused(channel, INFER, request().SerializeToString(), timeout=1)[0] in (
            "UNAVAILABLE",
            "DEADLINE_EXCEEDED",
        )
