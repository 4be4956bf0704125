"""Versions of an endpoint: what they are called, and that they take the same."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from onnx import helper, numpy_helper

import headrace
from headrace.errors import ServingError
from headrace.project import serving
from headrace.serving import config
from serving.served import FLOAT, ask, frame, package, value, write_onnx

ASK = {"instances": [[1.0], [2.0]]}


@pytest.fixture
def times(tmp_path):
    def write(factor: float, where: str, width: int = 1):
        weight = numpy_helper.from_array(np.array(factor, np.float32), "w")
        ports = [value("x", FLOAT, [None, width])], [value("y", FLOAT, [None, width])]
        path = tmp_path / where
        path.parent.mkdir(exist_ok=True)
        return write_onnx(path, [helper.make_node("Mul", ["x", "w"], ["y"])], *ports, initializer=[weight])

    return write


def test_two_files_of_one_name_are_two_versions(times):
    a, b = times(2.0, "a/m.onnx"), times(3.0, "b/m.onnx")
    with headrace.Server(a, workers=1) as server:
        assert (server.version, server.load(a).version, server.load(b).version) == ("1", "1", "2")
        server.swap(b)
        assert server.routes == {"m": {"m@2": 1}}
        assert ask(f"{server.url}/invocations", ASK).headers["headrace-version"] == "m@2"
        one, other = server.load(a), server.load(b, version="1")
        with pytest.raises(ServingError, match="two versions that are both called m@1") as caught:
            server.route("m", {one: 1, other: 1})
        assert "version=" in (caught.value.hint or "")
        assert server.routes == {"m": {"m@2": 1}}


@pytest.mark.parametrize("names", [("a/m.onnx", "b/m.onnx"), ("a/v1.onnx", "b/v2.onnx")])
def test_files_in_serve_toml_are_told_apart(times, tmp_path, names):
    for factor, name in zip((2.0, 3.0), names, strict=True):
        times(factor, name)
    routes = ", ".join(f'{{model = "{name}"}}' for name in names)
    path = tmp_path / "serve.toml"
    path.write_text(f"[endpoints.m]\nroutes = [{routes}]\n")
    with headrace.Server([], workers=1) as server:
        serving.offer_files(server, serving.routes_of([], config.load(path), folder=tmp_path))
        server.open()
        assert sorted(ask(f"{server.url}/v2/models/m").json["versions"]) == ["1", "2"]
        for number, factor in (("1", 2.0), ("2", 3.0)):
            asked = {"inputs": [{"name": "x", "shape": [1, 1], "datatype": "FP32", "data": [1.0]}]}
            reply = ask(f"{server.url}/v2/models/m/versions/{number}/infer", asked)
            assert reply.json["outputs"][0]["data"] == [factor]
            assert reply.headers["headrace-version"].endswith(f"@{number}")


def test_versions_that_take_other_inputs_do_not_share_an_endpoint(times):
    made, _, _ = package("regression")
    with headrace.Server(times(2.0, "a/m.onnx"), workers=1) as server:
        narrow, wide = server.load(times(2.0, "a/m.onnx")), server.load(times(2.0, "a/wide.onnx", 2))
        rows = server.load(made)
        for other in (wide, rows):
            with pytest.raises(ServingError, match="would share its requests between m@1 and"):
                server.route("m", {narrow: 9, other: 1})
            with pytest.raises(ServingError, match="cannot be a shadow of m@1"):
                server.route("m", {narrow: 1}, shadows=[other])
        assert server.routes == {"m": {"m@1": 1}}


def test_a_swap_that_would_refuse_who_asks_now_is_refused_unless_told(times):
    with headrace.Server(times(2.0, "a/m.onnx"), workers=1) as server:
        wide = times(2.0, "b/m.onnx", 2)
        with pytest.raises(ServingError, match=re.escape("takes 'x' (FP32 [-1, 2]), which m@1 did not")):
            server.swap(wide)
        assert ask(f"{server.url}/invocations", ASK).status == 200
        server.swap(wide, other_inputs=True)
        assert ask(f"{server.url}/invocations", {"instances": [[1.0, 2.0]]}).json == {"predictions": [[2.0, 4.0]]}


def test_a_swap_without_an_endpoint_is_of_the_only_one(times):
    with headrace.Server(times(2.0, "a/v1.onnx"), workers=1) as server:
        server.swap(times(3.0, "a/v2.onnx"))
        assert server.routes == {"v1": {"v2@1": 1}}
        assert ask(f"{server.url}/invocations", ASK).json == {"predictions": [[3.0], [6.0]]}
        server.route("other", {server.load(times(4.0, "a/v3.onnx")): 1})
        with pytest.raises(ServingError, match="no endpoint is called 'v4'; there are 'v1', 'other'"):
            server.swap(times(5.0, "a/v4.onnx"))
        server.swap(times(5.0, "a/v4.onnx"), endpoint="other")
        assert server.routes["other"] == {"v4@1": 1}


def test_packages_of_other_columns_are_compared_by_what_they_need():
    more, _, _ = package("regression")
    fewer, _, _ = package("regression", frame().drop("price"))
    fewer = replace(fewer, version=replace(fewer.version, number=2))
    with headrace.Server(more, workers=1) as server:
        server.swap(fewer)
        with pytest.raises(ServingError, match="takes 'price', which shop@2 did not"):
            server.swap(more)
        one, two = server.load(more), server.load(fewer)
        with pytest.raises(ServingError, match="of which one takes 'price'"):
            server.route("shop", {two: 1, one: 1})
        server.route("shop", {two: 1}, shadows=[one])
        assert server.routes == {"shop": {"shop@2": 1}}


def test_a_promotion_that_needs_more_columns_is_followed_and_said(tmp_path):
    more, _, _ = package("regression")
    fewer, _, _ = package("regression", frame().drop("price"))
    (tmp_path / "headrace.toml").write_text('[project]\nname = "s"\n\n[ingest]\nuse = "file"\npath = "data.csv"\n')
    said: list[str] = []
    with headrace.Project(tmp_path) as project, headrace.Server([], workers=1) as server:
        project.store  # noqa: B018  # made on first use
        for number, made in ((1, fewer), (2, more)):
            project.registry.register("shop", made.files, about={}, model_digest=f"{number}" * 64)
        project.registry.promote("shop@1", why="the first")
        follower = serving.follow(server, project, serving.routes_of(["shop"]), say=said.append)
        project.registry.promote("shop@2", why="better")
        for route in follower._routes:
            follower._follow(project.registry, route)
        assert server.routes == {"shop": {"shop@2": 1}}
    assert said[0] == "warning: shop now takes 'price', which shop@1 did not: requests without are refused"
