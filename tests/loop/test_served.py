"""What a real server logged and what came back as labels, as rows of the project."""

from __future__ import annotations

import datetime as dt
import json
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.request import Request, urlopen

import polars as pl
import pytest

from headrace import Project, Server
from headrace.loop.policy import Columns
from headrace.loop.served import ServedRows
from headrace.project.looping import controller_of
from headrace.store.live import Label
from loop_project import World, rows

COLUMNS = Columns(target="high", time="at", id="id")


def test_the_loop_learns_from_what_was_served(tmp_path: Path) -> None:
    world = World(tmp_path, triggers="[loop.triggers.new_data]\nrows = 50\n")
    world.once()
    path = tmp_path / "headrace.toml"
    text = path.read_text()
    begin, end = text.index("[loop.live]"), text.index("[loop.watch]")
    path.write_text(text[:begin] + '[loop.live]\nuse = "served"\n' + text[end:])
    sent = rows(3, range(1), 60)
    records = sent.select("x", "y").to_dicts()
    with Project(tmp_path) as project:
        folder = project.store.root / "predictions"
        with Server(project.registry.resolve("tide@champion"), log=folder) as server:
            for name in ("one", "two", "two"):  # a client that tries again
                body = json.dumps({"dataframe_records": records}).encode()
                headers = {"X-Request-Id": name, "Content-Type": "application/json"}
                with urlopen(Request(f"{server.url}/invocations", body, headers)) as reply:  # noqa: S310
                    assert reply.status == 200
        now = time.time()
        truth = sent["high"].to_list()
        wrong = [Label("one", 0, str(1 - truth[0]), now - 50)]
        right = [Label("one", row, str(value), now - 40 + row / 10) for row, value in enumerate(truth)]
        late = [Label("two", 0, str(truth[0]), now + 5000)]
        assert project.store.live.tell("a" * 64, [*wrong, *right, *late]) == 62
        assert project.store.live.tell("a" * 64, right) is None
        source = ServedRows(
            folder,
            project.store.live,
            model="tide",
            columns=COLUMNS,
            like=lambda: pl.read_parquet(tmp_path / "base.parquet"),
        )
        before = source.stamp()
        frame = source.frame(dt.datetime.fromtimestamp(now + 10, dt.UTC))
        assert frame.schema == pl.read_parquet_schema(tmp_path / "base.parquet")
        assert frame.height == 120
        one = frame.filter(pl.col("id").str.starts_with("one/")).sort(pl.col("id").str.slice(4).cast(pl.Int64))
        assert one["high"].to_list() == truth
        assert one["x"].to_list() == sent["x"].to_list()
        assert frame.filter(pl.col("id").str.starts_with("two/"))["high"].null_count() == 60
        later = source.frame(dt.datetime.fromtimestamp(now + 6000, dt.UTC))
        assert later["high"].null_count() == 59
        project.store.live.tell("b" * 64, [Label("two", 1, str(truth[1]), now)])
        assert source.stamp() != before
        world.clock.at = now + 10
        controller = controller_of(project, clock=world.clock)
        kinds = [entry.kind for entry in controller.once()]
        assert kinds[:2] == ["decided", "trained"]
        decided = [entry.body for entry in world.log() if entry.kind == "decided"][-1]
        assert decided["data"]["labelled"] == 61


@pytest.mark.parametrize(
    ("dtype", "labels", "expected"),
    [
        (pl.Int64, ["1", "1.0", '"1"', '"n/a"', "1.5", "true"], [1, 1, 1, None, None, 1]),
        (pl.Boolean, ["true", '"true"', "0", '"n/a"'], [True, True, False, None]),
        (pl.Float64, ["1", '"2.5"', '"n/a"'], [1.0, 2.5, None]),
        (pl.String, ["1", "1.0", '"yes"'], ["1", "1", "yes"]),
    ],
)
def test_one_odd_label_takes_nothing_from_the_others(dtype: Any, labels: list[str], expected: list[Any]) -> None:
    told = [Label("one", row, text, None) for row, text in enumerate(labels)]
    store = SimpleNamespace(labels=lambda history: told)
    source = ServedRows(Path("none"), store, model="tide", columns=COLUMNS, like=pl.DataFrame)  # type: ignore[arg-type]
    found = source._known(0.0, dtype())
    known = dict(zip(found["row"].to_list(), found["__label"].to_list(), strict=True))
    assert found.schema["__label"] == dtype
    assert [known.get(row) for row in range(len(labels))] == expected
