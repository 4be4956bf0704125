"""CSV as pandas writes it, and packed bodies."""

from __future__ import annotations

import gzip
import io
import json
import zlib

import numpy as np
import onnxruntime
import pandas as pd
import polars as pl
import pytest
from onnx import helper

import headrace
from serving.served import FLOAT, as_json, ask, infer, records, rows, value, write_onnx

CSV = {"Content-Type": "text/csv"}


def text(data: pl.DataFrame, ends: str = "\n") -> bytes:
    cells = [{name: as_json(cell) for name, cell in row.items()} for row in data.iter_rows(named=True)]
    return pd.DataFrame(cells, columns=data.columns).to_csv(index=False, lineterminator=ends).encode()


def test_a_table_answers_as_predictor(served):
    server, predictor, data = served
    head = data[:60]
    assert head["x"].null_count()
    wanted = predictor.predict(head)
    wanted = wanted["prediction"].to_list() if wanted.width == 1 else wanted.to_dicts()
    extra = head.with_columns(pl.lit("a, b").alias("not read"))
    for body, headers in [
        (text(head), CSV),
        (text(head, "\r\n"), {"Content-Type": 'Text/CSV; charset="UTF-8"'}),
        (text(extra.select(reversed(extra.columns))), CSV),
        (gzip.compress(text(head)), {**CSV, "Content-Encoding": "gzip"}),
    ]:
        reply = ask(f"{server.url}/invocations", body=body, headers=headers)
        assert reply.status == 200, reply.body
        assert reply.json["predictions"] == wanted


def test_a_table_for_a_graph(plain, model, tmp_path):
    x = rows(5)
    session = onnxruntime.InferenceSession(model.read_bytes(), providers=["CPUExecutionProvider"])
    x[2, 1] = np.nan
    for names in (list("abcd"), [0, 1, 2, 3]):
        body = pd.DataFrame(x.astype(np.float64), columns=names).to_csv(index=False).encode()
        reply = ask(f"{plain.url}/invocations", body=body, headers=CSV)
        assert reply.status == 200, reply.body
        found = np.float32(reply.json["predictions"])
        np.testing.assert_array_equal(found, session.run(None, {"features": x})[0])
    nodes = [helper.make_node("Sub", ["a", "b"], ["y"])]
    shape = [None]
    path = write_onnx(
        tmp_path / "minus.onnx",
        nodes,
        [value("a", FLOAT, shape), value("b", FLOAT, shape)],
        [value("y", FLOAT, shape)],
    )
    with headrace.Server(path, workers=1) as server:
        reply = ask(f"{server.url}/invocations", body=b"b,c,a\n1,x,+3\n.5,y,1e1\n", headers=CSV)
        assert reply.json == {"predictions": [2.0, 9.5]}


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b"", 400, "the request has no rows"),
        (b"a,b,c,d\n", 400, "the request has no rows"),
        (b"1.5,2,3,4\n1,2,3,4\n", 400, "the first line of the table has numbers only"),
        (b"a,b,c,d\n1,2,3\n", 400, "the body cannot be read as a table: "),
        (b"a,b,c,d\n1,2,3,\xff\n", 400, "the body cannot be read as a table: "),
        (b"a,b,c\n1,2,3\n", 400, "the input 'features' has the shape [1, 3], expected [-1, 4]"),
        (b"a,b,c,d\n1,2,3,x\n", 400, "the input 'features': holds the text 'x', expected FP32"),
        (b"a,b,c,d\n" + b"1,2,3,4\n" * 51, 413, "the request has 51 rows, at most 50"),
        (b'a,b,c,d\n"1,2,3,4\n', 400, "the body cannot be read as a table: "),
    ],
    ids=range(9),
)
def test_a_table_that_is_none(plain, body, status, message):
    reply = ask(f"{plain.url}/invocations", body=body, headers=CSV)
    assert reply.status == status
    assert reply.json["message"].startswith(message)


def test_a_wrong_cell_is_named(served):
    server, _, data = served
    body = text(data[:2]).replace(b"True", b"perhaps").replace(b"False", b"perhaps")
    reply = ask(f"{server.url}/invocations", body=body, headers=CSV)
    assert (reply.status, reply.json["message"].startswith("column 'ok', row 0: ")) == (400, True)
    reply = ask(f"{server.url}/invocations", body=b"x\n1\n", headers=CSV)
    assert (reply.status, "is missing; the model takes" in reply.json["message"]) == (400, True)
    twice = io.BytesIO(b"x,x\n1,2\n")
    reply = ask(f"{server.url}/invocations", body=twice.getvalue(), headers=CSV)
    assert (reply.status, reply.json["message"]) == (400, "the input 'x' is there twice")


@pytest.mark.parametrize("charset", ["utf-16", "latin1"])
def test_types_that_are_not_understood(plain, charset):
    for kind in (f"text/csv; charset={charset}", "text/csv; header=present", "text/plain", "application/parquet"):
        reply = ask(f"{plain.url}/invocations", body=b"a\n1\n", headers={"Content-Type": kind})
        assert (reply.status, "expected application/json" in reply.json["message"]) == (415, True)


def test_packed_bodies_are_unpacked(served, plain):
    server, predictor, data = served
    wanted = predictor.predict(data[:3])["prediction"].to_list()
    document = json.dumps({"dataframe_records": records(data[:3])}).encode()
    parts = gzip.compress(document[:50]) + gzip.compress(document[50:])
    for packed, word in [
        (gzip.compress(document), "gzip"),
        (parts, "x-gzip"),
        (zlib.compress(document), "deflate"),
        (document, "identity"),
    ]:
        reply = ask(f"{server.url}/invocations", body=packed, headers={"Content-Encoding": word})
        assert reply.status == 200, reply.body
        found = [row["prediction"] if isinstance(row, dict) else row for row in reply.json["predictions"]]
        assert found == wanted
    whole = gzip.compress(json.dumps(infer(rows(1))).encode())
    for packed, word in [
        (whole[:-9], "gzip"),
        (b"x" + whole, "gzip"),
        (whole[:-8] + bytes(8), "gzip"),
        (whole + b"more", "gzip"),
        (b"", "gzip"),
        (whole, "deflate"),
    ]:
        reply = ask(f"{plain.url}/v2/models/late/infer", body=packed, headers={"Content-Encoding": word})
        assert reply.status == 400, (word, reply.body)
        assert reply.json["error"].startswith("the body is not the ") or packed == b""
    for word in ("br", "gzip, gzip", "zstd"):
        reply = ask(f"{plain.url}/v2/models/late/infer", body=whole, headers={"Content-Encoding": word})
        assert (reply.status, "send gzip, deflate" in reply.json["error"]) == (415, True)


def test_a_bomb_is_not_unpacked(plain):
    small = gzip.compress(bytes(10_000_000))
    assert len(small) < 20_000
    reply = ask(f"{plain.url}/v2/models/late/infer", body=small, headers={"Content-Encoding": "gzip"})
    assert (reply.status, reply.json["error"].startswith("the body is larger than 20000 bytes")) == (413, True)
