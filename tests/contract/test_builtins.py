"""The built-ins keep what they ask of strangers: the conformance kit, on every one of them."""

from __future__ import annotations

import sqlite3
from datetime import date, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from headrace.hooks.manager import PluginManager
from headrace.testing import hook_conformance, run_stage, stage_conformance

pytestmark = pytest.mark.slow

PROJECT = {"target": "late", "task": "binary"}
QUICK = {"n_estimators": 5, "parity_rows": 100}


def table() -> dict[str, list[Any]]:
    """120 rows in which `late` depends on `size` and `kind`, and some values are missing."""
    rows = range(120)
    size = [None if i % 17 == 0 else float(i * 7 % 50) for i in rows]
    kind = ["abc"[i % 3] for i in rows]
    late = [(s or 0.0) + (10 if k == "a" else 0) + i * 13 % 11 > 28 for i, s, k in zip(rows, size, kind, strict=True)]
    day = [date(2025, 1, 1) + timedelta(days=i) for i in rows]
    return {"size": size, "kind": kind, "day": day, "household": [i // 2 for i in rows], "late": late}


def stage(kind: str, use: str, config: dict[str, Any], inputs: dict[str, Any]) -> dict[str, Any]:
    stages = PluginManager.discover().stages
    return run_stage(stages.load(stages.entry(kind, use)), config=config, inputs=inputs)


@cache
def made() -> dict[str, Any]:
    """What each stage of a pipeline gives, by the name of the output."""
    found: dict[str, Any] = {"data": table()}
    steps = [
        ("split", "random", PROJECT, ("data",)),
        ("features", "plan", PROJECT, ("train", "valid")),
        ("train", "lightgbm", QUICK, ("plan", "train_features", "valid_features")),
        ("evaluate", "holdout", {"replicates": 50}, ("model", "plan", "train", "test")),
        ("gate", "champion", {"replicates": 100, "model": "m"}, ("model", "plan", "test", "evaluation")),
    ]
    for kind, use, config, names in steps:
        found |= stage(kind, use, config, {name: found[name] for name in names})
    found["gate"] = found.pop("gate_report")
    return found


def take(*names: str):
    return lambda: {name: made()[name] for name in names}


def files(folder: Path) -> None:
    import polars as pl

    frame = pl.DataFrame(table())
    frame.write_csv(folder / "data.csv")
    with sqlite3.connect(folder / "data.db") as database:
        database.execute("CREATE TABLE data (size REAL, kind TEXT)")
        database.executemany("INSERT INTO data VALUES (?, ?)", frame.select("size", "kind").rows())


def champion(folder: Path) -> None:
    """A registered model in the project's store."""
    from headrace import Predictor, drift
    from headrace.builtins.register.files import package_files
    from headrace.registry import Registry
    from headrace.store import Store

    parts = made()
    predictor = Predictor(parts["plan"], parts["model"])
    train, test = parts["train"].frame(), parts["test"].frame()
    files = package_files("m", predictor, parts["evaluation"], rows=test, golden_rows=2, trained_on=train.height)
    files |= drift.Reference.fit(predictor, train, test).files()
    with Store.open(folder / ".headrace") as store:
        registry = Registry(store, who="conformance")
        version = registry.register("m", files, about={}, model_digest="0" * 64)
        registry.move_alias(version, "champion", expected=None, why="a check")


FEATURES = take("plan", "train_features", "valid_features")

TestIngestFiles = stage_conformance("ingest", "files", config={"path": "data.csv"}, prepare=files)
TestIngestSql = stage_conformance(
    "ingest", "sql", config={"uri": "data.db", "query": "SELECT * FROM data ORDER BY rowid"}, prepare=files
)
TestValidateExpectations = stage_conformance(
    "validate", "expectations", config={"expect": {"columns": {"size": {"min": 0, "max": 50}}}}, inputs=take("data")
)
TestSplitRandom = stage_conformance("split", "random", config=PROJECT, inputs=take("data"))
TestSplitGroup = stage_conformance("split", "group", config={**PROJECT, "by": ["household"]}, inputs=take("data"))
TestSplitTime = stage_conformance("split", "time", config={**PROJECT, "time_column": "day"}, inputs=take("data"))
TestFeaturesPlan = stage_conformance("features", "plan", config=PROJECT, inputs=take("train", "valid"))
TestTuneOptuna = stage_conformance("tune", "optuna", config={"n_trials": 2}, inputs=FEATURES)
TestTrainLightGBM = stage_conformance("train", "lightgbm", config=QUICK, inputs=FEATURES)
TestTrainSklearn = stage_conformance(
    "train", "sklearn", config={"estimator": "sklearn.linear_model.LogisticRegression"}, inputs=FEATURES
)
TestEvaluateHoldout = stage_conformance(
    "evaluate", "holdout", config={"replicates": 50}, inputs=take("model", "plan", "train", "test")
)
TestGateChampion = stage_conformance(
    "gate", "champion", config={"replicates": 100, "model": "m"}, inputs=take("model", "plan", "test", "evaluation")
)
TestRegisterPackage = stage_conformance(
    "register", "package", config={"model": "m"}, inputs=take("model", "plan", "train", "test", "evaluation", "gate")
)
TestMonitorDrift = stage_conformance(
    "monitor",
    "drift",
    config={"model": "m", "time_column": "day", "period": "month"},
    inputs=take("data"),
    prepare=champion,
)
TestReportHtml = stage_conformance("report", "html", inputs=take("model", "evaluation", "gate", "split"))
TestHooks = hook_conformance("headrace")


def test_every_builtin_is_tested_here():
    tested = {
        (found.subject.kind, found.subject.name)
        for found in globals().values()
        if hasattr(found, "subject") and hasattr(found.subject, "kind")
    }
    ours = {(e.kind, e.name) for e in PluginManager.discover().stages.entries() if e.distribution == "headrace"}
    assert ours == tested
