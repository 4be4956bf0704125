"""Windows over time: years of them do not keep every statistic."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

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


def test_batches_in_any_order_are_what_the_whole_is():
    """More periods than are kept open, each in several batches, some rows without a time."""
    chance = np.random.default_rng(0)
    days = [date(2023, 1, 1) + timedelta(days=int(i)) for i in chance.integers(0, 90, 4000)]
    frame = pl.DataFrame(
        {"x": chance.normal(size=4000), "day": [None if i % 50 == 0 else d for i, d in enumerate(days)]}
    )
    reference = drift.Reference(Profile.fit(frame.select("x")))
    whole, over = drift.over_time(reference, frame, "day", "day")
    parts, again = drift.over_time(reference, frame.iter_slices(130), "day", "day")
    assert parts.inputs == whole.inputs
    assert whole.rows == 4000
    assert sum(one.rows for one in over.periods) == 4000 - 80
    assert again.counts == over.counts
    assert repr(again) == repr(over)
    assert [one.start for one in over.periods] == sorted(one.start for one in over.periods)


def test_no_rows_no_batches_and_years_beyond_pythons_dates():
    reference = drift.Reference(Profile.fit(pl.DataFrame({"x": [1.0, 2.0]})))
    empty = pl.DataFrame({"x": [], "day": []}, schema={"x": pl.Float64, "day": pl.Date})
    for frames in (empty, [empty], []):
        whole, over = drift.over_time(reference, frames, "day", "week")
        assert (whole.rows, over.periods) == (0, ())
    far = pl.DataFrame({"x": [1.0, 2.0], "day": pl.Series([0, 4_000_000], dtype=pl.Int32).cast(pl.Date)})
    assert [one.start for one in drift.over_time(reference, far, "day", "month")[1].periods] == ["1970-01", "+12921-08"]
    days = pl.Series(range(1500), dtype=pl.Int32).cast(pl.Date)
    many = pl.DataFrame({"x": [1.0] * 1500, "day": days})
    with pytest.raises(headrace.errors.DataError, match="more than 2,000 periods of a day"):
        drift.over_time(reference, [many, many.with_columns(day=pl.col("day") + timedelta(days=1000))], "day", "day")
