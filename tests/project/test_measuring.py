"""Metrics over time by version and slice: against a calculation by hand; nothing is counted twice."""

from __future__ import annotations

import datetime as dt
import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.request import Request, urlopen

import polars as pl
import pytest

from headrace import Predictor, Project, Server
from headrace.errors import SpecError
from headrace.project.looping import status_document
from headrace.project.measuring import _reigns, lately, over_time
from headrace.store.live import Label
from headrace.store.loops import LogEntry
from loop_project import DAY, START, World, labels_of, rows

SLICES = 'slices = ["shop"]'


def shops(frame: pl.DataFrame) -> pl.DataFrame:
    shop = pl.when(pl.int_range(pl.len()) % 3 == 0).then(pl.lit("north")).otherwise(pl.lit("south"))
    return frame.with_columns(pl.when(pl.int_range(pl.len()) % 10 == 9).then(None).otherwise(shop).alias("shop"))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Two champions, of day 0 and of day 9; rows of three weeks; labels late, corrected, twice, and some missing."""
    found = World(tmp_path_factory.mktemp("measured"), triggers="")
    text = (found.folder / "headrace.toml").read_text()
    (found.folder / "headrace.toml").write_text(text.replace("[loop.live]", f"[loop.live]\n{SLICES}"))
    assert "promoted" in found.once()
    frame = shops(rows(1, range(1, 16), 20))
    found.deliver(frame, "a", days_late=1.0)
    found.deliver(frame, "again")
    with Project(found.folder) as project:
        loops, registry = project.store.loops, project.registry
        first = registry.resolve("tide@1")
        files = {name: first.read(name) for name in first.manifest["files"]}
        files["card.md"] += b"\nanother\n"
        registry.register("tide", files, about=first.manifest["about"], model_digest=first.manifest["model_digest"])
        loops.append(
            "tide", "promoted", {"cycle": 2, "version": 2, "previous": 1}, at=START.timestamp() + 9 * DAY, who="x"
        )
    wrong = labels_of(frame).head(30).with_columns(high=1 - pl.col("high"), known=pl.lit(START + dt.timedelta(days=40)))
    wrong.write_parquet(found.folder / "labels" / "zz-corrected.parquet")
    # A label that becomes known in the year 2426 is not known by now.
    late = labels_of(frame).with_columns(high=1 - pl.col("high"), known=pl.lit(START + dt.timedelta(days=146_000)))
    late.write_parquet(found.folder / "labels" / "zzz-late.parquet")
    return found


def by_hand(world: World) -> pl.DataFrame:
    frame = shops(rows(1, range(1, 16), 20)).with_row_index("n")
    high = pl.when(pl.col("n") < 30).then(1 - pl.col("high")).otherwise(pl.col("high"))
    with Project(world.folder) as project:
        chance = Predictor.from_package(project.registry.resolve("tide@1")).scores(frame)[:, 1]
    version = pl.when(pl.col("at") >= START + dt.timedelta(days=9)).then(pl.lit("2")).otherwise(pl.lit("1"))
    return frame.with_columns(high.alias("high"), version.alias("version"), pl.Series("p", chance))


def test_each_version_week_and_slice(world: World) -> None:
    with Project(world.folder) as project:
        found = over_time(project)
    truth = by_hand(world).with_columns(
        pl.col("at").dt.truncate("1w").alias("start"), pl.col("shop").fill_null("(none)")
    )
    assert sum(one.labelled for one in found if one.slice is None) == truth.height == 300
    assert sum(one.labelled for one in found if one.slice is not None) == 300
    assert {one.version for one in found} == {"1", "2"}
    for one in found:
        part = truth.filter((pl.col("version") == one.version) & (pl.col("start") == one.start))
        if one.slice is not None:
            part = part.filter(pl.col("shop") == one.slice[1])
        assert (one.rows, one.labelled) == (part.height, part.height)
        loss = [-math.log(p if high else 1 - p) for p, high in zip(part["p"], part["high"], strict=True)]
        assert one.metrics["log_loss"] == pytest.approx(sum(loss) / len(loss), rel=1e-6)


def test_the_status_screen_has_the_last_period_and_the_worst_slice(world: World) -> None:
    with Project(world.folder) as project:
        found = over_time(project)
        registry = project.registry
        assert registry.aliased("tide", "champion") == 1
        told = lately(project, found)
        assert status_document(project)["quality"] == told
    assert told is not None
    mine = [one for one in found if one.version == "1"]
    last = max((one for one in mine if one.slice is None), key=lambda one: one.start)
    assert (told["value"], told["labelled"]) == (last.metrics[told["metric"]], last.labelled)
    parts = [one for one in mine if one.slice is not None and one.start == last.start]
    assert told["worst"]["metric"] == max(one.metrics["log_loss"] for one in parts)


def test_a_slice_that_is_no_column_is_told(world: World, tmp_path: Path) -> None:
    import shutil

    folder = Path(shutil.copytree(world.folder, tmp_path / "copy"))
    text = (folder / "headrace.toml").read_text()
    (folder / "headrace.toml").write_text(text.replace('["shop"]', '["shpo"]'))
    with Project(folder) as project:
        with pytest.raises(SpecError, match="'shpo' is no column") as raised:
            over_time(project)
        assert "shop" in str(raised.value.hint)
        assert "shpo" in status_document(project)["quality_unknown"]


def test_of_what_a_real_server_logged(tmp_path: Path) -> None:
    """Corrected labels replace, a client that tries again counts once, and each slice adds up."""
    served = World(tmp_path, triggers="")
    assert "promoted" in served.once()
    path = tmp_path / "headrace.toml"
    text = path.read_text()
    begin, end = text.index("[loop.live]"), text.index("[loop.watch]")
    path.write_text(text[:begin] + '[loop.live]\nuse = "served"\nslices = ["x"]\n' + text[end:])
    sent = rows(3, range(1), 40).with_columns(pl.col("x").round())
    with Project(tmp_path) as project:
        folder = project.store.root / "predictions"
        with Server(project.registry.resolve("tide@champion"), log=folder) as server:
            for _ in range(2):
                body = json.dumps({"dataframe_records": sent.select("x", "y").to_dicts()}).encode()
                headers = {"X-Request-Id": "one", "Content-Type": "application/json"}
                with urlopen(Request(f"{server.url}/invocations", body, headers)) as reply:  # noqa: S310
                    assert reply.status == 200
        # Another model of the store, with versions of the same numbers, is served and logged beside it.
        (segment,) = folder.glob("*.arrow")
        other = pl.read_ipc(segment.read_bytes()).with_columns(model=pl.lit("other"), request_id=pl.lit("two"))
        other.write_ipc(folder / "other.arrow")
        truth = sent["high"].to_list()
        wrong = [Label("one", row, str(1 - value), 1.0) for row, value in enumerate(truth)]
        right = [Label("one", row, str(value), 2.0) for row, value in enumerate(truth[:30])]
        project.store.live.tell("a" * 64, wrong)
        project.store.live.tell("b" * 64, right)
        project.store.live.tell("c" * 64, [Label("two", row, str(1 - truth[row]), 3.0) for row in range(40)])
        found = over_time(project, "month")
        told = status_document(project)["quality"]
        chance = Predictor.from_package(project.registry.resolve("tide@1")).scores(sent)[:, 1]
    (whole,) = [one for one in found if one.slice is None]
    assert (whole.rows, whole.labelled) == (40, 40)
    labels = [value if row < 30 else 1 - value for row, value in enumerate(truth)]
    loss = sum(-math.log(p if high else 1 - p) for p, high in zip(chance, labels, strict=True)) / 40
    assert whole.metrics["log_loss"] == pytest.approx(loss, rel=1e-5)
    parts = [one for one in found if one.slice is not None]
    assert sum(one.labelled for one in parts) == 40
    assert {one.slice for one in parts} == {("x", str(value + 0.0)) for value in sent["x"].unique()}
    assert told["value"] == pytest.approx(loss, rel=1e-5)


@pytest.mark.parametrize(
    ("by_hand", "by_loop", "reigns"),
    [
        ([(5.0, 1), (7.0, 2)], [(9.0, 3, 2)], [(-math.inf, 1), (5.0, 1), (7.0, 2), (9.0, 3)]),
        ([(9.0, 3)], [(5.0, 2, 1)], [(-math.inf, 1), (5.0, 2), (9.0, 3)]),
        ([(5.0, 1)], [], [(-math.inf, 1), (5.0, 1)]),
        ([], [(5.0, 1, None)], [(5.0, 1)]),
    ],
)
def test_what_came_before_the_first_promotion_counts_for_the_first_champion(
    by_hand: list[tuple[float, int]], by_loop: list[tuple[float, int, int | None]], reigns: list[tuple[float, int]]
) -> None:
    entries = [
        LogEntry(n, "promoted", at, "loop", {"version": new, "previous": old}, "")
        for n, (at, new, old) in enumerate(by_loop)
    ]
    moves = [SimpleNamespace(at=at, version=version, why="by hand") for at, version in reversed(by_hand)]
    project: Any = SimpleNamespace(
        spec=SimpleNamespace(name="tide"),
        store_to_read=SimpleNamespace(loops=SimpleNamespace(entries=lambda _name: entries)),
        registry=SimpleNamespace(history=lambda *_: moves),
    )
    assert _reigns(project, "tide") == reigns


def test_a_project_without_a_store_has_a_status(tmp_path: Path) -> None:
    served = World(tmp_path, triggers="")
    path = tmp_path / "headrace.toml"
    text = path.read_text()
    begin, end = text.index("[loop.live]"), text.index("[loop.watch]")
    path.write_text(text[:begin] + '[loop.live]\nuse = "served"\nslices = ["x"]\n' + text[end:])
    with Project(served.folder) as project:
        found = status_document(project)
    assert (found["quality"], found["quality_unknown"], found["incidents"]) == (None, None, [])
