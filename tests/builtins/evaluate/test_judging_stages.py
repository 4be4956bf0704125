"""Evaluate, gate, register and report keep the contract that plugin authors are held to."""

from __future__ import annotations

import inspect

import numpy as np
import polars as pl
import pytest

from headrace import Dataset, FeaturePlan, GateReport, ModelVersion, SplitReport, ValidationReport
from headrace.builtins.evaluate.holdout import HoldoutEvaluation
from headrace.testing import stage_conformance

EVALUATE = {"replicates": 50, "importance_rows": 20, "importance_repeats": 1, "slice_rows": 5}
STAGES = {
    ("evaluate", "holdout"): (EVALUATE, ("model", "plan", "train", "test")),
    ("gate", "champion"): (
        {"model": "m", "floors": {"roc_auc": 0.5}, "latency_rows": 2},
        ("model", "plan", "test", "evaluation"),
    ),
    ("register", "package"): ({"model": "m"}, ("model", "plan", "train", "test", "evaluation", "gate")),
    ("report", "html"): ({}, ("model", "evaluation", "gate", "validation", "split", "version")),
}
CHECKS = sorted(name for name in dir(stage_conformance("gate", "champion")) if name.startswith("test_"))


@pytest.fixture
def inputs(ctx, linear_model):
    rng = np.random.default_rng(0)
    x = rng.normal(size=60)
    frame = pl.DataFrame({"x": x, "kind": rng.choice(["a", "b"], 60), "late": x + rng.normal(size=60) > 0})
    plan = FeaturePlan.fit(frame, target="late", task="binary")
    model = linear_model(plan, {"x": 1.0})
    data = Dataset.from_frame(frame)
    found = HoldoutEvaluation(HoldoutEvaluation.Config(**EVALUATE)).run(ctx, model, plan, data, data)
    check = {"name": "champion", "passed": True, "found": None, "required": None, "message": "There is none."}
    return {
        "model": model,
        "plan": plan,
        "train": data,
        "test": data,
        "evaluation": found,
        "gate": GateReport(passed=True, checks=[check]),
        "validation": ValidationReport(rows=60, quarantined_rows=0, expectations=1),
        "split": SplitReport(method="by chance", rows={"train": 60, "test": 60}),
        "version": ModelVersion(name="m", number=1, package="a" * 64),
    }


@pytest.mark.parametrize("stage", STAGES, ids=":".join)
@pytest.mark.parametrize("check", CHECKS)
def test_stage(stage, check, inputs, tmp_path):
    config, names = STAGES[stage]
    test = getattr(stage_conformance(*stage, config=config, inputs={n: inputs[n] for n in names})(), check)
    test(**{"tmp_path": tmp_path} if "tmp_path" in inspect.signature(test).parameters else {})
