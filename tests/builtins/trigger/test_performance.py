"""The performance trigger over many looks: how often it fires where the champion is as good as it should be."""

from __future__ import annotations

import datetime as dt
import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest

from headrace import metrics
from headrace.builtins.trigger.performance import PerformanceTrigger, student_quantile
from headrace.compute.inference import Predictor
from headrace.errors import ConfigError
from headrace.hooks.transforms import NoTransforms
from loop_project import START

A_DAY, DAYS = 20, 365


def champion(promised: float) -> Any:
    document = json.dumps({"metrics": {"mae": {"value": promised, "low": promised, "high": promised}}}).encode()
    return SimpleNamespace(
        version=SimpleNamespace(number=1),
        manifest={"about": {"primary": {"metric": "mae"}}},
        read=lambda _name: document,
    )


@pytest.fixture
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """The errors are in the rows, and what the bootstrap of their mean gives is drawn from its limit."""
    plan = SimpleNamespace(task="regression", encode_target=lambda frame, strict: frame["error"])
    model = SimpleNamespace(plan=plan, scores=lambda frame: np.zeros(frame.height))
    monkeypatch.setattr(Predictor, "from_package", lambda *_, **__: model)

    def replicate(samples: Any, _names: Any, drawing: Any) -> Any:
        errors = samples[0].truth
        chance = np.random.default_rng(drawing.seed)
        draws = chance.normal(errors.mean(), errors.std() / np.sqrt(len(errors)), size=drawing.replicates)
        return draws[:, None, None]

    monkeypatch.setattr(metrics, "replicate", replicate)


def year(seed: int, mean: Any = 1.0) -> pl.DataFrame:
    """Errors that are positive and skewed, with this mean: exponential ones."""
    chance = np.random.default_rng([31, seed])
    errors = chance.exponential(size=DAYS * A_DAY) * mean
    at = [START + dt.timedelta(days=n / A_DAY) for n in range(DAYS * A_DAY)]
    return pl.DataFrame({"at": at, "error": errors})


def first_alarm(frame: pl.DataFrame, promised: float, *, every: int = 5, **config: Any) -> int | None:
    """The day of the first alarm of a year of looks after one run."""
    trigger = PerformanceTrigger(PerformanceTrigger.Config(**config))
    live = SimpleNamespace(
        time_column="at",
        target="error",
        rows=lambda start, end: frame.filter(pl.col("at").is_between(start, end, closed="right")),
    )
    for day in range(every, DAYS + 1, every):
        now = START + dt.timedelta(days=day)
        context: Any = SimpleNamespace(
            now=now, since=START, champion=champion(promised), live=live, transforms=NoTransforms(), threads=1
        )
        if trigger.check(context) is not None:
            return day
    return None


@pytest.mark.usefixtures("cheap")
def test_a_calm_year_has_no_alarm_however_often_it_is_looked() -> None:
    """At the defaults no alarm at all, where the champion is as good as its test said; and 5 % at the edge of that."""
    assert [first_alarm(year(seed), 1.0) for seed in range(30)] == [None] * 30
    # Of 30 years at one in twenty each, more than five have an alarm once in three hundred times.
    at_the_edge = [first_alarm(year(seed), 1.0, every=2, worse_by=0.0, days=7) for seed in range(30)]
    assert len([day for day in at_the_edge if day is not None]) <= 5


@pytest.mark.usefixtures("cheap")
def test_what_is_worse_for_good_is_seen_within_weeks() -> None:
    changed = np.where(np.arange(DAYS * A_DAY) < 100 * A_DAY, 1.0, 1.6)
    found = [first_alarm(year(seed, changed), 1.0) for seed in range(10)]
    assert all(day is not None and 100 < day <= 145 for day in found), found


@pytest.mark.parametrize("freedom", [1, 2, 3, 6, 27, 500, 5000])
@pytest.mark.parametrize("tail", [0.3, 0.01, 1e-4, 1e-7])
def test_the_quantile_is_that_of_student(tail: float, freedom: int) -> None:
    stats = pytest.importorskip("scipy.stats")
    close = 0.01 if freedom >= 1000 else 1e-5
    assert student_quantile(tail, freedom) == pytest.approx(stats.t.isf(tail, freedom), rel=close)


@pytest.mark.usefixtures("cheap")
def test_a_run_after_the_change_does_not_hide_since_when_it_is() -> None:
    """A schedule trains each week: all rows since the last run are of the world as it is, and show no rise."""
    frame = year(3, np.where(np.arange(DAYS * A_DAY) < 100 * A_DAY, 1.0, 3.0))
    live = SimpleNamespace(
        time_column="at",
        target="error",
        rows=lambda start, end: frame.filter(pl.col("at").is_between(start, end, closed="right")),
    )
    context: Any = SimpleNamespace(
        now=START + dt.timedelta(days=117),
        since=START + dt.timedelta(days=105),
        champion=champion(1.0),
        live=live,
        transforms=NoTransforms(),
        threads=1,
    )
    found = PerformanceTrigger(PerformanceTrigger.Config()).check(context)
    assert found is not None
    assert found.changed is not None
    assert abs(found.changed - (START + dt.timedelta(days=100))) <= dt.timedelta(days=1)


@pytest.mark.usefixtures("cheap")
def test_a_metric_of_another_task_is_an_error_and_not_silence() -> None:
    with pytest.raises(ConfigError, match="'brier' is not a metric of a regression model"):
        first_alarm(year(0), 1.0, metric="brier", bound=0.1)


def test_one_group_is_no_evidence() -> None:
    """All rows of a single day share what was special about it."""
    trigger = PerformanceTrigger(PerformanceTrigger.Config())
    rows = metrics.Scored("regression", np.full(50, 9.0), np.zeros(50))
    assert trigger._interval(rows, "mae", np.zeros(50, dtype=np.intp), 0.01) is None
    two = trigger._interval(rows, "mae", np.repeat([0, 1], 25), 0.01)
    assert two is not None
    assert (two.low, two.high) == (9.0, 9.0)
