"""Which rows belong to a slice."""

from __future__ import annotations

import datetime as dt
import itertools

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.builtins.evaluate.slices import parts


def named(frame, column, *, most=5, fewest=1, asked=False):
    return {part.value: list(part.rows) for part in parts(frame, column, most=most, fewest=fewest, asked=asked)}


quick = settings(max_examples=80, deadline=None)  # the machine may be busy

EARLY, LATE = dt.datetime(1900, 1, 1), dt.datetime(2100, 1, 1)  # noqa: DTZ001  # naive on purpose
VALUES = st.one_of(
    st.lists(st.none() | st.sampled_from(["a", "b", "", "(null)", "ä"]), min_size=1, max_size=30),
    st.lists(st.none() | st.integers(-100, 100), min_size=1, max_size=30),
    st.lists(st.none() | st.floats(width=32, allow_infinity=False), min_size=1, max_size=30),
    st.lists(st.none() | st.booleans(), min_size=1, max_size=30),
    st.lists(st.none() | st.datetimes(EARLY, LATE), min_size=1, max_size=30),
)


@quick
@given(VALUES)
def test_every_row_is_in_one_part_or_in_none_of_a_constant_or_wide_column(values):
    frame = pl.DataFrame({"c": pl.Series(values, strict=False)})
    found = [row for part in parts(frame, "c", most=5, fewest=1, asked=False) for row in part.rows]
    assert len(found) == len(set(found))
    assert len(found) in {0, len(values)}


@quick
@given(st.lists(st.floats(-1e9, 1e9), min_size=8, max_size=60, unique=True))
def test_quarters_of_a_number_hold_about_as_many_rows_and_do_not_overlap(values):
    frame = pl.DataFrame({"c": values})
    found = list(parts(frame, "c", most=5, fewest=1, asked=False))
    assert len(found) == 4
    sizes = [len(part.rows) for part in found]
    assert max(sizes) - min(sizes) <= 3
    ends = [(min(values[r] for r in part.rows), max(values[r] for r in part.rows)) for part in found]
    assert all(a[1] < b[0] for a, b in itertools.pairwise(ends))


def test_labels_are_readable():
    frame = pl.DataFrame(
        {
            "flag": [True, False, None, True],
            "n": [1, 2, 2, 1],
            "at": [dt.datetime(2013, 1, day) for day in (1, 2, 3, 4)],  # noqa: DTZ001
            "word": ["x", "y", "x", "y"],
        }
    )
    assert named(frame, "flag") == {"false": [1], "true": [0, 3], "(null)": [2]}
    assert named(frame, "n") == {"1": [0, 3], "2": [1, 2]}
    assert "2013-01-01 00:00" in named(frame, "at")
    assert named(pl.DataFrame({"c": np.arange(8.0) / 3}), "c", most=2) == {
        "0 to 0.3333": [0, 1],
        "0.6667 to 1": [2, 3],
        "1.333 to 1.667": [4, 5],
        "2 to 2.333": [6, 7],
    }


def test_wide_text_is_left_out_unless_it_was_asked_for():
    frame = pl.DataFrame({"c": [f"v{i}" for i in range(20)] + ["v1"] * 5})
    assert named(frame, "c") == {}
    assert named(frame, "c", asked=True, most=1) == {"v1": [1, 20, 21, 22, 23, 24]}


def test_small_parts_are_left_out():
    assert named(pl.DataFrame({"c": ["a", "a", "b"]}), "c", fewest=2) == {"a": [0, 1]}


@pytest.mark.parametrize("series", [pl.Series([[1], [2]]), pl.Series([None, None]), pl.Series([b"1", b"2"])])
def test_columns_without_readable_values_are_not_sliced(series):
    assert named(pl.DataFrame({"c": series}), "c") == {}
