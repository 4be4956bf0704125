"""The sections of the page. Every table is there also where a plot shows the same, for those who read tables."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from headrace import Evaluation, GateReport, Model, ModelVersion, SplitReport, ValidationReport, metrics
from headrace.builtins.report.markup import DASH, Html, h, interval, join, number

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from headrace import ArtifactRef

LONGEST = 300


def section(name: str, title: str, intro: str | None, *content: object) -> Html:
    """A part of the page with a heading."""
    return h(
        "section",
        h("h2", title, id=name),
        intro and h("p", intro, class_="intro"),
        *content,
        aria_labelledby=name,
    )


def listing(columns: Sequence[tuple[str, bool]], rows: Iterable[Html], caption: str | None = None) -> Html:
    """A table; a column is its title and whether it holds numbers."""
    head = h("tr", *(h("th", title, scope="col", class_="num" if numeric else None) for title, numeric in columns))
    table = h("table", caption and h("caption", caption), h("thead", head), h("tbody", *rows))
    return h("div", table, class_="wide")


def _figure(picture: Html | None, title: str, caption: str, table: Html | None = None) -> Html | None:
    """A card with a plot, and the table of what it shows to unfold."""
    if picture is None:
        return None
    figure = h("figure", h("h3", title), picture, h("figcaption", caption))
    return h("div", figure, table and h("details", h("summary", "The numbers"), table), class_="card")


def _value(value: Any, low: Any = None, high: Any = None, reason: Any = None) -> Html:
    span, why = interval(low, high), reason if value is None else None
    aside = h("span", span, class_="aside") if span else why and h("span", why, class_="aside why")
    return h("td", number(value), aside, class_="num")


def _signed(value: Any, low: Any, high: Any) -> Html:
    """A gain: coloured only where its whole interval lies on one side of 0."""
    if value is None:
        return h("td", DASH, class_="num")
    sure = None if low is None or high is None else "good" if low > 0 else "bad" if high < 0 else None
    shown = ("+" if value > 0 else "") + number(value)
    aside = interval(low, high)
    return h("td", h("span", shown, class_=sure), aside and h("span", aside, class_="aside"), class_="num")


def checks(gate: GateReport) -> Html:
    """What the gate looked at."""
    items = [
        h(
            "li",
            h(
                "span",
                "passed" if entry["passed"] is True else "failed",
                class_=f"mark {'yes' if entry['passed'] is True else 'no'}",
            ),
            h("span", entry["message"], class_="message"),
        )
        for entry in gate.checks
    ]
    passed = "All checks passed: this model may be the champion."
    failed = "Not all checks passed: this model does not become the champion."
    return section(
        "gate", "Gate", passed if gate.passed else failed, h("div", h("ul", *items, class_="checks"), class_="card")
    )


def metric_table(evaluation: Evaluation, gate: GateReport) -> Html:
    """All metrics, beside the trivial predictor and the champion."""
    compared: Any = gate.comparison.get("metrics") or {}
    columns = [("Metric", False), ("Model", True), ("Trivial predictor", True), ("Gain over it", True)]
    if compared:
        columns += [(f"Champion (v{gate.champion})", True), ("Gain over it", True)]
    names = [m.name for m in metrics.for_task(evaluation.task) if m.name in evaluation.metrics]
    names.sort(key=lambda name: name != evaluation.primary)
    rows = []
    for name in names:
        metric, ours = metrics.METRICS[name], evaluation.metrics[name]
        theirs: Mapping[str, Any] = evaluation.baseline.get(name, {})
        cells = [
            h("th", metric.title, h("span", " ", metric.meaning, class_="aside"), scope="row"),
            _value(ours["value"], ours["low"], ours["high"], ours.get("reason")),
            _value(theirs.get("value"), reason=theirs.get("reason")),
            _signed(theirs.get("gain"), theirs.get("gain_low"), theirs.get("gain_high")),
        ]
        if compared:
            row = compared.get(name, {})
            cells += [_value(row.get("champion")), _signed(row.get("gain"), row.get("low"), row.get("high"))]
        rows.append(h("tr", *cells, class_="main" if name == evaluation.primary else None))
    level = f"{100 * evaluation.level:g} %"
    resampled = evaluation.about.get("resampled", "rows")
    intro = (
        f"On {number(evaluation.rows)} rows that the model has not seen. Below a value: its {level} interval, from "
        f"{number(evaluation.about.get('replicates'))} resamples of the {resampled}. A gain is positive where the "
        "model is better, whichever way the metric runs. The shaded metric decides."
    )
    if compared:
        side = 2 * float(gate.comparison["level"]) - 1  # type: ignore[arg-type]  # a number
        intro += f" Gains over the champion are from the same resamples for both; their interval is {100 * side:.3g} %."
    return section("metrics", "Metrics", intro, h("div", listing(columns, rows), class_="card"))


def quality(evaluation: Evaluation, *, plots: bool) -> Html | None:
    """The curves of a classifier, the errors of a regression."""
    curves, cards = evaluation.curves, []
    if plots:
        from headrace.builtins.report import charts

        cards = [
            _figure(charts.roc(curves), "ROC curve", "The dashed line is guessing."),
            _figure(charts.precision_recall(curves), "Precision and recall", _pr_caption(curves)),
            _figure(
                charts.calibration(curves),
                "Calibration",
                _calibration_caption(curves),
                _calibration_table(curves.get("calibration")),
            ),
            _figure(
                charts.actual(curves), "Predicted and actual", "A sample of rows; on the dashed line both are equal."
            ),
            _figure(
                charts.residual_histogram(curves),
                "Errors",
                "Prediction minus actual value; the rarest 1 % at the ends.",
            ),
            _figure(
                charts.residual_bands(curves),
                "Errors along the prediction",
                "Median and middle 80 % of the errors, by range of the prediction.",
            ),
        ]
    cards.append(_confusion(curves.get("confusion"), evaluation.about.get("threshold")))
    shown = [card for card in cards if card is not None]
    if not shown:
        return None
    return section(
        "quality", "How it predicts", None, h("div", *shown, class_="grid two" if len(shown) % 2 == 0 else "grid")
    )


def _pr_caption(curves: Mapping[str, Any]) -> str:
    series = curves.get("pr") or []
    if len(series) != 1:
        return "One class against the rest."
    share = f"{100 * series[0]['share']:.3g} %"
    return f"The dashed line is the share of the class '{series[0]['class']}' among the rows, {share}."


def _calibration_caption(curves: Mapping[str, Any]) -> str:
    of = (curves.get("calibration") or {}).get("of", "")
    return f"Probability of the {of}, in bins of equally many rows. On the dashed line, claims come true."


def _calibration_table(found: Any) -> Html | None:
    if not found or not found["claimed"]:
        return None
    rows = [
        h("tr", _value(claimed), _value(observed, low, high), h("td", number(count), class_="num"))
        for claimed, observed, low, high, count in zip(
            found["claimed"], found["observed"], found["low"], found["high"], found["rows"], strict=True
        )
    ]
    return listing([("Predicted probability", True), ("Observed frequency", True), ("Rows", True)], rows)


def _confusion(found: Any, threshold: Any) -> Html | None:
    if not found:
        return None
    labels, counts = found["labels"], found["counts"]
    rows = []
    for label, row in zip(labels, counts, strict=True):
        total = sum(row) or 1
        cells = [
            h(
                "td",
                number(n),
                h("span", f" {100 * n / total:.0f} %", class_="aside"),
                style=f"--share:{0.6 * n / total:.3f}",
            )
            for n in row
        ]
        rows.append(h("tr", h("th", label, scope="row"), *cells))
    head = h("tr", h("th", "true \\ predicted", scope="col"), *(h("th", label, scope="col") for label in labels))
    table = h("table", h("thead", head), h("tbody", *rows), class_="matrix")
    at = (
        f" A row is called '{labels[-1]}' from a probability of {number(threshold, 3)} on."
        if threshold is not None
        else ""
    )
    caption = f"Rows by true and predicted class, and their share of the true class.{at}"
    figure = h("figure", h("h3", "Confusion matrix"), h("div", table, class_="wide"), h("figcaption", caption))
    return h("div", figure, class_="card")


def importance(evaluation: Evaluation, *, plots: bool) -> Html | None:
    """What the model needs."""
    if not evaluation.importance:
        return None
    title = metrics.METRICS[evaluation.primary].inline
    ordered = sorted(evaluation.importance.items(), key=lambda item: (-item[1], item[0]))
    rows = [h("tr", h("th", name, scope="row", class_="names"), _value(value)) for name, value in ordered[:200]]
    table = listing([("Column", False), (f"How much worse {title} gets", True)], rows)
    plot = None
    if plots:
        from headrace.builtins.report import charts

        drawn = charts.importance(evaluation.importance, title)
        plot = drawn and h("figure", drawn, style="max-width:760px")
    content = h("details", h("summary", f"All {len(ordered)} columns"), table) if plot else table
    intro = (
        f"By how much {title} gets worse when the values of a column are shuffled among the rows. Columns that know "
        "the same hide each other. This is about the model, not about causes."
    )
    return section("importance", "What it looks at", intro, h("div", plot, content, class_="card"))


def slices(evaluation: Evaluation, *, plots: bool) -> Html | None:
    """Where the model is weak."""
    found: Any = evaluation.slices
    if not found:
        return None
    name = evaluation.primary
    title, better = metrics.METRICS[name].title, metrics.METRICS[name].better
    rows = []
    for part in found:
        values = part["metrics"][name]
        rows.append(
            h(
                "tr",
                h("th", part["column"], scope="row", class_="names"),
                h("td", part["value"], class_="names"),
                h("td", number(part["rows"]), class_="num"),
                _value(values.get("value"), values.get("low"), values.get("high"), values.get("reason")),
                _value(values.get("baseline")),
            )
        )
    columns = [("Column", False), ("Value", False), ("Rows", True), (title, True), ("Trivial predictor", True)]
    plot = None
    if plots:
        from headrace.builtins.report import charts

        drawn = charts.slices(found, name, title, evaluation.metrics[name].get("value"))  # type: ignore[arg-type]
        plot = drawn and h("div", h("figure", drawn, style="min-width:640px"), class_="wide")
    table = listing(columns, rows)
    content = h("details", h("summary", f"All {len(found)} slices"), table) if plot else table
    words = {"higher": "lower is worse", "lower": "higher is worse", "zero": "further from 0 is worse"}[better]
    intro = (
        f"{title} in parts of the test rows, worst first ({words}). A slice is weak where the model is hardly better "
        f"than the trivial predictor there. Among {len(found)} slices, a few look bad by chance."
    )
    return section("slices", "Where it is weak", intro, h("div", plot, content, class_="card"))


def data(validation: ValidationReport | None, split: SplitReport | None) -> Html | None:
    """What the checks of the data found."""
    cards = []
    if validation is not None:
        held = validation.expectations - len(validation.findings)
        intro = f"{held} of {validation.expectations} expectations held on {number(validation.rows)} rows."
        if validation.quarantined_rows:
            intro += f" {number(validation.quarantined_rows)} rows were put into quarantine."
        cards.append(h("div", h("h3", "Expectations"), h("p", intro), _findings(validation.findings), class_="card"))
    if split is not None:
        order = {name: at for at, name in enumerate(("train", "valid", "test"))}
        counts = sorted(split.rows.items(), key=lambda item: order.get(item[0], len(order)))
        parts = ", ".join(f"{name.replace('_', ' ')} {number(count)}" for name, count in counts if count)
        clean = None if split.findings else h("p", "No leakage was found.", class_="aside")
        rows = h("p", f"{split.method[:1].upper()}{split.method[1:]}. Rows: {parts}.")
        cards.append(h("div", h("h3", "Split"), rows, clean, _findings(split.findings), class_="card"))
    return section("data", "Data", None, *cards) if cards else None


def _findings(findings: Sequence[Mapping[str, Any]]) -> Html | None:
    if not findings:
        return None
    rows = [
        h(
            "tr",
            h("td", found.get("policy") or DASH),
            h("td", found.get("column") or DASH, class_="names"),
            h("td", found.get("message") or found.get("expectation") or DASH, class_="names"),
            h("td", number(found.get("failed_rows")), class_="num"),
        )
        for found in findings
    ]
    table = listing([("Policy", False), ("Column", False), ("Finding", False), ("Rows", True)], rows)
    return h("div", table, style="margin-top:12px")


def about_model(model: Model) -> Html:
    """What the model is."""
    facts = [
        ("Predicts", h("span", model.target, class_="names")),
        ("Classes", _short(", ".join(_label(label) for label in model.classes)) if model.classes else None),
        ("Features", number(len(model.features))),
        ("ONNX", f"{number(len(model.onnx))} bytes"),
        ("Parity", _parity(model.parity)),
    ]
    details = [
        h("details", h("summary", summary), _facts(_written(values)))
        for summary, values in (("How it was trained", model.info), ("How parity was checked", model.parity))
        if values
    ]
    return section("model", "Model", None, h("div", _facts(facts), *details, class_="card"))


def _parity(record: Mapping[str, Any]) -> str | None:
    """How near the ONNX model is to the native one, as the trainers of headrace record it."""
    largest, rows = record.get("max_abs_output"), record.get("rows")
    if not isinstance(largest, int | float) or not isinstance(rows, int):
        return None
    return f"ONNX and native model differ by {number(largest, 2)} at most, on {number(rows)} rows"


def _written(values: Mapping[str, Any]) -> Iterable[tuple[str, Html]]:
    """Names and values; those of a mapping inside follow it, one by one."""
    for key, value in sorted(values.items()):
        if isinstance(value, Mapping):
            yield from ((f"{key}: {name}", h("code", _short(inner))) for name, inner in sorted(value.items()))
        else:
            yield key.replace("_", " "), h("code", _short(value))


def provenance(
    evaluation: Evaluation, gate: GateReport, version: ModelVersion | None, inputs: Mapping[str, ArtifactRef]
) -> Html:
    """What this page was made from."""
    facts: list[tuple[str, Any]] = []
    if version is not None:
        facts += [
            ("Registered as", f"{version.name}, version {version.number}"),
            ("Package", h("code", version.package)),
        ]
    if gate.champion is not None:
        facts.append(("Compared with", f"version {gate.champion}"))
        facts.append(("Its package", h("code", str(gate.comparison.get("package", "")))))
    facts += [(f"Input: {name}", h("code", ref.digest)) for name, ref in sorted(inputs.items())]
    notes: Any = evaluation.about.get("notes") or []
    listed = h("div", h("h3", "Notes"), h("ul", *(h("li", note) for note in notes), class_="notes"), class_="card")
    intro = h(
        "p",
        "Digests are SHA-256. ",
        h("code", "headrace lineage DIGEST"),
        " shows what each was made from, and what came of it.",
        class_="intro",
    )
    card = h("div", _facts(facts), class_="card")
    return section("provenance", "Provenance", None, intro, card, listed if notes else None)


def _facts(facts: Iterable[tuple[str, Any]]) -> Html:
    return h(
        "dl", *(join([h("dt", name), h("dd", value)]) for name, value in facts if value is not None), class_="facts"
    )


def _label(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _short(value: Any) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return number(value)
    shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)
    return shown if len(shown) <= LONGEST else shown[: LONGEST - 1] + "…"
