"""Whole frames: verdicts, ranking, agreement with scipy within the stated bounds, and every kind of bad input."""

from __future__ import annotations

import datetime as dt
import json
import math

import numpy as np
import polars as pl
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

import headrace
from headrace import Profile, drift
from headrace.errors import DataError


def frame(n: int, seed: int = 0, shift: float = 0.0) -> pl.DataFrame:
    chance = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "calm": chance.normal(size=n),
            "moved": chance.normal(size=n) + shift,
            "kind": chance.choice(["a", "b", "c"], n),
            "flag": chance.random(n) < 0.3,
        }
    )


# --- agreement with scipy, within what the bins can hide -------------------------------------------------------------

VALUES = st.sampled_from(
    [
        st.floats(-1e6, 1e6),
        st.integers(-2, 2).map(float),
        st.floats(-5, 5).map(lambda x: math.copysign(10 ** abs(x), x)),
    ]
).flatmap(lambda kind: st.tuples(st.lists(kind, min_size=1, max_size=300), st.lists(kind, min_size=1, max_size=300)))


@settings(max_examples=120, deadline=None)
@given(VALUES)
def test_statistics_agree_with_scipy_within_their_bounds(pair):
    reference, live = pair
    column = headrace.compare(pl.DataFrame({"x": reference}), pl.DataFrame({"x": live}), threads=1)["x"]
    ks = column.statistics["ks"]
    theirs = scipy.stats.ks_2samp(reference, live, method="asymp").statistic
    assert ks.statistic - 1e-9 <= theirs <= ks.statistic + ks.bound + 1e-9
    kuiper = column.statistics["kuiper"]
    theirs = drift.kuiper_2samp(reference, live, method="asymptotic").statistic
    assert kuiper.statistic - 1e-9 <= theirs <= kuiper.statistic + kuiper.bound + 1e-9
    within = min(reference) <= min(live) and max(live) <= max(reference)
    if within and "wasserstein" in column.statistics:
        area = column.statistics["wasserstein"]
        theirs = scipy.stats.wasserstein_distance(reference, live)
        # Moments are rounded to 2^-16 of the scale, and the distance of means is never the greater.
        slack = 1e-4 * (abs(theirs) + max(map(abs, reference)))
        assert abs(area.statistic - theirs) <= area.bound + slack
    assert column.verdict != "drift" or ks.low > 0.1


def test_p_values_of_counts_are_scipys():
    table = [[52, 40, 30, 78], [60, 22, 41, 61]]
    report = drift.compare_counts([drift.CountedColumn("x", *table, categories="abcd")])
    theirs = scipy.stats.chi2_contingency(table, correction=False)
    assert report["x"].statistics["chi2"].statistic == pytest.approx(theirs.statistic)
    assert report["x"].statistics["chi2"].pvalue == pytest.approx(theirs.pvalue, abs=0.03)  # by permutation
    table = [[5200, 4000, 3000, 7800], [5300, 4100, 3150, 7600]]
    report = drift.compare_counts([drift.CountedColumn("x", *table, categories="abcd")])
    theirs = scipy.stats.chi2_contingency(table, correction=False)
    assert report["x"].statistics["chi2"].pvalue == pytest.approx(theirs.pvalue)
    missing = drift.CountedColumn("x", [100], [90], categories="a", null=(3, 12))
    found = drift.compare_counts([missing])["x"].statistics["null_rate"].pvalue
    assert found == pytest.approx(scipy.stats.fisher_exact([[3, 100], [12, 90]]).pvalue)


# --- verdicts and ranking --------------------------------------------------------------------------------------------


def test_what_moved_is_named_and_what_did_not_is_not():
    report = headrace.compare(frame(5000), frame(3000, 1, shift=0.5))
    assert report.drifted == ("moved",)
    assert report.undecided == ()
    moved = report["moved"]
    truth = 2 * scipy.stats.norm.cdf(0.25) - 1
    assert moved.effect.name == "values"
    assert moved.effect.low <= truth <= moved.effect.high
    assert moved.rank == 1
    assert (moved.rows, moved.values) == ((5000, 3000), (5000, 3000))
    assert {s.n for s in moved.statistics.values()} == {5000}
    assert "moved" in str(report)
    assert "1 of 4 columns drifted" in report._repr_html_()


def test_profiles_windows_and_frames_say_the_same():
    reference, live = frame(2000), frame(1500, 1, shift=0.3)
    profile = Profile.fit(reference)
    window = profile.window()
    window.update(live[:700])
    window.update(live[700:])
    expected = headrace.compare(reference, live, threads=1)
    assert headrace.compare(profile, window, threads=2) == expected
    assert headrace.compare(Profile.from_bytes(profile.to_bytes()), live) == expected
    assert headrace.compare(profile, profile).undecided == headrace.compare(profile, profile).drifted == ()


def test_rank_is_size_times_importance():
    chance = np.random.default_rng(3)
    reference = pl.DataFrame({name: chance.normal(size=4000) for name in "abc"})
    live = pl.DataFrame(
        {"a": chance.normal(size=4000) + 1, "b": chance.normal(size=4000) + 2, "c": chance.normal(size=4000)}
    )
    assert [c.name for c in headrace.compare(reference, live)] == ["b", "a", "c"]
    weighed = headrace.compare(reference, live, importance={"a": 5.0, "c": 100.0})
    assert [c.name for c in weighed] == ["a", "b", "c"]
    assert weighed["a"].importance == 5.0


def test_delta_by_column():
    reference, live = frame(5000), frame(3000, 1, shift=0.5)
    assert headrace.compare(reference, live, delta={"moved": 0.4}).drifted == ()
    assert headrace.compare(reference, live, delta=0.4).drifted == ()
    assert headrace.compare(reference, live, correction="by").drifted == ("moved",)


def test_a_rise_of_missing_values_is_drift_by_itself():
    chance = np.random.default_rng(4)
    values = pl.Series("x", chance.normal(size=4000))
    holes = values.set(pl.Series(chance.random(4000) < 0.08), None)
    column = headrace.compare(values.to_frame(), holes.to_frame())["x"]
    assert (column.verdict, column.effect.name) == ("drift", "null")
    assert column.effect.size == pytest.approx(0.08, abs=0.02)
    nan = values.set(pl.Series(chance.random(4000) < 0.08), math.nan)
    column = headrace.compare(values.to_frame(), nan.to_frame())["x"]
    assert (column.verdict, column.effect.name) == ("drift", "nan")


def test_a_new_category_is_drift_and_a_column_of_names_is_not():
    chance = np.random.default_rng(5)
    reference = pl.DataFrame({"k": chance.choice(list("abc"), 3000), "id": [f"r{i}" for i in range(3000)]})
    live = pl.DataFrame(
        {"k": chance.choice([*"abc", "new"], 3000, p=[0.3, 0.3, 0.3, 0.1]), "id": [f"l{i}" for i in range(3000)]}
    )
    report = headrace.compare(reference, live)
    assert report["k"].verdict == "drift"
    assert report["k"].statistics["unseen_rate"].statistic == pytest.approx(0.1, abs=0.02)
    assert report["id"].verdict != "drift"


def test_new_values_that_the_filter_takes_for_known_are_within_the_bound():
    reference = pl.DataFrame({"id": [f"r{i}" for i in range(200_000)]})
    column = headrace.compare(reference, pl.DataFrame({"id": [f"l{i}" for i in range(20_000)]}))["id"]
    assert column.verdict == "not enough data"
    unseen = column.statistics["unseen_rate"]
    assert unseen.statistic < 0.5  # the truth is 1: 32 KB cannot know 200,000 texts
    assert unseen.high is not None
    assert unseen.high > 0.95


def test_the_report_is_json():
    text = headrace.compare(frame(300), frame(20, 1)).to_json()
    read = json.loads(text)
    assert {column["verdict"] for column in read["columns"]} <= {"drift", "no drift", "not enough data"}
    assert read["settings"]["delta"] == 0.1


def test_embeddings():
    chance = np.random.default_rng(6)
    kind = pl.Array(pl.Float64, 8)
    reference = pl.DataFrame({"e": chance.normal(size=(3000, 8))}, schema={"e": kind})
    same = pl.DataFrame({"e": chance.normal(size=(3000, 8))}, schema={"e": kind})
    other = pl.DataFrame({"e": chance.normal(size=(3000, 8)) + 0.7}, schema={"e": kind})
    names = [column.name for column in headrace.compare(reference, same)]
    assert headrace.compare(reference, same).drifted == ()
    found = headrace.compare(reference, other)
    assert set(found.drifted) & set(names)
    assert any("mmd" in column.statistics for column in found)


def test_segments():
    reference = frame(4000).with_columns(store=pl.Series(["north", "south"] * 2000))
    live = frame(4000, 1).with_columns(store=pl.Series(["north", "south"] * 2000))
    live = live.with_columns(calm=pl.when(store="south").then(pl.col("calm") + 1).otherwise("calm"))
    profile = Profile.fit(reference, segments="store")
    window = profile.window()
    window.update(live)
    assert "calm" in headrace.compare(profile, window, segment="south").drifted
    assert "calm" not in headrace.compare(profile, window, segment="north").drifted
    with pytest.raises(DataError, match="no segment 'west'"):
        headrace.compare(profile, window, segment="west")


# --- bad input: a verdict or an error that names the column, never a false alarm -------------------------------------

X = np.random.default_rng(7).normal(size=1000)
BAD = {
    "no rows": ([], [], "not enough data"),
    "no live rows": (X, [], "not enough data"),
    "no reference rows": ([], X, "not enough data"),
    "all null": ([None] * 1000, [None] * 1000, "no drift"),
    "five nulls": ([None] * 5, [None] * 5, "not enough data"),
    "null at last": (X, [None] * 1000, "drift"),
    "all NaN": ([math.nan] * 1000, [math.nan] * 1000, "no drift"),
    "constant": ([3.0] * 1000, [3.0] * 1000, "no drift"),
    "constant, few": ([3.0] * 1000, [3.0] * 10, "not enough data"),
    "constant moved": ([3.0] * 1000, [4.0] * 1000, "drift"),
    "both zeros": ([0.0, -0.0] * 500, [-0.0] * 1000, "no drift"),
    "infinities": ([*X, math.inf, -math.inf], [*X, math.inf, -math.inf], "no drift"),
    "infinite at last": (X, [math.inf] * 1000, "drift"),
    "denormals": ([5e-324 * i for i in range(1000)], [5e-324 * i for i in range(1000)], "no drift"),
    "huge": ([1.7e308, -1.7e308] * 500, [-1.7e308, 1.7e308] * 500, "no drift"),
    "huge and tiny": ([1e308, 5e-324] * 500, [5e-324, 1e308] * 500, "no drift"),
    "one outlier": (X, [*X, 1e300], "no drift"),
    "same, twice": (X, [*X, *X], "no drift"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_numbers(case):
    reference, live, verdict = BAD[case]
    kind = {"x": pl.Float64}
    report = headrace.compare(pl.DataFrame({"x": reference}, kind), pl.DataFrame({"x": live}, kind))
    assert report["x"].verdict == verdict
    assert json.loads(report.to_json())
    assert report._repr_html_()


NAMES = [f"c{i}" for i in range(10**6)]
BAD_NAMES = {
    "no rows": ([], [], {"not enough data"}),
    "one category": (["a"] * 1000, ["a"] * 1000, {"no drift"}),
    "one category, few": (["a"] * 1000, ["a"] * 10, {"not enough data"}),
    "all null": ([None] * 1000, [None] * 1000, {"no drift"}),
    "a million categories": (NAMES, NAMES[::-1], {"not enough data", "no drift"}),
    "a million others": (NAMES[:500_000], NAMES[500_000:], {"not enough data"}),
    "empty text": (["", "a"] * 500, ["a", ""] * 500, {"no drift"}),
}


@pytest.mark.parametrize("case", BAD_NAMES)
def test_bad_categories(case):
    reference, live, verdicts = BAD_NAMES[case]
    kind = {"x": pl.String}
    report = headrace.compare(pl.DataFrame({"x": reference}, kind), pl.DataFrame({"x": live}, kind))
    assert report["x"].verdict in verdicts


def test_frames_that_do_not_fit_are_errors_that_name_the_column():
    reference = frame(100)
    with pytest.raises(DataError, match="moved"):
        headrace.compare(reference, reference.drop("moved"))
    with pytest.raises(DataError, match="extra"):
        headrace.compare(reference, reference.with_columns(extra=1))
    assert headrace.compare(reference, reference.with_columns(extra=1), new_columns="ignore").drifted == ()
    with pytest.raises(DataError, match="calm"):
        headrace.compare(reference, reference.with_columns(calm=pl.lit("text")))
    with pytest.raises(DataError):
        headrace.compare(reference, Profile.fit(frame(100, 9)))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"delta": 1.0}, "delta is 1"),
        ({"delta": math.nan}, "delta is NaN"),
        ({"delta": {"calm": -0.1}}, "delta is -0.1"),
        ({"delta": {"clam": 0.1}}, "column 'clam'"),
        ({"delta_rate": -1}, "delta_rate is -1"),
        ({"alpha": 0.0}, "alpha is 0"),
        ({"power": 0.1}, "power is 0.1"),
        ({"draws": 3}, "draws is 3"),
        ({"threads": 0}, "threads is 0"),
        ({"correction": "none"}, "correction is 'none'"),
        ({"importance": {"clam": 1.0}}, "column 'clam'"),
        ({"importance": {"calm": -1.0}}, "column 'calm'"),
    ],
)
def test_settings_that_cannot_be_meant(options, says):
    with pytest.raises(DataError, match=says):
        headrace.compare(frame(50), frame(50), **options)


@pytest.mark.parametrize(
    ("column", "says"),
    [
        ({"reference": [1, 2], "live": [1], "categories": "ab"}, "more or fewer counts than bins"),
        ({"reference": [1, -2], "live": [1, 1], "categories": "ab"}, "a count below 0"),
        ({"reference": [1, 2], "live": [1, 1], "edges": [1.0, 0.0]}, "do not ascend"),
        ({"reference": [1, 2], "live": [1, 1]}, "either edges or categories"),
    ],
)
def test_counts_that_cannot_be_meant(column, says):
    with pytest.raises(DataError, match=says) as caught:
        drift.compare_counts([drift.CountedColumn("x", **column)])
    assert caught.value.place == "column 'x'"


def test_dates_and_times():
    start = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    hours = [start + dt.timedelta(hours=7 * i) for i in range(2000)]
    report = headrace.compare(pl.DataFrame({"t": hours[:1000]}), pl.DataFrame({"t": hours[1000:]}))
    assert "t" in report.drifted
    assert all("hour" not in name for name in report.drifted)
