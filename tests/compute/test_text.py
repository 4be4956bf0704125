"""`HashingVectorizer` beside scikit-learn's: every option, all of Unicode, every layout of a column."""

from __future__ import annotations

import importlib.util
import io
import itertools
import re
import subprocess
import sys
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import headrace
from headrace import _core
from headrace.errors import ConfigError, DataError

sklearn_text = pytest.importorskip("sklearn.feature_extraction.text")

ROOT = Path(__file__).parents[2]
PINNED = "14.0.0"
same_unicode = pytest.mark.skipif(
    unicodedata.unidata_version != PINNED, reason=f"this Python has Unicode {unicodedata.unidata_version}"
)

# What is treated in a way of its own: sigmas, the dotted I, marks, spaces, ligatures, Hangul, odd digits.
# ruff: noqa: RUF001  # characters that look like others are the point
STRANGE = "ΣσςİıßſA\u0345\u0301\u00b7'.:\u2019\u00ad _\t\n\x1c\x85\xa0\u2003ﬁ²½Ⅷ①ǅ가각힣क्षिé\u1e9e\ufdfaЖ日本𝔘𐐀\ufffe"
characters = st.one_of(
    st.sampled_from(STRANGE), st.sampled_from("abAB zZ09_,."), st.characters(exclude_categories=["Cs"])
)
texts = st.one_of(
    st.text(characters, max_size=40),
    st.lists(st.sampled_from(["the", "The", "THE", "cat", "ΟΔΟΣ", "über", "a", "of", "x1", "don't", "日本語"])).map(
        " ".join
    ),
)
options = st.fixed_dictionaries(
    {},
    optional={
        "analyzer": st.sampled_from(["word", "char", "char_wb"]),
        "lowercase": st.booleans(),
        "strip_accents": st.sampled_from(["ascii", "unicode", None]),
        "ngram_range": st.tuples(st.integers(1, 4), st.integers(0, 3)).map(lambda pair: (pair[0], sum(pair))),
        "stop_words": st.sampled_from(["english", ["the", "cat", "a"], [], None]),
        "n_features": st.sampled_from([1, 2, 7, 16, 1000, 2**20, 1_000_003, 2**31 - 2]),
        "binary": st.booleans(),
        "norm": st.sampled_from(["l1", "l2", None]),
        "alternate_sign": st.booleans(),
        "dtype": st.sampled_from([np.float64, np.float32, "float32", np.int64, np.int8, bool]),
        # The same as the default, but not written so: this one goes through Python.
        "token_pattern": st.sampled_from([r"\b\w\w+\b", r"(?u)\w\w+", r"(\w)\w+"]),
    },
)


def assert_same(ours, theirs):
    """Bit for bit."""
    assert type(ours) is type(theirs)
    assert ours.shape == theirs.shape
    for name in ("indptr", "indices", "data"):
        mine, other = getattr(ours, name), getattr(theirs, name)
        assert mine.dtype == other.dtype, name
        # A long double has bytes that mean nothing.
        same = np.array_equal(mine, other) if mine.dtype == np.longdouble else mine.tobytes() == other.tobytes()
        assert same, name


def rows(documents, **parameters):
    return headrace.HashingVectorizer(**parameters).transform(documents)


def their_rows(documents, **parameters):
    return sklearn_text.HashingVectorizer(**parameters).transform(documents)


def named(value: object) -> str:
    """A value without where it lies in memory: workers that collect the same tests must call them the same."""
    return re.sub(r" at 0x[0-9a-f]+", "", str(value))


# --- the same as scikit-learn ----------------------------------------------------------------------------------------


@same_unicode
@pytest.mark.filterwarnings("ignore:Your stop_words may be inconsistent")
@settings(max_examples=500, deadline=None)
@given(st.lists(texts, min_size=1, max_size=6), options)
def test_every_option(documents, parameters):
    assert_same(rows(documents, **parameters), their_rows(documents, **parameters))


@same_unicode
@pytest.mark.parametrize(
    "parameters",
    [
        {"lowercase": False},
        {},
        {"strip_accents": "ascii"},
        {"strip_accents": "unicode"},
        {"analyzer": "char", "ngram_range": (2, 2)},
        {"analyzer": "char_wb", "ngram_range": (2, 3)},
    ],
    ids=str,
)
def test_every_code_point(parameters):
    """Each between letters, twice in a row, and on both sides of a sigma."""
    codes = [code for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000]
    if parameters.get("analyzer"):
        codes = codes[:0x3100]
    documents = [
        "\n".join(
            f"a{chr(code)}b {chr(code) * 2} a{chr(code)}Σ{chr(code)} {chr(code)}Σ" for code in codes[at : at + 64]
        )
        for at in range(0, len(codes), 64)
    ]
    parameters = {"n_features": 2**31 - 2, "norm": None, **parameters}
    assert_same(rows(documents, **parameters), their_rows(documents, **parameters))


@same_unicode
@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.one_of(st.binary(max_size=20), texts.map(str.encode), texts), min_size=1, max_size=5),
    st.sampled_from(["ignore", "replace", "strict"]),
    st.sampled_from(["utf-8", "UTF8", "latin-1", "utf-16", "ascii"]),
)
def test_bytes(documents, decode_error, encoding):
    parameters = {"decode_error": decode_error, "encoding": encoding, "norm": None}
    try:
        expected = their_rows(documents, **parameters)
    except UnicodeDecodeError:
        with pytest.raises(DataError, match="row "):
            rows(documents, **parameters)
    else:
        assert_same(rows(documents, **parameters), expected)


def test_rows_of_very_different_length():
    chance = np.random.default_rng(0)
    words = [f"w{number}" for number in range(5000)]
    documents = [" ".join(chance.choice(words, size)) for size in (0, 1, 1023, 1024, 1025, 3, 20_000, 0, 2)]
    for parameters in ({}, {"ngram_range": (1, 3)}, {"n_features": 50}, {"norm": "l1", "dtype": "float32"}):
        assert_same(rows(documents, **parameters), their_rows(documents, **parameters))


@pytest.mark.parametrize("dtype", [np.int16, "complex128", np.longdouble, None, np.float32, int, bool])
@pytest.mark.parametrize("norm", [None, "l2", "l1"])
@pytest.mark.parametrize("binary", [False, True])
def test_types_of_values(dtype, norm, binary):
    documents = ["ab cd cd zz yy ww ab", "foo bar cd", "", "ab " * 300]
    parameters = {"dtype": dtype, "norm": norm, "n_features": 4, "binary": binary}
    try:
        expected = their_rows(documents, **parameters)
    except ValueError:
        with pytest.raises(ConfigError):
            rows(documents, **parameters)
    else:
        assert_same(rows(documents, **parameters), expected)


@pytest.mark.filterwarnings("ignore:Your stop_words may be inconsistent")
@pytest.mark.parametrize(
    "parameters",
    [
        {"tokenizer": str.split, "token_pattern": None},
        {"preprocessor": lambda text: text.swapcase()},
        {"analyzer": lambda text: text.encode().split()},
        {"strip_accents": lambda text: text.replace("é", "e")},
        {"token_pattern": r"[a-z]+|\d"},
        {"token_pattern": r"(\w)\w*"},
        {"token_pattern": r"\b\w\w+\b"},
        {"ngram_range": (0, 2)},
        {"ngram_range": (0, 1)},
        {"ngram_range": (-1, 2), "analyzer": "char_wb"},
        {"ngram_range": (-2, 2), "analyzer": "char"},
    ],
    ids=named,
)
def test_steps_of_the_users_own(parameters):
    documents = ["The first café 1", "", "the THE 22 the_first", "a"]
    for extra in ({}, {"stop_words": ["the"]} if "analyzer" not in parameters else {"binary": True}):
        assert_same(rows(documents, **parameters, **extra), their_rows(documents, **parameters, **extra))


def test_a_subclass_with_a_step_of_its_own():
    def build_tokenizer(self):
        return lambda text: text.split("|")

    ours = type("Ours", (headrace.HashingVectorizer,), {"build_tokenizer": build_tokenizer})
    theirs = type("Theirs", (sklearn_text.HashingVectorizer,), {"build_tokenizer": build_tokenizer})
    assert_same(ours().transform(["a|b c", "d"]), theirs().transform(["a|b c", "d"]))


def test_files(tmp_path):
    (tmp_path / "one").write_bytes("Straße ÜBER".encode("latin-1"))
    for step in ({}, {"tokenizer": str.split}):
        parameters = {"encoding": "latin-1", **step}
        expected = their_rows(["Straße ÜBER"], **parameters)
        assert_same(rows([tmp_path / "one"], input="filename", **parameters), expected)
        assert_same(rows([(tmp_path / "one").open("rb")], input="file", **parameters), expected)
        assert_same(rows([io.StringIO("Straße ÜBER")], input="file", **parameters), expected)


@same_unicode
def test_lone_surrogates():
    documents = ["ab\ud800cd ef", "x\udfffyz\ud801"]
    for parameters in ({}, {"strip_accents": "unicode"}, {"strip_accents": "ascii", "analyzer": "char"}):
        assert_same(rows(documents, **parameters), their_rows(documents, **parameters))
    for parameters in ({"analyzer": "char"}, {"tokenizer": str.split}):
        with pytest.raises(UnicodeEncodeError):
            their_rows(documents, **parameters)
        with pytest.raises(DataError, match="row 0") as caught:
            rows(documents, **parameters)
        assert isinstance(caught.value.__cause__, UnicodeEncodeError)


def test_the_steps_in_python_are_those_of_rust():
    text = "The Ἀθῆναι's ΟΔΟΣ, café!"
    for parameters in (
        {"ngram_range": (1, 2), "stop_words": "english"},
        {"analyzer": "char_wb", "ngram_range": (2, 9)},
        {"analyzer": "char", "ngram_range": (1, 3), "strip_accents": "unicode"},
    ):
        ours = headrace.HashingVectorizer(**parameters).build_analyzer()
        theirs = sklearn_text.HashingVectorizer(**parameters).build_analyzer()
        assert list(ours(text)) == list(theirs(text))


def test_the_english_stop_words():
    assert frozenset(_core.english_stop_words()) == sklearn_text.ENGLISH_STOP_WORDS


# --- Unicode ---------------------------------------------------------------------------------------------------------


@same_unicode
def test_the_table_is_what_this_python_says():
    path = ROOT / "rust/headrace-core/src/text/generate.py"
    spec = importlib.util.spec_from_file_location("generate", path)
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    assert generate.table() == path.with_name("table.rs").read_text()


def test_the_version_of_unicode_is_pinned():
    assert headrace.HashingVectorizer().unicode_version == PINNED


def tokens_with_marks(text):
    """By the definition: a word character, then word characters and marks, two in all at least."""
    marks = "".join(
        re.escape(chr(code)) for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code))[0] == "M"
    )
    return re.findall(rf"\w[\w{marks}]+", text.lower())


@same_unicode
def test_marks_go_on_with_their_word():
    documents = ["हिन्दी में किताबें", "தமிழ் மொழி", "e\u0301te\u0301 \u0301\u0301 a\u0301", "1\ufe0f\u20e3 ❤\ufe0f x_\u0301"]
    tokens = [tokens_with_marks(text) for text in documents]
    assert tokens[0] == ["हिन्दी", "में", "किताबें"]
    expected = their_rows(tokens, analyzer=lambda row: row)
    assert_same(rows(documents, keep_marks=True), expected)
    assert_same(rows(documents, keep_marks=True, preprocessor=str.lower), expected)
    assert_same(rows(documents), their_rows(documents))


@same_unicode
@settings(deadline=None)
@given(st.text(st.one_of(characters, st.sampled_from("कि\u0301\u093f\u20e3_a ")), max_size=30))
def test_marks_in_python_and_in_rust(text):
    assert_same(rows([text], keep_marks=True), rows([text], keep_marks=True, preprocessor=str.lower))


# --- columns ---------------------------------------------------------------------------------------------------------

COLUMN = [
    "The first",
    None,
    "",
    "ÜBER Straße, über",
    "the first and a text that is longer than a view holds",
    "The first",
]
TEXTS = ["" if text is None else text for text in COLUMN]


IN_PYTHON = {"token_pattern": r"\w\w+"}


def layouts():
    yield "polars", pl.Series("text", COLUMN)
    yield "polars frame", pl.DataFrame({"text": COLUMN})
    yield "polars categorical", pl.Series("text", COLUMN, dtype=pl.Categorical)
    yield "polars enum", pl.Series("text", COLUMN, dtype=pl.Enum(sorted({*TEXTS, "unused"})))
    yield "polars binary", pl.Series("text", COLUMN).cast(pl.Binary)
    for kind in (pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.large_binary(), pa.binary_view()):
        yield f"pyarrow {kind}", pa.array(COLUMN, kind)
        yield f"pyarrow {kind} chunked", pa.chunked_array([COLUMN[:2], COLUMN[2:2], COLUMN[2:]], kind)
        padded = pa.array([None, "x" * 20, *COLUMN, "y"], kind)
        yield f"pyarrow {kind} sliced", padded.slice(2, len(COLUMN))
    for index in (pa.int8(), pa.uint8(), pa.int16(), pa.uint16(), pa.int32(), pa.uint32(), pa.int64(), pa.uint64()):
        yield f"dictionary {index}", pa.array(COLUMN).dictionary_encode().cast(pa.dictionary(index, pa.string()))
    encoded = pa.array([None, "x", *COLUMN]).dictionary_encode()
    yield "dictionary sliced", encoded.slice(2)
    nulls = pa.DictionaryArray.from_arrays(pa.array([0, 1, 2, 3, 4, 0], pa.int8()), pa.array(COLUMN[:5]))
    yield "dictionary with a null in it", nulls
    yield "pyarrow table", pa.table({"text": pa.chunked_array([COLUMN[:3], COLUMN[3:]])})


@pytest.mark.parametrize("column", [pytest.param(column, id=name) for name, column in layouts()])
def test_a_column_in_any_layout(column):
    expected = their_rows(TEXTS, ngram_range=(1, 2))
    assert_same(rows(column, ngram_range=(1, 2)), expected)
    # And where the steps are in Python.
    assert_same(rows(column, ngram_range=(1, 2), **IN_PYTHON), expected)


def test_pandas():
    pandas = pytest.importorskip("pandas")
    expected = their_rows(TEXTS)
    for dtype in ("str", object, "category", pandas.ArrowDtype(pa.string())):
        series = pandas.Series(COLUMN, dtype=dtype, name="text")
        assert_same(rows(series), expected)
        assert_same(rows(series.to_frame()), expected)


def test_a_column_of_nulls_has_rows():
    expected = their_rows(["", ""])
    assert_same(rows(pl.Series([None, None])), expected)
    assert_same(rows(pa.nulls(2)), expected)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.one_of(st.none(), texts), min_size=1, max_size=30), st.data())
def test_rows_do_not_depend_on_chunks_slices_or_threads(documents, data):
    cuts = sorted(data.draw(st.lists(st.integers(0, len(documents)), max_size=4)))
    bounds = [0, *cuts, len(documents)]
    chunks = [documents[start:end] for start, end in itertools.pairwise(bounds)]
    whole = rows(["" if text is None else text for text in documents], threads=1)
    assert_same(rows(pa.chunked_array(chunks, pa.string()), threads=2), whole)
    assert_same(rows(pl.concat([pl.Series(chunk, dtype=pl.String) for chunk in chunks], rechunk=False)), whole)
    start = data.draw(st.integers(0, len(documents) - 1))
    assert_same(rows(pa.array(documents, pa.string()).slice(start)), whole[start:])


def test_threads_and_many_documents():
    documents = [f"document {number} of words w{number % 97} w{number % 89} Ä{number}" for number in range(70_000)]
    one = rows(documents, threads=1)
    assert_same(rows(documents, threads=2), one)
    assert_same(rows(iter(documents), threads=3), one)
    assert_same(rows(pl.Series(documents), threads=2), one)
    assert_same(rows(pl.Series(documents, dtype=pl.Categorical), threads=2), one)
    assert_same(one[::1000], their_rows(documents[::1000]))


class Liar(str):
    """A str whose methods say what is not so."""

    __slots__ = ()

    def __len__(self) -> int:
        return 10**9

    def isascii(self) -> bool:
        return True

    def encode(self, *_: Any) -> bytes:
        return b"not this"


@same_unicode
@pytest.mark.parametrize("threads", [1, 2])
def test_lists_of_every_width_and_length(threads):
    """Texts of each width of Python's, around the lengths at which they are taken another way, in many chunks."""
    kinds = ["ab cd", "déjà vu", "日本語 テキスト", "x 😀 emoji"]
    texts = [(kinds[number % 4] + " ") * (number % 97) for number in range(3000)]
    texts += [letter * length + " end" for letter in "aé日😀" for length in (0, 1, 7, 8, 9, 65_531, 65_532, 65_533)]
    texts += ["é\ud800日 ab", "x" * 70_000 + "é \udfff cd"]
    ours = headrace.HashingVectorizer(threads=threads, norm=None)
    made = ours.transform(texts)
    assert_same(made, their_rows(texts, norm=None))
    assert_same(made, ours.transform(text for text in texts))
    assert_same(made, ours.transform([Liar(text) for text in texts]))


def test_texts_are_left_as_they_are():
    """No UTF-8 stays behind in a text that is not ASCII: it would take memory for as long as the caller keeps it."""
    texts = ["".join(["dé", "jà ", str(number)]) for number in range(100)]
    sizes = [sys.getsizeof(text) for text in texts]
    headrace.HashingVectorizer().transform(texts)
    assert [sys.getsizeof(text) for text in texts] == sizes


def test_a_list_that_changes_meanwhile():
    def growing() -> Any:
        texts = ["é one"]
        for text in texts:
            if len(texts) < 50:
                texts.append("é two")
            yield text

    assert headrace.HashingVectorizer(threads=1).transform(growing()).shape[0] == 50
    with pytest.raises(ZeroDivisionError):
        headrace.HashingVectorizer().transform("é" if number else 1 / number for number in (1, 2, 0))


def test_more_threads_than_a_machine_has():
    """They are no more than there is work for: this once started twenty thousand."""
    texts = ["ab cd é"] * 20_000
    for threads in (10**9, 2**100):
        assert_same(rows(texts, threads=threads), rows(texts, threads=1))


def test_the_matrix_stands_on_rusts_memory():
    made = rows(["ab cd", "ef"])
    assert made.has_sorted_indices
    assert made.has_canonical_format
    for array in (made.indptr, made.indices, made.data):
        assert not array.flags.owndata
    made.data[0] = 3.0
    made.sum_duplicates()
    assert made[0].sum() != 0


# --- bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("documents", "message"),
    [
        ("a text", "string object received"),
        ([], "no documents"),
        (iter([]), "no documents"),
        (pl.Series([], dtype=pl.String), "no documents"),
        (["ab", None], "row 1.*None"),
        (["ab", float("nan")], "row 1.*np.nan is an invalid document"),
        (["ab", np.nan], "row 1.*np.nan is an invalid document"),
        (["ab", 5], "row 1.*int"),
        (["ab", bytearray(b"ab")], "row 1.*bytearray"),
        (["ab", ["cd"]], "row 1.*list"),
        ([b"ab", b"cd\xff"], "row 1.*byte 2"),
        (pl.DataFrame({"a": ["x"], "b": ["y"]}), "2 columns.*'a'.*'b'"),
        (pl.DataFrame(), "0 columns"),
        (pl.Series("n", [1, 2]), "column 'n'.*Int64"),
        (pl.Series("n", [["x"]]), "column 'n'.*List"),
        (pa.array([b"ab", None, b"\xe2\x82"]), "row 2.*byte 0"),
    ],
    ids=named,
)
def test_what_is_no_text(documents, message):
    with pytest.raises(DataError, match=f"(?s){message}"):
        rows(documents)


def test_what_is_no_text_where_the_steps_are_in_python():
    for documents, message in [([], "no documents"), (["ab", np.nan], "row 1.*np.nan")]:
        with pytest.raises(DataError, match=f"(?s){message}"):
            rows(documents, tokenizer=str.split)
    for documents, message in [
        (["ab", None], "row 1.*NoneType"),
        ([b"ab", b"\xff"], "row 1.*codec"),
        (pl.Series("n", [["x"]]), "column 'n'.*list"),
        (5, "of type int"),
    ]:
        with pytest.raises(DataError, match=f"(?s){message}"):
            rows(documents, tokenizer=str.split)
    with pytest.raises(AttributeError) as caught:
        rows(["ab", "cd"], preprocessor=lambda text: text.nothing)
    assert caught.value.__notes__ == ["headrace.HashingVectorizer: row 0"]
    with pytest.raises(DataError, match=r"row 1.*int"):
        rows(["ab", "cd"], analyzer=lambda text: [text, 5] if text == "cd" else [text])
    with pytest.raises(DataError, match="single string"):
        rows(["ab"], analyzer=lambda text: text)
    with pytest.raises(DataError, match="2 columns"):
        rows(pl.DataFrame({"a": ["x"], "b": ["y"]}), tokenizer=str.split)


def test_bytes_that_claim_to_be_text():
    """Buffers that no honest producer makes: they are checked, not trusted."""
    values = pa.py_buffer(b"ab\xff\xfecd")
    offsets = pa.py_buffer(np.array([0, 2, 4, 6], np.int32))
    broken = pa.Array.from_buffers(pa.string(), 3, [None, offsets, values])
    with pytest.raises(DataError, match=r"row 1.*byte 0"):
        rows(broken)
    with pytest.raises(DataError, match=r"row 4.*byte 0"):
        rows(pa.chunked_array([pa.array(["x", "y", "z"]), broken]))
    assert rows(broken, decode_error="ignore").shape == (3, 2**20)
    keys = pa.array([2, 1, 2], pa.int8())
    with pytest.raises(DataError, match="row 1"):
        rows(pa.DictionaryArray.from_arrays(keys, broken))


def test_offsets_and_keys_that_point_outside():
    backwards = pa.py_buffer(np.array([0, 5, 2, 6], np.int32))
    damaged = pa.Array.from_buffers(pa.string(), 3, [None, backwards, pa.py_buffer(b"abcdef")])
    with pytest.raises(DataError, match="damaged"):
        rows(damaged)
    for key in (7, -1):
        keys = pa.py_buffer(np.array([0, key], np.int8))
        codes = pa.Array.from_buffers(pa.int8(), 2, [None, keys])
        dictionary = pa.DictionaryArray.from_arrays(codes, pa.array(["x"]), safe=False)
        with pytest.raises(DataError, match="damaged"):
            rows(dictionary)


@pytest.mark.parametrize(
    "parameters",
    [
        {"n_features": 0},
        {"n_features": 2**31},
        {"n_features": -1},
        {"n_features": 1.5},
        {"n_features": True},
        {"ngram_range": (2, 1)},
        {"ngram_range": [1, 2]},
        {"ngram_range": (1, 2, 3)},
        {"ngram_range": (1.0, 2)},
        {"analyzer": "words"},
        {"norm": "max"},
        {"input": "text"},
        {"decode_error": "xmlcharrefreplace"},
        {"encoding": "utf-9"},
        {"encoding": None},
        {"strip_accents": "all"},
        {"stop_words": "german"},
        {"token_pattern": "("},
        {"token_pattern": "(a)(b)"},
        {"token_pattern": None},
        {"token_pattern": 5},
        {"lowercase": "yes"},
        {"binary": 1},
        {"preprocessor": "lower"},
        {"tokenizer": 5},
        {"dtype": "float16"},
        {"dtype": "nonsense"},
        {"dtype": object},
        {"dtype": ">f8"},
        {"dtype": np.uint8},
        {"threads": 0},
        {"threads": "2"},
        {"keep_marks": True, "token_pattern": r"\w+"},
    ],
    ids=str,
)
def test_parameters_that_cannot_be(parameters):
    with pytest.raises(ConfigError):
        headrace.HashingVectorizer(**parameters).transform(["a text"])


@pytest.mark.slow
def test_a_text_of_100_megabytes():
    text = "Ab cd " * 17_000_000
    made = rows([text], norm=None)
    assert made.nnz == 2
    assert set(abs(made.data)) == {17_000_000.0}


# --- at home ---------------------------------------------------------------------------------------------------------


def test_clone_and_parameters():
    from sklearn.base import clone

    ours = headrace.HashingVectorizer(n_features=64, stop_words=["a"], ngram_range=(1, 2))
    copy = clone(ours)
    assert copy is not ours
    assert copy.get_params() == ours.get_params()
    assert set(sklearn_text.HashingVectorizer().get_params()) < set(ours.get_params())
    theirs = sklearn_text.HashingVectorizer().get_params()
    defaults = headrace.HashingVectorizer().get_params()
    assert np.dtype(defaults.pop("dtype")) == theirs.pop("dtype")
    assert {name: defaults[name] for name in theirs} == theirs
    assert ours.set_params(norm=None) is ours
    assert ours.norm is None
    with pytest.raises(ConfigError, match="invalid parameter 'n_feature'"):
        ours.set_params(norm="l1", n_feature=2)
    assert ours.norm is None
    assert repr(headrace.HashingVectorizer(norm=None)) == "HashingVectorizer(norm=None)"


def test_pipeline_and_column_transformer():
    from sklearn.compose import ColumnTransformer
    from sklearn.linear_model import SGDClassifier
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline

    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"text": ["good day", "bad day", "good news", "bad news"] * 5, "n": range(20)})
    labels = [1, 0, 1, 0] * 5

    def made(vectorizer):
        columns = ColumnTransformer([("text", vectorizer, "text"), ("n", "passthrough", ["n"])])
        return columns.fit_transform(frame)

    assert_same(made(headrace.HashingVectorizer(n_features=32)), made(sklearn_text.HashingVectorizer(n_features=32)))
    pipeline = make_pipeline(headrace.HashingVectorizer(n_features=32), SGDClassifier(random_state=0))
    search = GridSearchCV(pipeline, {"hashingvectorizer__ngram_range": [(1, 1), (1, 2)]}, cv=2)
    assert search.fit(frame["text"], labels).score(frame["text"], labels) == 1.0
    assert "HashingVectorizer" in repr(pipeline)
    assert "HashingVectorizer" in pipeline._repr_html_()


def test_a_sparse_array_if_sklearn_is_set_so():
    import sklearn
    from scipy.sparse import csr_array

    if "sparse_interface" not in sklearn.get_config():
        pytest.skip("this scikit-learn has no such setting")
    with sklearn.config_context(sparse_interface="sparray"):
        made = rows(["ab"])
        assert_same(made, their_rows(["ab"]))
    assert isinstance(made, csr_array)


def test_nothing_heavy_is_imported_to_have_it():
    code = (
        "import sys, headrace; headrace.HashingVectorizer(n_features=8).get_params();"
        "print([name for name in ('numpy', 'scipy', 'sklearn', 'polars', 'pyarrow') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
