from __future__ import annotations

import datetime as dt
import os

import polars as pl
import pyarrow as pa
import pytest
from polars.testing import assert_frame_equal

from headrace import Dataset
from headrace.compute.dtypes import PLAIN, dtype_from_text
from headrace.errors import ArtifactError, DataError

FRAME = pl.DataFrame({"a": [1, 2, 3], "b": ["x", None, "z"]})


@pytest.mark.parametrize("make", [pl.DataFrame, pl.DataFrame.to_arrow, pa.table, pa.RecordBatchReader.from_stream])
def test_from_any_arrow_frame(make):
    data = Dataset.from_frame(make(FRAME))
    assert_frame_equal(data.frame(), FRAME)
    assert data.schema == {"a": "Int64", "b": "String"}
    assert (data.num_rows, data.columns) == (3, ("a", "b"))
    assert repr(data) == "Dataset(3 rows x 2 columns)"
    assert "<table" in data._repr_html_()
    assert_frame_equal(pl.DataFrame(data), FRAME)
    assert_frame_equal(data.lazy().collect(), FRAME)


def test_by_reference_reads_only_on_demand_and_keeps_order(tmp_path):
    FRAME.write_parquet(tmp_path / "a.parquet")
    FRAME.select("b", "a").write_parquet(tmp_path / "b.parquet")
    data = Dataset.by_reference([tmp_path / "b.parquet", tmp_path / "a.parquet"], format="parquet")
    assert data.num_rows == 6
    assert data.columns == ("b", "a")
    assert_frame_equal(data.frame(), pl.concat([FRAME, FRAME]).select("b", "a"))


def test_options_per_file_schema_times_and_constants(tmp_path):
    (tmp_path / "a.csv").write_text("h1,h2,h3\n1,x,31/12/2020\n")
    (tmp_path / "b.csv").write_text("h2,h1,h3\ny,2,01/02/2021\n")
    base = {"has_header": False, "skip_rows": 1, "times": [["d", "Date", "%d/%m/%Y"]]}
    options = [
        {**base, "schema": [["n", "Float64"], ["^s$", "String"], ["d", "String"]], "constants": [["y", "Int64", "1"]]},
        {**base, "schema": [["^s$", "String"], ["n", "Float64"], ["d", "String"]], "constants": [["y", "Int64", None]]},
    ]
    data = Dataset.by_reference([tmp_path / "a.csv", tmp_path / "b.csv"], format="csv", options=options)
    assert data.schema == {"n": "Float64", "^s$": "String", "d": "Date", "y": "Int64"}
    assert data.frame().rows() == [(1.0, "x", dt.date(2020, 12, 31), 1), (2.0, "y", dt.date(2021, 2, 1), None)]
    with pytest.raises(DataError, match="1 sets of options for 2 files"):
        Dataset.by_reference([tmp_path / "a.csv", tmp_path / "b.csv"], format="csv", options=options[:1])


@pytest.mark.parametrize("read", [lambda data: data.frame(), lambda data: data.lazy()])
def test_a_changed_or_missing_file_is_named(tmp_path, roundtrip_parts, read):
    path = tmp_path / "a.parquet"
    FRAME.write_parquet(path)
    data = roundtrip_parts(Dataset.by_reference([path], format="parquet"))
    FRAME.reverse().write_parquet(path)
    with pytest.raises(ArtifactError, match="changed") as caught:
        read(data)
    assert caught.value.place == str(path)
    path.unlink()
    with pytest.raises(ArtifactError, match="gone"):
        read(data)
    with pytest.raises(DataError, match="No such file"):
        Dataset.by_reference([path], format="parquet")


@pytest.fixture
def roundtrip_parts():
    def roundtrip(data: Dataset) -> Dataset:
        parts = {}

        class Writer:
            def json(self, name, value):
                parts[name] = value

            def files(self, name, references):
                parts[name] = tuple(references)

        class Reader(Writer):
            def json(self, name):
                return parts[name]

            def files(self, name):
                return parts[name]

            def has(self, name):
                return name in parts

        data.save(Writer())
        return Dataset.load(Reader())

    return roundtrip


@pytest.mark.parametrize(
    "dtype",
    [
        *[getattr(pl, name)() for name in PLAIN],
        pl.Datetime("ms"),
        pl.Datetime("us", "UTC"),
        pl.Datetime("ns", "America/New_York"),
        pl.Duration("ms"),
    ],
)
def test_polars_own_text_of_a_type_is_read(dtype):
    assert dtype_from_text(str(dtype)) == dtype


@pytest.mark.parametrize(
    ("text", "dtype"),
    [
        ("Datetime", pl.Datetime("us")),
        ("Datetime[ms]", pl.Datetime("ms")),
        ("Datetime[us, UTC]", pl.Datetime("us", "UTC")),
        ("Duration", pl.Duration("us")),
        ("Decimal[10, 2]", pl.Decimal(10, 2)),
    ],
)
def test_short_texts_of_types(text, dtype):
    assert dtype_from_text(text) == dtype


@pytest.mark.parametrize("text", ["int", "Int63", "List(Int64)", "Datetime[h]", "__class__", "Object", ""])
def test_other_texts_are_no_types(text):
    with pytest.raises(DataError, match="is not a column type"):
        dtype_from_text(text)


@pytest.mark.parametrize("count", [0, 1, 1000])
def test_batches_are_the_frame(tmp_path, count):
    frame = pl.DataFrame(
        {"x": range(count), "s": [f"t{i % 7}" for i in range(count)]}, schema={"x": pl.Int64, "s": str}
    )
    frame.write_parquet(tmp_path / "a.parquet")
    for data in (Dataset.by_reference([tmp_path / "a.parquet"], format="parquet"), Dataset.from_frame(frame)):
        batches = list(data.batches(100))
        assert pl.concat(batches).equals(frame)
        assert max(batch.height for batch in batches) <= 100


def test_a_file_that_changes_while_batches_are_read_is_noticed(tmp_path):
    path = tmp_path / "a.parquet"
    pl.DataFrame({"x": range(1000)}).write_parquet(path)
    batches = Dataset.by_reference([path], format="parquet").batches(100)
    next(batches)
    os.utime(path, ns=(1, 1))
    with pytest.raises(ArtifactError, match="changed while it was read"):
        list(batches)
