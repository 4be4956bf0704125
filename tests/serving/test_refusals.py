"""What a running server refuses, in which form; and that its neighbours do not notice."""

from __future__ import annotations

import json
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest

import headrace
from serving.served import ask, columns, infer, records, rows

HEAD = b"POST /invocations HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "feature"}, "the model has no input 'feature'; it takes 'features'"),
        ({"datatype": "INT64"}, "the input 'features': its datatype is 'INT64', expected FP32"),
        ({"shape": [1, 3]}, "the input 'features': its data has the shape [4], and says [1, 3]"),
        ({"shape": [2, 2]}, "the input 'features' has the shape [2, 2], expected [-1, 4]"),
        ({"shape": [4]}, "the input 'features' has the shape [4], expected [-1, 4]"),
        ({"shape": [-1, 4]}, "the input 'features': the shape [-1, 4] has a negative length"),
        ({"shape": [0, 4], "data": []}, "the request has no rows"),
        ({"shape": [2**40, 2**40]}, "the input 'features': its data has the shape [4], and says "),
        ({"data": [1, 2, 3, "4"]}, "the input 'features': holds the text '4', expected FP32"),
        ({"data": [1, 2, 3, 1e39]}, "the input 'features': holds 1e39, expected FP32"),
        ({"data": [[1, 2], [3]]}, "the input 'features': the array is ragged"),
        ({"data": {}}, "the input 'features': holds an object, expected FP32"),
        ({"data": None}, "the input 'features': it has no `data`"),
        ({"data": None, "parameters": {"binary_data_size": 16}}, "the input 'features': its binary_data_size is 16"),
    ],
)
def test_a_wrong_tensor_is_named(plain, change, message):
    reply = ask(f"{plain.url}/v2/models/late/infer", infer(rows(1), **change))
    assert reply.status == 400
    assert reply.json["error"].startswith(message)


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b"", 400, "the body cannot be read: EOF"),
        (b"{", 400, "the body cannot be read: EOF"),
        (b'{"inputs": []}', 400, "the input 'features' is missing"),
        (b'{"inputs": [1]}', 400, "the body cannot be read: invalid type"),
        (b"\xff\xfe", 400, "the body is not UTF-8: byte 0 of it begins no character"),
        (b"[" * 10_000, 400, "the body cannot be read"),
        (b'{"a":' * 3_000, 400, "the body cannot be read"),
        (b" " * 20_001, 413, "the body is larger than 20000 bytes"),
        (json.dumps(infer(rows(51))).encode(), 413, "the request has 51 rows, at most 50"),
        (b'{"inputs":[{"name":"features","shape":[1,4],"datatype":"FP32","data":[1e999,0,0,0]}]}', 400, "the input"),
        (json.dumps({"inputs": infer(rows(1))["inputs"] * 2}).encode(), 400, "the input 'features': it is there twice"),
    ],
    ids=range(11),
)
def test_a_wrong_body_is_refused_in_the_accents_own_form(plain, body, status, message):
    reply = ask(f"{plain.url}/v2/models/late/infer", body=body)
    assert (reply.status, list(reply.json)) == (status, ["error"])
    assert reply.json["error"].startswith(message)
    if not body.startswith(b'{"inputs"'):
        other = ask(f"{plain.url}/invocations", body=body)
        assert (other.status, list(other.json)) == (status, ["error_code", "message"])
        assert other.json["error_code"] == "BAD_REQUEST"


def test_a_wrong_row_is_named_with_its_column(served):
    server, _, data = served
    for change, message in [
        (
            {"x": "warm"},
            "column 'x', row 1: holds text (string), the feature plan expects numbers (float64); there stands",
        ),
        ({"ok": 1}, "column 'ok', row 1: "),
        ({"at": "yesterday"}, "column 'at', row 1: "),
        ({"shop": ["north"]}, "column 'shop', row 1: "),
    ]:
        first, second = records(data[:2])
        reply = ask(f"{server.url}/invocations", {"dataframe_records": [first, {**second, **change}]})
        assert reply.status == 400
        assert reply.json["message"].startswith(message), reply.json
        shown = columns(data[:2])
        (name, cell), *_ = change.items()
        shown[name][1] = cell
        inputs = [{"name": n, "shape": [2], "datatype": "BYTES", "data": v} for n, v in shown.items()]
        assert ask(f"{server.url}/v2/models/shop/infer", {"inputs": inputs}).json["error"].startswith(message)
    first, second = records(data[:2])
    del second["shop"]
    reply = ask(f"{server.url}/invocations", {"dataframe_records": [first, second]})
    assert (reply.status, "column 'shop', row 1: the frame has no column 'shop'" in reply.json["message"]) == (
        400,
        True,
    )
    short = columns(data[:2].drop("shop"))
    reply = ask(f"{server.url}/invocations", {"inputs": short})
    assert (reply.status, "the input 'shop' is missing" in reply.json["message"]) == (400, True)
    short["shop"] = ["north"]
    reply = ask(f"{server.url}/invocations", {"inputs": short})
    assert (reply.status, reply.json["message"]) == (400, "the input 'shop' has 1 rows, 'x' has 2")
    extra = [{"name": n, "shape": [1], "datatype": "BYTES", "data": v} for n, v in columns(data[:1]).items()]
    extra.append({"name": "shpo", "shape": [1], "datatype": "BYTES", "data": ["north"]})
    reply = ask(f"{server.url}/v2/models/shop/infer", {"inputs": extra})
    assert (reply.status, "no input 'shpo'" in reply.json["error"]) == (400, True)


def test_other_rows_go_on_beside_a_wrong_one(plain, model):
    good, bad = infer(rows(2)), infer(rows(2), data=["x"] * 8)
    with ThreadPoolExecutor(8) as pool:
        sent = [good if i % 3 else bad for i in range(90)]
        replies = list(pool.map(lambda body: ask(f"{plain.url}/v2/models/late/infer", body), sent))
    assert [reply.status for reply in replies] == [200 if i % 3 else 400 for i in range(90)]


def test_routes_methods_types_and_hosts(plain):
    reply = ask(f"{plain.url}/v2/models/other/infer", infer(rows(1)))
    assert (reply.status, reply.json) == (404, {"error": "there is no model 'other'; this server has 'late'"})
    assert ask(f"{plain.url}/v2/models/late/versions/2").status == 404
    assert ask(f"{plain.url}/nowhere").status == 404
    reply = ask(f"{plain.url}/v2/models/late/infer")
    assert (reply.status, reply.headers["allow"]) == (405, "POST")
    reply = ask(f"{plain.url}/invocations", body=b"x,y\n1,2\n", headers={"Content-Type": "text/plain"})
    assert (reply.status, reply.json["error_code"]) == (415, "BAD_REQUEST")
    charset = {"Content-Type": "application/json; charset=utf-16"}
    assert ask(f"{plain.url}/invocations", {"inputs": []}, headers=charset).status == 415
    assert ask(f"{plain.url}/v2/models/late/infer", body=b"x", headers={"Content-Encoding": "br"}).status == 415
    reply = ask(f"{plain.url}/metrics", {})
    assert (reply.status, reply.headers["allow"]) == (405, "GET, HEAD")
    reply = ask(f"{plain.url}/v2", headers={"Host": "evil.example"})
    assert (reply.status, "ask for localhost" in reply.json["error"]) == (421, True)
    for host in ("localhost:1", "127.0.0.1", "[::1]:9"):
        assert ask(f"{plain.url}/v2", headers={"Host": host}).status == 200


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /v2 HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n", b"400"),
        (b"GET /v2 HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n", b"400"),
        (b"GET http://evil.example/v2 HTTP/1.1\r\nHost: localhost\r\n", b"421"),
        (b"GET http://localhost:1/v2 HTTP/1.1\r\nHost: evil.example\r\n", b"200"),
    ],
    ids=range(4),
)
def test_there_is_one_host_and_the_first_line_wins(plain, head, status):
    """RFC 9112, 3.2."""
    with socket.create_connection((plain.host, plain.port), timeout=30) as connection:
        connection.sendall(head + b"Connection: close\r\n\r\n")
        assert connection.recv(4096).startswith(b"HTTP/1.1 " + status)


@pytest.mark.parametrize(
    "sent",
    [
        HEAD % 900 + b"{",
        b"GET /v2 HTTP/1.1\r\nHost: loc",
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"POST /invocations HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"GET /v2 HTTP/1.1\r\n" + b"x: y\r\n" * 1000 + b"\r\n",
    ],
    ids=range(6),
)
def test_a_broken_connection_leaves_the_others_alone(plain, sent):
    with socket.create_connection((plain.host, plain.port), timeout=10) as connection:
        connection.sendall(sent)
        assert ask(f"{plain.url}/v2/health/live").status == 200
        connection.shutdown(socket.SHUT_WR)
        answer = connection.recv(4096)
    assert answer == b"" or b" 4" in answer.split(b"\r\n")[0]
    assert ask(f"{plain.url}/v2/health/live").status == 200


def test_a_lying_content_length_is_not_believed(plain):
    with socket.create_connection((plain.host, plain.port), timeout=10) as connection:
        connection.sendall(HEAD % 10**15)
        assert b" 413 " in connection.recv(4096)


def test_a_body_that_does_not_arrive_is_given_up(model):
    with (
        headrace.Server(model, workers=1, body_timeout=0.05) as server,
        socket.create_connection((server.host, server.port), timeout=10) as connection,
    ):
        connection.sendall(HEAD % 99 + b"{")
        assert b" 408 " in connection.recv(4096)


def test_a_request_may_say_how_long_it_waits(plain):
    body = {**infer(rows(1)), "parameters": {"timeout": 1_000_000}}
    assert ask(f"{plain.url}/v2/models/late/infer", body).status == 200


def test_parameters_that_are_null_are_absent(plain):
    body = {**infer(rows(1), parameters=None), "parameters": None, "outputs": None, "id": None}
    assert ask(f"{plain.url}/v2/models/late/infer", body).status == 200


def test_an_output_cannot_be_had_many_times(plain):
    """A short request would have an answer without end."""
    wanted = [{"name": "probabilities"}]
    assert ask(f"{plain.url}/v2/models/late/infer", {**infer(rows(1)), "outputs": wanted}).status == 200
    reply = ask(f"{plain.url}/v2/models/late/infer", {**infer(rows(1)), "outputs": wanted * 300})
    assert (reply.status, reply.json) == (400, {"error": "the output 'probabilities' is wanted twice"})
