"""The store beside the least that could do the same: bare SQLite with its pragmas, a bare copy, a bare Parquet file.

`ratio` in `extra_info` is our time over the peer's, both as medians of runs taken in turn; below it lies what the store
adds: identity, lineage, the cache, fencing. What was written is read back before anything is timed. For the commit of a
stage the split is told as well: what remains on a file system in memory is Python and SQL, the rest waits for the disk.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import count
from pathlib import Path

import polars as pl
import pytest

from headrace import Dataset
from headrace.store import Store
from headrace.types import Params, StageInfo, StageRecord

ROUNDS = 41
MEMORY = Path("/dev/shm")  # noqa: S108  # a file system in memory, where there is one


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def in_turns(benchmark, ours: Callable[[], object], theirs: Callable[[], object], rounds: int = ROUNDS) -> float:
    """Time both, one after the other, and keep the medians; returns the ratio."""
    mine: list[float] = []
    others: list[float] = []

    def pair() -> None:
        mine.append(seconds(ours))
        others.append(seconds(theirs))

    benchmark.pedantic(pair, rounds=rounds, warmup_rounds=3)
    a, b = statistics.median(mine[3:]), statistics.median(others[3:])
    benchmark.extra_info |= {"ours_ms": round(a * 1e3, 2), "theirs_ms": round(b * 1e3, 2), "ratio": round(a / b, 2)}
    return a / b


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "store") as opened:
        yield opened


def stages(store: Store) -> Callable[[], object]:
    """One more stage with each call: two small artifacts saved, then the commit of everything about it."""
    handle = store.runs.create("bench", "manual", {})
    fingerprint = {"source": {f"module{n}": "0" * 64 for n in range(10)}, "config": {"depth": 3}}
    numbers = count()

    def stage() -> None:
        n = next(numbers)
        outputs = {name: store.artifacts.save(Params({name: n})) for name in ("params", "report")}
        store.runs.commit_stage(
            handle,
            StageRecord(
                stage=StageInfo(f"s{n}", "train", "lightgbm", "headrace", "0.1.0", {"depth": 3}),
                outcome="executed",
                why="first time",
                key=f"{n:064x}",
                started=0.0,
                ended=1.0,
                attempts=1,
                inputs={},
                outputs=outputs,
                metrics={"auc": 0.9},
                fingerprint=fingerprint,
            ),
            cache_key=f"{n:064x}",
        )

    stage()
    assert len(store.runs.get(handle.id).stages[0].outputs) == 2
    return stage


def bare_sqlite(folder: Path) -> Callable[[], object]:
    """One transaction with as many rows and bytes as a stage has, in one table with one index."""
    connection = sqlite3.connect(folder / "bare.db", isolation_level=None)
    mode = "WAL" if sqlite3.sqlite_version_info >= (3, 51, 3) else "PERSIST"
    connection.execute(f"PRAGMA journal_mode={mode}")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE rows (key TEXT PRIMARY KEY, body TEXT)")
    numbers = count()

    def transaction() -> None:
        n = next(numbers)
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany("INSERT INTO rows VALUES (?, ?)", [(f"{n}-{i}", "x" * 150) for i in range(12)])
        connection.execute("COMMIT")

    return transaction


@pytest.mark.benchmark(group="store: commit of a stage with two small artifacts")
def test_commit_of_a_stage(benchmark, store: Store, tmp_path: Path) -> None:
    if MEMORY.is_dir():
        with tempfile.TemporaryDirectory(dir=MEMORY) as folder, Store.open(Path(folder) / "store") as weightless:
            stage = stages(weightless)
            for _ in range(5):
                stage()
            benchmark.extra_info["python_and_sql_ms"] = round(
                statistics.median(seconds(stage) for _ in range(ROUNDS)) * 1e3, 2
            )
    ratio = in_turns(benchmark, stages(store), bare_sqlite(tmp_path))
    assert ratio <= 2.5


@pytest.mark.benchmark(group="store: one frame of 100,000 rows")
def test_save_a_frame(benchmark, store: Store, tmp_path: Path) -> None:
    """Beside polars writing the same Parquet and a flush: the digest and the rows are what comes on top."""
    numbers = count()

    def frame() -> pl.DataFrame:
        n = next(numbers)
        values = pl.int_range(n, n + 100_000, eager=True)
        return pl.DataFrame({"a": values, "b": values.cast(pl.Float64).sin(), "c": (values % 97).cast(pl.String)})

    saved = Dataset.from_frame(frame())
    assert store.artifacts.load(store.artifacts.save(saved), Dataset).frame().equals(saved.frame())

    def ours() -> None:
        store.artifacts.save(Dataset.from_frame(frame()))
        store.artifacts.flush()

    def theirs() -> None:
        path = tmp_path / "bare.parquet"
        frame().write_parquet(path, compression="zstd")
        with path.open("rb") as stream:
            os.fsync(stream.fileno())

    assert in_turns(benchmark, ours, theirs, rounds=15) <= 3


@pytest.mark.benchmark(group="store: a file of 32 MB")
def test_put_a_file(benchmark, store: Store, tmp_path: Path) -> None:
    """Beside SHA-256, a copy and a flush, which is what it has to do."""
    source = tmp_path / "source"
    body = os.urandom(32 << 20)

    def change() -> None:
        with source.open("wb") as stream:
            stream.write(os.urandom(16) + body)

    change()
    assert store.objects.read(store.objects.put_file(source).sha256) == source.read_bytes()

    def theirs() -> None:
        with source.open("rb") as stream:
            hashlib.file_digest(stream, "sha256").hexdigest()
        shutil.copyfile(source, tmp_path / "copy")
        with (tmp_path / "copy").open("rb") as stream:
            os.fsync(stream.fileno())

    def ours() -> None:
        blob = store.objects.put_file(source)
        store.objects.delete(blob.sha256)

    assert in_turns(benchmark, ours, theirs, rounds=9) <= 2


@pytest.mark.benchmark(group="store: what a run without work asks")
def test_lookup_and_verify(benchmark, store: Store) -> None:
    """Twenty cached stages with two outputs each, looked up and verified, beside as many bare SELECTs."""
    stage = stages(store)
    for _ in range(20):
        stage()
    keys = [f"{n:064x}" for n in range(20)]

    def ours() -> None:
        for key in keys:
            found = store.cache.lookup(key)
            assert found is not None
            assert all(store.artifacts.verify(ref.digest) for ref in found.values())

    with closing(sqlite3.connect(store.root / "bare.db")) as bare:
        bare.execute("CREATE TABLE rows (key TEXT PRIMARY KEY, body TEXT)")
        bare.executemany("INSERT INTO rows VALUES (?, ?)", [(key, "x" * 300) for key in keys])

        def theirs() -> None:
            for key in keys * 3:
                bare.execute("SELECT body FROM rows WHERE key = ?", (key,)).fetchall()

        in_turns(benchmark, ours, theirs)
    benchmark.extra_info["microseconds_a_stage"] = round(benchmark.extra_info["ours_ms"] * 1e3 / 20)


@pytest.mark.benchmark(group="store: opening")
def test_open(benchmark, tmp_path: Path) -> None:
    """An existing store, once SQLAlchemy is imported, beside a bare connection that reads one row."""
    root = tmp_path / "store"
    Store.open(root).close()

    def ours() -> None:
        Store.open(root, create=False).close()

    def theirs() -> None:
        with closing(sqlite3.connect(root / "headrace.db")) as connection:
            assert connection.execute("SELECT version_num FROM alembic_version").fetchone()

    in_turns(benchmark, ours, theirs)
