from __future__ import annotations

import gzip
import io
import pickle
import zipfile
import zlib
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.builtins.ingest.formats import is_pickle, sniff
from headrace.errors import DataError

OBJECTS = [
    {"a": [1, 2, 3], "b": ["x", "y", "z"]},
    [1.5, None, True, -3, 10**30],
    ("text", b"bytes", {"k": (1, 2)}),
    [{"row": i, "name": f"n{i}"} for i in range(20_000)],
    "just a string",
    Path,
]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("thing", OBJECTS, ids=[str(i) for i in range(len(OBJECTS))])
@pytest.mark.parametrize("name", ["d.parquet", "d.csv", "d.ndjson", "d.pkl", "d.csv.gz"])
def test_a_pickle_is_refused_under_every_name(tmp_path, thing, protocol, name):
    data = pickle.dumps(thing, protocol=protocol)
    path = tmp_path / name
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    with pytest.raises(DataError, match="pickle"):
        sniff(path, shown=name)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    ),
    st.integers(0, pickle.HIGHEST_PROTOCOL),
)
def test_every_pickle_is_told(thing, protocol):
    data = pickle.dumps(thing, protocol=protocol)
    assert is_pickle(data, whole=True, tail=data[-8:])


@given(st.lists(st.lists(st.text(alphabet="abcINSVF().0123456789,", min_size=1), min_size=2, max_size=4), min_size=1))
def test_text_with_commas_is_no_pickle(rows):
    data = ("a,b\n" + "\n".join(",".join(row) for row in rows)).encode()
    assert not is_pickle(data, whole=True, tail=data[-8:])


def test_a_joblib_file_in_its_disguises(tmp_path):
    payload = pickle.dumps({"model": list(range(100))})
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as z:
        z.writestr("data.pkl", payload)
    for name, data in {
        "zip.parquet": archive.getvalue(),
        "zip.csv": archive.getvalue(),
        "zlib.csv": zlib.compress(payload),
        "raw.csv": payload,
    }.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(DataError, match=r"zip archive|zlib stream|pickle") as caught:
            sniff(tmp_path / name, shown=name)
        assert caught.value.place == name


def test_each_format_is_told_by_its_bytes_whatever_it_is_called(tmp_path):
    frame = pl.DataFrame({"a": [1, 2]})
    frame.write_parquet(tmp_path / "p.csv")
    frame.write_ipc(tmp_path / "i.bin")
    frame.write_ipc_stream(tmp_path / "s.csv")
    assert sniff(tmp_path / "p.csv", shown="p").format == "parquet"
    assert sniff(tmp_path / "i.bin", shown="i").format == "ipc"
    assert sniff(tmp_path / "s.csv", shown="s").format == "ipc-stream"


@pytest.mark.parametrize(
    ("name", "data", "stated", "expected"),
    [
        ("a.csv", b"a\n1\n", None, ("csv", "none")),
        ("a.TSV", b"a\n1\n", None, ("csv", "none")),
        ("a.jsonl", b"{}\n", None, ("ndjson", "none")),
        ("a.dat", b"a\n1\n", "csv", ("csv", "none")),
        ("a.csv", b"{}\n", "ndjson", ("ndjson", "none")),
        ("a.csv.gz", gzip.compress(b"a\n1\n", mtime=0), None, ("csv", "gzip")),
        ("a.b.ndjson.gz", gzip.compress(b"{}\n", mtime=0), None, ("ndjson", "gzip")),
    ],
)
def test_text_goes_by_its_name_or_by_what_is_stated(tmp_path, name, data, stated, expected):
    (tmp_path / name).write_bytes(data)
    found = sniff(tmp_path / name, shown=name, stated=stated)
    assert (found.format, found.compression) == expected


@pytest.mark.parametrize(
    ("name", "data", "stated", "message"),
    [
        ("a.csv", b"", None, "empty"),
        ("a.parquet", b"a,b\n1,2\n", None, r"called \.parquet"),
        ("a.csv", b"a,b\n1,2\n", "parquet", "said to be parquet"),
        ("a", b"a,b\n1,2\n", None, "no extension"),
        ("a.xyz", b"a,b\n1,2\n", None, "extension '.xyz'"),
        ("a.csv", b"a,b\n\x00\x01\x02", None, "binary"),
        ("a.csv", "a,b\n1,é\n".encode("utf-16"), None, "UTF-16"),
        ("a.parquet", b"PAR1" + b"\x00" * 40, None, "truncated"),
        ("a.csv", b"PAR1" + b"\x00" * 40 + b"PAR1", "csv", "says csv, and the file is Parquet"),
        ("a.csv.gz", b"\x1f\x8b\x08\x00damaged", None, "damaged"),
        ("a.csv", b"SQLite format 3\x00...", None, "SQLite"),
    ],
)
def test_what_is_refused_and_how(tmp_path, name, data, stated, message):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=message) as caught:
        sniff(tmp_path / name, shown=name, stated=stated)
    assert caught.value.place == name
    assert caught.value.hint


def test_a_missing_file(tmp_path):
    with pytest.raises(DataError, match="No such file"):
        sniff(tmp_path / "gone.csv", shown="gone.csv")
