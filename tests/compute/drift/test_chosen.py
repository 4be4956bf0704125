"""`compare` over some columns only: the others are out of the report, and out of the false discovery rate."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

import headrace
from headrace.errors import DataError


def frame(seed, shift=0.0):
    rng = np.random.default_rng(seed)
    first = datetime(2024, 1, 1, tzinfo=UTC)
    return pl.DataFrame(
        {
            "x": rng.normal(size=2000) + shift,
            "y": rng.normal(size=2000),
            "at": [first + timedelta(hours=i) for i in range(2000)],
            "vector": rng.normal(size=(2000, 3)).tolist(),
        }
    )


def test_chosen_columns_bring_what_is_derived_from_them():
    profile = headrace.Profile.fit(frame(1))
    window = profile.window()
    window.update(frame(2, 1.0))
    names = {c.name for c in headrace.compare(profile, window)}
    assert {"x", "y", "at", "at (weekday)", "at (hour)"} < names
    chosen = headrace.compare(profile, window, columns=["at", "x"])
    assert {c.name for c in chosen} == {"x", "at", "at (weekday)", "at (hour)"}
    left = headrace.compare(profile, window, without=["at", "y"])
    assert {c.name for c in left} == names - {"at", "y"}
    # One column alone needs no correction.
    alone = headrace.compare(profile, window, columns=["x"])["x"]
    assert alone.pvalue_adjusted == alone.pvalue_delta
    with pytest.raises(DataError, match="no such column") as raised:
        headrace.compare(profile, window, columns=["x", "z"])
    assert "'z'" in raised.value.place
