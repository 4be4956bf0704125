"""Tables as Arrow IPC streams: many rows at once, with the types that they had in training."""

from __future__ import annotations

import io
import struct

import numpy as np
import onnxruntime
import polars as pl
import pyarrow as pa
import pytest
from onnx import TensorProto, helper, numpy_helper

import headrace
from serving.served import FLOAT, ask, infer, rows, value, write_onnx

STREAM = {"Content-Type": "application/vnd.apache.arrow.stream"}


def stream(table: pa.Table, size: int | None = None) -> bytes:
    out = io.BytesIO()
    with pa.ipc.new_stream(out, table.schema) as writer:
        writer.write_table(table, max_chunksize=size)
    return out.getvalue()


def read(reply) -> pa.Table:
    assert reply.status == 200, reply.body
    assert reply.headers["content-type"] == STREAM["Content-Type"]
    return pa.ipc.open_stream(reply.body).read_all()


def expected(model, x):
    session = onnxruntime.InferenceSession(model.read_bytes(), providers=["CPUExecutionProvider"])
    return session.run(None, {"features": x})[0]


def matrix(table: pa.Table, name: str = "probabilities") -> np.ndarray:
    return np.array(table[name].to_pylist(), np.float32)


def named(x: np.ndarray, kind: pa.DataType | None = None) -> pa.Table:
    return pa.table({f"c{i}": pa.array(column, kind or pa.float32()) for i, column in enumerate(x.T)})


@pytest.mark.parametrize("size", [None, 1, 700])
def test_a_graph_answers_as_onnxruntime(plain, model, size):
    x = rows(3000 if size != 1 else 20)
    x[5, 1] = np.nan
    wanted = expected(model, x)
    lists = pa.FixedSizeListArray.from_arrays(pa.array(x.ravel()), 4)
    ragged = pa.ListArray.from_arrays(pa.array(range(0, x.size + 1, 4), pa.int32()), pa.array(x.ravel()))
    tables = [
        named(x),
        named(x.astype(np.float64), pa.float64()),
        pa.table({"any": lists}),
        pa.table({"any": ragged}),
        pa.table({"any": ragged.cast(pa.large_list(pa.float32()))}),
        pa.table({"any": pa.concat_arrays([lists[:3], lists])}).slice(3),
    ]
    for table in tables:
        for path in ("/invocations", "/v2/models/late/infer"):
            answer = read(ask(plain.url + path, body=stream(table, size), headers=STREAM))
            assert answer.schema.metadata == {b"model_name": b"late", b"model_version": b"1"}
            np.testing.assert_array_equal(matrix(answer), wanted)
    only_json = {**STREAM, "Accept": "application/json"}
    reply = ask(f"{plain.url}/invocations", body=stream(tables[0], size), headers=only_json)
    np.testing.assert_array_equal(np.float32(reply.json["predictions"]), wanted)


def test_a_package_answers_as_predictor(served):
    server, predictor, data = served
    many = pl.concat([data] * 9)
    wanted = predictor.predict(many)
    for table in (
        many.to_arrow(),
        many.with_columns(more=pl.lit(1)).select(sorted([*many.columns, "more"])).to_arrow(),
    ):
        for size in (None, 299):
            for path in ("/invocations", "/v2/models/shop/infer"):
                reply = ask(server.url + path, body=stream(table, size), headers=STREAM)
                assert pl.from_arrow(read(reply)).equals(wanted)
    categories = many.with_columns(pl.col("shop").cast(pl.Categorical)).to_arrow()
    reply = ask(f"{server.url}/invocations", body=stream(categories), headers=STREAM)
    assert pl.from_arrow(read(reply)).equals(wanted)


def test_a_wrong_row_of_a_package_is_named_by_its_number(served):
    server, _, data = served
    many = pl.concat([data] * 9).to_arrow()
    zoned = many['k "é\n'].to_pylist()
    zoned[2222] = 0.5
    at = many.schema.names.index('k "é\n')
    table = many.set_column(at, 'k "é\n', pa.array([float(v) for v in zoned]))
    reply = ask(f"{server.url}/invocations", body=stream(table), headers=STREAM)
    assert (reply.status, ", row 2222: " in reply.json["message"]) == (400, True), reply.body
    reply = ask(f"{server.url}/invocations", body=stream(many.drop_columns(["shop"])), headers=STREAM)
    assert (reply.status, "'shop'" in reply.json["message"]) == (400, True)


def test_columns_of_every_type(tmp_path):
    kinds = {
        "f": (TensorProto.FLOAT, pa.array([0.5, None], pa.float64())),
        "d": (TensorProto.DOUBLE, pa.array([1, None], pa.int16())),
        "i": (TensorProto.INT32, pa.array([-3, 2**31 - 1], pa.int64())),
        "l": (TensorProto.INT64, pa.array([7, 2**63 - 1], pa.uint64())),
        "b": (TensorProto.BOOL, pa.array([True, False])),
        "s": (TensorProto.STRING, pa.array(["é\n", ""], pa.string_view())),
    }
    path = write_onnx(
        tmp_path / "all.onnx",
        [helper.make_node("Identity", [name], [f"{name}_out"]) for name in kinds],
        [value(name, kind, [None]) for name, (kind, _) in kinds.items()],
        [value(f"{name}_out", kind, [None]) for name, (kind, _) in kinds.items()],
    )
    with headrace.Server(path, workers=1) as server:
        table = pa.table({name: column for name, (_, column) in kinds.items()} | {"more": [1, 2]})
        answer = read(ask(f"{server.url}/invocations", body=stream(table), headers=STREAM)).to_pydict()
        assert answer["l_out"] == [7, 2**63 - 1]
        assert answer["b_out"] == [True, False]
        assert answer["s_out"] == ["é\n", ""]
        assert np.isnan(answer["f_out"][1])
        assert np.isnan(answer["d_out"][1])
        for change, message in [
            ({"i": pa.array([2**31, 0])}, "the input 'i': holds 2147483648, expected INT32"),
            ({"i": pa.array([None, 0])}, "the input 'i': holds null, expected a value"),
            ({"l": pa.array([1.5, 0])}, "the input 'l': holds Float64, expected whole numbers"),
            ({"s": pa.array(["a\0", ""])}, "the input 's' holds a NUL"),
            ({"s": pa.array([None, ""])}, "the input 's': holds null, expected a text"),
            ({"f": pa.array([1e300, 0])}, "the input 'f': holds 1e300, expected FP32"),
            ({"f": pa.array([[1.0, 2.0], [3.0]])}, "the input 'f': its lists have 2 and 1 values"),
        ]:
            wrong = pa.table({name: change.get(name, table[name]) for name in kinds})
            reply = ask(f"{server.url}/invocations", body=stream(wrong), headers=STREAM)
            assert (reply.status, reply.json["message"][: len(message)]) == (400, message)
        reply = ask(f"{server.url}/invocations", body=stream(table.drop_columns(["d"])), headers=STREAM)
        assert (reply.status, reply.json["message"].startswith("the input 'd' is missing")) == (400, True)


def test_rows_that_depend_on_each_other_are_not_parted(tmp_path):
    axes = numpy_helper.from_array(np.array([0]), "axes")
    nodes = [helper.make_node("ReduceSum", ["x", "axes"], ["sum"]), helper.make_node("Add", ["x", "sum"], ["y"])]
    shape = [None, 2]
    path = write_onnx(
        tmp_path / "sums.onnx", nodes, [value("x", FLOAT, shape)], [value("y", FLOAT, shape)], initializer=[axes]
    )
    x = np.ones((5000, 2), np.float32)
    with headrace.Server(path, workers=1) as server:
        answer = read(ask(f"{server.url}/invocations", body=stream(named(x), 100), headers=STREAM))
        np.testing.assert_array_equal(matrix(answer, "y"), x + 5000)
        reply = ask(f"{server.url}/invocations", body=stream(named(x.repeat(3, 0))), headers=STREAM)
        assert (reply.status, "at most 10000" in reply.json["message"]) == (413, True)


def test_more_than_allowed(model):
    with headrace.Server(model, workers=1, max_bulk_rows=100, max_bulk_bytes=50_000) as server:
        url = f"{server.url}/invocations"
        assert ask(url, body=stream(named(rows(100))), headers=STREAM).status == 200
        assert ask(url, body=stream(named(rows(101))), headers=STREAM).status == 413
        assert ask(url, body=bytes(50_001), headers=STREAM).status == 413
        reply = ask(url, body=stream(pa.table({"n": pa.nulls(2**31 - 1)})), headers=STREAM)
        assert (reply.status, "2147483647 rows" in reply.json["message"]) == (413, True)
        long = pa.DictionaryArray.from_arrays(pa.array([0] * 100, pa.int8()), pa.array(["x" * 20_000]))
        reply = ask(url, body=stream(pa.table({"s": long})), headers=STREAM)
        assert (reply.status, "many times as long" in reply.json["message"]) == (413, True)
        wide = pa.table({"w": pa.FixedSizeListArray.from_arrays(pa.nulls(3 * 2**29), 2**29)})
        reply = ask(url, body=stream(wide), headers=STREAM)
        assert reply.status in (400, 413), reply.body
        assert ask(f"{server.url}/v2/models/late/infer", infer(rows(2))).status == 200


def test_streams_that_are_none(plain):
    good = stream(named(rows(3)))
    url = f"{plain.url}/invocations"
    assert ask(url, body=good, headers=STREAM).status == 200
    wrong = [b"", b"x", good[:-9], good[: len(good) // 2], good[:200], good[8:], b"ARROW1\0\0" + good]
    wrong += [struct.pack("<Ii", 2**32 - 1, size) + good[8:] for size in (2**31 - 1, -1, -(2**31), 1, 4096)]
    wrong += [stream(named(rows(3))[:0]), stream(pa.table({"a": ["x"] * 3, "b": [1] * 3, "c": [1] * 3, "d": [1] * 3}))]
    for body in wrong:
        reply = ask(url, body=body, headers=STREAM)
        assert (reply.status, reply.json["error_code"]) == (400, "BAD_REQUEST"), (body[:20], reply.body)
    # Every byte of the stream may be another.
    rng = np.random.default_rng(0)
    for at in rng.integers(0, len(good), 300):
        body = bytearray(good)
        body[at] ^= int(rng.integers(1, 256))
        reply = ask(url, body=bytes(body), headers=STREAM)
        assert reply.status in (200, 400, 413), (at, reply.body)
    assert ask(url, body=good, headers=STREAM).status == 200
