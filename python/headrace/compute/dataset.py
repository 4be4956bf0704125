"""`Dataset`: a table as an artifact, kept as a copy or by reference."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from headrace.errors import ArtifactError, DataError
from headrace.types import JSON, ArtifactReader, ArtifactWriter, FileReference, SupportsArrowStream

if TYPE_CHECKING:
    import polars as pl

FileFormat = Literal["parquet", "csv", "ndjson", "ipc"]


class Dataset:
    """A table: an immutable frame with lazy access.

    `frame()` gives a polars DataFrame, read on first use; `schema` maps column name to polars dtype as text; `num_rows`
    is known without reading. A dataset made by `by_reference` is recorded as paths with content hashes: the files are
    not copied, and one that changed or vanished since is an `ArtifactError` that names it when the frame is read.
    """

    type_name: ClassVar[str] = "dataset"
    __slots__ = ("_frame", "_open", "num_rows", "reference", "schema")

    def __init__(
        self,
        *,
        schema: Mapping[str, str],
        num_rows: int,
        open_frame: Callable[[], pl.DataFrame],
        reference: Mapping[str, Any] | None = None,
    ) -> None:
        self.schema = dict(schema)
        self.num_rows = num_rows
        self.reference = reference
        self._open = open_frame
        self._frame: pl.DataFrame | None = None

    @classmethod
    def from_frame(cls, frame: SupportsArrowStream) -> Dataset:
        """From any Arrow-capable frame, without a copy where polars can."""
        import polars as pl

        made = frame if isinstance(frame, pl.DataFrame) else pl.DataFrame(frame)
        schema = {name: str(dtype) for name, dtype in made.schema.items()}
        return cls(schema=schema, num_rows=made.height, open_frame=lambda: made)

    @classmethod
    def by_reference(
        cls, paths: Sequence[Path], *, format: FileFormat, options: Mapping[str, JSON] | None = None
    ) -> Dataset:
        """Record files instead of copying them. `options` are keyword arguments of polars' `scan_*`, as JSON."""
        files = tuple(reference_file(path) for path in paths)
        options = dict(options or {})
        lazy = _scan([f.path for f in files], format, options)
        schema = {name: str(dtype) for name, dtype in lazy.collect_schema().items()}
        import polars as pl

        num_rows = int(lazy.select(pl.len()).collect().item())
        return cls(
            schema=schema,
            num_rows=num_rows,
            open_frame=lambda: _open_reference(files, format, options),
            reference={"format": format, "options": options, "files": files},
        )

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(self.schema)

    def frame(self) -> pl.DataFrame:
        if self._frame is None:
            self._frame = self._open()
        return self._frame

    def save(self, to: ArtifactWriter) -> None:
        about: dict[str, Any] = {"columns": [[k, v] for k, v in self.schema.items()], "num_rows": self.num_rows}
        if self.reference is None:
            to.frame("frame", self.frame())
        else:
            about |= {"format": self.reference["format"], "options": self.reference["options"]}
            to.files("files", self.reference["files"])
        to.json("about", about)

    @classmethod
    def load(cls, source: ArtifactReader) -> Dataset:
        about = source.json("about")
        schema = {str(k): str(v) for k, v in about["columns"]}
        num_rows = int(about["num_rows"])
        if not source.has("files"):
            return cls(schema=schema, num_rows=num_rows, open_frame=lambda: source.frame("frame"))
        files, format_, options = source.files("files"), about["format"], about["options"]
        return cls(
            schema=schema,
            num_rows=num_rows,
            open_frame=lambda: _open_reference(files, format_, options),
            reference={"format": format_, "options": options, "files": files},
        )

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        return self.frame().__arrow_c_stream__(requested_schema)

    def __repr__(self) -> str:
        return f"Dataset({self.num_rows} rows x {len(self.schema)} columns)"

    def _repr_html_(self) -> str:
        return self.frame().head(10)._repr_html_()


def reference_file(path: Path) -> FileReference:
    """Hash a file: its absolute path, SHA-256 and size."""
    try:
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
            size = os.fstat(stream.fileno()).st_size
    except OSError as error:
        msg = f"cannot read the file: {error.strerror}"
        raise DataError(msg, place=str(path), hint="Check that it exists and that you may read it.") from error
    return FileReference(path=str(path.resolve()), sha256=digest, size=size)


def _open_reference(files: Sequence[FileReference], format_: FileFormat, options: Mapping[str, Any]) -> pl.DataFrame:
    for recorded in files:
        if not Path(recorded.path).exists():
            msg = "a file that this dataset refers to is gone"
            raise ArtifactError(msg, place=recorded.path, hint="Put it back, or run again from the data you have.")
        if reference_file(Path(recorded.path)).sha256 != recorded.sha256:
            msg = "a file that this dataset refers to has changed since it was recorded"
            raise ArtifactError(msg, place=recorded.path, hint="Run again to record it as a new input.")
    return _scan([f.path for f in files], format_, options).collect()


def _scan(paths: Sequence[str], format_: FileFormat, options: Mapping[str, Any]) -> pl.LazyFrame:
    import polars as pl

    readers: dict[FileFormat, Callable[..., pl.LazyFrame]] = {
        "parquet": pl.scan_parquet,
        "csv": pl.scan_csv,
        "ndjson": pl.scan_ndjson,
        "ipc": pl.scan_ipc,
    }
    return readers[format_](list(paths), **options)
