"""`headrace models card`: made of what the store knows, checked against it; what it does not know is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner, Result
from markdown_it import MarkdownIt

from headrace import Project
from headrace.cli.main import cli
from headrace.project.looping import say
from headrace.registry import Registry
from headrace.store import Store
from loop_project import World, rows

EVIL = "<script>alert(1)</script> | `x` [a](b)"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    found = World(tmp_path_factory.mktemp("card"), loop='promote = "wait"', triggers="")
    assert found.once()[-1] == "waiting"
    with Project(found.folder) as project:
        body = {"version": 1, "reason": EVIL}
        project.store.loops.append("tide", "approved", body, at=found.clock.at, who="ann")
    assert "promoted" in found.once()
    found.deliver(rows(1, range(1, 10), 20), "a")
    return found


def run(world: World, *arguments: str) -> Result:
    return CliRunner().invoke(cli, ["models", "card", *arguments, "--project", str(world.folder)])


@pytest.fixture(scope="module")
def card(world: World) -> dict[str, Any]:
    done = run(world, "tide@1", "--json")
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_the_data_is_that_of_the_run(world: World, card: dict[str, Any]) -> None:
    (source,) = card["data"]["sources"]
    # Rows that the loop kept for a run are named by their hash, and gone after it; the run's own are in the store.
    assert Path(source["path"]).stem == source["sha256"]
    with Project(world.folder) as project:
        frame = pl.DataFrame(project.get_run()["ingest"])
    data = card["data"]["datasets"]["data"]
    assert (data["rows"], data["columns"]) == (frame.height, frame.width)
    assert data["first"] == frame["at"].min().isoformat()  # type: ignore[union-attr]
    assert data["last"] == frame["at"].max().isoformat()  # type: ignore[union-attr]
    parts = [card["data"]["datasets"][name]["rows"] for name in ("train", "valid", "test")]
    assert sum(parts) == frame.height


def test_metrics_gate_lineage_profile_and_environment_are_the_stores(world: World, card: dict[str, Any]) -> None:
    with Project(world.folder) as project:
        package = project.registry.resolve("tide@champion")
        record = project.store.runs.get(package.manifest["run"])
        assert card["metrics"] == json.loads(package.read("metrics.json"))
        assert card["files"] == json.loads(json.dumps(dict(package.manifest["files"])))
        gate = next(iter(next(s for s in record.stages if s.stage.kind == "gate").outputs.values()))
        assert card["gate"]["digest"] == gate.digest == project.registry.history("tide", "champion")[0].gate
    assert card["gate"]["passed"] is True
    assert [check["name"] for check in card["gate"]["checks"]] == ["beats the trivial predictor", "champion"]
    assert card["metrics"]["slices"] is not None
    stages = {one["stage"]: one for one in card["lineage"]["stages"]}
    assert card["lineage"]["run"] == record.id
    assert stages["train"]["outputs"]["model"] == card["model_digest"]
    assert [one["name"] for one in card["features"]["inputs"]] == ["x", "y"]
    assert set(card["profile"]["columns"]) >= {"x", "y"}
    assert card["environment"]["python"] == record.provenance["python"]
    assert "lightgbm" in card["environment"]["distributions"]
    assert "pytest" not in card["environment"]["distributions"]
    assert (card["number"], card["task"], card["target"]) == (1, "binary", "high")


def test_the_decision_and_who_approved_are_those_of_the_log(card: dict[str, Any]) -> None:
    assert card["decision"]["reasons"][0]["trigger"] == "first"
    kinds = [step["kind"] for step in card["decision"]["steps"]]
    assert kinds[:3] == ["decided", "trained", "waiting"]
    assert "promoted" in kinds
    said = {one["what"]: one for one in card["approvals"]}
    assert said["approved"]["why"] == EVIL
    assert "champion: version none to 1" in said
    assert sum(one["labelled"] for one in card["live"]) == 9 * 20


def test_markdown_has_every_part_and_shows_names_as_they_are(world: World) -> None:
    done = run(world, "tide")
    assert done.exit_code == 0, done.output
    text = done.stdout
    heads = [line for line in text.splitlines() if line.startswith("## ")]
    assert len(heads) == 12
    assert "not recorded" not in text.split("## Data")[1].split("## Metrics")[0]
    shown = MarkdownIt("commonmark").enable("table").render(text)
    assert "<script" not in shown
    assert "&lt;script&gt;alert(1)&lt;/script&gt; | `x` [a](b)" in shown
    assert "<a href" not in shown


def test_a_page_loads_and_runs_nothing(world: World, tmp_path: Path) -> None:
    path = tmp_path / "card.html"
    assert run(world, "tide@1", "--html", "-o", str(path)).exit_code == 0
    page = path.read_text("utf-8")
    assert page.startswith("<!doctype html>")
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "log_loss" in run(world, "tide@1").stdout
    for words in ("Gate", "Lineage", "Approvals and promotions", "log_loss", "Reference profile"):
        assert words in page


def test_html_and_json_are_one_or_the_other(world: World) -> None:
    assert run(world, "tide@1", "--html", "--json").exit_code == 2


def test_a_version_that_is_not_there(world: World) -> None:
    done = run(world, "tide@9")
    assert done.exit_code not in (0, 1)
    assert "Traceback" not in done.output


def test_an_old_version_without_facts_says_so(tmp_path: Path) -> None:
    old = World(tmp_path, triggers="")
    with Store.open(old.folder / ".headrace") as store:
        files = {"model.onnx": b"x"}
        Registry(store, who="me").register("tide", files, about={}, model_digest="0" * 64)
    document = json.loads(run(old, "tide@1", "--json").stdout)
    for name in (
        "data",
        "metrics",
        "live",
        "features",
        "profile",
        "gate",
        "decision",
        "lineage",
        "environment",
        "task",
    ):
        assert document[name] is None
    text = run(old, "tide@1").stdout
    assert text.count("\nnot recorded\n") >= 8
    assert "task: not recorded" in text
    assert "not recorded" in run(old, "tide@1", "--html").stdout


def test_data_that_was_removed_to_make_room_is_not_made_up(world: World, tmp_path: Path) -> None:
    import shutil

    copy = Path(shutil.copytree(world.folder, tmp_path / "copy"))
    with Project(copy) as project:
        say(project, "paused", {"reason": "x"})
        project.store.gc(dry_run=False, keep=0, grace=0.0)
    done = CliRunner().invoke(cli, ["models", "card", "tide@1", "--json", "--project", str(copy)])
    assert done.exit_code == 0, done.output
    data = json.loads(done.stdout)["data"]
    assert data["sources"][0]["sha256"]
    assert data["datasets"]["data"]["digest"]
