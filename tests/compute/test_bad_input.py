"""What input that is none gets, case by case: an error of `headrace.errors` that names column and row, never a number.

Each test's name is a case; it is tried on the hasher, on the vectorizer and on the plan, wherever it can come there.
"""

from __future__ import annotations

import datetime as dt
import json
import math
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace import FeatureHasher, FeaturePlan, HashingVectorizer
from headrace.errors import ConfigError, DataError, DataTypeError, HeadraceError, ModelFormatError


def rows() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "id": range(6),
            "count": [1, 2, 3, 4, 5, 6],
            "size": [0.5, 1.5, None, 2.5, 3.0, 4.0],
            "city": ["a", "b", "a", "b", None, "a"],
            "day": [dt.date(2020, 1, day + 1) for day in range(6)],
            "y": [True, False] * 3,
        }
    )


@pytest.fixture(scope="module")
def plan() -> FeaturePlan:
    return FeaturePlan.fit(rows(), target="y", task="binary", config={"id_columns": ["id"]})


ROW = {"count": 1, "size": None, "city": "a", "day": "2020-01-01"}


def told(call: Any, *words: str, kind: type[HeadraceError] = DataError) -> None:
    with pytest.raises(kind) as caught:
        call()
    text = str(caught.value)
    assert all(word in text for word in words), text


def raw_text(*values: bytes, kind: pa.DataType | None = None) -> pa.Array:
    """A column of strings over bytes that nobody has looked at."""
    kind = kind or pa.string()
    if kind == pa.string_view():
        return pa.array(values, pa.binary_view()).view(kind)
    width = np.int64 if kind == pa.large_string() else np.int32
    ends = np.cumsum([0, *map(len, values)], dtype=width)
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(ends), pa.py_buffer(b"".join(values))])


def plan_frame(**changes: Any) -> pa.Table:
    table = rows().to_arrow(compat_level=pl.CompatLevel.oldest())
    for name, column in changes.items():
        table = table.set_column(table.schema.get_field_index(name), name, column)
    return table


# --- wrong type ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [None, [1], b"bytes", dt.date(2020, 1, 1), object()], ids=lambda v: type(v).__name__)
def test_wrong_type_of_a_value(value, plan):
    for samples in ([{"ok": 1}, {"bad": value}], iter([{"ok": 1}, {"bad": value}])):
        told(lambda samples=samples: FeatureHasher().transform(samples), "row 1, feature 'bad'", kind=DataTypeError)
    told(lambda: FeatureHasher(input_type="pair").transform([[], [("bad", value)]]), "row 1, feature 'bad'")
    if not isinstance(value, bytes):
        told(lambda: FeatureHasher(input_type="string").transform([["a"], ["b", value]]), "row 1")
        told(lambda: HashingVectorizer().transform(["a", value]), "row 1")
    if not isinstance(value, dt.date | None):
        told(lambda: plan.row(ROW | {"city": value}), "column 'city'")


@pytest.mark.parametrize("sample", [5, None, "text"])
def test_wrong_type_of_a_sample(sample):
    told(lambda: FeatureHasher().transform([{"a": 1}, sample]), "row 1", "expected a dict", kind=DataTypeError)
    if not isinstance(sample, str):  # whose characters are tokens, as they are to scikit-learn
        for kind in ("pair", "string"):
            told(lambda kind=kind: FeatureHasher(input_type=kind).transform([[], sample]), "row 1", kind=DataTypeError)


@pytest.mark.parametrize("data", [5, None, 1.5])
def test_wrong_type_of_the_whole(data, plan):
    told(lambda: FeatureHasher().transform(data), "expected an iterable", kind=DataTypeError)
    told(lambda: HashingVectorizer().transform(data), "expected an iterable", kind=DataTypeError)
    told(lambda: HashingVectorizer(tokenizer=str.split).transform(data), "expected an iterable", kind=DataTypeError)
    told(lambda: plan.transform(data), "expected a frame")
    told(lambda: FeaturePlan.fit(data, target="y", task="binary"), "expected a frame")
    told(lambda: plan.row(data), "expected a mapping", kind=DataTypeError)


def test_wrong_type_of_a_column(plan):
    structs = pl.DataFrame({"ok": [1], "bad": [{"a": 1}]})
    for hasher in (FeatureHasher(), FeatureHasher(8, output="dense"), FeatureHasher(8, output="buckets")):
        told(lambda hasher=hasher: hasher.transform(structs), "column 'bad'")
    told(lambda: FeatureHasher(input_type="string").transform(pl.DataFrame({"bad": [1]})), "column 'bad'")
    for options in ({}, {"tokenizer": str.split}):
        vectorizer = HashingVectorizer(**options)
        told(lambda vectorizer=vectorizer: vectorizer.transform(pl.DataFrame({"bad": [1]})), "column 'bad'")
    told(lambda: plan.matrix(rows().with_columns(city=pl.Series([1, 2, 3, 4, 5, 6]))), "column 'city', row 0")
    told(lambda: plan.matrix(rows().with_columns(count=pl.Series(["1", "2", "x", "4", "5", "6"]))), "'count', row 2")


# --- missing and extra columns ---------------------------------------------------------------------------------------


def test_missing_column(plan):
    told(lambda: plan.matrix(rows().drop("city")), "column 'city'", "no column")
    told(lambda: plan.row({key: value for key, value in ROW.items() if key != "city"}), "column 'city'")
    told(lambda: FeatureHasher(categorical=["gone"]).transform(pl.DataFrame({"a": [1]})), "column 'gone'")
    told(lambda: FeaturePlan.fit(rows().drop("y"), target="y", task="binary"), "column 'y'")


@pytest.mark.parametrize("make", [lambda f: f, pl.DataFrame.to_arrow, pl.DataFrame.to_pandas], ids=["pl", "pa", "pd"])
def test_extra_column(make, plan):
    numbers = plan.inputs.keys() - {"day"}  # which pandas has no type for
    plan = FeaturePlan.fit(rows().select(*numbers, "id", "y"), target="y", task="binary", config={"id_columns": ["id"]})
    frame = make(rows().drop("day"))
    extra = make(rows().drop("day").with_columns(news=pl.lit(1)))
    for method in (plan.transform, plan.matrix, plan.sparse):
        told(lambda method=method: method(extra), "column 'news'", 'extra_columns="ignore"')
        assert method(extra, extra_columns="ignore").shape == method(frame).shape
    assert np.array_equal(plan.matrix(extra, extra_columns="ignore"), plan.matrix(frame), equal_nan=True)
    told(lambda: plan.matrix(frame, extra_columns="maybe"), "'maybe'", kind=ConfigError)


def test_extra_column_of_a_row(plan):
    for row in (ROW | {"news": 1}, json.dumps(ROW | {"news": 1}), json.dumps(ROW | {"news": [None]}).encode()):
        told(lambda row=row: plan.row(row), "column 'news'")
        assert np.array_equal(plan.row(row, extra_columns="ignore"), plan.row(ROW), equal_nan=True)


def test_columns_that_training_had_are_not_extra(plan):
    assert plan.document["unread"] == ["id", "y"]
    assert plan.transform(rows()).equals(plan.transform(rows().drop("id", "y")), null_equal=True)
    assert plan.row(ROW | {"id": 3}).shape == plan.row(ROW).shape
    cut = rows().drop("day").to_pandas().iloc[[0, 1, 4]]  # whose index is no column, though Arrow has it as one
    assert FeaturePlan.fit(cut, target="y", task="binary").matrix(cut).shape[0] == 3


def test_a_plan_that_does_not_say_what_training_had_still_loads(plan):
    document = plan.document
    del document["unread"]
    old = FeaturePlan.from_document(document)
    assert old == plan
    assert old.matrix(rows().with_columns(news=1)).shape == plan.matrix(rows()).shape
    for wrong in (3, [3], "id"):
        told(
            lambda wrong=wrong: FeaturePlan.from_document(document | {"unread": wrong}), "unread", kind=ModelFormatError
        )


def test_where_a_column_is_missing_and_another_extra_the_missing_one_is_told(plan):
    told(lambda: plan.matrix(rows().rename({"city": "ciity"})), "column 'city'", "Did you mean 'ciity'")
    told(lambda: plan.row({"ciity" if key == "city" else key: ROW[key] for key in ROW}), "Did you mean 'ciity'")


def test_extra_column_with_a_nul_in_a_known_name():
    frame = pl.DataFrame({"a\0b": [1, 2, 3, 4], "c\0d": list("xyxy"), "y": [True, False] * 2})
    plan = FeaturePlan.fit(frame, target="y", task="binary", config={"exclude": ["c\0d"]})
    assert plan.matrix(frame).shape == (4, 1)
    told(lambda: plan.matrix(frame.with_columns(e=1)), "column 'e'")


# --- nested null -----------------------------------------------------------------------------------------------------


TEXTS = [["x"], None, [], ["a", None], ["b"]]
FIXED = [["x", "y"], None, ["a", None]]
LISTS = {
    "list": pa.array(TEXTS, pa.list_(pa.string())),
    "large": pa.array(TEXTS, pa.large_list(pa.large_string())),
    "views": pa.array(TEXTS, pa.list_(pa.string_view())),
    "view": pa.array(TEXTS, pa.list_view(pa.string())),
    "large view": pa.array(TEXTS, pa.large_list_view(pa.string())),
    "fixed": pa.array([FIXED[0], None, FIXED[0], FIXED[2]], pa.list_(pa.string(), 2)),
    "dictionary": pa.array(TEXTS, pa.list_(pa.dictionary(pa.int8(), pa.string()))),
    "nulls": pa.array([[], None, [], [None]], pa.list_(pa.null())),
    "numbers": pa.array([[1], None, [], [2, None]], pa.list_(pa.int32())),
    "floats": pa.array([[1.0], None, [], [None]], pa.large_list(pa.float64())),
    "booleans": pa.array([[True], None, [], [None, False]], pa.list_(pa.bool_())),
    "dates": pa.array([[1], None, [], [2, None]], pa.list_(pa.date32())),
    "chunked": pa.chunked_array(
        [pa.array(TEXTS[:2], pa.list_(pa.string())), pa.array(TEXTS[2:], pa.list_(pa.string()))]
    ),
    "sliced": pa.array([["q", None], *TEXTS], pa.list_(pa.string()))[1:],
    "polars": pl.Series(TEXTS, dtype=pl.List(pl.String)).to_arrow(),
    "categorical": pl.Series(TEXTS, dtype=pl.List(pl.Categorical)).to_arrow(),
}
WORDS = [name for name in LISTS if name not in ("numbers", "floats", "booleans", "dates")]


@pytest.mark.parametrize("layout", LISTS)
def test_nested_null(layout):
    table = pa.table({"ok": ["v"] * len(LISTS[layout]), "tags": LISTS[layout]})
    for options in ({}, {"mode": "spark"}, {"output": "dense", "n_features": 8}, {"dtype": np.int64}):
        hasher = FeatureHasher(**options)
        told(lambda hasher=hasher: hasher.transform(table), "column 'tags', row 3", "null")
    told(lambda: FeatureHasher().collision_report(table), "column 'tags', row 3")
    told(lambda: FeatureHasher().inverse_map(table), "column 'tags', row 3")
    assert FeatureHasher().transform(table[:3]).shape[0] == 3


@pytest.mark.parametrize("layout", WORDS)
def test_nested_null_among_tokens(layout):
    told(
        lambda: FeatureHasher(input_type="string").transform(pa.table({"tags": LISTS[layout]})), "'tags', row 3", "null"
    )


def test_nested_null_in_a_dictionary_whose_entry_is_null():
    words = pa.DictionaryArray.from_arrays(pa.array([0, 1, 0], pa.int8()), pa.array(["a", None]))
    lists = pa.ListArray.from_arrays(pa.array([0, 1, 3], pa.int32()), words)
    told(lambda: FeatureHasher().transform(pa.table({"tags": lists})), "column 'tags', row 1")


@settings(max_examples=150, deadline=None)
@given(
    rows_=st.lists(
        st.none() | st.lists(st.none() | st.sampled_from(["a", "b", ""]), max_size=3), min_size=1, max_size=12
    ),
    cut=st.integers(0, 12),
    kind=st.sampled_from([pa.list_(pa.string()), pa.large_list(pa.string_view()), pa.list_view(pa.string())]),
    threads=st.sampled_from([1, 2]),
)
def test_nested_null_wherever_it_is(rows_, cut, kind, threads):
    """The first row that has one is told; where none has, a row means the tokens of its list."""
    whole = pa.array([["x", None], *rows_], kind)[1:]
    cut = min(cut, len(rows_))
    table = pa.table({"tags": pa.chunked_array([whole[:cut], whole[cut:]])})
    hasher = FeatureHasher(16, input_type="string", threads=threads)
    wrong = next((row for row, tags in enumerate(rows_) if tags and None in tags), None)
    if wrong is None:
        expected = hasher.transform([tags or [] for tags in rows_]).toarray()
        np.testing.assert_array_equal(hasher.transform(table).toarray(), expected)
    else:
        told(lambda: hasher.transform(table), f"column 'tags', row {wrong}:", "null")


def test_nested_null_that_no_row_shows():
    items = pa.array(["a", None, "b"])
    lists = pa.ListViewArray.from_arrays(pa.array([0, 2], pa.int32()), pa.array([1, 1], pa.int32()), items)
    assert FeatureHasher().transform(pa.table({"tags": lists})).nnz == 2


def test_nested_null_in_dicts_and_iterables():
    for value in ([None], ["a", None], [["a", None]], {"a": None}):
        told(lambda value=value: FeatureHasher().transform([{"a": 1}, {"tags": value}]), "row 1, feature 'tags'")
        pairs = [[("a", 1)], [("tags", value)]]
        told(lambda pairs=pairs: FeatureHasher(input_type="pair").transform(pairs), "row 1, feature 'tags'")
    for tokens in ([None], ["a", None]):
        told(lambda tokens=tokens: FeatureHasher(input_type="string").transform([["a"], tokens]), "row 1, feature None")


@pytest.mark.parametrize("layout", WORDS)
def test_nested_null_of_texts(layout):
    for options in ({}, {"tokenizer": str.split}):
        vectorizer = HashingVectorizer(**options)
        told(lambda vectorizer=vectorizer: vectorizer.transform(pa.table({"tags": LISTS[layout]})), "column 'tags'")
    told(lambda: HashingVectorizer().transform(["a", ["b", None]]), "row 1")
    told(lambda: HashingVectorizer(analyzer=lambda text: ["b", None]).transform(["a"]), "row 0")


@pytest.mark.parametrize("layout", LISTS)
def test_nested_null_in_a_plan(layout, plan):
    column = LISTS[layout]
    short = pa.table(
        {name: values[: len(column)] for name, values in zip(plan_frame().column_names, plan_frame(), strict=True)}
    )
    told(lambda: plan.matrix(short.set_column(3, "city", column)), "column 'city', row 0", "list")
    told(lambda: plan.row(ROW | {"city": ["a", None]}), "column 'city'")
    frame = short.append_column("tags", column)
    config = {"columns": {"tags": {"treat_as": "hash"}}}
    if layout == "views" or "view" not in layout:
        told(lambda: FeaturePlan.fit(frame, target="y", task="binary", config=config), "'tags'", kind=ConfigError)
    else:
        told(lambda: FeaturePlan.fit(frame, target="y", task="binary", config=config), "column 'tags'", "not supported")


# --- text that is none -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [b"\xff", b"\xed\xa0\x80", b"a long value that ends within \xe2\x82"])
@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view()], ids=str)
def test_invalid_utf8_in_a_raw_arrow_buffer(bad, kind, plan):
    column = raw_text(b"a", b"b", bad, b"a", b"b", b"a", kind=kind)
    table = pa.table({"ok": ["v"] * 6, "city": column})
    for options in ({}, {"input_type": "string"}, {"output": "dense"}, {"output": "buckets"}, {"dtype": np.int64}):
        hasher = FeatureHasher(8, **options)
        told(lambda hasher=hasher: hasher.transform(table), "column 'city', row 2", "UTF-8")
    told(lambda: FeatureHasher(8).collision_report(table), "column 'city', row 2")
    for options in ({}, {"tokenizer": str.split}, {"analyzer": "char"}, {"encoding": "latin-1"}):
        vectorizer = HashingVectorizer(**options)
        told(
            lambda vectorizer=vectorizer: vectorizer.transform(table.select(["city"])), "column 'city', row 2", "UTF-8"
        )
    told(lambda: plan.matrix(plan_frame(city=column)), "column 'city', row 2", "UTF-8")


TEXT_COLUMNS = {
    "string": lambda values: raw_text(*values),
    "large": lambda values: raw_text(*values, kind=pa.large_string()),
    "view": lambda values: raw_text(*values, kind=pa.string_view()),
    "dictionary": lambda values: pa.DictionaryArray.from_arrays(
        pa.array([0, 1, 2, 1, 0, 0]), raw_text(b"a", b"b", values[2])
    ),
    "list": lambda values: pa.ListArray.from_arrays(pa.array(range(7), pa.int32()), raw_text(*values)),
    "fixed": lambda values: pa.FixedSizeListArray.from_arrays(raw_text(*values), 1),
    "struct": lambda values: pa.StructArray.from_arrays([raw_text(*values)], ["inner"]),
    "chunked": lambda values: pa.chunked_array([raw_text(*values[:2]), raw_text(*values[2:])]),
}


@pytest.mark.parametrize("layout", TEXT_COLUMNS)
def test_invalid_utf8_in_a_raw_arrow_buffer_where_a_plan_is_fitted(layout, plan):
    """polars takes it on trust and panics; so it never comes there."""
    column = TEXT_COLUMNS[layout]([b"a", b"b", b"\xff", b"b", b"a", b"a"])
    fine = TEXT_COLUMNS[layout]([b"a", b"b", b"c", b"b", b"a", b"a"])
    frame = pa.table({"n": range(6), "city": column, "y": [True, False] * 3})
    for call in (FeaturePlan.fit, FeaturePlan.fit_transform):
        told(lambda call=call: call(frame, target="y", task="binary"), "column 'city', row 2", "UTF-8")
    read = pl.DataFrame(frame)
    told(lambda: FeaturePlan.fit(read, target="y", task="binary"), "column 'city', row 2", "UTF-8")
    told(lambda: FeaturePlan.infer_task(frame, "city"), "column 'city', row 2")
    told(lambda: FeaturePlan.labelled(frame, "city"), "column 'city', row 2")
    told(lambda: plan.encode_target(frame), "column 'city', row 2")
    told(lambda: plan.explain_skew(frame[2:3], frame[:1]), "column 'city', row 0")
    assert FeaturePlan.fit(frame.set_column(1, "city", fine), target="y", task="binary").outputs


@pytest.mark.parametrize("ends", [(0, 5, 3, 6), (0, -1, 3, 6), (0, 2**30, 3, 6)], ids=["back", "negative", "far"])
def test_offsets_that_lead_outside_where_a_plan_is_fitted(ends):
    marks = pa.py_buffer(np.array(ends, np.int32))
    column = pa.Array.from_buffers(pa.string(), 3, [None, marks, pa.py_buffer(b"abcdef")])
    frame = pa.table({"n": range(3), "city": column, "y": [True, False, True]})
    told(lambda: FeaturePlan.fit(frame, target="y", task="binary"), "column 'city', row", "damaged")


def test_text_that_has_no_utf8(plan):
    told(lambda: FeatureHasher().transform([{"a": "x"}, {"a": "\ud800"}]), "row 1, feature 'a'")
    told(lambda: FeatureHasher(input_type="string").transform([["a"], ["\ud800"]]), "row 1")
    told(lambda: HashingVectorizer(analyzer="char").transform(["a", "\ud800"]), "row 1")
    told(lambda: plan.row(ROW | {"city": "\ud800"}), "column 'city'")


# --- too many, too few, too large ------------------------------------------------------------------------------------


def test_more_than_2_to_31_non_zeros_in_lists():
    """Lists that all show the same items: known before anything is made."""
    shown = 2**21
    items = pa.array(np.ones(shown, np.int8))
    lists = pa.ListViewArray.from_arrays(
        pa.array([0] * 2**11, pa.int32()), pa.array([shown] * 2**11, pa.int32()), items
    )
    # Row 1023 is the first up to which there are 2^31.
    told(lambda: FeatureHasher().transform(pa.table({"tags": lists})), "column 'tags', row 1023", "2147483647 fit")


def test_more_than_2_to_31_non_zeros_in_texts():
    """A long text of which a column has many: known before anything is made."""
    words = " ".join(f"w{number}" for number in range(70_000))
    each = HashingVectorizer().transform([words]).nnz
    count = 2**31 // each + 2
    column = pa.DictionaryArray.from_arrays(pa.array(np.zeros(count, np.int8)), pa.array([words]))
    told(lambda: HashingVectorizer().transform(pa.table({"note": column})), f"column 'note', row {2**31 // each}")


WRONG_COLUMNS = [0, -1, 2**31, 2**63, True, False, 8.0, np.float64(8), math.nan, "8"]


@pytest.mark.parametrize("n_features", WRONG_COLUMNS, ids=repr)
def test_n_features_that_cannot_be(n_features):
    for estimator, data in (
        (FeatureHasher(n_features), [{"a": 1}]),
        (HashingVectorizer(n_features=n_features), ["a b"]),
    ):
        for call in (estimator.fit, estimator.transform, estimator.fit_transform):
            told(lambda call=call, data=data: call(data), "n_features", kind=ConfigError)
    told(lambda: FeatureHasher(n_features=n_features).transform(rows().select("city")), "n_features", kind=ConfigError)
    for treat in ("hash", "text"):
        config = {"columns": {"city": {"treat_as": treat, "size": n_features}}}
        told(
            lambda config=config: FeaturePlan.fit(rows(), target="y", task="binary", config=config),
            "size",
            kind=ConfigError,
        )


def test_n_features_at_both_ends():
    for n_features in (1, 2**31 - 1, np.int64(5)):
        assert FeatureHasher(n_features).transform([{"a": "x"}]).shape == (1, n_features)
        assert HashingVectorizer(n_features=n_features).transform(["xy"]).shape == (1, n_features)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_nan_and_infinities(value, plan):
    """scikit-learn keeps them, so they are no error there; a plan refuses them where they have no meaning."""
    from sklearn.feature_extraction import FeatureHasher as Theirs

    expected = Theirs(8).transform([{"a": value, "b": 1}]).toarray()
    for data in ([{"a": value, "b": 1}], pl.DataFrame({"a": [value], "b": [1]})):
        np.testing.assert_array_equal(FeatureHasher(8).transform(data).toarray(), expected)
        np.testing.assert_array_equal(FeatureHasher(8, output="dense").transform(data), expected.astype(np.float32))
    told(lambda: HashingVectorizer().transform(["a", value]), "row 1")
    made = plan.transform(rows().with_columns(size=pl.Series([value] * 6)))["size"].to_list()
    np.testing.assert_array_equal(made, [value] * 6)
    whole = rows().with_columns(count=pl.Series([1.0, 2.0, 3.0, value, 5.0, 6.0]))
    if math.isnan(value):
        assert math.isnan(plan.matrix(whole)[3, 0])
    else:
        told(lambda: plan.matrix(whole), "column 'count', row 3")
        told(lambda: plan.row(ROW | {"size": value}), "column 'size'")


def test_an_empty_frame(plan):
    """Nothing to learn from, and scikit-learn refuses to hash nothing; a fitted plan gives no rows for none."""
    for data in ([], iter([]), rows()[:0].select("city"), rows()[:0].select("city").to_arrow()):
        for options in ({}, {"output": "dense", "n_features": 8}):
            hasher = FeatureHasher(**options)
            told(lambda hasher=hasher, data=data: hasher.transform(data), "empty")
    told(lambda: FeatureHasher(output="buckets").transform(rows()[:0].select("city")), "empty")
    for data in ([], iter([]), rows()[:0]["city"], rows()[:0].select("city")):
        told(lambda data=data: HashingVectorizer().transform(data), "no documents")
    told(lambda: FeaturePlan.fit(rows()[:0], target="y", task="binary"), "no rows")
    for empty in (rows()[:0], rows()[:0].to_arrow()):
        assert plan.matrix(empty).shape == (0, len(plan.outputs))


@pytest.mark.parametrize(
    "frame",
    [pl.DataFrame(), pa.table({"a": [1, 2, 3]}).select([]), pd.DataFrame(index=range(3))],
    ids=["none", "pyarrow", "pandas"],
)
def test_a_frame_of_zero_columns(frame, plan):
    for options in ({}, {"input_type": "string"}, {"output": "dense"}, {"output": "buckets"}, {"dtype": np.int64}):
        hasher = FeatureHasher(8, **options)
        told(lambda hasher=hasher: hasher.transform(frame), "no columns")
    told(lambda: FeatureHasher(8).collision_report(frame), "no columns")
    told(lambda: HashingVectorizer().transform(frame), "0 columns")
    told(lambda: plan.matrix(frame), "column 'count'", "no columns at all")
    told(lambda: FeaturePlan.fit(frame, target="y", task="binary"), "column 'y'", "no columns at all")


def test_a_string_of_100_megabytes(plan):
    """No error: it is a text like another. The hasher's and the vectorizer's are in their own tests."""
    long = "é" * (50 * 2**20)
    frame = rows().with_columns(city=pl.Series([long, "a", "b", "a", "b", "a"]))
    made = plan.transform(frame)["city"].to_list()
    assert made[0] not in made[1:]
    config = {"columns": {"city": {"treat_as": "hash", "size": 16}}}
    hashed = FeaturePlan.fit(frame, target="y", task="binary", config=config)
    names = [name for name in hashed.outputs if name.startswith("city.")]
    index = FeatureHasher(16).transform([{"city": long}]).indices[0]
    assert hashed.transform(frame[:1]).select(names).row(0)[index] in (1, -1)


# --- plans -----------------------------------------------------------------------------------------------------------


def test_a_corrupted_plan_every_truncation(plan):
    from headrace import _core

    text = json.dumps(plan.document)
    for end in range(len(text)):
        with pytest.raises(ModelFormatError):
            _core.Plan(text[:end])
    assert _core.Plan(text).fingerprint == plan.fingerprint


def test_a_corrupted_plan_every_bit_of_every_byte(plan):
    """An error, or the same numbers: what is written for people may change."""
    from headrace import _core

    small = FeaturePlan.fit(rows().select("count", "city", "y"), target="y", task="binary")
    frame = rows().select("count", "city")
    expected = small.matrix(frame).view(np.uint32)
    text = json.dumps(small.document).encode()
    for at in range(len(text)):
        for bit in range(8):
            damaged = bytearray(text)
            damaged[at] ^= 1 << bit
            try:
                other = _core.Plan(damaged.decode())
            except (ModelFormatError, UnicodeDecodeError):
                continue
            assert other.fingerprint == small.fingerprint
            assert np.array_equal(other.matrix(frame).view(np.uint32), expected)


def test_a_plan_of_a_newer_format(plan):
    for newer in (3, 99, 2**63):
        document = plan.document | {"format": newer}
        told(lambda document=document: FeaturePlan.from_document(document), "newer headrace", kind=ModelFormatError)
    told(lambda: FeaturePlan.from_document(plan.document | {"format": "3"}), "format", kind=ModelFormatError)


# --- what pandas and parameters may hold -----------------------------------------------------------------------------


def test_wrong_type_of_a_value_in_a_column_of_objects():
    """pandas keeps anything in one column; pyarrow says that it cannot be converted, and not where."""
    frame = pd.DataFrame({"ok": [1, 2, 3], "city": pd.Series([None, "x", 5], dtype=object), "y": [True, False, True]})
    train = frame.assign(city=["x", "y", "x"])
    plan = FeaturePlan.fit(train, target="y", task="binary")
    for method in (plan.transform, plan.matrix, plan.sparse):
        told(lambda method=method: method(frame), "column 'city', row 2")
    told(lambda: FeaturePlan.fit(frame, target="y", task="binary"), "column 'city', row 2")
    for options in ({}, {"output": "buckets"}, {"output": "dense", "n_features": 8}, {"dtype": np.int64}):
        hasher = FeatureHasher(**options)
        told(lambda hasher=hasher: hasher.transform(frame), "column 'city', row 2")
    told(lambda: FeatureHasher().collision_report(frame), "column 'city', row 2")
    missing = pd.DataFrame({"city": pd.Series([1, pd.NA, "x"], dtype=object)})
    with pytest.raises(DataError) as caught:
        FeatureHasher().transform(missing)
    assert caught.value.place == "column 'city', row 2"
    odd = pd.DataFrame({"city": pd.Series([object()], dtype=object)})
    told(lambda: FeatureHasher().transform(odd), "column 'city', row 0")
    surrogate = pd.DataFrame({"city": pd.Series(["a", "\ud800"], dtype=object)})
    told(lambda: FeatureHasher().transform(surrogate), "column 'city', row 1")
    told(lambda: HashingVectorizer().transform(frame["city"]), "column 'city', row 2")


def test_a_lazy_frame(plan):
    lazy = rows().lazy()
    told(lambda: FeatureHasher().transform(lazy), "LazyFrame", "collect")
    told(lambda: HashingVectorizer().transform(lazy), "LazyFrame")
    told(lambda: plan.matrix(lazy), "LazyFrame", "collect")
    told(lambda: FeaturePlan.fit(lazy, target="y", task="binary"), "LazyFrame")


def test_a_dtype_that_has_no_room_for_a_value():
    hasher = FeatureHasher(8, dtype=np.int8)
    for value in (math.nan, math.inf, 300):
        told(lambda value=value: hasher.transform([{"a": 1}, {}, {"b": 2, "a": value}]), "row 2")
        told(lambda value=value: hasher.transform(pl.DataFrame({"a": [1.0, None, value]})), "row 2")
    for dtype in (object, "U3", "nope", "datetime64[s]"):
        for estimator, data in ((FeatureHasher(dtype=dtype), [{"a": 1}]), (HashingVectorizer(dtype=dtype), ["ab"])):
            told(lambda estimator=estimator, data=data: estimator.transform(data), "dtype", kind=ConfigError)


@pytest.mark.parametrize(
    "wrong",
    [
        {"categorical": None},
        {"categorical": [1]},
        {"mode": ["spark"]},
        {"mode": None},
        {"threads": True},
        {"threads": 1.5},
    ],
    ids=repr,
)
def test_other_parameters_that_cannot_be(wrong):
    (name,) = wrong
    told(lambda: FeatureHasher(**wrong).fit(), name, kind=ConfigError)
    told(lambda: FeatureHasher(**wrong).transform(rows().select("city")), name, kind=ConfigError)


def test_reports_asked_for_what_cannot_be():
    frame = rows().select("city")
    for share in ("x", None, math.nan, -0.1, 1.5):
        told(lambda share=share: FeatureHasher().collision_report(frame, share=share), "share", kind=ConfigError)
    for top in (0, 1.5, "x"):
        told(lambda top=top: FeatureHasher().inverse_map(frame, top=top), "top", kind=ConfigError)
