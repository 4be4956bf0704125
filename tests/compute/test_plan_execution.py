"""The core's execution of plans: the same bits however rows come, and no wrong number whatever comes.

What each step computes is held against the reference in `test_plan_steps`.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import itertools
import json
import math
from decimal import Decimal
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from compute import plan_reference as reference
from compute.test_plan_steps import TARGET, plans, rows, to_frame
from headrace import FeaturePlan, _core
from headrace.compute.plan.document import fingerprint
from headrace.errors import DataError, ModelFormatError

QUIET = settings(
    max_examples=40, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], deadline=None
)


def sealed(made: dict[str, Any]) -> dict[str, Any]:
    return {**made, "fingerprint": fingerprint(made)}


def document(types: dict[str, str], steps: list[dict[str, Any]]) -> dict[str, Any]:
    inputs = [{"name": name, "type": kind, "nullable": True} for name, kind in types.items()]
    return sealed({"format": 2, "inputs": inputs, "transforms": [], "steps": steps, "target": TARGET})


def compiled(types: dict[str, str], *steps: dict[str, Any]) -> _core.Plan:
    return _core.Plan(json.dumps(document(types, list(steps))))


def number(name: str = "x", **options: Any) -> dict[str, Any]:
    return {"op": "number", "input": name, "output": name, **options}


def category(*names: str, vocabulary: tuple[str, ...] = ("a", "b")) -> dict[str, Any]:
    size = len(vocabulary)
    return {"op": "category", "inputs": list(names), "output": "-".join(names), "vocabulary": list(vocabulary),
            "missing": size, "unseen": size + 1}  # fmt: skip


def bits(values: np.ndarray) -> np.ndarray:
    assert values.dtype == np.float32
    return np.ascontiguousarray(values).view(np.uint32)


def error(call: Any, kind: type[Exception] = DataError) -> str:
    with pytest.raises(kind) as caught:
        call()
    return str(caught.value)


# --- the same bits ------------------------------------------------------------------------------------------------


@QUIET
@given(st.data())
def test_however_the_frame_lies(data):
    made = data.draw(rows)
    plan = _core.Plan(json.dumps(data.draw(plans(made))))
    frame = to_frame(made)
    whole = bits(plan.matrix(frame, threads=1))
    assert whole.shape == (frame.height, len(plan.outputs))
    assert np.array_equal(whole, bits(plan.matrix(frame, order="F", threads=2)))
    assert plan.matrix(frame, order="F").flags.f_contiguous

    cuts = sorted({0, frame.height, *data.draw(st.lists(st.integers(0, frame.height), max_size=4))})
    pieces = [frame[start:end] for start, end in itertools.pairwise(cuts)]
    assert np.array_equal(whole, bits(plan.matrix(pl.concat([frame[:0], *pieces], rechunk=False))))
    assert np.array_equal(whole, np.concatenate([bits(plan.matrix(piece)) for piece in pieces]))
    start = data.draw(st.integers(0, frame.height))
    assert np.array_equal(whole[start:], bits(plan.matrix(frame.slice(start))))
    assert np.array_equal(whole[start:], bits(plan.matrix(frame.to_arrow().slice(start))))
    assert np.array_equal(whole, bits(plan.matrix(frame.select(reversed(frame.columns)))))

    data_, indices, indptr = plan.sparse(frame, threads=data.draw(st.integers(1, 2)))
    sparse = scipy.sparse.csr_matrix((data_, indices, indptr), shape=whole.shape)
    assert sparse.has_canonical_format
    assert not (data_ == 0).any()
    dense = plan.matrix(frame)
    assert np.array_equal(bits(sparse.toarray()), bits(np.where(dense == 0, np.float32(0), dense)))


TEXT_TYPES = [
    pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string()),
    pa.dictionary(pa.uint32(), pa.large_string()), pa.dictionary(pa.int64(), pa.string()),
]  # fmt: skip


@QUIET
@given(st.data())
def test_however_texts_are_encoded(data):
    made = data.draw(rows)
    plan = _core.Plan(json.dumps(data.draw(plans(made))))
    frame = to_frame(made)
    whole = bits(plan.matrix(frame))
    for dtype in (pl.Categorical, pl.Enum(frame["s"].drop_nulls().unique().sort())):
        assert np.array_equal(whole, bits(plan.matrix(frame.with_columns(pl.col("s").cast(dtype)))))
    kind = data.draw(st.sampled_from(TEXT_TYPES))
    table = frame.to_arrow()
    for name in "st":
        plain = pa.chunked_array([table[name].combine_chunks().cast(pa.string())])
        encoded = plain.dictionary_encode().cast(kind) if pa.types.is_dictionary(kind) else plain.cast(kind)
        table = table.set_column(table.schema.get_field_index(name), name, encoded)
    assert np.array_equal(whole, bits(plan.matrix(table)))
    start = data.draw(st.integers(0, frame.height))
    assert np.array_equal(whole[start:], bits(plan.matrix(table.slice(start))))


@settings(QUIET, max_examples=12)
@given(st.data())
def test_many_rows_on_two_threads(data):
    made = data.draw(rows)
    plan = _core.Plan(json.dumps(data.draw(plans(made))))
    frame = to_frame(made)
    times = 5000 // frame.height
    many = pl.concat([frame] * times)
    expected = np.tile(bits(plan.matrix(frame)), (times, 1))
    for frames in (many, many.rechunk()):
        for threads in (1, 2, 3):
            assert np.array_equal(expected, bits(plan.matrix(frames, threads=threads)))
            assert np.array_equal(expected, bits(plan.matrix(frames, threads=threads, order="F")))
    one, two = plan.sparse(many, threads=1), plan.sparse(many, threads=2)
    assert all(np.array_equal(a, b, equal_nan=True) for a, b in zip(one, two, strict=True))


def as_json(row: dict[str, Any]) -> bytes:
    def plain(name: str, value: Any) -> Any:
        if isinstance(value, float):
            return None if math.isnan(value) else value
        if isinstance(value, Decimal):
            return str(value)
        if isinstance(value, dt.timedelta):
            return value / dt.timedelta(seconds=1)
        return value.isoformat() if isinstance(value, dt.date | dt.time) else value

    return json.dumps({name: plain(name, value) for name, value in row.items()}, ensure_ascii=False).encode()


@QUIET
@given(st.data())
def test_a_row_of_json_is_a_row_of_the_batch(data):
    made = [row for row in data.draw(rows) if not any(row[name] is not None and math.isinf(row[name]) for name in "fg")]
    if not made:
        return
    plan = _core.Plan(json.dumps(data.draw(plans(made))))
    whole = bits(plan.matrix(to_frame(made)))
    for row, expected in zip(made, whole, strict=True):
        assert np.array_equal(bits(plan.row(as_json({**row, "more": [1, {"a": None}]}))), expected)


def test_many_hashed_columns_and_a_long_text():
    step = {"op": "hash", "inputs": ["s"], "output": "h", "prefix": "s=", "size": 1 << 17, "signed": True}
    plan = compiled({"s": "string"}, step)
    frame = pl.DataFrame({"s": ["x" * 100_000_000, "a", None]})
    assert "131072 outputs" in error(lambda: plan.matrix(frame))
    assert "131072 outputs" in error(lambda: plan.row(b'{"s": "a"}'))
    values, indices, indptr = plan.sparse(frame)
    hashes = [reference.murmur3(("s=" + text).encode()) for text in ["a"]]
    assert indptr.tolist() == [0, 1, 2, 2]
    assert indices[1] == abs(hashes[0]) % (1 << 17)
    assert values[1] == (-1 if hashes[0] < 0 else 1)
    assert plan.sparse(frame[1:2])[1].tolist() == [indices[1]]


def test_minus_zero_as_a_constant_is_zero():
    kinds = {"x": "float64"}
    frame = pl.DataFrame({"x": [None, -0.0, 0.0, -5.0]})
    steps = [number(impute=zero, clip=[zero, None], scaling={"center": zero, "scale": 1}) for zero in (0.0, -0.0)]
    one, two = (compiled(kinds, step) for step in steps)
    assert one.fingerprint == two.fingerprint
    assert np.array_equal(bits(one.matrix(frame)), bits(two.matrix(frame)))
    assert bits(one.matrix(frame))[:, 0].tolist() == [0, 0x80000000, 0, 0]


def test_every_width_of_number_as_a_key():
    plan = compiled(
        {"x": "int64", "y": "float32"}, category("x", vocabulary=("7", "-1")), category("y", vocabulary=("0.1", "7"))
    )
    for dtype in (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.Int128, pl.Float32, pl.Float64):
        frame = pl.DataFrame({"x": pl.Series([7, -1, None, 3], dtype=dtype), "y": [0.1, 7.0, math.nan, 0.2]})
        assert plan.matrix(frame).tolist() == [[0, 0], [1, 1], [2, 2], [3, 3]]
    for dtype in (pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64, pl.UInt128):
        frame = pl.DataFrame({"x": pl.Series([7, 255], dtype=dtype), "y": pl.Series([7, 255], dtype=dtype)})
        assert plan.matrix(frame).tolist() == [[0, 1], [3, 3]]
    half = pl.DataFrame({"x": pl.Series([7, 2], dtype=pl.Float16), "y": pl.Series([7, 2], dtype=pl.Float16)})
    assert plan.matrix(half).tolist() == [[0, 1], [3, 3]]
    integers = pa.table({"x": pa.array([7, -1, 7]).dictionary_encode(), "y": pa.array([7, 8, 7], pa.int8())})
    assert plan.matrix(integers).tolist() == [[0, 1], [1, 3], [0, 1]]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_units_of_arrow(unit):
    kinds = {"t": "datetime[us]", "c": "time", "l": "duration[us]", "z": "datetime[ms, UTC]"}
    part = {"op": "time_part", "time_zone": None}
    plan = compiled(
        kinds,
        {**part, "input": "t", "output": "hour", "part": "hour"},
        {**part, "input": "c", "output": "minute", "part": "minute"},
        {"op": "seconds", "input": "l", "output": "l"},
        {**part, "input": "z", "output": "z", "part": "day", "time_zone": "Asia/Tokyo"},
        {"op": "difference", "inputs": ["t", "t"], "output": "none"},
    )
    clock = pa.time32(unit) if unit in ("s", "ms") else pa.time64(unit)
    factor = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    table = pa.table(
        {
            "t": pa.array([5 * 3600 * factor, None], pa.timestamp(unit)),
            "c": pa.array([7 * 60 * factor, None], clock),
            "l": pa.array([-9 * factor, None], pa.duration(unit)),
            "z": pa.array([20 * 3600 * factor, None], pa.timestamp(unit, "Europe/Berlin")),
        }
    )
    found = plan.matrix(table)
    assert found[0].tolist() == [5, 7, -9, 2, 0]
    assert np.isnan(found[1]).all()


def test_names_with_a_nul_and_columns_that_arrow_does_not_know():
    frame = pl.DataFrame(
        {"a\0b": [1.0, 2.0], "o": pl.Series([object(), object()], dtype=pl.Object), "y": [True, False]}
    )
    frame = frame.drop("o")
    plan = FeaturePlan.fit(frame, target="y", task="binary")
    assert plan.matrix(frame).tolist() == [[1], [2]]
    interval = pa.table({"x": [1.0], "i": pa.array([(1, 2, 3)], pa.month_day_nano_interval())})
    assert compiled({"x": "float64"}, number()).matrix(interval).tolist() == [[1]]
    assert "column 'i'" in error(lambda: compiled({"i": "float64"}, number("i")).matrix(interval))


def test_empty_frames_and_plans():
    plan = compiled({"x": "float64", "s": "string"}, number(), category("s"))
    assert plan.matrix(pl.DataFrame({"x": [], "s": []}, schema={"x": pl.Float64, "s": pl.String})).shape == (0, 2)
    assert plan.matrix(pa.table({"x": pa.array([], pa.float64()), "s": pa.array([], pa.string())})).shape == (0, 2)
    assert "has no column 'x'" in error(lambda: plan.matrix(pl.DataFrame()))
    nothing = compiled({})
    assert nothing.matrix(pl.DataFrame({"x": [1, 2, 3]})).shape == (3, 0)
    assert nothing.row(b"{}").shape == (0,)
    assert nothing.sparse(pl.DataFrame({"x": [1, 2, 3]}))[2].tolist() == [0, 0, 0, 0]


# --- what does not fit --------------------------------------------------------------------------------------------


def raw_texts(offsets: list[int], data: bytes) -> pa.Array:
    buffer = pa.array(offsets, pa.int32()).buffers()[1]
    return pa.Array.from_buffers(pa.string(), len(offsets) - 1, [None, buffer, pa.py_buffer(data)])


BY_KEY = {
    "category": category("s"),
    "cross": category("s", "s"),
    "bucket": {"op": "bucket", "inputs": ["s"], "output": "k", "prefix": "", "buckets": 9},
    "one_hot": {"op": "one_hot", "inputs": ["s"], "output": "h", "vocabulary": ["a"]},
    "text": {"op": "text", "input": "s", "output": "w", "size": 4, "analyzer": "word", "ngrams": [1, 1],
             "lowercase": True, "strip_accents": None, "stop_words": [], "signed": True, "norm": None, "binary": False},
}  # fmt: skip


@pytest.mark.parametrize("step", BY_KEY.values(), ids=BY_KEY)
def test_damaged_buffers(step):
    plan = compiled({"s": "string"}, step)

    def of(array: Any) -> str:
        return error(lambda: plan.matrix(pa.table({"s": pa.chunked_array([pa.array(["a", "b"]), array])})))

    for text in (b"b\xff", b"\xed\xa0\x80", b"a long text that ends in the middle of \xc3"):
        message = of(raw_texts([0, 1, 1 + len(text)], b"a" + text))
        assert "column 's', row 3" in message
        assert "not UTF-8" in message
        views = pa.array([b"a", text], pa.binary_view()).view(pa.string_view())
        assert "row 1" in error(lambda views=views: plan.matrix(pa.table({"s": views})))
        codes = pa.array([0, 0, 1, 0], pa.int8())
        dictionary = pa.DictionaryArray.from_arrays(codes, raw_texts([0, 1, 1 + len(text)], b"a" + text))
        assert "row 2" in error(lambda dictionary=dictionary: plan.matrix(pa.table({"s": dictionary})))
        unused = pa.DictionaryArray.from_arrays(pa.array([0, 0, 0]), raw_texts([0, 1, 1 + len(text)], b"a" + text))
        assert len(plan.matrix(pa.table({"s": unused}))) == 3
    assert "row 2" in of(raw_texts([3, 1, 4], b"abcd"))
    assert "row 3" in of(raw_texts([0, -1, 4], b"abcd")) or "row 2" in of(raw_texts([0, -1, 4], b"abcd"))
    for codes in ([0, 1, 5], [0, 1, -1]):
        keys = pa.array(codes, pa.int8())
        broken = pa.DictionaryArray.from_arrays(keys, pa.array(["a", "b"]), safe=False)
        message = error(lambda broken=broken: plan.matrix(pa.table({"s": broken})))
        assert "column 's', row 2" in message
        assert "dictionary key" in message


def test_what_lies_under_a_null_is_anything():
    year = {"op": "time_part", "input": "d", "output": "d", "part": "year", "time_zone": None}
    plan = compiled({"s": "string", "d": "date"}, category("s"), year)
    validity = pa.py_buffer(b"\x01")
    offsets = pa.array([0, 1, 3], pa.int32()).buffers()[1]
    texts = pa.Array.from_buffers(pa.string(), 2, [validity, offsets, pa.py_buffer(b"a\xff\xff")])
    days = pa.Array.from_buffers(pa.date32(), 2, [validity, pa.array([365, 2**31 - 1], pa.int32()).buffers()[1]])
    assert plan.matrix(pa.table({"s": texts, "d": days}))[0].tolist() == [0, 1971]


def test_moments_beyond_the_calendar_name_the_row():
    part = {"op": "time_part", "part": "year", "time_zone": None}
    plan = compiled({"d": "date", "t": "datetime[us]", "z": "datetime[ms, UTC]", "c": "time"},
                    {**part, "input": "d", "output": "d"}, {**part, "input": "t", "output": "t"},
                    {**part, "input": "z", "output": "z", "time_zone": "Europe/Berlin"},
                    {**part, "input": "c", "output": "c", "part": "hour"})  # fmt: skip

    def table(**changes: Any) -> pa.Table:
        made = {"d": pa.array([1, 1], pa.date32()), "t": pa.array([1, 1], pa.timestamp("us")),
                "z": pa.array([1, 1], pa.timestamp("ms", "UTC")), "c": pa.array([1, 1], pa.time64("ns"))}  # fmt: skip
        return pa.table(made | changes)

    assert plan.matrix(table())[1].tolist() == [1970, 1970, 1970, 0]
    for name, kind, value in [("d", pa.date32(), 2**31 - 1), ("t", pa.timestamp("s"), 2**63 - 1),
                              ("t", pa.timestamp("ms"), -(2**63)), ("z", pa.timestamp("ms", "UTC"), 2**63 - 1),
                              ("c", pa.time64("ns"), -1), ("c", pa.time32("s"), 86_400)]:  # fmt: skip
        message = error(
            lambda name=name, kind=kind, value=value: plan.matrix(table(**{name: pa.array([1, value], kind)}))
        )
        assert f"column '{name}', row 1" in message
        assert "beyond the calendar" in message


def test_the_first_fault_is_told_whatever_the_threads():
    plan = compiled({"n": "int64", "s": "string"}, number("n"), category("s"))
    count = 40_000
    floats = np.zeros(count)
    floats[[30_000, 30_001]] = 0.5
    texts = pa.array(["a"] * 999 + ["\ufffd"], pa.string())
    broken = pa.Array.from_buffers(
        pa.string(), 1000, [None, texts.buffers()[1], pa.py_buffer(b"a" * 999 + b"\xff\xff\xff")]
    )
    chunks = pa.chunked_array([broken] * (count // 1000))
    for threads in (1, 2):
        for data in (pa.table({"s": chunks, "n": floats}), pa.table({"n": floats, "s": chunks.combine_chunks()})):
            message = error(lambda data=data, threads=threads: plan.matrix(data, threads=threads))
            assert "column 'n', row 30000: holds 0.5 (float64)" in message
            message = error(lambda data=data, threads=threads: plan.sparse(data, threads=threads))
            assert "column 'n', row 30000" in message
        good = pa.table({"s": chunks, "n": np.zeros(count)})
        assert "column 's', row 999" in error(lambda good=good, threads=threads: plan.matrix(good, threads=threads))


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (b"", "JSON"),
        (b"[1]", "object"),
        (b"null", "object"),
        (b"\xff", "JSON"),
        (b'{"n": 1} 2', "JSON"),
        (b'{"n": 1, "s": "a", "t": null, "z": null', "JSON"),
        (b'{"n": 1, "s": "a", "t": null}', "no column 'z'"),
        (b'{"n": 1, "S": "a", "t": null, "z": null}', "Did you mean 'S'?"),
        (b'{"n": 1, "n": 1, "s": "a", "t": null, "z": null}', "'n' twice"),
        (b'{"n": 1.5}', "column 'n', row 0: holds 1.5 (float64), the feature plan expects whole numbers (int64)"),
        (b'{"n": 1e19}', "column 'n', row 0: holds 1e19"),
        (b'{"n": 1e999}', "JSON"),
        (b'{"n": NaN}', "JSON"),
        (b'{"n": true}', "column 'n', row 0: holds booleans"),
        (b'{"n": "1"}', "column 'n', row 0: holds text (string), the feature plan expects whole numbers (int64)"),
        (b'{"s": 1}', "column 's', row 0: holds whole numbers"),
        (b'{"s": ["a"]}', "column 's', row 0: holds an array"),
        (b'{"s": {"a": 1}}', "column 's', row 0: holds an object"),
        (b'{"s": "\xff"}', "JSON"),
        (b'{"s": "\\ud800"}', "JSON"),
        (b'{"t": "2013-02-30T00:00:00"}', "2013-02-30"),
        (b'{"t": "2013-02-03T00:00:00Z"}', "without an offset"),
        (b'{"z": "2013-02-03T00:00:00"}', "offset from UTC"),
        (b'{"t": 1}', "column 't', row 0"),
        (b'{"more": ' + b"[" * 100_000, "JSON"),
        (b'{"s": ' + b"[" * 100_000, "column 's'"),
    ],
)
def test_rows_that_do_not_fit(row, words):
    plan = compiled(
        {"n": "int64", "s": "string", "t": "datetime[us]", "z": "datetime[us, UTC]"}, number("n"), category("s")
    )
    assert words in error(lambda: plan.row(row))
    good = b'{"n": 2.0, "s": "b", "t": "2013-02-03 00:00:00", "z": "2013-02-03T00:00:00+01:00"}'
    assert plan.row(good).tolist() == [2, 1]


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_any_bytes_are_a_row_or_an_error(row):
    plan = compiled({"n": "float64", "t": "time"}, number("n"))
    for text in (row, b'{"n": ' + row + b"}", b'{"n": 1, "t": "' + row + b'"}'):
        with contextlib.suppress(DataError):
            assert plan.row(text).shape == (1,)


@QUIET
@given(st.data())
def test_a_plan_with_a_damaged_byte_computes_the_same_or_nothing(data):
    made = data.draw(rows)
    frame = to_frame(made)
    text = json.dumps(data.draw(plans(made)), ensure_ascii=False).encode()
    plan = _core.Plan(text.decode())
    whole = bits(plan.matrix(frame))
    for _ in range(30):
        at = data.draw(st.integers(0, len(text) - 1))
        kind = data.draw(st.integers(0, 2))
        byte = data.draw(st.binary(min_size=1, max_size=1))
        damaged = text[:at] + (b"" if kind == 0 else byte) + text[at + (kind < 2) :]
        try:
            other = _core.Plan(damaged.decode())
        except (ModelFormatError, UnicodeDecodeError):
            continue
        assert other.fingerprint == plan.fingerprint
        assert other.outputs == plan.outputs
        assert np.array_equal(whole, bits(other.matrix(frame)))


PART = {"op": "time_part", "input": "z", "output": "y", "part": "day"}
HASH = {"op": "hash", "inputs": ["s"], "output": "h", "prefix": "", "size": 1 << 20, "signed": True}


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("format", 3, "has format 3 (made by a newer headrace)"),
        ("format", 1, "has format 1 (made by an unreleased headrace)"),
        ("format", 2.5, "format"),
        ("more", 1, "more"),
        ("steps", {}, "steps: expected an array"),
        ("steps", [number("x") | {"output": "y"}], "fingerprint"),
        ("steps", [{"op": "seconds", "input": "x", "output": "y"}], "'y' cannot read 'x', whose type is float64"),
        ("steps", [category("l")], "cannot read 'l', whose type is duration[us]"),
        ("steps", [number("x", clip=[None, None])], "neither bound"),
        ("steps", [number("x", clip=[2, 1])], "ends before"),
        ("steps", [PART | {"time_zone": None}], "time zone"),
        ("steps", [PART | {"time_zone": "Mars/X"}], "Mars/X"),
        ("steps", [{"op": "difference", "inputs": ["z", "d"], "output": "y"}], "cannot take date"),
        ("steps", [number(), HASH], "more than 1048576 outputs"),
        ("inputs", [{"name": "x", "type": "float64", "nullable": True}] * 2, "'x' is there twice"),
    ],
)
def test_plans_that_are_wrong(key, value, words):
    kinds = {"x": "float64", "s": "string", "d": "date", "z": "datetime[us, UTC]", "l": "duration[us]"}
    made = {**document(kinds, [number()]), key: value}
    message = error(lambda: _core.Plan(json.dumps(made)), ModelFormatError)
    assert words in message
    assert "feature plan" in message


def test_json_that_is_no_document():
    text = json.dumps(document({"x": "float64"}, [number()]))
    for bad in (
        "",
        "[]",
        "{",
        "[" * 200_000,
        text + "x",
        text.replace('"format"', '"format": 2, "format"'),
        '{"format": 1e999}',
    ):
        assert "not a valid feature plan" in error(lambda bad=bad: _core.Plan(bad), ModelFormatError)
    assert _core.Plan(text).fingerprint == _core.plan_fingerprint(text)
