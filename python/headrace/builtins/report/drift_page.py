"""The page of a drift report: what changed, since when, and how it looks."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from headrace.builtins.report.distributions import Bin, bars
from headrace.builtins.report.markup import DASH, Html, h, join, number
from headrace.builtins.report.page import document, tile
from headrace.builtins.report.sections import listing, section

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import polars as pl

    from headrace import DriftReport, drift

MOST_DRAWN = 24
_MARKS = {"drift": "no", "no drift": "yes", "not enough data": "unsure"}
_PARTS = {"values": "values", "null": "missing", "nan": "NaN", "unseen": "unseen"}


def drift_page(
    report: DriftReport,
    *,
    reference: str,
    live: str,
    rows: tuple[int, int],
    counts: pl.DataFrame,
    kinds: Mapping[str, str],
    periods: Sequence[tuple[str, int, DriftReport]],
    plots: bool,
) -> str:
    """The whole document.

    `rows`: of the reference and live. `counts`: of every column, as `Profile.counts` gives them. `kinds`: what each
    column is read as. `periods`: start, rows and report of each, in order.
    """
    body = [
        _columns(report),
        _over_time(report, periods, plots=plots),
        _by_segment(report.segments),
        _distributions(report, counts, kinds, plots=plots),
        _how(report, reference, live),
    ]
    return document(f"Drift of {live}", _top(report, reference, live, rows), body, plots=plots)


def _top(report: DriftReport, reference: str, live: str, rows: tuple[int, int]) -> Html:
    drifted, undecided = len(report.drifted), len(report.undecided)
    verdict = "No drift" if not drifted else f"{drifted} column{'s' if drifted > 1 else ''} drifted"
    mark = "no" if drifted else "unsure" if undecided else "yes"
    if drifted:
        names = ", ".join(report.drifted[:4]) + (f" and {drifted - 4} more" if drifted > 4 else "")
        lede = f"Surely changed by more than what is tolerated: {names}."
    elif undecided:
        lede = f"No column surely changed by more than what is tolerated; {undecided} cannot be judged on these rows."
    else:
        lede = "No column changed by more than what is tolerated."
    seen = [column.effect.detectable for column in report if column.effect.name == "values"]
    worst = max((value for value in seen if value == value and value != float("inf")), default=None)  # noqa: PLR0124  # NaN
    tiles = [
        tile("Columns drifted", number(drifted), f"of {len(report)}"),
        tile("Not enough data", number(undecided), "columns"),
        tile("Live rows", number(rows[1]), f"beside {number(rows[0])} of the reference"),
        tile("Visible from", number(worst, 2), "size of a change of values, in every column that could be judged"),
    ]
    return h(
        "header",
        h("p", "drift report", class_="eyebrow"),
        h("div", h("h1", live), h("span", verdict, class_=f"verdict {mark}"), class_="title"),
        h("p", "against ", h("strong", reference), class_="lede"),
        h("p", lede, class_="lede"),
        h("dl", *tiles, class_="tiles"),
        class_="top",
    )


def _columns(report: DriftReport) -> Html:
    weighted = any(column.importance != 1 for column in report)
    heads = [("Column", False), ("Verdict", False), ("What changed", False), ("By", True), ("Tolerated", True)]
    heads += [("Visible from", True), ("p adjusted", True), ("Rows", True)]
    heads += [("Importance", True)] if weighted else []
    rows = []
    for column in report:
        part = column.effect
        cells = [
            h("th", column.name, scope="row", class_="names"),
            h("td", h("span", column.verdict, class_=f"mark {_MARKS[column.verdict]}")),
            h("td", _PARTS.get(part.name, part.name)),
            _sized(part.size, part.low, part.high),
            h("td", _finite(part.delta), class_="num"),
            h("td", _finite(part.detectable), class_="num"),
            h("td", _small(column.pvalue_adjusted), class_="num"),
            h("td", _count(column.rows[1]), h("span", _count(column.rows[0]), class_="aside"), class_="num"),
        ]
        cells += [h("td", number(column.importance, 2), class_="num")] if weighted else []
        rows.append(h("tr", *cells))
    by = "size of the change times importance to the model" if weighted else "size of the change"
    intro = (
        f"Those that drifted first, each by {by}. Below a size: its bounds, each right with 95 % confidence, with what "
        "the bins hide inside. “Visible from” is the change that these rows would show four times in five; green "
        "means no more than that. Below the live rows: those of the reference."
    )
    return section("columns", "Columns", intro, h("div", listing(heads, rows), class_="card"))


def _over_time(report: DriftReport, periods: Sequence[tuple[str, int, DriftReport]], *, plots: bool) -> Html | None:
    if not periods:
        return None
    first = [column.name for column in report]
    worst = {name: max((_size(one[2], name) for one in periods), default=0.0) for name in first}
    order = sorted(first, key=lambda name: (name not in report.drifted, -worst[name]))
    heads = [("Period", False), ("Rows", True), ("Drifted", True), ("Columns", False)]
    rows = [
        h(
            "tr",
            h("th", start, scope="row"),
            h("td", number(count), class_="num"),
            h("td", number(len(found.drifted)), class_="num"),
            h("td", ", ".join(found.drifted_somewhere()) or DASH, class_="names"),
        )
        for start, count, found in periods
    ]
    listed = listing(heads, rows)
    content: Any = listed
    if plots:
        from headrace.builtins.report.drift_charts import MOST_COLUMNS, MOST_PERIODS, over_time

        picture = over_time(periods, order)
        notes = []
        if len(periods) > MOST_PERIODS:
            notes.append(f"The last {MOST_PERIODS} of {len(periods)} periods.")
        if len(order) > MOST_COLUMNS:
            notes.append(f"The first {MOST_COLUMNS} of {len(order)} columns.")
        caption = " ".join(["The stronger the colour, the larger the change from the reference.", *notes])
        figure = h(
            "figure", h("div", h("div", picture, style="min-width:760px"), class_="wide"), h("figcaption", caption)
        )
        content = h("div", figure, h("details", h("summary", f"All {len(periods)} periods"), listed))
    intro = "Each period by itself. A period has fewer rows than all together, so a smaller change does not show in it."
    return section("time", "Over time", intro, h("div", content, class_="card"))


def _by_segment(segments: Sequence[drift.SegmentDrift]) -> Html | None:
    if not segments:
        return None
    heads = [("Segment", False), ("Rows", True), ("Drifted", True), ("Not enough data", True), ("Columns", False)]
    rows = [
        h(
            "tr",
            h("th", one.segment, scope="row"),
            h("td", number(one.rows[1]), h("span", number(one.rows[0]), class_="aside"), class_="num"),
            h("td", number(len(one.report.drifted)), class_="num"),
            h("td", number(len(one.report.undecided)), class_="num"),
            h("td", ", ".join(one.report.drifted) or DASH, class_="names"),
        )
        for one in segments
    ]
    intro = (
        f"The rows of each value of {segments[0].by} by themselves, with one share of false alarms over all of them. "
        "Below the live rows: those of the reference."
    )
    return section("segments", "By segment", intro, h("div", listing(heads, rows), class_="card"))


def _distributions(report: DriftReport, counts: pl.DataFrame, kinds: Mapping[str, str], *, plots: bool) -> Html | None:
    binned: dict[str, list[Bin]] = {}
    for name, *one in counts.select("column", "bin", "low", "high", "category", "reference", "live").iter_rows():
        binned.setdefault(name, []).append(Bin(*one))
    cards = []
    for number_, column in enumerate(report.columns[:MOST_DRAWN]):
        picture = None
        kind = kinds.get(column.name, "number")
        found = bars(binned.get(column.name, []), kind)
        if plots and found is not None:
            from headrace.builtins.report.drift_charts import distributions

            picture = distributions(found, kind, column.name, name=f"d{number_}")
        mark = h("span", column.verdict, class_=f"mark {_MARKS[column.verdict]}")
        cards.append(
            h(
                "div",
                h("h3", column.name, " ", mark, class_="names"),
                picture and h("figure", picture),
                h("details", h("summary", "Statistics"), _statistics(column)),
                class_="card",
            )
        )
    if not cards:
        return None
    rest = len(report) - len(cards)
    intro = "Share of the rows by value, in the order of the table."
    if rest > 0:
        intro += f" The last {rest} columns of the table are not drawn."
    return section("distributions", "Both distributions", intro, h("div", *cards, class_="grid two"))


def _statistics(column: drift.ColumnDrift) -> Html:
    heads = [
        ("Statistic", False),
        ("Value", True),
        ("Bins hide", True),
        ("p", True),
        ("Visible from", True),
        ("n", True),
    ]
    rows = [
        h(
            "tr",
            h("th", one.name.replace("_", " "), scope="row"),
            _sized(one.statistic, one.low, one.high),
            h("td", "± " + number(one.bound, 2) if one.bound else DASH, class_="num"),
            h("td", _small(one.pvalue), class_="num"),
            h("td", _finite(one.detectable), class_="num"),
            h("td", _count(one.m), h("span", _count(one.n), class_="aside"), class_="num"),
        )
        for one in column.statistics.values()
    ]
    parts = [
        h(
            "tr",
            h("th", f"change: {_PARTS.get(part.name, part.name)}", scope="row"),
            _sized(part.size, part.low, part.high),
            h("td", DASH, class_="num"),
            h("td", _small(part.pvalue), class_="num"),
            h("td", _finite(part.detectable), class_="num"),
            h("td", DASH, class_="num"),
        )
        for part in column.parts.values()
    ]
    return listing(heads, [*parts, *rows])


def _how(report: DriftReport, reference: str, live: str) -> Html:
    settings = report.settings
    facts: list[tuple[str, Any]] = [("Reference", reference), ("Live", live)]
    if "model" in report.about:
        facts.append(("Model", f"{report.about['model']}, version {report.about['version']}"))
        facts.append(("Package", h("code", str(report.about.get("package", "")))))
    correction = {"bh": "Benjamini-Hochberg", "by": "Benjamini-Yekutieli"}.get(str(settings.get("correction")), DASH)
    facts += [
        ("Tolerated change", f"{settings.get('delta')} of the values, {settings.get('delta_rate')} of a rate"),
        ("False alarms", f"at most {100 * float(settings.get('alpha', 0)):g} % of the alarms ({correction})"),
    ]
    notes = [
        (
            "Drift: some part of the column changed by more than what is tolerated, beyond chance. No drift: every "
            "part changed by less, beyond chance. Else there are not enough data, which is no all-clear."
        ),
        (
            "Rows are taken to be drawn independently. Where they come in clusters (by day, by customer), changes look "
            "surer than they are."
        ),
        "That inputs changed does not say that the model is worse, and the other way round.",
    ]
    listed = h("ul", *(h("li", note) for note in notes), class_="notes")
    body = h("dl", *(join([h("dt", name), h("dd", value)]) for name, value in facts), class_="facts")
    return section("how", "How it was compared", None, h("div", body, class_="card"), h("div", listed, class_="card"))


def _size(report: DriftReport, name: str) -> float:
    for column in report:
        if column.name == name:
            return 0.0 if math.isnan(column.effect.size) else column.effect.size
    return 0.0


def _sized(value: float, low: float | None, high: float | None) -> Html:
    span = "" if low is None or high is None else f"{_finite(low)} to {_finite(high)}"
    return h("td", _finite(value), span and h("span", span, class_="aside"), class_="num")


def _finite(value: float | None) -> str:
    """Three decimals: sizes are shares, mostly."""
    if value is None or value != value:  # noqa: PLR0124  # NaN
        return DASH
    if value == float("inf"):
        return "never"
    return f"{value:.3f}" if abs(value) < 10 else number(value, 3)


def _small(value: float | None) -> str:
    return number(value, 2) if value is None or value >= 0.001 or value != value else "< 0.001"  # noqa: PLR0124  # NaN


def _count(value: float) -> str:
    return number(int(value)) if float(value).is_integer() else number(value)
