"""The folder of a store: its layout, its format file, and where it may lie."""

from __future__ import annotations

import errno
import json
import os
import uuid
from dataclasses import dataclass
from pathlib import Path

from headrace.errors import NotFoundError, StoreError, StoreFormatError
from headrace.store.durable import explained, flush_folder, replace_file

FORMAT = 1
_FORMAT_FILE = "format"
_FOLDERS = ("objects", "tmp", "locks", "quarantine", "runs")
# Others put their scratch here too: `work` is the runner's, `cache` holds what can be computed again.
_KNOWN = frozenset((*_FOLDERS, _FORMAT_FILE, "work", "cache", "backup", ".gitignore"))
_REMOTE = ("nfs", "cifs", "smb", "afs", "ncpfs", "fuse.sshfs", "fuse.rclone", "fuse.s3fs", "fuse.gcsfuse")


@dataclass(frozen=True)
class Identity:
    """What the format file says: the number of the layout, and which store this is (copies of it included)."""

    format: int
    id: str


def read_identity(root: Path) -> Identity | None:
    """The format file, or None if there is no store here. Raises `StoreFormatError` for what this code cannot use."""
    path = root / _FORMAT_FILE
    try:
        with explained(path, "read the store's format"):
            text = path.read_bytes()
    except StoreError as error:
        cause = error.__cause__
        if isinstance(cause, OSError) and cause.errno in (errno.ENOENT, errno.ENOTDIR):
            return None
        raise
    try:
        document = json.loads(text)
        found = Identity(int(document["format"]), str(document["id"]))
    except (ValueError, TypeError, KeyError) as error:
        raise StoreFormatError(
            "this is not the format file of a store",
            place=str(path),
            hint="Point `[store] path` at a store or at a folder that does not exist yet.",
        ) from error
    if found.format > FORMAT:
        raise StoreFormatError(
            f"the store has format {found.format}; this headrace knows formats up to {FORMAT}",
            place=str(path),
            hint="Use the newer headrace that wrote it: pip install --upgrade headrace",
        )
    return found


def is_store(root: Path) -> bool:
    """Whether there is a store at `root`, whatever its format."""
    return (root / _FORMAT_FILE).exists()


def missing_store(root: Path) -> NotFoundError:
    """What to raise where there must be a store and is none."""
    return NotFoundError("there is no store here", place=str(root), hint="`headrace run` makes one.")


def make_folders(root: Path) -> None:
    """Make the folder of a store, all but the format file, which comes last: `write_identity`.

    Raises `StoreFormatError` if the folder holds something else already.
    """
    with explained(root, "make the store's folder"):
        root.mkdir(parents=True, exist_ok=True)
        strangers = sorted(e.name for e in os.scandir(root) if e.name not in _KNOWN and not _ours(e.name))
        if strangers:
            raise StoreFormatError(
                f"this folder is not a store and is not empty: it holds {', '.join(strangers[:3])}",
                place=str(root),
                hint="Point `[store] path` at a store or at a folder that does not exist yet.",
            )
        for name in _FOLDERS:
            (root / name).mkdir(exist_ok=True)
        # All of them now, so that no object ever waits for a new folder's entry to reach the disk.
        for number in range(256):
            (root / "objects" / f"{number:02x}").mkdir(exist_ok=True)
        ignore = root / ".gitignore"
        if not ignore.exists():
            ignore.write_text("# A store is data, not source.\n*\n", encoding="utf-8")
        flush_folder(root / "objects")
        flush_folder(root)
        flush_folder(root.parent)


def write_identity(root: Path, identity: Identity) -> None:
    """Write the format file: from now on this is a store."""
    body = json.dumps({"format": identity.format, "id": identity.id}) + "\n"
    with explained(root, "write the store's format"):
        replace_file(root / _FORMAT_FILE, body.encode())


def new_identity() -> Identity:
    """The identity of a new store."""
    return Identity(FORMAT, uuid.uuid4().hex)


def refuse_remote(root: Path, mounts: str | None = None) -> None:
    """Raise `StoreError` if `root` lies on a network file system, whose locks SQLite cannot trust.

    `mounts` is the text of Linux's `/proc/self/mountinfo`; elsewhere nothing is known and nothing is refused.
    """
    if mounts is None:
        try:
            mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
        except OSError:
            return
    target = os.path.realpath(root)
    best, kind = "", ""
    for line in mounts.splitlines():
        fields, _, rest = line.partition(" - ")
        columns = fields.split(" ")
        if len(columns) < 5:
            continue
        point = columns[4].encode("utf-8", "surrogateescape").decode("unicode_escape", "surrogateescape")
        inside = target == point or target.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):
            best, kind = point, rest.split(" ", 1)[0]
    if kind.startswith(_REMOTE):
        raise StoreError(
            f"the store would lie on a network file system ({kind}, mounted at {best}), where SQLite's locks do not "
            "hold and the database gets damaged",
            place=str(root),
            hint="Put it on a local disk with `[store] path`, or keep its database in PostgreSQL with `[store] url`.",
        )


def _ours(name: str) -> bool:
    return name.startswith(("headrace.db", f".{_FORMAT_FILE}."))
