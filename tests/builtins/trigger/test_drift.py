"""The drift trigger over many looks: how often it fires where nothing has changed, and that it still sees what has."""

from __future__ import annotations

import datetime as dt
import itertools
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest

from headrace import drift as drifts
from headrace.builtins.trigger.drift import DriftTrigger
from headrace.builtins.trigger.windows import windows
from headrace.compute.profile import Profile
from headrace.hooks.transforms import NoTransforms
from loop_project import START

MINUTE = dt.timedelta(minutes=1)
CHAMPION: Any = SimpleNamespace(version=SimpleNamespace(number=1))


@dataclass
class Stream:
    """A row a minute."""

    frame: pl.DataFrame
    time_column: str = "at"
    target: str = "high"

    def rows(self, start: dt.datetime | None, end: dt.datetime) -> pl.DataFrame:
        assert start is not None
        return self.frame.filter((pl.col("at") > start) & (pl.col("at") <= end))


def drawn(chance: np.random.Generator, count: int) -> pl.DataFrame:
    return pl.DataFrame({"x": chance.normal(size=count), "y": chance.normal(size=count)})


def context(stream: Stream, rows: int) -> Any:
    return SimpleNamespace(
        now=START + rows * MINUTE, since=START, champion=CHAMPION, live=stream, transforms=NoTransforms(), threads=1
    )


@pytest.fixture
def reference(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Put a reference in the place of the champion's."""

    def put(frame: pl.DataFrame, segments: str | None = None) -> drifts.Reference:
        found = drifts.Reference(Profile.fit(frame, segments=segments))
        monkeypatch.setattr(drifts.Reference, "of_package", lambda *_, **__: found)
        return found

    return put


def stream(frame: pl.DataFrame) -> Stream:
    at = [START + (i + 1) * MINUTE for i in range(frame.height)]
    return Stream(frame.with_columns(at=pl.Series(at, dtype=pl.Datetime("us", "UTC"))))


def test_calm_rows_looked_at_200_times_fire_no_more_often_than_alpha_says(reference: Any) -> None:
    """At a `delta` of next to nothing, where a test uses its level up. Looking at all rows each time is the control."""
    streams, alpha, delta = 15, 0.2, 0.001
    trigger = DriftTrigger(DriftTrigger.Config(delta=delta, alpha=alpha, min_rows=100))
    fired = careless = 0
    for seed in range(streams):
        chance = np.random.default_rng([7, seed])
        known = reference(drawn(chance, 4000))
        live = stream(drawn(chance, 4000))
        looks = range(20, 4001, 20)
        assert len(looks) == 200
        fired += any(trigger.check(context(live, rows)) for rows in looks)
        careless += any(
            known.compare(known.counted(live.frame.head(rows)), delta=delta, alpha=alpha, threads=1).drifted
            for rows in looks
            if rows >= 100
        )
    assert fired <= alpha * streams
    assert careless > 2 * alpha * streams


def segmented(chance: np.random.Generator, count: int) -> pl.DataFrame:
    return drawn(chance, count).with_columns(shop=pl.Series(chance.choice(["a", "b", "c"], count, p=[0.6, 0.3, 0.1])))


def test_a_calm_year_alarms_no_more_often_with_segments(reference: Any) -> None:
    """At a `delta` of next to nothing. Asking all rows and segments at each look, at all of alpha, is the control."""
    streams, alpha = 12, 0.2
    trigger = DriftTrigger(DriftTrigger.Config(delta=0.001, alpha=alpha, min_rows=100))
    fired = careless = 0
    for seed in range(streams):
        chance = np.random.default_rng([11, seed])
        known = reference(segmented(chance, 4000), segments="shop")
        live = stream(segmented(chance, 2400))
        looks = range(100, 2401, 100)
        fired += any(trigger.check(context(live, rows)) for rows in looks)
        options: dict[str, Any] = {"delta": 0.001, "alpha": alpha, "threads": 1}
        counted = [known.counted(live.frame.head(rows)) for rows in looks]
        careless += any(
            known.compare(one, **options).drifted or any(s.report.drifted for s in known.by_segment(one, **options))
            for one in counted
        )
    assert fired <= alpha * streams
    assert careless > 2 * alpha * streams


def test_a_change_of_one_segment_fires_and_is_named(reference: Any) -> None:
    chance = np.random.default_rng(5)
    reference(segmented(chance, 6000), segments="shop")
    calm, later = segmented(chance, 2000), segmented(chance, 4000)
    moved = later.with_columns(x=pl.col("x") + pl.when(pl.col("shop") == "c").then(3.0).otherwise(0.0))
    live = stream(pl.concat([calm, moved]))
    config = {"delta": 0.2, "least": 1}
    trigger = DriftTrigger(DriftTrigger.Config(**config))
    assert trigger.check(context(live, 2000)) is None
    found = trigger.check(context(live, 6000))
    assert found is not None
    assert found.why == "x where shop is c drifted from what version 1 was made on"
    assert list(found.evidence["changed_by_at_least"]) == ["x where shop is c"]
    assert found.evidence["changed_by_at_least"]["x where shop is c"] > 0.2
    # The segment is a tenth of the rows: all of them together have not changed by more than delta.
    assert DriftTrigger(DriftTrigger.Config(**config, segments=False)).check(context(live, 6000)) is None
    assert DriftTrigger(DriftTrigger.Config(delta=0.2, columns=("y",))).check(context(live, 6000)) is None


def test_a_column_counts_once_wherever_it_drifted(reference: Any) -> None:
    """`least` is a number of columns: one that drifted in three segments and of all rows is one."""
    chance = np.random.default_rng(6)
    reference(segmented(chance, 6000), segments="shop")
    live = stream(segmented(chance, 4000).with_columns(pl.col("x") + 2.0))
    found = DriftTrigger(DriftTrigger.Config()).check(context(live, 4000))
    assert found is not None
    assert set(found.evidence["changed_by_at_least"]) == {"x", *(f"x where shop is {name}" for name in "abc")}
    assert DriftTrigger(DriftTrigger.Config(least=2)).check(context(live, 4000)) is None


def test_the_level_is_shared_by_inputs_scores_and_segments(reference: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = np.random.default_rng(6)
    reference(segmented(chance, 500), segments="shop")
    levels: list[tuple[str, float]] = []
    for name in ("compare", "by_segment"):
        made = getattr(drifts.Reference, name)

        def noted(self: Any, windows: Any, *, name: str = name, made: Any = made, **options: Any) -> Any:
            levels.append((name, options["alpha"]))
            return made(self, windows, **options)

        monkeypatch.setattr(drifts.Reference, name, noted)
    live = stream(segmented(chance, 250))
    DriftTrigger(DriftTrigger.Config(alpha=0.06)).check(context(live, 250))
    assert levels == [("compare", pytest.approx(0.06 / 4 / 2)), ("by_segment", pytest.approx(0.06 / 4 / 2))]
    levels.clear()
    DriftTrigger(DriftTrigger.Config(alpha=0.06, segments=False)).check(context(live, 250))
    assert levels == [("compare", pytest.approx(0.06 / 4))]


def test_a_change_is_seen_soon_however_long_it_was_calm_before(reference: Any) -> None:
    chance = np.random.default_rng(3)
    reference(drawn(chance, 4000))
    live = stream(pl.concat([drawn(chance, 10_000), drawn(chance, 3000).with_columns(pl.col("x") + 1.0)]))
    trigger = DriftTrigger(DriftTrigger.Config())
    fired = [rows for rows in range(200, 13_001, 200) if trigger.check(context(live, rows)) is not None]
    assert fired
    assert 10_000 < fired[0] <= 11_500
    found = trigger.check(context(live, fired[0]))
    assert found is not None
    assert found.lasting
    assert "x" in found.why


@pytest.mark.parametrize("block", [1, 3, 7])
def test_windows_count_each_row_once_and_share_the_level(block: int) -> None:
    """All windows that are ever looked at, whenever: those of one length do not overlap, and all shares are below 1."""
    frame = pl.DataFrame({"row": range(300)})
    seen: dict[tuple[int, int], float] = {}
    for count in range(301):
        for rows, share in windows(frame.head(count), count, block):
            assert seen.setdefault((rows.height, rows["row"][0]), share) == share
    assert sum(seen.values()) < 1
    for length in {length for length, _ in seen}:
        firsts = sorted(first for found, first in seen if found == length)
        assert all(later - first >= length for first, later in itertools.pairwise(firsts))


def test_windows_reach_back_no_further_than_what_is_recent() -> None:
    frame = pl.DataFrame({"row": range(100)})
    assert [(rows.height, rows["row"][0]) for rows, _ in windows(frame, 30, 10)] == [(20, 80), (10, 90)]
    assert list(windows(frame, 9, 10)) == []
