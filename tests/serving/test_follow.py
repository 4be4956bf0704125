"""A server that follows the registry: promotions, rollbacks, versions that cannot be served, a store that goes away."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import headrace
from headrace.errors import ConfigError, InvalidNameError, NotFoundError, ServingError
from headrace.project import serving
from headrace.serving import config
from serving.served import ask, graph, infer, package, records, rows

SPEC = '[project]\nname = "shop"\n\n[ingest]\nuse = "file"\npath = "data.csv"\n'


@pytest.fixture(scope="module")
def made():
    return package("regression")


@pytest.fixture
def project(tmp_path, made):
    """A project with three versions of `shop`, the first of them champion; the third gives what it never gave."""
    (tmp_path / "headrace.toml").write_text(SPEC)
    files, _, data = made
    with headrace.Project(tmp_path) as project:
        project.store  # noqa: B018  # made on first use
        for number in (1, 2, 3):
            inside = dict(files.files)
            inside["golden.json"] += b" " * number
            if number == 3:
                golden = json.loads(inside["golden.json"])
                golden["scores"][0][0] += 1.0
                inside["golden.json"] = json.dumps(golden).encode()
            project.registry.register("shop", inside, about={"number": number}, model_digest=f"{number}" * 64)
        project.registry.promote("shop@1", why="the first")
    return tmp_path, {"instances": records(data.drop("gain").head(2))}


def promote(where: Path, ref: str, alias: str = "champion") -> None:
    with headrace.Project(where) as project:
        project.registry.promote(ref, alias, why="a test")


def until(reached, what: str = "in time") -> None:
    """Asks again until it is so: another thread or process makes it so."""
    end = time.monotonic() + 60
    while not reached():
        assert time.monotonic() < end, what
        os.sched_yield()


@contextmanager
def following(where: Path, *refs: str, started: bool = True):
    said: list[str] = []
    server = headrace.Server([], workers=2)
    with server, headrace.Project(where) as project:
        follower = serving.follow(server, project, serving.routes_of(refs), say=said.append)
        follower._every = 0.02
        server.follower = follower
        if started:
            follower.start()
        server.open()
        try:
            yield server, said
        finally:
            follower.stop()


def metric(server: headrace.Server, name: str) -> float:
    found = re.search(rf"^{re.escape(name)} (\S+)$", ask(f"{server.url}/metrics").body.decode(), re.MULTILINE)
    assert found, name
    return float(found[1])


def version(server: headrace.Server, body) -> str:
    reply = ask(f"{server.url}/invocations", body)
    assert reply.status == 200
    return reply.headers["headrace-version"]


def test_an_alias_that_moves_there_and_back_is_followed(project):
    where, body = project
    with following(where, "shop") as (server, said):
        assert version(server, body) == "shop@1"
        promote(where, "shop@2")
        until(lambda: version(server, body) == "shop@2")
        with headrace.Project(where) as other:
            other.registry.rollback("shop", why="it was worse")
        until(lambda: version(server, body) == "shop@1")
        until(lambda: len(said) == 2)
    assert said == ["shop is shop@2 now, was shop@1", "shop is shop@1 now, was shop@2"]


def test_a_version_that_cannot_be_served_is_refused_and_said_once(project):
    where, body = project
    with following(where, "shop@champion") as (server, said):
        promote(where, "shop@3")
        until(lambda: said)
        assert said[0].startswith("shop stays as it is (shop@1): golden.json: golden row 0 gives the score")
        assert metric(server, "headrace_load_failures_total") == 1
        assert version(server, body) == "shop@1"
        promote(where, "shop@2", "other")  # the store changes, and is looked at again
        promote(where, "shop@2")
        until(lambda: version(server, body) == "shop@2")
    assert [line[:14] for line in said] == ["shop stays as ", "shop is shop@2"]


def test_a_damaged_package_is_refused(project):
    where, body = project
    with headrace.Project(where) as opened:
        digest = opened.registry.get("shop", 2).manifest["files"]["golden.json"]["sha256"]
    damaged = next(path for path in (where / ".headrace").rglob("*") if path.parent.name + path.name == digest)
    with following(where, "shop", started=False) as (server, said):
        promote(where, "shop@2")  # which checks the files
        damaged.chmod(0o600)
        damaged.write_bytes(b"{}")
        server.follower.start()
        until(lambda: said)
        assert said[0].startswith("shop stays as it is (shop@1): ")
        assert version(server, body) == "shop@1"


def test_the_database_deleted_or_damaged_while_serving(project):
    """Predictions go on, it is said once, and when the store is back its news is followed."""
    where, body = project
    database = where / ".headrace" / "headrace.db"
    kept = database.read_bytes()
    with following(where, "shop") as (server, said):
        database.unlink()
        until(lambda: said)
        assert "the store cannot be read, and what is served goes on" in said[0]
        assert metric(server, "headrace_registry_reachable") == 0
        assert version(server, body) == "shop@1"
        database.write_bytes(b"no database" * 1000)
        for _ in range(20):
            assert version(server, body) == "shop@1"
        database.write_bytes(kept)
        until(lambda: len(said) == 2)
        assert metric(server, "headrace_registry_reachable") == 1
        promote(where, "shop@2")
        until(lambda: version(server, body) == "shop@2")
    assert [line.split(",")[0] for line in said] == [
        "the store cannot be read",
        "the store can be read again",
        "shop is shop@2 now",
    ]


def test_an_alias_that_is_not_there_is_said_at_the_start(project):
    where, _ = project
    with pytest.raises(NotFoundError, match="has no alias 'canary'"), following(where, "shop@canary"):
        pass
    with pytest.raises(NotFoundError, match="no version 9"), following(where, "shop@9"):
        pass
    with pytest.raises(InvalidNameError), following(where, "../shop"):
        pass
    with pytest.raises(ServingError, match="nothing to serve"), following(where):
        pass
    for both in (("shop@1", "shop@2"), ("a/shop.onnx", "shop"), ("shop", "shop")):
        with pytest.raises(ServingError, match="would both be served as 'shop'"):
            serving.routes_of(both)


@contextmanager
def command(*arguments: str, where: Path):
    line = [sys.executable, "-m", "headrace.cli.main", "serve", *arguments, "--port", "0", "--json"]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=where) as process:
        try:
            told = process.stdout.readline()
            yield process, json.loads(told) if told else {"error": process.communicate(timeout=60)[1]}
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                process.communicate(timeout=60)


def test_a_promotion_in_another_process_reaches_the_command_and_a_kill_does_not_lose_it(project):
    where, body = project
    with command("shop", where=where) as (process, document):
        assert document["routes"] == {"shop": {"shop@1": 1}}
        url = f"{document['url']}/invocations"
        move = [sys.executable, "-m", "headrace.cli.main", "models", "promote", "shop@2", "--why", "better"]
        subprocess.run(move, cwd=where, check=True, capture_output=True)
        until(lambda: ask(url, body).headers["headrace-version"] == "shop@2")
        process.kill()
        _, err = process.communicate(timeout=60)
        assert err == "shop is shop@2 now, was shop@1\n"
    with command("shop", where=where) as (_, document):
        assert document["routes"] == {"shop": {"shop@2": 1}}


def test_tokens_of_the_project_are_used_once_there_are_some(project):
    where, body = project
    with command("shop", where=where) as (_, document):
        assert ask(f"{document['url']}/invocations", body).status == 200
    line = [sys.executable, "-m", "headrace.cli.main", "tokens", "create", "shop"]
    secret = subprocess.run(line, cwd=where, check=True, capture_output=True, text=True).stdout.strip()
    assert (where / ".headrace" / "tokens.json").is_file()
    for address in ("127.0.0.1", "0.0.0.0"):  # noqa: S104  # with tokens
        with command("shop", "--host", address, where=where) as (process, document):
            url = document["url"].replace("0.0.0.0", "127.0.0.1")  # noqa: S104
            assert ask(f"{url}/invocations", body).status == 401
            assert ask(f"{url}/invocations", body, headers={"Authorization": f"Bearer {secret}"}).status == 200
            assert ask(f"{url}/v2/health/ready").status == 200
            process.send_signal(signal.SIGTERM)
            err = process.communicate(timeout=60)[1]
        assert ("travel unencrypted" in err) == (address == "0.0.0.0")  # noqa: S104
        assert secret not in err


def test_serve_toml(project):
    where, body = project
    graph(where / "late.onnx")
    promote(where, "shop@2", "challenger")
    (where / "serve.toml").write_text(
        "[server]\nworkers = 1\nmax_rows = 1\ndrain = 1.0\n\n"
        '[endpoints.shop]\nroutes = [{model = "shop", weight = 3}, {model = "shop@challenger"}]\nkey = "x-user"\n\n'
        '[endpoints.arrivals]\nmodel = "late.onnx"\n'
    )
    with command("--config", "serve.toml", where=where) as (_, document):
        assert document["routes"] == {"shop": {"shop@1": 3, "shop@2": 1}, "arrivals": {"late@1": 1}}
        assert ask(f"{document['url']}/invocations", body).status == 413
        reply = ask(f"{document['url']}/v2/models/arrivals/infer", infer(rows(1)))
        assert (reply.status, reply.headers["headrace-version"]) == (200, "late@1")
    with command("late.onnx", "--config", "serve.toml", "--workers", "2", where=where) as (_, document):
        assert document["routes"]["late"] == {"late@1": 1}


def test_what_the_file_names_lies_beside_it_and_no_log_is_none(project, tmp_path):
    where, body = project
    (where / "cfg").mkdir()
    (where / "cfg" / "serve.toml").write_text('[server]\nlog = "kept"\n[endpoints.shop]\nmodel = "shop"\n')
    for more, there in ([], True), (["--no-log"], False):
        with command("--config", "cfg/serve.toml", *more, where=where) as (_, document):
            assert ask(f"{document['url']}/invocations", body).status == 200
        assert list((where / "cfg").glob("kept/*.arrow")) != [] if there else not (where / "cfg" / "kept").exists()
        assert not (where / "kept").exists()
        shutil.rmtree(where / "cfg" / "kept", ignore_errors=True)
    assert not (where / ".headrace" / "predictions").exists()


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("[server]\nprot = 1\n", "serve.toml:2: server.prot: is not a key here", "Did you mean 'port'?"),
        ("[server]\nport = 70000\n", "serve.toml:2: server.port: input should be less than or equal to 65535", None),
        ('[endpoint.a]\nmodel = "a"\n', "serve.toml:1: endpoint: is not a key here", "Did you mean 'endpoints'?"),
        ('[endpoints.a]\nmodle = "a"\n', "serve.toml:2: endpoints.a.modle: is not a key here", "Did you mean 'model'?"),
        (
            '[endpoints.a]\nroutes = [{model = "a", wieght = 1}]\n',
            "endpoints.a.routes.0.wieght: is not a key here",
            "Did you mean 'weight'?",
        ),
        ("[endpoints.a]\n", "endpoints.a: expected either `model` or `routes`", None),
        ('[endpoints.a]\nroutes = [{model = "a", weight = 0}]\n', "every weight is 0", None),
        ('[endpoints.a]\nroutes = [{model = "a", weight = true}]\n', "weight: input should be a valid integer", None),
        ("[server\n", "is not valid TOML", None),
    ],
)
def test_what_is_wrong_in_serve_toml_is_said_with_its_line(tmp_path, text, message, hint):
    path = tmp_path / "serve.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        config.load(path)
    assert message in str(caught.value)
    assert hint is None or hint in (caught.value.hint or "")


def test_shadows_are_compared_and_do_not_answer(tmp_path):
    """The difference of two versions by each other's answers, computed here."""
    with headrace.Server(graph(tmp_path / "a.onnx"), workers=1) as server:
        served = server.load(tmp_path / "a.onnx")
        other = server.load(graph(tmp_path / "b.onnx", rounds=20))
        server.route("a", {served: 1}, shadows=[other])
        x = rows(30)

        def numbers(reply) -> list[float]:
            return np.float32(reply.json["outputs"][0]["data"]).astype(float).tolist()

        answers = []
        for row in x:
            reply = ask(f"{server.url}/v2/models/a/infer", infer(row[None]))
            assert reply.headers["headrace-version"] == "a@1"
            answers.append(numbers(reply))
        labels = '{model="b",version="1"}'
        until(lambda: metric(server, f"headrace_shadow_rows_total{labels}") == 30)
        server.route("b", {other: 1})
        given = [numbers(ask(f"{server.url}/v2/models/b/infer", infer(row[None]))) for row in x]
        apart = [abs(a - b) for one, two in zip(answers, given, strict=True) for a, b in zip(one, two, strict=True)]
        assert metric(server, f"headrace_shadow_difference_sum{labels}") == pytest.approx(sum(apart), rel=1e-9)
        assert metric(server, f"headrace_shadow_difference_count{labels}") == len(apart)
        assert metric(server, f"headrace_shadow_difference_max{labels}") == pytest.approx(max(apart), rel=1e-9)
        differ = sum(
            any(abs(a - b) > 1e-6 for a, b in zip(*pair, strict=True)) for pair in zip(answers, given, strict=True)
        )
        assert metric(server, f"headrace_shadow_different_rows_total{labels}") == differ > 0
        assert metric(server, f"headrace_shadow_failures_total{labels}") == 0
        assert metric(server, 'headrace_requests_total{model="a",version="1"}') == 30
        server.route("a", {served: 1})
        ask(f"{server.url}/v2/models/a/infer", infer(x[:1]))
        assert metric(server, f"headrace_shadow_rows_total{labels}") == 30


def arrow(table) -> bytes:
    out = io.BytesIO()
    with pa.ipc.new_stream(out, table.schema) as writer:
        writer.write_table(table)
    return out.getvalue()


STREAM = {"Content-Type": "application/vnd.apache.arrow.stream"}


def test_tables_in_arrow_are_shadowed_piece_by_piece(tmp_path, made):
    """Of a graph and of a package, which gets the columns with their types."""
    with headrace.Server(graph(tmp_path / "a.onnx"), workers=1) as server:
        served = server.load(tmp_path / "a.onnx")
        other = server.load(graph(tmp_path / "b.onnx", rounds=20))
        server.route("a", {served: 1}, shadows=[other])
        body = arrow(pa.table({f"c{i}": column for i, column in enumerate(rows(3000).T)}))
        assert ask(f"{server.url}/v2/models/a/infer", body=body, headers=STREAM).status == 200
        labels = '{model="b",version="1"}'
        until(lambda: metric(server, f"headrace_shadow_rows_total{labels}") == 3000)
        assert metric(server, f"headrace_shadow_different_rows_total{labels}") > 0
        assert metric(server, f"headrace_shadow_failures_total{labels}") == 0
    first, _, data = made
    second = replace(first, version=replace(first.version, number=4))
    with headrace.Server(first, workers=2) as server:
        one, two = server.load(first), server.load(second)
        server.route("shop", {one: 1}, shadows=[two])
        body = arrow(data.drop("gain").to_arrow())
        assert ask(f"{server.url}/invocations", body=body, headers=STREAM).status == 200
        labels = '{model="shop",version="4"}'
        until(lambda: metric(server, f"headrace_shadow_rows_total{labels}") == len(data))
        assert metric(server, f"headrace_shadow_different_rows_total{labels}") == 0
        assert metric(server, f"headrace_shadow_failures_total{labels}") == 0


def test_a_package_is_shadowed_through_its_own_plan(made):
    first, _, data = made
    second = replace(first, version=replace(first.version, number=4))
    body = {"instances": records(data.drop("gain").head(7))}
    with headrace.Server(first, workers=2) as server:
        one, two = server.load(first), server.load(second)
        server.route("shop", {one: 1}, shadows=[two])
        for path in ("invocations", "v1/models/shop:predict"):
            assert ask(f"{server.url}/{path}", body).headers["headrace-version"] == "shop@3"
        labels = '{model="shop",version="4"}'
        until(lambda: metric(server, f"headrace_shadow_rows_total{labels}") == 14)
        assert metric(server, f"headrace_shadow_different_rows_total{labels}") == 0
        assert metric(server, f"headrace_shadow_failures_total{labels}") == 0
