"""The files of a model package. The same inputs give the same bytes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import polars as pl

from headrace import Evaluation, Predictor
from headrace.builtins.register.card import card

if TYPE_CHECKING:
    from headrace import FeaturePlan

FORMAT = 1
MOST_COLUMNS = 20


def package_files(
    name: str, predictor: Predictor, evaluation: Evaluation, *, rows: pl.DataFrame, golden_rows: int, trained_on: int
) -> dict[str, bytes]:
    """File name -> bytes.

    `metrics.json`: `primary`, `rows`, `level`, `metrics`, `baseline`, `slices`, `importance`, as in
    `headrace.Evaluation`. What the
    gate said is not in the package, since the same model may meet another champion; the alias's history refers to it.
    """
    plan, model = predictor.plan, predictor.model
    # Says which column is missing or of another type; more than it reads is no matter, as when the model predicts.
    plan.transform(rows.head(1), extra_columns="ignore")
    chosen = telling_rows(rows, list(plan.inputs), golden_rows)
    golden = predictor.golden_rows(chosen, n=chosen.height)
    measured = {
        "format": FORMAT,
        "primary": evaluation.primary,
        "rows": evaluation.rows,
        "level": evaluation.level,
        "metrics": evaluation.metrics,
        "baseline": evaluation.baseline,
        "slices": evaluation.slices,
        "importance": evaluation.importance,
    }
    files = {
        "model.onnx": model.onnx,
        "plan.json": canonical(plan.document),
        "signature.json": canonical(signature(plan)),
        "golden.json": canonical(golden),
        "metrics.json": canonical(measured),
        "card.md": card(name, plan, model, evaluation, trained_on=trained_on).encode(),
    }
    if model.native is not None:
        files["model.lightgbm"] = model.native
    return files


def signature(plan: FeaturePlan) -> dict[str, Any]:
    """What goes in and what comes out, with types as in the plan; `nullable`: whether training rows had nulls.

    `python`: the transforms that must be installed where this is served, which is slower there than a package without.
    """
    nullable = plan.nullable
    target = plan.document["target"]
    prediction = "float64" if plan.task == "regression" else target["type"]
    outputs = [{"name": "prediction", "type": prediction, "nullable": False}]
    outputs += [{"name": f"probability_{label}", "type": "float64", "nullable": False} for label in plan.class_names]
    return {
        "format": FORMAT,
        "task": plan.task,
        "target": plan.target,
        "classes": list(plan.classes),
        "inputs": [{"name": n, "type": t, "nullable": n in nullable} for n, t in plan.inputs.items()],
        "outputs": outputs,
        "python": [
            {key: transform[key] for key in ("use", "distribution", "version")} for transform in plan.transforms
        ],
    }


def telling_rows(frame: pl.DataFrame, inputs: list[str], count: int) -> pl.DataFrame:
    """`count` rows evenly spread, and for up to 20 columns a row with a null, the smallest and the largest value."""
    picked = {at * frame.height // count for at in range(min(count, frame.height))}
    for name in inputs[:MOST_COLUMNS]:
        series = frame[name].alias("value")  # polars takes some names of columns for patterns
        missing = series.is_null().arg_max()
        if missing is not None and series[missing] is None:
            picked.add(missing)
        if series.dtype.is_numeric() or series.dtype.is_temporal():
            picked |= {at for at in (series.arg_min(), series.arg_max()) if at is not None}
    return frame[list(inputs)][sorted(picked)]


def canonical(value: Any) -> bytes:
    """JSON with sorted keys, no spaces, no NaN."""
    text = json.dumps(value, sort_keys=True, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    return text.encode()
