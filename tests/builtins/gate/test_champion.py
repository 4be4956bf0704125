"""The gate as a stage: each reason to pass or to fail."""

from __future__ import annotations

import dataclasses
import hashlib
import math

import numpy as np
import polars as pl
import pytest

from headrace import Dataset, FeaturePlan, errors
from headrace.builtins.evaluate.holdout import HoldoutEvaluation
from headrace.builtins.gate.champion import ChampionGate
from headrace.builtins.register.files import package_files
from headrace.types import ArtifactRef


def rows(n=800, seed=0):
    rng = np.random.default_rng(seed)
    x, z = rng.normal(size=(2, n))
    late = rng.random(n) < 1 / (1 + np.exp(-(2 * x + z - 1)))
    return pl.DataFrame({"x": x, "z": z, "day": rng.integers(0, 40, n), "late": late})


class World:
    """One data set, and models of it that are better or worse."""

    def __init__(self, ctx, linear_model):
        self.ctx, self.linear_model = ctx, linear_model
        self.train, self.test = rows(seed=1), rows(seed=2)
        self.plan = FeaturePlan.fit(self.train.drop("day"), target="late", task="binary")

    def model(self, x=2.0, z=1.0, **fields):
        return self.linear_model(self.plan, {"x": x, "z": z}, bias=-1.0, **fields)

    def evaluation(self, model, **config):
        quick = {"replicates": 60, "importance_rows": 0, "slice_rows": 50, **config}
        stage = HoldoutEvaluation(HoldoutEvaluation.Config(**quick))
        return stage.run(self.ctx, model, self.plan, Dataset.from_frame(self.train), Dataset.from_frame(self.test))

    def crown(self, model, plan=None, test=None):
        from headrace import Predictor

        rows_ = self.test if test is None else test
        files = package_files(
            "test",
            Predictor(plan or self.plan, model),
            self.evaluation(self.model()),
            rows=rows_,
            golden_rows=3,
            trained_on=9,
        )
        digest = hashlib.sha256(model.onnx).hexdigest()
        version = self.ctx.registry.register("test", files, about={}, model_digest=digest)
        before = self.ctx.registry.aliased("test", "champion")
        self.ctx.registry.move_alias(version, "champion", expected=before, why="")
        return version

    def gate(self, model, evaluation=None, test=None, **config):
        self.ctx.inputs = {"model": ArtifactRef(hashlib.sha256(model.onnx).hexdigest(), "model", 1)}
        stage = ChampionGate(ChampionGate.Config(**{"replicates": 150, "latency_rows": 16, **config}))
        frame = self.test if test is None else test
        return stage.run(self.ctx, model, self.plan, Dataset.from_frame(frame), evaluation or self.evaluation(model))


@pytest.fixture
def world(ctx, linear_model):
    return World(ctx, linear_model)


def failed(report):
    return [check["name"] for check in report.checks if check["passed"] is not True]


def test_the_first_model_must_beat_the_trivial_predictor(world):
    good = world.gate(world.model())
    assert good.passed
    assert good.champion is None
    bad = world.gate(world.model(x=-2.0, z=-1.0))
    assert failed(bad) == ["beats the trivial predictor"]
    assert world.gate(world.model(x=-2.0), beat_baseline="no").passed


def test_on_average_is_less_than_surely(world):
    model = world.model()
    found = world.evaluation(model)
    shaky = {**found.baseline["log_loss"], "gain": 0.01, "gain_low": -0.01}
    weak = dataclasses.replace(found, baseline={**found.baseline, "log_loss": shaky})
    assert failed(world.gate(model, weak)) == ["beats the trivial predictor"]
    assert world.gate(model, weak, beat_baseline="on average").passed


@pytest.mark.parametrize("nothing", [None, math.nan, math.inf, -math.inf, "0.5", True])
def test_what_is_not_a_number_never_passes(world, nothing):
    model = world.model()
    found = world.evaluation(model)
    broken = {**found.metrics, "roc_auc": {"value": nothing, "low": None, "high": None, "better": "higher"}}
    gainless = {**found.baseline, "log_loss": {**found.baseline["log_loss"], "gain_low": nothing}}
    report = world.gate(
        model, dataclasses.replace(found, metrics=broken, baseline=gainless), floors={"roc_auc": 0.1, "ece": 1.0}
    )
    assert failed(report) == ["beats the trivial predictor", "floor of roc_auc"]
    assert not report.passed


def test_a_champion_is_replaced_by_what_is_surely_better(world):
    first = world.crown(world.model(x=0.5, z=0.0))
    report = world.gate(world.model())
    assert report.passed
    assert report.champion == first.number
    row = report.comparison["metrics"]["log_loss"]
    assert row["gain"] > 0
    assert row["challenger"] < row["champion"]
    assert report.comparison["package"] == first.package
    assert "surely better" in report.checks[1]["message"]


def test_the_same_quality_is_not_superior_but_not_inferior(world):
    world.crown(world.model())
    twin = world.model(z=1.0001)
    assert failed(world.gate(twin)) == ["champion"]
    assert world.gate(twin, rule="non-inferior", margin=0.01).passed
    worse = world.model(x=0.8, z=0.0)
    assert failed(world.gate(worse, rule="non-inferior", margin=0.01)) == ["champion"]
    assert world.gate(worse, rule="non-inferior", margin=2.0).passed


def test_superior_by_a_margin(world):
    world.crown(world.model(x=1.2, z=0.0))
    assert world.gate(world.model()).passed
    assert failed(world.gate(world.model(), margin=0.5)) == ["champion"]


def test_a_model_is_never_its_own_rival(world):
    model = world.model()
    world.crown(world.model(x=0.5, z=0.0))
    second = world.crown(model)
    assert second.number == 2
    report = world.gate(model)
    assert report.champion == 1
    assert report.passed


def test_the_champion_is_read_through_its_own_plan(world, linear_model):
    other = world.train.select("x", "day", "late")
    plan = FeaturePlan.fit(other, target="late", task="binary")
    world.crown(linear_model(plan, {"x": 0.5}), plan, other)
    assert world.gate(world.model()).passed


@pytest.mark.parametrize("frame", ["gone", "type"])
def test_a_champion_that_cannot_score_the_rows_stays_unless_it_is_said_otherwise(world, linear_model, frame):
    plan = FeaturePlan.fit(world.train.with_columns(old=pl.col("x") * 2), target="late", task="binary")
    old = world.test.with_columns(old=pl.col("x") * 2)
    version = world.crown(linear_model(plan, {"old": 1.0}), plan, old)
    test = world.test if frame == "gone" else world.test.with_columns(old=pl.lit("text"))
    report = world.gate(world.model(), test=test)
    assert failed(report) == ["champion"]
    assert report.champion == version.number
    assert "'old'" in report.checks[1]["message"]
    assert "cannot score these rows" in report.checks[1]["message"]
    assert world.gate(world.model(), test=test, champion_unusable="pass").passed


def test_a_champion_of_another_task_cannot_be_compared(world, linear_model):
    frame = world.train.select("x", late=pl.col("z"))
    plan = FeaturePlan.fit(frame, target="late", task="regression")
    world.crown(linear_model(plan, {"x": 1.0}), plan, frame)
    report = world.gate(world.model())
    assert "it is a regression model" in report.checks[1]["message"]
    assert not report.passed


def test_too_few_rows_or_groups_replace_nobody(world):
    world.crown(world.model(x=-1.0, z=0.0))
    model = world.model()
    found = world.evaluation(model)
    report = world.gate(model, found, test=world.test.head(40))
    assert failed(report) == ["champion"]
    assert "40 test rows or groups are too few" in report.checks[1]["message"]
    assert world.gate(model, found).passed
    assert failed(world.gate(model, found, resample_by="day")) == ["champion"]
    assert world.gate(model, found, resample_by="day", min_rows=40).passed


def test_floors(world):
    model = world.model()
    assert world.gate(model, floors={"roc_auc": 0.7, "log_loss": 0.6}).passed
    assert failed(world.gate(model, floors={"roc_auc": 0.99})) == ["floor of roc_auc"]
    assert failed(world.gate(model, floors={"log_loss": 0.1})) == ["floor of log_loss"]
    with pytest.raises(ValueError, match="not a metric"):
        ChampionGate.Config(floors={"auc": 0.5})
    with pytest.raises(errors.ConfigError, match="not a metric of a binary model"):
        world.gate(model, floors={"rmse": 1.0})


def test_floors_of_slices_name_the_slices_that_fail(world):
    model = world.model()
    assert world.gate(model, slice_floors={"accuracy": 0.3}).passed
    report = world.gate(model, slice_floors={"accuracy": 0.9})
    assert failed(report) == ["slice floor of accuracy"]
    assert "x = " in report.checks[-1]["message"]
    without = dataclasses.replace(world.evaluation(model), slices=[])
    assert failed(world.gate(model, without, slice_floors={"accuracy": 0.3})) == ["slice floor of accuracy"]


def test_a_slice_where_the_metric_is_undefined_does_not_pass(world):
    model = world.model()
    found = world.evaluation(model)
    part = {
        "column": "c",
        "value": "v",
        "rows": 60,
        "metrics": {"roc_auc": {"value": None, "reason": "all rows are of one class"}},
    }
    report = world.gate(model, dataclasses.replace(found, slices=[part]), slice_floors={"roc_auc": 0.1})
    assert failed(report) == ["slice floor of roc_auc"]
    assert "c = v (60 rows): no value, all rows are of one class" in report.checks[-1]["message"]


def test_budgets(world):
    model = world.model(parity={"max_abs_output": 1e-7})
    fine = {"size_bytes": 10_000, "row_p99_ms": 5000.0, "batch_p50_ms": 5000.0, "parity": 1e-6}
    assert world.gate(model, budgets=fine).passed
    tight = {"size_bytes": 10, "row_p50_ms": 1e-6, "parity": 1e-9}
    assert failed(world.gate(model, budgets=tight)) == ["size", "parity", "latency row p50"]
    assert failed(world.gate(world.model(), budgets={"parity": 1.0})) == ["parity"]


def test_times_are_in_the_report_only_where_a_budget_makes_them_count(world):
    model = world.model()
    found = world.evaluation(model)
    assert world.gate(model, found) == world.gate(model, found)
    assert set(world.ctx.metrics) >= {"latency_row_p50_ms", "latency_batch_p99_ms"}


def test_the_report_can_be_kept(world, roundtrip):
    world.crown(world.model(x=0.5))
    report = world.gate(world.model(), floors={"roc_auc": 0.5}, slice_floors={"roc_auc": 0.9})
    again = roundtrip(report)
    assert (again.passed, list(again.checks), again.champion) == (report.passed, list(report.checks), report.champion)
    assert again.comparison == report.comparison


def test_the_champion_is_part_of_the_key_and_a_repeated_run_sees_the_same_one(world, tmp_path):
    stage = ChampionGate(ChampionGate.Config(model="test"))
    model = world.model()
    inputs = {"model": ArtifactRef(hashlib.sha256(model.onnx).hexdigest(), "model", 1)}
    registry = world.ctx.registry
    assert stage.external(tmp_path, registry, inputs) == {"champion": None}
    first = world.crown(world.model(x=0.5))
    before = stage.external(tmp_path, registry, inputs)
    assert before == {"champion": first.package}
    world.crown(model)
    assert stage.external(tmp_path, registry, inputs) == before
    with pytest.raises(errors.ConfigError, match="no name"):
        ChampionGate(ChampionGate.Config()).external(tmp_path, registry, inputs)


def test_it_can_be_interrupted(world):
    model = world.model()
    found = world.evaluation(model)
    world.crown(world.model(x=0.5))
    world.ctx.checks, world.ctx.cancel_after = 0, 3
    with pytest.raises(errors.CancelledError):
        world.gate(model, found)
