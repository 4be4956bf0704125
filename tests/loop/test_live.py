"""Live rows and labels: late, partial, corrected, delivered twice. The oracle is a dict that a person would keep."""

from __future__ import annotations

import datetime as dt
import shutil
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import DataError
from headrace.loop.live import FileRows, joined, moments, settled
from headrace.loop.policy import Columns, LivePolicy

COLUMNS = Columns(target="y", time="at", id="id")
T0 = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def hour(n: float) -> dt.datetime:
    return T0 + dt.timedelta(hours=n)


def frame_of(rows: list[tuple[int, int]]) -> pl.DataFrame:
    schema = {"id": pl.Int64, "at": pl.Datetime("us", "UTC")}
    return pl.DataFrame({"id": [i for i, _ in rows], "at": [hour(t) for _, t in rows]}, schema=schema)


@given(
    rows=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 9)), max_size=12),
    labels=st.lists(
        st.tuples(st.integers(0, 6), st.one_of(st.none(), st.integers(0, 3)), st.integers(0, 9)), max_size=15
    ),
    until=st.integers(0, 9),
)
def test_labels_are_joined_as_a_person_would(
    rows: list[tuple[int, int]], labels: list[tuple[int, int | None, int]], until: int
) -> None:
    known: dict[int, tuple[int, int, int]] = {}
    for position, (name, value, when) in enumerate(labels):
        if value is not None and when <= until and (when, position) >= known.get(name, (-1, -1, 0))[:2]:
            known[name] = (when, position, value)
    last = dict(rows)
    expected = {name: (at, known[name][2] if name in known else None) for name, at in last.items() if at <= until}
    given_labels = pl.DataFrame(
        {"id": [n for n, _, _ in labels], "y": [v for _, v, _ in labels], "known": [hour(w) for _, _, w in labels]},
        schema={"id": pl.Int64, "y": pl.Int64, "known": pl.Datetime("us", "UTC")},
    )
    frame = frame_of(rows).with_columns(pl.lit(None, dtype=pl.Int64).alias("y"))
    found = joined(frame, settled(given_labels, COLUMNS, "known", hour(until)), COLUMNS, hour(until))
    assert {row["id"]: ((row["at"] - T0).seconds // 3600, row["y"]) for row in found.to_dicts()} == expected
    assert found.height == len(expected)
    assert found["at"].is_sorted()


@pytest.fixture
def files(tmp_path: Path) -> FileRows:
    (tmp_path / "live").mkdir()
    (tmp_path / "labels").mkdir()
    policy = LivePolicy.model_validate({"rows": "live/*", "labels": "labels/*"})
    return FileRows(policy, COLUMNS, locate=lambda glob: sorted(tmp_path.glob(glob)), read=pl.read_parquet)


def test_files_and_rows_that_are_delivered_twice_count_once(tmp_path: Path, files: FileRows) -> None:
    assert files.frame(hour(9)).height == 0
    first = frame_of([(1, 1), (2, 2)])
    first.write_parquet(tmp_path / "live" / "a")
    assert files.frame(hour(9))["y"].to_list() == [None, None]
    before = files.stamp()
    shutil.copy(tmp_path / "live" / "a", tmp_path / "live" / "b")
    assert files.stamp() != before
    assert files.frame(hour(9)).height == 2
    frame_of([(2, 2), (3, 3)]).write_parquet(tmp_path / "live" / "c")
    labels = pl.DataFrame({"id": [1, 3], "y": [0, 1]})
    labels.write_parquet(tmp_path / "labels" / "a")
    labels.write_parquet(tmp_path / "labels" / "b")
    assert files.frame(hour(9))["y"].to_list() == [0, None, 1]
    pl.DataFrame({"id": [1, 2], "y": [1, 1]}).write_parquet(tmp_path / "labels" / "c")  # one is corrected, one late
    assert files.frame(hour(9))["y"].to_list() == [1, 1, 1]
    assert files.frame(hour(2))["id"].to_list() == [1, 2]


def test_without_an_identifier_a_file_that_comes_twice_counts_once(tmp_path: Path) -> None:
    policy = LivePolicy.model_validate({"rows": "*.parquet"})
    columns = Columns(target="y", time="at", id=None)
    source = FileRows(policy, columns, locate=lambda glob: sorted(tmp_path.glob(glob)), read=pl.read_parquet)
    frame_of([(1, 1), (1, 1)]).with_columns(y=1).write_parquet(tmp_path / "a.parquet")
    shutil.copy(tmp_path / "a.parquet", tmp_path / "b.parquet")
    assert source.frame(hour(9)).height == 2


def test_a_file_without_a_column_is_named(tmp_path: Path, files: FileRows) -> None:
    frame_of([(1, 1)]).drop("at").write_parquet(tmp_path / "live" / "a")
    with pytest.raises(DataError, match="no column 'at'") as caught:
        files.frame(hour(1))
    assert caught.value.place is not None
    assert caught.value.place.endswith("live/a")


def test_moments_of_dates_times_and_zones() -> None:
    day = pl.DataFrame({"d": [dt.date(2026, 3, 1)]})
    assert moments(day, "d").to_list() == [dt.datetime(2026, 3, 1, tzinfo=dt.UTC)]
    plain = pl.DataFrame({"d": [dt.datetime(2026, 3, 1, 5, tzinfo=dt.UTC).replace(tzinfo=None)]})
    assert moments(plain, "d").to_list() == [dt.datetime(2026, 3, 1, 5, tzinfo=dt.UTC)]
    zone = plain.with_columns(pl.col("d").dt.replace_time_zone("Europe/Zurich"))
    assert moments(zone, "d").to_list() == [dt.datetime(2026, 3, 1, 4, tzinfo=dt.UTC)]
    with pytest.raises(DataError, match="orders rows by time"):
        moments(pl.DataFrame({"d": [1]}), "d")
