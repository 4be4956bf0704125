"""The page of a loop's timeline: what was decided and why, how the models did over time, what went wrong."""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING, Any

from headrace.builtins.report.figures import INK, MUTED, SERIES, plotting
from headrace.builtins.report.markup import DASH, Html, h, join, number
from headrace.builtins.report.page import document, tile
from headrace.builtins.report.sections import listing, section

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MOST_DRAWN = 6
MOST_EVIDENCE = 20_000
_GOOD = {"promoted": "yes", "rolled back": "no", "problem": "no", "resolved": "yes", "waiting": "unsure"}


def timeline_page(
    project: str,
    model: str,
    *,
    champion: int | None,
    entries: Sequence[Mapping[str, Any]],
    incidents: Sequence[Mapping[str, Any]],
    moves: Sequence[Mapping[str, Any]],
    metric: str | None,
    periods: Sequence[Mapping[str, Any]],
    head: str,
    plots: bool,
) -> str:
    """The whole document.

    `entries`: seq, at (seconds), kind, who, what, body, hash; oldest first. `incidents`: what, said, since, until.
    `moves` of aliases: at, alias, version, previous, who, why. `periods`: version, start (ISO 8601), rows, labelled,
    metrics, slice (None or column and value). `metric`: which of the metrics is shown.
    """
    body = [
        _over_time(metric, periods, entries, plots=plots),
        _by_slice(metric, periods),
        _decisions(entries),
        _incidents(incidents),
        _moves(moves),
        _log(entries, head),
    ]
    top = _top(project, model, champion, entries, incidents)
    return document(f"Timeline of {project}", top, body, plots=plots)


def _top(
    project: str,
    model: str,
    champion: int | None,
    entries: Sequence[Mapping[str, Any]],
    incidents: Sequence[Mapping[str, Any]],
) -> Html:
    kinds = [entry["kind"] for entry in entries]
    open_ = sum(1 for one in incidents if one["until"] is None)
    tiles = [
        tile("Champion", "none" if champion is None else str(champion), f"version of {model}"),
        tile("Runs", number(kinds.count("decided")), "decided by the loop"),
        tile("Promotions", number(kinds.count("promoted")), f"{kinds.count('rolled back')} rolled back"),
        tile("Incidents", number(len(incidents)), f"{open_} open"),
    ]
    verdict = f"{open_} open incident{'s' if open_ > 1 else ''}" if open_ else "No open incident"
    span = f"{_day(entries[0]['at'])} to {_day(entries[-1]['at'])}" if entries else "nothing yet"
    return h(
        "header",
        h("p", "timeline of the loop", class_="eyebrow"),
        h("div", h("h1", project), h("span", verdict, class_=f"verdict {'no' if open_ else 'yes'}"), class_="title"),
        h("p", span, class_="lede"),
        h("dl", *tiles, class_="tiles"),
        class_="top",
    )


def _over_time(
    metric: str | None,
    periods: Sequence[Mapping[str, Any]],
    entries: Sequence[Mapping[str, Any]],
    *,
    plots: bool,
) -> Html | None:
    whole = [one for one in periods if one["slice"] is None and one["metrics"].get(metric) is not None]
    if metric is None or not whole:
        return None
    plot = _drawn(metric, whole, entries) if plots else None
    rows = [_row(one, metric, None) for one in whole]
    table = listing([("Version", False), ("From", False), ("Rows", True), ("Labelled", True), (metric, True)], rows)
    intro = "Of the rows whose label is known by now, each once, by the version that predicted them."
    return section("metric", f"{metric} over time", intro, h("div", plot, table, class_="card"))


def _drawn(metric: str, whole: Sequence[Mapping[str, Any]], entries: Sequence[Mapping[str, Any]]) -> Html:
    versions = sorted({str(one["version"]) for one in whole}, key=_numbered)
    drawn = versions[-MOST_DRAWN:]
    about = f"{metric} of versions {', '.join(drawn)} by the start of the period; lines are promotions and roll backs."
    with plotting("metric-over-time", f"{metric} over time", about, width=9.0, height=3.6) as plot:
        axes = plot.axes
        plot.frame(0.8, 0.5, 0.2, 0.5)
        for version, color in zip(drawn, SERIES, strict=False):
            mine = sorted((one for one in whole if str(one["version"]) == version), key=lambda one: str(one["start"]))
            when = [dt.datetime.fromisoformat(one["start"]) for one in mine]
            values = [one["metrics"][metric] for one in mine]
            axes.plot(when, values, "o-", color=color, markersize=4, label=plot.name(f"version {version}"))  # type: ignore[arg-type]
        first = min(dt.datetime.fromisoformat(one["start"]) for one in whole)
        for entry in entries:
            if entry["kind"] in ("promoted", "rolled back") and _moment(entry["at"]) >= first:
                style = "-" if entry["kind"] == "promoted" else (0, (2, 3))
                axes.axvline(_moment(entry["at"]), color=MUTED, linewidth=0.9, linestyle=style)  # type: ignore[arg-type]
        axes.set_ylabel(plot.name(metric), color=INK)
        axes.tick_params(axis="x", labelrotation=18)
        axes.legend(frameon=False, fontsize=9, ncols=len(drawn), loc="lower left", bbox_to_anchor=(-0.01, 1.0))
    return plot.picture


def _by_slice(metric: str | None, periods: Sequence[Mapping[str, Any]]) -> Html | None:
    parts = [one for one in periods if one["slice"] is not None and one["metrics"].get(metric) is not None]
    if metric is None or not parts:
        return None
    rows = [_row(one, metric, f"{one['slice']['column']}: {one['slice']['value']}") for one in parts]
    heads = [("Slice", False), ("Version", False), ("From", False), ("Rows", True), ("Labelled", True), (metric, True)]
    return section("slices", "By slice", None, h("div", listing(heads, rows), class_="card"))


def _row(one: Mapping[str, Any], metric: str, part: str | None) -> Html:
    cells = [] if part is None else [h("td", part)]
    cells += [h("td", str(one["version"])), h("td", str(one["start"])[:10])]
    figures = (one["rows"], one["labelled"], one["metrics"][metric])
    return h("tr", *cells, *(h("td", number(value), class_="num") for value in figures))


def _decisions(entries: Sequence[Mapping[str, Any]]) -> Html | None:
    if not entries:
        return None
    rows = []
    for entry in entries:
        evidence = json.dumps(entry["body"], indent=2, ensure_ascii=False, default=str)
        if len(evidence) > MOST_EVIDENCE:
            evidence = f"{evidence[:MOST_EVIDENCE]} ... ({len(evidence):,} characters)"
        lines = join([h("span", line, h("br")) for line in evidence.split("\n")])
        details = h("details", h("summary", entry["what"] or entry["kind"]), h("code", lines))
        mark = _GOOD.get(str(entry["kind"]))
        kind = h("strong", entry["kind"]) if mark else entry["kind"]
        cells = (str(entry["seq"]), _time(entry["at"]), kind, entry["who"], details)
        rows.append(h("tr", *(h("td", cell) for cell in cells)))
    heads = [("#", False), ("When, UTC", False), ("What", False), ("Who", False), ("Why, and the evidence", False)]
    return section(
        "decisions",
        "Decisions",
        "Oldest first. Each opens to its evidence.",
        h("div", listing(heads, rows), class_="card"),
    )


def _incidents(incidents: Sequence[Mapping[str, Any]]) -> Html | None:
    if not incidents:
        return None
    rows = []
    for one in incidents:
        until = h("strong", "open") if one["until"] is None else _time(one["until"])
        cells = (_time(one["since"]), until, one["what"], one["said"])
        rows.append(h("tr", *(h("td", cell) for cell in cells)))
    heads = [("Since, UTC", False), ("Until", False), ("What", False), ("What was wrong", False)]
    return section("incidents", "Incidents", None, h("div", listing(heads, rows), class_="card"))


def _moves(moves: Sequence[Mapping[str, Any]]) -> Html | None:
    if not moves:
        return None
    rows = []
    for one in moves:
        before = DASH if one["previous"] is None else str(one["previous"])
        cells = (_time(one["at"]), one["alias"], before, str(one["version"]), one["who"], one["why"])
        rows.append(h("tr", *(h("td", cell) for cell in cells)))
    heads = [(name, False) for name in ("When, UTC", "Alias", "From", "To", "Who", "Why")]
    intro = "Who was champion when, and why: the registry's own history."
    return section("moves", "Promotions", intro, h("div", listing(heads, rows), class_="card"))


def _log(entries: Sequence[Mapping[str, Any]], head: str) -> Html:
    said = h("p", f"{len(entries):,} entries; the head of the chain is ", h("code", head), ".")
    return section("log", "The log", "Checked by headrace audit verify.", h("div", said, class_="card"))


def _numbered(version: str) -> tuple[int, str]:
    return (int(version), "") if version.isdigit() else (0, version)


def _moment(at: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(at, dt.UTC)


def _time(at: float) -> str:
    return f"{_moment(at):%Y-%m-%d %H:%M}"


def _day(at: float) -> str:
    return f"{_moment(at):%Y-%m-%d}"
