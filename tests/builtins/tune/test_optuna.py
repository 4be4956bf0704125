"""`tune:optuna`: a seeded search that an interruption does not change."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import optuna
import polars as pl
import pytest
from pydantic import BaseModel, ValidationError

from headrace import Dataset, FeaturePlan, Model, Params, StageContext
from headrace.builtins.lightgbm.train import LightGBMTrainer
from headrace.builtins.tune.optuna import OptunaTuner
from headrace.builtins.tune.study import Search
from headrace.builtins.tune.trial import Finished, Journal
from headrace.errors import CancelledError, ConfigError, DataError, MissingExtraError, PluginError
from headrace.hooks.contract import describe

QUICK = {"n_estimators": 60, "early_stopping_rounds": 5, "parity_rows": 200}


def rows(n: int, seed: int) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    x, s = rng.normal(size=n), rng.choice(list("abc"), n)
    return pl.DataFrame(
        {"x": x, "u": rng.normal(size=n), "s": s.tolist(), "y": (x + (s == "a") + rng.normal(size=n) > 0.4).tolist()}
    )


@pytest.fixture(scope="module")
def data():
    raw = rows(240, 0)
    plan = FeaturePlan.fit(raw, target="y", task="binary")
    made = [Dataset.from_frame(plan.transform(r).with_columns(plan.encode_target(r))) for r in (raw, rows(90, 1))]
    return plan, *made


def tune(ctx, data, **config) -> Params:
    return OptunaTuner(OptunaTuner.Config(**({"fixed": QUICK} | config))).run(ctx, *data)


def test_the_contract():
    contract = describe(OptunaTuner)
    assert contract.outputs == {"params": Params}
    assert all(field.description for field in contract.config.model_fields.values())


def test_the_result_is_the_best_trial_and_trains(ctx, data, roundtrip):
    found = tune(ctx, data, n_trials=8)
    study = found.study
    values = [trial["value"] for trial in study["trials"]]
    assert len(values) == 8
    assert study["best_value"] == min(value for value in values if value is not None)
    assert study["trials"][study["best"]]["params"].items() <= found.values.items()
    assert found.values["n_estimators"] == 60
    assert study["default_value"] == values[0] >= study["best_value"]
    assert study["metric"] == "valid.binary_logloss"
    assert study["direction"] == "minimize"
    assert roundtrip(found) == found
    model = LightGBMTrainer(LightGBMTrainer.Config()).run(ctx, *data, found)
    assert model.info["parameters"]["num_leaves"] == found.values["num_leaves"]
    # What was tuned is what is trained.
    assert ctx.metrics["valid.binary_logloss"][-1] == (None, pytest.approx(study["best_value"], rel=1e-11))


def test_each_trial_is_a_point_of_a_series(ctx, data):
    study = tune(ctx, data, n_trials=6, pruner="none").study
    values = [trial["value"] for trial in study["trials"]]
    assert ctx.metrics["tune.value"] == list(enumerate(values))
    best = list(np.minimum.accumulate(values))
    assert ctx.metrics["tune.best"] == [*enumerate(best), (None, best[-1])]
    assert ctx.steps == [*((i, 6) for i in range(6)), (6, 6)]
    assert sum(line.startswith("trial ") for line in ctx.logs) == 6


def test_the_first_trial_has_the_defaults(ctx, data):
    first = tune(ctx, data, n_trials=1).study["trials"][0]
    assert first["params"]["num_leaves"] == 31
    assert first["params"]["learning_rate"] == 0.1
    assert first["params"]["lambda_l1"] == 1e-6
    assert "min_data_in_leaf" not in first["params"]  # the trainer's default depends on the data
    space = {"num_leaves": {"type": "int", "low": 4, "high": 8}}
    assert tune(ctx_of(ctx, "b"), data, n_trials=1, space=space).study["trials"][0]["params"] == {"num_leaves": 8}


def ctx_of(ctx, name: str):
    """The same context with a working folder of its own."""
    import dataclasses

    folder = ctx.workdir / name
    folder.mkdir()
    return dataclasses.replace(ctx, workdir=folder, logs=[], metrics={}, steps=[], checks=0, cancel_after=None)


def test_the_seed_decides(ctx, data):
    one, again, other = (
        tune(ctx_of(ctx, name), data, n_trials=5, seed=seed) for name, seed in (("a", 3), ("b", 3), ("c", 4))
    )
    assert one == again
    assert one.study["trials"] != other.study["trials"]


@pytest.mark.parametrize("pruner", ["median", "hyperband"])
def test_an_interrupted_search_ends_where_it_would_have_ended(ctx, data, pruner):
    whole = tune(ctx_of(ctx, "whole"), data, n_trials=12, pruner=pruner, fixed=QUICK | {"early_stopping_rounds": 0})
    broken = ctx_of(ctx, "broken")
    kept = []
    for stop in (40, 300, 150):
        broken.checks, broken.cancel_after = 0, stop
        with pytest.raises(CancelledError):
            tune(broken, data, n_trials=12, pruner=pruner, fixed=QUICK | {"early_stopping_rounds": 0})
        kept.append(len(Journal(broken.workdir / "trials.jsonl").read()))
    assert kept == sorted(kept)
    assert 0 < kept[-1] < 12
    with (broken.workdir / "trials.jsonl").open("ab") as stream:
        stream.write(b'{"params": {"num_le')  # the process died while it wrote
    broken.cancel_after = None
    assert tune(broken, data, n_trials=12, pruner=pruner, fixed=QUICK | {"early_stopping_rounds": 0}) == whole
    assert f"going on after {kept[-1]} trials of a run that was interrupted" in broken.logs


def test_bad_trials_are_pruned(ctx, data):
    space = {
        "learning_rate": {"type": "categorical", "choices": [0.1, 1e-6]},
        "lambda_l2": {"type": "log", "low": 1e-3, "high": 1.0},
    }
    fixed = {"n_estimators": 80, "early_stopping_rounds": 0}
    study = tune(ctx, data, n_trials=14, space=space, fixed=fixed).study
    pruned = [trial for trial in study["trials"] if trial["pruned"]]
    assert pruned
    assert all(trial["value"] is None and trial["steps"] < 80 for trial in pruned)
    assert {trial["params"]["learning_rate"] for trial in pruned} == {1e-6}
    kept = tune(ctx_of(ctx, "n"), data, n_trials=14, space=space, fixed=fixed, pruner="none").study["trials"]
    assert not any(trial["pruned"] for trial in kept)


def test_every_kind_of_dimension_stays_in_its_range(ctx, data):
    space = {
        "num_leaves": {"type": "int", "low": 3, "high": 5},
        "min_data_in_leaf": {"type": "int", "low": 1, "high": 64, "log": True},
        "feature_fraction": {"type": "float", "low": 0.6, "high": 0.7},
        "lambda_l2": {"type": "log", "low": 0.5, "high": 2.0},
        "boosting": {"type": "categorical", "choices": ["gbdt", "dart"]},
        "path_smooth": {"type": "float", "low": 0.0, "high": 1.0},
    }
    trials = tune(ctx, data, n_trials=7, space=space, fixed={"n_estimators": 10}).study["trials"][1:]
    for params in (trial["params"] for trial in trials):
        assert params["num_leaves"] in (3, 4, 5)
        assert 1 <= params["min_data_in_leaf"] <= 64
        assert 0.6 <= params["feature_fraction"] <= 0.7
        assert 0.5 <= params["lambda_l2"] <= 2
        assert params["boosting"] in ("gbdt", "dart")
        assert 0 <= params["path_smooth"] <= 1


def test_a_metric_that_grows_is_maximised(ctx, data):
    study = tune(ctx, data, n_trials=5, fixed=QUICK | {"metric": "auc"}, pruner="none").study
    assert study["direction"] == "maximize"
    assert study["best_value"] == max(trial["value"] for trial in study["trials"])
    forced = tune(
        ctx_of(ctx, "m"), data, n_trials=5, fixed=QUICK | {"metric": "auc"}, pruner="none", direction="minimize"
    )
    assert forced.study["best_value"] == min(trial["value"] for trial in forced.study["trials"])


def test_cross_validation_scores_every_row_once(ctx, data, monkeypatch):
    plan, train, valid = data
    seen = []

    class Recorder:
        class Config(BaseModel):
            level: int = 0

        def __init__(self, config: Config) -> None:
            self.config = config

        def run(self, ctx: StageContext, plan: FeaturePlan, train: Dataset, valid: Dataset, params: Params) -> Model:
            seen.append((train.frame(), valid.frame()))
            ctx.log("not shown")
            ctx.metric("other", 1.0)
            ctx.metric("valid.loss", float(valid.num_rows))
            raise AssertionError("the score ends the trial")

    config = OptunaTuner.Config(n_trials=1, folds=4, space={"level": {"type": "int", "low": 0, "high": 9}})
    result = Search(ctx, config, Recorder, plan).run(train, valid)
    everything = pl.concat([train.frame(), valid.frame()])
    assert len(seen) == 4
    assert pl.concat([part for _, part in seen]).sort(everything.columns).equals(everything.sort(everything.columns))
    for rest, part in seen:
        assert rest.height + part.height == everything.height
        assert abs(part["y"].mean() - everything["y"].mean()) < 0.02  # the classes are spread evenly
    assert result.study["best_value"] == pytest.approx(everything.height / 4)
    assert ctx.logs[0].startswith("trial 0")
    assert tune(ctx_of(ctx, "cv"), data, n_trials=2, folds=3).study["folds"] == 3
    with pytest.raises(DataError, match="too few for 300 folds"):
        tune(ctx, data, folds=300)


def test_a_trainer_without_a_score(ctx, data):
    class Silent:
        class Config(BaseModel):
            pass

        def __init__(self, config: Config) -> None: ...

        def run(self, *args: object) -> None: ...

    config = OptunaTuner.Config(space={"a": {"type": "int", "low": 0, "high": 9}})
    with pytest.raises(PluginError, match="Silent reported no score"):
        Search(ctx, config, Silent, data[0]).run(*data[1:])


def test_sklearn_can_be_tuned(ctx, data):
    space = {
        "C": {"type": "log", "low": 1e-3, "high": 10.0},
        "impute": {"type": "categorical", "choices": ["mean", "median"]},
    }
    found = tune(ctx, data, n_trials=4, trainer="sklearn", space=space, fixed={})
    assert found.study["metric"] == "valid.log_loss"
    assert set(found.values) <= {"C", "impute"}


def test_no_further_trial_starts_after_max_seconds(ctx, data):
    study = tune(ctx, data, n_trials=1000, max_seconds=1e-9).study
    assert study["ended_by"] == "max_seconds"
    assert len(study["trials"]) == 1


def test_no_validation_rows(ctx, data):
    with pytest.raises(DataError, match="no validation rows"):
        tune(ctx, (data[0], data[1], Dataset.from_frame(data[2].frame()[:0])))


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"space": {"num_leaves": {"type": "int", "low": 1, "high": 9}}}, "`space.num_leaves` holds 1"),
        ({"space": {"boosting": {"type": "categorical", "choices": ["gbdt", "goss"]}}}, "'goss'"),
        ({"space": {"num_leafs": {"type": "int", "low": 1, "high": 9}}}, "no training parameter 'num_leafs'"),
        ({"fixed": {"learning_rate": -1}}, "`fixed` does not fit LightGBMTrainer: learning_rate"),
        ({"fixed": {"learningrate": 1}}, "learningrate"),
    ],
)
def test_what_the_trainer_does_not_take(ctx, data, config, words):
    with pytest.raises(ConfigError) as caught:
        tune(ctx, data, **config)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "config",
    [
        {"space": {"a": {"type": "int", "low": 5, "high": 1}}},
        {"space": {"a": {"type": "log", "low": 0, "high": 1}}},
        {"space": {"a": {"type": "int", "low": 0, "high": 1, "log": True}}},
        {"space": {"a": {"type": "normal", "low": 0, "high": 1}}},
        {"space": {"a": {"type": "categorical", "choices": []}}},
        {"space": {"a": {"type": "float", "low": 0, "high": 1}}, "fixed": {"a": 1}},
        {"folds": 1},
        {"trainer": "sklearn"},
        {"trainer": "os"},
        {"n_trials": 0},
    ],
)
def test_a_space_that_is_none(config):
    with pytest.raises(ValidationError):
        OptunaTuner.Config(**config)


def test_the_journal(tmp_path: Path):
    journal = Journal(tmp_path / "t.jsonl")
    assert journal.read() == []
    trials = [Finished({"a": 0.1 + 0.2}, "valid.x", 1e-17, {"1": 0.3}), Finished({"a": "b"}, "valid.x", None)]
    for trial in trials:
        journal.add(trial)
    assert journal.read() == trials
    (tmp_path / "t.jsonl").write_text("{}\n" + json.dumps({"params": {}}) + "\n")
    with pytest.raises(DataError, match="Delete the file"):
        journal.read()


def test_it_leaves_optunas_logging_alone(ctx, data, capfd):
    before = optuna.logging.get_verbosity()
    tune(ctx, data, n_trials=3)
    assert optuna.logging.get_verbosity() == before
    assert capfd.readouterr().err == ""


def test_without_the_extra_the_error_is_the_pip_line(ctx, data, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'headrace\[tune\]'"):
        tune(ctx, data)
