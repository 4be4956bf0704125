"""Profiles beside numpy: the same counts, and how long they take.

Nothing is timed before the counts are equal. `ratio` in `extra_info` is the peer's time over ours, both as medians of
runs taken in turn; above 1 we are faster. All are of one thread, and seconds are the processor's: those that other
processes took are not in them.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import time

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from headrace import Profile

ROWS = 1_000_000
ROUNDS = 15


def seconds(work) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def paired(peer, ours) -> tuple[float, float]:
    pairs = [(seconds(peer), seconds(ours)) for _ in range(ROUNDS)]
    return tuple(statistics.median(column) for column in zip(*pairs, strict=True))


def values(shape: str) -> np.ndarray:
    chance = np.random.default_rng(0)
    return chance.normal(size=ROWS) if shape == "normal" else chance.lognormal(sigma=2.0, size=ROWS)


@pytest.mark.parametrize("shape", ["normal", "lognormal"])
def test_window_update(benchmark, shape):
    x = values(shape)
    frame = pl.DataFrame({"x": x})
    profile = Profile.fit(frame)
    window = profile.window()
    window.update(frame, threads=1)
    counts = profile.counts(window)
    inside = counts.filter(pl.col("bin") == "interval")
    edges = np.append(inside["low"].to_numpy(), inside["high"].to_numpy()[-1])
    # Without atoms both have the same bins: half-open, the last one closed.
    assert counts.filter(pl.col("bin") == "atom").is_empty()
    assert np.array_equal(np.histogram(x, edges)[0], inside["live"].to_numpy())
    assert inside["live"].sum() == ROWS

    live = profile.window()
    theirs, ours = paired(lambda: np.histogram(x, edges), lambda: live.update(frame, threads=1))
    sums = statistics.median(seconds(x.sum) for _ in range(ROUNDS))
    benchmark.group = "window update"
    benchmark.extra_info.update(
        peer="numpy.histogram on the same uneven edges, one thread",
        ratio=round(theirs / ours, 2),
        nanoseconds_a_value=round(ours / ROWS * 1e9, 2),
        peer_nanoseconds_a_value=round(theirs / ROWS * 1e9, 2),
        times_the_sum=round(ours / sums, 2),
    )
    print(f"\n{shape} {benchmark.extra_info}")
    benchmark.pedantic(lambda: live.update(frame, threads=1), rounds=ROUNDS)
    # The bound that a noisy machine keeps; the table in benches/README.md says what a quiet one gives.
    assert theirs / ours >= (3.5 if shape == "normal" else 2.5)


def test_dictionary(benchmark):
    codes = np.random.default_rng(0).integers(0, 5, ROWS).astype(np.int32)
    words = ["first", "second", "third", "fourth", "fifth"]
    frame = pa.table({"s": pa.DictionaryArray.from_arrays(codes, words)})
    profile = Profile.fit(frame)
    live = profile.window()
    live.update(frame, threads=1)
    counted = profile.counts(live).filter(pl.col("bin") == "category").select("category", "live").rows()
    assert dict(counted) == dict(zip(words, np.bincount(codes).tolist(), strict=True))
    theirs, ours = paired(lambda: np.bincount(codes), lambda: live.update(frame, threads=1))
    benchmark.group = "window update"
    benchmark.extra_info.update(
        peer="numpy.bincount of the codes",
        ratio=round(theirs / ours, 2),
        nanoseconds_a_value=round(ours / ROWS * 1e9, 2),
    )
    print(f"\ndictionary {benchmark.extra_info}")
    benchmark.pedantic(lambda: live.update(frame, threads=1), rounds=ROUNDS)


def test_fit(benchmark):
    x = values("normal")
    frame = pl.DataFrame({"x": x})
    theirs, ours = paired(lambda: np.sort(x), lambda: Profile.fit(frame, threads=1))
    benchmark.group = "fit"
    benchmark.extra_info.update(
        peer="numpy.sort, of which exact quantiles are taken",
        ratio=round(theirs / ours, 2),
        nanoseconds_a_value=round(ours / ROWS * 1e9, 2),
    )
    print(f"\nfit {benchmark.extra_info}")
    benchmark.pedantic(lambda: Profile.fit(frame, threads=1), rounds=ROUNDS)


WIDE = """
import resource, sys
import numpy as np, pyarrow as pa
from headrace import Profile

COLUMNS, BATCH = 1000, 10_000
names = [f"x{index}" for index in range(COLUMNS)]
schema = pa.schema([(name, pa.float64()) for name in names])

def stream(rows):
    def batches():
        chance = np.random.default_rng(0)
        block = chance.normal(size=BATCH + COLUMNS)
        for start in range(0, rows, BATCH):
            shifted = block + start / rows
            yield pa.record_batch([shifted[index : index + BATCH] for index in range(COLUMNS)], schema=schema)
    return pa.RecordBatchReader.from_batches(schema, batches())

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

rows = int(sys.argv[1])
profile = Profile.fit(lambda: stream(20_000))
window = profile.window()
window.update(stream(rows))
assert window.rows == rows
profile = Profile.fit(lambda: stream(min(rows, 200_000)))
print(peak())
"""


def test_memory_does_not_depend_on_rows(benchmark):
    """1,000 columns, streamed: the peak of a process that counts 1,000,000 rows, beside one that counts 20,000."""

    def megabytes(rows: int) -> float:
        done = subprocess.run([sys.executable, "-c", WIDE, str(rows)], check=True, capture_output=True, text=True)
        return float(done.stdout)

    few = megabytes(20_000)
    many = benchmark.pedantic(megabytes, args=(ROWS,), rounds=1)
    benchmark.group = "memory"
    benchmark.extra_info.update(megabytes_20_000_rows=round(few), megabytes_1_000_000_rows=round(many))
    print(f"\n1,000 columns {benchmark.extra_info}; this process has {resource.getpagesize()}-byte pages")
    # A batch in hand is 80 MB; the samples that bins are chosen from are 128 KB a column once there are 16,384 values.
    assert many < few + 200
