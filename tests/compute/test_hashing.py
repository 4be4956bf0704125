"""The content hash of a frame, as Python sees it: an oracle of its own, every layout, what is refused."""

from __future__ import annotations

import datetime as dt
import hashlib
import struct
import sys
import threading
from decimal import Decimal

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing.parametric import dataframes

from headrace.compute.hashing import frame_digest
from headrace.errors import DataError, HeadraceError

# --- an oracle for flat columns, written from the definition -------------------------------------------------------


def framed(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def varint(value: int) -> bytes:
    out = bytearray()
    while value >= 128:
        out.append(value % 128 + 128)
        value //= 128
    return bytes([*out, value])


def bit_lane(bits: list[bool]) -> bytes:
    packed = bytearray(-(-len(bits) // 8))
    for index, bit in enumerate(bits):
        packed[index // 8] |= bit << (index % 8)
    return hashlib.sha256(packed).digest()


ORACLE = {  # polars type -> (type tag, value -> bytes)
    pl.Int32: (b"\x04", lambda value: struct.pack("<i", value)),
    pl.UInt64: (b"\x09", lambda value: struct.pack("<Q", value)),
    pl.Float64: (b"\x0c", lambda value: struct.pack("<d", value)),
    pl.Date: (b"\x14", lambda value: struct.pack("<i", (value - dt.date(1970, 1, 1)).days)),
    pl.String: (b"\x28", lambda value: varint(len(value.encode())) + value.encode()),
    pl.Binary: (b"\x29", lambda value: varint(len(value)) + value),
}


def oracle(frame: pl.DataFrame) -> str:
    out = b"headrace.frame\0\x01" + struct.pack("<QQ", frame.width, frame.height)
    for column in frame:
        values = column.to_list()
        node = b"headrace.node\0" + struct.pack("<Q", len(values)) + bit_lane([value is not None for value in values])
        if column.dtype == pl.Boolean:
            tag = b"\x01"
            node += bit_lane([value is True for value in values])
        else:
            tag, encode = ORACLE[type(column.dtype)]
            node += hashlib.sha256(b"".join(encode(value) for value in values if value is not None)).digest()
        out += framed(column.name) + tag + hashlib.sha256(node).digest()
    return hashlib.sha256(out).hexdigest()


@given(dataframes(allowed_dtypes=[pl.Boolean, *ORACLE], max_size=200))
def test_agrees_with_the_oracle(frame):
    assert frame_digest(frame) == oracle(frame)


# --- layouts -------------------------------------------------------------------------------------------------------

# What polars 2 can hand over and Arrow can name; floats and nested types included.
TYPES = [
    *(pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64, pl.Float32, pl.Float64),
    *(pl.Boolean, pl.String, pl.Binary, pl.Date, pl.Datetime, pl.Duration, pl.Time, pl.Decimal, pl.Null),
    *(pl.Categorical, pl.Enum, pl.List, pl.Array, pl.Struct),
]


@settings(max_examples=60, deadline=None)
@given(frame=dataframes(allowed_dtypes=TYPES, min_size=1, max_size=80), cut=st.integers(0, 80), pad=st.integers(0, 9))
def test_slices_chunks_and_concatenation_do_not_count(frame, cut, pad):
    whole = frame_digest(frame.rechunk())
    cut = min(cut, frame.height)
    chunked = pl.concat([frame[:cut], frame[cut:]], rechunk=False)
    sliced = pl.concat([frame[:pad], frame, frame[-pad:]])[min(pad, frame.height) :][: frame.height]
    assert frame_digest(chunked) == whole
    assert frame_digest(sliced) == whole
    assert frame_digest(frame, threads=3) == whole


@settings(max_examples=60, deadline=None)
@given(frame=dataframes(allowed_dtypes=TYPES, min_size=1, max_size=60))
def test_pyarrow_says_the_same_as_polars(frame):
    views = frame.to_arrow(compat_level=pl.CompatLevel.newest())
    offsets = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
    assert frame_digest(views) == frame_digest(frame)
    if not any(dtype in (pl.Categorical, pl.Enum) for dtype in frame.dtypes):
        assert frame_digest(offsets) == frame_digest(frame)


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view()], ids=str)
def test_layouts_of_strings_are_one_type(kind):
    values = ["", None, "short", "a string that is longer than twelve bytes", "ü"]
    table = pa.table({"x": pa.array(values, kind)})
    assert frame_digest(table) == frame_digest(pl.DataFrame({"x": values}))
    assert frame_digest(table) != frame_digest(pa.table({"x": pa.array(values, pa.binary())}))


@pytest.mark.parametrize("kind", [pa.list_, pa.large_list, pa.list_view, pa.large_list_view])
def test_layouts_of_lists_are_one_type(kind):
    values = [[1, 2], None, [], [None, 3]]
    table = pa.table({"x": pa.array(values, kind(pa.int64()))})
    assert frame_digest(table) == frame_digest(pl.DataFrame({"x": values}))


def test_what_lies_under_a_null_does_not_count():
    validity = pa.py_buffer(b"\x05")  # rows 0 and 2 of 3

    def ints(*values):
        return pa.Array.from_buffers(pa.int32(), 3, [validity, pa.py_buffer(struct.pack("<3i", *values))])

    def strings(text, *offsets):
        buffers = [validity, pa.py_buffer(struct.pack("<4i", *offsets)), pa.py_buffer(text)]
        return pa.Array.from_buffers(pa.string(), 3, buffers)

    assert frame_digest(pa.table({"x": ints(1, 77, 3)})) == frame_digest(pa.table({"x": ints(1, -1, 3)}))
    full, empty = strings(b"agarbagec", 0, 1, 8, 9), strings(b"ac", 0, 1, 1, 2)
    assert frame_digest(pa.table({"x": full})) == frame_digest(pa.table({"x": empty}))
    list_type = pa.list_(pa.int32())
    offsets = pa.py_buffer(struct.pack("<4i", 0, 1, 3, 4))
    hidden = pa.Array.from_buffers(list_type, 3, [validity, offsets], children=[pa.array([1, 9, 9, 2], pa.int32())])
    assert frame_digest(pa.table({"x": hidden})) == frame_digest(pa.table({"x": pa.array([[1], None, [2]], list_type)}))


def test_a_bitmap_that_is_all_set_does_not_count():
    values = pa.py_buffer(struct.pack("<3i", 1, 2, 3))
    with_bitmap = pa.Array.from_buffers(pa.int32(), 3, [pa.py_buffer(b"\xff"), values])
    without = pa.Array.from_buffers(pa.int32(), 3, [None, values])
    assert frame_digest(pa.table({"x": with_bitmap})) == frame_digest(pa.table({"x": without}))


def test_one_record_batch_is_a_frame():
    batch = pa.record_batch({"x": [1, 2, None]})

    class OnlyArray:
        def __arrow_c_array__(self, requested_schema=None):
            return batch.__arrow_c_array__(requested_schema)

    assert frame_digest(batch) == frame_digest(OnlyArray()) == frame_digest(pl.DataFrame({"x": [1, 2, None]}))


def test_a_map_hashes_like_a_map_only():
    pairs = [[("a", 1)], None, [("b", None), ("c", 3)]]
    maps = pa.table({"x": pa.array(pairs, pa.map_(pa.string(), pa.int64()))})
    chunks = pa.concat_tables([maps[:1], maps[1:]])
    entry = pa.struct([pa.field("key", pa.string(), nullable=False), ("value", pa.int64())])
    rows = [None if row is None else [{"key": key, "value": value} for key, value in row] for row in pairs]
    lists = pa.table({"x": pa.array(rows, pa.list_(entry))})
    assert frame_digest(chunks) == frame_digest(maps) != frame_digest(lists)


def test_a_stream_is_read_batch_by_batch():
    def batches():
        for start in range(0, 1000, 10):
            yield pa.record_batch({"x": pa.array(range(start, start + 10))})

    reader = pa.RecordBatchReader.from_batches(pa.schema({"x": pa.int64()}), batches())
    assert frame_digest(reader) == frame_digest(pl.DataFrame({"x": range(1000)}))


def test_a_frame_without_rows_keeps_its_types():
    ints, floats = pl.Schema({"x": pl.Int64}).to_frame(), pl.Schema({"x": pl.Float64}).to_frame()
    assert frame_digest(ints) == frame_digest(ints.to_arrow())
    assert frame_digest(ints) != frame_digest(floats)
    assert frame_digest(pl.DataFrame()) == frame_digest(pa.table({}))


def test_parquet_gives_back_the_same_hash(tmp_path):
    frame = pl.DataFrame(
        {
            "when": [dt.datetime(2020, 1, 1, tzinfo=dt.UTC), None],
            "price": [Decimal("1.50"), Decimal("2.25")],
            "size": pl.Series(["s", "l"], dtype=pl.Enum(["l", "s"])),
            "kind": pl.Series(["a", None], dtype=pl.Categorical),
            "tags": [["x"], []],
            "box": [{"w": 1.0, "h": None}, None],
        }
    )
    frame.write_parquet(tmp_path / "frame.parquet")
    assert frame_digest(pl.read_parquet(tmp_path / "frame.parquet")) == frame_digest(frame)


# --- what must differ ----------------------------------------------------------------------------------------------


def x(values, dtype=None):
    return pl.DataFrame({"x": pl.Series(values, dtype=dtype)})


def nan(bits):
    return pl.DataFrame({"x": np.array([bits], dtype=np.uint64).view(np.float64)})


def test_what_a_frame_says_differs():
    frames = [
        x([0.0]),
        x([-0.0]),
        x([None], pl.Float64),
        nan(0x7FF8000000000000),
        nan(0x7FF8000000000001),
        x([0.0], pl.Float32),
        x([0], pl.Int64),
        x([0], pl.Int32),
        x([0], pl.UInt32),
        x([False]),
        x([""]),
        x([b""]),
        x([None], pl.String),
        x([None], pl.Null),
        x(["ab", "c"]),
        x(["a", "bc"]),
        x([["a"], ["b"]]),
        x([["a", "b"], []]),
        x([["a", "b"], None], pl.List(pl.String)),
        x([["a", "b"]], pl.Array(pl.String, 2)),
        x([["a", "b"]], pl.List(pl.String)),
        x([{"a": 1, "b": 2}]),
        x([{"b": 1, "a": 2}]),
        x([{"a": None, "b": None}], pl.Struct({"a": pl.Int64, "b": pl.Int64})),
        x([None], pl.Struct({"a": pl.Int64, "b": pl.Int64})),
        x(["a"], pl.Categorical),
        x(["a"], pl.Enum(["a"])),
        x(["a"], pl.Enum(["a", "b"])),
        x(["a"], pl.Enum(["b", "a"])),
        x(["a"]),
        x([0], pl.Datetime("us")),
        x([0], pl.Datetime("ns")),
        x([0], pl.Datetime("us", "UTC")),
        x([0], pl.Datetime("us", "Europe/Paris")),
        x([0], pl.Duration("us")),
        x([0], pl.Time),
        x([0], pl.Date),
        x([Decimal(0)], pl.Decimal(10, 2)),
        x([Decimal(0)], pl.Decimal(10, 3)),
        pl.DataFrame({"y": [0]}),
        pl.DataFrame({"x": [0], "y": [1]}),
        pl.DataFrame({"y": [1], "x": [0]}),
        pl.DataFrame({"x": [1], "y": [0]}),
    ]
    digests = {frame_digest(frame): index for index, frame in enumerate(frames)}
    assert len(digests) == len(frames)


def test_categories_hash_by_value():
    together = pl.Series(["b", "a", "b"], dtype=pl.Categorical)
    apart = pl.Series(["z", "a", "b", "b", "a", "b"], dtype=pl.Categorical)[3:]
    assert frame_digest(pl.DataFrame({"x": together})) == frame_digest(pl.DataFrame({"x": apart}))
    plain = pa.table({"x": pa.array(["b", "a", "b"]).dictionary_encode()})
    reordered = pa.table({"x": pa.DictionaryArray.from_arrays(pa.array([1, 0, 1], pa.int8()), ["a", "b"])})
    assert frame_digest(plain) == frame_digest(reordered)


# --- what is refused -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "thing", [3, None, [1, 2], {"x": [1]}, pl.LazyFrame({"x": [1]})], ids=lambda v: type(v).__name__
)
def test_what_is_no_frame_is_refused(thing):
    with pytest.raises(DataError, match="expected a frame"):
        frame_digest(thing)


def test_a_column_is_no_frame():
    with pytest.raises(DataError, match="a single column"):
        frame_digest(pl.Series([1]))


@pytest.mark.parametrize("name", ["wide", "it's\n\U0001f6a2"])
@pytest.mark.parametrize("dtype", [pl.Int128, pl.UInt128])
def test_a_type_that_arrow_does_not_know_names_its_column(name, dtype):
    frame = pl.DataFrame({"fine": [1], name: pl.Series([1], dtype=dtype)})
    with pytest.raises(DataError) as caught:
        frame_digest(frame)
    assert caught.value.place == "column '" + name.replace("'", "\\'").replace("\n", "\\n") + "'"
    assert "\n" not in caught.value.message


def test_a_type_without_a_hash_names_its_column():
    union = pa.UnionArray.from_sparse(pa.array([0], pa.int8()), [pa.array([1])])
    with pytest.raises(DataError, match="has no content hash") as caught:
        frame_digest(pa.table({"fine": [1], "odd": union}))
    assert caught.value.place == "column 'odd'"
    assert caught.value.hint


def test_rows_that_are_null_as_a_whole_are_refused():
    class Structs:
        def __arrow_c_array__(self, requested_schema=None):
            return pa.array([{"x": 1}, None]).__arrow_c_array__(requested_schema)

    with pytest.raises(DataError, match="1 rows are null as a whole"):
        frame_digest(Structs())


def test_a_producer_that_raises_is_told():
    def batches():
        yield pa.record_batch({"x": [1]})
        raise RuntimeError("the disk is gone")

    reader = pa.RecordBatchReader.from_batches(pa.schema({"x": pa.int64()}), batches())
    with pytest.raises(DataError, match="the disk is gone"):
        frame_digest(reader)


def test_an_interrupt_is_not_the_frames_fault():
    class Interrupted:
        def __arrow_c_stream__(self, requested_schema=None):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        frame_digest(Interrupted())


@pytest.mark.parametrize("count", [0, -1])
def test_threads_must_be_positive(count):
    with pytest.raises(HeadraceError, match="at least 1"):
        frame_digest(pl.DataFrame({"x": [1]}), threads=count)


def test_the_interpreter_is_released():
    """With an endless switch interval another thread runs only if the interpreter is handed over."""
    frame = pl.DataFrame({"x": np.zeros(2_000_000)})
    interval = sys.getswitchinterval()
    sys.setswitchinterval(3600)
    try:
        seen = False
        for _ in range(50):  # a busy machine may be late to wake the other thread
            go, done = threading.Event(), threading.Event()
            other = threading.Thread(target=lambda go=go, done=done: go.wait() and done.set())
            other.start()
            go.set()
            frame_digest(frame, threads=1)
            seen = done.is_set()
            other.join()
            if seen:
                break
    finally:
        sys.setswitchinterval(interval)
    assert seen


@pytest.mark.parametrize(
    "frame",
    [pl.DataFrame({"a\0b": [1]}), pl.DataFrame({"a": [{"x\0": 1}]}), pl.DataFrame({"a": [[{"x\0": 1}]]})],
    ids=["column", "field", "deeper"],
)
def test_a_name_that_polars_dies_of_is_refused(frame: pl.DataFrame) -> None:
    with pytest.raises(DataError, match="NUL"):
        frame_digest(frame)


def test_a_name_that_spells_an_escape_is_none() -> None:
    assert frame_digest(pl.DataFrame({"a\\x00": [1]})) == frame_digest(pa.table({"a\\x00": [1]}))
