"""Locks that the operating system releases."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from headrace.store import locks
from headrace.store.locks import FileLock, holding, is_held, never


def test_one_holder(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert not is_held(path)
    lock = FileLock.try_acquire(path)
    assert lock is not None
    assert is_held(path)
    assert is_held(path), "asking does not take it"
    assert FileLock.try_acquire(path) is None
    lock.release()
    assert not path.exists()
    with holding(path, never):
        assert is_held(path)
    assert not is_held(path)


def test_lock_is_not_taken_on_a_file_that_lost_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between our open and our lock, the holder releases (which unlinks the file) and another makes it anew."""
    path = tmp_path / "lock"
    first = FileLock.try_acquire(path)
    assert first is not None
    other: list[FileLock] = []
    real = locks._try_flock

    def meanwhile(descriptor: int, kind: int) -> bool:
        if not other:
            monkeypatch.setattr(locks, "_try_flock", real)
            first.release()
            taken = FileLock.try_acquire(path)
            assert taken is not None
            other.append(taken)
        return real(descriptor, kind)

    monkeypatch.setattr(locks, "_try_flock", meanwhile)
    assert FileLock.try_acquire(path) is None, "two would hold it"
    other[0].release()
    assert FileLock.try_acquire(path) is not None


def test_release_that_cannot_unlink_still_releases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "lock"
    lock = FileLock.try_acquire(path)
    assert lock is not None

    def fail(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", fail)
        lock.release()
    assert path.exists()
    assert not is_held(path)
    assert FileLock.try_acquire(path) is not None


def test_fresh_lock_while_somebody_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = iter("abc")
    real, calls = locks._try_flock, []

    def asked(descriptor: int, kind: int) -> bool:
        calls.append(kind)
        return len(calls) > 2 and real(descriptor, kind)

    monkeypatch.setattr(locks, "_try_flock", asked)
    assert FileLock.fresh(lambda: tmp_path / next(names)).path.name == "c"


def test_children_do_not_inherit(tmp_path: Path) -> None:
    """A stage's worker that outlives its parent does not keep the parent's run alive."""
    code = """
import subprocess, sys, os
from pathlib import Path
from headrace.store.locks import FileLock
lock = FileLock.try_acquire(Path(sys.argv[1]))
subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=0, close_fds=False)
"""
    read, write = os.pipe()
    try:
        subprocess.run([sys.executable, "-c", code, tmp_path / "lock"], check=True, stdin=read)
        assert not is_held(tmp_path / "lock")
    finally:
        os.close(write)
        os.close(read)


def test_path_that_cannot_be_locked(tmp_path: Path) -> None:
    from headrace.errors import StoreError

    with pytest.raises(StoreError, match="take a lock"):
        FileLock.try_acquire(tmp_path / "nothing" / "lock")
