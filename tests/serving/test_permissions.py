"""Who is let in where: every route with every method, and every call, for every kind of token, as declared."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from pathlib import Path

import pytest

import headrace
from headrace.compute.serving import permissions
from headrace.errors import ServingError
from headrace.serving import tokens
from serving.served import ask, graph, infer, rows

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
SCOPED = [(), ("predict",), ("observe",), ("admin",), ("predict", "observe")]
DAY = 86_400.0


def made(path: Path, name: str, *scopes: str, **more) -> str:
    return tokens.create(path, name, scopes=scopes, seconds=DAY, **more)[1]


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    """A server with tokens, and a header for each kind of client."""
    folder = tmp_path_factory.mktemp("tokens")
    path = folder / "tokens.json"
    secrets = {scopes: made(path, "-".join(scopes), *scopes) for scopes in SCOPED if scopes}
    expired = made(path, "old", "admin", now=time.time() - 2 * DAY)
    revoked = made(path, "gone", "admin")
    tokens.revoke(path, "gone")
    wrong = {
        "nothing": None,
        "expired": f"Bearer {expired}",
        "revoked": f"Bearer {revoked}",
        "made up": "Bearer hrt_" + "A" * 43,
        "another scheme": f"Basic {secrets['admin',]}",
        "no scheme": secrets["admin",],
        "hash": f"Bearer {tokens.read(path)[0].sha256}",
        "cut": f"Bearer {secrets['admin',][:-1]}",
    }
    aliases = {"/score": "predict", "/alive": "live"}
    with headrace.Server(graph(folder / "late.onnx"), workers=1, tokens=path, paths=aliases) as server:
        yield server, secrets, wrong, path


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def declared() -> dict[str, dict[str, str]]:
    """The permission of each method of each path, names put in."""
    table: dict[str, dict[str, str]] = {}
    for method, path, permission in permissions():
        if method != "gRPC":
            table.setdefault(path.replace("{model}", "late").replace("{version}", "1"), {})[method] = permission
    invocations = table["/invocations"]["POST"]
    return {**table, "/score": {"POST": invocations}, "/alive": {"GET": table["/v2/health/live"]["GET"]}}


def test_the_table_is_what_was_decided():
    """Health is open, /metrics is observed, and what is not said here is for who may predict."""
    by = {}
    for method, path, permission in permissions():
        by.setdefault(permission, set()).add(path if method != "gRPC" else path.rpartition("/")[2])
    assert by["observe"] == {"/metrics"}
    assert by["open"] == {
        *("/v2/health/live", "/v2/health/ready", "/v2/models/{model}/ready", "/v1/models/{model}"),
        "/v2/models/{model}/versions/{version}/ready",
        *("/", "/ping", "/health", "/version", "ServerLive", "ServerReady", "ModelReady", "Check"),
    }
    assert set(by) == {"open", "predict", "observe"}


def test_every_route_with_every_method_for_every_client(guarded):
    server, secrets, wrong, _ = guarded
    connection = http.client.HTTPConnection(server.host, server.port, timeout=30)
    clients = [((), header) for header in wrong.values()]
    clients += [(scopes, f"Bearer {secret}") for scopes, secret in secrets.items()]
    asked = 0
    for path, methods in declared().items():
        for method in METHODS:
            for scopes, header in clients:
                headers = {"Content-Type": "application/json"} | ({"Authorization": header} if header else {})
                connection.request(method, path, body=b"{}" if method == "POST" else None, headers=headers)
                reply = connection.getresponse()
                body = reply.read()
                case = (method, path, scopes, header and header[:8], reply.status, body)
                needed = methods.get("GET" if method == "HEAD" else method)
                if needed is None:
                    allowed = {"GET": "GET, HEAD", "POST": "POST"}[next(iter(methods))]
                    assert (reply.status, reply.headers["allow"]) == (405, allowed), case
                elif needed == "open" or needed in scopes or "admin" in scopes:
                    # A server of files keeps no labels.
                    assert reply.status in ({404} if path == "/feedback" else {200, 400}), case
                    assert reply.headers["www-authenticate"] is None, case
                else:
                    assert reply.status == (403 if scopes else 401), case
                    assert reply.headers["www-authenticate"].startswith('Bearer realm="headrace"'), case
                asked += 1
    assert asked == len(declared()) * len(METHODS) * len(clients) > 1000


def test_every_call_for_every_client(guarded):
    grpc = pytest.importorskip("grpc", reason="needs grpcio: pip install 'tritonclient[grpc]'")
    server, secrets, wrong, _ = guarded
    clients = [((), header) for header in wrong.values()]
    clients += [(scopes, f"Bearer {secret}") for scopes, secret in secrets.items()]
    calls = [(path, permission) for method, path, permission in permissions() if method == "gRPC"]
    assert len(calls) == 7
    with grpc.insecure_channel(f"{server.host}:{server.port}") as channel:
        for path, needed in calls:
            call = channel.unary_unary(path)
            for scopes, header in clients:
                metadata = [("authorization", header)] if header else []
                try:
                    call(b"", metadata=metadata, timeout=30)
                    code = grpc.StatusCode.OK
                except grpc.RpcError as error:
                    code = error.code()
                refused = [grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED]
                if needed == "open" or needed in scopes or "admin" in scopes:
                    assert code not in refused, (path, scopes, header)
                else:
                    assert code is refused[bool(scopes)], (path, scopes, header)


def test_what_leads_nowhere_says_so_to_anybody(guarded):
    server, *_ = guarded
    assert ask(f"{server.url}/nowhere").status == 404
    # But not what there is.
    assert ask(f"{server.url}/v2/models/other").status == 401


def test_each_accent_says_it_in_its_own_form(guarded):
    server, secrets, *_ = guarded
    reply = ask(f"{server.url}/v2/models/late/infer", infer(rows(1)))
    assert (reply.status, list(reply.json)) == (401, ["error"])
    assert reply.headers["www-authenticate"] == 'Bearer realm="headrace"'
    reply = ask(f"{server.url}/invocations", {"inputs": []}, headers=bearer("wrong"))
    assert (reply.status, reply.json["error_code"]) == (401, "UNAUTHENTICATED")
    assert 'error="invalid_token"' in reply.headers["www-authenticate"]
    reply = ask(f"{server.url}/score", {"inputs": []}, headers=bearer(secrets["observe",]))
    assert (reply.status, reply.json["error_code"]) == (403, "PERMISSION_DENIED")
    assert 'error="insufficient_scope", scope="predict"' in reply.headers["www-authenticate"]
    reply = ask(f"{server.url}/v2/models/late/infer", infer(rows(1)), headers=bearer(secrets["predict",]))
    assert (reply.status, reply.headers["headrace-version"]) == (200, "late@1")


def test_the_clients_that_others_have_can_show_a_token(guarded):
    tritongrpc = pytest.importorskip("tritonclient.grpc", reason="needs: pip install 'tritonclient[grpc]'")
    server, secrets, *_ = guarded
    client = tritongrpc.InferenceServerClient(f"{server.host}:{server.port}")
    headers = {"authorization": f"Bearer {secrets['predict',]}"}
    assert client.get_model_metadata("late", headers=headers).name == "late"
    with pytest.raises(tritongrpc.InferenceServerException, match="there is no token"):
        client.get_model_metadata("late")
    client.close()


def test_two_headers_are_no_token(guarded):
    server, secrets, *_ = guarded
    line = f"Authorization: Bearer {secrets['admin',]}\r\n"
    with socket.create_connection((server.host, server.port), timeout=10) as connection:
        connection.sendall(f"GET /v2 HTTP/1.1\r\nHost: x\r\n{line}{line}\r\n".encode())
        assert b" 401 " in connection.recv(4096)
        connection.sendall(f"GET /v2 HTTP/1.1\r\nHost: x\r\n{line}\r\n".encode())
        assert b" 200 " in connection.recv(4096)


def test_with_tokens_the_server_may_be_known_by_any_name(guarded):
    server, secrets, *_ = guarded
    headers = {"Host": "models.example.com", **bearer(secrets["predict",])}
    assert ask(f"{server.url}/v2", headers=headers).status == 200


def test_no_answer_and_no_metric_shows_a_secret(guarded):
    server, secrets, wrong, path = guarded
    hashes = [token.sha256 for token in tokens.read(path)]
    given = [header.rpartition(" ")[2] for header in wrong.values() if header]
    hidden = [*secrets.values(), *given, *hashes]
    shown = [
        reply.body.decode() + str(reply.headers)
        for secret in secrets.values()
        for reply in (
            ask(f"{server.url}{way}", headers=bearer(secret))
            for way in ("/metrics", "/openapi.json", "/nowhere", "/v2/models/late", "/v2/models/late/infer")
        )
    ]
    shown += [
        ask(f"{server.url}/metrics", headers={"Authorization": one}).body.decode() for one in wrong.values() if one
    ]
    assert not [one for one in hidden if any(one in text for text in shown)]


def test_metrics_count_who_was_kept_out(guarded):
    server, secrets, *_ = guarded
    text = ask(f"{server.url}/metrics", headers=bearer(secrets["observe",])).body.decode()
    lines = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert lines["headrace_tokens_readable"] == "1"
    assert lines["headrace_tokens_valid"] == "4"
    assert int(lines['headrace_refusals_total{model="",version="",reason="unauthenticated"}']) > 0
    assert int(lines['headrace_refusals_total{model="",version="",reason="forbidden"}']) > 0


def test_the_document_says_what_a_token_must_allow(guarded, plain):
    server, secrets, *_ = guarded
    document = ask(f"{server.url}/openapi.json", headers=bearer(secrets["predict",])).json
    assert document["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
    table = declared()
    for path, item in document["paths"].items():
        for method, operation in item.items():
            needed = table[path]["GET" if method == "head" else method.upper()]
            assert operation.get("security") == (None if needed == "open" else [{"token": [needed]}]), path
    assert "securitySchemes" not in ask(f"{plain.url}/openapi.json").json["components"]


# --- while it runs --------------------------------------------------------------------------------------------------


def until(condition, *, seconds: float = 10.0) -> float:
    """Waits until it holds, and says how long that took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds
        threading.Event().wait(0.02)
    return time.monotonic() - began


def test_a_running_server_hears_of_new_and_revoked_tokens(model, tmp_path):
    path = tmp_path / "tokens.json"
    first = made(path, "first", "predict")
    with headrace.Server(model, workers=2, tokens=path) as server:

        def status(secret: str) -> int:
            return ask(f"{server.url}/v2", headers=bearer(secret)).status

        assert status(first) == 200
        second = made(path, "second", "predict")
        assert until(lambda: status(second) == 200) < 2.5
        tokens.revoke(path, "first")
        assert until(lambda: status(first) == 401) < 2.5
        assert status(second) == 200
        short = tokens.create(path, "short", scopes=["predict"], seconds=3.0)[1]
        until(lambda: status(short) == 200)
        until(lambda: status(short) == 401)
        # What cannot be read lets nobody in, and the server goes on.
        kept = path.read_bytes()
        path.write_bytes(kept[:-20])
        until(lambda: status(second) == 401)
        assert ask(f"{server.url}/v2/health/ready").status == 200
        path.write_bytes(kept)
        until(lambda: status(second) == 200)
        path.unlink()
        until(lambda: status(second) == 401)


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])  # noqa: S104  # with tokens
def test_with_tokens_it_may_listen_where_others_are(model, tmp_path, host):
    path = tmp_path / "tokens.json"
    secret = made(path, "a", "predict")
    with headrace.Server(model, workers=1, host=host, tokens=path) as server:
        assert server.host == host
        url = f"http://{'127.0.0.1' if host == '0.0.0.0' else '[::1]'}:{server.port}"  # noqa: S104
        assert ask(f"{url}/v2").status == 401
        assert ask(f"{url}/ping").status == 200
        assert ask(f"{url}/v2", headers=bearer(secret)).status == 200


def test_a_file_that_is_none_keeps_it_from_starting(model, tmp_path):
    path = tmp_path / "tokens.json"
    with pytest.raises(ServingError, match=r"tokens\.json: the file of tokens cannot be read: No such file") as caught:
        headrace.Server(model, host="0.0.0.0", tokens=path)  # noqa: S104
    assert "headrace tokens create" in caught.value.hint
    secret = made(path, "a", "predict")
    good = path.read_text()
    for text, message in [
        ("", "is no file of tokens"),
        ("[]", "is no file of tokens"),
        (good.replace('"format_version": 1', '"format_version": 2'), "has the format 2, this version knows 1"),
        (good.replace('"predict"', '"everything"'), "is no file of tokens"),
        (good.replace(tokens.read(path)[0].sha256, "12"), "the sha256 of token 0 is not 64 hexadecimal digits"),
        (" " * (1 << 20) + good, "is larger than 1048576 bytes"),
    ]:
        path.write_text(text)
        with pytest.raises(ServingError, match=message) as caught:
            headrace.Server(model, tokens=path)
        assert secret not in str(caught.value)
    path.write_text(good)
    path.chmod(0o666)
    with pytest.raises(ServingError, match="others than its owner may write it"):
        headrace.Server(model, tokens=path)
    path.chmod(0o600)
    tokens.revoke(path, "a")
    with pytest.raises(ServingError, match="it has no token that is valid now"):
        headrace.Server(model, tokens=path)
    with pytest.raises(ServingError, match="is not a file"):
        headrace.Server(model, tokens=tmp_path)
