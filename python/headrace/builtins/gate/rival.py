"""The champion's scores of the challenger's test rows."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from headrace import Predictor, errors, metrics
from headrace.builtins.gate.comparison import realigned

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl

    from headrace import PackageView, TransformSource


def score_rival(
    package: PackageView,
    challenger: metrics.Scored,
    classes: Sequence[Any],
    frame: pl.DataFrame,
    *,
    threads: int,
    transforms: TransformSource | None = None,
) -> metrics.Scored | str:
    """The champion on the same raw rows, through its own feature plan; or why it cannot score them.

    Parameters
    ----------
    package
        The champion.
    challenger
        The challenger on these rows: gives the truth, the task and the threshold.
    classes
        The labels in the challenger's order. A class that the champion does not know has probability 0 with it.
    frame
        The rows.
    threads
        For ONNX Runtime.
    transforms
        Where the champion's transforms are looked up, if it has some.

    """
    try:
        predictor = Predictor.from_package(package, threads=threads, transforms=transforms)
        plan = predictor.plan
        if plan.task != challenger.task:
            return f"it is a {plan.task} model, and this is a {challenger.task} task"
        scores = predictor.scores(frame)
    except errors.DataError as error:
        where = f"{error.place}: " if error.place else ""
        return f"{where}{error.message}"
    if challenger.task == "regression":
        return metrics.Scored("regression", challenger.truth, scores)
    if not {_label(c) for c in plan.classes} & {_label(c) for c in classes}:
        return "it knows none of the classes of these rows"
    aligned = realigned(scores, plan.classes, classes)
    return metrics.Scored(challenger.task, challenger.truth, aligned, threshold=challenger.threshold)


def _label(value: Any) -> str:
    return json.dumps(value)
