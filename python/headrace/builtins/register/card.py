"""The model card: what a person should know before trusting the model (after Mitchell and others 2019)."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING, Any

from headrace import Evaluation, FeaturePlan, Model, metrics

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MOST_ROWS = 10
_MARKUP = re.compile(r"([\\`*_{}\[\]()#+!|~$])")
_TASKS = {
    "binary": "tells which of two classes a row belongs to",
    "multiclass": "tells which of several classes a row belongs to",
    "regression": "estimates a number",
}


def card(name: str, plan: FeaturePlan, model: Model, evaluation: Evaluation, *, trained_on: int) -> str:
    """Markdown. Every name from the data is escaped, so that it shows as it is."""
    primary = metrics.METRICS[evaluation.primary]
    lines = [
        f"# {md(name)}",
        "",
        f"This model {_TASKS[model.task]}: `{code(model.target)}`"
        + (f", one of {md(_listed(plan.class_names))}" if plan.classes else "")
        + ".",
        "",
        "## How good it is",
        "",
        (
            f"Measured on {evaluation.rows:,} rows that it was not trained on, beside the trivial predictor, which "
            f"looks at no column. Intervals hold {100 * evaluation.level:g} % of bootstrap resamples. {primary.title} "
            "is the metric that decides about promotion."
        ),
        "",
        *_table(
            ("Metric", "Model", "Interval", "Trivial predictor"),
            (
                (
                    metrics.METRICS[key].title,
                    number(value["value"]),
                    interval(value.get("low"), value.get("high")),
                    number(evaluation.baseline.get(key, {}).get("value")),
                )
                for key, value in evaluation.metrics.items()
            ),
        ),
        "",
    ]
    if evaluation.slices:
        lines += [
            "### Where it is weakest",
            "",
            *_table(
                ("Slice", "Rows", primary.title, "Interval", "Trivial predictor"),
                (_slice(part, evaluation.primary) for part in evaluation.slices[:MOST_ROWS]),
            ),
            "",
        ]
    lines += ["## What it looks at", "", f"{len(plan.inputs)} columns become {len(plan.outputs)} features.", ""]
    if plan.transforms:
        names = ", ".join(f"`{code(str(t['use']))}` of {md(str(t['distribution']))}" for t in plan.transforms)
        lines += [f"Python computes some of them, wherever it is served: {names}.", ""]
    ordered = sorted(evaluation.importance.items(), key=lambda item: (-item[1], item[0]))[:MOST_ROWS]
    if ordered:
        lines += [
            *_table(
                ("Column", f"How much worse {primary.inline} gets when shuffled"),
                ((md(key), number(value)) for key, value in ordered),
            ),
            "",
        ]
    lines += ["## How it was made", "", f"- trained on {trained_on:,} rows"]
    lines += [f"- {md(key)}: {md(str(value))}" for key, value in sorted(model.info.items()) if _plain(value)]
    lines += [
        f"- parity of ONNX and native model, {md(k)}: {md(str(v))}"
        for k, v in sorted(model.parity.items())
        if _plain(v)
    ]
    notes: Any = evaluation.about.get("notes") or []
    lines += [
        "",
        "## What to keep in mind",
        "",
        (
            "- It was measured on rows like those it was trained on. On rows from elsewhere, or from another time, it "
            "may be worse; the numbers above do not say by how much."
        ),
        "- Importance tells what the model uses, not what causes what.",
        *(f"- {md(str(note))}" for note in notes),
        "",
    ]
    return "\n".join(lines)


def md(value: str) -> str:
    """Text that Markdown and HTML leave as it is, on one line."""
    plain = " ".join(value.splitlines())
    return html.escape(_MARKUP.sub(r"\\\1", plain), quote=False)


def code(value: str) -> str:
    """Text between backticks: without any, on one line."""
    return " ".join(value.replace("`", "'").splitlines())


def number(value: Any) -> str:
    """Four significant digits."""
    return f"{value:.4g}" if isinstance(value, int | float) and not isinstance(value, bool) else "none"


def interval(low: Any, high: Any) -> str:
    """Both ends, or nothing."""
    return "" if low is None or high is None else f"{number(low)} to {number(high)}"


def _plain(value: object) -> bool:
    return isinstance(value, str | int | float | bool)


def _listed(values: Sequence[str]) -> str:
    few = ", ".join(values[:MOST_ROWS])
    return few if len(values) <= MOST_ROWS else f"{few} and {len(values) - MOST_ROWS} more"


def _slice(part: Any, primary: str) -> tuple[str, ...]:
    measured = part["metrics"][primary]
    return (
        f"{md(part['column'])}: {md(part['value'])}",
        f"{part['rows']:,}",
        number(measured.get("value")),
        interval(measured.get("low"), measured.get("high")),
        number(measured.get("baseline")),
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    line = "|" + "|".join("---" if at == 0 else "---:" for at in range(len(head))) + "|"
    return ["| " + " | ".join(head) + " |", line, *("| " + " | ".join(row) + " |" for row in rows)]
