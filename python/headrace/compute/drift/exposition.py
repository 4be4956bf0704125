"""A report as Prometheus text: what a scrape, or the textfile collector of the node exporter, reads."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from headrace.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from headrace.compute.drift.report import DriftReport

_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_OURS = frozenset({"by", "column", "part", "segment", "side", "statistic", "verdict", "le", "quantile"})
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})
_PARTS = {
    "effect": ("size", "Estimated change of a column, by part: its values, or its rate of null, NaN or unseen ones."),
    "effect_low": ("low", "Lower confidence bound of headrace_drift_effect."),
    "effect_high": ("high", "Upper confidence bound of headrace_drift_effect."),
    "delta": ("delta", "Size up to which a change does not matter."),
    "detectable": ("detectable", "Change that would be called drift with the stated power, at these numbers of rows."),
}
_VERDICTS = ("drift", "no drift", "not enough data")


def prometheus_text(report: DriftReport, labels: Mapping[str, str] | None = None) -> str:
    """The report in Prometheus's text exposition format 0.0.4: gauges, each with HELP and TYPE, no timestamps.

    `headrace_drift_alarm` is 1 for a column that drifted, else 0; `headrace_drift_undecided` is 1 where there are not
    enough data, so that silence is not mistaken for health. `headrace_drift_effect`, its bounds `_low` and `_high`,
    `headrace_drift_delta` and `headrace_drift_detectable` have a label `part`; `headrace_drift_rows` and
    `headrace_drift_missing_ratio` a label `side` (`reference`, `live`). Where the report has segments, their
    `headrace_drift_segment_alarm`, `_undecided`, `_effect`, `_effect_low` and `_rows` have labels `by` (the column) and
    `segment` (its value).

    Parameters
    ----------
    report
        What was found.
    labels
        More labels for every sample. Those of `report.about` (`model`, `version`) are there already.

    Raises
    ------
    DataError
        A label has a name that Prometheus does not allow, or that is used here.

    """
    common = {key: str(value) for key, value in report.about.items() if key in ("model", "version")}
    common |= dict(labels or {})
    for name in common:
        if not _LABEL.fullmatch(name) or name.startswith("__") or name in _OURS:
            raise DataError(
                "this is no name for a label",
                place=f"label {name!r}",
                hint=f"Letters, digits and _, not one of {', '.join(sorted(_OURS))}.",
            )
    lines: list[str] = []
    for name, about, samples in _families(report):
        lines += [f"# HELP headrace_drift_{name} {about}", f"# TYPE headrace_drift_{name} gauge"]
        lines += [f"headrace_drift_{name}{_labels(common | own)} {_number(value)}" for own, value in samples]
    return "\n".join(lines) + "\n"


def _families(report: DriftReport) -> Iterator[tuple[str, str, list[tuple[dict[str, str], float]]]]:
    columns = report.columns
    yield (
        "alarm",
        "1 if the column drifted, else 0.",
        [({"column": c.name}, float(c.verdict == "drift")) for c in columns],
    )
    yield (
        "undecided",
        "1 if there are not enough data to say whether the column drifted, else 0.",
        [({"column": c.name}, float(c.verdict == "not enough data")) for c in columns],
    )
    counts = [({"verdict": v}, float(sum(c.verdict == v for c in columns))) for v in _VERDICTS]
    yield "columns", "Number of columns by verdict.", counts
    for name, (attribute, about) in _PARTS.items():
        values = [
            ({"column": c.name, "part": part.name}, getattr(part, attribute))
            for c in columns
            for part in c.parts.values()
        ]
        yield name, about, values
    statistics = [
        ({"column": c.name, "statistic": s.name}, s.statistic) for c in columns for s in c.statistics.values()
    ]
    yield "statistic", "Value of a statistic that compares live rows with the reference.", statistics
    rows = [({"column": c.name, "side": side}, n) for c in columns for side, n in zip(_SIDES, c.rows, strict=True)]
    yield "rows", "Rows that were compared (effective number where rows have weights).", rows
    missing = [
        ({"column": c.name, "side": side}, 1 - values / rows if rows else math.nan)
        for c in columns
        for side, rows, values in zip(_SIDES, c.rows, c.values, strict=True)
    ]
    yield "missing_ratio", "Share of the rows that have no value.", missing
    if report.segments:
        yield from _segments(report)


def _segments(report: DriftReport) -> Iterator[tuple[str, str, list[tuple[dict[str, str], float]]]]:
    inside = [
        ({"by": one.by, "segment": one.segment, "column": c.name}, c) for one in report.segments for c in one.report
    ]
    yield (
        "segment_alarm",
        "1 if the column drifted within the segment, else 0.",
        [(labels, float(c.verdict == "drift")) for labels, c in inside],
    )
    yield (
        "segment_undecided",
        "1 if there are not enough data to say whether the column drifted within the segment, else 0.",
        [(labels, float(c.verdict == "not enough data")) for labels, c in inside],
    )
    for name, attribute, about in (
        ("segment_effect", "size", "Estimated change of a column within a segment, by part."),
        ("segment_effect_low", "low", "Lower confidence bound of headrace_drift_segment_effect."),
    ):
        parts = [
            (labels | {"part": part.name}, getattr(part, attribute))
            for labels, c in inside
            for part in c.parts.values()
        ]
        yield name, about, parts
    rows = [
        ({"by": one.by, "segment": one.segment, "side": side}, float(n))
        for one in report.segments
        for side, n in zip(_SIDES, one.rows, strict=True)
    ]
    yield "segment_rows", "Rows of the segment that were compared.", rows


_SIDES = ("reference", "live")


def _labels(labels: Mapping[str, str]) -> str:
    return "{" + ",".join(f'{name}="{_value(value)}"' for name, value in labels.items()) + "}"


def _value(text: str) -> str:
    # A lone surrogate has no UTF-8.
    return text.encode("utf-8", "backslashreplace").decode().translate(_ESCAPES)


def _number(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return repr(float(value))
