"""One version after another, and several at once: who is answered by which, and that everybody is."""

from __future__ import annotations

import http.client
import json
import re
import threading
from dataclasses import replace

import numpy as np
import pytest
from onnx import helper, numpy_helper

import headrace
from headrace.errors import ModelFormatError, ServingError
from serving.served import FLOAT, Package, ask, package, value, write_onnx
from serving.test_life import run

ASK = {"instances": [[1.0], [2.0]]}


@pytest.fixture
def times(tmp_path):
    """Writes a graph that multiplies by a number, which tells who answered."""

    def write(factor: float, name: str = "times"):
        weight = numpy_helper.from_array(np.array(factor, np.float32), "w")
        node = helper.make_node("Mul", ["x", "w"], ["y"])
        ports = [value("x", FLOAT, [None, 1])], [value("y", FLOAT, [None, 1])]
        (tmp_path / str(factor)).mkdir(exist_ok=True)
        return write_onnx(tmp_path / str(factor) / f"{name}.onnx", [node], *ports, initializer=[weight])

    return write


@pytest.fixture(scope="module")
def shops():
    """Version n of the package `shop`, the same but for its number."""
    made, _, data = package("regression")
    row = {"instances": [{name: None for name in data.columns if name != "gain"}]}

    def version(number: int, **files: bytes) -> Package:
        return replace(made, version=replace(made.version, number=number), files={**made.files, **files})

    return version, row


def test_a_swap_is_seen_by_the_next_request(shops):
    version, row = shops
    with headrace.Server(version(3), workers=2) as server:
        url = f"{server.url}/v1/models/shop:predict"
        assert ask(url, row).headers["headrace-version"] == "shop@3"
        loaded = server.swap(version(4))
        assert str(loaded) == "shop@4"
        assert (server.model, server.version, server.routes) == ("shop", "4", {"shop": {"shop@4": 1}})
        for path in ("v1/models/shop:predict", "invocations"):
            assert ask(f"{server.url}/{path}", row).headers["headrace-version"] == "shop@4"
        assert ask(f"{server.url}/v2/models/shop").json["versions"] == ["4"]
        refused = ask(f"{server.url}/v2/models/shop/versions/3")
        assert (refused.status, refused.json) == (
            404,
            {"error": "there is no version '3' of the model; this server has '4'"},
        )
        text = ask(f"{server.url}/metrics").body.decode()
        assert 'headrace_requests_total{model="shop",version="3"} 1\n' in text
        assert 'headrace_requests_total{model="shop",version="4"} 2\n' in text
        assert 'headrace_refusals_total{model="",version="",reason="not_found"} 1\n' in text


@pytest.mark.parametrize("damage", ["graph", "golden", "columns"])
def test_a_version_that_cannot_be_served_changes_nothing(shops, damage):
    version, row = shops
    with headrace.Server(version(3), workers=2) as server:
        if damage == "graph":
            bad = {"model.onnx": version(3).files["model.onnx"][:300]}
        elif damage == "golden":
            golden = json.loads(version(3).files["golden.json"])
            golden["scores"][0][0] += 1.0
            bad = {"golden.json": json.dumps(golden).encode()}
        else:
            bad = {"model.onnx": package("multiclass")[0].files["model.onnx"]}
        with pytest.raises(ModelFormatError):
            server.swap(version(4, **bad))
        assert server.routes == {"shop": {"shop@3": 1}}
        assert ask(f"{server.url}/invocations", row).headers["headrace-version"] == "shop@3"


def test_a_hundred_swaps_under_load(times):
    """Each answer has the value of the version that it names, and every request has one."""
    names = [f"m{number}" for number in range(4)]
    paths = [times(float(number + 2), name) for number, name in enumerate(names)]
    factor = {f"{name}@1": number + 2.0 for number, name in enumerate(names)}
    wrong: list[object] = []
    seen: set[str] = set()
    asked = [0] * 4
    done = threading.Event()
    body = json.dumps(ASK)
    with headrace.Server(paths[0], name="m0", workers=2) as server:
        server.swap(paths[0], endpoint="times")

        def client(number: int) -> None:
            connection = http.client.HTTPConnection(server.host, server.port, timeout=30)
            while not done.is_set():
                connection.request("POST", "/v1/models/times:predict", body)
                reply = connection.getresponse()
                answer, version = reply.read(), reply.getheader("headrace-version") or ""
                expected = {"predictions": [[factor[version]], [2 * factor[version]]]} if version in factor else None
                if reply.status != 200 or json.loads(answer) != expected:
                    wrong.append((reply.status, version, answer))
                seen.add(version)
                asked[number] += 1
            connection.close()

        clients = [threading.Thread(target=client, args=(number,)) for number in range(4)]
        for one in clients:
            one.start()
        for number in range(100):
            server.swap(paths[number % 4], endpoint="times")
        done.set()
        for one in clients:
            one.join(60)
        assert wrong == []
        assert seen == set(factor)
        assert min(asked) > 0
        totals = server._core.totals()
        assert totals is not None
        assert totals[:2] == (sum(asked), 2 * sum(asked))


def test_versions_that_were_swapped_out_are_let_go(times):
    """Threads and memory of a hundred versions are not those of one, but of the last."""
    path = times(2.0)
    code = (
        "import gc, headrace, pathlib\n"
        "def rss():\n"
        "    return int(pathlib.Path('/proc/self/statm').read_text().split()[1]) * 4096\n"
        f"with headrace.Server({str(path)!r}, workers=2) as server:\n"
        f"    for _ in range(30): server.swap({str(path)!r})\n"
        "    before = rss()\n"
        f"    for _ in range(300): server.swap({str(path)!r})\n"
        "    gc.collect()\n"
        "    print(rss() - before)\n"
    )
    done = run(code)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 20_000_000


def test_weights_are_kept_and_a_key_stays(times):
    with headrace.Server(times(2.0, "a"), workers=2) as server:
        a, b = server.load(times(2.0, "a")), server.load(times(3.0, "b"))
        server.route("a", {a: 3, b: 1})

        def given(**headers: str) -> str:
            return ask(f"{server.url}/invocations", ASK, headers=headers).headers["headrace-version"]

        dealt = [given() for _ in range(80)]
        assert abs(dealt.count("b@1") - 20) <= 2
        keys = [f"user-{number}" for number in range(200)]
        first = {key: given(**{"headrace-key": key}) for key in keys}
        assert 25 <= list(first.values()).count("b@1") <= 75
        server.route("a", {a: 2, b: 2})
        later = {key: given(**{"headrace-key": key}) for key in keys}
        assert all(later[key] == "b@1" for key in keys if first[key] == "b@1")
        server.route("a", {a: 3, b: 1}, key="X-User")
        assert {key: given(**{"x-user": key}) for key in keys} == first
        server.route("a", {a: 1, b: 0})
        assert {given() for _ in range(20)} == {"a@1"}


def test_several_models_in_one_server(times):
    with headrace.Server([times(2.0, "two"), times(3.0, "three")], workers=2) as server:
        assert ask(f"{server.url}/v1/models").json == {"models": ["two", "three"]}
        assert ask(f"{server.url}/v1/models/three:predict", ASK).json == {"predictions": [[3.0], [6.0]]}
        assert ask(f"{server.url}/invocations", ASK).json == {"predictions": [[2.0], [4.0]]}
        assert ask(f"{server.url}/v2/models/two/ready").json == {"name": "two", "ready": True}
        assert ask(f"{server.url}/v1/models/four:predict", ASK).json == {
            "error": "there is no model 'four'; this server has 'two', 'three'"
        }


def test_what_cannot_be_routed_is_said(times):
    path = times(2.0)
    for models, options, message in [
        ([path, path], {}, "two models of the name 'times'"),
        ([path, path], {"name": "x"}, "there are 2 models and one name"),
    ]:
        with pytest.raises(ServingError, match=re.escape(message)):
            headrace.Server(models, **options)
    with headrace.Server([]) as server, pytest.raises(ServingError, match="nothing is served yet"):
        server.open()
    with headrace.Server(path) as server:
        one = server.load(path)
        for arguments, message in [
            (("times", {}), "expected a version that gets requests"),
            (("times", {one: 0}), "weight is 0 for every version of 'times'"),
            (("times", {one: -1}), "the weight of times@1 is -1, expected 0 to"),
            (("\n", {one: 1}), "cannot stand in a route"),
        ]:
            with pytest.raises(ServingError, match=re.escape(message)):
                server.route(*arguments)
        with pytest.raises(ServingError, match="key is 'a b', expected the name of a header"):
            server.route("times", {one: 1}, key="a b")
    with pytest.raises(ServingError, match="the server was stopped"):
        server.swap(path)


def test_a_hundred_starts_and_stops(times):
    """A version that is ready, and was never offered, does not keep the server from ending."""
    path = times(2.0)
    for number in range(100):
        with headrace.Server(path, workers=2) as server:
            ready = server.load(path)
            if number % 10 == 0:
                assert ask(f"{server.url}/invocations", ASK).status == 200
    assert ready.batched
