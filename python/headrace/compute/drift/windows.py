"""What was counted and found, period by period."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, cast

from headrace.compute.drift.periods import by_period
from headrace.compute.drift.reference import Reference, Windows
from headrace.compute.drift.report import DriftReport

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl

    from headrace.compute.drift.periods import Period
    from headrace.types import ArtifactReader, ArtifactWriter

FULL = 60
"""Of so many periods, the last ones, every statistic is kept; of those before, verdicts and effects."""


@dataclass(frozen=True)
class PeriodDrift:
    """One period: its start, how many rows, and a report about them."""

    start: str
    rows: int
    report: DriftReport


@dataclass(frozen=True)
class DriftWindows:
    """The windows of a monitor, one a period, with what each says alone.

    `period` is `day`, `week`, `month`, or None where there are none. `counts` are `Window.to_bytes` of the raw inputs
    and of the scores (empty without), to be read on the bins of the reference: they can be added and subtracted
    later, without the rows. Reports of periods before the last 60 have no `statistics`, which are most of a report:
    they can be computed again from the counts.
    """

    type_name: ClassVar[str] = "drift-windows"
    period: str | None
    periods: Sequence[PeriodDrift]
    counts: Sequence[tuple[bytes, bytes]]

    def save(self, to: ArtifactWriter) -> None:
        """One part a period and profile."""
        to.json("periods", {"period": self.period, "periods": [[p.start, p.rows] for p in self.periods]})
        for number, (one, (inputs, scores)) in enumerate(zip(self.periods, self.counts, strict=True)):
            one.report.save(cast("ArtifactWriter", _Prefixed(to, f"p{number:04d}")))  # a report is JSON only
            to.bytes(f"p{number:04d}_inputs.bin", inputs, format="binary")
            if scores:
                to.bytes(f"p{number:04d}_scores.bin", scores, format="binary")

    @classmethod
    def load(cls, source: ArtifactReader) -> DriftWindows:
        """What `save` kept."""
        about = source.json("periods")
        periods, counts = [], []
        for number, (start, rows) in enumerate(about["periods"]):
            prefix = f"p{number:04d}"
            periods.append(
                PeriodDrift(start, rows, DriftReport.load(cast("ArtifactReader", _PrefixedSource(source, prefix))))
            )
            name = f"{prefix}_scores.bin"
            counts.append((source.bytes(f"{prefix}_inputs.bin"), source.bytes(name) if source.has(name) else b""))
        return cls(about["period"], tuple(periods), tuple(counts))


def over_time(
    reference: Reference, frame: pl.DataFrame, column: str, period: Period, **options: Any
) -> tuple[Windows, DriftWindows]:
    """All rows counted, and each period by itself. `options` are those of `Reference.compare`."""
    threads = options.get("threads")
    periods, counts = [], []
    timed = 0
    whole: Windows | None = None
    for part in by_period(frame, column, period):
        windows = reference.counted(part.frame, threads=threads)
        timed += part.frame.height
        periods.append(PeriodDrift(part.start, windows.rows, reference.compare(windows, **options)))
        counts.append((windows.inputs.to_bytes(), windows.scores.to_bytes() if windows.scores is not None else b""))
        whole = windows if whole is None else _sum(whole, windows)
    if whole is None or timed < frame.height:  # rows without a time are in no period, but in the whole
        rest = reference.counted(frame.filter(frame.get_column(column).is_null()), threads=threads)
        whole = rest if whole is None else _sum(whole, rest)
    old = [replace(one, report=_verdicts(one.report)) for one in periods[:-FULL]]
    return whole, DriftWindows(period, (*old, *periods[-FULL:]), tuple(counts))


def _verdicts(report: DriftReport) -> DriftReport:
    return replace(report, columns=tuple(replace(column, statistics={}) for column in report))


def _sum(a: Windows, b: Windows) -> Windows:
    scores = None if a.scores is None or b.scores is None else a.scores + b.scores
    return Windows(a.inputs + b.inputs, scores)


@dataclass(frozen=True)
class _Prefixed:
    """An `ArtifactWriter` for one of several values of a kind."""

    to: ArtifactWriter
    prefix: str

    def json(self, name: str, value: Any) -> None:
        self.to.json(f"{self.prefix}_{name}", value)


@dataclass(frozen=True)
class _PrefixedSource:
    source: ArtifactReader
    prefix: str

    def json(self, name: str) -> Any:
        return self.source.json(f"{self.prefix}_{name}")
