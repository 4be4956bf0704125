"""From what the spec says to a list of files, the same on every machine."""

from __future__ import annotations

import glob
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from headrace.errors import DataError

_PARTITION = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.+)")
_MAGIC = re.compile(r"[*?\[]")
NULL_PARTITION = "__HIVE_DEFAULT_PARTITION__"


@dataclass(frozen=True)
class SourceFile:
    """One file: where it is, and `shown`, its name relative to the project as messages and cache keys say it."""

    path: Path
    shown: str

    @property
    def partitions(self) -> dict[str, str]:
        """The `key=value` folders on the way to the file (Hive's convention), outermost first."""
        found = (_PARTITION.fullmatch(part) for part in Path(self.shown).parts[:-1])
        return {match[1]: match[2] for match in found if match}


def locate(patterns: str | Sequence[str], project_dir: Path) -> list[SourceFile]:
    """The files that `patterns` name.

    A pattern is a path or a glob (`*`, `?`, `[...]`, `**` for any depth), relative to `project_dir` unless absolute; a
    path that exists as it is written is no glob. The files of one glob are sorted by name, code point by code point;
    the order of several patterns is kept. Hidden files match only a pattern that says the dot.

    Raises `DataError` for a pattern without a file, for a folder, and for a file that is named twice.
    """
    listed = [patterns] if isinstance(patterns, str) else list(patterns)
    if not listed:
        raise DataError("`path` names no file", hint='Set `path = "data.parquet"`, a glob, or a list of these.')
    found: list[SourceFile] = []
    for pattern in listed:
        found += _one(pattern, project_dir)
    seen: dict[Path, str] = {}
    for file in found:
        real = file.path.resolve()
        if real in seen:
            raise DataError(
                f"the file is named twice, as {seen[real]!r} and as {file.shown!r}: its rows would count twice",
                place=file.shown,
                hint="Name each file once; a glob may match more than you think.",
            )
        seen[real] = file.shown
    return found


def _one(pattern: str, project_dir: Path) -> list[SourceFile]:
    if not pattern or "\x00" in pattern:
        raise DataError(f"{pattern!r} is no path", place="path")
    path = project_dir / pattern
    if path.is_dir():
        raise DataError(
            "this is a folder, not a file",
            place=pattern,
            hint=f"Name its files by a glob: {pattern.rstrip('/')}/*.parquet",
        )
    if path.exists():
        if not path.is_file():
            raise DataError("this is not a plain file", place=pattern, hint="Copy the data into a file first.")
        return [SourceFile(path, _shown(Path(pattern)))]
    if not _MAGIC.search(pattern):
        raise DataError("there is no such file", place=pattern, hint=f"Looked in {project_dir}. Check `path`.")
    matches = sorted(glob.glob(pattern, root_dir=project_dir, recursive=True))  # noqa: PTH207  # Path.glob takes no absolute pattern
    files = [SourceFile(project_dir / match, _shown(Path(match))) for match in matches]
    files = [file for file in files if file.path.is_file()]
    if not files:
        raise DataError("no file matches the glob", place=pattern, hint=f"Looked in {project_dir}. Check `path`.")
    return files


def _shown(path: Path) -> str:
    return path.as_posix()
