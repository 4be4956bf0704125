"""The watch after a promotion: what it takes back, and how often it does so where there is nothing to take back."""

from __future__ import annotations

import datetime as dt
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest

from headrace.compute.inference import Predictor
from headrace.errors import DataError
from headrace.hooks.transforms import NoTransforms
from headrace.loop.judging import judge
from headrace.loop.policy import WatchPolicy
from loop_project import START, World


def package(column: str, number: int) -> Any:
    about = {"about": {"primary": {"metric": "mae"}}}
    return SimpleNamespace(column=column, version=SimpleNamespace(number=number), manifest=about)


NEW, OLD = package("new", 2), package("old", 1)


@pytest.fixture(autouse=True)
def columns_for_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model whose predictions are a column of the rows."""

    def made(package: Any, **_: Any) -> Any:
        plan = SimpleNamespace(task="regression", classes=None, encode_target=lambda frame, strict: frame["truth"])
        return SimpleNamespace(plan=plan, scores=lambda frame: frame[package.column].to_numpy())

    monkeypatch.setattr(Predictor, "from_package", made)


def weeks(seed: int, *, days: int = 14, a_day: int = 100, harm: float = 0.0) -> pl.DataFrame:
    """Two models that are as good as each other, or not: but each day's weather suits one of them."""
    chance = np.random.default_rng([29, seed])
    weather = np.repeat(chance.normal(scale=0.3, size=days), a_day)
    day = np.repeat(np.arange(days), a_day)
    old = 9 + chance.normal(size=days * a_day)
    dates = pl.Series([START.date() + dt.timedelta(days=int(one)) for one in day])
    return pl.DataFrame(
        {"day": dates, "old": old, "new": old + weather + harm, "truth": np.zeros(len(old))},
    )


def taken_back(policy: WatchPolicy, seeds: int, *, harm: float = 0.0, **more: Any) -> int:
    found = (judge(NEW, OLD, weeks(seed, harm=harm), policy, NoTransforms(), **more) for seed in range(seeds))
    return len([one for one in found if one.harm is not None])


def test_a_bad_day_is_one_day_however_many_rows_it_has() -> None:
    """At 99 %, so that one or two in a hundred are to be expected; drawing single rows is the control."""
    assert taken_back(WatchPolicy(resample_by=""), 50) >= 10
    assert taken_back(WatchPolicy(resample_by="day"), 50) <= 3


def test_what_does_harm_on_all_days_is_seen_all_the_same() -> None:
    assert taken_back(WatchPolicy(resample_by="day"), 20, harm=0.5) == 20


def test_the_column_of_the_gate_counts_where_the_watch_has_none() -> None:
    frame = weeks(1)
    by_gate = judge(NEW, OLD, frame, WatchPolicy(), NoTransforms(), gate_groups="day")
    assert by_gate == judge(NEW, OLD, frame, WatchPolicy(resample_by="day"), NoTransforms())
    assert by_gate.evidence["resampled_by"] == "day"
    assert by_gate.evidence["groups"] == 14
    single = judge(NEW, OLD, frame, WatchPolicy(resample_by=""), NoTransforms(), gate_groups="day")
    assert single == judge(NEW, OLD, frame, WatchPolicy(), NoTransforms())
    assert "resampled_by" not in single.evidence


def test_live_rows_need_not_have_the_column_of_the_gate_but_that_of_the_watch() -> None:
    frame = weeks(1).drop("day")
    single = judge(NEW, OLD, frame, WatchPolicy(), NoTransforms())
    assert judge(NEW, OLD, frame, WatchPolicy(), NoTransforms(), gate_groups="day") == single
    nulls = frame.with_columns(pl.lit(None, pl.Date).alias("day"))
    assert judge(NEW, OLD, nulls, WatchPolicy(), NoTransforms(), gate_groups="day") == single
    with pytest.raises(DataError, match="there is no column 'day' to draw groups by") as found:
        judge(NEW, OLD, frame, WatchPolicy(resample_by="day"), NoTransforms())
    assert found.value.place == "[loop.watch] resample_by"


@pytest.mark.parametrize(("days", "said"), [(1, False), (6, False), (7, True)])
def test_so_few_groups_cannot_make_sure(days: int, said: bool) -> None:
    """Six days that are all bad are so by chance once in 64, and 99 % was asked for."""
    found = judge(NEW, OLD, weeks(3, days=days, harm=3.0), WatchPolicy(resample_by="day"), NoTransforms())
    assert (found.harm is not None) is said
    assert found.evidence["groups"] == days


def test_the_loop_gives_the_watch_what_the_gate_of_the_project_has(tmp_path: Any) -> None:
    world = World(tmp_path)
    spec = tmp_path / "headrace.toml"
    with world.loop() as controller:
        assert controller.gate_groups is None
    spec.write_text(spec.read_text().replace("latency_rows = 16", 'latency_rows = 16\nresample_by = "at"'))
    with world.loop() as controller:
        assert controller.gate_groups == "at"
