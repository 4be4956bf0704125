"""Drift: whether a stream or a sample changed.

Public as `headrace.drift`. `ks_2samp` and its kin compare raw samples, `compare_counts` counts that are there already;
`ADWIN`, `PageHinkley`, `CUSUM`, `DDM` and `KSWIN` read one value after the other. `Reference` is what a registered
model was made on, `over_time` compares it with live rows by day, week or month, `prometheus_text` is for who scrapes.
Everything is imported on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headrace.compute.detect import ADWIN as ADWIN
    from headrace.compute.detect import CUSUM as CUSUM
    from headrace.compute.detect import DDM as DDM
    from headrace.compute.detect import KSWIN as KSWIN
    from headrace.compute.detect import PageHinkley as PageHinkley
    from headrace.compute.drift.categories import chi2 as chi2
    from headrace.compute.drift.categories import g_test as g_test
    from headrace.compute.drift.categories import hellinger as hellinger
    from headrace.compute.drift.categories import jensenshannon as jensenshannon
    from headrace.compute.drift.categories import l_infinity as l_infinity
    from headrace.compute.drift.categories import psi as psi
    from headrace.compute.drift.categories import total_variation as total_variation
    from headrace.compute.drift.columns import CountedColumn as CountedColumn
    from headrace.compute.drift.columns import compare as compare
    from headrace.compute.drift.columns import compare_counts as compare_counts
    from headrace.compute.drift.exposition import prometheus_text as prometheus_text
    from headrace.compute.drift.numbers import cramervonmises_2samp as cramervonmises_2samp
    from headrace.compute.drift.numbers import energy as energy
    from headrace.compute.drift.numbers import ks_2samp as ks_2samp
    from headrace.compute.drift.numbers import kuiper_2samp as kuiper_2samp
    from headrace.compute.drift.numbers import wasserstein as wasserstein
    from headrace.compute.drift.reference import Reference as Reference
    from headrace.compute.drift.reference import Windows as Windows
    from headrace.compute.drift.report import ColumnDrift as ColumnDrift
    from headrace.compute.drift.report import DriftPart as DriftPart
    from headrace.compute.drift.report import DriftReport as DriftReport
    from headrace.compute.drift.report import SegmentDrift as SegmentDrift
    from headrace.compute.drift.report import Statistic as Statistic
    from headrace.compute.drift.segments import by_segment as by_segment
    from headrace.compute.drift.vectors import mmd as mmd
    from headrace.compute.drift.windows import DriftWindows as DriftWindows
    from headrace.compute.drift.windows import PeriodDrift as PeriodDrift
    from headrace.compute.drift.windows import over_time as over_time

_WHERE = {
    **dict.fromkeys(("ADWIN", "CUSUM", "DDM", "KSWIN", "PageHinkley"), "headrace.compute.detect"),
    **dict.fromkeys(
        ("chi2", "g_test", "hellinger", "jensenshannon", "l_infinity", "psi", "total_variation"),
        "headrace.compute.drift.categories",
    ),
    **dict.fromkeys(("CountedColumn", "compare", "compare_counts"), "headrace.compute.drift.columns"),
    **dict.fromkeys(
        ("cramervonmises_2samp", "energy", "ks_2samp", "kuiper_2samp", "wasserstein"), "headrace.compute.drift.numbers"
    ),
    **dict.fromkeys(
        ("ColumnDrift", "DriftPart", "DriftReport", "SegmentDrift", "Statistic"), "headrace.compute.drift.report"
    ),
    **dict.fromkeys(("Reference", "Windows"), "headrace.compute.drift.reference"),
    **dict.fromkeys(("DriftWindows", "PeriodDrift", "over_time"), "headrace.compute.drift.windows"),
    "by_segment": "headrace.compute.drift.segments",
    "mmd": "headrace.compute.drift.vectors",
    "prometheus_text": "headrace.compute.drift.exposition",
}

__all__ = sorted(_WHERE)  # noqa: PLE0605  # a list; ruff cannot see through sorted()


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        msg = f"module 'headrace.drift' has no attribute {name!r}"
        raise AttributeError(msg)
    value = getattr(importlib.import_module(_WHERE[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)
