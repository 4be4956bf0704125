"""The page: what stands where."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headrace import Evaluation, GateReport, Model, ModelVersion, SplitReport, ValidationReport, metrics
from headrace.builtins.report import sections
from headrace.builtins.report.markup import Html, h, interval, join, number
from headrace.builtins.report.style import STYLE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from headrace import ArtifactRef


def page(
    title: str,
    *,
    model: Model,
    evaluation: Evaluation,
    gate: GateReport,
    validation: ValidationReport | None,
    split: SplitReport | None,
    version: ModelVersion | None,
    inputs: Mapping[str, ArtifactRef],
    plots: bool,
) -> str:
    """The whole document."""
    body = [
        sections.checks(gate),
        sections.metric_table(evaluation, gate),
        sections.quality(evaluation, plots=plots),
        sections.importance(evaluation, plots=plots),
        sections.slices(evaluation, plots=plots),
        sections.data(validation, split),
        sections.about_model(model),
        sections.provenance(evaluation, gate, version, inputs),
    ]
    return document(title, _top(title, evaluation, gate, version), body, plots=plots)


def document(title: str, top: Html, body: Sequence[Html | None], *, plots: bool) -> str:
    """A page that loads nothing; `plots`: whether they are there, else it says how to get them."""
    head = h(
        "head",
        h("meta", charset="utf-8"),
        h("meta", name="viewport", content="width=device-width, initial-scale=1"),
        h("meta", name="color-scheme", content="light dark"),
        h("title", title),
        h("style", STYLE),
    )
    missing = (
        None if plots else h("p", "The plots are missing: they are drawn where matplotlib is installed (", _PIP, ").")
    )
    content = h("main", missing and h("section", h("div", missing, class_="card")), *body)
    footer = h("footer", h("p", "Made by headrace. This page loads nothing from anywhere."))
    page_ = h("html", head, h("body", top, content, footer), lang="en")
    return f"<!doctype html>\n{page_}\n"


_PIP = h("code", "pip install 'headrace[report]'")


def _top(title: str, evaluation: Evaluation, gate: GateReport, version: ModelVersion | None) -> Html:
    name = title if version is None else f"{version.name}, version {version.number}"
    verdict = "Passed the gate" if gate.passed else "Did not pass the gate"
    primary = evaluation.metrics[evaluation.primary]
    baseline = evaluation.baseline.get(evaluation.primary, {})
    label = metrics.METRICS[evaluation.primary].title
    tiles = [
        tile(label, number(primary["value"]), interval(primary["low"], primary["high"]) or primary.get("reason")),
        tile("Trivial predictor", number(baseline.get("value")), baseline.get("predictor")),
    ]
    compared = gate.comparison.get("metrics", {})
    if isinstance(compared, dict) and evaluation.primary in compared:
        tiles.append(tile("Champion", number(compared[evaluation.primary]["champion"]), f"version {gate.champion}"))
    else:
        gain = interval(baseline.get("gain_low"), baseline.get("gain_high"))
        tiles.append(tile("Gain over trivial", number(baseline.get("gain")), gain))
    tiles.append(tile("Test rows", number(evaluation.rows), _TASKS[evaluation.task]))
    failed = [entry for entry in gate.checks if entry["passed"] is not True]
    lede = failed or [entry for entry in gate.checks if entry["name"] in {"champion", "beats the trivial predictor"}]
    return h(
        "header",
        h("p", title if version is not None else "model report", class_="eyebrow"),
        h(
            "div",
            h("h1", name),
            h("span", verdict, class_=f"verdict {'yes' if gate.passed else 'no'}"),
            class_="title",
        ),
        *(h("p", entry["message"], class_="lede") for entry in lede[:3]),
        h("dl", *tiles, class_="tiles"),
        class_="top",
    )


_TASKS: Mapping[str, str] = {"binary": "two classes", "multiclass": "several classes", "regression": "a number"}


def tile(label: str, value: str, aside: Any) -> Html:
    """A number with its name and a remark."""
    return h(
        "div",
        h("dt", label),
        h("dd", value, class_="value"),
        h("dd", join([aside or "\u00a0"]), class_="aside"),
        class_="tile",
    )
