"""Processes killed, disks full or failing, folders read-only, and eight at once: never half-written, never locked."""

from __future__ import annotations

import contextlib
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pytest

from headrace import Dataset
from headrace.errors import StoreError
from headrace.store import Store
from headrace.store.objects import Objects
from headrace.types import Params, StageRecord

pytestmark = pytest.mark.chaos
Record = Callable[..., StageRecord]

# One run of three stages, each with a small, a large and a frame output; prints the digests. A HeadraceError is said
# in one line and ends with status 3; anything else is a traceback and status 1.
WORK = """
import sys
from pathlib import Path
import polars as pl
from headrace import Dataset
from headrace.errors import HeadraceError
from headrace.registry import Registry
from headrace.store import Store
from headrace.types import Params, StageInfo, StageRecord

def work(root, url, seed):
    with Store.open(root, url=url) as store:
        handle = store.runs.create("p", "manual", {})
        digests, inputs = [], {}
        for n in range(3):
            key = f"{seed * 100 + n:064x}"
            with store.cache.claim(key):
                known = store.cache.lookup(key)
                if known is None or not all(store.artifacts.verify(ref.digest) for ref in known.values()):
                    known = {
                        "small": store.artifacts.save(Params({"n": n, "seed": seed})),
                        "large": store.artifacts.save(Params({"n": n, "seed": seed, "filling": "x" * 70_000})),
                        "frame": store.artifacts.save(
                            Dataset.from_frame(pl.DataFrame({"a": range(n * 100 + seed, 900)}))
                        ),
                    }
                record = StageRecord(StageInfo(f"s{n}", "k", "u", "d", "1", {}), "executed", "why", key, 0.0, 1.0, 1,
                                     inputs, known, {f"loss@{i}": i / 7 for i in range(100)})
                store.runs.append_log(handle, f"s{n}", ["a line"])
                store.runs.commit_stage(handle, record, cache_key=key)
            inputs = known
            digests += sorted(ref.digest for ref in known.values())
        registry = Registry(store, who="work")
        version = registry.register("m", {"f": b"%d" % seed}, about={}, model_digest=known["small"].digest)
        at = registry.champion("m")
        registry.move_alias(version, "champion", expected=at.version.number if at else None, why="better")
        store.runs.finish(handle, "succeeded")
        return digests

if __name__ == "__main__":
    print("working", flush=True)
    try:
        print(work(Path(sys.argv[1]), sys.argv[2] or None, int(sys.argv[3])))
    except HeadraceError as error:
        print(error.message, file=sys.stderr)
        raise SystemExit(3)
"""
ENVIRONMENT = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "POLARS_MAX_THREADS": "1"}


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "work.py"
    path.write_text(WORK)
    return path


def start(script: Path, root: Path, url: str | None = None, seed: int = 0, **options: object) -> subprocess.Popen[str]:
    command = [sys.executable, str(script), str(root), url or "", str(seed)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": ENVIRONMENT}
    return subprocess.Popen(command, **{**pipes, **options})


def finish(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate()
    assert process.returncode == 0, err[-2000:]
    return out.splitlines()[-1]


def check_after(root: Path, url: str | None = None) -> None:
    """What must hold after any death: everything that a row speaks of is there, and nothing is running."""
    if not (root / "format").exists():
        return
    with Store.open(root, url=url) as store:
        report = store.fsck()
        assert report.ok, report
        assert not report.missing
        assert not report.corrupt
        assert not report.dangling
        assert store.runs.live() == []
        for info in store.runs.list():
            assert info.status != "running"
            for stage in info.stages:
                assert all(store.artifacts.verify(ref.digest) for ref in stage.outputs.values())


# --- killed ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("database", ["sqlite", pytest.param("postgresql", marks=pytest.mark.system)])
def test_killed_at_random_moments(tmp_path: Path, script: Path, request: pytest.FixtureRequest, database: str) -> None:
    url = request.getfixturevalue("postgresql").database() if database == "postgresql" else None
    undisturbed = start(script, tmp_path / "undisturbed")
    assert undisturbed.stdout.readline() == "working\n"
    began = time.perf_counter()
    expected = finish(undisturbed)
    usual = time.perf_counter() - began
    root = tmp_path / "store"
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    moments = random.Random(seed)
    killed = attempt = 0
    while killed < 8:
        attempt += 1
        assert attempt < 60, "the moments were too late to test anything"
        process = start(script, root, url, seed=attempt % 7)
        assert process.stdout.readline() == "working\n"
        try:
            process.wait(moments.uniform(0.0, usual))
        except subprocess.TimeoutExpired:
            process.kill()
            killed += 1
        process.communicate()
        check_after(root, url)
    assert finish(start(script, root, url)) == expected
    with Store.open(root, url=url) as store:
        assert store.fsck(repair=True).ok
        report = store.fsck()
        assert (report.stale, report.crashed) == ((), ())
    assert not list((root / "tmp").iterdir())


def strace() -> str:
    """The path of strace, if this machine lets it trace."""
    program = shutil.which("strace")
    why = "strace is not installed (Debian: apt-get install strace)"
    if program is not None:
        probe = subprocess.run([program, "-o", os.devnull, "true"], capture_output=True, check=False)
        if probe.returncode == 0:
            return program
        why = "strace may not trace here (ptrace is forbidden)"
    if os.environ.get("HEADRACE_REQUIRE_SYSTEM") == "1":
        pytest.fail(why)
    pytest.skip(why)


CALLS = {
    "flush": "fsync,fdatasync",
    "name": "link,linkat,rename,renameat,renameat2",
    "remove": "unlink,unlinkat,rmdir",
    "mode": "fchmod",
    "database": "pwrite64",
    "lock": "flock",
}


def counted(strace: str, calls: str, script: Path, root: Path) -> int:
    """How many of these calls an undisturbed run makes."""
    log = root.parent / "count"
    start_under(strace, ["-c", "-o", str(log), "-e", f"trace={calls}"], script, root)
    total = [line for line in log.read_text().splitlines() if line.endswith("total")]
    return int(total[0].split()[3]) if total else 0


def start_under(strace: str, options: list[str], script: Path, root: Path) -> subprocess.CompletedProcess[str]:
    command = [strace, "-f", "-q", *options, sys.executable, str(script), str(root), "", "0"]
    return subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, check=False)


@pytest.mark.slow
@pytest.mark.system
@pytest.mark.parametrize(
    ("calls", "what"),
    [
        pytest.param(calls, what, id=f"{name}-{what}")
        for name, calls in CALLS.items()
        for what in ("signal=KILL", "error=EIO", "error=ENOSPC")
        if what == "signal=KILL" or "flock" not in calls  # the kernel gives neither error for a lock
    ],
)
def test_every_call_fails_once(tmp_path: Path, script: Path, calls: str, what: str) -> None:
    """Of each kind of system call, the 1st, 2nd, ... of a run kills the process or fails. (Where there are very many,
    some of them.) Then: nothing is half-written, and the next run ends as an undisturbed one does."""
    program = strace()
    fresh = tmp_path / "fresh"
    Store.open(fresh).close()
    shutil.copytree(fresh, tmp_path / "undisturbed")
    expected = finish(start(script, tmp_path / "undisturbed"))
    shutil.copytree(fresh, tmp_path / "counted")
    total = counted(program, calls, script, tmp_path / "counted")
    assert total, "an undisturbed run makes none of these calls"
    count = min(total, 5)
    hit = 0
    for n in sorted({1 + i * (total - 1) // max(1, count - 1) for i in range(count)}):
        root = tmp_path / f"store{n}"
        shutil.copytree(fresh, root)
        log = tmp_path / "log"
        options = ["-o", str(log), "-e", f"trace={calls}", "-e", f"inject={calls}:{what}:when={n}"]
        done = start_under(program, options, script, root)
        if "signal" in what:
            hit += done.returncode != 0
        else:
            # Cleaning up may fail without harm; everything else is an error in words.
            assert done.returncode in (0, 3), done.stderr[-2000:]
            assert "Traceback" not in done.stderr
            hit += "INJECTED" in log.read_text()
        check_after(root)
        assert finish(start(script, root)) == expected, f"after call {n} of {total}"
        check_after(root)
        shutil.rmtree(root)
    assert hit


# --- full, failing, read-only ---------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MB, for those who may mount one."""
    point = tmp_path / "disk"
    point.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "none", str(point)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        why = f"mounting a file system is not allowed here: {done.stderr.strip()}"
        if os.environ.get("HEADRACE_REQUIRE_SYSTEM") == "1" and os.geteuid() == 0:
            pytest.fail(why)
        pytest.skip(why)
    try:
        yield point
    finally:
        subprocess.run(["umount", "-l", str(point)], check=True)


def fill(disk: Path) -> Path:
    """Use every byte that is left."""
    path = disk / "filling"
    with path.open("wb", buffering=0) as stream, contextlib.suppress(OSError):
        for size in (1 << 16, 1 << 12, 1):
            with contextlib.suppress(OSError):
                while True:
                    stream.write(b"\0" * size)
    return path


@pytest.mark.system
def test_disk_that_fills_up(small_disk: Path, record: Record) -> None:
    root = small_disk / "store"
    with Store.open(root) as store:
        handle = store.runs.create("p", "manual", {})
        good = store.artifacts.save(Params({"n": 1}))
        store.runs.commit_stage(handle, record("first", {}, {"x": good}), cache_key="a" * 64)
        filling = fill(small_disk)
        large = Params({"filling": "x" * 700_000})
        frame = Dataset.from_frame(pl.DataFrame({"a": [os.urandom(100) for _ in range(3000)]}))
        source = small_disk.parent / "source"
        source.write_bytes(b"x" * 700_000)
        for act in (
            lambda: store.objects.put_bytes(b"x" * 700_000),
            lambda: store.objects.put_file(source),
            lambda: store.artifacts.save(large),
            lambda: store.artifacts.save(frame),
            lambda: store.runs.commit_stage(
                handle, record("second", metrics=dict.fromkeys(map(str, range(9000)), 1.0)), cache_key=None
            ),
            lambda: store.runs.append_log(handle, "s", ["x" * 100_000]),
        ):
            with pytest.raises(StoreError) as caught:
                act()
            assert any(words in str(caught.value) for words in ("No space", "full", "disk I/O")), caught.value
            assert caught.value.place
            assert "room" in str(caught.value.hint) or "disk" in str(caught.value.hint)
        assert not [path for path in (root / "tmp").rglob("*") if path.is_file() and path.suffix != ".lock"]
        assert store.artifacts.load(good, Params) == Params({"n": 1})
        assert store.cache.lookup("a" * 64) == {"x": good}
        assert len(store.runs.get(handle.id).stages) == 1
        filling.unlink()
        refs = {"large": store.artifacts.save(large), "frame": store.artifacts.save(frame)}
        store.runs.commit_stage(handle, record("second", {"x": good}, refs), cache_key=None)
        store.runs.finish(handle, "succeeded")
        assert store.fsck().ok
    with Store.open(root) as store:
        assert all(store.artifacts.verify(ref.digest) for ref in (good, *refs.values()))
        assert store.artifacts.load(refs["frame"], Dataset).frame().equals(frame.frame())


@pytest.mark.system
def test_making_a_store_on_a_full_disk(small_disk: Path) -> None:
    filling = fill(small_disk)
    for root in (small_disk / "store", small_disk / "store"):
        with pytest.raises(StoreError, match=r"No space|full|disk I/O"):
            Store.open(root)
    filling.unlink()
    with Store.open(small_disk / "store") as store:
        assert store.fsck().ok


@pytest.mark.system
def test_read_only_file_system(small_disk: Path) -> None:
    root = small_disk / "store"
    with Store.open(root) as store:
        ref = store.artifacts.save(Params({"n": 1, "filling": "x" * 70_000}))
        store.runs.finish(store.runs.create("p", "manual", {}), "succeeded")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    for read_only in (True, False):
        with Store.open(root, read_only=read_only) as store:
            assert store.artifacts.load(ref, Params).values["n"] == 1
            assert store.artifacts.verify(ref.digest)
            assert store.runs.get("latest").status == "succeeded"
            assert store.fsck().ok
            for act in (
                lambda: store.runs.create("p", "manual", {}),  # called at once
                lambda: store.cache.forget("a" * 64),
                lambda: store.objects.put_bytes(b"new"),
            ):
                with pytest.raises(StoreError, match=r"read-?only|Read-only") as caught:
                    act()
                assert caught.value.hint
    with pytest.raises(StoreError, match="Read-only"):
        Store.open(small_disk / "another")


@pytest.mark.system
def test_fsck_looks_at_a_store_that_lies_read_only(small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Objects, "settled", lambda *_: True)  # as if some seconds had passed since they were written
    root = small_disk / "store"
    with Store.open(root) as store:
        whole, damaged = (store.artifacts.save(Params({"n": n, "filling": "x" * 70_000})) for n in (1, 2))
        store.runs.finish(store.runs.create("p", "manual", {}), "succeeded")
        blobs = [part.sha256 for ref in (whole, damaged) for part in store.artifacts.info(ref.digest).parts.values()]
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with Store.open(root) as store:
        report = store.fsck()
        assert (report.ok, report.objects, report.read_only) == (True, 2, True)
        with pytest.raises(StoreError, match="read-only cannot be repaired"):
            store.fsck(repair=True)
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    path = root / "objects" / blobs[1][:2] / blobs[1][2:]
    path.chmod(0o644)
    path.write_bytes(b"y" * path.stat().st_size)
    before = {file: file.stat().st_mtime_ns for file in root.rglob("*")}
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with Store.open(root) as store:
        report = store.fsck()
        assert [finding.what for finding in report.corrupt] == [f"object {blobs[1]}"]
        assert (report.ok, report.read_only) == (False, True)
    assert {file: file.stat().st_mtime_ns for file in root.rglob("*")} == before
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    with Store.open(root) as store:
        assert not store.fsck(repair=True).read_only
        assert store.fsck().ok


def test_file_size_limit(tmp_path: Path, script: Path) -> None:
    """Without a right to mount: the limit of the process stands for the end of the disk."""

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    Store.open(tmp_path / "store").close()
    process = start(script, tmp_path / "store", preexec_fn=limited)
    _, err = process.communicate()
    assert process.returncode == 3, err[-2000:]
    assert "Traceback" not in err
    check_after(tmp_path / "store")
    assert finish(start(script, tmp_path / "store")) == finish(start(script, tmp_path / "undisturbed"))


# --- eight at once ----------------------------------------------------------------------------------------------------

HAMMER = """
import json, sys, time
from pathlib import Path
from headrace.store import Store
from headrace.types import Params, StageInfo, StageRecord
root, url, me = Path(sys.argv[1]), sys.argv[2] or None, int(sys.argv[3])
with Store.open(root, url=url) as store:
    sys.stdin.read(1)
    slowest = 0.0
    handle = store.runs.create("p", "manual", {"me": me})
    for n in range(20):
        began = time.perf_counter()
        refs = {"mine": store.artifacts.save(Params({"me": me, "n": n}))}
        refs["ours"] = store.artifacts.save(Params({"n": n}))
        record = StageRecord(StageInfo(f"s{n}", "k", "u", "d", "1", {}), "executed", "", None, 0.0, 1.0, 1, {}, refs,
                             {f"m{i}": float(i) for i in range(500)})
        store.runs.commit_stage(handle, record, cache_key=f"{me * 100 + n:064x}")
        assert store.cache.lookup(f"{me * 100 + n:064x}") == refs
        assert handle.id in store.runs.live()
        store.runs.heartbeat(handle)
        slowest = max(slowest, time.perf_counter() - began)
    store.runs.finish(handle, "succeeded")
print(json.dumps(slowest))
"""


@pytest.mark.slow
def test_eight_processes_and_ten_thousand_metrics_each(tmp_path: Path, url: str | None, root: Path) -> None:
    script = tmp_path / "hammer.py"
    script.write_text(HAMMER)
    Store.open(root, url=url).close()
    processes = [start(script, root, url, seed=me, stdin=subprocess.PIPE) for me in range(8)]
    for process in processes:
        process.stdin.write("x")
        process.stdin.flush()
    slowest = max(json.loads(finish(process)) for process in processes)
    print(f"slowest stage of all: {slowest * 1e3:.0f} ms")
    with Store.open(root, url=url) as store:
        runs = store.runs.list()
        assert len(runs) == 8
        assert {info.status for info in runs} == {"succeeded"}
        assert sum(len(stage.metrics) for info in runs for stage in info.stages) == 80_000
        assert store.fsck().ok
