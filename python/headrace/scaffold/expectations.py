"""Suggested expectations: what is true of some data, as a file that a person edits."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

    from headrace.project import Project


def suggest_for_frame(frame: pl.DataFrame) -> str:
    """The text of an `expectations.toml` that `frame` meets."""
    from headrace.builtins.validate.suggest import suggest

    return suggest(frame)


def suggest_for_file(path: Path) -> str:
    """The same for a file, read as `ingest: files` reads it."""
    from headrace.builtins.ingest.locate import locate
    from headrace.builtins.ingest.reading import Wanted, read_files

    return suggest_for_frame(read_files(locate(str(path), Path.cwd()), Wanted(), lambda _note: None).frame())


def suggest_for_project(project: Project) -> str:
    """The same for the data of a project."""
    from headrace.project.checking import own_data

    return suggest_for_frame(own_data(project).frame())
