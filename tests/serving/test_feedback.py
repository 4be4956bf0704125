"""`POST /feedback`: labels reach the store as those of a file do, or are refused; none is lost or counted twice."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

import headrace
from headrace.project import serving
from headrace.project.feedback import take_file
from headrace.serving.labels import Columns
from serving.served import ask, package, records
from serving.test_follow import command

SPEC = '[project]\nname = "shop"\n\n[ingest]\nuse = "files"\npath = "data.csv"\n'
CSV = {"Content-Type": "text/csv"}


@pytest.fixture(scope="module")
def made():
    return package("regression")


@pytest.fixture
def project(tmp_path, made):
    (tmp_path / "headrace.toml").write_text(SPEC)
    files, _, data = made
    with headrace.Project(tmp_path) as project:
        project.store  # noqa: B018  # made on first use
        project.registry.register("shop", files.files, about={}, model_digest="1" * 64)
        project.registry.promote("shop@1", why="the first")
    return tmp_path, {"instances": records(data.drop("gain").head(2))}


@contextmanager
def keeping(where: Path, made, **options: int):
    """A server and its log, with what keeps its labels; `said` is what a person is told."""
    said: list[str] = []
    log = where / "log"
    with (
        headrace.Server(made[0], workers=1, window=None, log=log, **options) as server,
        headrace.Project(where) as project,
    ):
        keeper = serving.keep(server, project, log, say=said.append)
        keeper.start()
        try:
            yield server, said
        finally:
            server.stop()
            keeper.stop()


def predict(server: headrace.Server, body, name: str) -> None:
    assert ask(f"{server.url}/invocations", body, headers={"X-Request-Id": name}).status == 200


def labels(where: Path) -> dict[tuple[str, int], object]:
    with headrace.Project(where) as project:
        return {(one.request_id, one.row): json.loads(one.label) for one in project.store.live.labels()}


def test_one_a_list_and_a_table(project, made):
    where, body = project
    with keeping(where, made) as (server, said):
        for name in ("a", "b", "c"):
            predict(server, body, name)
        url = f"{server.url}/feedback"
        reply = ask(url, {"id": "a", "label": 1.5})
        assert (reply.status, reply.json) == (200, {"labels": 1, "empty": 0, "unknown": 0, "unknown_ids": []})
        several = [{"id": "a/1", "label": 2}, {"id": "b", "row": 1, "label": "3"}, {"id": "c", "label": None}]
        assert ask(url, several).json == {"labels": 2, "empty": 1, "unknown": 0, "unknown_ids": []}
        # What was asked and is not written yet is known; what nobody asked, or a row that it has not, is not.
        table = b"request_id,label,row,time\nc,4,,2024-01-31\nz,1,,1\nb,5,0,2\nc,6,2,\n"
        told = ask(url, body=table, headers=CSV).json
        assert told == {"labels": 4, "empty": 0, "unknown": 2, "unknown_ids": ["z", "c/2"]}
        metrics = ask(f"{server.url}/metrics").body.decode()
        assert "headrace_feedback_labels_total 7\n" in metrics
        assert "headrace_feedback_unknown_labels_total 2\n" in metrics
        # They are there while the server runs.
        wanted = {("a", 0): 1.5, ("a", 1): 2, ("b", 0): 5, ("b", 1): "3", ("c", 0): 4, ("c", 2): 6, ("z", 0): 1}
        assert labels(where) == wanted
    assert not said
    # The log is written now, and says the same.
    with keeping(where, made) as (server, _):
        assert ask(f"{server.url}/feedback", [{"id": "c", "label": 1}, {"id": "y", "label": 1}]).json["unknown"] == 1


def test_labels_come_late_again_and_corrected(project, made, tmp_path):
    """As in files, whichever way each came in."""
    where, _ = project
    with keeping(where, made) as (server, _), headrace.Project(where) as beside:
        url = f"{server.url}/feedback"
        first = {"id": "a", "label": 1, "time": "2024-02-01T00:00:00Z"}
        assert ask(url, first).json["labels"] == 1
        assert ask(url, first).json["labels"] is None
        assert ask(url, [first, first]).status == 200
        ask(url, {"id": "a", "label": 2, "time": "2024-01-01"})
        assert labels(where) == {("a", 0): 1}
        path = tmp_path / "labels.csv"
        path.write_text("request_id,label\na,3\nb,1\n")
        assert take_file(beside, path, Columns()).labels == 2
        assert labels(where) == {("a", 0): 3, ("b", 0): 1}
        ask(url, {"id": "b", "label": 2})
        assert labels(where) == {("a", 0): 3, ("b", 0): 2}
        assert take_file(beside, path, Columns()).labels is None
        assert labels(where) == {("a", 0): 3, ("b", 0): 2}
        history = [one for one in beside.store.live.labels(history=True) if one.request_id == "a"]
        assert [json.loads(one.label) for one in history] == [2, 1, 3]


def test_many_clients_at_once_lose_nothing(project, made):
    where, _ = project
    with keeping(where, made) as (server, _):

        def send(client: int) -> None:
            for number in range(20):
                document = [{"id": f"{client}-{number}", "label": client}, {"id": "all", "label": number, "time": 1}]
                reply = ask(f"{server.url}/feedback", document)
                assert (reply.status, reply.json["labels"]) == (200, 2)

        threads = [threading.Thread(target=send, args=[client]) for client in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert "headrace_feedback_labels_total 240\n" in ask(f"{server.url}/metrics").body.decode()
    assert set(labels(where)) == {(f"{a}-{b}", 0) for a in range(6) for b in range(20)} | {("all", 0)}


@pytest.mark.parametrize(
    ("body", "headers", "status", "message"),
    [
        (b'{"id": "a", "label": 1, "time": "never"}', {}, 400, "label 0, column 'time': 'never' is no time"),
        (b'[{"id": "a", "label": 1}, {"id": "", "label": 1}]', {}, 400, "label 1, 'id': found \"\","),
        (b'{"id": "a", "label": 1, "row": 1.5}', {}, 400, "label 0, 'row': found 1.5"),
        (b'{"id": "a", "lable": 1}', {}, 400, "unknown field `lable`"),
        (b"{", {}, 400, "the body cannot be read"),
        (b'{"id": "\xff"}', {}, 400, "not UTF-8"),
        (b'[["a", 1]]', {}, 400, "expected an object, found an array"),
        (b"label\n1\n", CSV, 400, "there is no column 'request_id'"),
        (b"[" + b'{"id":"a","label":1},' * 10_001 + b'{"id":"a","label":1}]', {}, 413, "more than 10000 labels"),
        (b'{"id": "a", "label": ' + b"[" * 5000 + b"]" * 5000 + b"}", {}, 400, "recursion limit"),
        (b"id=a&label=1", {"Content-Type": "application/x-www-form-urlencoded"}, 415, "expected application/json or"),
    ],
)
def test_what_is_no_label_is_refused_and_none_beside_it_is_taken(  # noqa: PLR0917
    project, made, body, headers, status, message
):
    where, _ = project
    with keeping(where, made) as (server, said):
        reply = ask(f"{server.url}/feedback", body=body, headers=headers)
        assert reply.status == status
        assert message in reply.json["error"]
        assert "\n" not in reply.json["error"]
        assert "\\" not in reply.json["error"]
        assert ask(f"{server.url}/feedback").status == 405
        assert not said
    assert labels(where) == {}


def test_without_a_store_labels_are_refused_and_predictions_go_on(project, made):
    where, body = project
    database = where / ".headrace" / "headrace.db"
    with keeping(where, made) as (server, said):
        kept = database.read_bytes()
        database.unlink()
        label = {"id": "a", "label": 1}
        for _ in range(2):
            reply = ask(f"{server.url}/feedback", label)
            assert reply.status == 503
            assert reply.json["error"] == "labels cannot be stored now; try again"
            assert int(reply.headers["retry-after"]) > 0
        predict(server, body, "a")
        assert len(said) == 1
        assert said[0].startswith("labels cannot be stored: ")
        database.write_bytes(kept)
        assert ask(f"{server.url}/feedback", label).json["labels"] == 1
    assert labels(where) == {("a", 0): 1}


def test_a_file_that_is_served_keeps_no_labels(plain):
    reply = ask(f"{plain.url}/feedback", {"id": "a", "label": 1})
    assert reply.status == 404
    assert "keeps no labels: it serves files" in reply.json["error"]
    assert "/feedback" not in ask(f"{plain.url}/openapi.json").json["paths"]


def test_what_was_answered_outlives_a_kill(project):
    """By the command: predicted, labelled, killed; then measured."""
    where, body = project
    with command("shop", where=where) as (process, document):
        url = document["url"]
        assert "/feedback" in ask(f"{url}/openapi.json").json["paths"]
        assert ask(f"{url}/invocations", body, headers={"X-Request-Id": "a"}).status == 200
        assert ask(f"{url}/feedback", {"id": "a", "label": 1.5}).json["unknown"] == 0
        process.kill()
        process.communicate(timeout=60)
    assert labels(where) == {("a", 0): 1.5}
    with command("shop", where=where) as (_, document):
        url = document["url"]
        assert ask(f"{url}/feedback", {"id": "a", "label": 1.5}).json["labels"] is None
        # The log of the killed server's last minute is gone.
        assert ask(f"{url}/invocations", body, headers={"X-Request-Id": "a"}).status == 200
        assert ask(f"{url}/feedback", [{"id": "a/1", "label": 2}]).json == {
            "labels": 1,
            "empty": 0,
            "unknown": 0,
            "unknown_ids": [],
        }
    line = [sys.executable, "-m", "headrace.cli.main", "feedback", "--summary", "--json"]
    done = subprocess.run(line, cwd=where, check=True, capture_output=True, text=True)
    (period,) = json.loads(done.stdout)["periods"]
    assert (period["rows"], period["labelled"]) == (2, 2)


@pytest.mark.slow
def test_schemathesis_finds_nothing(project, made):
    pytest.importorskip("schemathesis")
    where, _ = project
    # A time that cannot be read is 400: no schema says which can.
    config = where / "schemathesis.toml"
    config.write_text(
        "[checks.positive_data_acceptance]\nexpected-statuses = [200, 400]\n"
        "[checks.negative_data_rejection]\nexpected-statuses = [400, 404, 405, 413, 415]\n"
    )
    program = Path(sys.executable).with_name("schemathesis")
    with keeping(where, made, max_rows=20) as (server, _):
        line = [program, "--config-file", config, "run", "--max-examples", "30", "--include-path", "/feedback"]
        line += ["--no-color", "--seed", "1", f"{server.url}/openapi.json"]
        done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=250, cwd=where)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    assert "Tested: 1" in done.stdout, done.stdout
