"""Writing files so that a crash leaves the old state or the new one, and saying plainly why a write failed."""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from headrace.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_WAYS_OUT = {
    errno.ENOSPC: "Make room on that disk (`headrace store gc` helps), then run again.",
    errno.EDQUOT: "Your quota there is used up: make room, then run again.",
    errno.EFBIG: "The file-size limit of this process (ulimit -f) is too small for it.",
    errno.EROFS: "That file system is mounted read-only: put the store elsewhere with `[store] path`.",
    errno.EACCES: "You may not write there: change the permissions, or put the store elsewhere with `[store] path`.",
    errno.EPERM: "You may not write there: change the permissions, or put the store elsewhere with `[store] path`.",
    errno.EMFILE: "Too many files are open in this process (ulimit -n).",
    errno.EIO: "The disk reports an error: check it, and run `headrace store fsck` afterwards.",
}


def store_error(error: OSError, path: Path | str, doing: str) -> StoreError:
    """A `StoreError` that says what failed, where, and what to do about it."""
    reason = error.strerror or str(error)
    hint = _WAYS_OUT.get(error.errno or 0, "Nothing was half-written; mend the cause and run again.")
    return StoreError(f"cannot {doing}: {reason}", place=str(error.filename or path), hint=hint)


@contextmanager
def explained(path: Path | str, doing: str) -> Iterator[None]:
    """Turn an `OSError` of the block into a `StoreError`."""
    try:
        yield
    except OSError as error:
        raise store_error(error, path, doing) from error


def flush(descriptor: int) -> None:
    """Bring a file to the disk. An error is final: the kernel may have dropped the pages, so nobody tries again."""
    full = getattr(fcntl, "F_FULLFSYNC", None)
    if full is None:
        os.fsync(descriptor)
    else:  # macOS: fsync leaves the data in the drive's cache
        fcntl.fcntl(descriptor, full)


def flush_folder(path: Path) -> None:
    """Bring the entries of a folder to the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        flush(descriptor)
    finally:
        os.close(descriptor)


def make_folder(path: Path) -> None:
    """Make a folder and bring its entry to the disk, if it is not there yet. The parent exists."""
    try:
        path.mkdir()
    except FileExistsError:
        return
    flush_folder(path.parent)


def replace_file(path: Path, data: bytes, *, private: bool = False) -> None:
    """Write a small file in one step: who reads it sees the old bytes or the new ones; `private`: its owner alone."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as stream:
            if private:
                os.fchmod(stream.fileno(), 0o600)
            stream.write(data)
            stream.flush()
            flush(stream.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    flush_folder(path.parent)
