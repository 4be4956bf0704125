"""How good predictions are: the metrics, and intervals around them by the bootstrap.

Public as `headrace.metrics`. `METRICS` and what else is in the catalog is light; `Scored`, `Resampling` and
the rest, which need numpy, are imported on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from headrace.compute.metrics.catalog import METRICS, PRIMARY, Better, Metric, for_task, known

if TYPE_CHECKING:
    from headrace.compute.metrics.bootstrap import Interval as Interval
    from headrace.compute.metrics.bootstrap import Resampling as Resampling
    from headrace.compute.metrics.bootstrap import affordable as affordable
    from headrace.compute.metrics.bootstrap import gain as gain
    from headrace.compute.metrics.bootstrap import groups as groups
    from headrace.compute.metrics.bootstrap import percentile as percentile
    from headrace.compute.metrics.bootstrap import replicate as replicate
    from headrace.compute.metrics.formulas import Undefined as Undefined
    from headrace.compute.metrics.formulas import measure as measure
    from headrace.compute.metrics.scored import Scored as Scored

_WHERE = {
    **dict.fromkeys(("Interval", "Resampling", "affordable", "gain", "groups", "percentile", "replicate"), "bootstrap"),
    **dict.fromkeys(("Undefined", "measure"), "formulas"),
    "Scored": "scored",
}

__all__ = ["METRICS", "PRIMARY", "Better", "Metric", "for_task", "known", *sorted(_WHERE)]  # noqa: PLE0604  # strings


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        msg = f"module 'headrace.metrics' has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(importlib.import_module(f"headrace.compute.metrics.{_WHERE[name]}"), name)
