"""How long a prediction takes, here and now."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    import polars as pl

WARM_UP = 5
FEWEST = 20
SECONDS = 2.0


def measure(
    predict: Callable[[pl.DataFrame], object], frame: pl.DataFrame, *, batch: int, check: Callable[[], None]
) -> dict[str, float]:
    """Milliseconds of a call for one row and for `batch` rows: `row_p50_ms`, `row_p99_ms`, `batch_p50_ms`, ...

    Through the `Predictor` in this process, feature plan included, one call at a time, after warming up. Quantiles of
    200 calls of one row (each another row) and of 30 calls of a batch; of fewer, but at least 20, where the calls of a
    kind would take more than two seconds together.
    """
    found: dict[str, float] = {}
    for name, rows, calls in (("row", 1, 200), ("batch", batch, 30)):
        pieces = [frame.slice((at * rows) % max(1, frame.height - rows + 1), rows) for at in range(calls)]
        for piece in pieces[:WARM_UP]:
            predict(piece)
        times = []
        for piece in pieces:
            check()
            started = time.perf_counter()
            predict(piece)
            times.append(1000 * (time.perf_counter() - started))
            if len(times) >= FEWEST and sum(times) > 1000 * SECONDS:
                break
        for quantile in (50, 99):
            found[f"{name}_p{quantile}_ms"] = float(np.quantile(times, quantile / 100))
    return found
