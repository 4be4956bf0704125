"""Locks that the operating system releases when their holder dies, however it dies.

`flock` on files that are made for nothing else. There are no PID files, and so there is nothing to delete by hand.
"""

from __future__ import annotations

import errno
import fcntl
import os
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from headrace.store.durable import explained

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_POLL_SECONDS = 0.05


class FileLock:
    """An exclusive lock, held from construction by `acquire` until `release` or death."""

    __slots__ = ("_descriptor", "path")

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor

    @classmethod
    def try_acquire(cls, path: Path) -> FileLock | None:
        """Take the lock, or return None if somebody holds it."""
        while True:
            with explained(path, "take a lock"):
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                if not _try_flock(descriptor, fcntl.LOCK_EX):
                    os.close(descriptor)
                    return None
                if _is_still(path, descriptor):
                    return cls(path, descriptor)
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)  # its last holder unlinked the file between our open and our lock

    @classmethod
    def fresh(cls, name: Callable[[], Path]) -> FileLock:
        """Take a lock that nobody knows yet. Whoever lists the folder may ask about it at that moment: then another."""
        while True:
            lock = cls.try_acquire(name())
            if lock is not None:
                return lock

    @classmethod
    def acquire(cls, path: Path, check: Callable[[], None]) -> FileLock:
        """Wait for the lock. `check` is called about twenty times a second and may raise to stop waiting."""
        pause = threading.Event()
        while True:
            lock = cls.try_acquire(path)
            if lock is not None:
                return lock
            check()
            pause.wait(_POLL_SECONDS)

    def release(self, *, unlink: bool = True) -> None:
        """Give the lock back. The file goes while the lock is still held, so that no two holders can meet."""
        try:
            if unlink:
                with suppress(OSError):  # a file that stays is free for the next holder, and fsck tidies it up
                    self.path.unlink(missing_ok=True)
        finally:
            os.close(self._descriptor)


def is_held(path: Path) -> bool:
    """Whether somebody holds the lock `path`. Askers do not disturb each other."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        return not _try_flock(descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)


@contextmanager
def holding(path: Path, check: Callable[[], None]) -> Iterator[None]:
    """Hold the lock `path` for the length of the block."""
    lock = FileLock.acquire(path, check)
    try:
        yield
    finally:
        lock.release()


def never() -> None:
    """A `check` that does not stop waiting."""


def _try_flock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES):
            return False
        raise
    return True


def _is_still(path: Path, descriptor: int) -> bool:
    """Whether the open file is the one that `path` names now."""
    mine = os.fstat(descriptor)
    try:
        named = path.stat()
    except FileNotFoundError:
        return False
    return (mine.st_dev, mine.st_ino) == (named.st_dev, named.st_ino)
