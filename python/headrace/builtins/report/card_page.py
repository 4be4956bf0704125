"""The card of a model version as Markdown and as a page: the same parts in the same order."""

from __future__ import annotations

import datetime as dt
import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headrace.builtins.report.markup import h, number
from headrace.builtins.report.page import document, tile
from headrace.builtins.report.sections import listing, section
from headrace.errors import printable

MISSING = "not recorded"
# Between letters `_` means nothing, and what only counts at the beginning of a line never stands there.
_MARKUP = re.compile(r"([\\`*\[\]|~$]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9]))")
MOST_ROWS = 60


@dataclass(frozen=True)
class Table:
    """Rows of texts under headings."""

    heads: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    title: str = ""


@dataclass(frozen=True)
class Part:
    """A part of the card: facts, then tables. One without any was not recorded."""

    name: str
    title: str
    facts: list[tuple[str, str]]
    tables: list[Table]


def parts_of(card: Mapping[str, Any]) -> list[Part]:
    """The parts of a card that `headrace models card --json` gives."""
    return [
        Part("version", "Version", _version(card), []),
        _data(card["data"]),
        _metrics(card["metrics"]),
        _live(card["live"], card["metrics"]),
        _features(card["features"]),
        _profile(card["profile"]),
        _gate(card["gate"]),
        _decision(card["decision"]),
        _approvals(card["approvals"]),
        _lineage(card["lineage"]),
        _environment(card["environment"]),
        Part("files", "Files of the package", [], [_files(card["files"])]),
    ]


def markdown(card: Mapping[str, Any]) -> str:
    """The card as Markdown. What comes from data is escaped, so that it shows as it is."""
    lines = [f"# {md(card['name'])}, version {card['number']}", ""]
    for part in parts_of(card):
        lines += [f"## {part.title}", ""]
        if not part.facts and not any(table.rows for table in part.tables):
            lines += [MISSING, ""]
        lines += [f"- {md(key)}: {md(value)}" for key, value in part.facts]
        lines += [""] if part.facts else []
        for table in part.tables:
            if table.rows:
                lines += [f"### {md(table.title)}", ""] if table.title else []
                lines += ["| " + " | ".join(table.heads) + " |", "|" + "---|" * len(table.heads)]
                lines += ["| " + " | ".join(md(cell) for cell in row) + " |" for row in table.rows[:MOST_ROWS]]
                lines += [*_more(table), ""]
    return "\n".join(lines)


def md(value: str) -> str:
    """Text that Markdown and HTML leave as it is, on one line."""
    return html.escape(_MARKUP.sub(r"\\\1", " ".join(printable(value).splitlines())), quote=False)


def _more(table: Table) -> list[str]:
    left = len(table.rows) - MOST_ROWS
    return ["", f"and {left:,} more: --json has them all"] if left > 0 else []


def card_page(card: Mapping[str, Any]) -> str:
    """The card as a page that loads nothing."""
    body = []
    for part in parts_of(card):
        content: list[object] = []
        if part.facts:
            rows = [h("tr", h("th", key, scope="row"), h("td", value)) for key, value in part.facts]
            content.append(h("div", h("table", h("tbody", *rows)), class_="wide"))
        for table in part.tables:
            if table.rows:
                cells = [h("tr", *(h("td", cell) for cell in row)) for row in table.rows[:MOST_ROWS]]
                content.append(listing([(head, False) for head in table.heads], cells, table.title or None))
                content += [h("p", line) for line in _more(table) if line]
        body.append(section(part.name, part.title, None, h("div", *(content or [h("p", MISSING)]), class_="card")))
    measured = card["metrics"] or {}
    primary = measured.get("primary")
    value = (measured.get("metrics") or {}).get(primary, {}).get("value") if primary else None
    gate = card["gate"] or {}
    passed = _passed(gate.get("passed"))
    data = ((card["data"] or {}).get("datasets") or {}).get("train") or {}
    tiles = [
        tile(str(primary or "Metric"), number(value), f"on {number(measured.get('rows'))} rows"),
        tile("Gate", passed, None),
        tile("Trained on", number(data.get("rows")), "rows"),
    ]
    title = f"{card['name']}, version {card['number']}"
    top = h(
        "header",
        h("p", "model card", class_="eyebrow"),
        h("div", h("h1", title), class_="title"),
        h("p", ", ".join(card["aliases"]) or "no alias", class_="lede"),
        h("dl", *tiles, class_="tiles"),
        class_="top",
    )
    return document(title, top, body, plots=True)


# --- the parts --------------------------------------------------------------------------------------------------------


def _version(card: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [
        ("package", card["package"]),
        ("model", _said(card["model_digest"])),
        ("aliases", ", ".join(card["aliases"]) or "none"),
        ("registered", _when(card["created"])),
        ("by", _said(card["registered_by"])),
        ("task", _said(card["task"])),
        ("target", _said(card["target"])),
    ]


def _data(data: Mapping[str, Any] | None) -> Part:
    if data is None:
        return Part("data", "Data", [], [])
    sets = [
        (name, _count(one["rows"]), _count(one["columns"]), _said(one["first"]), _said(one["last"]), one["digest"])
        for name, one in data["datasets"].items()
    ]
    sources = [(one["path"], one["sha256"], one["stage"]) for one in data["sources"]]
    tables = [
        Table(("Source", "SHA-256", "Read by"), sources, "Sources"),
        Table(("Rows of", "Rows", "Columns", "From", "To", "Digest"), sets, "Datasets"),
    ]
    return Part("data", "Data", [("time column", _said(data["time_column"]))], tables)


def _metrics(measured: Mapping[str, Any] | None) -> Part:
    if not measured:
        return Part("metrics", "Metrics", [], [])
    facts = [
        ("decides", _said(measured.get("primary"))),
        ("test rows", _count(measured.get("rows"))),
        ("intervals", _level(measured.get("level"))),
    ]
    baseline = measured.get("baseline") or {}
    rows = [
        (name, _number(one.get("value")), _ends(one), _number(baseline.get(name, {}).get("value")))
        for name, one in (measured.get("metrics") or {}).items()
    ]
    primary = measured.get("primary")
    slices = []
    for part in measured.get("slices") or []:
        one = part["metrics"].get(primary, {})
        where = f"{part['column']}: {part['value']}"
        slices.append((where, _count(part["rows"]), _number(one.get("value")), _ends(one)))
    tables = [
        Table(("Metric", "Value", "Interval", "Trivial predictor"), rows),
        Table(("Slice", "Rows", str(primary), "Interval"), slices, "By slice, worst first"),
    ]
    return Part("metrics", "Metrics on the test rows", facts, tables)


def _live(periods: Sequence[Mapping[str, Any]] | None, measured: Mapping[str, Any] | None) -> Part:
    name = (measured or {}).get("primary")
    rows = []
    for one in periods or ():
        part = "all" if one["slice"] is None else f"{one['slice']['column']}: {one['slice']['value']}"
        value = _number(one["metrics"].get(name))
        rows.append((one["start"][:10], part, _count(one["rows"]), _count(one["labelled"]), value))
    heads = ("Month", "Rows of", "Rows", "Labelled", str(name))
    return Part("live", "Metrics on live rows", [], [Table(heads, rows)])


def _features(found: Mapping[str, Any] | None) -> Part:
    if found is None:
        return Part("features", "Features", [], [])
    facts = [("inputs", _count(len(found["inputs"]))), ("features", _count(len(found["outputs"])))]
    if found["classes"]:
        facts.append(("classes", ", ".join(map(str, found["classes"]))))
    python = [(one["use"], f"{one['distribution']} {one['version']}") for one in found["python"]]
    inputs = [(one["name"], one["type"], "yes" if one.get("nullable") else "no") for one in found["inputs"]]
    tables = [Table(("Input", "Type", "Nulls"), inputs), Table(("Python columns", "From"), python)]
    return Part("features", "Features", facts, tables)


def _profile(found: Mapping[str, Any] | None) -> Part:
    if found is None:
        return Part("profile", "Reference profile", [], [])
    facts = [("rows", _count(found["rows"])), ("fingerprint", found["fingerprint"])]
    rows = [(name, str(kind)) for name, kind in found["columns"].items()]
    return Part("profile", "Reference profile", facts, [Table(("Column", "Read as"), rows)])


def _gate(found: Mapping[str, Any] | None) -> Part:
    if found is None:
        return Part("gate", "Gate", [], [])
    passed = _passed(found["passed"])
    against = (
        MISSING if found["passed"] is None else "no champion" if found["champion"] is None else str(found["champion"])
    )
    facts = [("decision", passed), ("compared with version", against), ("report", found["digest"])]
    words = {True: "yes", False: "no"}
    rows = [
        (str(c.get("name")), words.get(c.get("passed"), "undecided"), str(c.get("message", "")))
        for c in found["checks"] or ()
    ]
    return Part("gate", "Gate", facts, [Table(("Check", "Passed", "Evidence"), rows)])


def _decision(found: Mapping[str, Any] | None) -> Part:
    if found is None:
        return Part("decision", "Why the loop made it", [], [])
    facts = [("cycle", str(found["cycle"])), ("rows", _count(found["rows"]))]
    reasons = [(str(one["trigger"]), str(one["why"])) for one in found["reasons"] or ()]
    steps = [(str(one["seq"]), _when(one["at"]), one["kind"], one["why"]) for one in found["steps"]]
    tables = [Table(("Trigger", "Why"), reasons), Table(("Entry", "When", "What", "Why"), steps, "What became of it")]
    return Part("decision", "Why the loop made it", facts, tables)


def _approvals(found: Sequence[Mapping[str, Any]]) -> Part:
    rows = [(_when(one["at"]), one["what"], one["who"], one["why"], _said(one["gate"])) for one in found]
    heads = ("When", "What", "Who", "Why", "Gate report")
    return Part("approvals", "Approvals and promotions", [], [Table(heads, rows)])


def _lineage(found: Mapping[str, Any] | None) -> Part:
    if found is None:
        return Part("lineage", "Lineage", [], [])
    facts = [("run", found["run"]), ("started by", found["trigger"]), ("started", _when(found["started"]))]
    rows = []
    for one in found["stages"]:
        went, came = (", ".join(f"{n} {d[:12]}" for n, d in one[side].items()) for side in ("inputs", "outputs"))
        rows.append((one["stage"], f"{one['kind']}:{one['use']}", one["outcome"], went, came))
    return Part("lineage", "Lineage", facts, [Table(("Stage", "Use", "Outcome", "Inputs", "Outputs"), rows)])


def _environment(found: Mapping[str, Any] | None) -> Part:
    if found is None:
        return Part("environment", "Environment", [], [])
    facts = [(key, _said(found[key])) for key in ("python", "platform", "machine", "cpus", "who", "seed")]
    commit = (found["git"] or {}).get("commit") if isinstance(found["git"], Mapping) else None
    facts.append(("commit", _said(commit)))
    rows = sorted((name, str(version)) for name, version in found["distributions"].items())
    return Part("environment", "Environment", facts, [Table(("Distribution", "Version"), rows)])


def _files(files: Mapping[str, Any]) -> Table:
    return Table(("File", "Bytes", "SHA-256"), [(n, _count(f["size"]), f["sha256"]) for n, f in files.items()])


def _passed(value: object) -> str:
    return "passed" if value is True else "did not pass" if value is False else MISSING


def _said(value: object) -> str:
    return MISSING if value is None or value == "" else str(value)


def _count(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else MISSING


def _number(value: object) -> str:
    return number(value) if isinstance(value, int | float) else MISSING


def _level(value: object) -> str:
    return f"{100 * value:g} % of bootstrap resamples" if isinstance(value, int | float) else MISSING


def _ends(one: Mapping[str, Any]) -> str:
    low, high = one.get("low"), one.get("high")
    return "" if low is None or high is None else f"{number(low)} to {number(high)}"


def _when(at: object) -> str:
    if not isinstance(at, int | float):
        return MISSING
    return f"{dt.datetime.fromtimestamp(at, dt.UTC):%Y-%m-%d %H:%M:%S} UTC"
