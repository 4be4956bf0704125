"""Windows over time: years of them do not keep every statistic."""

from __future__ import annotations

from datetime import date, timedelta

import polars as pl

import headrace
from headrace import Profile, drift
from headrace.compute.drift.windows import FULL


def test_statistics_are_kept_of_the_last_periods_only():
    days = FULL + 5
    frame = pl.DataFrame(
        {
            "x": [float(i % 7) for i in range(days * 4)],
            "day": [date(2024, 1, 1) + timedelta(days=i // 4) for i in range(days * 4)],
        }
    )
    reference = drift.Reference(Profile.fit(frame.select("x")))
    whole, over = drift.over_time(reference, frame, "day", "day")
    assert whole.rows == days * 4
    assert len(over.periods) == len(over.counts) == days
    for number, one in enumerate(over.periods):
        assert bool(one.report["x"].statistics) == (number >= days - FULL)
        assert one.report["x"].effect.size >= 0
        # What was left out can be computed again from the counts.
        window = headrace.Window.from_bytes(over.counts[number][0], reference.inputs)
        again = headrace.compare(reference.inputs, window)["x"]
        assert again.effect == one.report["x"].effect
