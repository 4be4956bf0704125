"""`features:plan`: what the stage gives, says and refuses. The plan itself is tested in tests/compute."""

from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl
import pytest

from headrace import Dataset, FeaturePlan
from headrace.builtins.features.plan import Features, PlanFeatures
from headrace.errors import ConfigError, DataError
from headrace.hooks.contract import describe


def rows(n: int, seed: int = 0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "x": rng.normal(size=n),
            "s": rng.choice(["a", "b", "c"], n).tolist(),
            "day": [dt.date(2024, 1, 1) + dt.timedelta(days=i) for i in range(n)],
            "id": range(n),
            "y": rng.choice(["no", "yes"], n).tolist(),
        }
    )


def run(ctx, train: pl.DataFrame, valid: pl.DataFrame, **config) -> Features:
    stage = PlanFeatures(PlanFeatures.Config(target=config.pop("target", "y"), **config))
    return stage.run(ctx, Dataset.from_frame(train), Dataset.from_frame(valid))


def test_the_contract():
    contract = describe(PlanFeatures)
    assert list(contract.inputs) == ["train", "valid"]
    assert list(contract.outputs) == ["plan", "train_features", "valid_features"]
    assert set(FeaturePlan.Config.model_fields) < set(contract.config.model_fields)
    assert all(field.description for field in contract.config.model_fields.values())


def test_both_frames_are_the_plans_outputs_and_the_encoded_target(ctx, roundtrip):
    train, valid = rows(200), rows(50, seed=1)
    made = run(ctx, train, valid)
    for dataset, source in ((made.train_features, train), (made.valid_features, valid)):
        frame = dataset.frame()
        assert frame.columns == [*made.plan.outputs, "y"]
        assert frame.dtypes == [*[pl.Float32] * len(made.plan.outputs), pl.Int32]
        assert frame["y"].to_list() == [int(label == "yes") for label in source["y"]]
        assert frame.drop("y").equals(made.plan.transform(source))
    again = roundtrip(made.plan)
    assert again == made.plan
    assert again.document == made.plan.document


def test_it_is_fitted_on_training_rows_alone(ctx):
    valid = rows(50, seed=1).with_columns(s=pl.lit("never seen"), y=pl.lit("yes"))
    made = run(ctx, rows(200), valid)
    assert made.plan == run(ctx, rows(200), rows(3, seed=5)).plan
    size = len(next(step for step in made.plan.document["steps"] if step["op"] == "category")["vocabulary"])
    assert made.valid_features.frame()["s"].unique().to_list() == [size + 1]


def test_the_task_is_inferred_or_given(ctx):
    assert run(ctx, rows(100), rows(10)).plan.task == "binary"
    assert "the target 'y' asks for binary" in ctx.logs
    ctx.logs.clear()
    assert run(ctx, rows(100), rows(10), task="multiclass").plan.task == "multiclass"
    assert not any("asks for" in line for line in ctx.logs)
    assert run(ctx, rows(100), rows(10), target="x").plan.task == "regression"


def test_it_says_what_was_dropped(ctx):
    run(ctx, rows(100).with_columns(c=pl.lit(1)), rows(10).with_columns(c=pl.lit(2)))
    assert any(line.startswith("dropped 'c': constant (1)") for line in ctx.logs)
    assert any(line.startswith("dropped 'id': ") for line in ctx.logs)
    assert ctx.logs[-1] == "3 columns become 5 features for trees: 1 number, 1 category, 1 time"
    assert ctx.metrics["features"] == [(None, 5.0)]
    ctx.logs.clear()
    wide = rows(100).with_columns(pl.lit(1).alias(f"c{i}") for i in range(300))
    run(ctx, wide, wide)
    assert len(ctx.logs) < 30


def test_rows_without_a_target(ctx):
    train = rows(100).with_columns(y=pl.when(pl.int_range(100) % 10 == 0).then(None).otherwise("y"))
    valid = rows(20, seed=1).with_columns(y=pl.Series(["maybe", None, *["no"] * 18]))
    made = run(ctx, train, valid)
    assert made.train_features.num_rows == 90
    assert made.valid_features.num_rows == 18
    assert "left out 10 of 100 training rows without a target" in ctx.logs
    assert any("left out 2 of 20 validation rows: 1 without a target, 1 with a label" in line for line in ctx.logs)
    with pytest.raises(DataError, match=r"column 'y', row 0.*missing in 10 of 100"):
        run(ctx, train, valid, missing_target="error")
    with pytest.raises(DataError, match="column 'y', row"):
        run(ctx, rows(100), valid, missing_target="error")
    nothing = train.with_columns(y=pl.lit(None, dtype=pl.String))
    with pytest.raises(DataError, match="no value in any of 100 rows"):
        run(ctx, nothing, valid)


def test_what_does_not_fit_is_refused(ctx):
    with pytest.raises(DataError, match="no column 'yy'"):
        run(ctx, rows(10), rows(10), target="yy")
    with pytest.raises(DataError, match="column 's'"):
        run(ctx, rows(100), rows(10).drop("s"))
    with pytest.raises(ConfigError, match="'z'"):
        run(ctx, rows(10), rows(10), exclude=["z"])
    with pytest.raises(DataError, match="column is left to be a feature"):
        run(ctx, rows(100).select("id", "y"), rows(10).select("id", "y"))


def test_config_of_columns_reaches_the_plan(ctx):
    made = run(ctx, rows(100), rows(10), columns={"id": {"treat_as": "number"}}, id_columns=("x",), exclude=["day"])
    assert made.plan.outputs == ("s", "id")
    again = PlanFeatures.Config.model_validate(
        PlanFeatures.Config(target="y", columns={"id": {"treat_as": "number"}}).model_dump(mode="json")
    )
    assert again.columns["id"].treat_as == "number"


def test_no_validation_rows(ctx):
    made = run(ctx, rows(50), rows(50)[:0])
    assert made.valid_features.num_rows == 0
    assert made.valid_features.frame().columns == made.train_features.frame().columns
