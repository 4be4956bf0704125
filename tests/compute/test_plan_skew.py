"""`FeaturePlan.explain_skew`: each reason, the features that change, and that equal rows have none."""
# ruff: noqa: DTZ001, PLR0917  # datetimes without a zone are among what is tested; a parameter a column of the table

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace import FeaturePlan
from headrace.errors import DataError

BERLIN = dt.timezone(dt.timedelta(hours=1))
ROW = {
    "age": 40,
    "amount": 10.5,
    "plan": "1",
    "city": "Köln",
    "route": "a",
    "day": dt.date(2024, 1, 5),
    "at": dt.datetime(2024, 1, 5, 10, tzinfo=BERLIN),
    "left": dt.datetime(2024, 1, 5, 9),
    "took": dt.timedelta(seconds=90),
    "ok": True,
}


@pytest.fixture(scope="module")
def plan() -> FeaturePlan:
    n = 60
    frame = pl.DataFrame(
        {
            "age": [20 + i for i in range(n)],
            "amount": [float(i) for i in range(n)],
            "plan": [str(i // 3 % 3) for i in range(n)],
            "city": [["Köln", "Bonn", "Trier"][i % 3] for i in range(n)],
            "route": [["a", "b"][i % 2] for i in range(n)],
            "day": [dt.date(2024, 1, 1) + dt.timedelta(days=i) for i in range(n)],
            "at": pl.Series([dt.datetime(2024, 1, 1, i % 24) for i in range(n)]).dt.replace_time_zone("UTC"),
            "left": [dt.datetime(2024, 1, 1 + i % 30, i % 24) for i in range(n)],
            "took": [dt.timedelta(seconds=i) for i in range(n)],
            "ok": [i % 4 == 0 for i in range(n)],
            "y": [i % 2 == 0 for i in range(n)],
        }
    )
    config = {
        "columns": {"amount": {"clip": [0, 50]}, "route": {"treat_as": "target"}},
        "crosses": [{"columns": ["city", "plan"]}],
    }
    return FeaturePlan.fit(frame, target="y", task="binary", config=config)


@pytest.mark.parametrize(
    ("column", "value", "reason", "words", "outputs"),
    [
        ("age", 41, "value", "41 where training has 40", ["age"]),
        ("age", None, "missing value", "None where training has 40", ["age"]),
        ("age", "40", "type", "the same written otherwise", None),
        ("age", "4O", "type", "the text '4O' where training has the number 40", None),
        ("age", True, "type", "the truth value True", None),
        ("age", 40.5, "type", "expects whole numbers", None),
        ("amount", 60.0, "outside", "clipped to 0 .. 50", ["amount"]),
        ("plan", "1.0", "format", "the same number written otherwise", ["plan", "city:plan"]),
        ("plan", 1, "type", "the number 1 where training has the text '1'", None),
        ("city", "köln", "format", "upper and lower case", ["city", "city:plan"]),
        ("city", "Köln ", "format", "white space", ["city", "city:plan"]),
        ("city", "Ko\u0308ln", "format", "Unicode normal form", ["city", "city:plan"]),
        ("city", "Koeln", "unseen", "not among the 3 values of training. Did you mean 'Köln'?", ["city", "city:plan"]),
        ("city", "Bonn", "value", "'Bonn' where training has 'Köln'", ["city", "city:plan"]),
        ("route", "c", "unseen", "the 2 values", ["route.target"]),
        ("day", "2024-01-06", "value", "2024-01-06", ["day.day", "day.day_of_week"]),
        ("day", "6.1.2024", "type", "no date in ISO 8601", None),
        ("at", "2024-01-05T10:00:00Z", "zone", "the same clock in another zone, +1 hours", ["at.hour"]),
        ("at", "2024-01-05T10:00:00", "zone", "no time zone", None),
        ("left", dt.datetime(2024, 1, 5, 9, tzinfo=dt.UTC), "zone", "has a time zone", None),
        ("took", 91, "value", "91", ["took"]),
        ("ok", "true", "type", "the same written otherwise", None),
        ("ok", False, "value", "False", ["ok"]),
    ],
)
def test_each_reason_and_what_it_changes(plan, column, value, reason, words, outputs):
    serving = ROW | {column: value}
    skew = plan.explain_skew(ROW, serving)
    assert [c.column for c in skew.columns] == [column]
    found = skew.columns[0]
    assert (found.reason, found.refused) == (reason, outputs is None)
    assert words in found.detail
    assert [o.output for o in found.outputs] == (outputs or [])
    assert repr(skew.outputs) == repr(found.outputs)
    assert skew
    assert column in str(skew)
    assert column in skew._repr_html_()
    if outputs is None:
        assert "the plan refuses such a row" in str(skew)


def test_a_column_that_is_not_there(plan):
    serving = {("Age" if name == "age" else name): value for name, value in ROW.items()}
    skew = plan.explain_skew(ROW, serving)
    assert skew.columns[0].reason == "missing column"
    assert "Did you mean 'Age'" in skew.columns[0].detail
    assert skew.columns[0].refused
    other = plan.explain_skew(serving, ROW)
    assert other.columns[0].detail == "the training row has no such column"
    assert [o.output for o in other.columns[0].outputs] == ["age"]


def test_rows_that_mean_the_same(plan):
    as_json = json.dumps(
        ROW
        | {"day": "2024-01-05", "at": "2024-01-05T09:00:00+00:00", "left": "2024-01-05T09:00:00", "took": 90.0}
        | {"age": 40.0, "more": [1]}
    )
    for same in (ROW, dict(reversed(ROW.items())), as_json, as_json.encode()):
        skew = plan.explain_skew(ROW, same)
        assert not skew
        assert str(skew) == "no skew: both rows mean the same to the plan"
    frame = pl.DataFrame([ROW])
    assert not plan.explain_skew(frame, ROW)
    assert not plan.explain_skew(frame.with_columns(pl.col("city").cast(pl.Categorical)), frame.to_arrow())


def test_the_outputs_of_the_whole_row(plan):
    skew = plan.explain_skew(ROW, ROW | {"city": "Bonn", "plan": "2", "age": 41})
    assert [c.column for c in skew.columns] == ["age", "plan", "city"]
    assert [o.output for o in skew.outputs] == ["age", "plan", "city", "city:plan"]
    assert skew.outputs[0].difference == 1


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("{", "no JSON"),
        ("[1]", "expected an object"),
        (pl.DataFrame({"age": [1, 2]}), "2 rows, expected one"),
        (7, "expected a frame"),
        ({**ROW, "age": "x"}, "column 'age'"),
    ],
)
def test_what_is_no_row(plan, row, words):
    with pytest.raises(DataError) as caught:
        plan.explain_skew(row, ROW)
    assert words in str(caught.value)


def test_a_column_in_neither_row(plan):
    less = {name: value for name, value in ROW.items() if name != "age"}
    with pytest.raises(DataError, match="neither row has the column 'age'"):
        plan.explain_skew(less, less)


texts = st.sampled_from(["1", "1.0", " 1", "a", "A", "é", "e\u0301", ""]) | st.text(max_size=3)


@settings(max_examples=80, deadline=None)
@given(
    st.tuples(st.none() | texts, st.none() | st.integers(-5, 5)), st.tuples(st.none() | texts, st.none() | st.floats())
)
def test_no_skew_means_the_same_bits_and_any_other_output_is_explained(training, serving):
    frame = pl.DataFrame({"s": ["1", "a", "é", "1"], "x": [1, 2, 3, 4], "y": [True, False] * 2})
    made = FeaturePlan.fit(frame, target="y", task="binary", config={"crosses": [{"columns": ["s", "x"]}]})
    left, right = (dict(zip("sx", row, strict=True)) for row in (training, serving))
    skew = made.explain_skew(left, right)
    if any(column.refused for column in skew.columns):
        assert right["x"] is not None
        assert not float(right["x"]).is_integer() or abs(right["x"]) >= 2**63
        return
    schema = {"s": pl.String, "x": pl.Float64}
    bits = [made.matrix(pl.DataFrame([row], schema=schema)).view(np.uint32)[0] for row in (left, right)]
    changed = [name for name, a, b in zip(made.outputs, *bits, strict=True) if a != b]
    assert [output.output for output in skew.outputs] == changed
    if not skew.columns:
        assert not changed


def test_a_row_and_sparse_rows_have_the_bits_of_the_frame(plan):
    frame = pl.DataFrame([ROW])
    bits = plan.matrix(frame).view(np.uint32)[0].tolist()
    as_json = json.dumps(ROW | {"day": "2024-01-05", "at": "2024-01-05T10:00:00+01:00", "left": "2024-01-05T09:00:00"}
                         | {"took": 90})  # fmt: skip
    for row in (ROW, as_json, as_json.encode()):
        assert plan.row(row).view(np.uint32).tolist() == bits
    assert plan.sparse(frame).toarray()[0].view(np.uint32).tolist() == bits
    missing = plan.row(ROW | {"amount": float("nan")})
    assert np.isnan(missing[plan.outputs.index("amount")])
    with pytest.raises(DataError, match="inf"):
        plan.row(ROW | {"amount": float("inf")})
    with pytest.raises(DataError, match="'age'"):
        plan.row("{}")


def test_a_row_is_read_as_the_frame_is(plan):
    from zoneinfo import ZoneInfo

    expected = plan.row(ROW)
    midnight = {**ROW, "left": dt.datetime(2024, 1, 5)}
    assert np.array_equal(plan.row({**ROW, "left": dt.date(2024, 1, 5)}), plan.row(midnight))
    old = {**ROW, "at": dt.datetime(1936, 5, 1, 12, tzinfo=ZoneInfo("Europe/Amsterdam"))}
    assert np.array_equal(plan.row(old), plan.row({**ROW, "at": old["at"].astimezone(dt.UTC)}))
    scalars = {"age": np.int64(40), "amount": np.float32(10.5), "ok": np.bool_(True)}
    assert np.array_equal(plan.row({**ROW, **scalars}), expected)
    for nothing_in_json in (float("inf"), 2**70, b"x", object()):
        found = plan.row({**ROW, "other": nothing_in_json}, extra_columns="ignore")
        assert np.array_equal(found, expected)
        with pytest.raises(DataError, match="other"):
            plan.row({**ROW, "other": nothing_in_json})


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("day", "20240105"),
        ("day", "2024-W01-5"),
        ("left", "2024-01-05 09:00"),
        ("left", "20240105T090000"),
        ("at", "2024-01-05T10:00:00+0100"),
        ("took", float("inf")),
        ("took", 1e300),
        ("city", "\ud800"),
    ],
)
def test_what_serving_refuses_is_told(plan, column, value):
    with pytest.raises(DataError):
        plan.row({**ROW, column: value})
    found = plan.explain_skew(ROW, {**ROW, column: value})
    assert [(skew.column, skew.refused) for skew in found.columns] == [(column, True)]


def test_numpy_scalars_zeros_and_other_types_of_the_same_value():
    frame = pl.DataFrame({"f": [0.5, 1.0, 2.0, 3.0] * 5, "y": [True, False, True, False] * 5})
    plan = FeaturePlan.fit(frame, target="y", task="binary")
    assert not plan.explain_skew({"f": 1.5}, {"f": np.float32(1.5)})
    assert not plan.explain_skew({"f": np.float64(1.5)}, {"f": 1.5})
    assert [skew.column for skew in plan.explain_skew({"f": 0.0}, {"f": -0.0}).columns] == ["f"]


def test_decimals_that_are_no_numbers():
    values = [Decimal(i) / 4 for i in range(20)]
    frame = pl.DataFrame({"d": pl.Series(values, dtype=pl.Decimal(10, 2)), "y": [True, False] * 10})
    plan = FeaturePlan.fit(frame, target="y", task="binary")
    for text in ("NaN", "Infinity", "1_0", "1e3"):
        found = plan.explain_skew({"d": "1.50"}, {"d": text})
        assert [(skew.column, skew.refused) for skew in found.columns] == [("d", True)]
    assert plan.explain_skew({"d": "1.50"}, {"d": "1.501"}).columns[0].column == "d"
    assert not plan.explain_skew({"d": Decimal("1.50")}, {"d": "1.5"})


def test_nanoseconds_are_not_lost():
    times = [f"2024-01-01T00:00:00.00000000{i % 4}" for i in range(20)]
    series = pl.Series(times).str.to_datetime(time_unit="ns")
    frame = pl.DataFrame({"at": series, "y": [True, False] * 10})
    plan = FeaturePlan.fit(frame, target="y", task="binary", config={"columns": {"at": {"treat_as": "category"}}})
    assert [skew.column for skew in plan.explain_skew({"at": times[0]}, {"at": times[1]}).columns] == ["at"]
    assert not plan.explain_skew({"at": times[1]}, {"at": times[1]})
