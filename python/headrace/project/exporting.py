"""Artifacts as plain files in a folder."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from headrace.errors import ArtifactError
from headrace.project.writing import replacing, write_whole

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from headrace.project import Project
    from headrace.types import JSON, Artifact, ArtifactRef, FileReference, SupportsArrowStream

_EXTENSIONS = {"onnx": ".onnx", "lightgbm": ".txt", "html": ".html", "svg": ".svg", "text": ".txt", "binary": ".bin"}


def export_artifact(project: Project, ref: ArtifactRef, folder: Path, *, force: bool = False) -> tuple[Path, ...]:
    """Write each part of an artifact to `folder`, which is made if need be, and return the paths.

    A frame becomes Parquet (Arrow IPC where Parquet lacks one of its types), JSON becomes JSON; references to files
    become a JSON list of path, SHA-256 and size. Raises `ArtifactError` if a file is there already, unless `force`.
    """
    artifact: Artifact = project.store_to_read.artifacts.load(ref, project.plugins.artifacts.load(ref.type_name))
    folder.mkdir(parents=True, exist_ok=True)
    writer = _FolderWriter(folder, force=force)
    artifact.save(writer)
    return tuple(writer.written)


class _FolderWriter:
    """An `ArtifactWriter` that writes files."""

    def __init__(self, folder: Path, *, force: bool) -> None:
        self._folder = folder
        self._force = force
        self.written: list[Path] = []

    def json(self, name: str, value: JSON) -> None:
        text = json.dumps(value, indent=2, ensure_ascii=False, default=_plain)
        write_whole(self._path(name, ".json"), f"{text}\n".encode())

    def bytes(self, name: str, data: bytes, *, format: str) -> None:  # noqa: A002  # the protocol's name
        write_whole(self._path(name, _EXTENSIONS.get(format, ".bin")), data)

    def frame(self, name: str, frame: SupportsArrowStream) -> None:
        from headrace.store import frames

        made = frames.to_polars(frame, name)
        kind = frames.format_of(made, name)
        with replacing(self._path(name, ".parquet" if kind == "parquet" else ".arrow")) as unfinished:
            frames.write(made, unfinished, kind)

    def files(self, name: str, references: Sequence[FileReference]) -> None:
        self.json(name, [{"path": r.path, "sha256": r.sha256, "size": r.size} for r in references])

    def _path(self, name: str, extension: str) -> Path:
        path = self._folder / (name if "." in name else name + extension)
        if path.exists() and not self._force:
            raise ArtifactError(
                "there is a file of this name already", place=str(path), hint="Use --force to replace it."
            )
        self.written.append(path)
        return path


def _plain(value: Any) -> Any:
    """Tuples and mappings of other kinds, as JSON has them."""
    return dict(value) if hasattr(value, "keys") else list(value)
