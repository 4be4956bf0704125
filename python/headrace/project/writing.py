"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator


def write_whole(path: Path, data: bytes) -> None:
    """Write a file beside `path` and move it into place, so that no reader and no crash meets half of it.

    Raises `StoreError` with the path if the folder is missing, read-only or full.
    """
    with replacing(path) as unfinished:
        unfinished.write_bytes(data)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Gives a path to write to; what is there at the end takes the place of `path`, an error leaves nothing.

    A link stays, and what it leads to is replaced. What is no file (`/dev/stdout`, a pipe) is written into at the end.
    """
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            with tempfile.TemporaryDirectory() as folder:
                unfinished = Path(folder) / f"unfinished{path.suffix}"
                yield unfinished
                with unfinished.open("rb") as made, path.open("wb") as device:
                    shutil.copyfileobj(made, device)
            return
        target = path.resolve() if path.is_symlink() else path
        handle, name = tempfile.mkstemp(prefix=f".{path.name[:80]}.", suffix=path.suffix, dir=target.parent)
        os.close(handle)
        unfinished = Path(name)
        try:
            yield unfinished
            _like_any_other_file(unfinished)
            unfinished.replace(target)
        except BaseException:
            unfinished.unlink(missing_ok=True)
            raise
    except OSError as error:
        message = f"cannot be written: {error.strerror or error}"
        raise StoreError(message, place=str(path), hint=_way_out(path, error)) from error


def _like_any_other_file(path: Path) -> None:
    """Give the permissions that `open` would have given; mkstemp makes files for their owner alone."""
    mask = os.umask(0)
    os.umask(mask)
    path.chmod(0o666 & ~mask)


def _way_out(path: Path, error: OSError) -> str:
    if not path.parent.is_dir():
        return f"Make the folder first: mkdir -p {path.parent}"
    if isinstance(error, PermissionError):
        return "Choose a folder that you may write to."
    return "Look at the disk: is it full, or read-only?"
