"""Models whose rows depend on each other, as ONNX graphs: each request gets what it would get alone."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from onnx import TensorProto, helper

import headrace
from serving.served import FLOAT, ask, value, write_onnx

INT64, BOOL = TensorProto.INT64, TensorProto.BOOL


def node(kind, inputs, outputs, **more):
    return helper.make_node(kind, inputs, outputs, **more)


def clipped():
    return [
        node("ReduceMax", ["x"], ["m"], axes=[0], keepdims=1),
        node("Constant", [], ["c"], value_float=2.0),
        node("Max", ["m", "c"], ["mm"]),
        node("Div", ["x", "mm"], ["y"]),
    ]


def centred(cast):
    first = [node("Cast", ["x"], ["f"], to=FLOAT)] if cast else [node("Identity", ["x"], ["f"])]
    return [*first, node("ReduceMean", ["f"], ["m"], axes=[0], keepdims=1), node("Sub", ["f", "m"], ["y"])]


def summed():
    return [node("Constant", [], ["axis"], value_int=0), node("CumSum", ["x", "axis"], ["y"])]


def sorted_():
    return [
        node("Shape", ["x"], ["shape"]),
        node("Constant", [], ["first"], value_ints=[0]),
        node("Gather", ["shape", "first"], ["k"]),
        node("TopK", ["x", "k"], ["y", "places"], axis=0),
    ]


CASES = {
    "whole numbers less their mean, 3 wide": (INT64, 3, centred(cast=True), [[0, 0, 0], [10, 20, 30], [100, 5, 7]]),
    "booleans less their mean, 3 wide": (BOOL, 3, centred(cast=True), [[True, True, False], [False, True, True]]),
    "floats less their mean": (FLOAT, 3, centred(cast=False), [[0, 0, 0], [10, 20, 30]]),
    "floats over the greatest above 2": (FLOAT, 2, clipped(), [[1, 1], [50, 4], [8, 9]]),
    "sums so far": (FLOAT, 2, summed(), [[1, 1], [50, 4]]),
    "sorted": (FLOAT, 2, sorted_(), [[1, 1], [50, 4]]),
}


@pytest.mark.parametrize("case", CASES)
def test_rows_that_depend_on_each_other_are_computed_alone(tmp_path, case):
    kind, width, nodes, rows = CASES[case]
    path = write_onnx(
        tmp_path / "mates.onnx", nodes, [value("x", kind, ["n", width])], [value("y", FLOAT, ["n", width])]
    )
    with headrace.Server(path, workers=1) as server:
        assert not server.batched
        alone = [ask(f"{server.url}/invocations", {"instances": [row]}).body for row in rows]
        with ThreadPoolExecutor(8) as pool:
            asked = [number % len(rows) for number in range(48)]
            found = list(pool.map(lambda n: ask(f"{server.url}/invocations", {"instances": [rows[n]]}).body, asked))
        assert found == [alone[number] for number in asked]


def test_a_place_in_a_table_is_no_reason_not_to_batch(tmp_path):
    """Numbers that the model refuses say nothing of it, and large ones that are rounded neither."""
    nodes = [
        node("Constant", [], ["table"], value_floats=[1.0, 2.0]),
        node("Gather", ["table", "place"], ["found"]),
        node("Constant", [], ["weights"], value=helper.make_tensor("w", FLOAT, [7, 1], [0.3, -1, 0.7, 2, -5, 1e-3, 1])),
        node("MatMul", ["x", "weights"], ["product"]),
        node("Add", ["product", "found"], ["sum"]),
        node("Sigmoid", ["sum"], ["y"]),
    ]
    inputs = [value("x", FLOAT, ["n", 7]), value("place", INT64, ["n", 1])]
    path = write_onnx(tmp_path / "places.onnx", nodes, inputs, [value("y", FLOAT, ["n", 1])])
    with headrace.Server(path, workers=1) as server:
        assert server.batched
