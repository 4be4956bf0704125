"""What changed within the segments of a reference."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from headrace.compute.drift.columns import compare
from headrace.compute.drift.report import ColumnDrift, DriftReport, SegmentDrift
from headrace.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.compute.profile import Profile, Window

_ORDER = {"drift": 0, "not enough data": 1, "no drift": 2}


def by_segment(
    reference: Profile,
    window: Window,
    column: str,
    *,
    alpha: float = 0.05,
    columns: Sequence[str] | None = None,
    without: Sequence[str] = (),
    **options: Any,
) -> tuple[SegmentDrift, ...]:
    """Each segment of a profile by itself, the most frequent first; `options` are those of `compare`.

    All are one question with one false discovery rate: p-values are adjusted (Benjamini and Hochberg 1995) over columns
    times segments. Raises `DataError` where the reference has no segments by `column`.
    """
    check_segments(reference, column)
    wanted = None if columns is None else [name for name in columns if name != column]
    made = []
    for name in reference.segments:
        report = compare(
            reference,
            window,
            segment=name,
            alpha=alpha,
            columns=wanted,
            without=[*without, column],
            **options,
        )
        made.append((name, report))
    flat = [(number, one) for number, (_, report) in enumerate(made) for one in report]
    adjusted = _adjusted([one.pvalue_delta for _, one in flat])
    judged: list[list[ColumnDrift]] = [[] for _ in made]
    for (number, one), pvalue in zip(flat, adjusted, strict=True):
        judged[number].append(_judged(one, pvalue, alpha))
    found_ones = []
    for (name, report), those in zip(made, judged, strict=True):
        those.sort(key=lambda c: (_ORDER[c.verdict], -c.effect.size if c.effect.size > 0 else 0.0))
        ranked = tuple(replace(one, rank=rank) for rank, one in enumerate(those, 1))
        rows = ranked[0].rows if ranked else (0.0, 0.0)
        found_ones.append(
            SegmentDrift(
                column, name, (round(rows[0]), round(rows[1])), DriftReport(ranked, report.settings, report.about)
            )
        )
    return tuple(found_ones)


def check_segments(reference: Profile, column: str) -> None:
    """`DataError` where the reference has no segments by `column`."""
    if reference.segmented_by != column:
        found = f"segments by {reference.segmented_by!r}" if reference.segmented_by else "no segments"
        raise DataError(
            f"the reference has {found}, and is to be compared by {column!r}",
            place=f"column {column!r}",
            hint=f"Fit it with segments: `headrace profile DATA -o PROFILE --segments {column}`; of a model, set "
            f'`segments = "{column}"` in the stage [register].',
        )


def _judged(column: ColumnDrift, pvalue: float, alpha: float) -> ColumnDrift:
    if pvalue <= alpha:
        return replace(column, pvalue_adjusted=pvalue, verdict="drift")
    if all(part.high <= part.delta for part in column.parts.values()):
        return replace(column, pvalue_adjusted=pvalue, verdict="no drift")
    return replace(column, pvalue_adjusted=pvalue, verdict="not enough data")


def _adjusted(pvalues: Sequence[float]) -> list[float]:
    count = len(pvalues)
    adjusted = [1.0] * count
    least = 1.0
    for rank, at in reversed(list(enumerate(sorted(range(count), key=pvalues.__getitem__), 1))):
        least = min(least, pvalues[at] * count / rank)
        adjusted[at] = least
    return adjusted
