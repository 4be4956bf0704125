"""The loop on a real project: files, pipeline, gate and registry; killed for real; two at once; the command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headrace import Project
from headrace.cli.main import cli
from loop_project import START, World, rows

DRIVE = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from headrace.loop.clock import SimulatedClock
from loop_project import *

world = World.__new__(World)
world.folder, world.clock = Path(sys.argv[2]), SimulatedClock(0.0)
for day in map(float, sys.argv[3:]):
    world.at(day)
    world.once()
"""
DAYS = ("0", "10", "26", "31", "32")
POLICY = {"loop": "", "triggers": "[loop.triggers.performance]"}


def turned_over(folder: Path) -> World:
    """A world that turns over on day 10 and back on day 26; the window is short."""
    world = World(folder, **POLICY)
    path = folder / "headrace.toml"
    path.write_text(path.read_text().replace('length = "60d"', 'length = "15d"'))
    world.deliver(rows(1, range(10), 40), "a")
    world.deliver(rows(2, range(10, 26), 40, flip=True), "b")
    world.deliver(rows(3, range(26, 33), 40), "c")
    return world


def outcome(world: World) -> tuple[Any, ...]:
    log = [(e.kind, e.at, {k: v for k, v in e.body.items() if k != "run"}) for e in world.log()]
    return log, world.champions()


def drive(world: World, *days: str) -> subprocess.Popen[bytes]:
    tests = Path(__file__).parents[1]
    return subprocess.Popen([sys.executable, "-c", DRIVE, str(tests), str(world.folder), *days])


@pytest.mark.slow
@pytest.mark.chaos
def test_killed_for_real_at_random_moments_it_ends_in_the_same_history(tmp_path: Path) -> None:
    whole = turned_over(tmp_path / "whole")
    began = time.monotonic()
    assert drive(whole, *DAYS).wait() == 0
    took = time.monotonic() - began
    assert whole.champions() == [(None, 1), (1, 2), (2, 1)]
    killed = turned_over(tmp_path / "killed")
    chance = np.random.default_rng(5)
    for day in DAYS:
        for _ in range(2):
            with drive(killed, day) as child:
                try:
                    child.wait(timeout=float(chance.uniform(0.2, 0.4) * took))
                except subprocess.TimeoutExpired:
                    os.kill(child.pid, signal.SIGKILL)
        assert drive(killed, day).wait() == 0
    assert outcome(killed) == outcome(whole)
    with Project(killed.folder) as project:
        assert project.store.fsck().ok
        assert project.store.loops.verify("tide").problems == ()


def test_labels_of_days_later_start_a_run_and_the_record_says_why(tmp_path: Path) -> None:
    world = World(tmp_path, triggers="[loop.triggers.new_data]\nrows = 200\n")
    assert "promoted" in world.once()
    world.deliver(rows(1, range(5), 60), "a", days_late=10)
    world.at(6)
    assert world.once() == []
    world.at(16)
    assert world.once()[:2] == ["decided", "trained"]
    decided = [entry.body for entry in world.log() if entry.kind == "decided"][-1]
    assert decided["data"]["labelled"] == 300
    assert decided["reasons"][0]["why"] == "300 labelled rows came in"
    world.deliver(rows(1, range(5), 60), "b", days_late=10)  # both files once more
    world.at(30)
    assert world.once() == []
    with Project(world.folder) as project:
        runs = project.runs()
        assert [run.trigger for run in runs] == ["loop 2: new_data", "loop 1: first"]


def command(world: World, *words: str) -> int:
    return cli.main([*words, "--project", str(world.folder)], standalone_mode=False) or 0


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    world = World(tmp_path, loop='promote = "wait"', triggers="")
    assert command(world, "status") == 0
    assert "has not begun" in capsys.readouterr().out
    assert command(world, "loop", "pause", "--reason", "not yet") == 0
    assert command(world, "loop", "--once") == 0
    assert command(world, "status", "--json") == 0
    said = capsys.readouterr().out
    status = json.loads(said[said.index("{") :])
    assert (status["paused"], status["champion"], status["budget_left"]) == ("not yet", None, 3)
    assert command(world, "loop", "resume") == 0
    assert command(world, "loop", "--once", "--json") == 0
    said = capsys.readouterr().out
    done = json.loads(said[said.index("{") :])
    assert done["worked"] is True
    # The base ends before the machine's clock begins, so a sliding window has no rows at all.
    assert done["entries"][-1]["kind"] == "held"
    (tmp_path / "headrace.toml").write_text(
        (tmp_path / "headrace.toml").read_text().replace('window = "sliding"\nlength = "60d"', "")
    )
    assert command(world, "loop", "trigger", "--reason", "go") == 0
    assert command(world, "loop", "--once") == 0
    assert "waits for somebody to approve" in capsys.readouterr().out
    assert command(world, "models", "approve", "tide@2") == 2
    assert command(world, "models", "approve", "tide@1", "--reason", "fine") == 0
    assert command(world, "loop", "--once") == 0
    capsys.readouterr()
    assert command(world, "loop", "--once") == 0
    assert capsys.readouterr().out == "nothing to do\n"
    assert command(world, "audit", "verify") == 0
    assert command(world, "timeline") == 0
    shown = capsys.readouterr().out
    assert "all as they were written" in shown
    for word in ("paused", "resumed", "requested", "decided", "trained", "approved", "promoted"):
        assert word in shown
    with Project(world.folder) as project, project.store.database.write() as connection:
        connection.core.exec_driver_sql("DROP TRIGGER loop_log_no_update")
        connection.core.exec_driver_sql("UPDATE loop_log SET who = 'nobody' WHERE kind = 'approved'")
    assert command(world, "audit", "verify") == 5
    assert "tampered" in capsys.readouterr().err


@pytest.mark.e2e
def test_two_loops_and_sigterm(tmp_path: Path) -> None:
    """The first works, the second waits and takes over when the first is killed; SIGTERM ends it with 0."""
    world = World(tmp_path, triggers="", loop='every = "1s"')
    path = tmp_path / "headrace.toml"
    path.write_text(path.read_text().replace('window = "sliding"\nlength = "60d"', ""))
    words = [sys.executable, "-m", "headrace.cli.main", "loop", "--project", str(tmp_path)]
    first = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert first.stdout is not None
    assert "began" in first.stdout.readline()
    second = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    once = subprocess.run([*words, "--once"], capture_output=True, text=True, check=False)
    assert (once.returncode, once.stdout) == (0, "")
    assert "another process is the loop" in once.stderr
    while "ended" not in first.stdout.readline():
        pass
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    assert world.champions() == [(None, 1)]
    subprocess.run([*words[:3], "loop", "trigger", *words[4:]], check=True, capture_output=True)
    assert second.stdout is not None
    assert "requested" not in second.stdout.readline()
    second.send_signal(signal.SIGTERM)
    second.communicate(timeout=60)
    assert second.returncode == 0
    assert world.kinds().count("begun") == 1
    with Project(tmp_path) as project:
        assert project.store.loops.working("tide") is None


def test_one_look_with_nothing_to_do_is_short(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.once()
    world.deliver(rows(1, range(5), 40), "a")
    world.at(5)
    assert world.once() == []
    began = time.monotonic()
    assert world.once() == []
    assert time.monotonic() - began < 2
    assert world.clock.now() == START.timestamp() + 5 * 86_400
