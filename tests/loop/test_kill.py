"""kill -9 at fifty random moments of the whole loop: the same registry history, one champion, no promotion twice."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from headrace.errors import StoreError
from headrace.registry import Registry
from headrace.store import Store

DRIVE = """
import json, os, sys, traceback
sys.path.insert(0, sys.argv[1])
from pathlib import Path
import loop_bench
from headrace.builtins.trigger.performance import PerformanceTrigger
from loop_bench import Tide
from loop_project import rows

packages = {
    flip: {
        "files": {path.name: path.read_bytes() for path in (Path(sys.argv[2]) / str(flip)).iterdir()},
        **json.loads((Path(sys.argv[2]) / f"{flip}.json").read_text()),
    }
    for flip in (False, True)
}


def live(root):
    tide = Tide(Path(root), packages)
    tide.triggers = {"performance": PerformanceTrigger(PerformanceTrigger.Config())}
    for more in (rows(1, range(10), 20), rows(2, range(10, 26), 20, flip=True), rows(3, range(26, 32), 20)):
        tide.source.add(more)
    # A process that comes back goes on at the day of the last entry, as a clock would.
    log = tide.log()
    for day in (0.0, 10.0, 26.0, 31.0, 32.0):
        if not log or day >= (log[-1].at - loop_bench.START.timestamp()) / 86_400:
            tide.at(day)
            tide.once()


# What takes long, the imports, is done once; each life is a process of its own all the same.
for root in map(str.strip, sys.stdin):
    child = os.fork()
    if not child:
        try:
            live(root)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory, packages: dict[bool, dict[str, Any]]) -> Path:
    """The packages as files, for processes of their own."""
    import json

    folder = tmp_path_factory.mktemp("stored")
    for flip, package in packages.items():
        (folder / str(flip)).mkdir()
        for name, content in package["files"].items():
            (folder / str(flip) / name).write_bytes(content)
        about = {"about": package["about"], "digest": package["digest"]}
        (folder / f"{flip}.json").write_text(json.dumps(about))
    return folder


class Nursery:
    """Starts lives of the loop, and kills them."""

    def __init__(self, stored: Path) -> None:
        words = [sys.executable, "-c", DRIVE, str(Path(__file__).parents[1]), str(stored)]
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def live(self, root: Path, seconds: float | None = None) -> int:
        """One life; killed after so many seconds. Returns how it ended: -9 where it was killed."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{root}\n")
        self.process.stdin.flush()
        child = int(self.process.stdout.readline())
        timer = threading.Timer(seconds, os.kill, (child, signal.SIGKILL)) if seconds is not None else None
        if timer is not None:
            timer.start()
        ended = int(self.process.stdout.readline())
        if timer is not None:
            timer.cancel()
        return ended


@pytest.fixture
def nursery(stored: Path) -> Iterator[Nursery]:
    found = Nursery(stored)
    yield found
    found.process.kill()
    found.process.communicate()


@contextmanager
def watching(root: Path, seen: list[int | None]) -> Iterator[None]:
    """Somebody who asks all the time which version is champion, as a server does."""
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.01):
            try:
                with Store.open(root, create=False, read_only=True) as store:
                    found = Registry(store, who="").aliased("tide", "champion")
            except StoreError:
                # What a killed process had begun to write is undone by the next one that writes; a server goes on
                # with what it serves until then.
                continue
            if not seen or seen[-1] != found:
                seen.append(found)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def history(root: Path) -> list[Any]:
    with Store.open(root) as store:
        registry = Registry(store, who="test")
        moves = [(m.previous, m.version, m.why) for m in reversed(registry.history("tide", "champion"))]
        log = [(e.kind, e.at, e.body) for e in store.loops.entries("tide")]
        return [moves, log, registry.aliased("tide", "champion")]


@pytest.mark.slow
@pytest.mark.chaos
@pytest.mark.timeout(900)
def test_the_whole_loop_through_kill_9_at_50_random_moments_ends_in_the_same_registry_history(
    tmp_path: Path, nursery: Nursery
) -> None:
    whole = tmp_path / "whole"
    assert nursery.live(whole) == 0
    expected = history(whole)
    assert [move[:2] for move in expected[0]] == [(None, 1), (1, 2), (2, 1)]
    began = time.monotonic()
    assert nursery.live(tmp_path / "again") == 0
    took = time.monotonic() - began
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    killed, number = 0, 0
    while killed < 50:
        number += 1
        root = tmp_path / f"killed-{number}"
        Store.open(root).close()
        seen: list[int | None] = []
        with watching(root, seen):
            for _ in range(8):
                ended = nursery.live(root, chance.uniform(0.0, 0.5) * took)
                assert ended in (0, -9)
                killed += ended == -9
            assert nursery.live(root) == 0
        assert history(root) == expected
        # Who looks sees each champion at most as often as there was one, and never none once there was one.
        moves = iter([None, 1, 2, 1])
        assert all(found in moves for found in seen), seen
        with Store.open(root) as store:
            assert store.fsck().ok
            assert store.loops.verify("tide").problems == ()
