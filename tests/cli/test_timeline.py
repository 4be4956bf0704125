"""`headrace status` and `headrace timeline [--html]`, from the outside, with names that want to be markup."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner, Result

from headrace import Project
from headrace.cli.main import cli
from headrace.project.looping import say
from loop_project import START, World, rows

EVIL = "<script>alert('&\"x')</script>"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    found = World(tmp_path_factory.mktemp("timeline"), triggers="")
    text = (found.folder / "headrace.toml").read_text()
    (found.folder / "headrace.toml").write_text(text.replace("[loop.live]", '[loop.live]\nslices = ["shop"]'))
    found.once()
    shop = pl.when(pl.int_range(pl.len()) % 2 == 0).then(pl.lit(EVIL)).otherwise(pl.lit("b"))
    found.deliver(rows(1, range(1, 20), 20).with_columns(shop.alias("shop")), "a")
    with Project(found.folder) as project:
        say(project, "paused", {"reason": EVIL + "\x1b[31m"})
        body = {"key": "x: broken", "trigger": "x", "error": EVIL}
        at = START.timestamp() + 86_400
        for kind in ("problem", "resolved", "problem"):
            project.store.loops.append("tide", kind, body, at=at, who=EVIL)
            at += 3600
    return found


def run(world: World, *arguments: str) -> Result:
    return CliRunner().invoke(cli, [*arguments, "--project", str(world.folder)])


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loads += [str(v) for k, v in attrs if k in ("src", "href", "xlink:href", "srcset", "action")]
        assert not any(k.startswith("on") for k, _ in attrs)


def test_the_page_is_whole_and_loads_nothing_and_runs_nothing(world: World, tmp_path: Path) -> None:
    path = tmp_path / "timeline.html"
    done = run(world, "timeline", "--html", str(path))
    assert done.exit_code == 0, done.output
    page = path.read_text("utf-8")
    found = Tags()
    found.feed(page)
    assert "script" not in found.tags
    assert [link for link in found.loads if not link.startswith("#")] == []
    assert not re.search(r"url\((?!#)|@import", page)
    assert "<script" not in page
    assert "&lt;script&gt;alert(" in page
    assert "\x1b" not in page
    assert {"h1", "table", "details", "svg"} <= set(found.tags)
    for words in ("log_loss over time", "By slice", "Decisions", "Incidents", "Promotions", "The log", "log_loss"):
        assert words in page
    assert run(world, "timeline", "--html", "-").stdout_bytes.decode() == page


def test_the_page_says_so_where_there_is_no_plotting_library(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headrace.builtins.report.figures.available", lambda: False)
    path = tmp_path / "timeline.html"
    assert run(world, "timeline", "--html", str(path)).exit_code == 0
    page = path.read_text("utf-8")
    assert "<svg" not in page
    assert "The plots are missing" in page


def test_a_page_of_nothing(tmp_path: Path) -> None:
    empty = World(tmp_path, triggers="")
    done = run(empty, "timeline", "--html", "-")
    assert done.exit_code == 0
    assert "nothing yet" in done.stdout


def test_the_timeline_has_metrics_and_incidents(world: World) -> None:
    document = json.loads(run(world, "timeline", "--json").stdout)
    assert [one["until"] is None for one in document["incidents"]] == [False, True]
    assert document["metrics_unknown"] is None
    whole = [one for one in document["metrics"] if one["slice"] is None]
    assert sum(one["labelled"] for one in whole) == 19 * 20
    assert {one["slice"]["value"] for one in document["metrics"] if one["slice"]} == {EVIL, "b"}
    text = run(world, "timeline", "--period", "month").stdout
    assert "log_loss" in text
    assert "\x1b" not in text


def test_the_status_screen_is_one_screen(world: World) -> None:
    done = run(world, "status")
    assert done.exit_code == 0, done.output
    assert len(done.stdout.splitlines()) <= 30
    for words in (
        "champion",
        "version 1",
        "quality",
        "log_loss",
        "worst where shop is",
        "runs left",
        "incident",
        "paused",
    ):
        assert words in done.stdout
    assert "\x1b" not in done.stdout
    document = json.loads(run(world, "status", "--json").stdout)
    assert [one["what"] for one in document["incidents"]] == ["x"]
    assert document["quality"]["labelled"] > 0
    assert document["server"] is None


def test_a_server_that_is_down_is_on_the_status_screen(world: World, tmp_path: Path) -> None:
    import shutil

    folder = Path(shutil.copytree(world.folder, tmp_path / "copy"))
    text = (folder / "headrace.toml").read_text()
    (folder / "headrace.toml").write_text(text.replace("budget = 3", 'budget = 3\nserver = "http://127.0.0.1:1"'))
    done = CliRunner().invoke(cli, ["status", "--project", str(folder)])
    assert "http://127.0.0.1:1: it does not answer" in done.stdout
