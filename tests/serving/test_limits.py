"""How much clients may ask of a server: bytes, memory, rows, nesting, headers, time, connections, all by sockets."""

from __future__ import annotations

import gzip
import http.client
import json
import resource
import select
import socket
import statistics
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

import headrace
from serving.served import ask, infer, rows

POST = b"POST /v2/models/late/infer HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
MEBI = 1024 * 1024


def connect(server: headrace.Server) -> socket.socket:
    return socket.create_connection((server.host, server.port), timeout=20)


def everything(connection: socket.socket) -> bytes:
    """What the server sends until it closes."""
    received = b""
    try:
        while piece := connection.recv(65_536):
            received += piece
    except ConnectionResetError:
        pass
    return received


def until_closed(connection: socket.socket, piece: bytes, most: int) -> int:
    """How often a piece can be sent before the server closes."""
    for sent in range(most):
        try:
            connection.sendall(piece)
        except (BrokenPipeError, ConnectionResetError):
            return sent
    return most


def metric(server: headrace.Server, name: str) -> float:
    lines = ask(f"{server.url}/metrics").body.decode().splitlines()
    return float(next(line for line in lines if line.startswith(f"{name} ")).rpartition(" ")[2])


def wait(seconds: float) -> None:
    threading.Event().wait(seconds)


# --- bodies ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/v2/models/late/infer", 413),
        ("POST", "/invocations", 413),
        ("POST", "/nowhere", 404),
        ("POST", "/v2/models/other/infer", 404),
        ("PUT", "/invocations", 405),
        ("POST", "/metrics", 405),
        ("GET", "/v2", 200),
    ],
)
@pytest.mark.parametrize("chunked", [False, True])
def test_who_sends_too_much_still_gets_the_answer(plain, method, path, status, chunked):
    """And not a broken pipe; the connection can be used again."""
    body = b"x" * (20 * MEBI)
    headers = {"Content-Type": "application/json"}
    connection = http.client.HTTPConnection(plain.host, plain.port, timeout=30)
    pieces = (body[i : i + MEBI] for i in range(0, len(body), MEBI)) if chunked else body
    connection.request(method, path, body=pieces, headers=headers, encode_chunked=chunked)
    reply = connection.getresponse()
    assert (reply.status, bool(reply.read())) == (status, True)
    connection.request("GET", "/v2/health/live")
    assert connection.getresponse().status == 200
    connection.close()


def test_what_never_ends_is_not_read_for_ever(plain):
    piece = b"100000\r\n" + b"x" * MEBI + b"\r\n"
    with connect(plain) as connection:
        connection.sendall(b"POST /nowhere HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        sent = until_closed(connection, piece, 400)
    assert 60 <= sent < 120
    assert ask(f"{plain.url}/v2/health/live").status == 200


def test_who_asks_first_is_told_before_it_sends(plain):
    with connect(plain) as connection:
        head = (POST % (20 * MEBI))[:-2] + b"Expect: 100-continue\r\n\r\n"
        connection.sendall(head)
        received = everything(connection)
    assert received.startswith(b"HTTP/1.1 413 ")
    body = json.dumps(infer(rows(1))).encode()
    with connect(plain) as connection:
        connection.sendall((POST % len(body))[:-2] + b"Expect: 100-continue\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 100 ")
        connection.sendall(body)
        assert connection.recv(4096).startswith(b"HTTP/1.1 200 ")


def test_a_length_that_lies(plain):
    body = json.dumps(infer(rows(1))).encode()
    with connect(plain) as connection:  # shorter than what comes: the rest is no request
        connection.sendall(POST % (len(body) - 5) + body)
        received = everything(connection)
        assert received.startswith(b"HTTP/1.1 400 ")
    with connect(plain) as connection:  # two that differ
        connection.sendall((POST % 5)[:-2] + b"Content-Length: 6\r\n\r\n{}   ")
        assert everything(connection).startswith(b"HTTP/1.1 400 ")
    begin = b"POST /invocations HTTP/1.1\r\nHost: localhost\r\nContent-Length: "
    for length in (b"-1", b"1e3", b"99999999999999999999999", b"0x10"):
        with connect(plain) as connection:
            connection.sendall(begin + length + b"\r\n\r\n")
            assert everything(connection).startswith(b"HTTP/1.1 400 ")
    with connect(plain) as connection:  # longer than what comes, and then nothing more
        connection.sendall(POST % (len(body) + 5) + body)
        connection.shutdown(socket.SHUT_WR)
        assert everything(connection)[:13] in {b"", b"HTTP/1.1 400 "}
    assert ask(f"{plain.url}/v2/models/late/infer", body=body).status == 200


def test_all_bodies_together_are_bounded(model):
    bounds = {"max_body_bytes": 80_000, "max_held_bytes": 100_000}
    with headrace.Server(model, workers=2, **bounds) as server, ExitStack() as open_:
        # What is only said counts for nothing.
        for _ in range(50):
            open_.enter_context(connect(server)).sendall(POST % 80_000 + b"{")
        body = json.dumps(infer(rows(1))).encode()
        padded = body + b" " * (60_000 - len(body))
        url = f"{server.url}/v2/models/late/infer"
        assert ask(url, body=padded).status == 200
        with connect(server) as holding:
            holding.sendall(POST % 80_000 + body + b" " * (60_000 - len(body)))
            while metric(server, "headrace_held_bytes") < 60_000:
                wait(0.01)
            reply = ask(url, body=padded)
            assert (reply.status, reply.headers["retry-after"]) == (503, "1")
            assert reply.json["error"] == "the server holds as many bytes of requests as it may; try again in 1 s"
            assert ask(url, body=body).status == 200
            holding.sendall(b" " * 20_000)
            assert holding.recv(4096).startswith(b"HTTP/1.1 200 ")
        assert ask(url, body=padded).status == 200
        open_.close()
        while metric(server, "headrace_held_bytes") > 0:
            wait(0.01)


def test_a_body_that_leaves_gives_back_what_it_held(model):
    with headrace.Server(model, workers=1, max_held_bytes=100_000) as server:
        for _ in range(20):
            with connect(server) as connection:
                connection.sendall(POST % 90_000 + b" " * 80_000)
        while metric(server, "headrace_held_bytes") > 0:
            wait(0.01)
        assert ask(f"{server.url}/v2/models/late/infer", infer(rows(1))).status == 200


def test_what_is_packed_counts_as_what_it_is(model):
    bomb = gzip.compress(bytes(256 * MEBI), 9)
    twice = gzip.compress(bomb)
    assert len(bomb) < MEBI / 2
    with headrace.Server(model, workers=1, max_body_bytes=MEBI, max_held_bytes=4 * MEBI) as server:
        url = f"{server.url}/v2/models/late/infer"
        ask(url, infer(rows(1)))
        Path("/proc/self/clear_refs").write_text("5")
        before = peak()

        def send(body: bytes, encoding: str = "gzip") -> int:
            return ask(url, body=body, headers={"Content-Encoding": encoding}).status

        with ThreadPoolExecutor(8) as pool:
            assert set(pool.map(send, [bomb] * 16)) <= {413, 503}
        assert send(bomb) == 413
        assert send(b"".join(gzip.compress(bytes(1000)) for _ in range(2000))) == 413
        assert send(twice) == 400
        assert send(twice, "gzip, gzip") == 415
        assert send(bomb[:1000]) == 400
        assert send(gzip.compress(json.dumps(infer(rows(1))).encode())) == 200
        assert peak() - before < 48 * 1024
        while metric(server, "headrace_held_bytes") > 0:
            wait(0.01)


def peak() -> int:
    """The most memory that this process had, KiB."""
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])


def test_many_small_pieces_take_no_more_than_what_is_in_them(model):
    chunks = b"1\r\n \r\n" * 500_000
    with headrace.Server(model, workers=1) as server, connect(server) as connection:
        ask(f"{server.url}/v2")
        Path("/proc/self/clear_refs").write_text("5")
        before = peak()
        head = b"POST /v2/models/late/infer HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        body = json.dumps(infer(rows(1))).encode()
        connection.sendall(head + b"%x\r\n" % len(body) + body + b"\r\n")
        connection.sendall(chunks)
        connection.sendall(b"0\r\n\r\n")
        assert connection.recv(4096).startswith(b"HTTP/1.1 200 ")
        assert peak() - before < 24 * 1024


@pytest.mark.parametrize("depth", [129, 10_000, 1_000_000])
def test_nesting_is_bounded(model, depth):
    with headrace.Server(model, workers=1) as server:
        for path in ("/v2/models/late/infer", "/v1/models/late:predict", "/invocations"):
            for begin, end in ((b"[", b"]"), (b'{"a":', b"}")):
                inner = begin * depth + b"1" + end * depth
                for body in (
                    inner,
                    b'{"instances":' + inner + b"}",
                    b'{"inputs":[{"name":"features","shape":[1,4],"datatype":"FP32","data":' + inner + b"}]}",
                ):
                    reply = ask(f"{server.url}{path}", body=body)
                    assert reply.status == 400, (path, body[:80])
                    assert reply.json
        assert ask(f"{server.url}/v2/models/late/infer", infer(rows(1))).status == 200


def test_rows_are_bounded_in_every_protocol(plain):
    many = rows(51).tolist()
    for path, body, kind in [
        ("/v2/models/late/infer", json.dumps(infer(rows(51))), "application/json"),
        ("/v1/models/late:predict", json.dumps({"instances": many}), "application/json"),
        ("/invocations", json.dumps({"instances": many}), "application/json"),
    ]:
        reply = ask(f"{plain.url}{path}", body=body.encode(), headers={"Content-Type": kind})
        assert reply.status == 413, path
        assert "51 rows, at most 50" in reply.body.decode()


# --- heads ----------------------------------------------------------------------------------------------------------


def test_headers_are_bounded_in_number_and_bytes(plain):
    with connect(plain) as connection:
        connection.sendall(b"GET /v2 HTTP/1.1\r\nHost: localhost\r\n" + b"x: y\r\n" * 98 + b"\r\n")
        assert connection.recv(4096).startswith(b"HTTP/1.1 200 ")
    for head in (b"x: y\r\n" * 100, b"x: " + b"y" * 200_000 + b"\r\n"):
        with connect(plain) as connection:
            connection.sendall(b"GET /v2 HTTP/1.1\r\nHost: localhost\r\n" + head + b"\r\n")
            assert connection.recv(4096).startswith(b"HTTP/1.1 431 ")
    with connect(plain) as connection:
        connection.sendall(b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert connection.recv(4096).split(b" ")[1] in {b"414", b"431"}


def drip(connection: socket.socket, piece: bytes, *, every: float = 0.05, most: float = 10.0) -> float:
    """Sends a byte now and then until the server answers or closes, and says how long that took."""
    began = time.monotonic()
    while time.monotonic() - began < most:
        if select.select([connection], [], [], every)[0]:
            return time.monotonic() - began
        try:
            connection.sendall(piece)
        except OSError:
            return time.monotonic() - began
    raise AssertionError("the server still waits")


def test_a_head_and_a_body_that_drip_are_given_up(model):
    with headrace.Server(model, workers=1, head_timeout=0.4, body_timeout=0.4) as server:
        with connect(server) as connection:
            connection.sendall(b"GET /v2 HTTP/1.1\r\nHost: localhost\r\nx: ")
            assert 0.3 < drip(connection, b"y") < 3
            assert everything(connection)[:12] in {b"", b"HTTP/1.1 408"}
        with connect(server) as connection:
            connection.sendall(POST % 5000 + b"{")
            assert 0.3 < drip(connection, b" ") < 3
            assert connection.recv(4096).startswith(b"HTTP/1.1 408 ")
        with connect(server) as connection:  # nothing at all
            assert everything(connection) == b""
        with connect(server) as connection:  # nothing more
            connection.sendall(b"GET /v2 HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert everything(connection).startswith(b"HTTP/1.1 200 ")


# --- answers --------------------------------------------------------------------------------------------------------

DOCUMENT = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n"


def test_who_never_reads_is_left(model):
    with headrace.Server(model, workers=1, answer_timeout=0.5) as server, connect(server) as connection:
        began = time.monotonic()
        assert until_closed(connection, DOCUMENT * 10, 100_000) < 100_000
        assert time.monotonic() - began < 10
        assert ask(f"{server.url}/v2/health/live").status == 200


def test_who_reads_slowly_gets_the_whole_answer(model):
    with headrace.Server(model, workers=1, answer_timeout=0.3) as server:
        one = len(ask(f"{server.url}/openapi.json").body)
        count = 16 * MEBI // one
        with connect(server) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
            sending = threading.Thread(target=lambda: connection.sendall(DOCUMENT * count))
            sending.start()
            received = 0
            while received < one * count:
                piece = connection.recv(MEBI)
                assert piece, f"cut after {received} bytes of {one * count}"
                received += len(piece)
                wait(0.02)
            sending.join()


# --- connections ----------------------------------------------------------------------------------------------------


def test_connections_are_bounded_and_others_wait(model):
    with headrace.Server(model, workers=2, max_connections=3) as server:
        held = [connect(server) for _ in range(3)]
        for connection in held:
            connection.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert connection.recv(4096).startswith(b"HTTP/1.1 200 ")
        with connect(server) as late:
            late.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert not select.select([late], [], [], 0.3)[0]
            held.pop().close()
            assert late.recv(4096).startswith(b"HTTP/1.1 200 ")
        for connection in held:
            connection.close()


def test_who_is_silent_makes_room(model):
    with headrace.Server(model, workers=1, max_connections=3, head_timeout=0.4) as server, ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(connect(server))
        assert ask(f"{server.url}/v2/health/live").status == 200


# --- HTTP/2 ---------------------------------------------------------------------------------------------------------


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """RFC 9113, section 4.1."""
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def setting(name: int, value: int) -> bytes:
    return struct.pack(">HI", name, value)


def head(method: bytes, path: bytes) -> bytes:
    """A header block without compression: RFC 7541, the static table's names."""

    def literal(index: int, text: bytes) -> bytes:
        return bytes([index, len(text)]) + text

    return method + b"\x86" + literal(4, path) + literal(1, b"localhost")


GET, SEND = b"\x82", b"\x83"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
PING = frame(6, 0, 0, b"whatever")


@pytest.mark.parametrize("told", [b"", PING], ids=["silent", "pings"])
def test_http2_on_which_nothing_is_asked_ends(model, told):
    with headrace.Server(model, workers=1, head_timeout=0.4) as server, connect(server) as connection:
        connection.sendall(PREFACE + frame(4, 0, 0))
        began = time.monotonic()
        received = b""
        try:
            while time.monotonic() - began < 10:
                if select.select([connection], [], [], 0.05)[0]:
                    piece = connection.recv(65_536)
                    if not piece:
                        break
                    received += piece
                if told:
                    connection.sendall(told)
        except (BrokenPipeError, ConnectionResetError):
            pass
        assert 0.3 < time.monotonic() - began < 5
        assert b"\x07\x00\x00\x00\x00\x00" in received  # GOAWAY


def test_http2_with_streams_that_are_held_open_ends(model):
    with headrace.Server(model, workers=1, head_timeout=0.4, body_timeout=0.4) as server, connect(server) as connection:
        requests = [frame(1, 4, 1 + 2 * i, head(SEND, b"/v2/models/late/infer")) for i in range(100)]
        connection.sendall(PREFACE + frame(4, 0, 0) + b"".join(requests))
        assert 0.3 < ended(connection) < 6
        assert ask(f"{server.url}/v2/health/live").status == 200


def test_http2_whose_answers_are_not_taken_ends(model):
    """The window of its streams is nothing: the answers stay here."""
    with headrace.Server(model, workers=1, answer_timeout=0.4) as server, connect(server) as connection:
        requests = [frame(1, 5, 1 + 2 * i, head(GET, b"/openapi.json")) for i in range(100)]
        connection.sendall(PREFACE + frame(4, 0, 0, setting(4, 0)) + b"".join(requests))
        assert 0.3 < ended(connection) < 6
        assert ask(f"{server.url}/v2/health/live").status == 200


def ended(connection: socket.socket) -> float:
    """How long the server keeps a connection on which pings are sent."""
    began = time.monotonic()
    try:
        while time.monotonic() - began < 10:
            if select.select([connection], [], [], 0.05)[0] and not connection.recv(65_536):
                break
            connection.sendall(PING)
    except (BrokenPipeError, ConnectionResetError):
        pass
    return time.monotonic() - began


def test_http2_resets_and_headers_without_end(model):
    with headrace.Server(model, workers=1) as server:
        with connect(server) as connection:  # many requests, taken back at once
            connection.sendall(PREFACE + frame(4, 0, 0))
            with suppress(BrokenPipeError, ConnectionResetError):
                for stream in range(1, 40_000, 2):
                    ask_and_reset = frame(1, 5, stream, head(GET, b"/v2")) + frame(3, 0, stream, b"\0\0\0\x08")
                    connection.sendall(ask_and_reset)
        with connect(server) as connection:  # headers that go on and on
            connection.sendall(PREFACE + frame(4, 0, 0) + frame(1, 0, 1, head(GET, b"/v2")))
            more = frame(9, 0, 1, b"\x00\x01x\x7f\x80\x00" + b"y" * 127)
            assert until_closed(connection, more, 20_000) < 20_000
        assert ask(f"{server.url}/v2/health/live").status == 200


def test_a_grpc_channel_that_was_idle_is_opened_again(model):
    grpc = pytest.importorskip("grpc", reason="needs grpcio: pip install 'tritonclient[grpc]'")
    with (
        headrace.Server(model, workers=1, head_timeout=0.3) as server,
        grpc.insecure_channel(f"{server.host}:{server.port}") as channel,
    ):
        call = channel.unary_unary("/inference.GRPCInferenceService/ServerLive")
        for _ in range(3):
            assert call(b"", timeout=10) == b"\x08\x01"
            wait(0.8)


# --- slow clients ---------------------------------------------------------------------------------------------------


def latencies(server: headrace.Server, count: int, between) -> float:
    """The 99th percentile of the seconds that requests take."""
    connection = http.client.HTTPConnection(server.host, server.port, timeout=30)
    body = json.dumps(infer(rows(1))).encode()
    took = []
    for number in range(count):
        between(number)
        began = time.perf_counter()
        connection.request("POST", "/v2/models/late/infer", body=body)
        reply = connection.getresponse()
        assert reply.status == 200
        reply.read()
        took.append(time.perf_counter() - began)
    connection.close()
    return statistics.quantiles(took, n=100)[98]


@pytest.mark.parametrize("count", [300, pytest.param(2000, marks=pytest.mark.slow)])
def test_slow_clients_do_not_slow_down_the_others(model, count):
    """Heads that drip, bodies that drip, answers that nobody reads: a third of each."""
    if resource.getrlimit(resource.RLIMIT_NOFILE)[0] < 2 * count + 200:
        pytest.skip(f"needs {2 * count + 200} open files: ulimit -n")
    with headrace.Server(model) as quiet, headrace.Server(model) as server, ExitStack() as stack:
        slow = []
        for number in range(count):
            connection = stack.enter_context(connect(server))
            match number % 3:
                case 0:
                    connection.sendall(b"GET /v2 HTTP/1.1\r\nHost: localhost\r\nx: ")
                    slow.append((connection, b"y"))
                case 1:
                    connection.sendall(POST % 100_000 + b"{")
                    slow.append((connection, b" "))
                case _:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                    connection.sendall(DOCUMENT * (6000 // count))

        def dripping(number: int) -> None:
            for connection, piece in slow[number % 400 :: 400]:
                # Who was given up meanwhile is gone.
                with suppress(BrokenPipeError, ConnectionResetError):
                    connection.sendall(piece)

        # In turn, since others load the machine as well; what is looked for is a server that waits for somebody.
        alone, beside = [], []
        for _ in range(5):
            alone.append(latencies(quiet, 300, lambda _: None))
            beside.append(latencies(server, 300, dripping))
        assert min(beside) < 3 * statistics.median(alone) + 0.02, (alone, beside)
        shown = [f"{statistics.median(times) * 1e3:.2f} ms" for times in (alone, beside)]
        print(f"p99 alone {shown[0]}, beside {count} slow clients {shown[1]}")
