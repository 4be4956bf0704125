"""Data frames for a graph of one input, and bodies that look like a document and are none."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest
from onnx import TensorProto, helper

import headrace
from serving.served import FLOAT, ask, infer, rows, value, write_onnx
from serving.test_follow import arrow


def frame(x, names="abcd") -> list[dict[str, float]]:
    return [dict(zip(names, row, strict=True)) for row in x.tolist()]


@pytest.mark.parametrize("field", ["dataframe_records", "instances"])
def test_records_of_any_names_are_rows_of_the_only_input(plain, field):
    """As MLflow's flavour for ONNX takes a frame: its values, whatever the columns are called."""
    x = rows(3)
    expected = ask(f"{plain.url}/invocations", {"instances": x.tolist()}).json
    found = frame(x)
    assert ask(f"{plain.url}/invocations", {field: found}).json == expected
    # Names decide where a value goes, and the first row where its column is.
    found[1] = dict(reversed(found[1].items()))
    assert ask(f"{plain.url}/invocations", {field: found}).json == expected
    named = [{"features": row} for row in x.tolist()]
    assert ask(f"{plain.url}/invocations", {field: named}).json == expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"e": 1.0}, "row 1: the column 'e' is not in row 0"),
        ({"d": "warm"}, "the input 'features'"),
        ({}, "row 1: the column 'a' is missing, row 0 has it"),
    ],
)
def test_records_that_differ_are_refused_by_name(plain, change, message):
    first, second = frame(rows(2))
    second = second | change if change else {"b": 1.0, "c": 1.0, "d": 1.0}
    reply = ask(f"{plain.url}/invocations", {"dataframe_records": [first, second]})
    assert reply.status == 400
    assert message in reply.json["message"]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"columns": ["a", "b"]}, "row 0 has 4 values, there are 2 columns"),
        ({"index": [0]}, "`dataframe_split.index` has 1 values, `dataframe_split.data` has 2 rows"),
        ({"columns": list("abcd"), "index": [0, 1, 2]}, "`dataframe_split.index` has 3 values"),
    ],
)
def test_a_split_frame_that_is_uneven_is_refused(plain, more, message):
    reply = ask(f"{plain.url}/invocations", {"dataframe_split": {"data": rows(2).tolist(), **more}})
    assert (reply.status, message in reply.json["message"]) == (400, True), reply.body


def test_a_split_frame_that_is_even_is_answered(plain):
    x = rows(2).tolist()
    expected = ask(f"{plain.url}/invocations", {"instances": x}).json
    for more in ({}, {"columns": list("abcd")}, {"columns": list("abcd"), "index": [5, 7]}, {"index": None}):
        assert ask(f"{plain.url}/invocations", {"dataframe_split": {"data": x, **more}}).json == expected


def test_an_index_of_another_length_is_refused_for_a_package(served):
    server, _, data = served[:3]
    names = data.columns
    split = {"columns": names, "index": [1, 2], "data": [[None] * len(names)]}
    reply = ask(f"{server.url}/invocations", {"dataframe_split": split})
    assert (reply.status, "`dataframe_split.index` has 2 values" in reply.json["message"]) == (400, True)


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("/invocations", [None, None, [[1, 2, 3, 4]], None], "expected an object with `dataframe_split`"),
        ("/invocations", [[1, 2, 3, 4]], "found an array"),
        ("/invocations", "[1", "the body cannot be read"),
        ("/v1/models/late:predict", [[1, 2, 3, 4]], "expected an object with `instances` or `inputs`, found an array"),
        ("/v2/models/late/infer", [None, None, [["features", [1, 4], "FP32", None, [1, 2, 3, 4]]], None], "`inputs`"),
        ("/v2/models/late/infer", {"inputs": [["features", [1, 4], "FP32", None, [1, 2, 3, 4]]]}, "expected an object"),
        ("/v2/models/late/infer", infer(rows(1)) | {"parameters": [5]}, "expected an object"),
        ("/v2/models/late/infer", infer(rows(1)) | {"outputs": [["probabilities", None]]}, "expected an object"),
        ("/invocations", {"dataframe_split": [None, None, [[1, 2, 3, 4]]]}, "expected an object"),
    ],
)
def test_an_array_is_no_document(plain, path, body, message):
    sent = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    reply = ask(f"{plain.url}{path}", body=sent)
    said = reply.json.get("message") or reply.json["error"]
    assert (reply.status, message in said) == (400, True), said


def test_categories_in_arrow_are_texts(tmp_path):
    node = helper.make_node("Identity", ["x"], ["y"])
    text = TensorProto.STRING
    path = write_onnx(tmp_path / "said.onnx", [node], [value("x", text, ["n"])], [value("y", text, ["n"])])
    kind = {"Content-Type": "application/vnd.apache.arrow.stream", "Accept": "application/json"}
    with headrace.Server(path, workers=1) as server:
        plain = pa.array(["b", "a", "b"])
        for column in (plain, plain.dictionary_encode(), plain.cast(pa.dictionary(pa.int8(), pa.large_string()))):
            body = arrow(pa.table({"x": column}))
            assert ask(f"{server.url}/invocations", body=body, headers=kind).json == {"predictions": ["b", "a", "b"]}
        body = arrow(pa.table({"x": pa.array(["b", None]).dictionary_encode()}))
        reply = ask(f"{server.url}/invocations", body=body, headers=kind)
        assert (reply.status, "holds null" in reply.json["message"]) == (400, True)
        sink = pa.BufferOutputStream()
        packed = pa.table({"x": pa.array(["a long text"] * 500)})
        with pa.ipc.new_stream(sink, packed.schema, options=pa.ipc.IpcWriteOptions(compression="lz4")) as writer:
            writer.write_table(packed)
        reply = ask(f"{server.url}/invocations", body=sink.getvalue().to_pybytes(), headers=kind)
        assert (reply.status, "without compression" in reply.json["message"]) == (400, True), reply.body
        reply = ask(f"{server.url}/v1/models/said:predict", body=body, headers=kind)
        assert (reply.status, "/invocations" in reply.json["error"]) == (415, True)


def test_one_column_of_a_graph_of_rank_one(tmp_path):
    node = helper.make_node("Neg", ["x"], ["y"])
    path = write_onnx(tmp_path / "neg.onnx", [node], [value("x", FLOAT, ["n"])], [value("y", FLOAT, ["n"])])
    with headrace.Server(path, workers=1) as server:
        for records in ([{"a": 1.0}, {"a": 2.0}], [{"x": 1.0}, {"x": 2.0}]):
            reply = ask(f"{server.url}/invocations", {"dataframe_records": records})
            assert np.array_equal(reply.json["predictions"], [-1.0, -2.0])
