"""Change detectors beside river's: the same detections first, then the time for each value.

River is fed as its documentation does: a Python loop over a list of floats (the fastest it takes) that calls `update`
and looks at `drift_detected`. `ratio` in `extra_info` is its time over ours, the median of pairs taken in turn. CUSUM
has no peer in river. The second bench prints how the detectors do on SEA and Friedman streams: see `drifting_streams`.
"""

from __future__ import annotations

import statistics
import time

import numpy as np
import pytest

from drifting_streams import STREAMS, detectors, score
from headrace import drift

PAIRS = 7


def levels(rows: int) -> np.ndarray:
    """Normal values whose mean moves by one, twice."""
    moved = (np.arange(rows) >= rows // 3) & (np.arange(rows) < 2 * rows // 3)
    return np.random.default_rng(0).normal(size=rows) + moved


def rates(rows: int) -> np.ndarray:
    return (np.random.default_rng(0).random(rows) < np.where(np.arange(rows) < rows // 2, 0.1, 0.2)).astype(np.float64)


def fed(detector, values: list[float]) -> list[int]:
    found = []
    update = detector.update
    for position, value in enumerate(values):
        update(value)
        if detector.drift_detected:
            found.append(position)
    return found


def seconds(work):
    began = time.perf_counter()
    result = work()
    return time.perf_counter() - began, result


def peers():
    river = pytest.importorskip("river.drift", reason="river is not installed: pip install --group bench")
    return {
        "ADWIN": river.ADWIN,
        "PageHinkley": river.PageHinkley,
        "DDM": river.binary.DDM,
        "KSWIN": lambda: river.KSWIN(seed=1),
    }


@pytest.mark.parametrize(
    ("name", "ours", "theirs", "values", "least"),
    [
        ("ADWIN", lambda: drift.ADWIN(semantics="river"), "ADWIN", levels(200_000), 10),
        ("PageHinkley", lambda: drift.PageHinkley(semantics="river"), "PageHinkley", levels(200_000), 10),
        ("DDM", lambda: drift.DDM(semantics="river"), "DDM", rates(200_000), 5),
        ("KSWIN", lambda: drift.KSWIN(semantics="river", seed=1), "KSWIN", levels(1500), 20),
        ("CUSUM", drift.CUSUM, None, levels(200_000), None),
        ("ADWIN, paper, every value", drift.ADWIN, None, levels(200_000), None),
        ("ADWIN, paper, clock 32", lambda: drift.ADWIN(clock=32), None, levels(200_000), None),
        ("PageHinkley, paper", drift.PageHinkley, None, levels(200_000), None),
        ("KSWIN, paper", drift.KSWIN, None, levels(20_000), None),
    ],
    ids=lambda case: case if isinstance(case, str) else "",
)
def test_detector(benchmark, name, ours, theirs, values, least):  # noqa: PLR0917
    peer = None if theirs is None else peers()[theirs]
    pairs = []
    for _ in range(PAIRS):
        mine, found = seconds(lambda: ours().update(values))
        other = None
        if peer is not None:
            other, expected = seconds(lambda: fed(peer(), values.tolist()))
            assert found.tolist() == expected
        pairs.append((mine, other))
    benchmark.group = "detect"
    nanoseconds = statistics.median(mine for mine, _ in pairs) / len(values) * 1e9
    benchmark.extra_info.update(nanoseconds_a_value=round(nanoseconds, 1))
    if theirs is not None:
        ratio = statistics.median(other / mine for mine, other in pairs)
        benchmark.extra_info.update(peer="river", ratio=round(ratio, 1))
    print(f"\n{name} {benchmark.extra_info}")
    benchmark.pedantic(lambda: ours().update(values), rounds=3)
    if least is not None:
        assert ratio > least


def test_delays(benchmark):
    """The table of delays. No time is measured: the bench is here so that the table is printed with the others."""
    rows = []
    for stream in STREAMS:
        for name, (make, binary) in detectors().items():
            found = score(make, stream, trials=100, stable_rows=200_000, binary=binary)
            shares = f"{found.early:.0%} | {found.found:.0%}"
            rows.append(f"| {stream} | {name} | {found.arl0:,.0f} | {shares} | {found.delay:,.0f} |")
    print("\n| stream | detector | ARL0 | alarm before the change | found | delay |\n|---|---|---|---|---|---|")
    print("\n".join(rows))
    benchmark.extra_info["table"] = rows
    benchmark.pedantic(lambda: None, rounds=1)
