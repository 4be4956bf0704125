"""Live rows whose files have other types than the project's own rows, or than one another."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from headrace.errors import DataError
from headrace.loop.alike import alike
from headrace.loop.data import assemble, by_day, came_in
from headrace.loop.live import FileRows, moments
from headrace.loop.policy import Columns, LivePolicy

COLUMNS = Columns(target="y", time="at", id="id")
NOW = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)
NAIVE, UTC, ZURICH = pl.Datetime("us"), pl.Datetime("us", "UTC"), pl.Datetime("ms", "Europe/Zurich")


def source(folder: Path, **more: Any) -> FileRows:
    def read(path: Path) -> pl.DataFrame:
        return pl.read_csv(path) if path.suffix == ".csv" else pl.read_parquet(path)

    policy = LivePolicy.model_validate({"rows": "rows*", "labels": "labels*"} | more)
    return FileRows(policy, COLUMNS, locate=lambda glob: sorted(folder.glob(glob)), read=read)


def at(hour: int, dtype: Any = UTC) -> pl.Series:
    series = pl.Series("at", [dt.datetime(2026, 3, 1, hour, tzinfo=dt.UTC)])
    zone = getattr(dtype, "time_zone", None)
    return (series.dt.replace_time_zone(None) if zone is None else series.dt.convert_time_zone(zone)).cast(dtype)


def row(name: Any, hour: int = 1, dtype: Any = UTC, **more: Any) -> pl.DataFrame:
    return pl.DataFrame({"id": [name], "at": at(hour, dtype), "x": [1.5]}).with_columns(
        *(pl.Series(k, [v]) for k, v in more.items())
    )


@pytest.mark.parametrize("labels", ["String", "Int64", "Int32", "Float64"])
@pytest.mark.parametrize("rows", ["String", "Int64", "Int32", "Float64"])
def test_identifiers_of_any_types_find_each_other(tmp_path: Path, rows: str, labels: str) -> None:
    def typed(dtype: str) -> pl.Series:
        number = pl.Series("id", [7, 8])
        return number.cast(getattr(pl, dtype))

    table = pl.DataFrame({"id": typed(rows), "at": [at(1)[0], at(2)[0]], "x": [1.0, 2.0]})
    table.write_parquet(tmp_path / "rows")
    pl.DataFrame({"id": typed(labels), "y": [0, 1]}).write_parquet(tmp_path / "labels")
    found = source(tmp_path).frame(NOW)
    assert found["y"].to_list() == [0, 1]
    assert found.schema["id"] == table.schema["id"]


@pytest.mark.parametrize("base", [NAIVE, UTC, ZURICH])
@pytest.mark.parametrize("second", [NAIVE, UTC, ZURICH])
@pytest.mark.parametrize("first", [NAIVE, UTC, ZURICH])
def test_times_with_and_without_a_zone_are_the_same_moments(tmp_path: Path, first: Any, second: Any, base: Any) -> None:
    row("a", 1, first, y=0).write_parquet(tmp_path / "rows1")
    row("b", 2, second, y=1).write_parquet(tmp_path / "rows2")
    live = source(tmp_path).frame(NOW)
    own = row("c", 0, base, y=1)
    found = assemble(own, live, COLUMNS, None, NOW)
    assert found["id"].to_list() == ["c", "a", "b"]
    assert found.schema == own.schema
    assert [moment.hour for moment in moments(found, "at")] == [0, 1, 2]


def test_one_bad_cell_does_not_make_text_of_a_column() -> None:
    base = row("a", y=0)
    live = pl.concat([row("b", y=1, x="2.5"), row("c", y=1, x="n/a")])
    with pytest.raises(DataError, match=r"'n/a' in the row id = 'c'.*Float64") as caught:
        assemble(base, live, COLUMNS, None, NOW)
    assert caught.value.place == "column 'x'"
    assert assemble(base, live.head(1), COLUMNS, None, NOW)["x"].to_list() == [1.5, 2.5]


@pytest.mark.parametrize(
    ("base", "live", "expected"),
    [
        (pl.Series([1, 2]), pl.Series([3.0, None]), pl.Series([3, None], dtype=pl.Int64)),
        (pl.Series([1, 2]), pl.Series([3.5]), pl.Series([3.5])),
        (pl.Series([1.0]), pl.Series([3]), pl.Series([3.0])),
        (pl.Series(["1"]), pl.Series([3.0]), pl.Series(["3"])),
        (pl.Series(["1"]), pl.Series([3]), pl.Series(["3"])),
        (pl.Series([1]), pl.Series(["3", None]), pl.Series([3, None])),
        (pl.Series([1]), pl.Series([None]), pl.Series([None], dtype=pl.Int64)),
        (pl.Series([dt.date(2026, 1, 1)]), at(3, ZURICH), pl.Series([dt.date(2026, 3, 1)])),
    ],
)
def test_what_says_the_same_has_the_type_of_the_base(base: pl.Series, live: pl.Series, expected: pl.Series) -> None:
    found = alike(live.alias("v").to_frame(), base.alias("v").to_frame())["v"]
    assert found.dtype == expected.dtype
    assert found.to_list() == expected.to_list()


def test_files_that_cannot_be_one_table_are_named(tmp_path: Path) -> None:
    row("a", z=dt.datetime(2026, 1, 1, tzinfo=dt.UTC)).write_parquet(tmp_path / "rows1")
    row("b", z=dt.datetime(2026, 1, 1, tzinfo=dt.UTC).replace(tzinfo=None)).write_parquet(tmp_path / "rows2")
    with pytest.raises(DataError, match="cannot be one table"):
        source(tmp_path).frame(NOW)


def test_rows_that_are_archived_take_nothing_from_those_that_came_in() -> None:
    old = pl.concat([row(str(n), y=1) for n in range(5)])
    new = pl.concat([row(f"new {n}", y=1).with_columns(pl.col("at") + dt.timedelta(days=9)) for n in range(3)])
    before = {"labelled": 5, "days": by_day(old, COLUMNS)}
    assert before["days"] == {"2026-03-01": 5}
    assert came_in(by_day(pl.concat([old, new]), COLUMNS), before) == 3
    assert came_in(by_day(new, COLUMNS), before) == 3
    assert came_in(by_day(old, COLUMNS), before) == 0
    assert came_in(by_day(old.clear(), COLUMNS), before) == 0
    assert came_in(by_day(old, COLUMNS), {}) == 5
    assert came_in(by_day(new, COLUMNS), {"labelled": 5}) == 0  # as it was decided before days were counted
