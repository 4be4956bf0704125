"""`FeatureHasher` against scikit-learn's, which is what a frame's rows as dicts are given to as well."""

from __future__ import annotations

import copy
import datetime as dt
import decimal
import json
import math
import pickle
import subprocess
import sys

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from headrace import FeatureHasher, HashKey
from headrace.compute.hashing import murmur3_column
from headrace.errors import ConfigError, DataError, DataTypeError

SKLearn = pytest.importorskip("sklearn.feature_extraction").FeatureHasher
KEY = bytes(range(16))


def assert_same(ours, theirs, loose=()):
    """Every bit. In the rows `loose` one NaN may differ from another."""
    assert ours.shape == theirs.shape
    assert type(ours) is type(theirs)
    for name in ("data", "indices", "indptr"):
        mine, other = getattr(ours, name), getattr(theirs, name)
        assert mine.dtype == other.dtype, name
        if name == "data" and len(loose) and mine.shape == other.shape:
            free = np.isin(np.repeat(np.arange(theirs.shape[0]), np.diff(theirs.indptr)), loose) & np.isnan(other)
            assert np.isnan(mine[free]).all()
            mine, other = mine[~free], other[~free]
        np.testing.assert_array_equal(mine, other, err_msg=name)
        assert mine.tobytes() == other.tobytes(), name
    assert ours.has_sorted_indices
    assert ours.has_canonical_format


def several_nans(rows):
    """Rows (of pairs) in which a NaN may meet another: which one's bits the sum has, is the compiler's choice."""
    chosen = []
    for number, pairs in enumerate(rows):
        values = [float(value) for _, value in pairs if not isinstance(value, str)]
        # Large ones may overflow, and infinities that cancel are a NaN too.
        if any(map(math.isnan, values)) and sum(not abs(value) < 1e30 for value in values) > 1:
            chosen.append(number)
    return chosen


def dicts(frame: pl.DataFrame) -> list[dict]:
    """The rows as scikit-learn would take them: nulls left out, dates as ISO 8601, items of lists as pairs."""
    return [dict(pairs) for pairs in rows_of(frame)]


def rows_of(frame: pl.DataFrame) -> list[list[tuple]]:
    rows = []
    for row in frame.iter_rows(named=True):
        pairs = []
        for name, value in row.items():
            for item in value if isinstance(value, list) else [value]:
                if isinstance(item, dt.date):
                    pairs.append((name, item.isoformat()))
                elif item is not None:
                    pairs.append((name, item))
        rows.append(pairs)
    return rows


# --- objects ---------------------------------------------------------------------------------------------------------

text = st.text(max_size=6) | st.sampled_from(["", "flbvtm30", "atsgpk6w", "cat", "é", "日本", "=", "a=b"])
number = (
    st.integers(-(2**70), 2**70)
    | st.floats(width=32)
    | st.floats(allow_nan=True)
    | st.booleans()
    | st.sampled_from([0, 0.0, -0.0, np.float32(0.1), np.int8(-3), np.bool_(True), decimal.Decimal("0.1")])
)
names = text | st.binary(max_size=4)
options = st.fixed_dictionaries(
    {
        "n_features": st.sampled_from([1, 2, 3, 7, 10, 1000, 2**18, 2**20, 2**31 - 1]) | st.integers(1, 2**31 - 1),
        "dtype": st.sampled_from([np.float64, np.float32, "f8", float]),
        "alternate_sign": st.booleans(),
    }
)


@settings(max_examples=300, deadline=None)
@given(
    rows=st.lists(st.dictionaries(names, text | number, max_size=8), min_size=1, max_size=5),
    options=options,
    pairs=st.booleans(),
)
@example(rows=[{"cat": "flbvtm30"}, {"cat": "atsgpk6w"}], options={"n_features": 10}, pairs=False)
@example(rows=[{"": 1, b"": 2}, {"a": math.nan, "b": math.inf}], options={}, pairs=False)
@example(rows=[{1: "a", None: "b", b"x": "v"}, {1: 0}], options={}, pairs=False)
def test_dicts_and_pairs_as_sklearn(rows, options, pairs):
    with np.errstate(all="ignore"):
        if pairs:
            given_rows = [list(row.items()) + list(row.items())[::-1] for row in rows]
            options = {**options, "input_type": "pair"}
        else:
            given_rows = rows
        ours, theirs = FeatureHasher(**options).transform(given_rows), SKLearn(**options).transform(given_rows)
        assert_same(ours, theirs, several_nans(row if pairs else row.items() for row in given_rows))


@settings(max_examples=200, deadline=None)
@given(rows=st.lists(st.lists(names, max_size=12), min_size=1, max_size=5), options=options)
def test_strings_as_sklearn(rows, options):
    options = {**options, "input_type": "string"}
    assert_same(FeatureHasher(**options).transform(rows), SKLearn(**options).transform(iter(rows)))


@pytest.mark.parametrize("dtype", ["int32", "int64", "int8", "float16", "complex128"])
@pytest.mark.parametrize("frame", [False, True])
def test_other_types_of_values(dtype, frame):
    if dtype == "float16":
        with pytest.raises(ValueError, match="float16"):
            SKLearn(8, dtype=dtype).transform([{"a": 1.9}])
        with pytest.raises(ValueError, match="float16"):
            FeatureHasher(8, dtype=dtype).transform([{"a": 1.9}])
        return
    rows = [{"a": 1.9, "b": -2.7, "c": "x", "d": 1.9, "e": 3.0}, {"a": 0.4, "b": 1.0, "c": "y", "d": 1.0, "e": 0.5}]
    theirs = SKLearn(3, dtype=dtype).transform(rows)
    ours = FeatureHasher(3, dtype=dtype).transform(pl.DataFrame(rows) if frame else rows)
    assert ours.dtype == theirs.dtype
    assert (ours != theirs).nnz == 0
    assert ours.data.tobytes() == theirs.data.tobytes()


def test_long_rows():
    rows = [[f"token{index % 700}" for index in range(5000)], ["a"] * 3000]
    for columns in (1, 5, 2**10, 2**20):
        ours = FeatureHasher(columns, input_type="string").transform(rows)
        assert_same(ours, SKLearn(columns, input_type="string").transform(rows))


class Twisted(str):
    __slots__ = ()

    def __str__(self):
        return "untwisted"


class OldDict:
    def iteritems(self):
        return iter([("a", 1), ["b", "x"]])


def test_odd_objects():
    rows = [{"a": Twisted("x")}, {Twisted("n"): 2}, {Twisted("n"): "v"}, OldDict(), {np.str_("a"): np.str_("b")}]
    assert_same(FeatureHasher().transform(rows), SKLearn().transform(rows))
    pairs = [[("ab", "c"), "de"]]
    ours, theirs = (kind(input_type="pair").transform(pairs) for kind in (FeatureHasher, SKLearn))
    assert_same(ours, theirs)
    arrays = np.array([["a", "b"], ["c", "a"]])
    assert_same(*(kind(input_type="string").transform(arrays) for kind in (FeatureHasher, SKLearn)))
    assert_same(FeatureHasher().transform(pd.Series([{"a": 1}, {"b": 2}])), SKLearn().transform([{"a": 1}, {"b": 2}]))
    lists = pl.Series([["a", "b"], ["c"]])
    assert_same(*(kind(input_type="string").transform(lists) for kind in (FeatureHasher, SKLearn)))


@pytest.mark.parametrize(
    ("input_type", "rows"),
    [
        ("dict", []),
        ("pair", iter(())),
        ("dict", [{"a": None}]),
        ("dict", [{1: 2}]),
        ("dict", [{"a": 1}, {"b": [1]}]),
        ("dict", [{"a": b"bytes"}]),
        ("dict", [{"a": 10**400}]),
        ("dict", [{"a": "\ud800"}]),
        ("dict", [["a"]]),
        ("dict", 5),
        ("dict", "ab"),
        ("pair", [["abc"]]),
        ("pair", [[("a",)]]),
        ("pair", [[3]]),
        ("string", ["abc"]),
        ("string", [[1]]),
        ("string", [["a"], 5]),
        ("string", [["a"], [None]]),
        ("string", 5),
    ],
    ids=lambda value: repr(value).partition(" object at")[0][:30],
)
def test_the_same_class_of_error(input_type, rows):
    rows = list(rows) if not isinstance(rows, (list, int, str)) else rows
    with pytest.raises(Exception) as theirs:  # what it is, is the question
        SKLearn(input_type=input_type).transform(rows)
    with pytest.raises(DataError) as ours:
        FeatureHasher(input_type=input_type).transform(rows)
    # A class of ours is a TypeError or a ValueError, so these three cannot be what scikit-learn's are.
    instead = {AttributeError: TypeError, OverflowError: ValueError, UnicodeEncodeError: ValueError}
    assert issubclass(ours.type, instead.get(theirs.type, theirs.type))
    if isinstance(rows, list) and rows:
        assert "row" in ours.value.place


def test_any_number_of_threads():
    frame = pl.DataFrame({"a": ["x", "y"] * 50_000})
    assert_same(FeatureHasher(threads=2**100).transform(frame), FeatureHasher(threads=1).transform(frame))


def test_errors_name_row_and_feature():
    with pytest.raises(DataTypeError, match="row 1, feature 'b'"):
        FeatureHasher().transform([{"a": 1}, {"b": None}])
    with pytest.raises(DataError, match="empty"):
        FeatureHasher(input_type="string").transform([])
    with pytest.raises(DataError, match="row 0, feature 'a'"):
        FeatureHasher().transform([{"a": 10**400}])


# --- frames ----------------------------------------------------------------------------------------------------------


def frames() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "s": ["a", "", None, "flbvtm30", "thirteen bytes", "日本"],
            "cat": ["flbvtm30", "atsgpk6w", "a", None, "é", "x" * 40],
            "i": [0, 1, -5, None, 2**40, 7],
            "u": pl.Series([0, 1, 255, None, 3, 4], dtype=pl.UInt8),
            "big": pl.Series([2**64 - 1, 1, 0, None, 3, 2**53 + 1], dtype=pl.UInt64),
            "f": [0.0, -0.0, math.nan, math.inf, None, 0.1],
            "f32": pl.Series([0.1, 0.0, math.nan, 1e30, None, -2.5], dtype=pl.Float32),
            "b": [True, False, None, True, True, False],
            "d": [dt.date(2013, 1, index + 1) if index else None for index in range(6)],
            "t": [dt.datetime(2013, 1, 1, 5, index) if index else None for index in range(6)],  # noqa: DTZ001
            "l": [["a", "b"], [], None, ["a", "c", "a"], ["é"], [""]],
            "n": [[1, 2], [0], None, [2, 3], [1, -1], []],
            "dec": [decimal.Decimal("0.10"), None, *(decimal.Decimal(value) for value in ("0", "1.25", "7", "-3"))],
            "null": pl.Series([None] * 6, dtype=pl.Null),
        }
    )


LAYOUTS = {
    "polars": lambda frame: frame,
    "large": lambda frame: frame.to_arrow(compat_level=pl.CompatLevel.oldest()),
    "batch": lambda frame: frame.to_arrow(compat_level=pl.CompatLevel.oldest()).combine_chunks().to_batches()[0],
    "small": lambda frame: small(frame.to_arrow(compat_level=pl.CompatLevel.oldest())),
    "categorical": lambda frame: frame.with_columns(pl.col(pl.String).cast(pl.Categorical)),
    "enum": lambda frame: frame.with_columns(
        pl.col(name).cast(pl.Enum(frame[name].drop_nulls().unique())) for name in ("s", "cat")
    ),
    "chunked": lambda frame: pl.concat([frame[:1], frame[1:1], frame[1:4], frame[4:]], rechunk=False),
    "sliced": lambda frame: pl.concat([frame[3:], frame, frame[:2]])[3:9],
    "dictionary": lambda frame: encoded(frame.to_arrow(compat_level=pl.CompatLevel.oldest())),
    "views": lambda frame: views(frame.to_arrow(compat_level=pl.CompatLevel.oldest())),
}


def small(table: pa.Table) -> pa.Table:
    fields = []
    for field in table.schema:
        kind = field.type
        if pa.types.is_large_string(kind):
            kind = pa.string()
        elif pa.types.is_large_list(kind):
            item = pa.string() if pa.types.is_large_string(kind.value_type) else kind.value_type
            kind = pa.list_(item)
        fields.append(field.with_type(kind))
    return table.cast(pa.schema(fields))


def encoded(table: pa.Table) -> pa.Table:
    for index, field in enumerate(table.schema):
        if not pa.types.is_large_list(field.type) and not pa.types.is_null(field.type):
            table = table.set_column(index, field.name, table.column(index).dictionary_encode())
    return table


def views(table: pa.Table) -> pa.Table:
    lists = small(table)
    for name in ("l", "n"):
        index = lists.schema.get_field_index(name)
        array = lists.column(index).combine_chunks()
        view = pa.ListViewArray.from_arrays(
            pa.array([0 if o is None else o for o in array.offsets.to_pylist()[:-1]], pa.int32()),
            pa.array([0 if v is None else len(v) for v in array.to_pylist()], pa.int32()),
            array.values,
        )
        lists = lists.set_column(index, name, view)
    return lists


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("columns", [1, 10, 1000, 2**20])
@pytest.mark.parametrize("sign", [True, False])
def test_a_frame_means_its_rows(layout, columns, sign):
    frame = frames()
    theirs = SKLearn(columns, alternate_sign=sign, input_type="pair").transform(rows_of(frame))
    for threads in (1, 2):
        ours = FeatureHasher(columns, alternate_sign=sign, threads=threads).transform(LAYOUTS[layout](frame))
        assert_same(ours, theirs, several_nans(rows_of(frame)))
    single = FeatureHasher(columns, alternate_sign=sign, dtype=np.float32).transform(LAYOUTS[layout](frame))
    theirs = SKLearn(columns, alternate_sign=sign, dtype=np.float32, input_type="pair").transform(rows_of(frame))
    assert_same(single, theirs, several_nans(rows_of(frame)))


@pytest.mark.parametrize("layout", ["polars", "large", "categorical", "chunked", "sliced", "dictionary"])
@pytest.mark.parametrize("mode", ["sklearn", "spark", "keyed"])
def test_only_strings(layout, mode):
    """These are sorted by the network."""
    frame = frames().select("s", "cat", pl.col("b").cast(pl.String), x=pl.col("s"), y=pl.lit("one"))
    options = {"mode": mode, "key": KEY if mode == "keyed" else None, "n_features": 11}
    rows = FeatureHasher(**options).transform(dicts(frame))
    moved = frame.with_columns(l=frames()["l"], n=frames()["n"])
    assert_same(FeatureHasher(**options).transform(LAYOUTS[layout](moved).select(frame.columns)), rows)
    if mode == "sklearn":
        assert_same(rows, SKLearn(11).transform(dicts(frame)))


@st.composite
def random_frames(draw):
    height = draw(st.integers(1, 30))
    kinds = {
        pl.String: st.text(max_size=20),
        pl.Int32: st.integers(-5, 5),
        pl.Float64: st.floats(),
        pl.Boolean: st.booleans(),
        # At most 14 values a row: beyond 16, the order of scikit-learn's sums is an unstable sort's.
        pl.List(pl.String): st.lists(st.text(max_size=3), max_size=2),
    }
    columns = {}
    names = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=5)  # polars cannot export it
    for name in draw(st.lists(names, min_size=1, max_size=7, unique=True)):
        kind = draw(st.sampled_from(list(kinds)))
        values = draw(st.lists(kinds[kind] | st.none(), min_size=height, max_size=height))
        columns[name] = pl.Series(values, dtype=kind)
    return pl.DataFrame(columns)


@settings(max_examples=200, deadline=None)
@given(
    frame=random_frames(),
    columns=st.integers(1, 40) | st.just(2**20),
    cuts=st.tuples(st.integers(0, 30), st.integers(0, 30)),
    sign=st.booleans(),
)
def test_any_frame_in_any_pieces(frame, columns, cuts, sign):
    theirs = SKLearn(columns, alternate_sign=sign, input_type="pair").transform(rows_of(frame))
    hasher = FeatureHasher(columns, alternate_sign=sign, threads=2)
    assert_same(hasher.transform(frame), theirs, several_nans(rows_of(frame)))
    low, high = sorted(cut % (frame.height + 1) for cut in cuts)
    pieces = pl.concat([frame[:low], frame[low:high], frame[high:]], rechunk=False)
    assert_same(hasher.transform(pieces), hasher.transform(frame))
    if low < high:
        assert_same(hasher.transform(frame[low:high]), hasher.transform(frame)[low:high].sorted_indices())
    dense = FeatureHasher(min(columns, 40), alternate_sign=sign, output="dense").transform(frame)
    sums = FeatureHasher(min(columns, 40), alternate_sign=sign, dtype=np.float32).transform(frame)
    np.testing.assert_array_equal(dense, sums.toarray())


def test_many_rows_on_two_threads():
    height = 120_000
    frame = pl.DataFrame(
        {
            "a": [f"v{index % 977}" for index in range(height)],
            "b": [None if index % 13 == 0 else f"w{index % 31}" for index in range(height)],
            "c": [str(index) for index in range(height)],
        }
    )
    theirs = SKLearn(2**12).transform(dicts(frame))
    for threads in (1, 2, 3, None):
        assert_same(FeatureHasher(2**12, threads=threads).transform(frame), theirs)
    mixed = frame.with_columns(n=pl.int_range(pl.len()) % 5, x=pl.int_range(pl.len()) / 7, l=pl.concat_list("a", "c"))
    for columns in (7, 2**12):
        one, two = (FeatureHasher(columns, threads=threads).transform(mixed) for threads in (1, 2))
        assert_same(two, one)
    cut = pl.concat([frame[:1000], frame[1000:40_001], frame[40_001:]], rechunk=False)
    assert_same(FeatureHasher(2**12, threads=2).transform(cut), theirs)


def test_a_string_of_100_megabytes():
    long = "é" * (50 * 2**20)
    theirs = SKLearn(2**20).transform([{"a": long, "b": "x"}])
    frame = pl.DataFrame({"a": [long], "b": ["x"]})
    assert_same(FeatureHasher(2**20).transform(frame), theirs)
    assert_same(FeatureHasher(2**20).transform(frame.to_arrow(compat_level=pl.CompatLevel.oldest())), theirs)
    assert_same(FeatureHasher(2**20).transform([{"a": long, "b": "x"}]), theirs)


def test_more_values_than_indices_can_count():
    """2^31 of them, in lists that all show the same 2^21 items: known before anything is made."""
    shown = 2**21
    lists = pa.ListViewArray.from_arrays(
        pa.array([0] * 2**10, pa.int32()), pa.array([shown] * 2**10, pa.int32()), pa.nulls(shown)
    )
    with pytest.raises(DataError, match="2147483648"):
        FeatureHasher().transform(pa.table({"l": lists}))


def test_wide_frames():
    """More columns than a network sorts."""
    for width in (1, 2, 16, 47, 48, 49, 130):
        frame = pl.DataFrame({f"c{index}": ["x", None, "y"] for index in range(width)})
        for columns in (5, 2**20):
            assert_same(FeatureHasher(columns).transform(frame), SKLearn(columns).transform(dicts(frame)))


def test_tokens_of_a_frame():
    frame = pl.DataFrame({"l": [["a", "b"], None, ["a"]], "s": ["c", "a", None], "y": [b"\xff", b"a", None]})
    rows = [["a", "b", "c", b"\xff"], ["a", b"a"], ["a"]]
    ours = FeatureHasher(64, input_type="string").transform(frame)
    assert_same(ours, SKLearn(64, input_type="string").transform(rows))


@pytest.mark.parametrize("make", [pd.DataFrame, pa.table, pl.DataFrame])
def test_libraries(make):
    columns = {"a": ["x", "y"], "n": [1.5, 0.0]}
    theirs = SKLearn(32).transform([{"a": "x", "n": 1.5}, {"a": "y", "n": 0.0}])
    assert_same(FeatureHasher(32).transform(make(columns)), theirs)


def test_duckdb():
    duckdb = pytest.importorskip("duckdb", reason="a peer that is not a dependency: pip install duckdb")
    relation = duckdb.sql("SELECT * FROM (VALUES ('x', 1.5::DOUBLE), (NULL, 0.0::DOUBLE)) AS rows(a, n)")
    assert_same(FeatureHasher(32).transform(relation), SKLearn(32).transform([{"a": "x", "n": 1.5}, {}]))


def test_a_frame_is_not_copied():
    """What is Rust's stays Rust's: numpy sees the memory and does not own it."""
    matrix = FeatureHasher(32).transform(pl.DataFrame({"a": ["x", "y"]}))
    for array in (matrix.data, matrix.indices, matrix.indptr):
        assert not array.flags.owndata
        assert array.flags.writeable


# --- Spark -----------------------------------------------------------------------------------------------------------


def test_vectors_of_spark():
    frame = pl.DataFrame({"real": [2.2], "bool": [True], "stringNum": ["1"], "string": ["foo"]})
    for given_rows in (frame, frame.to_dicts()):
        row = FeatureHasher(mode="spark").transform(given_rows)
        assert row.shape == (1, 2**18)
        expected = {174475: 2.2, 247670: 1.0, 257907: 1.0, 262126: 1.0}
        assert dict(zip(row.indices.tolist(), row.data.tolist(), strict=True)) == expected


def test_spark_differs_where_it_does():
    frame = pl.DataFrame({"n": [0, None, 3], "b": [False, None, True]})
    hasher = FeatureHasher(2**10, mode="spark")
    matrix = hasher.transform(frame)
    assert np.diff(matrix.indptr).tolist() == [2, 0, 2], "zeros are kept, null is not there"
    assert_same(hasher.transform(frame.to_dicts()), matrix)
    assert (matrix.data >= 0).all()


@pytest.mark.parametrize(
    ("value", "written"),
    [(1.0, "1.0"), (100, "100"), (1e7, "1.0E7"), (0.001, "0.001"), (1e-4, "1.0E-4"), (-0.0, "-0.0"), (True, "true")],
)
def test_categories_of_spark_as_java_writes_them(value, written):
    options = {"mode": "spark", "categorical": ["c"]}
    expected = FeatureHasher(mode="spark").transform([{"c": written}])
    assert_same(FeatureHasher(**options).transform(pl.DataFrame({"c": [value]})), expected)
    assert_same(FeatureHasher(**options).transform([{"c": value}]), expected)


# --- categories, buckets, dense, keys --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "written"),
    [(1, "1"), (1.0, "1"), (0.5, "0.5"), (np.float32(0.1), "0.1"), (True, "true"), (0, "0"), (np.int16(4), "4")],
)
def test_numbers_as_categories(value, written):
    hasher = FeatureHasher(categorical=["c"])
    kind = {"float32": pl.Float32, "int16": pl.Int16}.get(type(value).__name__)
    expected = SKLearn().transform([{"c": written, "n": 2}])
    assert_same(hasher.transform([{"c": value, "n": 2}]), expected)
    frame = pl.DataFrame({"c": pl.Series([value], dtype=kind), "n": [2]})
    assert_same(hasher.transform(frame), expected)


def test_buckets():
    frame = frames().drop("l", "n", "null")
    buckets = FeatureHasher(97, output="buckets").transform(frame)
    assert buckets.dtype == np.int32
    assert buckets.shape == (6, frame.width)
    for column, name in enumerate(frame.columns):
        for row, value in enumerate(frame[name]):
            if value is None:
                assert buckets[row, column] == -1
            elif isinstance(value, str):
                assert buckets[row, column] == SKLearn(97).transform([{name: value}]).indices[0]
            else:
                assert 0 <= buckets[row, column] < 97
    with pytest.raises(DataError, match="column 'l'"):
        FeatureHasher(97, output="buckets").transform(frames())
    with pytest.raises(DataError, match="needs a frame"):
        FeatureHasher(97, output="buckets").transform([{"a": 1}])


def test_dense():
    frame = frames()
    dense = FeatureHasher(4096, output="dense").transform(frame)
    theirs = SKLearn(4096, dtype=np.float32, input_type="pair").transform(rows_of(frame)).toarray()
    assert dense.dtype == np.float32
    np.testing.assert_array_equal(dense, theirs)
    np.testing.assert_array_equal(
        FeatureHasher(16, output="dense").transform([{"a": 1}]), SKLearn(16).transform([{"a": 1}]).toarray()
    )
    with pytest.raises(ConfigError, match="4096"):
        FeatureHasher(4097, output="dense").fit()


def test_a_key_is_not_shown_and_matters():
    hasher = FeatureHasher(2**20, mode="keyed", key=KEY)
    shown = f"{hasher!r} {hasher.get_params()} {hasher.key} {vars(hasher)}"
    assert "HashKey(...)" in shown
    assert repr(KEY)[2:-1] not in shown
    hasher.set_params(key=KEY)
    assert isinstance(hasher.key, HashKey)
    other = FeatureHasher(2**20, mode="keyed", key=KEY[::-1])
    rows = [{"a": f"v{index}"} for index in range(50)]
    assert (hasher.transform(rows).indices != other.transform(rows).indices).any()
    frame = pl.DataFrame(rows)
    assert_same(hasher.transform(frame), hasher.transform(rows))
    assert copy.deepcopy(hasher).key == pickle.loads(pickle.dumps(hasher)).key == HashKey(KEY)  # noqa: S301
    for wrong in ({"key": b"short"}, {"key": "x" * 16}, {"mode": "keyed"}, {"key": KEY}):
        with pytest.raises(ConfigError) as caught:
            FeatureHasher(**{"mode": "keyed" if wrong.get("key") == "x" * 16 else "sklearn", **wrong}).fit()
        assert "xxx" not in str(caught.value)


def test_in_keyed_mode_a_name_cannot_pass_for_a_value():
    hasher = FeatureHasher(2**31 - 1, mode="keyed", key=KEY)
    places = {tuple(hasher.transform([row]).indices) for row in ({"a=b": 1}, {"a": "b"}, {"": "a=b"}, {"a=b": ""})}
    assert len(places) == 4


# --- as an estimator -------------------------------------------------------------------------------------------------


def test_clone_and_parameters():
    from sklearn.base import clone

    for hasher in (
        FeatureHasher(),
        FeatureHasher(16, mode="spark", categorical=["a"]),
        FeatureHasher(mode="keyed", key=KEY),
    ):
        twin = clone(hasher)
        assert twin is not hasher
        assert twin.get_params() == hasher.get_params()
    theirs = SKLearn().get_params()
    ours = FeatureHasher().get_params()
    assert {name: ours[name] for name in theirs} | {"dtype": np.float64} == theirs
    assert np.dtype(ours["dtype"]) == theirs["dtype"]
    assert FeatureHasher(mode="spark").n_features == 2**18
    with pytest.raises(ValueError, match="nonsense"):
        FeatureHasher().set_params(nonsense=1)


def test_pipeline_and_column_transformer():
    from sklearn.compose import ColumnTransformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    frame = pd.DataFrame({"a": list("xyxyxyxy"), "b": list("ppqqppqq"), "n": range(8)})
    target = [0, 1] * 4
    rows = frame[["a", "b"]].to_dict("records")
    ours = make_pipeline(FeatureHasher(32), LogisticRegression()).fit(rows, target)
    theirs = make_pipeline(SKLearn(32), LogisticRegression()).fit(rows, target)
    np.testing.assert_array_equal(ours.predict_proba(rows), theirs.predict_proba(rows))
    columns = ColumnTransformer([("hash", FeatureHasher(32), ["a", "b"])], remainder="passthrough", sparse_threshold=1)
    made = columns.fit_transform(frame)
    np.testing.assert_array_equal(made.toarray()[:, :32], SKLearn(32).transform(rows).toarray())
    tags, wanted = FeatureHasher().__sklearn_tags__(), SKLearn().__sklearn_tags__()
    assert (tags.requires_fit, tags.input_tags) == (wanted.requires_fit, wanted.input_tags)


def test_sparse_arrays_where_sklearn_is_set_so():
    from sklearn import config_context

    with config_context(sparse_interface="sparray"):
        assert_same(FeatureHasher().transform([{"a": 1}]), SKLearn().transform([{"a": 1}]))


def test_nothing_heavy_is_imported():
    code = (
        "import sys, headrace; headrace.FeatureHasher; from headrace import FeatureHasher\n"
        "heavy = {'numpy', 'scipy', 'sklearn', 'polars', 'pyarrow'} & set(sys.modules); assert not heavy, heavy\n"
        "FeatureHasher(16).fit().transform([{'a': 'b'}]); assert 'sklearn' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# --- bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        {"n_features": 0},
        {"n_features": -1},
        {"n_features": 2**31},
        {"n_features": 2.0},
        {"n_features": True},
        {"input_type": "dicts"},
        {"alternate_sign": "yes"},
        {"mode": "vw"},
        {"output": "csr"},
        {"categorical": "abc"},
        {"threads": 0},
        {"output": "buckets", "input_type": "string"},
    ],
    ids=str,
)
def test_parameters_that_cannot_be(wrong):
    with pytest.raises(ConfigError):
        FeatureHasher(**wrong).fit()
    with pytest.raises(ConfigError):
        FeatureHasher(**wrong).transform([{"a": 1}])


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (pl.DataFrame(), "empty"),
        (pl.DataFrame({"a": pl.Series([], dtype=pl.String)}), "empty"),
        (pl.DataFrame({"a": [{"b": 1}]}), "column 'a'"),
        (pl.DataFrame({"a": [[["b"]]]}), "column 'a'"),
        (pl.DataFrame({"a": [b"bytes"]}), "column 'a'"),
        (pl.DataFrame({"ok": [1], "a": [dt.timedelta(1)]}), "column 'a'"),
        (pa.table([pa.array([1]), pa.array([2])], names=["a", "a"]), "column 'a'"),
        (pa.table({"a": pa.array([1, None, 2**31 - 1], pa.date32())}), "column 'a', row 2"),
        (pa.table({"a": pa.array([[1], None, [3, 2**31 - 1]], pa.list_(pa.date32()))}), "column 'a', row 2"),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_frames_that_cannot_be(frame, message):
    with pytest.raises(DataError, match=message):
        FeatureHasher().transform(frame)


def test_a_categorical_column_that_is_not_there():
    with pytest.raises(DataError, match="column 'b'"):
        FeatureHasher(categorical=["a", "b"]).transform(pl.DataFrame({"a": [1]}))


def broken_text(bad: bytes, kind=None, offsets=(0, 3, 3)) -> pa.Array:
    kind = kind or pa.string()
    width = np.int64 if kind == pa.large_string() else np.int32
    total = b"abc" + bad
    marks = np.array([*offsets, len(total)], dtype=width)
    return pa.Array.from_buffers(kind, len(marks) - 1, [None, pa.py_buffer(marks.tobytes()), pa.py_buffer(total)])


@pytest.mark.parametrize("bad", [b"\xff", b"\xc3", b"a long value and then \xe2\x82", b"\xed\xa0\x80"])
@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
def test_bytes_that_are_no_text(bad, kind):
    array = broken_text(bad, kind)
    for hasher in (FeatureHasher(), FeatureHasher(mode="spark"), FeatureHasher(mode="keyed", key=KEY)):
        with pytest.raises(DataError, match="column 'a', row 2"):
            hasher.transform(pa.table({"ok": ["x"] * 3, "a": array}))
    lists = pa.ListArray.from_arrays(pa.array([0, 2, 3], pa.int32()), array)
    with pytest.raises(DataError, match="column 'a', row 1"):
        FeatureHasher().transform(pa.table({"a": lists}))
    keys = pa.DictionaryArray.from_arrays(pa.array([0, 0, 1, 2, 0]), array)
    with pytest.raises(DataError, match="column 'a', row 3"):
        FeatureHasher().transform(pa.table({"a": keys}))
    unused = pa.DictionaryArray.from_arrays(pa.array([0, 0, 1]), array)
    assert FeatureHasher().transform(pa.table({"a": unused})).nnz == 3
    with pytest.raises(DataError, match="row 2"):
        murmur3_column(array)


def test_bytes_that_are_no_text_after_the_same_under_a_null():
    """Values are remembered from block to block; what stands under a null was never looked at."""
    height = 9000
    at = 8500
    valid = np.ones(height, dtype=bool)
    valid[at - 1000 : at] = False
    data = np.full(height, ord("a"), dtype=np.uint8)
    data[at - 1000 : at] = 0xFF
    data[at] = 0xFF
    bitmap = pa.py_buffer(np.packbits(valid, bitorder="little").tobytes())
    marks = pa.py_buffer(np.arange(height + 1, dtype=np.int32).tobytes())

    def made():
        return pa.Array.from_buffers(pa.string(), height, [bitmap, marks, pa.py_buffer(data.tobytes())])

    with pytest.raises(DataError, match=f"column 'a', row {at}"):
        FeatureHasher().transform(pa.table({"a": made()}))
    data[at] = ord("a")
    assert FeatureHasher().transform(pa.table({"a": made()})).nnz == height - 1000


@pytest.mark.parametrize("offsets", [(0, 5, 3), (0, 3, 2**30)])
def test_offsets_that_lead_outside(offsets):
    with pytest.raises(DataError, match="column 'a'"):
        FeatureHasher().transform(pa.table({"a": broken_text(b"", offsets=offsets)}))


def test_keys_that_lead_outside():
    for code in (7, -1):
        array = pa.DictionaryArray.from_arrays(pa.array([0, code], pa.int8()), pa.array(["a"] * 2), safe=False)
        with pytest.raises(DataError, match="column 'a'"):
            FeatureHasher().transform(pa.table({"a": array}))


# --- the hash itself -------------------------------------------------------------------------------------------------


@settings(max_examples=100, deadline=None)
@given(values=st.lists(st.text(max_size=30), min_size=1), seed=st.integers(0, 2**32 - 1))
def test_murmur3_of_a_column(values, seed):
    from sklearn.utils import murmurhash3_32

    expected = [murmurhash3_32(value, seed=seed) for value in values]
    column = pl.Series("a", values)
    for given_column in (
        column,
        column.to_frame(),
        column.cast(pl.Categorical),
        pa.array(values),
        pa.table({"a": values}),
    ):
        hashes = murmur3_column(given_column, seed=seed)
        assert hashes.dtype == np.int32
        assert hashes.tolist() == expected


def test_murmur3_and_nulls():
    column = pl.Series("a", ["foo", None, "cat=sisydcd9"])
    assert murmur3_column(column, null=5).tolist() == [-156908512, 5, -1]
    with pytest.raises(DataError, match="row 1"):
        murmur3_column(column)
    with pytest.raises(DataError, match="Int64"):
        murmur3_column(pl.Series("a", [1]))


# --- collisions ------------------------------------------------------------------------------------------------------


def counted(frame: pl.DataFrame, columns: int):
    """(bucket, count, name) of each feature, by brute force."""
    counts: dict[str, int] = {}
    for pairs in rows_of(frame):
        for name, value in pairs:
            feature = f"{name}={value}" if isinstance(value, str) else name
            if value:
                counts[feature] = counts.get(feature, 0) + 1
    return {name: (int(SKLearn(columns).transform([{name: 1}]).indices[0]), n) for name, n in counts.items()}


@pytest.mark.parametrize("columns", [1, 7, 64, 2**20])
def test_the_report_counts(columns):
    frame = pl.DataFrame(
        {
            "a": [f"v{index * index % 53}" for index in range(400)],
            "l": [[f"w{index % 7}", f"w{index % 3}"] for index in range(400)],
            "n": [index % 3 for index in range(400)],
        }
    )
    features = counted(frame, columns)
    buckets: dict[int, list[int]] = {}
    for bucket, count in features.values():
        buckets.setdefault(bucket, []).append(count)
    shared = [counts for counts in buckets.values() if len(counts) > 1]
    values = sum(count for _, count in features.values())
    hasher = FeatureHasher(columns)
    for layout in (frame, frame.with_columns(pl.col("a").cast(pl.Categorical))):
        report = hasher.collision_report(layout, pairs=3)
        assert (report.rows, report.features) == (400, len(features))
        assert report.values == values  # noqa: PD011  # no frame
        assert report.occupied == len(buckets)
        assert report.colliding == sum(len(counts) for counts in shared)
        assert report.shared_mass == pytest.approx(sum(map(sum, shared)) / values)
        assert report.collision_mass == pytest.approx(sum(sum(counts) - max(counts) for counts in shared) / values)
        assert report.expected_occupied == pytest.approx(columns * (1 - (1 - 1 / columns) ** len(features)))
        expected = sorted((sorted(counts)[-2] for counts in shared), reverse=True)[:3]
        assert [second.count for _, second in report.worst] == expected
        for first, second in report.worst:
            assert first.bucket == second.bucket == features[first.name][0] == features[second.name][0]
        suggested = report.suggested_n_features
        assert FeatureHasher(suggested).collision_report(frame).collision_mass <= 0.01
        if suggested > 1:
            assert FeatureHasher(suggested // 2).collision_report(frame).collision_mass > 0.01
        assert json.loads(report.to_json())["features"] == len(features)
        assert "<table>" in report._repr_html_()
        assert str(len(features)) in str(report)


def test_the_inverse_map():
    frame = pl.DataFrame({"a": ["x"] * 5 + ["y"] * 3 + ["<z>"], "n": [2] * 9})
    found = FeatureHasher(2**16).inverse_map(frame)
    row = FeatureHasher(2**16).transform(frame[:1])
    assert {found[bucket][0].name for bucket in row.indices} == {"a=x", "n"}
    signs = {feature.name: feature.sign for features in found.buckets.values() for feature in features}
    for name in ("a=x", "a=y", "n"):
        assert signs[name] == SKLearn(2**16).transform([{name: 1}]).data[0]
    one = FeatureHasher(1).inverse_map(frame, top=2)
    assert [feature.name for feature in one[0]] == ["n", "a=x"]
    assert len(FeatureHasher(2**16).inverse_map(frame, limit=2).buckets) == 2
    assert "&lt;z&gt;" in found._repr_html_()
    assert "<z>" not in found._repr_html_()
    assert json.loads(found.to_json())["n_features"] == 2**16
    assert set(found.names().values()) >= {"n" if signs["n"] > 0 else "-n"}
    with pytest.raises(IndexError):
        found[2**16]


def test_reports_of_what_is_no_frame():
    with pytest.raises(DataError, match="expected a frame"):
        FeatureHasher().collision_report([{"a": 1}])
    with pytest.raises(ConfigError, match="share"):
        FeatureHasher().collision_report(pl.DataFrame({"a": ["x"]}), share=2)
    empty = FeatureHasher().collision_report(pl.DataFrame({"a": pl.Series([], dtype=pl.String)}))
    assert (empty.features, empty.collision_mass, empty.suggested_n_features) == (0, 0.0, 1)


# --- the index of pandas ----------------------------------------------------------------------------------------------


def indexed_frames() -> tuple[pd.DataFrame, list[pd.DataFrame]]:
    plain = pd.DataFrame({"c": ["a", "b", "a", "c"], "x": [1.0, 2.0, 0.0, 4.0]})
    return plain.iloc[[2, 0, 3]].reset_index(drop=True), [
        plain.iloc[[2, 0, 3]],
        plain.iloc[[2, 0, 3]].set_index(pd.Index(["u", "v", "w"], name="key")),
        plain.iloc[[2, 0, 3]].set_index(pd.MultiIndex.from_tuples([(1, "a"), (1, "b"), (2, "a")], names=["m", None])),
    ]


@pytest.mark.parametrize("options", [{}, {"output": "dense", "n_features": 64}, {"output": "buckets"}, {"dtype": int}])
def test_the_index_of_pandas_is_no_column(options):
    plain, frames = indexed_frames()
    hasher = FeatureHasher(**options)
    expected = hasher.transform(plain)
    for frame in frames:
        found = hasher.transform(frame)
        assert np.sum(found != expected) == 0
        assert hasher.collision_report(frame).features == hasher.collision_report(plain).features


def test_the_index_of_pandas_is_no_column_of_tokens_texts_and_profiles():
    from headrace import HashingVectorizer, Profile

    plain, frames = indexed_frames()
    tokens, texts = FeatureHasher(64, input_type="string"), HashingVectorizer(n_features=64, token_pattern=".")  # noqa: S106
    analysed = HashingVectorizer(n_features=64, analyzer=list)
    for frame in frames:
        assert (tokens.transform(frame[["c"]]) != tokens.transform(plain[["c"]])).nnz == 0
        for vectorizer in (texts, analysed):
            assert (vectorizer.transform(frame[["c"]]) != vectorizer.transform(plain[["c"]])).nnz == 0
        profile = Profile.fit(frame)
        assert list(profile.columns) == ["c", "x"]
        window = profile.window()
        window.update(frame)
        assert window.rows == 3


# --- what the reports are about ---------------------------------------------------------------------------------------


def test_the_reports_of_buckets_are_about_the_buckets():
    frame = pl.DataFrame({"n": [1, 2, 1, 0], "b": [True, False, None, True], "s": ["x", "y", "x", None]})
    hasher = FeatureHasher(2**16, output="buckets")
    buckets = hasher.transform(frame)
    seen = {(name, int(b)) for name, column in zip(frame.columns, buckets.T, strict=True) for b in column if b >= 0}
    named = {(f.column, f.bucket) for fs in hasher.inverse_map(frame).buckets.values() for f in fs}
    assert named == seen
    assert hasher.collision_report(frame).features == 7
    assert {f.value for fs in hasher.inverse_map(frame).buckets.values() for f in fs if f.column == "n"} == set("012")
