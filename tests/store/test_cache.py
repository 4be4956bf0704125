"""The cache, and one execution at a time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from headrace.errors import ArtifactError, CancelledError
from headrace.store import Store
from headrace.types import Params, StageRecord

KEY, OTHER = "a" * 64, "b" * 64


def test_lookup_forget(store: Store, record: Callable[..., StageRecord]) -> None:
    handle = store.runs.create("p", "manual", {})
    first, second = (store.artifacts.save(Params({"n": n})) for n in range(2))
    assert store.cache.lookup(KEY) is None
    store.runs.commit_stage(handle, record("a", {}, {"x": first, "y": second}), cache_key=KEY)
    store.runs.commit_stage(handle, record("b"), cache_key=OTHER)
    assert store.cache.lookup(KEY) == {"x": first, "y": second}
    assert store.cache.lookup(OTHER) == {}
    store.runs.commit_stage(handle, record("c", {}, {"z": second}), cache_key=KEY)
    assert store.cache.lookup(KEY) == {"z": second}
    store.cache.forget(KEY)
    assert store.cache.lookup(KEY) is None
    assert store.cache.lookup(OTHER) == {}
    assert store.artifacts.verify(first.digest)


@pytest.mark.parametrize("key", ["", "../x", "A" * 64, "a" * 63])
def test_keys_are_digests(store: Store, key: str, record: Callable[..., StageRecord]) -> None:
    handle = store.runs.create("p", "manual", {})
    for call in (
        store.cache.lookup,
        store.cache.forget,
        lambda k: store.cache.claim(k).__enter__(),
        lambda k: store.runs.commit_stage(handle, record("a"), cache_key=k),
    ):
        with pytest.raises(ArtifactError, match="not a digest"):
            call(key)
    assert not [path for path in (store.root / "locks").iterdir() if "claim" in path.name]


def test_claims_exclude_each_other_among_threads(store: Store) -> None:
    inside: list[int] = []
    most: list[int] = []

    def work() -> None:
        for _ in range(5):
            with store.cache.claim(KEY):
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 1
    assert len(most) == 30
    assert not [path for path in (store.root / "locks").iterdir() if "claim" in path.name]


def test_other_keys_are_free(store: Store) -> None:
    with store.cache.claim(KEY), store.cache.claim(OTHER):
        pass


HOLD = """
import sys
from pathlib import Path
from headrace.store import Store
with Store.open(Path(sys.argv[1])) as store, store.cache.claim("a" * 64):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_claim_waits_for_another_process_until_told_to_stop_or_it_dies(root: Path) -> None:
    with (
        Store.open(root) as store,
        subprocess.Popen(
            [sys.executable, "-c", HOLD, root], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process,
    ):
        assert process.stdout.readline() == "held\n"
        checks = 0

        def stop() -> None:
            nonlocal checks
            checks += 1
            if checks == 3:
                raise CancelledError("stopped")

        with pytest.raises(CancelledError), store.cache.claim(KEY, check=stop):
            pytest.fail("two hold the claim")
        assert checks == 3

        def kill() -> None:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()

        entered = False
        with store.cache.claim(KEY, check=kill):
            entered = True
        assert entered


def test_claim_is_released_by_an_exception(store: Store) -> None:
    with pytest.raises(ZeroDivisionError), store.cache.claim(KEY):
        raise ZeroDivisionError
    with store.cache.claim(KEY):
        pass
