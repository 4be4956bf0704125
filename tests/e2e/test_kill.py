"""kill -9 at fifty random moments: the next run ends where an undisturbed one does, and nothing dangles."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from headrace import Project

STEPS = (Path(__file__).parents[2] / "benches" / "engine" / "project" / "steps.py").read_text()
RUN = """
import sys
import headrace
with headrace.Project(sys.argv[1]) as project:
    print(project.run().raise_on_failure()["last"].value)
"""
SPEC = (
    '[project]\nname = "killed"\n[first]\nkind = "step"\nuse = "steps:Start"\n'
    + "".join(f'[s{i}]\nkind = "step"\nuse = "steps:Step"\nretries = 0\n' for i in range(8))
    + '[aside]\nkind = "step"\nuse = "steps:Step"\ninputs = { number = "first" }\nisolation = "process"\n'
    + '[last]\nkind = "step"\nuse = "steps:Step"\ninputs = { number = "s7" }\n'
)


def make(folder: Path) -> Path:
    folder.mkdir()
    (folder / "steps.py").write_text(STEPS)
    (folder / "headrace.toml").write_text(SPEC)
    return folder


def outputs(folder: Path) -> dict[str, list[str]]:
    with Project(folder) as project:
        return {r.stage.name: [ref.digest for ref in r.outputs.values()] for r in project.runs(1)[0].stages}


@pytest.mark.chaos
def test_fifty_random_moments(tmp_path: Path) -> None:
    undisturbed = make(tmp_path / "undisturbed")
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", RUN, undisturbed], check=True, capture_output=True)
    usual = time.perf_counter() - began
    expected = outputs(undisturbed)

    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    moments = random.Random(seed)
    folder = make(tmp_path / "killed")
    killed = 0
    for attempt in range(50):
        if attempt % 5 == 0 and attempt:  # a fresh store now and then, or everything is soon cached
            folder = make(tmp_path / f"killed{attempt}")
        process = subprocess.Popen(
            [sys.executable, "-c", RUN, folder], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            process.wait(moments.uniform(0.0, usual))
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            killed += 1
        if attempt % 5 == 4:
            done = subprocess.run([sys.executable, "-c", RUN, folder], check=True, capture_output=True, text=True)
            assert done.stdout.strip() == "10"
            assert outputs(folder) == expected
            with Project(folder) as project:
                report = project.store.fsck()
                assert report.ok, report
                assert all(info.status != "running" for info in project.runs(100))
    assert killed >= 20, "the moments were too late to test anything"
