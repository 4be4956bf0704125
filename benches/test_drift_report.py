"""A million rows of 20 numbers and 5 texts against a million others: a reference fitted, a window counted and compared.

Beside Evidently's DataDriftPreset over the same two frames, and whylogs' profile of one of them, each in its own
process from the same arrays. What they find is compared with ours before anything is timed. All times are the clock's:
ours the median of several runs on two threads, the peers' a single run, because Evidently's takes minutes. `ratio` is
the peer's time over ours. whylogs neither fits bins nor compares: beside its profile, `why.log(frame)` of a pandas
frame as its documentation has it, stand our window's count (what is done again and again), our fit, and all that we do.
Its processor seconds are told too, since it is one thread that waits for nothing: where they are far below the clock's,
others had the processor, and the ratio flatters us.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import headrace
from headrace import Profile
from peers import python_of

ROWS = 1_000_000
ROUNDS = 9
WORDS = ("north", "south", "east", "west", "centre")
# Asked for are 1000 and 500. Idle cores gave 1012 beside Evidently, and 556 and 300 beside whylogs; our fit is held at
# half of the latter. All that we do, of two frames, beside its profile of one, is held at half of the 180 that follow.
LEAST = {"evidently": 1000, "whylogs count": 500, "whylogs fit": 150, "whylogs whole": 90}

READ = """
import json, pathlib, sys, time
import numpy as np, pandas as pd
def frame(name):
    folder = pathlib.Path(sys.argv[1])
    numbers, codes = np.load(folder / f"{name}_numbers.npy"), np.load(folder / f"{name}_codes.npy")
    words = np.array(json.loads(sys.argv[2]), dtype=object)
    columns = {f"x{index:02}": numbers[index] for index in range(len(numbers))}
    return pd.DataFrame(columns | {f"s{index}": words[codes[index]] for index in range(len(codes))})
"""
EVIDENTLY = """
from evidently import Report
from evidently.presets import DataDriftPreset
reference, live = frame("reference"), frame("live")
began = time.perf_counter()
report = Report([DataDriftPreset()]).run(live, reference)
seconds = time.perf_counter() - began
found = [metric for metric in report.dict()["metrics"] if "column" in metric["config"]]
scores = {metric["config"]["column"]: [metric["config"]["method"], float(metric["value"])] for metric in found}
print(json.dumps([seconds, scores]))
"""
WHYLOGS = """
import whylogs as why
live = frame("live")
began, worked = time.perf_counter(), time.process_time()
view = why.log(live).view()
seconds, worked = time.perf_counter() - began, time.process_time() - worked
found = {}
for name, column in view.get_columns().items():
    told = column.to_summary_dict()
    items = {item.value: item.est for item in told["frequent_items/frequent_strings"]} if name[0] == "s" else None
    numbers = [told[key] for key in ("counts/n", "distribution/min", "distribution/max", "distribution/mean")]
    found[name] = items or numbers
print(json.dumps([seconds, found, worked]))
"""


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    """The folder in which the peers find the same numbers; the reference, the live frame."""
    folder = tmp_path_factory.mktemp("million")
    chance = np.random.default_rng(0)
    made = []
    for name, shift in (("reference", 0.0), ("live", 0.2)):
        numbers = chance.normal(size=(20, ROWS))
        numbers[3] += 2 * shift
        codes = chance.integers(0, len(WORDS), size=(5, ROWS))
        codes[1, : int(shift * ROWS)] = 0
        np.save(folder / f"{name}_numbers.npy", numbers)
        np.save(folder / f"{name}_codes.npy", codes)
        columns = {f"x{index:02}": numbers[index] for index in range(20)}
        texts = {f"s{index}": np.array(WORDS)[codes[index]] for index in range(5)}
        made.append(pl.DataFrame(columns | texts))
    return folder, *made


def peer(name: str, script: str, folder: Path) -> tuple[Any, ...]:
    python = python_of(name)
    if not python.exists():
        pytest.skip(f"{name} is not installed: python benches/peers.py {name}")
    command = [python, "-W", "ignore", "-c", READ + script, str(folder), json.dumps(WORDS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return tuple(json.loads(done.stdout.splitlines()[-1]))


def seconds(work) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def counted(profile: Profile, live: pl.DataFrame) -> headrace.Window:
    window = profile.window()
    window.update(live, threads=2)
    return window


def test_beside_evidently(benchmark, frames):
    folder, reference, live = frames

    def whole():
        profile = Profile.fit(reference, threads=2)
        return headrace.compare(profile, counted(profile, live))

    report = whole()
    theirs, scores = peer("evidently", EVIDENTLY, folder)
    assert {column.name for column in report.columns} == scores.keys()
    for column in report.columns:
        method, score = scores[column.name]
        if column.kind == "ordered":
            assert method == "Wasserstein distance (normed)"
            ours = column.statistics["wasserstein_std"]
        else:
            assert method == "Jensen-Shannon distance"
            ours = column.statistics["jensen_shannon"]
        # Evidently's base is e, ours 2.
        scale = 1.0 if column.kind == "ordered" else np.sqrt(np.log(2))
        assert ours.statistic * scale == pytest.approx(score, abs=ours.bound + 1e-6)
    assert set(report.drifted) == {"x03", "s1"}

    taken = statistics.median(seconds(whole) for _ in range(ROUNDS))
    benchmark.extra_info.update(
        peer="Evidently DataDriftPreset",
        ratio=round(theirs / taken),
        milliseconds=round(taken * 1e3),
        peer_seconds=round(theirs, 1),
    )
    print(f"\nfit, count and compare {benchmark.extra_info}")
    benchmark.pedantic(whole, rounds=3)
    assert theirs / taken > LEAST["evidently"]


def test_beside_whylogs(benchmark, frames):
    folder, reference, live = frames
    theirs, found, worked = peer("whylogs", WHYLOGS, folder)
    profile = Profile.fit(live, threads=2)
    for name, told in found.items():
        if name.startswith("s"):
            counts = profile.counts(counted(profile, live)).filter(
                pl.col("column") == name, pl.col("bin") == "category"
            )
            assert dict(zip(counts["category"], counts["live"], strict=True)) == told
        else:
            n, least, most, mean = told
            assert (n, least, most) == (ROWS, live[name].min(), live[name].max())
            assert mean == pytest.approx(live[name].mean(), abs=1e-9)
    count = statistics.median(seconds(lambda: counted(profile, live)) for _ in range(ROUNDS))
    fit = statistics.median(seconds(lambda: Profile.fit(live, threads=2)) for _ in range(ROUNDS))

    def everything():
        fitted = Profile.fit(reference, threads=2)
        return headrace.compare(fitted, counted(fitted, live))

    whole = statistics.median(seconds(everything) for _ in range(ROUNDS))
    benchmark.extra_info.update(
        peer="why.log of a pandas frame",
        ratio_count=round(theirs / count),
        ratio_fit=round(theirs / fit),
        ratio_whole=round(theirs / whole),
        count_milliseconds=round(count * 1e3),
        fit_milliseconds=round(fit * 1e3),
        whole_milliseconds=round(whole * 1e3),
        peer_seconds=round(theirs, 1),
        peer_processor_seconds=round(worked, 1),
    )
    print(f"\none profile {benchmark.extra_info}")
    benchmark.pedantic(counted, args=(profile, live), rounds=ROUNDS)
    assert theirs / count > LEAST["whylogs count"]
    assert theirs / fit > LEAST["whylogs fit"]
    assert theirs / whole > LEAST["whylogs whole"]
