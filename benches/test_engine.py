"""The engine: whole processes, from start to exit, beside the peers on the same chain of no-op steps.

Each figure is a ratio of medians over runs taken in turn (ours, theirs, ours, theirs, ...), so that the machine's mood
falls on both. `python benches/peers.py` installs the peers; one that is absent is skipped.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

HERE = Path(__file__).parent
STEPS = 6
LIMITS = {"kedro": 1.3, "metaflow": 1.0, "dagster": 1.0, "prefect": 1.0}
ROUNDS = {"kedro": 15, "metaflow": 5, "dagster": 5, "prefect": 3}


def timed(command: list[str | Path]) -> tuple[float, str]:
    began = time.perf_counter()
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return time.perf_counter() - began, done.stdout


def answer(out: str) -> int:
    """The last line that is a number: Kedro and Dagster talk on standard output as well."""
    return int(next(line for line in reversed(out.splitlines()) if line.strip().isdigit()))


def ours(folder: Path, steps: int = STEPS) -> list[str | Path]:
    return [sys.executable, HERE / "engine" / "chain_headrace.py", str(steps), folder]


def theirs(peer: str, steps: int = STEPS) -> list[str | Path]:
    python = HERE.parent / ".peers" / peer / "bin" / "python"
    if not python.exists():
        pytest.skip(f"{peer} is not installed: python benches/peers.py {peer}")
    return [python, HERE / "engine" / f"chain_{peer}.py", str(steps)]


@pytest.mark.benchmark(group="engine: six no-op steps, first run")
@pytest.mark.parametrize("peer", LIMITS)
def test_first_run(benchmark: Callable[..., object], tmp_path: Path, peer: str) -> None:
    command = theirs(peer)
    _, out = timed(command)  # a warm-up, and the answer
    assert answer(out) == STEPS
    mine: list[float] = []
    others: list[float] = []

    def pair() -> None:
        folder = tmp_path / f"run{len(mine)}"
        folder.mkdir()
        seconds, out = timed(ours(folder))
        assert answer(out) == STEPS
        mine.append(seconds)
        others.append(timed(command)[0])

    benchmark.pedantic(pair, rounds=ROUNDS[peer], warmup_rounds=1)
    report(benchmark, mine[1:], others[1:])
    assert benchmark.extra_info["ratio"] <= LIMITS[peer]


@pytest.mark.benchmark(group="engine: six no-op steps, second run, nothing to do")
@pytest.mark.parametrize("peer", LIMITS)
def test_second_run(benchmark: Callable[..., object], tmp_path: Path, peer: str) -> None:
    """Ours is answered from the cache; the peers, which keep nothing here, run again."""
    command = theirs(peer)
    timed(ours(tmp_path))
    mine: list[float] = []
    others: list[float] = []

    def pair() -> None:
        mine.append(timed(ours(tmp_path))[0])
        others.append(timed(command)[0])

    benchmark.pedantic(pair, rounds=ROUNDS[peer], warmup_rounds=1)
    report(benchmark, mine[1:], others[1:])
    assert benchmark.extra_info["ratio"] <= LIMITS[peer]


@pytest.mark.benchmark(group="engine: overhead of a stage")
@pytest.mark.parametrize("cached", [False, True], ids=["executed", "cached"])
def test_overhead_of_a_stage(benchmark: Callable[..., object], tmp_path: Path, cached: bool) -> None:
    """(t(46) - t(6)) / 40, commit to the store included. Budget: 5 ms."""
    few: list[float] = []
    many: list[float] = []
    for steps in (6, 46):
        (tmp_path / f"kept{steps}").mkdir()
        timed(ours(tmp_path / f"kept{steps}", steps))

    def pair() -> None:
        for steps, seconds in ((6, few), (46, many)):
            folder = tmp_path / f"kept{steps}"
            if not cached:
                shutil.rmtree(folder)
                folder.mkdir()
            seconds.append(timed(ours(folder, steps))[0])

    benchmark.pedantic(pair, rounds=9, warmup_rounds=1)
    per_stage = (statistics.median(many) - statistics.median(few)) / 40
    benchmark.extra_info["milliseconds_a_stage"] = round(per_stage * 1000, 2)
    assert per_stage <= 0.005


@pytest.mark.benchmark(group="engine: cold start")
@pytest.mark.parametrize("what", ["import headrace", "headrace --help"])
def test_cold_start(benchmark: Callable[..., object], what: str) -> None:
    """Against `python -c pass`. Budgets: import <= 60 ms on top; --help <= 2.5 x + 60 ms."""
    command: list[str | Path] = (
        [sys.executable, "-c", what]
        if what.startswith("import")
        else [Path(sys.executable).parent / "headrace", "--help"]
    )
    mine: list[float] = []
    bare: list[float] = []

    def pair() -> None:
        mine.append(timed(command)[0])
        bare.append(timed([sys.executable, "-c", "pass"])[0])

    benchmark.pedantic(pair, rounds=15, warmup_rounds=1)
    report(benchmark, mine, bare)
    a, b = statistics.median(mine), statistics.median(bare)
    assert a <= (b + 0.060 if what.startswith("import") else 2.5 * b + 0.060)


def report(benchmark, mine: list[float], others: list[float]) -> None:
    a, b = statistics.median(mine), statistics.median(others)
    benchmark.extra_info |= {"ours_s": round(a, 3), "theirs_s": round(b, 3), "ratio": round(a / b, 3)}
