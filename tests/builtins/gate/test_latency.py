from __future__ import annotations

import polars as pl
import pytest

from headrace.builtins.gate import latency


@pytest.fixture
def clock(monkeypatch):
    """A clock that goes on by what `predict` costs, and nothing else."""
    now = [0.0]
    monkeypatch.setattr(latency.time, "perf_counter", lambda: now[0])
    return now


def test_quantiles_of_calls_of_one_row_and_of_a_batch(clock):
    sizes = []

    def predict(frame: pl.DataFrame) -> None:
        sizes.append(frame.height)
        clock[0] += 0.001 * frame.height

    found = latency.measure(predict, pl.DataFrame({"a": range(100)}), batch=10, check=lambda: None)
    assert found == pytest.approx({"row_p50_ms": 1, "row_p99_ms": 1, "batch_p50_ms": 10, "batch_p99_ms": 10})
    assert sizes.count(1) == 200 + latency.WARM_UP
    assert sizes.count(10) == 30 + latency.WARM_UP


def test_slow_calls_are_fewer_but_never_very_few(clock):
    sizes = []

    def predict(frame: pl.DataFrame) -> None:
        sizes.append(frame.height)
        clock[0] += 0.05 * frame.height

    latency.measure(predict, pl.DataFrame({"a": range(100)}), batch=10, check=lambda: None)
    assert sizes.count(1) == 2.0 / 0.05 + 1 + latency.WARM_UP
    assert sizes.count(10) == latency.FEWEST + latency.WARM_UP
