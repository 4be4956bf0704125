"""The feature plan against brute force in plain Python, row by row."""
# ruff: noqa: DTZ001  # datetimes without a zone are among what is tested

from __future__ import annotations

import copy
import datetime as dt
import json
import math
import struct
import time
import zoneinfo
from collections import Counter
from decimal import Decimal

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace import FeaturePlan
from headrace.compute.plan import infer_task
from headrace.errors import ConfigError, DataError, ModelFormatError

QUIET_NAN = 0x7FC00000
BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")


def fit(frame: pl.DataFrame, target: str = "y", task: str = "binary", **config) -> FeaturePlan:
    return FeaturePlan.fit(frame, target=target, task=task, config=config)


def labels(n: int) -> pl.Series:
    return pl.Series("y", [i % 2 == 0 for i in range(n)])


def bits(plan: FeaturePlan, frame: pl.DataFrame) -> np.ndarray:
    return plan.matrix(frame).view(np.uint32)


def to_float32(value: float | None) -> int:
    """The bits of the nearest float32, computed by `struct` and exact arithmetic, not by numpy or polars."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return QUIET_NAN
    try:
        return struct.unpack("<I", struct.pack("<f", value))[0]
    except OverflowError:
        return 0x7F800000 if value > 0 else 0xFF800000


# --- what becomes of columns ------------------------------------------------------------------------------------------


def mixed(n: int = 120) -> pl.DataFrame:
    rng = np.random.default_rng(7)
    start = dt.datetime(2023, 12, 30, 22, 15)
    return pl.DataFrame(
        {
            "amount": rng.normal(size=n),
            "count": rng.integers(0, 9, n),
            "flag": [None if i % 11 == 0 else bool(i % 3) for i in range(n)],
            "colour": rng.choice(["red", "green", "blue"], n, p=[0.6, 0.3, 0.1]).tolist(),
            "user_id": rng.permutation(n),
            "uuid": [f"{i:08x}-{n}" for i in range(n)],
            "day": [start.date() + dt.timedelta(days=5 * i) for i in range(n)],
            "at": [start + dt.timedelta(hours=i) for i in range(n)],
            "took": [dt.timedelta(milliseconds=1500 * i) for i in range(n)],
            "same": ["x"] * n,
            "nothing": [None] * n,
            "tags": [["a"]] * n,
            "y": [i % 2 == 0 for i in range(n)],
        }
    )


def test_auto_says_what_became_of_each_column_and_why():
    frame = mixed()
    choices = {choice["column"]: choice for choice in fit(frame).choices}
    assert list(choices) == frame.columns
    assert {name: choice["decision"] for name, choice in choices.items()} == {
        "amount": "number",
        "count": "number",
        "flag": "boolean",
        "colour": "category",
        "user_id": "dropped",
        "uuid": "dropped",
        "day": "time",
        "at": "time",
        "took": "duration",
        "same": "dropped",
        "nothing": "dropped",
        "tags": "dropped",
        "y": "excluded",
    }
    assert "named like an identifier" in choices["user_id"]["reason"]
    assert "identifier or free text" in choices["uuid"]["reason"]
    assert "constant ('x')" in choices["same"]["reason"]
    assert "null in every row" in choices["nothing"]["reason"]
    assert "list(string)" in choices["tags"]["reason"]
    assert choices["at"]["outputs"] == ["at.year", "at.month", "at.day", "at.day_of_week", "at.hour"]
    assert "never changing: minute, second" in choices["at"]["reason"]


def test_outputs_have_provenance_and_only_used_columns_are_inputs():
    plan = fit(mixed())
    assert plan.inputs == {
        "amount": "float64",
        "count": "int64",
        "flag": "boolean",
        "colour": "string",
        "day": "date",
        "at": "datetime[us]",
        "took": "duration[us]",
    }
    assert plan.nullable == {"flag"}
    assert plan.provenance("at.hour") == {
        "op": "time_part",
        "input": "at",
        "output": "at.hour",
        "part": "hour",
        "time_zone": None,
        "impute": None,
        "scaling": None,
    }
    assert plan.provenance("colour")["inputs"] == ["colour"]
    assert plan.sources["colour"] == ("colour",)
    assert plan.sources["at.hour"] == ("at",)
    with pytest.raises(KeyError):
        plan.provenance("uuid")
    assert plan.categorical == ("colour",)


def test_target_ids_and_excluded_columns_never_become_features():
    plan = fit(
        mixed(), id_columns=["count"], exclude=["type:time", "type:date", "regex:nothing here", "regex:a[lm].*", "at"]
    )
    assert set(plan.inputs) == {"flag", "colour", "took"}
    reasons = {c["column"]: c["reason"] for c in plan.choices if c["decision"] == "excluded"}
    assert reasons["count"] == "identifies a row (`id_columns`)"
    assert reasons["amount"] == "named by `exclude`"
    assert reasons["y"] == "the target"
    assert set(fit(mixed(), include=["type:number"]).inputs) == {"amount", "count"}
    odd = pl.DataFrame({"type:string": [1.0, 2.0], "b": [1.0, 3.0], "y": [True, False]})
    assert set(fit(odd, exclude=["name:type:string"]).inputs) == {"b"}


@pytest.mark.parametrize(
    ("name", "dropped"),
    [("id", True), ("user_id", True), ("userId", True), ("User ID", True), ("", True), ("Unnamed: 0", True),
     ("row-index", True), ("key", True), ("humid", False), ("paid", False), ("valid", False), ("price", False)],
)  # fmt: skip
def test_only_row_numbers_that_are_named_so_are_dropped(name, dropped):
    n = 40
    frame = pl.DataFrame({name: range(1000, 1000 + n), "x": np.arange(n) % 7, "y": [i % 2 == 0 for i in range(n)]})
    assert (name not in fit(frame).inputs) == dropped
    twice = frame.with_columns(pl.Series(name, [5, 5, *range(2, n)]))
    assert name in fit(twice).inputs
    assert name in fit(frame, columns={name: {"treat_as": "number"}}).inputs


def test_texts_that_could_be_read_better_say_so():
    numbers = [f"{i}.5" for i in range(60)]
    days = [str(dt.date(2024, 1, 1) + dt.timedelta(days=i)) for i in range(60)]
    frame = pl.DataFrame({"n": numbers, "d": days, "x": range(60), "y": [i % 2 == 0 for i in range(60)]})
    reasons = {choice["column"]: choice["reason"] for choice in fit(frame).choices}
    assert "read the column as numbers" in reasons["n"]
    assert "read the column as dates" in reasons["d"]


def test_values_that_float32_rounds_are_counted():
    frame = pl.DataFrame({"t": [2**24 + i for i in range(10)], "z": [1e300, 1.0] * 5, "y": labels(10)})
    reasons = {choice["column"]: choice["reason"] for choice in fit(frame).choices}
    assert "5 values beyond 2^24 are rounded" in reasons["t"]
    assert "5 infinite in float32" in reasons["z"]


def test_overrides():
    plan = fit(
        mixed(),
        columns={
            "user_id": {"treat_as": "category"},
            "count": {"treat_as": "category", "max_categories": 3},
            "colour": {"treat_as": "frequency"},
            "same": {"treat_as": "category"},
            "at": {"treat_as": "time", "time_parts": ["minute", "days"]},
            "flag": {"treat_as": "drop"},
        },
    )
    assert {"user_id", "count", "same"} <= set(plan.categorical)
    assert {"colour.frequency", "at.minute", "at.days"} <= set(plan.outputs)
    assert "flag" not in plan.inputs
    assert len(next(s for s in plan.document["steps"] if s.get("inputs") == ["count"])["vocabulary"]) == 3


# --- values, against brute force ------------------------------------------------------------------------------------


@given(
    st.lists(
        st.one_of(st.none(), st.floats(width=64), st.sampled_from([1e39, -1e39, 16777217.0, 5e-324, -0.0])),
        min_size=1,
        max_size=20,
    )
)
def test_floats_are_rounded_once_to_float32(values):
    frame = pl.DataFrame({"x": pl.Series([0.0, 1.0], dtype=pl.Float64), "y": [True, False]})
    got = bits(fit(frame), pl.DataFrame({"x": pl.Series(values, dtype=pl.Float64)}))
    assert got[:, 0].tolist() == [to_float32(value) for value in values]


@given(st.lists(st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1)), min_size=1, max_size=20))
def test_integers_are_rounded_once_to_float32(values):
    frame = pl.DataFrame({"x": [0, 1], "y": [True, False]})
    got = bits(fit(frame), pl.DataFrame({"x": pl.Series(values, dtype=pl.Int64)}))
    # Python's int -> float32 goes by way of float64, which rounds twice; numpy's does not.
    expected = [
        QUIET_NAN if v is None else int(np.array(v, np.int64).astype(np.float32).view(np.uint32)) for v in values
    ]
    assert got[:, 0].tolist() == expected
    assert got[:, 0].tolist() == [
        to_float32(v) if v is None or abs(v) < 2**53 else e for v, e in zip(values, expected, strict=True)
    ]


def test_nan_payloads_do_not_pass():
    odd = np.array([0x7FF8DEADBEEF0000, 0xFFF8000000000000], dtype=np.uint64).view(np.float64)
    plan = fit(pl.DataFrame({"x": [0.5, 1.5], "y": [True, False]}))
    assert bits(plan, pl.DataFrame({"x": odd}))[:, 0].tolist() == [QUIET_NAN, QUIET_NAN]


def test_every_width_of_number_means_the_number():
    plan = fit(pl.DataFrame({"x": [0.5, 1.5], "y": [True, False]}))
    for dtype in (pl.Int8, pl.UInt8, pl.Int16, pl.UInt16, pl.Int32, pl.UInt32, pl.Int64, pl.UInt64, pl.Int128,
                  pl.Float32, pl.Float64):  # fmt: skip
        assert plan.transform(pl.DataFrame({"x": pl.Series([0, 7, None], dtype=dtype)}))["x"].to_list()[:2] == [0, 7]
    decimals = pl.Series([Decimal("0.10"), Decimal("12345.67"), None], dtype=pl.Decimal(10, 2))
    assert bits(plan, pl.DataFrame({"x": decimals}))[:, 0].tolist() == [
        to_float32(0.10), to_float32(12345.67), QUIET_NAN,
    ]  # fmt: skip


texts = st.one_of(
    st.none(), st.sampled_from(["", "a", "b", "A", "é", "e\u0301", "🦆", "a ", "x\x00y", 'q"\n']), st.text(max_size=3)
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(texts, min_size=2, max_size=40), st.lists(texts, max_size=10), st.integers(1, 6))
def test_categories_against_counting(train, later, limit):
    frame = pl.DataFrame({"s": pl.Series(train, dtype=pl.String), "y": labels(len(train))})
    plan = fit(frame, columns={"s": {"treat_as": "category", "max_categories": limit}})
    counts = Counter(text for text in train if text is not None)
    ranked = sorted(counts, key=lambda text: (-counts[text], text.encode()))[:limit]
    code = {text: index for index, text in enumerate(ranked)}
    every = train + later
    expected = [len(ranked) if t is None else code.get(t, len(ranked) + 1) for t in every]
    assert plan.transform(pl.DataFrame({"s": pl.Series(every, dtype=pl.String)}))["s"].to_list() == expected


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(texts, min_size=2, max_size=40), st.lists(texts, max_size=10))
def test_frequencies_against_counting(train, later):
    frame = pl.DataFrame({"s": pl.Series(train, dtype=pl.String), "y": labels(len(train))})
    plan = fit(frame, columns={"s": {"treat_as": "frequency"}})
    counts = Counter(text for text in train if text is not None)
    expected = [QUIET_NAN if t is None else to_float32(counts[t] / len(train)) for t in train + later]
    got = bits(plan, pl.DataFrame({"s": pl.Series(train + later, dtype=pl.String)}))
    assert got[:, 0].tolist() == expected


def test_high_cardinality():
    n = 3000
    frame = pl.DataFrame({"few": [f"v{i % 90}" for i in range(n)], "many": [f"w{i % 700}" for i in range(n)]})
    frame = frame.with_columns(labels(n))
    plan = fit(frame, max_categories=100)
    decisions = {choice["column"]: choice for choice in plan.choices}
    assert decisions["few"]["decision"] == "category"
    assert decisions["many"]["decision"] == "target"
    assert "700 values in 3000 rows, too many for 100 codes" in decisions["many"]["reason"]
    assert plan.outputs == ("few", "many.target")
    forced = fit(frame, max_categories=100, columns={"many": {"treat_as": "category"}})
    assert "the 100 most frequent have a code" in forced.choices[1]["reason"]


def parts_by_hand(when: dt.datetime | dt.date) -> dict[str, int]:
    made = {
        "year": when.year,
        "quarter": (when.month + 2) // 3,
        "month": when.month,
        "week": when.isocalendar().week,
        "day": when.day,
        "day_of_year": when.timetuple().tm_yday,
        "day_of_week": when.isoweekday(),
        "days": when.toordinal() - dt.date(1970, 1, 1).toordinal(),
    }
    if isinstance(when, dt.datetime):
        made |= {"hour": when.hour, "minute": when.minute, "second": when.second}
    return made


ALL_PARTS = [
    "year",
    "quarter",
    "month",
    "week",
    "day",
    "day_of_year",
    "day_of_week",
    "hour",
    "minute",
    "second",
    "days",
]


@settings(max_examples=60, deadline=None)
@given(
    st.datetimes(min_value=dt.datetime(1700, 1, 1), max_value=dt.datetime(2098, 1, 1)),
    st.sampled_from(["ms", "us", "ns"]),
    st.booleans(),
)
def test_parts_of_datetimes_against_the_standard_library(when, unit, zoned):
    zone = "UTC" if zoned else None
    column = pl.Series("t", [when, when + dt.timedelta(days=400)], dtype=pl.Datetime(unit)).dt.replace_time_zone(zone)
    frame = pl.DataFrame([column, labels(2)])
    settings_ = {"treat_as": "time", "time_parts": ALL_PARTS, "cyclical": True}
    plan = fit(frame, columns={"t": settings_ | ({"time_zone": "Europe/Berlin"} if zoned else {})})
    shown = when.replace(tzinfo=dt.UTC).astimezone(BERLIN) if zoned else when
    got = plan.transform(frame).row(0, named=True)
    for part, value in parts_by_hand(shown).items():
        assert got[f"t.{part}"] == value, part
    month = 2 * math.pi * (shown.month - 1) / 12
    assert got["t.month.sin"] == pytest.approx(math.sin(month), abs=1e-7)
    assert got["t.month.cos"] == pytest.approx(math.cos(month), abs=1e-7)
    assert got["t.hour.sin"] == pytest.approx(math.sin(2 * math.pi * shown.hour / 24), abs=1e-7)


def test_dates_times_and_durations():
    frame = pl.DataFrame(
        {
            "d": [dt.date(1969, 12, 31), dt.date(2024, 2, 29), None],
            "t": [dt.time(23, 59, 58), dt.time(0, 1), None],
            "s": [dt.timedelta(microseconds=1), dt.timedelta(days=-1, seconds=0.5), None],
            "y": [True, False, True],
        }
    )
    got = fit(frame, time_parts=ALL_PARTS).transform(frame)
    for row, day in enumerate(frame["d"].to_list()[:2]):
        assert {p: got[f"d.{p}"][row] for p in parts_by_hand(day)} == parts_by_hand(day)
    assert [got[f"t.{p}"][0] for p in ("hour", "minute", "second")] == [23, 59, 58]
    assert got["s"].to_list()[:2] == [np.float32(1e-6), np.float32(-86399.5)]
    assert all(math.isnan(value) for value in got.row(2))


def test_a_date_column_with_one_day_and_missing_values_is_kept():
    frame = pl.DataFrame({"d": [dt.date(2024, 5, 1), None], "y": [True, False]})
    assert fit(frame).outputs == ("d.year",)


# --- the same bits, however the rows come ---------------------------------------------------------------------------


rows = st.lists(
    st.tuples(
        st.one_of(st.none(), st.floats()),
        st.one_of(st.none(), st.integers(-(2**40), 2**40)),
        st.one_of(st.none(), st.booleans()),
        texts,
        st.one_of(st.none(), st.datetimes(min_value=dt.datetime(1800, 1, 1), max_value=dt.datetime(2200, 1, 1))),
    ),
    min_size=4,
    max_size=30,
)
SCHEMA = {"f": pl.Float64, "i": pl.Int64, "b": pl.Boolean, "s": pl.String, "t": pl.Datetime("us")}


def forced_plan(data: list[tuple]) -> tuple[FeaturePlan, pl.DataFrame]:
    frame = pl.DataFrame(data, schema=SCHEMA, orient="row").with_columns(labels(len(data)))
    forced = {"f": "number", "i": "number", "b": "boolean", "s": "category"}
    columns = {name: {"treat_as": kind} for name, kind in forced.items()}
    return fit(frame, columns=columns, cyclical=True), frame


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(rows, st.integers(1, 7))
def test_row_by_row_chunked_sliced_and_after_json_the_bits_are_those_of_the_batch(data, size):
    plan, frame = forced_plan(data)
    whole = bits(plan, frame)
    assert np.array_equal(whole, np.concatenate([bits(plan, frame[i : i + 1]) for i in range(frame.height)]))
    chunked = pl.concat([frame[i : i + size] for i in range(0, frame.height, size)], rechunk=False)
    assert np.array_equal(whole, bits(plan, chunked))
    assert np.array_equal(whole[2:], bits(plan, frame.slice(2)))
    again = FeaturePlan.from_document(json.loads(json.dumps(plan.document)))
    assert again == plan
    assert again.document == plan.document
    assert np.array_equal(whole, bits(again, frame))
    assert np.array_equal(whole, bits(plan, frame.select(reversed(frame.columns))))
    assert np.array_equal(whole, bits(plan, frame.to_arrow()))


@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(rows, st.randoms(use_true_random=False))
def test_the_plan_does_not_depend_on_the_order_of_the_rows(data, random):
    plan, frame = forced_plan(data)
    order = list(range(frame.height))
    random.shuffle(order)
    assert fit(frame[order], columns=plan.document["config"]["columns"], cyclical=True) == plan


def test_categorical_and_enum_columns_are_text():
    words = ["b", "a", None, "b"]
    plain = pl.DataFrame({"s": words, "y": labels(4)})
    plan = fit(plain)
    for dtype in (pl.Categorical, pl.Enum(["a", "b", "zz"])):
        other = plain.with_columns(pl.col("s").cast(dtype))
        assert fit(other) == plan
        assert np.array_equal(bits(plan, other), bits(plan, plain))


def test_a_column_of_type_null_is_missing_whatever_was_expected():
    frame = mixed()
    plan = fit(frame)
    nothing = pl.DataFrame({name: [None] for name in plan.inputs})
    got = plan.transform(nothing).row(0, named=True)
    size = len(next(s for s in plan.document["steps"] if s["op"] == "category")["vocabulary"])
    assert got.pop("colour") == size
    assert all(math.isnan(value) for value in got.values())


def test_an_empty_frame_gives_an_empty_frame():
    plan = fit(mixed())
    assert plan.transform(mixed()[:0]).shape == (0, len(plan.outputs))


# --- what does not fit ----------------------------------------------------------------------------------------------


def error(call, kind=DataError) -> str:
    with pytest.raises(kind) as caught:
        call()
    return str(caught.value)


def test_wrong_types_name_the_column_and_the_first_row():
    frame = pl.DataFrame({"age": [1, 2, 3], "city": ["a", "b", "a"], "ok": [True, False, None], "y": labels(3)})
    plan = fit(frame)

    def given_(**changes):
        return lambda: plan.transform(frame.with_columns(**changes))

    message = error(given_(age=pl.Series(["1", None, "x1"])))
    assert "column 'age', row 2" in message
    assert "'x1'" in message
    assert "expects whole numbers (int64)" in message
    assert "column 'age', row 0" in error(given_(age=pl.Series(["1", "2", "3"])))
    assert "column 'city', row 0: holds whole numbers" in error(given_(city=pl.Series([1, 2, 3])))
    assert "column 'ok'" in error(given_(ok=pl.Series([1, 0, 1])))
    assert "column 'age', row 1: holds 2.5" in error(given_(age=pl.Series([1.0, 2.5, 3.0])))
    assert "inf" in error(given_(age=pl.Series([1.0, math.inf, 3.0])))
    missing = error(lambda: plan.transform(frame.rename({"city": "ciity"})))
    assert "column 'city'" in missing
    assert "'ciity'" in missing
    assert "found dict" in error(lambda: plan.transform({"age": [1]}))
    twice = pa.table([[1], [2]], names=["age", "age"])
    assert "the frame cannot be read" in error(lambda: plan.transform(twice))


def test_declared_casts():
    frame = pl.DataFrame(
        {"n": [1, 2, 3], "x": [0.5, 1.0, 2.0], "t": [dt.datetime(2024, 1, i) for i in (1, 2, 9)], "y": labels(3)}
    )
    plan = fit(frame)
    whole = frame.with_columns(n=pl.Series([1.0, None, 3.0]), x=pl.Series([1, 2, 3]), t=frame["t"].dt.date())
    got = plan.transform(whole)
    assert got["n"].to_list()[::2] == [1, 3]
    assert math.isnan(got["n"][1])
    assert got["x"].to_list() == [1, 2, 3]
    assert got["t.day"].to_list() == [1, 2, 9]
    zoned = error(lambda: plan.transform(frame.with_columns(frame["t"].dt.replace_time_zone("UTC"))))
    assert "has a time zone" in zoned


def test_the_same_instant_in_another_zone_gives_the_same_bits():
    at = pl.Series("t", [dt.datetime(2024, 3, 31, h) for h in (0, 1, 2, 23)]).dt.replace_time_zone("UTC")
    frame = pl.DataFrame([at, labels(4)])
    plan = fit(frame, time_zone="Europe/Berlin")
    assert plan.provenance("t.hour")["time_zone"] == "Europe/Berlin"
    tokyo = frame.with_columns(at.dt.convert_time_zone("Asia/Tokyo"))
    assert np.array_equal(bits(plan, frame), bits(plan, tokyo))
    hours = [dt.datetime(2024, 3, 31, h, tzinfo=dt.UTC).astimezone(BERLIN).hour for h in (0, 1, 2, 23)]
    assert plan.transform(frame)["t.hour"].to_list() == hours


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"exclud": ["a"]}, ["exclud", "Did you mean 'exclude'"]),
        ({"exclude": ["agee"]}, ["'agee'", "Did you mean 'age'?"]),
        ({"id_columns": ["nope"]}, ["nope", "Known: 'age'"]),
        ({"columns": {"agee": {}}}, ["'agee'", "'age'"]),
        ({"columns": {"age": {"treatas": "drop"}}}, ["columns.age.treatas", "'treat_as'"]),
        ({"columns": {"age": {"treat_as": "time"}}}, ['cannot be "time"', "number, bins, category"]),
        ({"columns": {"x": {"treat_as": "boolean"}}}, ["float64", "Possible: number"]),
        ({"columns": {"type:float": {"treat_as": "text"}}}, ["'x'", 'cannot be "text"']),
        ({"columns": {"x": {"clip": [2, 1]}}}, ["columns.x", "does not ascend"]),
        ({"columns": {"x": {"clip": [-math.inf, math.inf]}}}, ["columns.x", "neither end"]),
        ({"columns": {"x": {"clip": [0, 1], "clip_quantiles": [0, 1]}}}, ["exclude each other"]),
        ({"columns": {"x": {"bins": [1.0, 1.0]}}}, ["do not ascend"]),
        ({"columns": {"regex:a.*": {"scale": "robust"}, "regex:.*e": {"scale": "none"}}}, ["'age'", "exact name"]),
        ({"crosses": [{"columns": ["age"]}]}, ["crosses.0.columns"]),
        ({"crosses": [{"columns": ["age", "xx"]}]}, ["'xx'", "Did you mean 'x'"]),
        ({"crosses": [{"columns": ["age", "y"]}]}, ["'y'", "the target"]),
        ({"crosses": [{"columns": ["age", "x"], "treat_az": "hash"}]}, ["crosses.0.treat_az", "'treat_as'"]),
        ({"crosses": [{"columns": ["age", "x"]}], "exclude": ["x"]}, ["'x'", 'treat_as = "drop"']),
        ({"differences": [{"later": "t", "earlier": "z"}]}, ["cannot be subtracted", "datetime[us, UTC]"]),
        ({"differences": [{"later": "t", "earlier": "x"}]}, ["cannot be subtracted"]),
        ({"differences": [{"later": "t"}]}, ["differences.0.earlier"]),
        ({"columns": {"age": {"treat_as": "hash", "size": 2**21}}}, ["columns.age", "at most 1048576"]),
        ({"crosses": [{"columns": ["age", "x"], "treat_as": "hash", "size": 2**20}]}, ["1,048,57", "smaller `size`"]),
        ({"crosses": [{"columns": ["age", "x"], "treat_as": "hash", "size": 2**24}]}, ["crosses.0", "at most 1048576"]),
        (
            {"columns": {"x": {"clip": [0, 1]}, "type:float": {"clip_quantiles": [0, 1]}}},
            ["'type:float' and 'x'", "exclude each other"],
        ),
        ({"model_kind": "forest"}, ["model_kind", "'trees' or 'linear'"]),
        ({"columns": {"t": {"time_zone": "Europe/Berlin"}}}, ["no time zone"]),
        ({"time_zone": "Europe/Berlinn"}, ["'Europe/Berlinn'", "Europe/Berlin'"]),
        ({"exclude": ["type:text"]}, ["type:text", "string"]),
        ({"exclude": ["regex:("]}, ["no regular expression"]),
        ({"max_categories": 0}, ["max_categories"]),
    ],
)
def test_a_config_that_does_not_fit_says_what_would(config, words):
    frame = pl.DataFrame(
        {
            "age": [1, 2, 3],
            "x": [0.5, 1.5, 2.5],
            "t": [dt.datetime(2024, 1, i) for i in (1, 2, 9)],
            "z": pl.Series([dt.datetime(2024, 1, i) for i in (1, 2, 9)]).dt.replace_time_zone("UTC"),
            "y": labels(3),
        }
    )
    message = error(lambda: fit(frame, **config), ConfigError)
    for word in words:
        assert word in message


def test_no_feature_left_lists_what_was_dropped():
    frame = pl.DataFrame({"a": [1, 1, 1], "b": [None] * 3, "y": labels(3)})
    message = error(lambda: fit(frame))
    assert "'a': constant (1)" in message
    assert "'b': null in every row" in message
    assert "treat_as" in message
    assert "all are excluded" in error(lambda: fit(frame, exclude=["a", "b"]))


def test_names_may_be_anything_and_outputs_never_collide():
    when = [dt.date(2024, 1, 1), dt.date(2024, 2, 3), dt.date(2025, 1, 1)]
    names = ['a"b', "c\nd", "🦆", "^.*$", "*", "", " ", "t.month", "{}", "f0", "y.day", "[x]", ",:"]
    data = {name: [float(i), 2.0, 3.5] for i, name in enumerate(names)}
    frame = pl.DataFrame(data | {"t": when, "y": when}).with_columns(pl.Series("t.year", [True, False, True]))
    plan = fit(frame, target="t.year", columns={"y": {"treat_as": "time"}})
    assert len(set(plan.outputs)) == len(plan.outputs)
    assert "t.year" not in plan.outputs  # the target's name
    got = plan.transform(frame)
    for name in names:
        assert got[name].to_list() == frame[name].to_list()
    assert got["t.month~2"].to_list() == [1, 2, 1]
    assert got["t.year~2"].to_list() == [2024, 2024, 2025]
    assert got["y.day~2"].to_list() == [1, 3, 1]


# --- the document ---------------------------------------------------------------------------------------------------


def test_the_document_is_plain_json_and_a_copy():
    plan = fit(mixed())
    document = plan.document
    document["steps"].clear()
    assert plan.document["steps"]
    assert plan.document["format"] == 2
    assert len(plan.fingerprint) == 64


def test_the_fingerprint_is_of_what_is_computed():
    plan = fit(mixed())
    worded = plan.document
    worded["choices"][0]["reason"] = "because"
    assert FeaturePlan.from_document(worded) == plan
    assert fit(mixed(), max_categories=2) != plan
    assert hash(FeaturePlan.from_document(plan.document)) == hash(plan)


def damage(document, path, value):
    made = copy.deepcopy(document)
    at = made
    for key in path[:-1]:
        at = at[key]
    if value is KeyError:
        del at[path[-1]]
    else:
        at[path[-1]] = value
    return made


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (["format"], 1, "made by an unreleased headrace"),
        (["format"], 3, "has format 3"),
        (["format"], "1", "format"),
        (["format"], KeyError, "format"),
        (["steps", 0, "input"], "nope", "'nope', which is no input"),
        (["steps", 0, "op"], "eval", "steps.0"),
        (["steps", 0, "extra"], 1, "extra"),
        (["steps", 1, "output"], "amount", "'amount' is there twice"),
        (["steps", 3, "missing"], 1, "not one code a text"),
        (["steps", 3, "vocabulary"], ["red", "blue", "green"], "fingerprint"),
        (["inputs", 0, "type"], "float8", "float8"),
        (["inputs", 0, "type"], "int64", "fingerprint"),
        (["target", "classes"], [], "classes"),
        (["target", "classes"], [0, 1], "fingerprint"),
        (["fingerprint"], "0" * 64, "fingerprint"),
        (["inputs"], KeyError, "inputs"),
        (["steps", 0, "input"], math.nan, "JSON"),
    ],
)
def test_a_damaged_document_is_refused(path, value, words):
    document = fit(mixed()).document
    assert document["steps"][3]["op"] == "category"
    message = error(lambda: FeaturePlan.from_document(damage(document, path, value)), ModelFormatError)
    assert words in message
    assert "feature plan" in message


@settings(max_examples=60, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=4),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["format", "inputs", "steps", "target", "fingerprint", "op"]), inner, max_size=5
            )
        ),
    )
)
def test_whatever_is_no_plan_is_refused(document):
    with pytest.raises(ModelFormatError):
        FeaturePlan.from_document(document)


def test_it_is_an_artifact_that_shows_itself():
    plan = fit(mixed().rename({"colour": "<b>"}))
    assert "7 columns -> " in repr(plan)
    assert "&lt;b&gt;" in plan._repr_html_()
    assert "<b>" not in plan._repr_html_()


# --- the target -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "dtype", "classes"),
    [
        ([True, False, True], pl.Boolean, (False, True)),
        ([3, 1, 2], pl.Int8, (1, 2, 3)),
        ([10, 9, 9], pl.UInt64, (9, 10)),
        ([2.5, 1.0, 2.5], pl.Float32, (1.0, 2.5)),
        (["b", "B", "a"], pl.String, ("B", "a", "b")),
        (["10", "9", "é"], pl.Categorical, ("10", "9", "é")),
        (["no", "yes", "no"], pl.Enum(["yes", "no", "maybe"]), ("no", "yes")),
    ],
)
def test_classes_are_sorted_and_labels_come_back_in_their_type(values, dtype, classes):
    frame = pl.DataFrame({"x": [1.0, 2.0, 3.0], "y": pl.Series(values, dtype=dtype)})
    plan = FeaturePlan.from_document(json.loads(json.dumps(fit(frame, task="multiclass").document)))
    assert plan.classes == classes
    assert [type(label) for label in plan.classes] == [type(label) for label in classes]
    codes = plan.encode_target(frame)
    assert codes.dtype == pl.Int32
    assert codes.name == "y"
    assert codes.to_list() == [classes.index(value) for value in values]
    back = plan.decode_labels(codes.to_numpy())
    assert back.dtype == frame["y"].dtype
    assert back.to_list() == values


def test_a_label_may_come_in_another_width():
    frame = pl.DataFrame({"x": [1.0, 2.0], "y": [0, 1]})
    plan = fit(frame)
    assert plan.encode_target(frame.with_columns(y=pl.Series([1.0, 0.0]))).to_list() == [1, 0]
    assert plan.encode_target(frame.with_columns(y=pl.Series([1, 0], dtype=pl.UInt8))).to_list() == [1, 0]
    assert "held int64 in training" in error(lambda: plan.encode_target(frame.with_columns(y=pl.Series(["1", "0"]))))


def test_labels_that_are_missing_or_unknown():
    frame = pl.DataFrame({"x": [1.0, 2.0, 3.0], "y": ["a", "b", "a"]})
    plan = fit(frame)
    later = frame.with_columns(y=pl.Series(["b", None, "zz"]))
    assert plan.encode_target(later, strict=False).to_list() == [1, None, None]
    message = error(lambda: plan.encode_target(later))
    assert "column 'y', row 1" in message
    assert "'a', 'b'" in message
    assert FeaturePlan.labelled(later, "y").height == 2
    floats = pl.DataFrame({"x": [1.0, 2.0, 3.0], "y": [1.0, math.nan, None]})
    assert FeaturePlan.labelled(floats, "y").height == 1


def test_regression_targets():
    frame = pl.DataFrame({"x": [1.0, 2.0, 3.0], "y": pl.Series([3, 1, 2], dtype=pl.Int16)})
    plan = fit(frame, task="regression")
    assert plan.classes == ()
    assert plan.encode_target(frame).dtype == pl.Float64
    infinite = frame.with_columns(y=pl.Series([1.0, math.inf, 2.0]))
    assert "a finite number" in error(lambda: plan.encode_target(infinite))
    assert "row 1" in error(lambda: fit(infinite, task="regression"))


@pytest.mark.parametrize(
    ("y", "task", "words"),
    [
        ([None, None, None], "binary", "no value in any"),
        (["a", "a", "a"], "binary", "1 different value ('a')"),
        (["a", "b", "c"], "binary", 'task = "multiclass"'),
        (["a", None, "b"], "binary", "missing in 1 of 3 rows"),
        (["a", "b", "a"], "regression", "regression needs numbers"),
        ([1.5, 1.5, 1.5], "regression", "1.5 in every row"),
        ([[1], [2], [3]], "binary", "list(int64)"),
        ([dt.date(2024, 1, 1)] * 3, "regression", "date"),
        ([1.0, math.nan, 2.0], "regression", "row 1"),
    ],
)
def test_a_target_that_cannot_be_one(y, task, words):
    assert words in error(lambda: fit(pl.DataFrame({"x": [1.0, 2.0, 3.0], "y": y}), task=task))


def test_a_target_that_is_absent_names_the_nearest():
    assert "'y'" in error(lambda: fit(pl.DataFrame({"x": [1.0], "y": [True]}), target="yy"))
    assert "no rows" in error(lambda: fit(pl.DataFrame({"x": [], "y": []}, schema={"x": pl.Float64, "y": pl.Boolean})))


@pytest.mark.parametrize(
    ("values", "task"),
    [
        ([True, False, None], "binary"),
        (["yes", "no", None], "binary"),
        (["a", "b", "c"], "multiclass"),
        ([0, 1, 1], "binary"),
        ([0.0, 1.0, None], "binary"),
        ([5, 900, 5], "binary"),
        ([0.5, 1.5], "regression"),
        ([0, 1, 2] * 20, "multiclass"),
        ([0.0, 1.0, 2.0, None] * 20, "multiclass"),
        ([0, 1, 2], "regression"),
        ([100, 200, 300] * 20, "regression"),
        ([-1, 0, 1] * 20, "regression"),
        (list(range(1000)), "regression"),
        ([0.1, 0.2, 0.3] * 20, "regression"),
        ([Decimal("1.5"), Decimal("2.5"), Decimal("3.5")], "regression"),
    ],
)
def test_the_task_that_a_target_asks_for(values, task):
    assert infer_task(pl.Series("y", values)) == task


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([], "no rows"),
        ([None, None], "no value in any of 2 rows"),
        ([math.nan, None], "no value in any of 2 rows"),
        ([7, 7, None], "is 7 in every row"),
        ([dt.date(2024, 1, 1), dt.date(2024, 1, 2)], "date"),
        ([f"id{i}" for i in range(500)], "not classes"),
    ],
)
def test_a_target_that_asks_for_nothing(values, words):
    message = error(lambda: infer_task(pl.Series("y", values)))
    assert words in message
    assert "'y'" in message or words == "no rows"


# --- size -----------------------------------------------------------------------------------------------------------


def test_five_thousand_columns():
    rng = np.random.default_rng(0)
    frame = pl.DataFrame(rng.normal(size=(200, 5000)), schema=[f"c{i}" for i in range(5000)]).with_columns(labels(200))
    started = time.process_time()
    plan = fit(frame)
    again = FeaturePlan.from_document(plan.document)
    assert np.array_equal(bits(again, frame)[:1], bits(plan, frame[:1]))
    assert len(plan.outputs) == 5000
    assert time.process_time() - started < 20  # a second or so; quadratic work would take minutes
