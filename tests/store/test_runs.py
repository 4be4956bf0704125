"""Runs: the record of what was done, and who may still write to it."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from headrace.errors import ArtifactError, FencedError, NotFoundError, StoreError
from headrace.store import RunHandle, Store, schema
from headrace.types import Params, StageRecord

Record = Callable[..., StageRecord]
KEY = "a" * 64


def begin(store: Store, project: str = "flights") -> RunHandle:
    return store.runs.create(
        project=project, trigger="manual", spec={"project": {"name": project}}, provenance={"git": "abc"}
    )


OWNER = """
import sys, time
from pathlib import Path
from headrace.store import Store
url = sys.argv[2] or None
store = Store.open(Path(sys.argv[1]), url=url)
handle = store.runs.create("flights", "manual", {})
print(handle.id, handle.epoch, flush=True)
for line in sys.stdin:
    if line.strip() == "commit":
        from headrace.errors import FencedError
        try:
            store.runs.heartbeat(handle)
        except FencedError as error:
            print("fenced", flush=True)
        else:
            print("fine", flush=True)
"""


@contextmanager
def owner(root: Path, url: str | None) -> Iterator[tuple[subprocess.Popen[str], RunHandle]]:
    """A process that has begun a run and waits."""
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, root, url or ""], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            run_id, epoch = process.stdout.readline().split()
            yield process, RunHandle(run_id, int(epoch))
        finally:
            process.kill()


def ask(process: subprocess.Popen[str]) -> str:
    process.stdin.write("commit\n")
    process.stdin.flush()
    return process.stdout.readline().strip()


def pretend_elsewhere(store: Store, run_id: str, *, lease_until: float) -> None:
    """As if another machine had begun the run."""
    here = schema.runs.c.id == run_id
    with store.database.write() as connection:
        connection.execute(schema.runs.update().where(here).values(host="elsewhere", lease_until=lease_until))


# --- the record ---------------------------------------------------------------------------------------------------


def test_a_run_comes_back_as_it_was_recorded(open_store: Callable[..., Store], record: Record) -> None:
    with open_store() as store:
        handle = begin(store)
        data = store.artifacts.save(Params({"n": 1}))
        model = store.artifacts.save(Params({"n": 2}))
        first = record("ingest", {}, {"data": data})
        numbers = {"auc": 0.9, "nan": math.nan, "inf": math.inf, "auc@1": 0.1 + 0.2}
        second = record(
            "train",
            {"z": data, "a": data},
            {"model": model, "copy": model},
            metrics=numbers,
            key=KEY,
            why="the source changed",
            attempts=3,
            fingerprint={"seed": 0, "config": {"x": [1.5, None]}},
        )
        third = record("gate", outcome="failed", error="it broke\nbadly")
        for stage in (first, second, third):
            store.runs.commit_stage(handle, stage, cache_key=None)
        assert store.runs.get(handle.id).status == "running"
        store.runs.finish(handle, "failed")
    info = open_store().runs.get(handle.id)
    assert (info.id, info.project, info.status, info.trigger) == (handle.id, "flights", "failed", "manual")
    assert info.provenance == {"git": "abc"}
    assert info.started <= info.ended
    assert info.stages[0] == first
    assert info.stages[2] == third
    read = info.stages[1]
    assert math.isnan(read.metrics["nan"])
    assert list(read.metrics) == list(numbers)
    assert list(read.inputs) == ["z", "a"]
    assert {**read.metrics, "nan": 0} == {**numbers, "nan": 0}
    assert {**vars(read), "metrics": 0} == {**vars(second), "metrics": 0}


def test_spec_is_kept(store: Store) -> None:
    handle = begin(store)
    assert store.runs.spec(handle.id) == {"project": {"name": "flights"}}
    with pytest.raises(NotFoundError):
        store.runs.spec("nothing")


def test_odd_text_is_kept_as_far_as_databases_can(store: Store, record: Record) -> None:
    handle = store.runs.create("p\x00\ud800", "manual", {"\x00": "\ud800", "when": math.inf})
    store.runs.commit_stage(handle, record("s", error="\x00\ud800 é \U0001f600", why="\x00"), cache_key=None)
    store.runs.append_log(handle, "s", ["\x00\ud800 é\nx", ""])
    info = store.runs.get(handle.id)
    assert info.stages[0].error is not None
    assert info.stages[0].error.endswith(" é \U0001f600")
    assert store.runs.spec(handle.id) == {"\x00": "\ud800", "when": math.inf}
    assert [line.line for line in store.runs.read_log(handle.id)] == ["\x00\ud800 é\nx", ""]


def test_list_and_latest(store: Store) -> None:
    assert store.runs.list() == []
    with pytest.raises(NotFoundError, match="no run yet"):
        store.runs.get("latest")
    handles = [begin(store, project) for project in ("a", "b", "a", "b", "a")]
    assert [info.id for info in store.runs.list()] == [handle.id for handle in reversed(handles)]
    assert [info.id for info in store.runs.list(limit=2)] == [handles[4].id, handles[3].id]
    assert [info.id for info in store.runs.list(project="b")] == [handles[3].id, handles[1].id]
    assert store.runs.get("latest").id == handles[4].id
    assert store.runs.get("latest", project="b").id == handles[3].id


def test_order_survives_a_clock_that_is_set_back(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    from headrace.store import runs

    now = time.time()
    ids = []
    for moment in (now, now + 86_400, now - 86_400, now - 86_399):
        monkeypatch.setattr(runs.time, "time", lambda moment=moment: moment)
        ids.append(begin(store).id)
    assert [info.id for info in store.runs.list()] == ids[::-1]
    assert store.runs.get("latest").started == now - 86_399


def test_unique_beginning_of_an_id(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    names = iter(["abc111111111", "abc222222222", "fff000000000"])
    monkeypatch.setattr("headrace.store.runs.secrets.token_hex", lambda _: next(names))
    for _ in range(3):
        begin(store)
    assert store.runs.get("f").id == "fff000000000"
    assert store.runs.get("abc2").id == "abc222222222"
    with pytest.raises(NotFoundError, match="several runs: abc"):
        store.runs.get("abc")
    for nothing in ("", "0", "%", "_", "abc111111111f", "../x", "ABC1", "'; DROP TABLE runs; --"):
        with pytest.raises(NotFoundError, match="there is no run"):
            store.runs.get(nothing)


def test_stage_is_committed_once(store: Store, record: Record) -> None:
    handle = begin(store)
    store.runs.commit_stage(handle, record("train"), cache_key=None)
    with pytest.raises(StoreError, match="already"):
        store.runs.commit_stage(handle, record("train"), cache_key=KEY)
    assert store.cache.lookup(KEY) is None


def test_artifact_that_is_not_here_cannot_be_recorded(store: Store, record: Record) -> None:
    handle = begin(store)
    ref = store.artifacts.save(Params({}))
    gone = type(ref)("0" * 64, "params", 1)
    with pytest.raises(ArtifactError, match="not in the store: 0000"):
        store.runs.commit_stage(handle, record("train", {"a": gone}, {"b": ref}), cache_key=KEY)
    assert store.runs.get(handle.id).stages == ()
    assert store.cache.lookup(KEY) is None


def test_outputs_appear_with_their_stage_and_not_before(open_store: Callable[..., Store], record: Record) -> None:
    ours, theirs = open_store(), open_store()
    handle = begin(ours)
    ref = ours.artifacts.save(Params({}))
    assert ours.artifacts.verify(ref.digest)
    assert not theirs.artifacts.verify(ref.digest)
    ours.runs.commit_stage(handle, record("train", {}, {"params": ref}), cache_key=KEY)
    assert theirs.artifacts.verify(ref.digest)
    assert theirs.cache.lookup(KEY) == {"params": ref}


def test_ten_thousand_metrics(store: Store, record: Record) -> None:
    handle = begin(store)
    numbers = {f"loss@{i}": i / 7 for i in range(10_000)}
    store.runs.commit_stage(handle, record("train", metrics=numbers), cache_key=None)
    assert store.runs.get(handle.id).stages[0].metrics == numbers


def test_log(store: Store) -> None:
    handle = begin(store)
    assert store.runs.read_log(handle.id) == []
    store.runs.append_log(handle, "a", ["one", "two\nthree"])
    store.runs.append_log(handle, "b", ["four"])
    lines = store.runs.read_log(handle.id)
    assert [(line.stage, line.line) for line in lines] == [("a", "one"), ("a", "two\nthree"), ("b", "four")]
    path = store.root / "runs" / f"{handle.id}.log"
    with path.open("a") as stream:
        stream.write('{"stage": "b", "li')  # a power cut
    assert store.runs.read_log(handle.id) == lines
    for bad in ("../../etc/passwd", "", "x"):
        with pytest.raises(NotFoundError):
            store.runs.read_log(bad)


# --- who lives ----------------------------------------------------------------------------------------------------


def test_killed_run_is_shown_as_crashed_at_once(root: Path, url: str | None, store: Store) -> None:
    with owner(root, url) as (process, handle):
        assert store.runs.get(handle.id).status == "running"
        assert store.runs.live() == [handle.id]
        assert store.runs.reap() == []
        process.kill()
        process.wait()
        info = store.runs.get(handle.id)
        assert info.status == "crashed"
        assert info.ended is not None
        assert store.runs.list()[0].status == "crashed"
        assert store.runs.live() == []
        assert store.runs.reap() == [handle.id]
        assert store.runs.reap() == []
        assert store.runs.get(handle.id).status == "crashed"
        with pytest.raises(FencedError):
            store.runs.heartbeat(handle)
        assert not list((root / "locks").iterdir())


def test_closing_the_store_gives_up_its_runs(open_store: Callable[..., Store]) -> None:
    with open_store() as store:
        handle = begin(store)
    assert open_store().runs.get(handle.id).status == "crashed"


def test_paused_process_keeps_its_run(root: Path, url: str | None, store: Store) -> None:
    """A laptop that slept may go on: its lock says that it lives, whatever the clock says."""
    with owner(root, url) as (process, handle):
        os.kill(process.pid, signal.SIGSTOP)
        with store.database.write() as connection:
            connection.execute(schema.runs.update().values(lease_until=0.0))
        assert store.runs.get(handle.id).status == "running"
        assert store.runs.reap() == []
        os.kill(process.pid, signal.SIGCONT)
        assert ask(process) == "fine"


def test_run_on_another_machine_lives_as_long_as_its_lease(
    open_store: Callable[..., Store], monkeypatch: pytest.MonkeyPatch, record: Record
) -> None:
    theirs, ours = open_store(), open_store()
    handle = begin(theirs)
    ref = theirs.artifacts.save(Params({}))
    theirs.runs._lock_path(handle.id).unlink()  # its lock is in another machine's kernel
    pretend_elsewhere(ours, handle.id, lease_until=time.time() + 50)
    assert ours.runs.get(handle.id).status == "running"
    assert ours.runs.reap() == []
    pretend_elsewhere(ours, handle.id, lease_until=time.time() - 1)
    assert ours.runs.get(handle.id).status == "crashed"
    # A heartbeat in time keeps it.
    theirs.runs.heartbeat(handle)
    assert ours.runs.get(handle.id).status == "running"
    pretend_elsewhere(ours, handle.id, lease_until=time.time() - 1)
    assert ours.runs.reap() == [handle.id]
    # The zombie comes back: nothing that it does is taken.
    for act in (
        lambda: theirs.runs.heartbeat(handle),
        lambda: theirs.runs.commit_stage(handle, record("s", {}, {"a": ref}), cache_key=KEY),
        lambda: theirs.runs.finish(handle, "succeeded"),
    ):
        with pytest.raises(FencedError, match="declared dead"):
            act()
    info = ours.runs.get(handle.id)
    assert info.status == "crashed"
    assert info.stages == ()
    assert ours.cache.lookup(KEY) is None
    assert not ours.artifacts.verify(ref.digest)


def test_old_epoch_is_refused(store: Store, record: Record) -> None:
    handle = begin(store)
    with pytest.raises(FencedError):
        store.runs.commit_stage(RunHandle(handle.id, handle.epoch - 1), record("s"), cache_key=None)
    with pytest.raises(FencedError):
        store.runs.heartbeat(RunHandle("0" * 12, 1))


def test_ended_run_is_closed(store: Store, record: Record) -> None:
    handle = begin(store)
    store.runs.finish(handle, "succeeded")
    with pytest.raises(FencedError):
        store.runs.commit_stage(handle, record("s"), cache_key=None)
    assert store.runs.reap() == []
    assert store.runs.get(handle.id).status == "succeeded"


def test_run_that_ends_while_it_is_looked_at_is_not_called_crashed(
    open_store: Callable[..., Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs, ours = open_store(), open_store()
    handle = begin(theirs)
    real = ours.runs._is_dead

    def slow(*arguments: Any) -> bool:
        theirs.runs.finish(handle, "succeeded")
        monkeypatch.setattr(ours.runs, "_is_dead", real)
        return real(*arguments)

    monkeypatch.setattr(ours.runs, "_is_dead", slow)
    info = ours.runs.get(handle.id)
    assert info.status == "succeeded"
    assert info.ended is not None


def test_failed_create_leaves_no_lock(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headrace.store.runs._ADD_RUN", "INSERT INTO no_such_table (id) VALUES (:id)")
    with pytest.raises(StoreError, match="no_such_table"):
        begin(store)
    assert not list((store.root / "locks").iterdir())


def test_forked_child_is_refused(store: Store) -> None:
    child = os.fork()
    if child == 0:  # no assertion of pytest's may run here
        try:
            store.runs.list()
        except StoreError as error:
            os._exit(0 if "forked child" in error.message else 2)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
