"""How a server starts, what keeps it from starting, and how it ends."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import headrace
from headrace.compute import serving
from headrace.errors import ModelFormatError, NotFoundError, ServingError
from serving.served import FLOAT, ask, graph, infer, package, rows, value, write_onnx

# --- start ---------------------------------------------------------------------------------------------------------


def test_a_port_in_use_is_said(plain, model):
    with pytest.raises(ServingError, match=f"127.0.0.1:{plain.port}: .*somebody else listens there") as caught:
        headrace.Server(model, port=plain.port)
    assert "another port" in caught.value.hint


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1"])  # noqa: S104  # refused
def test_others_cannot_reach_it(model, host):
    with pytest.raises(ServingError, match="reachable from other machines, and no tokens are given"):
        headrace.Server(model, host=host)


def test_wrong_options_are_said(model):
    for options, message in [
        ({"host": "example.com"}, "host is 'example.com', expected an IP address, or localhost"),
        ({"workers": 0}, "workers is 0, expected 1 to 4294967295"),
        ({"max_batch_rows": -1}, "max_batch_rows is -1"),
        ({"max_connections": 2**62}, "max_connections is 4611686018427387904, expected 1 to"),
        ({"max_rows": 2**70}, "max_rows is 1180591620717411303424, expected 1 to"),
        ({"name": "\udcff"}, "'\\udcff' cannot stand in a route"),
        ({"deadline": -1.0}, "deadline is -1 s, expected 0 to 86400"),
        ({"deadline": float("nan")}, "deadline is NaN s"),
        ({"port": 70_000}, "port is 70000"),
    ]:
        with pytest.raises(ServingError, match=re.escape(message)):
            headrace.Server(model, **options)


def test_ipv6(model):
    with headrace.Server(model, host="::1", workers=1) as server:
        assert server.url == f"http://[::1]:{server.port}"
        assert ask(f"{server.url}/v2").status == 200


def test_what_is_no_model_is_refused(tmp_path):
    path = tmp_path / "m.onnx"
    with pytest.raises(NotFoundError, match=re.escape(str(path))):
        headrace.Server(path)
    whole = graph(path).read_bytes()
    for damaged in (b"", b"PK\x03\x04", whole[: len(whole) // 2], whole.replace(b"TreeEnsemble", b"TreeFnsemble")):
        path.write_bytes(damaged)
        with pytest.raises(ModelFormatError):
            headrace.Server(path)
    tensor = numpy_helper.from_array(np.zeros(2, np.float32), "w")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")
    node = helper.make_node("Add", ["x", "w"], ["y"])
    write_onnx(path, [node], [value("x", FLOAT, [None, 2])], [value("y", FLOAT, [None, 2])], initializer=[tensor])
    with pytest.raises(ModelFormatError, match="keeps weights in another file"):
        headrace.Server(path)


def test_a_package_that_gives_something_else_is_refused():
    made, _, _ = package("binary")
    golden = json.loads(made.files["golden.json"])
    moved = json.loads(json.dumps(golden))
    moved["scores"][3][1] += 1e-3
    with pytest.raises(ModelFormatError, match=r"golden\.json: golden row 3 gives the score 'true' as .* and gave"):
        headrace.Server(type(made)(made.version, {**made.files, "golden.json": json.dumps(moved).encode()}))
    moved = json.loads(json.dumps(golden))
    moved["features"][2][0] = 77.0
    with pytest.raises(ModelFormatError, match="golden row 2 gives the feature"):
        headrace.Server(type(made)(made.version, {**made.files, "golden.json": json.dumps(moved).encode()}))
    other, _, _ = package("multiclass")
    with pytest.raises(ModelFormatError, match="do not belong together"):
        headrace.Server(type(made)(made.version, {**made.files, "model.onnx": other.files["model.onnx"]}))


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True, env={**os.environ, **environment}
    )


def test_onnxruntime_missing_without_a_library_or_too_old(model, tmp_path, monkeypatch):
    """In processes of their own: the library is loaded once."""
    monkeypatch.setattr(serving.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ServingError, match="the package onnxruntime is not installed"):
        headrace.Server(model)
    monkeypatch.undo()
    fake = tmp_path / "onnxruntime" / "capi"
    fake.mkdir(parents=True)
    (fake.parent / "__init__.py").touch()
    start = f"headrace.Server({str(model)!r})"
    code = f"import headrace\ntry:\n    {start}\nexcept headrace.errors.ServingError as e:\n    print(e)"
    done = run(code, PYTHONPATH=str(tmp_path))
    assert "has no shared library" in done.stdout, done.stderr
    source = tmp_path / "old.c"
    source.write_text(
        'static const char *version(void) { return "1.17.0"; }\n'
        "static const void *api(unsigned v) { (void)v; return 0; }\n"
        "struct base { const void *(*get)(unsigned); const char *(*version)(void); };\n"
        "static const struct base it = { api, version };\n"
        "const struct base *OrtGetApiBase(void) { return &it; }\n"
    )
    subprocess.run(["cc", "-shared", "-fPIC", "-o", fake / "libonnxruntime.so.1.17.0", source], check=True)
    done = run(code, PYTHONPATH=str(tmp_path))
    assert "onnxruntime: ONNX Runtime cannot be used: " in done.stdout, done.stderr
    assert "1.17.0" in done.stdout
    assert "pip install" in done.stdout
    (fake / "libonnxruntime.so.1.17.0").write_bytes(b"no library")
    assert "ONNX Runtime cannot be used" in run(code, PYTHONPATH=str(tmp_path)).stdout


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="descriptors are counted in /proc")
def test_a_start_without_enough_descriptors_fails_and_ends(model):
    code = (
        "import os, resource, headrace\n"
        f"with headrace.Server({str(model)!r}, workers=1): pass\n"
        "most = len(os.listdir('/proc/self/fd')) + 14\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))\n"
        f"try:\n    headrace.Server({str(model)!r}, workers=16)\n"
        "except headrace.errors.ServingError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=60)
    assert "cannot start the server's threads" in done.stdout, done.stderr


def test_clients_cannot_fill_the_log(tmp_path):
    """What ONNX Runtime says of a request goes to who sent it, and nowhere else."""
    node = helper.make_node("Gather", ["w", "i"], ["y"])
    weights = numpy_helper.from_array(np.zeros(3, np.float32), "w")
    ports = [value("i", TensorProto.INT64, [None])], [value("y", FLOAT, [None])]
    path = write_onnx(tmp_path / "gather.onnx", [node], *ports, initializer=[weights])
    body = json.dumps({"instances": [99]})
    code = (
        "import headrace, http.client\n"
        f"with headrace.Server({str(path)!r}, workers=1) as server:\n"
        "    client = http.client.HTTPConnection(server.host, server.port)\n"
        f"    client.request('POST', '/v1/models/gather:predict', {body!r})\n"
        "    reply = client.getresponse()\n"
        "    print(reply.status, reply.read())\n"
    )
    done = run(code)
    assert done.stdout.startswith("500 ")
    assert "indices" in done.stdout
    assert done.stderr == ""


def test_a_server_does_not_import_onnxruntime(model):
    code = f"import sys, headrace\nwith headrace.Server({str(model)!r}):\n    print('onnxruntime' in sys.modules)"
    assert run(code).stdout == "False\n"


# --- end -----------------------------------------------------------------------------------------------------------


def test_a_stopped_server_is_gone(model):
    server = headrace.Server(model, workers=2)
    url = server.url
    assert ask(f"{url}/v2").status == 200
    server.stop()
    server.stop()
    with pytest.raises(OSError):
        ask(f"{url}/v2")


def test_what_was_asked_is_answered_before_the_end(model):
    server = headrace.Server(model, workers=2)
    body = json.dumps(infer(rows(2))).encode()
    head = b"POST /v2/models/late/infer HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body)
    with socket.create_connection((server.host, server.port), timeout=10) as busy:
        busy.sendall(head + body[:10])
        ask(f"{server.url}/v2")  # so that the connection before it was taken
        ending = threading.Thread(target=server.stop)
        ending.start()
        busy.sendall(body[10:])
        answer = b""
        while part := busy.recv(4096):
            answer += part
        ending.join(20)
    assert answer.startswith(b"HTTP/1.1 200 OK")


def test_who_asks_again_and_again_is_told_that_it_is_the_end(model):
    """Every request gets an answer; the last says that the connection is closed. No client waits 20 ms in between."""
    server = headrace.Server(model, workers=2)
    body = json.dumps(infer(rows(1)))
    asked = threading.Barrier(4)
    ends: list[str] = []

    def client() -> None:
        connection = http.client.HTTPConnection(server.host, server.port, timeout=10)
        for number in itertools.count():
            connection.request("POST", "/v2/models/late/infer", body)
            reply = connection.getresponse()
            reply.read()
            assert reply.status == 200
            if reply.getheader("connection") == "close":
                ends.append("told")
                return
            if number == 20:
                asked.wait(10)

    clients = [threading.Thread(target=client) for _ in range(3)]
    for one in clients:
        one.start()
    asked.wait(10)
    server.stop()
    for one in clients:
        one.join(20)
    assert ends == ["told"] * 3


def test_who_stands_before_the_door_at_the_end_is_answered(tmp_path):
    """While the only worker computes, nobody is let in; the end comes meanwhile."""
    wide = numpy_helper.from_array(np.ones((1, 1000), np.float32), "wide")
    square = numpy_helper.from_array(np.full((1000, 1000), 1e-3, np.float32), "square")
    nodes = [helper.make_node("MatMul", ["x", "wide"], ["h0"])]
    nodes += [helper.make_node("MatMul", [f"h{i}", "square"], [f"h{i + 1}"]) for i in range(10)]
    nodes.append(helper.make_node("ReduceMax", ["h10"], ["y"], axes=[1]))
    ports = [value("x", FLOAT, [None, 1])], [value("y", FLOAT, [None, 1])]
    path = write_onnx(tmp_path / "slow.onnx", nodes, *ports, initializer=[wide, square])

    def request(count: int) -> bytes:
        body = json.dumps({"instances": [[1.0]] * count}).encode()
        head = b"POST /v1/models/slow:predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body)
        return head + body

    for _ in range(6):
        server = headrace.Server(path, workers=1, deadline=3000.0, max_queue_time=3000.0)
        with contextlib.ExitStack() as stack:
            clients = []
            for number in range(40):
                client = stack.enter_context(socket.create_connection((server.host, server.port), timeout=20))
                client.sendall(request(500 if number == 0 else 1))
                clients.append(client)
            server.stop()
            for client in clients:
                assert client.recv(4096).startswith(b"HTTP/1.1 200 OK")


def test_an_idle_connection_does_not_hold_it_up(model):
    server = headrace.Server(model, workers=1)
    with socket.create_connection((server.host, server.port), timeout=10) as idle:
        idle.sendall(b"GET /ping HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b"200 OK" in idle.recv(4096)
        server.stop()
        assert idle.recv(4096) == b""


@pytest.mark.slow
def test_a_hundred_starts_and_ends_in_one_process(model):
    descriptors = Path("/proc/self/fd")
    before = len(list(descriptors.iterdir())) if descriptors.exists() else None
    for _ in range(100):
        with headrace.Server(model, workers=2) as server:
            assert ask(f"{server.url}/ping").status == 200
    assert threading.active_count() < 20
    if before is not None:
        assert len(list(descriptors.iterdir())) <= before + 8


@pytest.mark.slow
@pytest.mark.e2e
@pytest.mark.timeout(900)
def test_a_hundred_starts_and_ends_of_the_command(model):
    def cycle(number: int) -> tuple[int, str]:
        line = [
            sys.executable,
            "-m",
            "headrace.cli.main",
            "serve",
            str(model),
            "--port",
            "0",
            "--workers",
            "2",
            "--json",
        ]
        with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            try:
                url = json.loads(process.stdout.readline())["url"]
                # Some end before anybody asked.
                if number % 4:
                    assert ask(f"{url}/ping").status == 200
            finally:
                process.send_signal(signal.SIGTERM if number % 2 else signal.SIGINT)
                _, err = process.communicate(timeout=120)
        return process.returncode, err

    with ThreadPoolExecutor(2) as pool:
        assert set(pool.map(cycle, range(100))) == {(0, "")}


def test_a_child_of_fork_does_not_wait_for_the_server(model):
    script = """
import os, sys, headrace
server = headrace.Server(sys.argv[1], workers=2)
child = os.fork()
if child == 0:
    server.stop()
    del server
    os._exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
server.stop()
"""
    done = subprocess.run([sys.executable, "-c", script, str(model)], capture_output=True, timeout=60, check=False)
    assert done.stdout.split() == [b"7"]
    assert done.returncode == 0, done.stderr.decode()


def test_a_process_that_forgets_its_server_ends_cleanly(model):
    code = f"import headrace\ns = headrace.Server({str(model)!r})\nprint(s.port)"
    done = run(code)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_who_is_asked_to_stop_while_it_starts_ends_cleanly(model, tmp_path, number):
    """A platform may change its mind before there is a server."""
    path = tmp_path / "serve.toml"
    path.write_text(f'[server]\nport = 0\n[endpoints.late]\nmodel = "{model}"\n')
    code = (
        "import os, sys\n"
        "from headrace.serving import config\n"
        "load = config.load\n"
        f"config.load = lambda path: (os.kill(os.getpid(), {int(number)}), load(path))[1]\n"
        "from headrace.cli.main import main\n"
        f"sys.argv = ['headrace', 'serve', '--config', {str(path)!r}]\n"
        "sys.exit(main())\n"
    )
    done = run(code)
    assert done.returncode == 0, done.stderr


@pytest.mark.e2e
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_command_serves_until_it_is_asked_to_stop(model, number):
    command = [
        sys.executable,
        "-m",
        "headrace.cli.main",
        "serve",
        str(model),
        "--port",
        "0",
        "--workers",
        "1",
        "--json",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            line = process.stdout.readline()
            document = json.loads(line)
            assert (document["model"], document["version"], document["batched"]) == ("late", "1", True)
            reply = ask(f"{document['url']}/v1/models/late:predict", {"instances": rows(1).tolist()})
            assert reply.status == 200
        finally:
            process.send_signal(number)
            out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, ""), out
