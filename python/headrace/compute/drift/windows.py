"""What was counted and found, period by period."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, cast

from headrace.compute.drift.periods import by_period, check
from headrace.compute.drift.reference import Reference, Windows
from headrace.compute.drift.report import DriftReport
from headrace.compute.profile import Window

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import polars as pl

    from headrace.compute.drift.periods import Period
    from headrace.types import ArtifactReader, ArtifactWriter

FULL = 60
"""Of so many periods, the last ones, every statistic is kept, and segments are compared; of those before, verdicts and
effects of all rows."""
_OPEN = 32


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
    later, without the rows. Reports of periods before the last 60 have no `statistics`, which are most of a report, and
    no `segments`; those of the last 60 have segments without `statistics`. All can be computed again from the counts.
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
    reference: Reference,
    frame: pl.DataFrame | Iterable[pl.DataFrame],
    column: str,
    period: Period,
    *,
    segments: bool = True,
    **options: Any,
) -> tuple[Windows, DriftWindows]:
    """All rows counted, and each period by itself. `options` are those of `Reference.compare`.

    With `segments`, the inputs of each of the last 60 periods are compared within each segment of the reference too,
    where it has any: within a period they are one question, as for all rows (`Reference.by_segment`).

    A frame, or its batches, with the periods in any order: memory is bounded by a batch and by what is kept of the
    periods, not by the rows. Raises `DataError` as `headrace.compute.drift.periods.by_period`.
    """
    import polars as pl

    threads = options.get("threads")
    counted = _Counted(reference)
    whole: Windows | None = None
    for batch in [frame] if isinstance(frame, pl.DataFrame) else frame:
        for part in by_period(batch, column, period):
            windows = reference.counted(part.frame, threads=threads)
            whole = windows if whole is None else _sum(whole, windows)
            if part.start is not None:  # rows without a time are in no period, but in the whole
                counted.add((part.order, part.start), windows)
                check(len(counted.kept), column, period)
        if whole is None:
            whole = reference.counted(batch, threads=threads)
    found = sorted(counted.kept)
    periods, counts = [], []
    for number, key in enumerate(found):
        windows = counted.read(key)
        report = reference.compare(windows, **options)
        if number < len(found) - FULL:
            report = _verdicts(report)
        elif segments:
            inside = reference.by_segment(windows, **options)
            report = replace(report, segments=tuple(replace(one, report=_verdicts(one.report)) for one in inside))
        periods.append(PeriodDrift(key[1], windows.rows, report))
        counts.append(_bytes(windows))
    if whole is None:
        whole = Windows(reference.inputs.window(), None if reference.scores is None else reference.scores.window())
    return whole, DriftWindows(period, tuple(periods), tuple(counts))


class _Counted:
    """Windows by period: those that were counted last as they are, all others as bytes, which take less."""

    def __init__(self, reference: Reference) -> None:
        self.reference = reference
        self.kept: dict[tuple[int, str], Windows | tuple[bytes, bytes]] = {}
        self.open: list[tuple[int, str]] = []

    def add(self, key: tuple[int, str], windows: Windows) -> None:
        self.kept[key] = _sum(self.read(key), windows) if key in self.kept else windows
        if key in self.open:
            self.open.remove(key)
        self.open.append(key)
        if len(self.open) > _OPEN:
            oldest = self.open.pop(0)
            self.kept[oldest] = _bytes(self.read(oldest))

    def read(self, key: tuple[int, str]) -> Windows:
        kept = self.kept[key]
        if isinstance(kept, Windows):
            return kept
        inputs, scores = kept
        of_scores = self.reference.scores
        return Windows(
            Window.from_bytes(inputs, self.reference.inputs),
            Window.from_bytes(scores, of_scores) if of_scores is not None and scores else None,
        )


def _bytes(windows: Windows) -> tuple[bytes, bytes]:
    return windows.inputs.to_bytes(), windows.scores.to_bytes() if windows.scores is not None else b""


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
