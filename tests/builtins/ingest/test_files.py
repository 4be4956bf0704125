from __future__ import annotations

import csv
import datetime as dt
import gzip
import hashlib
import io
import json
import os
import subprocess
import sys

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from headrace.builtins.ingest.files import FilesConfig, FilesIngest
from headrace.errors import ArtifactError, DataError

NAIVE = dt.datetime  # files hold times without a zone, so the tests do
ODD_NAMES = ['a "quoted" name', "two\nlines", "🦊", "^x$", "*", "a,b", "ünï", "[1]", "  spaced ", "0"]


@pytest.fixture
def ingest(ctx):
    """Write files below the project, then run the stage: `ingest({"a.csv": b"..."}, path="a.csv", ...)`."""

    def run(files: dict[str, bytes | str], **config) -> pl.DataFrame:
        for name, content in files.items():
            path = ctx.project_dir / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        config.setdefault("path", tuple(files))
        return FilesIngest(FilesConfig(**config)).run(ctx).data

    return run


def error_of(call, *args, **kwargs) -> DataError:
    with pytest.raises(DataError) as caught:
        call(*args, **kwargs)
    assert caught.value.place, "an error about a file names it"
    assert caught.value.hint, "an error says the way out"
    return caught.value


def parquet(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()


FRAME = pl.DataFrame(
    {
        "n": [1, None, -3],
        "x": [1.5, float("inf"), None],
        "s": ["a", None, "ü🦊"],
        "b": [True, None, False],
        "d": [dt.date(2020, 1, 2), None, dt.date(1969, 12, 31)],
        "t": [NAIVE(2020, 1, 2, 3, 4, 5, 6), None, NAIVE(1950, 1, 1)],
    }
)


@pytest.mark.parametrize("record", ["copy", "reference", "auto"])
@pytest.mark.parametrize("kind", ["parquet", "ipc", "ipc-stream", "csv", "ndjson"])
def test_every_format_gives_the_same_rows(ctx, ingest, roundtrip, kind, record):
    buffer = io.BytesIO()
    {
        "parquet": FRAME.write_parquet,
        "ipc": FRAME.write_ipc,
        "ipc-stream": FRAME.write_ipc_stream,
        "csv": FRAME.write_csv,
        "ndjson": FRAME.with_columns(
            pl.col("t").dt.strftime("%FT%T%.6f"), pl.col("x").replace(float("inf"), 1e308)
        ).write_ndjson,
    }[kind](buffer)
    name = {"parquet": "a.parquet", "ipc": "a.arrow", "ipc-stream": "a.arrows"}.get(kind, f"a.{kind}")
    if kind == "ipc-stream" and record == "reference":
        assert "stream" in error_of(ingest, {name: buffer.getvalue()}, record=record).message
        return
    data = ingest({name: buffer.getvalue()}, record=record)
    expected = FRAME if kind != "ndjson" else FRAME.with_columns(pl.col("x").replace(float("inf"), 1e308))
    assert_frame_equal(data.frame(), expected)
    assert (data.reference is not None) == (record == "reference")
    assert data.num_rows == 3
    kept = roundtrip(data)
    assert_frame_equal(kept.frame(), expected)
    assert kept.schema == data.schema
    assert_frame_equal(kept.lazy().collect(), expected)


def test_auto_copies_up_to_the_limit_and_refers_beyond(ingest):
    text = "a\n" + "1\n" * 100
    assert ingest({"a.csv": text}, copy_limit=len(text)).reference is None
    assert ingest({"a.csv": text}, copy_limit=len(text) - 1).reference is not None


def test_globs_are_sorted_and_relative_to_the_project(ctx, ingest):
    for name in ("b", "a", "c/d", "C"):
        path = ctx.project_dir / f"data/{name}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"v\n{name}\n")
    (ctx.project_dir / "data/.hidden.csv").write_text("v\nhidden\n")
    assert ingest({}, path="data/*.csv").frame()["v"].to_list() == ["C", "a", "b"]
    assert ingest({}, path="data/**/*.csv").frame()["v"].to_list() == ["C", "a", "b", "c/d"]
    assert ingest({}, path=("data/b.csv", "data/[aC].csv")).frame()["v"].to_list() == ["b", "C", "a"]
    assert ingest({}, path=str(ctx.project_dir / "data/a.csv")).frame()["v"].to_list() == ["a"]
    assert "named twice" in error_of(ingest, {}, path=("data/a.csv", "data/*.csv")).message
    assert "no file matches" in error_of(ingest, {}, path="data/*.parquet").message
    assert "no such file" in error_of(ingest, {}, path="data/x.csv").message
    assert "folder" in error_of(ingest, {}, path="data").message


@pytest.mark.parametrize("suffix", ["csv", "ndjson", "parquet"])
def test_a_file_whose_name_looks_like_a_glob(ingest, suffix):
    content = {"csv": b"a\n1\n", "ndjson": b'{"a":1}\n', "parquet": parquet(pl.DataFrame({"a": [1]}))}[suffix]
    for record in ("copy", "reference"):
        assert ingest({f"x[1]?*.{suffix}": content}, record=record).frame().to_dicts() == [{"a": 1}]


def test_external_is_names_and_hashes_and_sees_every_change(ctx, ingest):
    ingest({"d/a.csv": "v\n1\n", "d/b.csv": "v\n2\n"})
    stage = FilesIngest(FilesConfig(path="d/*.csv"))
    before = stage.external(ctx.project_dir)
    assert before == {
        "files": [
            ["d/a.csv", hashlib.sha256(b"v\n1\n").hexdigest()],
            ["d/b.csv", hashlib.sha256(b"v\n2\n").hexdigest()],
        ]
    }
    json.dumps(before)
    path = ctx.project_dir / "d/a.csv"
    was = path.stat()
    path.write_text("v\n3\n")  # same size, and the times set back: only the bytes differ
    os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns))
    changed = stage.external(ctx.project_dir)
    assert changed != before
    (ctx.project_dir / "d/c.csv").write_text("v\n4\n")
    assert len(stage.external(ctx.project_dir)["files"]) == 3


def test_a_file_that_changes_between_reading_and_use_is_an_error(ctx, ingest, roundtrip):
    data = roundtrip(ingest({"a.csv": "v\n1\n"}, record="reference"))
    (ctx.project_dir / "a.csv").write_text("v\n2\n")
    with pytest.raises(ArtifactError, match="changed"):
        data.frame()
    (ctx.project_dir / "a.csv").unlink()
    with pytest.raises(ArtifactError, match="gone"):
        data.frame()


def test_a_file_that_changes_while_it_is_read_is_an_error(ctx, ingest, monkeypatch):
    import headrace.compute.dataset as module

    path = ctx.project_dir / "a.csv"
    original = module.scan_file

    def scan_and_disturb(*args, **kwargs):
        lazy = original(*args, **kwargs)
        path.write_text("v\n9\n")
        return lazy

    monkeypatch.setattr(module, "scan_file", scan_and_disturb)
    assert "changed while it was read" in error_of(ingest, {"a.csv": "v\n1\n"}).message


# --- CSV --------------------------------------------------------------------------------------------------------------


def test_odd_column_names_survive(ingest):
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(ODD_NAMES)
    writer.writerow(range(len(ODD_NAMES)))
    for record in ("copy", "reference"):
        frame = ingest({"a.csv": buffer.getvalue()}, record=record).frame()
        assert frame.columns == ODD_NAMES
        assert frame.row(0) == tuple(range(len(ODD_NAMES)))
    assert ingest({"a.parquet": parquet(frame)}).frame().columns == ODD_NAMES
    row = json.dumps(dict.fromkeys(ODD_NAMES, 1)) + "\n"
    assert ingest({"a.ndjson": row}).frame().columns == ODD_NAMES


@pytest.mark.parametrize(
    ("text", "config", "message"),
    [
        ("", {}, "empty"),
        ("a,b\n", {}, "header and no rows"),
        ("a,b,a\n1,2,3\n", {}, "'a' stands twice in the header, as column 1 and 3"),
        ("a,b\n1,2\n1,2,3\n", {}, "line 3 has 3 fields"),
        ("a,b\n1,2\n1\n", {}, "line 3 has 1 fields"),
        ("a,b\n\n1,2\n", {}, "line 2 is empty"),
        ('a,b\n1,"x\n2,y\n', {}, "line 3: unexpected end of data"),
        ('a,b\n1,"x"y\n', {}, "line 2"),
        ("\n\na,b\n1,2\n", {}, "line 1 is empty"),
        ("a\n1\n2\nabc\n4\n5\n", {}, "'a' mixes numbers and text: row 2 (counted from 0) has 'abc', while 4 of 5"),
        ("a,b\n1,2\n", {"types": {"c": "String"}}, "'c', which the file does not have"),
        ("a,b\nx,2\n", {"types": {"a": "Int64"}}, "row 0 (counted from 0) has 'x'"),
        ("a,b\n1,2\n", {"types": {"a": "int"}}, "'int' is not a column type"),
        ("a,b\n1,2\n", {"columns": ("a",)}, "names 1 columns, and the file has 2"),
        ("a,b\n1,2\n", {"columns": ("a", "a")}, "stands twice"),
    ],
)
def test_bad_csv(ingest, text, config, message):
    error = error_of(ingest, {"bad.csv": text}, **config) if config.get("types") != {"a": "int"} else None
    if error is None:
        with pytest.raises(DataError, match="not a column type"):
            ingest({"bad.csv": text}, **config)
    else:
        assert error.place == "bad.csv"
        assert message in error.message


@given(
    prefix=st.text(max_size=30), bad=st.sampled_from([b"\xff", b"\xc3(", b"\xe9", b"\xe2\x82("]), n=st.integers(0, 3)
)
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_byte_that_is_no_utf8_is_named(ingest, prefix, bad, n):
    clean = "".join(c for c in prefix if c.isalnum())
    start = ("a,b\n" + f"1,{clean}\n" * (1 + n * 40_000)).encode()
    text = start + b"2,x" + bad + b"\n"
    for name, content in {"l.csv": text, "l.csv.gz": gzip.compress(text)}.items():
        error = error_of(ingest, {name: content})
        assert f"byte {len(start) + 3} " in error.message
        assert "iconv" in error.hint


def test_types_come_from_all_rows(ingest):
    frame = ingest({"a.csv": "a,b\n" + "1,\n" * 3000 + "1.5,x\n"}).frame()
    assert frame.schema == {"a": pl.Float64, "b": pl.String}


def test_markers_of_missing_values_count_among_numbers_and_stay_in_text(ctx, ingest):
    text = "n,country,d\n1,DE,2020-01-01\nNA,FR,2020-01-02\n2,FR,NA\n"
    frame = ingest({"a.csv": text}).frame()
    assert frame.schema == {"n": pl.Int64, "country": pl.String, "d": pl.Date}
    assert frame["n"].to_list() == [1, None, 2]
    assert any("'NA' counts as missing" in line for line in ctx.logs)
    frame = ingest({"a.csv": text.replace("FR", "NA")}).frame()  # Namibia
    assert frame["country"].to_list() == ["DE", "NA", "NA"]
    assert frame["n"].to_list() == [1, None, 2]
    clash = "n,country\n1,DE\nNA,NA\n?,DE\n3,DE\n"
    assert "another column" in error_of(ingest, {"a.csv": clash}).message
    frame = ingest({"a.csv": clash}, null_values=("NA", "?")).frame()
    assert frame["country"].to_list() == ["DE", None, "DE", "DE"]
    assert frame["n"].to_list() == [1, None, None, 3]


def test_text_columns_with_some_numbers_are_text(ingest):
    tickets = [f"A/5 {i}" for i in range(60)] + [str(100_000 + i) for i in range(200)]
    codes = (["1", "2", "3", "4+"] * 65)[:260]
    text = "ticket,rooms\n" + "".join(f"{t},{c}\n" for t, c in zip(tickets, codes, strict=True))
    assert ingest({"a.csv": text}).frame().schema == {"ticket": pl.String, "rooms": pl.String}


def test_identifiers_stay_text(ctx, ingest):
    frame = ingest({"a.csv": "zip,big,n\n01234,99999999999999999999,0\n99999,1,10\n"}).frame()
    assert frame.schema == {"zip": pl.String, "big": pl.String, "n": pl.Int64}
    assert frame["zip"].to_list() == ["01234", "99999"]
    assert any("leading zeros" in line for line in ctx.logs)
    assert ingest({"a.csv": "zip\n01234\n"}, types={"zip": "Int64"}).frame()["zip"].to_list() == [1234]


def test_dates(ingest):
    read = lambda text, **config: ingest({"a.csv": "d\n" + text}, **config).frame()["d"]  # noqa: E731
    assert read("13/02/2020\n01/02/2020\n").to_list() == [dt.date(2020, 2, 13), dt.date(2020, 2, 1)]
    assert read("02/13/2020\n1/2/2020\n").to_list() == [dt.date(2020, 2, 13), dt.date(2020, 1, 2)]
    assert read("01/02/2020\n03/04/2020\n").dtype == pl.String  # nobody can tell
    us = {"date_formats": {"d": "%m/%d/%Y"}}
    assert read("01/02/2020\n03/04/2020\n", **us).to_list() == [dt.date(2020, 1, 2), dt.date(2020, 3, 4)]
    assert read("02.01.20 13:00\n", date_formats={"d": "%d.%m.%y %H:%M"}).to_list() == [NAIVE(2020, 1, 2, 13)]
    assert read("2020-01-01T00:00:00+02:00\n").dtype == pl.Datetime("us", "UTC")
    assert read("2020-01-01\n", parse_dates=False).dtype == pl.String
    assert "31/31/2020" in error_of(read, "31/31/2020\n", date_formats={"d": "%d/%m/%Y"}).message


def test_separators_quotes_and_commas(ctx, ingest):
    assert ingest({"a.csv": "a;b\n1;2\n"}).frame().to_dicts() == [{"a": 1, "b": 2}]
    assert ingest({"a.tsv": "a\tb\n1,5\t2\n"}).frame().to_dicts() == [{"a": "1,5", "b": 2}]
    assert any("decimal comma" in line for line in ctx.logs)
    assert ingest({"a.csv": "a;b\n1,5;2\n"}, decimal_comma=True).frame().to_dicts() == [{"a": 1.5, "b": 2}]
    assert ingest({"a.csv": 'a,b\n5",x\n'}, quote=False).frame().to_dicts() == [{"a": '5"', "b": "x"}]
    assert ingest({"a.csv": "1,2\n3,4\n"}, has_header=False).frame().columns == ["column_1", "column_2"]
    named = ingest({"a.csv": "1,2\n3,4\n"}, has_header=False, columns=("p", "q")).frame()
    assert named.to_dicts()[0] == {"p": 1, "q": 2}
    assert ingest({"a.csv": ",x\n0,5\n"}).frame().columns == ["column_1", "x"]
    assert ingest({"a.csv": "\ufeffa,b\r\n1,2\r\n\r\n\r\n"}).frame().to_dicts() == [{"a": 1, "b": 2}]
    assert ingest({"a.csv": "a\n1\n\n3\n\n"}).frame()["a"].to_list() == [1, None, 3]


def test_line_ends_and_byte_order_marks(ingest):
    assert "carriage return" in error_of(ingest, {"mac.csv": "a,b\r1,2\r3,4\r"}).hint
    frame = ingest({"a.csv": "\ufeff1,2\n3,4\n"}, has_header=False).frame()
    assert frame.rows() == [(1, 2), (3, 4)]
    assert ingest({"a.csv": '\ufeff"a","b"\r\n"1\r\n2",x\r\n'}).frame().rows() == [("1\r\n2", "x")]


typed = {
    "i": st.integers(-(2**63), 2**63 - 1),
    "f": st.floats(allow_nan=False),
    "b": st.booleans(),
    "d": st.dates(dt.date(1000, 1, 1)),
    "t": st.datetimes(NAIVE(1000, 1, 1)),
    "s": st.text(alphabet="abc ,\"\n'é", min_size=1).map(lambda text: "s" + text),
}


@given(
    st.lists(
        st.fixed_dictionaries({name: st.none() | values for name, values in typed.items()}), min_size=1, max_size=6
    ),
    st.sampled_from(["copy", "reference"]),
)
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_typed_columns_come_back_as_they_were(ingest, rows, record):
    kinds = {"i": pl.Int64, "f": pl.Float64, "b": pl.Boolean, "d": pl.Date, "t": pl.Datetime("us"), "s": pl.String}
    frame = pl.DataFrame(rows, schema=kinds)
    found = ingest({"a.csv": frame.write_csv(datetime_format="%Y-%m-%dT%H:%M:%S%.6f")}, record=record).frame()
    for name, dtype in kinds.items():
        known = frame[name].drop_nulls()
        if known.is_empty():
            assert found[name].dtype == pl.String
            assert found[name].null_count() == len(rows)
        elif name == "f" and found[name].dtype == pl.Int64:
            assert [float(v) for v in found[name].drop_nulls()] == known.to_list()
        else:
            assert found[name].dtype == dtype
            assert found[name].to_list() == frame[name].to_list()


def test_gzip_and_zstd(ingest):
    assert ingest({"a.csv.gz": gzip.compress(b"a,b\n1,x\n")}).frame().to_dicts() == [{"a": 1, "b": "x"}]
    packed = pa.compress(b"a,b\n1,x\n2,y\n", codec="zstd", asbytes=True)
    assert ingest({"a.csv.zst": packed}).frame().to_dicts() == [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]


cells = st.text(
    alphabet=st.characters(codec="utf-8", exclude_characters="\r\x00", exclude_categories=["Cs"]),
    min_size=1,
    max_size=8,
).map(lambda text: "t" + text)


@given(
    names=st.lists(cells, min_size=1, max_size=5, unique=True),
    rows=st.lists(st.lists(cells, min_size=5, max_size=5), min_size=1, max_size=8),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_pythons_csv_writes_is_what_is_read(ingest, names, rows):
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    rows = [row[: len(names)] for row in rows]
    writer.writerows([names, *rows])
    frame = ingest({"a.csv": buffer.getvalue()}, types=dict.fromkeys(names, "String")).frame()
    assert frame.columns == names
    assert [list(row) for row in frame.rows()] == rows


def test_five_thousand_columns(ingest):
    n = 5000
    text = ",".join(f"c{i}" for i in range(n)) + "\n"
    text += "".join(",".join(str(i + r) if i % 2 else f"w{i}" for i in range(n)) + "\n" for r in range(3))
    frame = ingest({"wide.csv": text}).frame()
    assert frame.shape == (3, n)
    assert frame["c4999"].to_list() == [4999, 5000, 5001]


# --- NDJSON -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a":1}\n{"a":"x"}\n', "'a' has a whole number in line 1 and text in line 2"),
        ('{"a":true}\n\n{"a":2.5}\n', "a boolean in line 1 and a number in line 3"),
        ('{"a":1,"a":2}\n', "line 1: the column name 'a' stands twice"),
        ('{"a":1}\n{"a":\n', "line 2"),
        ('[{"a":1}]\n', "line 1 is a list"),
        ('{"a":[1]}\n', "'a' has a list in line 1"),
        ('{"a":1}\n{"a":NaN}\n', "line 2: NaN"),
        ("\n\n", "no rows"),
        ('\ufeff{"a":1}\n', "byte order mark"),
    ],
)
def test_bad_ndjson(ingest, text, message):
    assert message in error_of(ingest, {"a.ndjson": text}).message


def test_ndjson_types(ingest):
    rows = [{"i": 1, "f": 1, "s": "x", "d": "2020-01-02", "u": "2020-01-01T00:00:00Z", "big": 2**70}]
    rows[0]["bad"] = "2023-02-30"
    rows += [{"f": 2.5, "late": True, "none": None, "bad": "2023-02-28"}]
    frame = ingest({"a.ndjson": "".join(json.dumps(row) + "\n" for row in rows)}).frame()
    assert frame.schema == {
        "i": pl.Int64,
        "f": pl.Float64,
        "s": pl.String,
        "d": pl.Date,
        "u": pl.Datetime("us", "UTC"),
        "big": pl.String,
        "bad": pl.String,
        "late": pl.Boolean,
        "none": pl.String,
    }
    assert frame["big"][0] == str(2**70)
    assert frame["i"].to_list() == [1, None]


# --- several files ----------------------------------------------------------------------------------------------------


def test_files_whose_schemas_differ(ingest):
    a = parquet(pl.DataFrame({"x": [1], "y": ["a"]}))
    other_type = parquet(pl.DataFrame({"x": [1.5], "y": ["a"]}))
    missing = parquet(pl.DataFrame({"x": [1]}))
    more = parquet(pl.DataFrame({"x": [1], "y": ["a"], "z": [1]}))
    swapped = parquet(pl.DataFrame({"y": ["b"], "x": [2]}))
    error = error_of(ingest, {"a.parquet": a, "b.parquet": other_type})
    assert error.place == "b.parquet"
    assert all(word in error.message for word in ("'x'", "Float64", "Int64", "a.parquet"))
    assert "'y'" in error_of(ingest, {"a.parquet": a, "b.parquet": missing}).message
    assert "'z'" in error_of(ingest, {"a.parquet": a, "b.parquet": more}).message
    for record in ("copy", "reference"):
        frame = ingest({"a.parquet": a, "b.parquet": swapped}, record=record).frame()
        assert frame.rows() == [(1, "a"), (2, "b")]
    assert "one format" in error_of(ingest, {"a.parquet": a, "b.csv": "x,y\n1,a\n"}).hint


def test_csv_files_agree_on_types(ingest):
    for record in ("copy", "reference"):
        frame = ingest({"a.csv": "x,y,z\n1,a,\n", "b.csv": "z,x,y\n7,2.5,NA\n8,3,b\n"}, record=record).frame()
        assert frame.rows() == [(1.0, "a", None), (2.5, "NA", 7), (3.0, "b", 8)]
    error = error_of(ingest, {"a.csv": "x\n1\n", "b.csv": "x\nabc\n"})
    assert all(word in error.message for word in ("'x'", "String", "Int64", "a.csv"))


def test_partitions(ingest):
    files = {
        "y=2020/k=a/p.parquet": parquet(pl.DataFrame({"v": [1]})),
        "y=2021/k=__HIVE_DEFAULT_PARTITION__/p.parquet": parquet(pl.DataFrame({"v": [2]})),
    }
    for record in ("copy", "reference"):
        frame = ingest(files, path="y=*/**/*.parquet", partitions=True, record=record).frame()
        assert frame.schema == {"v": pl.Int64, "y": pl.Int64, "k": pl.String}
        assert frame.rows() == [(1, 2020, "a"), (2, 2021, None)]
    assert ingest({}, path="y=*/**/*.parquet").frame().columns == ["v"]
    clash = error_of(ingest, {"v=1/p.parquet": files["y=2020/k=a/p.parquet"]}, partitions=True)
    assert "folder's name" in clash.message


def test_duplicate_columns_in_binary_files(ctx, ingest):
    table = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
    pq.write_table(table, ctx.project_dir / "d.parquet")
    with pa.ipc.new_file(ctx.project_dir / "d.arrow", table.schema) as writer:
        writer.write_table(table)
    for name in ("d.parquet", "d.arrow"):
        assert "'a' stands twice" in error_of(ingest, {}, path=name).message


def test_a_parquet_file_without_rows_and_a_damaged_one(ingest):
    empty = parquet(pl.DataFrame({"a": [1]}).clear())
    assert "no rows" in error_of(ingest, {"e.parquet": empty}).message
    good = parquet(pl.DataFrame({"a": list(range(100))}))
    error_of(ingest, {"b.parquet": good[:40] + b"\xff" * 30 + good[70:]})


@pytest.mark.parametrize("kind", ["parquet", "arrow", "arrows"])
def test_integers_that_are_too_wide_are_no_damage(ingest, kind):
    frame = pl.DataFrame({"b": [1], "a": pl.Series([1], dtype=pl.Int128)})
    buffer = io.BytesIO()
    {"parquet": frame.write_parquet, "arrow": frame.write_ipc, "arrows": frame.write_ipc_stream}[kind](buffer)
    error = error_of(ingest, {f"w.{kind}": buffer.getvalue()})
    assert "column 'a' (Int128) has whole numbers of more than 64 bits" in error.message
    assert "damaged" not in str(error)
    assert "Int64" in error.hint


def test_unreadable(ctx, ingest):
    (ctx.project_dir / "dangling.csv").symlink_to(ctx.project_dir / "nowhere")
    assert "no such file" in error_of(ingest, {}, path="dangling.csv").message
    os.mkfifo(ctx.project_dir / "pipe.csv")
    assert "plain file" in error_of(ingest, {}, path="pipe.csv").message


def test_the_stage_is_light_to_import():
    code = (
        "import sys; import headrace.builtins.ingest.files, headrace.builtins.ingest.sql; "
        "heavy = {'polars', 'pyarrow', 'numpy', 'adbc_driver_manager'} & set(sys.modules); "
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_reference_holds_no_rows(ingest):
    data = ingest({"a.csv": "a,b\n" + "1,x\n" * 1000}, record="reference")
    assert data._frame is None
    assert data.lazy().select(pl.col("a").sum()).collect(engine="streaming").item() == 1000
    assert data._frame is None
