"""The answers of a running server are those of onnxruntime and of `Predictor`, in every protocol."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime
import polars as pl
import pytest
from onnx import TensorProto, helper, numpy_helper

import headrace
from serving.served import FLOAT, ask, columns, frame, infer, package, records, rows, value, write_onnx


def expected(model: Path, x: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.read_bytes(), providers=["CPUExecutionProvider"])
    return session.run(None, {"features": x})[0]


@pytest.mark.parametrize("n", [1, 2, 33])
def test_a_graph_answers_as_onnxruntime(plain, model, n):
    x = rows(n)
    x[0, 0] = np.nan
    reply = ask(f"{plain.url}/v2/models/late/infer", {"id": "7", **infer(x)})
    document = reply.json
    assert (reply.status, reply.headers["content-type"]) == (200, "application/json")
    assert (document["model_name"], document["model_version"], document["id"]) == ("late", "1", "7")
    (output,) = document["outputs"]
    assert (output["name"], output["datatype"], output["shape"]) == ("probabilities", "FP32", [n, 2])
    np.testing.assert_array_equal(np.float32(output["data"]).reshape(n, 2), expected(model, x))


def test_every_form_of_the_same_rows_is_answered_the_same(plain, model):
    x = rows(3)
    wanted = expected(model, x)
    nested = infer(x, data=x.tolist())
    (output,) = ask(f"{plain.url}/v2/models/late/versions/1/infer", nested).json["outputs"]
    np.testing.assert_array_equal(np.float32(output["data"]).reshape(3, 2), wanted)
    for path, document in [
        ("/v1/models/late:predict", {"instances": x.tolist()}),
        ("/v1/models/late:predict", {"instances": [{"features": row} for row in x.tolist()]}),
        ("/v1/models/late:predict", {"inputs": x.tolist()}),
        ("/invocations", {"instances": x.tolist()}),
        ("/invocations", {"inputs": x.tolist()}),
        ("/invocations", {"inputs": {"features": x.tolist()}}),
        ("/invocations", {"dataframe_split": {"columns": [0, 1, 2, 3], "data": x.tolist()}}),
    ]:
        reply = ask(plain.url + path, document)
        assert reply.status == 200, reply.body
        np.testing.assert_array_equal(np.float32(reply.json["predictions"]), wanted)


def test_a_package_answers_as_predictor(served):
    server, predictor, data = served
    head = data[:40]
    wanted = predictor.predict(head)
    inputs = [
        {"name": name, "shape": [40, 1], "datatype": "BYTES", "data": [[v] for v in values]}
        for name, values in columns(head).items()
    ]
    reply = ask(f"{server.url}/v2/models/shop/infer", {"inputs": inputs})
    assert reply.status == 200, reply.body
    found = {output["name"]: output["data"] for output in reply.json["outputs"]}
    assert found == wanted.to_dict(as_series=False)
    split = {"columns": head.columns, "data": [list(row.values()) for row in records(head)], "index": [9] * 40}
    single = wanted.width == 1
    wanted_rows = wanted["prediction"].to_list() if single else wanted.to_dicts()
    for path, document in [
        ("/invocations", {"dataframe_records": records(head)}),
        ("/invocations", {"dataframe_split": split}),
        ("/invocations", {"inputs": columns(head), "params": {}}),
        ("/v1/models/shop:predict", {"instances": [{**row, "not read": [{}]} for row in records(head)]}),
    ]:
        reply = ask(server.url + path, document)
        assert reply.status == 200, reply.body
        assert reply.json["predictions"] == wanted_rows


def test_a_package_says_what_it_takes_and_gives(served):
    server, predictor, _ = served
    document = ask(f"{server.url}/v2/models/shop").json
    assert (document["name"], document["versions"], document["platform"]) == ("shop", ["3"], "headrace_package")
    assert [column["name"] for column in document["inputs"]] == list(predictor.plan.inputs)
    kinds = {column["name"]: column["datatype"] for column in document["inputs"]}
    assert (kinds["x"], kinds["shop"], kinds["ok"], kinds["at"], kinds["took"]) == (
        "FP64", "BYTES", "BOOL", "BYTES", "FP64",
    )  # fmt: skip
    names = [f"probability_{name}" for name in predictor.plan.class_names]
    assert [column["name"] for column in document["outputs"]] == ["prediction", *names]
    label = {"binary": "BOOL", "multiclass": "BYTES", "regression": "FP64"}[predictor.plan.task]
    assert document["outputs"][0]["datatype"] == label


def test_numbers_that_json_lacks(served):
    """Python's clients send them bare; null is missing; what comes back is always JSON."""
    server, predictor, data = served
    some = data[:3].with_columns(x=pl.Series([float("nan"), float("inf"), None]))
    wanted = predictor.predict(some)
    reply = ask(f"{server.url}/invocations", {"dataframe_records": records(some)})
    assert b"NaN" in json.dumps(records(some)).encode()
    assert reply.status == 200, reply.body
    found = reply.json["predictions"]
    assert found == (wanted["prediction"].to_list() if wanted.width == 1 else wanted.to_dicts())


def test_a_bare_nan_is_missing_in_a_column_of_every_type():
    """It is what pandas has for a missing text; in quotes it is a text as any other."""
    missing = np.arange(300) % 3 == 0
    shop = pl.Series([None if gone else ("NaN" if i % 2 else "east") for i, gone in enumerate(missing)])
    made, predictor, data = package("binary", frame().with_columns(shop=shop, late=pl.Series(missing)))
    given = pl.DataFrame([{**data.drop("late").row(1, named=True), "shop": cell} for cell in (None, "NaN")])
    wanted = predictor.predict(given.cast({"shop": pl.String})).to_dicts()
    assert wanted[0] != wanted[1]
    row = records(data.drop("late"))[1]
    with headrace.Server(made, workers=1) as server:
        sent = [{**row, "shop": float("nan")}, {**row, "shop": "NaN"}]
        reply = ask(f"{server.url}/invocations", {"dataframe_records": sent})
        assert reply.json["predictions"] == wanted
        inputs = [{"name": n, "shape": [2], "datatype": "BYTES", "data": [r[n] for r in sent]} for n in row]
        outputs = ask(f"{server.url}/v2/models/shop/infer", {"inputs": inputs}).json["outputs"]
        assert outputs[0]["data"] == [one["prediction"] for one in wanted]
        for name in row:
            url = f"{server.url}/v1/models/shop:predict"
            bare, null = (ask(url, {"instances": [{**row, name: cell}]}) for cell in (float("nan"), None))
            assert (bare.status, bare.json) == (200, null.json), name


def test_a_model_too_wide_to_be_tried_is_served_unbatched(tmp_path):
    for number, shape in enumerate(([None, 2**40], [None, 2**33, 2**33], [None, 2**62, 8])):
        path = write_onnx(
            tmp_path / f"wide{number}.onnx",
            [helper.make_node("Identity", ["x"], ["y"])],
            [value("x", FLOAT, shape)],
            [value("y", FLOAT, shape)],
        )
        with headrace.Server(path, workers=1) as server:
            assert not server.batched
            body = {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 1]}]}
            assert ask(f"{server.url}/v2/models/wide{number}/infer", body).status == 400


def test_outputs_that_are_no_numbers_become_null(tmp_path):
    nodes = [helper.make_node("Log", ["x"], ["y"]), helper.make_node("Identity", ["x"], ["z"])]
    path = write_onnx(
        tmp_path / "log.onnx",
        nodes,
        [value("x", FLOAT, [None])],
        [value("y", FLOAT, [None]), value("z", FLOAT, [None])],
    )
    with headrace.Server(path, workers=1) as server:
        body = {"inputs": [{"name": "x", "shape": [3], "datatype": "FP32", "data": [-1, 0, 1]}]}
        reply = ask(f"{server.url}/v2/models/log/infer", body)
        assert [output["data"] for output in reply.json["outputs"]] == [[None, None, 0.0], [-1.0, 0.0, 1.0]]
        reply = ask(f"{server.url}/v2/models/log/infer", {**body, "outputs": [{"name": "z"}]})
        assert [output["name"] for output in reply.json["outputs"]] == ["z"]
        reply = ask(f"{server.url}/v1/models/log:predict", {"instances": [{"x": -1}, {"x": 1}]})
        assert reply.json == {"predictions": [{"y": None, "z": -1.0}, {"y": 0.0, "z": 1.0}]}
        reply = ask(f"{server.url}/v2/models/log/infer", {**body, "outputs": [{"name": "w"}]})
        assert (reply.status, reply.json["error"]) == (400, "the model has no output 'w'; it gives 'y', 'z'")


def test_inputs_of_every_type(tmp_path):
    kinds = {
        "f": (TensorProto.FLOAT, "FP32", [0.5, -2.0]),
        "d": (TensorProto.DOUBLE, "FP64", [1e300, 0.1]),
        "i": (TensorProto.INT32, "INT32", [-3, 2**31 - 1]),
        "l": (TensorProto.INT64, "INT64", [-(2**63), 2**63 - 1]),
        "b": (TensorProto.BOOL, "BOOL", [True, False]),
        "s": (TensorProto.STRING, "BYTES", ['é\n"', ""]),
    }
    path = write_onnx(
        tmp_path / "all.onnx",
        [helper.make_node("Identity", [name], [f"{name}_out"]) for name in kinds],
        [value(name, kind, [None, 1]) for name, (kind, _, _) in kinds.items()],
        [value(f"{name}_out", kind, [None, 1]) for name, (kind, _, _) in kinds.items()],
    )
    with headrace.Server(path) as server:
        inputs = [
            {"name": name, "shape": [2, 1], "datatype": datatype, "data": data}
            for name, (_, datatype, data) in kinds.items()
        ]
        reply = ask(f"{server.url}/v2/models/all/infer", {"inputs": inputs[::-1]})
        assert reply.status == 200, reply.body
        assert [output["data"] for output in reply.json["outputs"]] == [data for _, _, data in kinds.values()]
        # The columns of a data frame, which is how sklearn's converters take them.
        split = {"columns": list(kinds), "data": [[data[row] for _, _, data in kinds.values()] for row in range(2)]}
        reply = ask(f"{server.url}/invocations", {"dataframe_split": split})
        assert reply.status == 200, reply.body
        assert [row["l_out"] for row in reply.json["predictions"]] == [[-(2**63)], [2**63 - 1]]


def test_a_model_whose_rows_are_not_independent_is_not_batched(tmp_path):
    axes = numpy_helper.from_array(np.array([0]), "axes")
    nodes = [helper.make_node("ReduceSum", ["x", "axes"], ["sum"]), helper.make_node("Add", ["x", "sum"], ["y"])]
    shape = [None, 2]
    path = write_onnx(
        tmp_path / "sums.onnx", nodes, [value("x", FLOAT, shape)], [value("y", FLOAT, shape)], initializer=[axes]
    )
    with headrace.Server(path, workers=1) as server:
        assert not server.batched
        ones = {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 1]}]}
        with ThreadPoolExecutor(8) as pool:
            replies = list(pool.map(lambda _: ask(f"{server.url}/v2/models/sums/infer", ones), range(64)))
        assert [reply.json["outputs"][0]["data"] for reply in replies] == [[2.0, 2.0]] * 64


def test_requests_at_once_each_get_their_own_answer(plain, model):
    assert plain.batched
    xs = [rows(1 + i % 5) * (i + 1) for i in range(200)]
    with ThreadPoolExecutor(16) as pool:
        replies = list(pool.map(lambda x: ask(f"{plain.url}/v2/models/late/infer", infer(x)), xs))
    for x, reply in zip(xs, replies, strict=True):
        np.testing.assert_array_equal(np.float32(reply.json["outputs"][0]["data"]).reshape(-1, 2), expected(model, x))


def test_health(plain):
    assert ask(f"{plain.url}/v2/health/live").json == {"live": True}
    assert ask(f"{plain.url}/v2/health/ready").json == {"ready": True}
    assert ask(f"{plain.url}/v2/models/late/ready").json == {"name": "late", "ready": True}
    assert ask(f"{plain.url}/v1/models").json == {"models": ["late"]}
    assert ask(f"{plain.url}/v1/models/late").json == {"name": "late", "ready": True}
    assert (ask(f"{plain.url}/ping").status, ask(f"{plain.url}/ping").body) == (200, b"")
    for path in ("/ping", "/", "/v2/health/ready", "/v2/models/late", "/metrics", "/openapi.json"):
        reply, asked = ask(plain.url + path), ask(plain.url + path, method="HEAD")
        assert (asked.status, asked.body, asked.headers["content-type"]) == (200, b"", reply.headers["content-type"])
        assert path in ("/ping", "/metrics") or asked.headers["content-length"] == reply.headers["content-length"]
    assert ask(f"{plain.url}/v2").json["name"] == "headrace"


def test_metrics_count_what_happened(model):
    with headrace.Server(model, name='l"\\', workers=1) as server:
        ask(f"{server.url}/v1/models/l%22%5C:predict", {"instances": rows(3).tolist()})
        ask(f"{server.url}/v1/models/l%22%5C:predict", {"instances": "x"})
        reply = ask(f"{server.url}/metrics")
    assert reply.headers["content-type"].startswith("text/plain; version=0.0.4")
    text = reply.body.decode()
    label = 'model="l\\"\\\\",version="1"'
    for line in [
        f"headrace_requests_total{{{label}}} 1",
        f"headrace_rows_total{{{label}}} 3",
        f'headrace_refusals_total{{{label},reason="bad_request"}} 1',
        f"headrace_batch_rows_sum{{{label}}} 3.000000000",
        f'headrace_batch_rows_bucket{{{label},le="+Inf"}} 1',
        f"headrace_compute_seconds_count{{{label}}} 1",
        f"headrace_queue_seconds_count{{{label}}} 1",
    ]:
        assert line in text.splitlines(), line
    for name in re.findall(r"^(headrace_\w+?)(?:_bucket|_sum|_count)?\{", text, re.MULTILINE):
        assert f"# TYPE {name} " in text
