"""Objects: immutable bytes under the name of their SHA-256.

`objects/ab/cdef...` holds each. An object is written as a temporary file, flushed, linked to its name without replacing
anything, and its folder flushed; only then may a database row speak of it. A name that comes from outside is checked
to be 64 hexadecimal digits before it becomes part of a path.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.errors import ArtifactError, CorruptObjectError, NotFoundError, StoreError
from headrace.store.durable import explained, flush, flush_folder, make_folder
from headrace.store.locks import FileLock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
from typing import Literal

_DIGEST = re.compile(r"[0-9a-f]{64}")
_CHUNK = 1 << 20
_RACY_NANOSECONDS = 2_000_000_000
State = Literal["whole", "missing", "damaged"]


@dataclass(frozen=True)
class Blob:
    """An object: the SHA-256 of its bytes (64 lower-case hexadecimal digits), and their number."""

    sha256: str
    size: int


def checked_digest(text: str) -> str:
    """`text`, if it is a digest; nothing else may become part of a path."""
    if not isinstance(text, str) or _DIGEST.fullmatch(text) is None:
        raise ArtifactError(f"{text!r:.80} is not a digest", hint="A digest is 64 hexadecimal digits, lower case.")
    return text


class Objects:
    """The objects of a store. Threads and processes may use the same folder at once."""

    def __init__(self, root: Path, *, read_only: bool = False) -> None:
        self.root = root
        self.folder = root / "objects"
        self.quarantine = root / "quarantine"
        self._read_only = read_only
        self._session: tuple[Path, FileLock] | None = None
        self._session_lock = threading.Lock()

    # --- writing --------------------------------------------------------------------------------------------------

    def put_bytes(self, data: bytes) -> Blob:
        """Keep bytes. Returns when they are on the disk. Raises `StoreError` if they cannot be kept."""
        blob = Blob(hashlib.sha256(data).hexdigest(), len(data))
        if not self._has(blob):
            with self.temporary() as path, explained(path, "write an object"):
                path.write_bytes(data)
                self._publish(path, blob)
        return blob

    def put_file(self, path: Path) -> Blob:
        """Keep a copy of a file, as it is while it is read. Raises `StoreError` as `put_bytes` does."""
        with self.temporary() as copy, explained(path, "copy a file into the store"):
            hashing, size = hashlib.sha256(), 0
            with path.open("rb") as source, copy.open("wb") as target:
                while chunk := source.read(_CHUNK):
                    hashing.update(chunk)
                    size += target.write(chunk)
            blob = Blob(hashing.hexdigest(), size)
            if not self._has(blob):
                self._publish(copy, blob)
        return blob

    def put_written(self, write: Callable[[Path], None]) -> Blob:
        """Keep what `write` writes to the path that it is given."""
        with self.temporary() as path:
            write(path)
            with explained(path, "keep an object"):
                with path.open("rb") as stream:
                    blob = Blob(hashlib.file_digest(stream, "sha256").hexdigest(), os.fstat(stream.fileno()).st_size)
                if not self._has(blob):
                    self._publish(path, blob)
        return blob

    @contextmanager
    def temporary(self) -> Iterator[Path]:
        """A path in this process's own temporary folder; what is left there goes at the end of the block."""
        path = self._session_folder() / secrets.token_hex(8)
        try:
            yield path
        finally:
            with suppress(OSError):  # what stays is found by fsck
                path.unlink(missing_ok=True)

    def _publish(self, temporary: Path, blob: Blob) -> None:
        """Give a complete temporary file its name. A damaged object of that name goes to quarantine first."""
        descriptor = os.open(temporary, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fchmod(descriptor, 0o444)
            flush(descriptor)
        finally:
            os.close(descriptor)
        path = self._path(blob.sha256)
        make_folder(path.parent)
        try:
            os.link(temporary, path)
        except FileExistsError:
            if self._has(blob):
                return
            self._publish_again(temporary, path, blob)
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS):
                raise
            temporary.rename(path)  # no hard links here; what it might replace has the same bytes
        flush_folder(path.parent)

    def _publish_again(self, temporary: Path, path: Path, blob: Blob) -> None:
        with suppress(FileExistsError):  # another process has just made it good
            os.link(temporary, path)
            return
        if not self._has(blob):
            raise StoreError(
                "an object cannot be replaced: its file comes back damaged",
                place=str(path),
                hint="Check the disk, then run `headrace store fsck`.",
            )

    def _has(self, blob: Blob) -> bool:
        """Whether the object is there and whole, so that its bytes need not be written again."""
        return self._path(blob.sha256).exists() and self.verify(blob.sha256, blob.size)

    # --- reading --------------------------------------------------------------------------------------------------

    def read(self, sha256: str) -> bytes:
        """The bytes of an object, checked against their name.

        Raises `NotFoundError` if it is not there, `CorruptObjectError` if its bytes do not match: it is in quarantine
        then, and the next run makes it again.
        """
        path = self._path(sha256)
        with explained(path, "read an object"), self._found(path):
            data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != sha256:
            raise self._corrupt(path, sha256)
        return data

    def open_path(self, sha256: str) -> Path:
        """The path of an object whose bytes were just checked, for readers that want a file. The file is read-only.

        Raises as `read` does.
        """
        path = self._path(sha256)
        if self._hash(path) != sha256:
            raise self._corrupt(path, sha256)
        return path

    def verify(self, sha256: str, size: int) -> bool:
        """Whether an object is there and its bytes match. A damaged one is moved to quarantine. Reads all of it."""
        return self.examine(sha256, size) == "whole"

    def examine(self, sha256: str, size: int) -> State:
        """Read all of an object and say how it is. A damaged one is moved to quarantine."""
        path = self._path(sha256)
        try:
            whole = path.stat().st_size == size and self._hash(path) == sha256
        except (FileNotFoundError, NotFoundError):
            return "missing"
        if not whole:
            self._set_aside(path, sha256)
        return "whole" if whole else "damaged"

    def stamp(self, sha256: str) -> str | None:
        """What the file system says of an object's file: size, mtime, ctime, inode. None if there is no such file.

        The kernel sets ctime whenever a file's bytes change and nobody can set it back, so an equal stamp says that
        nobody wrote to the file. (A disk that loses bits by itself leaves it alone: `fsck` reads every byte.) A stamp
        is only given if it is older than two seconds, since a write within the clock's granularity would not show.
        """
        try:
            found = self._path(sha256).stat()
        except FileNotFoundError:
            return None
        return f"{found.st_size}:{found.st_mtime_ns}:{found.st_ctime_ns}:{found.st_ino}"

    def settled(self, stamp: str) -> bool:
        """Whether a stamp is old enough to be kept."""
        _, modified, changed, _ = (int(part) for part in stamp.split(":"))
        return time.time_ns() - max(modified, changed) > _RACY_NANOSECONDS

    def has(self, sha256: str, size: int) -> bool:
        """Whether a file of that name and size is there; says nothing about its bytes."""
        try:
            return self._path(sha256).stat().st_size == size
        except FileNotFoundError:
            return False

    def names(self) -> Iterator[Blob]:
        """Every object in the folder, with the size of its file."""
        for folder in sorted(self.folder.iterdir()):
            for path in sorted(folder.iterdir()):
                name = folder.name + path.name
                if _DIGEST.fullmatch(name):
                    yield Blob(name, path.stat().st_size)

    def changed_at(self, sha256: str) -> float:
        """When the object's file last changed (ctime), in seconds since the epoch."""
        return self._path(sha256).stat().st_ctime

    def delete(self, sha256: str) -> None:
        """Remove an object. Only the garbage collector calls this, under the database's write lock."""
        path = self._path(sha256)
        with explained(path, "remove an object"):
            path.unlink(missing_ok=True)

    def _path(self, sha256: str) -> Path:
        checked_digest(sha256)
        return self.folder / sha256[:2] / sha256[2:]

    def _hash(self, path: Path) -> str:
        with explained(path, "read an object"), self._found(path), path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()

    @contextmanager
    def _found(self, path: Path) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            raise NotFoundError(
                "an object is missing from the store",
                place=str(path),
                hint="Run again to make it anew; `headrace store fsck` lists everything that is missing.",
            ) from error

    def _corrupt(self, path: Path, sha256: str) -> CorruptObjectError:
        moved = self._set_aside(path, sha256)
        where = f"it was moved to {moved}" if moved else "the store is read-only, so it stays where it is"
        return CorruptObjectError(
            f"the bytes of an object do not match its name; {where}",
            place=str(path),
            hint="Run again to make it anew; `headrace store fsck` checks all the others.",
        )

    def _set_aside(self, path: Path, sha256: str) -> Path | None:
        """Move a damaged object to quarantine. It is never deleted: somebody may want to know what happened."""
        if self._read_only:
            return None
        target = self.quarantine / f"{sha256}-{secrets.token_hex(4)}"
        with explained(path, "move a damaged object to quarantine"):
            make_folder(self.quarantine)
            try:
                path.rename(target)
            except FileNotFoundError:
                return None  # another process was faster
            flush_folder(path.parent)
        return target

    # --- temporary files ------------------------------------------------------------------------------------------

    def _session_folder(self) -> Path:
        with self._session_lock:
            if self._session is None:
                if self._read_only:
                    raise StoreError(
                        "the store was opened read-only", place=str(self.root), hint="Open it for writing."
                    )
                lock = FileLock.fresh(lambda: self.root / "tmp" / f"{secrets.token_hex(8)}.lock")
                folder = lock.path.with_suffix("")
                with explained(folder, "make a temporary folder"):
                    folder.mkdir(mode=0o700)
                self._session = (folder, lock)
            return self._session[0]

    def close(self) -> None:
        """Remove this process's temporary folder."""
        with self._session_lock:
            if self._session is not None:
                folder, lock = self._session
                self._session = None
                with suppress(OSError):  # fsck finds what stays
                    for path in folder.iterdir():
                        path.unlink(missing_ok=True)
                    folder.rmdir()
                lock.release()
