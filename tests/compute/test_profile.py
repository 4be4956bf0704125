"""Profiles and windows as Python sees them: every kind of frame, brute force, bad input."""

from __future__ import annotations

import datetime as dt
import math
import struct
import threading
from collections import Counter

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing.parametric import column, dataframes

import headrace
from headrace import Profile, Window
from headrace.errors import DataError, ModelFormatError

TYPES = [
    *(pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64, pl.Float32, pl.Float64),
    *(pl.Boolean, pl.String, pl.Date, pl.Datetime, pl.Duration, pl.Time, pl.Decimal, pl.Null),
    *(pl.Categorical, pl.Enum),
]


def in_pieces(frame: pl.DataFrame, cut: int, pad: int) -> list[object]:
    """The same rows: chunks, a slice of more, string views, large strings, a stream."""
    cut = min(cut, frame.height)
    padded = pl.concat([frame.head(min(pad, frame.height)), frame], rechunk=True).slice(min(pad, frame.height))
    arrow = frame.to_arrow()
    return [
        pl.concat([frame[:cut], frame[cut:]], rechunk=False),
        padded,
        arrow,
        pa.concat_tables([arrow.slice(0, cut), arrow.slice(cut)]).to_reader(max_chunksize=7),
        frame.to_arrow(compat_level=pl.CompatLevel.oldest()),
    ]


TIMES = "\N{MULTIPLICATION SIGN}"

# --- layouts -------------------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(frame=dataframes(allowed_dtypes=TYPES, max_size=60), cut=st.integers(0, 60), pad=st.integers(0, 9))
def test_bytes_do_not_depend_on_the_layout_or_the_threads(frame, cut, pad):
    whole = Profile.fit(frame, threads=1)
    window = whole.window()
    window.update(frame, threads=1)
    assert window == whole.as_window()
    for other in in_pieces(frame, cut, pad):
        assert Profile.fit(other, threads=2).to_bytes() == whole.to_bytes()
    for other in in_pieces(frame, cut, pad):
        counted = whole.window()
        counted.update(other, threads=2)
        assert counted.to_bytes() == window.to_bytes()
    read = Profile.from_bytes(whole.to_bytes())
    assert read == whole
    assert read.to_bytes() == whole.to_bytes()
    assert Window.from_bytes(window.to_bytes(), read) == window


def test_many_rows_many_threads():
    chance = np.random.default_rng(0)
    frame = pl.DataFrame({"x": chance.normal(size=200_000), "s": chance.integers(0, 90_000, 200_000).astype(str)})
    whole = Profile.fit(frame, threads=1)
    pieces = pa.concat_tables([part.to_arrow() for part in frame.iter_slices(33_333)])
    assert Profile.fit(pieces, threads=2).to_bytes() == whole.to_bytes()
    assert Profile.fit(lambda: pieces.to_reader(max_chunksize=10_001)).to_bytes() == whole.to_bytes()
    assert len(whole.to_bytes()) <= 2 * 65_536


def test_pandas():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"x": [1.0, float("nan"), 3.0], "s": ["a", None, "b"]})
    profile = Profile.fit(frame)
    assert profile.columns == {"x": "number", "s": "category"}
    assert profile.describe()["missing"].to_list() == [pytest.approx(1 / 3)] * 2


def test_types_of_a_kind_are_one_kind():
    numbers = [1, 2, 3, 3, None]
    profile = Profile.fit(pl.DataFrame({"x": pl.Series(numbers, dtype=pl.Int64), "s": ["a", "b", "b", None, "c"]}))
    expected = profile.as_window()
    for number in (pl.Int8, pl.UInt32, pl.Float32, pl.Float64, pl.Decimal(10, 2)):
        for text in (pl.String, pl.Categorical, pl.Enum(["c", "b", "a"])):
            window = profile.window()
            window.update(
                pl.DataFrame({"x": pl.Series(numbers).cast(number), "s": ["a", "b", "b", None, "c"]}).cast({"s": text})
            )
            assert window == expected
    moment = dt.datetime(2026, 1, 5, 13, 30)  # noqa: DTZ001  # a naive one
    profile = Profile.fit(pl.DataFrame({"t": pl.Series([moment], dtype=pl.Datetime("us"))}))
    for unit in ("ms", "ns"):
        window = profile.window()
        window.update(pl.DataFrame({"t": pl.Series([moment], dtype=pl.Datetime(unit, "UTC"))}))
        assert window == profile.as_window()


# --- against brute force -------------------------------------------------------------------------------------------


def brute(counts: pl.DataFrame, values: list[float | None]) -> list[int]:
    """Rows of each bin by the definition of `headrace_core::profile::Bin`."""
    bins = counts.rows(named=True)
    finite = [value for value in values if value is not None and math.isfinite(value)]
    out = []
    for index, row in enumerate(bins):
        low, high = row["low"], row["high"]
        match row["bin"]:
            case "below":
                out.append(sum(value < high for value in finite))
            case "above":
                out.append(sum(value > low for value in finite))
            case "atom":
                out.append(finite.count(low))
            case "interval":
                atom = bins[index - 1]["bin"] == "atom"
                last = bins[index + 1]["bin"] == "above"
                inside = [value for value in finite if low < value < high or (last and value == high)]
                out.append(len(inside) + (0 if atom or (low == high and last) else finite.count(low)))
            case "null":
                out.append(values.count(None))
            case "nan":
                out.append(sum(value is not None and math.isnan(value) for value in values))
            case "inf":
                out.append(values.count(math.inf))
            case "-inf":
                out.append(values.count(-math.inf))
    return out


FLOATS = st.lists(st.none() | st.floats(width=64) | st.sampled_from([0.0, -0.0, 1.0, 2.0, 5e-324, 1e308]), max_size=300)


@settings(max_examples=60, deadline=None)
@given(reference=FLOATS.filter(lambda values: any(v is not None and math.isfinite(v) for v in values)), live=FLOATS)
def test_numbers(reference, live):
    profile = Profile.fit(pl.DataFrame({"x": reference}, schema={"x": pl.Float64}))
    window = profile.window()
    window.update(pl.DataFrame({"x": live}, schema={"x": pl.Float64}))
    counts = profile.counts(window)
    assert counts["reference"].to_list() == brute(counts, reference)
    assert counts["live"].to_list() == brute(counts, live)


@settings(max_examples=40, deadline=None)
@given(
    dataframes([column("s", dtype=pl.String, allow_null=True)], max_size=80),
    dataframes([column("s", dtype=pl.String, allow_null=True)], max_size=80),
)
def test_categories(reference, live):
    profile = Profile.fit(reference)
    window = profile.window()
    window.update(live)
    before, now = Counter(reference["s"].to_list()), Counter(live["s"].to_list())
    for row in profile.counts(window).rows(named=True):
        match row["bin"]:
            case "category":
                assert (row["reference"], row["live"]) == (before[row["category"]], now[row["category"]])
            case "unseen":
                unseen = sum(count for text, count in now.items() if text is not None and text not in before)
                assert (row["reference"], row["live"]) == (0, unseen)
            case "null":
                assert (row["reference"], row["live"]) == (before[None], now[None])


def test_calendar():
    texts = ["2026-01-05T13:30:00", "1969-12-31T23:59:59", "2026-01-05T13:00:00"]
    moments = [dt.datetime.fromisoformat(text) for text in texts]
    counts = Profile.fit(pl.DataFrame({"t": moments, "d": [m.date() for m in moments]})).counts()
    shown = counts.filter((pl.col("bin") == "category") & (pl.col("reference") > 0))
    assert sorted(shown.select("column", "category", "reference").rows()) == [
        ("d (weekday)", "Monday", 2),
        ("d (weekday)", "Wednesday", 1),
        ("t (hour)", "13", 2),
        ("t (hour)", "23", 1),
        ("t (weekday)", "Monday", 2),
        ("t (weekday)", "Wednesday", 1),
    ]


def test_texts():
    profile = Profile.fit(pl.DataFrame({"t": ["The cat, the dog!", "ÄRGER 42", None, ""]}), kinds={"t": "text"})
    window = profile.window()
    window.update(pl.DataFrame({"t": ["the mouse ärger"]}))
    counts = profile.counts(window)
    words = counts.filter(pl.col("column") == "t (words)")
    found = {row["category"] or row["bin"]: (row["reference"], row["live"]) for row in words.rows(named=True)}
    assert found == {
        "the": (2, 1),
        "42": (1, 0),
        "cat": (1, 0),
        "dog": (1, 0),
        "ärger": (1, 1),
        "other": (0, 0),
        "unseen": (0, 1),
        "null": (1, 0),
    }
    lengths = counts.filter((pl.col("column") == "t (length)") & (pl.col("bin") != "null"))
    assert (lengths["reference"].sum(), lengths["live"].sum()) == (3, 1)
    assert profile.describe()["max"].to_list() == [17.0]


@pytest.mark.parametrize("shape", ["list", "array"])
def test_embeddings(shape):
    chance = np.random.default_rng(1)
    dtype = pl.Array(pl.Float32, 8) if shape == "array" else pl.List(pl.Float32)
    vectors = chance.normal(size=(600, 8)).astype(np.float32)
    frame = pl.DataFrame({"e": pl.Series(vectors.tolist(), dtype=dtype)})
    profile = Profile.fit(frame)
    assert profile.columns == {"e": "embedding"}
    first, second = profile.window(), profile.window()
    first.update(frame[:250])
    second.update(frame[250:])
    assert first + second == profile.as_window()
    assert (first + second) - second == first
    norms = np.linalg.norm(vectors.astype(float), axis=1)
    assert profile.describe()["mean"].item() == pytest.approx(norms.mean(), abs=1e-3)
    short = pl.DataFrame({"e": pl.Series([[1.0, 2.0, 3.0]], dtype=pl.List(pl.Float64))})
    with pytest.raises(DataError, match="has 3 values") as caught:
        first.update(short)
    assert caught.value.place == "column 'e'"


def test_segments_pairs_and_weights():
    frame = pl.DataFrame(
        {
            "region": ["n", "s", "n", None, "s", "n"],
            "x": [1.0, 2.0, 1.0, 2.0, 2.0, None],
            "w": [1.0, 0.5, 2.0, 0.0, 1.0, 0.25],
        }
    )
    profile = Profile.fit(frame, segments="region", pairs=[("region", "x")], weight="w")
    assert profile.segments == ("n", "s")
    counts = profile.counts(segment="n").filter(pl.col("reference") > 0)
    assert counts.filter(pl.col("column") == "x").select("bin", "low", "reference").rows() == [
        ("atom", 1.0, 3.0),
        ("null", None, 0.25),
    ]
    pairs = profile.counts().filter((pl.col("column") == f"region {TIMES} x") & (pl.col("reference") > 0))
    assert sorted(pairs["reference"].to_list()) == [0.25, 1.5, 3.0]
    with pytest.raises(DataError, match="no segment 'w'"):
        profile.counts(segment="w")
    window = profile.window()
    with pytest.raises(DataError, match="weight is -1") as caught:
        window.update(frame.with_columns(w=pl.Series([1.0, -1, 1, 1, 1, 1])))
    assert caught.value.place == "column 'w', row 1"
    with pytest.raises(DataError, match="weight is null"):
        window.update(frame.with_columns(w=pl.lit(None)))
    assert window == profile.window()


# --- laws ----------------------------------------------------------------------------------------------------------


def test_windows_add_and_subtract():
    frame = pl.DataFrame({"x": [1.0, 2.0, 3.0, 4.0], "s": ["a", "b", "a", "c"]})
    profile = Profile.fit(frame)
    a, b = profile.window(), profile.window()
    a.update(frame[:3])
    b.update(frame[1:])
    assert (a + b) - b == a
    assert ((a + b) - a).to_bytes() == b.to_bytes()
    assert (a + b).rows == 6
    with pytest.raises(DataError, match="never added") as caught:
        a - b
    assert caught.value.place == "column 'x'"
    with pytest.raises(DataError, match="different references"):
        a + Profile.fit(frame[:2]).window()
    with pytest.raises(DataError, match="different references"):
        Window.from_bytes(a.to_bytes(), Profile.fit(frame[:2]))
    with pytest.raises(TypeError):
        a + 1


def test_threads_may_share_a_window():
    frame = pl.DataFrame({"x": np.arange(1000.0)})
    profile = Profile.fit(frame)
    window = profile.window()
    workers = [threading.Thread(target=lambda: [window.update(frame) for _ in range(20)]) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert window.rows == 80_000
    assert window.to_bytes() == sum((profile.as_window() for _ in range(79)), profile.as_window()).to_bytes()


# --- bad input -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "series",
    [
        pl.Series([], dtype=pl.Float64),
        pl.Series([], dtype=pl.String),
        pl.Series([None, None], dtype=pl.Float64),
        pl.Series([None, None], dtype=pl.String),
        pl.Series([None, None], dtype=pl.Null),
        pl.Series([7.0] * 50),
        pl.Series(["only"] * 50),
        pl.Series([math.inf, -math.inf, math.nan]),
        pl.Series([5e-324, -5e-324, 2.2e-308]),
        pl.Series([1.7e308, -1.7e308] * 400),
        pl.Series([-0.0, 0.0]),
        pl.Series([True, True]),
        pl.Series([b"x"] * 2).cast(pl.String),
        pl.Series([[]], dtype=pl.List(pl.Float64)),
    ],
)
def test_nothing_odd_breaks(series):
    frame = series.alias("c").to_frame()
    profile = Profile.fit(frame)
    assert profile.rows == len(series)
    window = profile.window()
    window.update(frame)
    window.update(pl.DataFrame({"c": [None] * 3}))
    assert window - profile.as_window() + profile.as_window() == window
    assert Profile.from_bytes(profile.to_bytes()) == profile
    assert "<table" in profile._repr_html_()
    assert repr(profile).startswith(f"Profile({len(series)} rows x 1 columns")
    assert repr(window) == f"Window({len(series) + 3} rows)"


def test_payloads_of_nan_and_signs_of_zero_do_not_count():
    bits = [0x7FF8000000000000, 0xFFF8000000000001, 0x7FF0000000000001, 0x0, 0x8000000000000000]
    values = np.array([struct.unpack("<d", struct.pack("<Q", each))[0] for each in bits])
    counts = Profile.fit(pl.DataFrame({"x": values})).counts()
    assert counts.filter(pl.col("reference") > 0).select("bin", "low", "reference").rows() == [
        ("atom", 0.0, 2),
        ("nan", None, 3),
    ]


def test_a_million_categories():
    names = pl.Series("s", np.arange(1_000_000)).cast(pl.String)
    profile = Profile.fit(names.to_frame())
    assert len(profile.to_bytes()) <= 65_536
    described = profile.describe()
    assert described["distinct"].item() == pytest.approx(1_000_000, rel=0.08)
    assert described["unseen_error"].item() > 0.9
    counts = profile.counts()
    assert counts["reference"].sum() == 1_000_000
    assert counts.filter(pl.col("bin") == "unseen")["reference"].item() == 0


def test_frequent_categories_are_exact_among_many():
    chance = np.random.default_rng(3)
    rare = chance.integers(0, 10**9, 150_000)
    frame = pl.DataFrame({"s": pl.Series([*rare, *[-1] * 9000, *[-2] * 500]).sample(fraction=1, shuffle=True, seed=0)})
    profile = Profile.fit(frame.cast(pl.String))
    shown = profile.counts().head(2).select("category", "reference").rows()
    assert shown == [("-1", 9000), ("-2", 500)]


@pytest.mark.parametrize(
    ("frame", "message", "place"),
    [
        (pl.DataFrame({"x": [1.0]}), "the frame does not", "column 's'"),
        (pl.DataFrame({"x": [1.0], "s": ["a"], "new": [1]}), "the reference does not", "column 'new'"),
        (pl.DataFrame({"x": ["1"], "s": ["a"]}), "Arrow type .*, and the reference has it as number", "column 'x'"),
        (pl.DataFrame({"x": [1.0], "s": [1.5]}), "the reference has it as category", "column 's'"),
        (pa.table([[1.0], ["a"], [2.0]], names=["x", "s", "x"]), "2 columns of this name", "column 'x'"),
    ],
)
def test_changed_columns_are_named(frame, message, place):
    profile = Profile.fit(pl.DataFrame({"x": [1.0], "s": ["a"]}))
    window = profile.window()
    with pytest.raises(DataError, match=message) as caught:
        window.update(frame)
    assert (caught.value.place, bool(caught.value.hint)) == (place, True)
    assert window == profile.window()
    window.update(pl.DataFrame({"new": [1], "s": ["a"], "x": [1]}), new_columns="ignore")
    assert window.rows == 1


def test_a_failing_stream_counts_nothing():
    schema = pa.schema([("x", pa.float64())])

    def batches():
        yield pa.record_batch([[1.0, 2.0]], schema=schema)
        raise OSError("the disk is gone")

    profile = Profile.fit(pl.DataFrame({"x": [1.0]}))
    window = profile.window()
    with pytest.raises(DataError, match="the disk is gone"):
        window.update(pa.RecordBatchReader.from_batches(schema, batches()))
    assert window == profile.window()


def test_a_source_that_changes_is_noticed():
    sizes = iter([3, 2])
    with pytest.raises(DataError, match="3 rows, and 2 when it was read again"):
        Profile.fit(lambda: pl.DataFrame({"x": [1.0] * next(sizes)}))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kinds": {"x": "category"}}, "it is to be read as category"),
        ({"kinds": {"x": "colour"}}, "there is no kind"),
        ({"kinds": {"y": "number"}}, "the frame does not"),
        ({"segments": "x"}, "segments are the values of a category"),
        ({"weight": "s"}, "weights are numbers"),
        ({"pairs": [("x", "t")], "kinds": {"t": "text"}}, "pairs are of numbers"),
        ({"columns": ["x", "z"]}, "the frame does not"),
        ({"threads": 0}, "threads is 0"),
    ],
)
def test_options_that_do_not_fit(options, message):
    with pytest.raises(DataError, match=message):
        Profile.fit(pl.DataFrame({"x": [1.5], "s": ["a"], "t": ["b"]}), **options)


def test_types_without_a_profile_are_named():
    with pytest.raises(DataError, match="no profile") as caught:
        Profile.fit(pl.DataFrame({"x": [1], "b": [b"\0"]}))
    assert caught.value.place == "column 'b'"
    assert Profile.fit(pl.DataFrame({"x": [1], "b": [b"\0"]}), columns=["x"]).columns == {"x": "number"}
    with pytest.raises(DataError, match="expected a frame"):
        Profile.fit(3)


def test_damaged_foreign_and_newer_bytes():
    profile = Profile.fit(pl.DataFrame({"x": [1.0, 2.0]}))
    data = profile.to_bytes()
    for wrong in (b"", b"PAR1", data[:-1], data + b"\0", data[:40] + b"\xff" + data[41:]):
        with pytest.raises(ModelFormatError):
            Profile.from_bytes(wrong)
    with pytest.raises(ModelFormatError, match="format 9, and this headrace reads up to 2"):
        Profile.from_bytes(data[:9] + b"\x09\x00" + data[11:])
    with pytest.raises(ModelFormatError, match="the format 1"):
        Profile.from_bytes(data[:9] + b"\x01\x00" + data[11:])
    with pytest.raises(ModelFormatError, match="it is a window"):
        Profile.from_bytes(profile.window().to_bytes())
    with pytest.raises(ModelFormatError, match="checksum"):
        Window.from_bytes(profile.window().to_bytes()[:-1] + b"\0", profile)


def test_public_names():
    assert headrace.Profile is Profile
    assert headrace.Window is Window
    assert Profile.__module__ == "headrace.compute.profile"


@pytest.mark.parametrize(
    "values",
    [
        np.arange(500.0),
        np.arange(5_000),
        np.arange(100_000.0),
        np.arange(1_000_000) * 1_000,
        np.arange(20_000) / 4,
        np.arange(0, 20_000).astype("datetime64[D]"),
        -np.arange(1.0, 50_000.0) * 2.0**-40,
    ],
    ids=["floats", "integers", "more", "thousands", "quarters", "days", "small"],
)
def test_values_in_a_row_are_counted_as_well_as_others(values):
    """Neighbours differ in few bits, which the hash must spread: the error is that of 4,096 registers, 1.6 %."""
    described = Profile.fit(pl.DataFrame({"x": values})).describe()
    assert described["distinct"].item() == pytest.approx(len(values), rel=4 * 0.0163)
