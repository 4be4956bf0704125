"""What a comparison says: frozen values, as JSON, and as a page in a notebook."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from headrace.types import JSON, ArtifactReader, ArtifactWriter

Verdict = Literal["drift", "no drift", "not enough data"]


@dataclass(frozen=True, slots=True)
class Statistic:
    """One statistic of two samples.

    Attributes
    ----------
    name
        Such as `"ks"` or `"psi"`.
    statistic
        Its value. NaN where a side has no values.
    pvalue
        Probability of a value at least as large if both samples came from one distribution; None if none is computed.
    low, high
        One-sided confidence bounds of the true value, at the level that was asked for (95 %) each; None if none are.
    bound
        So much may binning hide: with every value known the statistic would lie within `statistic` ± `bound`. 0 for raw
        samples.
    detectable
        The size that these numbers of rows show with the stated power (80 %) at the stated level (5 %); None if
        unknown, infinite if no size would do.
    n, m
        Values of the reference and live; effective numbers if rows have weights.
    method
        How the p-value came about.
    """

    name: str
    statistic: float
    pvalue: float | None
    low: float | None
    high: float | None
    bound: float
    detectable: float | None
    n: float
    m: float
    method: str


@dataclass(frozen=True, slots=True)
class DriftPart:
    """One thing that can have changed about a column: its `values`, or the rate of `null`, `nan` or `unseen` ones.

    `size` is the estimated change, `low` and `high` its one-sided confidence bounds, what bins hide included; `delta`
    is the size up to which a change does not matter, `pvalue` that of "it is at most delta", and `detectable` the
    change that would be called drift with the stated power.
    """

    name: str
    size: float
    low: float
    high: float
    delta: float
    pvalue: float
    detectable: float


@dataclass(frozen=True, slots=True)
class ColumnDrift:
    """What is said about one column.

    Attributes
    ----------
    name, kind
        The column, and whether it is `"ordered"`, `"nominal"` or `"embedding"`.
    verdict
        `"drift"`: some part changed by more than its delta, at a false discovery rate of alpha over all columns.
        `"no drift"`: every part changed by less than its delta, with confidence 1 - alpha. Else `"not enough data"`.
    effect
        The part that the verdict rests on: the clearest one, or else the largest.
    pvalue
        Of "nothing changed"; with many rows something always has, so no verdict is taken from it.
    pvalue_delta, pvalue_adjusted
        Of "nothing changed by more than delta", alone and among all columns.
    importance, rank
        The weight that was given, and the place by verdict, then size times importance; 1 is first.
    rows, values
        Rows of the reference and live, and those with a value.
    statistics, parts
        By name.
    """

    name: str
    kind: str
    verdict: Verdict
    effect: DriftPart
    pvalue: float
    pvalue_delta: float
    pvalue_adjusted: float
    importance: float
    rank: int
    rows: tuple[float, float]
    values: tuple[float, float]
    statistics: dict[str, Statistic]
    parts: dict[str, DriftPart]


@dataclass(frozen=True, slots=True)
class DriftReport:
    """All columns, first those that drifted, each by size times importance.

    `settings` holds what was asked: `delta`, `delta_rate`, `alpha`, `power`, `draws` and `correction`. `about` is
    whatever the one who asked adds, such as which `model` and `version` the reference is of. `segments` are reports
    about the rows of each value of a column by themselves, where the reference has such and they were asked for.
    """

    type_name: ClassVar[str] = "drift-report"
    columns: tuple[ColumnDrift, ...]
    settings: dict[str, Any]
    about: Mapping[str, JSON] = field(default_factory=dict)
    segments: tuple[SegmentDrift, ...] = ()

    @property
    def drifted(self) -> tuple[str, ...]:
        """Names of the columns whose verdict is drift, in the order of their rank."""
        return tuple(column.name for column in self.columns if column.verdict == "drift")

    @property
    def undecided(self) -> tuple[str, ...]:
        """Names of the columns for which there are not enough data."""
        return tuple(column.name for column in self.columns if column.verdict == "not enough data")

    @property
    def drifted_segments(self) -> tuple[str, ...]:
        """The segments in which some column drifted, the most frequent first."""
        return tuple(one.segment for one in self.segments if one.report.drifted)

    def drifted_somewhere(self) -> dict[str, ColumnDrift]:
        """The columns that drifted, of all rows by name, then within segments as `x where shop is south`."""
        found = {column.name: column for column in self.columns if column.verdict == "drift"}
        for one in self.segments:
            inside = (column for column in one.report if column.verdict == "drift")
            found |= {f"{column.name} where {one.by} is {one.segment}": column for column in inside}
        return found

    def __getitem__(self, name: str) -> ColumnDrift:
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)

    def __iter__(self) -> Iterator[ColumnDrift]:
        return iter(self.columns)

    def __len__(self) -> int:
        return len(self.columns)

    def to_dict(self) -> dict[str, JSON]:
        """Plain values; what is not a number, or infinite, is None."""
        columns = [asdict(column) for column in self.columns]
        plain: dict[str, JSON] = _plain({"about": self.about, "settings": self.settings, "columns": columns})
        segments: list[JSON] = [
            {
                "by": one.by,
                "segment": one.segment,
                "rows": {"reference": one.rows[0], "live": one.rows[1]},
                "drifted": list(one.report.drifted),
                "undecided": list(one.report.undecided),
                "columns": one.report.to_dict()["columns"],
            }
            for one in self.segments
        ]
        return plain | {"segments": segments}

    def save(self, to: ArtifactWriter) -> None:
        """Keep it, as an artifact: every number comes back as it was."""
        segments = [
            {"by": one.by, "segment": one.segment, "rows": one.rows, "columns": _listed(one.report)}
            for one in self.segments
        ]
        kept = {"about": self.about, "settings": self.settings, "columns": _listed(self)}
        to.json("report", _named(kept | {"segments": segments}))

    @classmethod
    def load(cls, source: ArtifactReader) -> DriftReport:
        """What `save` kept."""
        kept = _numbers(source.json("report"))
        settings, about = kept["settings"], kept["about"]
        segments = [
            SegmentDrift(one["by"], one["segment"], tuple(one["rows"]), cls(_columns(one), settings, about))
            for one in kept.get("segments", ())  # reports that were kept before there were any have none
        ]
        return cls(_columns(kept), settings, about, tuple(segments))

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), ensure_ascii=False, allow_nan=False)

    def __str__(self) -> str:
        width = max((len(column.name) for column in self.columns), default=6)
        head = (
            f"{'column':<{width}}  {'verdict':<15}  {'what':<7}  {'size':>6}  {'at least':>8}  {'delta':>6}  "
            f"{'p adj.':>7}"
        )
        lines = [
            f"{c.name:<{width}}  {c.verdict:<15}  {c.effect.name:<7}  {_short(c.effect.size):>6}  "
            f"{_short(c.effect.low):>8}  {_short(c.effect.delta):>6}  {_small(c.pvalue_adjusted):>7}"
            for c in self.columns
        ]
        return "\n".join([head, *lines])

    def _repr_html_(self) -> str:
        from html import escape

        heads = (
            "column",
            "verdict",
            "what changed",
            "size",
            "at least",
            "at most",
            "delta",
            "visible from",
            "p adjusted",
        )
        colours = {"drift": "#b3261e", "no drift": "#1b6e3c", "not enough data": "#6b6b6b"}
        rows = []
        for column in self.columns:
            part = column.effect
            cells = [
                escape(column.name),
                f'<b style="color:{colours[column.verdict]}">{column.verdict}</b>',
                escape(part.name),
                *(_short(v) for v in (part.size, part.low, part.high, part.delta, part.detectable)),
                _small(column.pvalue_adjusted),
            ]
            rows.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
        header = "".join(f"<th>{head}</th>" for head in heads)
        caption = f"{len(self.drifted)} of {len(self.columns)} columns drifted"
        body = "".join(rows)
        return f"<table><caption>{caption}</caption><thead><tr>{header}</tr></thead><tbody>{body}</tbody></table>"


@dataclass(frozen=True, slots=True)
class SegmentDrift:
    """One segment: the rows in which the column `by` has the value `segment`.

    `rows`: how many of the reference and live have it. `report`: what they say.
    """

    by: str
    segment: str
    rows: tuple[int, int]
    report: DriftReport


def _short(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"


def _small(value: float) -> str:
    return f"{value:.3f}" if value >= 0.001 else f"{value:.0e}"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


_NAMES = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}
_BY_NAME: dict[str, type] = {
    "parts": DriftPart,
    "statistics": Statistic,
}  # lists when kept, since JSON's keys are sorted
_MARK = "\x00"  # no name of a column, and no text of ours, begins with it


def _named(value: Any) -> Any:
    """JSON has no NaN and no infinities: they go by their names."""
    if isinstance(value, float) and not math.isfinite(value):
        return f"{_MARK}{value}"
    if isinstance(value, dict):
        return {str(key): _named(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_named(item) for item in value]
    return value


def _numbers(value: Any) -> Any:
    if isinstance(value, str) and value.startswith(_MARK):
        return _NAMES.get(value[1:], value)
    if isinstance(value, dict):
        return {key: _numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_numbers(item) for item in value]
    return value


def _listed(report: DriftReport) -> list[dict[str, Any]]:
    return [
        asdict(column) | {key: [asdict(one) for one in getattr(column, key).values()] for key in _BY_NAME}
        for column in report.columns
    ]


def _columns(kept: Any) -> tuple[ColumnDrift, ...]:
    return tuple(_column(column) for column in kept["columns"])


def _column(kept: Any) -> ColumnDrift:
    kept["effect"] = DriftPart(**kept["effect"])
    for key, cls in _BY_NAME.items():
        kept[key] = {one["name"]: cls(**one) for one in kept[key]}
    kept["rows"], kept["values"] = tuple(kept["rows"]), tuple(kept["values"])
    return ColumnDrift(**kept)
