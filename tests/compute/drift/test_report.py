"""A report is an artifact: what was kept comes back, infinities and all."""

from __future__ import annotations

import json
import math
from dataclasses import replace

from headrace import DriftReport
from headrace.compute.drift import CountedColumn, compare_counts


class Parts:
    def __init__(self):
        self.kept = {}

    def json(self, name, *value):
        if not value:
            return json.loads(self.kept[name])
        self.kept[name] = json.dumps(value[0], allow_nan=False, sort_keys=True)
        return None


def vars_of(part):
    return [getattr(part, name) for name in ("size", "low", "high", "pvalue", "detectable")]


def test_what_was_kept_comes_back_to_the_last_bit():
    columns = [
        CountedColumn("x", [100, 200, 300, 0], [0, 250, 350, 7], edges=[0.1, 0.2, 1e300]),
        CountedColumn("inf", [5, 5], [5, 6], categories=["nan", "a"], null=(1, 2), unseen=3),
        CountedColumn("empty", [0, 0], [0, 0], edges=[0.0]),
    ]
    report = replace(compare_counts(columns, delta={"x": 0.05}), about={"model": "flights", "version": 3})
    parts = Parts()
    report.save(parts)
    again = DriftReport.load(parts)
    assert again.settings == report.settings
    assert repr(again.columns) == repr(report.columns)  # NaN is not equal to itself, but it is written alike
    assert again.about == {"model": "flights", "version": 3}
    numbers = [value for c in again.columns for part in c.parts.values() for value in vars_of(part)]
    assert any(not math.isfinite(value) for value in numbers)
