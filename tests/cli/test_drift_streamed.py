"""`headrace profile` and `headrace drift` read data files in batches: the same bytes, and rows do not fill memory."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from datetime import date, timedelta

import polars as pl
import pytest

from headrace import Dataset, Profile
from headrace.compute.dataset import streamed
from headrace.errors import ArtifactError

AT_ONCE = 700
ROWS = 5000


def table(seed: int, shift: float = 0.0) -> pl.DataFrame:
    chance = random.Random(seed)
    first = date(2024, 1, 1)
    frame = pl.DataFrame(
        {
            "key": [f"k{seed}-{i}" for i in range(ROWS)],
            "day": [first + timedelta(days=i * 30 // ROWS) for i in range(ROWS)],
            "warm": [chance.gauss(10 + 10 * shift, 4) for _ in range(ROWS)],
            "shop": [chance.choice(["north", "south", "east"]) for _ in range(ROWS)],
            "count": [chance.randrange(8) if chance.random() < 0.9 else None for _ in range(ROWS)],
        }
    )
    # The last batch has a category and an extreme that no other has.
    return frame.with_columns(
        shop=pl.when(pl.int_range(pl.len()) == ROWS - 1).then(pl.lit("west")).otherwise("shop"),
        warm=pl.when(pl.int_range(pl.len()) == ROWS - 2).then(1e9).otherwise("warm"),
    )


def write(frame: pl.DataFrame, name: str) -> None:
    suffix = name.rpartition(".")[2]
    if suffix == "parquet":
        frame.write_parquet(name, row_group_size=900)
    elif suffix == "arrow":
        frame.with_columns(pl.col("shop").cast(pl.Categorical)).write_ipc(name, record_batch_size=900)
    else:
        getattr(frame, {"csv": "write_csv", "ndjson": "write_ndjson"}[suffix])(name)


@pytest.fixture
def held(tmp_path, monkeypatch):
    """How many rows were held at once; whoever reads a file whole fails."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("headrace.compute.dataset._BATCH_ROWS", AT_ONCE)
    heights: list[int] = []
    batches = Dataset.batches

    def counted(self, *args, **options):
        for batch in batches(self, *args, **options):
            heights.append(batch.height)
            yield batch

    def whole(self):
        raise AssertionError("a file is read whole")

    monkeypatch.setattr(Dataset, "batches", counted)
    monkeypatch.setattr(Dataset, "frame", whole)
    return heights


@pytest.mark.parametrize("suffix", ["parquet", "csv", "ndjson", "arrow"])
@pytest.mark.parametrize("more", [(), ("--segments", "shop"), ("--columns", "warm,shop")])
def test_a_profile_from_batches_is_the_one_of_the_whole_file_to_the_byte(held, tmp_path, headrace, suffix, more):
    frame = table(1)
    write(frame, f"data.{suffix}")
    done = headrace("profile", f"data.{suffix}", "-o", "made.profile", *more)
    assert done.code == 0, done.err
    columns = ["warm", "shop"] if "--columns" in more else ["day", "warm", "shop", "count"]
    whole = Profile.fit(frame, columns=columns, segments="shop" if "--segments" in more else None)
    assert (tmp_path / "made.profile").read_bytes() == whole.to_bytes()
    assert max(held) <= AT_ONCE
    assert sum(held) >= 2 * ROWS  # read twice: to choose bins, and to count on them
    held.clear()
    assert headrace("profile", f"data.{suffix}", "--on", "made.profile", "-o", "made.window").code == 0
    window = whole.window()
    window.update(frame[list(whole.columns)] if "--segments" not in more else frame[columns])
    assert (tmp_path / "made.window").read_bytes() == window.to_bytes()
    assert (max(held) <= AT_ONCE, sum(held)) == (True, ROWS)


@pytest.mark.parametrize("suffix", ["parquet", "csv", "arrow"])
@pytest.mark.parametrize("more", [(), ("--segment", "shop"), ("--time-column", "day", "--period", "week")])
def test_drift_of_files_holds_a_batch_at_a_time(held, headrace, suffix, more):
    write(table(1), f"ref.{suffix}")
    write(table(2, shift=1.0), f"live.{suffix}")
    done = headrace("drift", f"ref.{suffix}", f"live.{suffix}", "--json", *more)
    assert done.code == 0, done.err
    assert max(held) <= AT_ONCE
    found = json.loads(done.out)
    assert [one["name"] for one in found["columns"] if one["verdict"] == "drift"] == ["warm"]
    assert (found["reference"]["rows"], found["live"]["rows"]) == (ROWS, ROWS)
    assert sum(one["rows"] for one in found["periods"]) == (ROWS if "--period" in more else 0)
    assert len(found["segments"]) == (4 if "--segment" in more else 0)


def test_in_a_project_files_are_read_in_batches_too(held, tmp_path, headrace):
    (tmp_path / "headrace.toml").write_text('[project]\nname = "shop"\n\n[ingest]\nuse = "files"\npath = "data.csv"\n')
    frame = table(1)
    write(frame, "data.csv")
    assert headrace("profile", "data.csv", "-o", "made.profile").code == 0
    whole = Profile.fit(frame, columns=["day", "warm", "shop", "count"])
    assert (tmp_path / "made.profile").read_bytes() == whole.to_bytes()
    assert max(held) <= AT_ONCE


def test_an_arrow_stream_is_read_as_well(tmp_path, monkeypatch, headrace):
    monkeypatch.chdir(tmp_path)
    frame = table(1)
    frame.write_ipc_stream("data.arrows")
    assert headrace("profile", "data.arrows", "-o", "made.profile").code == 0
    whole = Profile.fit(frame, columns=["day", "warm", "shop", "count"])
    assert (tmp_path / "made.profile").read_bytes() == whole.to_bytes()


def test_a_file_that_changes_between_its_two_readings_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("headrace.compute.dataset._BATCH_ROWS", AT_ONCE)
    path = tmp_path / "x.parquet"
    table(1).write_parquet(path, row_group_size=900)
    data = Dataset.by_reference([path], format="parquet")

    def fit(changed_by):
        opened_times = []
        with streamed(data, ["warm"]) as opened:

            def once_more():
                if opened_times:
                    changed_by.write_parquet(path)
                opened_times.append(1)
                return opened()

            return Profile.fit(once_more)

    with pytest.raises(ArtifactError, match="changed") as raised:
        fit(table(2))
    assert raised.value.place == str(path)
    # While it is read: what the reader found comes out, and not an Arrow stream's text of it.
    data = Dataset.by_reference([path], format="parquet")

    def read():
        with streamed(data, ["warm"]) as opened:
            reader = opened()
            table(3).write_parquet(path)
            window.update(reader)

    window = Profile.fit(table(2).select("warm")).window()
    with pytest.raises(ArtifactError, match="while it was read"):
        read()


@pytest.mark.parametrize("command", [("profile", "torn.parquet", "-o", "x"), ("drift", "torn.parquet", "good.parquet")])
def test_a_page_that_cannot_be_read_names_the_file(tmp_path, monkeypatch, headrace, command):
    monkeypatch.chdir(tmp_path)
    table(1).write_parquet("good.parquet", compression="zstd")
    data = bytearray((tmp_path / "good.parquet").read_bytes())
    data[2000:40_000] = b"\xff" * 38_000
    (tmp_path / "torn.parquet").write_bytes(data)
    done = headrace(*command)
    assert done.code == 3, done.err
    assert "torn.parquet" in done.err
    assert "Traceback" not in done.err


PEAK = """
import sys
from pathlib import Path
from headrace.project.drift import Options, Source, compare_sources, profile_file

profile_file(Source(), Path(sys.argv[1]), Options(), lambda _: None)
compare_sources(Source(), sys.argv[1], Path(sys.argv[1]), Options(), lambda _: None)
lines = Path("/proc/self/status").read_text().splitlines()
print(next(line for line in lines if line.startswith("VmHWM")).split()[1])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of a process is read from /proc")
def test_memory_does_not_grow_with_rows(tmp_path):
    """2 million rows of ten numbers are 160 MB; a process that reads them takes little more than for 0.6 million."""
    import numpy as np

    def peak(rows: int) -> float:
        block = np.random.default_rng(0).normal(size=4096)
        frame = pl.DataFrame({f"x{i}": np.resize(np.roll(block, i), rows) for i in range(10)})
        path = tmp_path / f"{rows}.parquet"
        frame.write_parquet(path, row_group_size=20_000)
        done = subprocess.run([sys.executable, "-c", PEAK, str(path)], check=True, capture_output=True, text=True)
        return int(done.stdout) / 1024

    few, many = peak(600_000), peak(2_000_000)
    assert many < few + 50, (few, many)
