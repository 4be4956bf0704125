"""`Dataset`: a table as an artifact, kept as a copy or by reference."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from headrace.compute.dtypes import dtype_from_text
from headrace.errors import ArtifactError, DataError
from headrace.types import JSON, ArtifactReader, ArtifactWriter, FileReference, SupportsArrowStream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import polars as pl
    import pyarrow as pa

_BATCH_ROWS, _BATCH_VALUES = 200_000, 8_000_000
FileFormat = Literal["parquet", "csv", "ndjson", "ipc"]


class Dataset:
    """A table: an immutable frame with lazy access.

    `frame()` gives a polars DataFrame, read on first use; `lazy()` a LazyFrame, which for a dataset by reference reads
    the files in batches; `schema` maps column name to polars dtype as text; `num_rows` is known without reading. A
    dataset made by `by_reference` is recorded as paths with content hashes: the files are not copied, and one that
    changed or vanished since is an `ArtifactError` that names it when the frame is read.
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
        return cls(schema=_texts(made.schema), num_rows=made.height, open_frame=lambda: made)

    @classmethod
    def by_reference(
        cls,
        paths: Sequence[Path],
        *,
        format: FileFormat,  # noqa: A002  # the word that everybody expects
        options: Mapping[str, JSON] | Sequence[Mapping[str, JSON]] | None = None,
    ) -> Dataset:
        """Record files instead of copying them.

        Parameters
        ----------
        paths
            The files, in the order of their rows. The first one decides the order of the columns.
        format
            Of all of them.
        options
            Keyword arguments of polars' `scan_*`, as JSON; one mapping for all files, or one a file. Three keys are
            ours: `schema`, a list of `[column, type]` (types as `compute.dtypes` reads them; columns of CSV by
            position); `times`, a list of `[column, type, format]`, text columns that are parsed by a strptime format;
            `constants`, a list of `[column, type, text]` that are put after the columns of the file.

        Raises
        ------
        DataError
            A file cannot be read. Files that do not fit each other are the caller's to find: polars' error comes out.

        """
        files = tuple(reference_file(path) for path in paths)
        each = _an_option_each(options, len(files))
        reference = _Reference(format, files, each)
        lazy = reference.scan()
        import polars as pl

        schema = _texts(lazy.collect_schema())
        num_rows = int(lazy.select(pl.len()).collect(engine="streaming").item())
        made = cls(schema=schema, num_rows=num_rows, open_frame=reference.read, reference=reference.about())
        reference.verify()
        return made

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(self.schema)

    def frame(self) -> pl.DataFrame:
        if self._frame is None:
            self._frame = self._open()
        return self._frame

    def lazy(self) -> pl.LazyFrame:
        """The same rows as `frame()`, read when they are collected; collect with `engine="streaming"` to bound memory.

        For a dataset by reference the files are hashed now, and polars reads them later.
        """
        if self._frame is None and self.reference is not None:
            reference = _Reference(self.reference["format"], self.reference["files"], self.reference["options"])
            reference.verify()
            return reference.scan()
        return self.frame().lazy()

    def batches(self, rows: int | None = None, *, columns: Sequence[str] | None = None) -> Iterator[pl.DataFrame]:
        """The same rows as `frame()`, so many at a time; one without rows if there are none.

        `rows`: default 200,000, of wide tables fewer, so that a batch has 8 million values at most. `columns`: these
        only; the others are not read where the format allows it. Files of a dataset by reference are hashed, then read
        in batches, and looked at again at the end: an `ArtifactError` says that what was given is not what was
        recorded. Held in memory are some batches, or some row groups of a Parquet file where those are larger.
        """
        names = self.columns if columns is None else tuple(columns)
        if rows is None:
            rows = max(1, min(_BATCH_ROWS, _BATCH_VALUES // max(len(names), 1)))
        if self._frame is not None or self.reference is None:
            frame = self.frame().select(_named(names))
            for start in range(0, max(frame.height, 1), rows):
                yield frame.slice(start, rows)
        else:
            files = self.reference["files"]
            yield from _Reference(self.reference["format"], files, self.reference["options"]).batches(rows, names)

    def save(self, to: ArtifactWriter) -> None:
        about: dict[str, Any] = {"columns": [[k, v] for k, v in self.schema.items()], "num_rows": self.num_rows}
        if self.reference is None:
            to.frame("frame", self.frame())
        else:
            about |= {"format": self.reference["format"], "options": list(self.reference["options"])}
            to.files("files", self.reference["files"])
        to.json("about", about)

    @classmethod
    def load(cls, source: ArtifactReader) -> Dataset:
        about = source.json("about")
        schema = {str(k): str(v) for k, v in about["columns"]}
        num_rows = int(about["num_rows"])
        if not source.has("files"):
            return cls(schema=schema, num_rows=num_rows, open_frame=lambda: source.frame("frame"))
        reference = _Reference(about["format"], source.files("files"), tuple(about["options"]))
        return cls(schema=schema, num_rows=num_rows, open_frame=reference.read, reference=reference.about())

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        return self.frame().__arrow_c_stream__(requested_schema)

    def __repr__(self) -> str:
        return f"Dataset({self.num_rows} rows x {len(self.schema)} columns)"

    def _repr_html_(self) -> str:
        return self.frame().head(10)._repr_html_()


@dataclass(frozen=True)
class _Reference:
    """Files outside the store, and how polars is to read each."""

    format: FileFormat
    files: tuple[FileReference, ...]
    options: tuple[Mapping[str, Any], ...]

    def about(self) -> dict[str, Any]:
        return {"format": self.format, "options": self.options, "files": self.files}

    def verify(self) -> None:
        """Hash every file again. Size and times are no proof: both can be set."""
        for recorded in self.files:
            if not Path(recorded.path).exists():
                raise ArtifactError(
                    "a file that this dataset refers to is gone",
                    place=recorded.path,
                    hint="Put it back, or run again from the data you have.",
                )
            if reference_file(Path(recorded.path)).sha256 != recorded.sha256:
                raise ArtifactError(
                    "a file that this dataset refers to has changed since it was recorded",
                    place=recorded.path,
                    hint="Run again to record it as a new input.",
                )

    def scan(self) -> pl.LazyFrame:
        import polars as pl

        parts = [
            scan_file(Path(file.path), self.format, options)
            for file, options in zip(self.files, self.options, strict=True)
        ]
        if len(parts) == 1:
            return parts[0]
        order = pl.selectors.by_name(*parts[0].collect_schema().names())
        return pl.concat([parts[0], *(part.select(order) for part in parts[1:])], how="vertical")

    def read(self) -> pl.DataFrame:
        """Verify, read, and look again at each file, so that what was read is what was hashed."""
        with self._unchanged():
            return self.scan().collect()

    def batches(self, rows: int, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        """As `read`, so many rows at a time, and of these columns."""
        with self._unchanged():
            scanned = self.scan().select(_named(columns))
            empty = True
            for batch in scanned.collect_batches(chunk_size=rows, maintain_order=True, engine="streaming"):
                empty = False
                yield batch
            if empty:
                yield scanned.head(0).collect()

    @contextmanager
    def _unchanged(self) -> Iterator[None]:
        before = [_identity(Path(file.path)) for file in self.files]
        self.verify()
        yield
        for file, then in zip(self.files, before, strict=True):
            if _identity(Path(file.path)) != then:
                raise ArtifactError(
                    "a file that this dataset refers to changed while it was read",
                    place=file.path,
                    hint="Run again when nothing writes to it any more.",
                )


@contextmanager
def streamed(data: Dataset, columns: Sequence[str] | None = None) -> Iterator[Callable[[], pa.RecordBatchReader]]:
    """A function that opens the rows of a dataset as an Arrow stream, in batches, anew at each call.

    Within the block only. What reading them raises leaves the block as it was: an Arrow stream hands on no more than
    its text.
    """
    import polars as pl
    import pyarrow as pa

    failed: list[Exception] = []
    newest = pl.CompatLevel.newest()

    def batches() -> Iterator[pl.DataFrame]:
        try:
            yield from data.batches(columns=columns)
        except Exception as error:
            failed.append(error)
            raise

    def opened() -> pa.RecordBatchReader:
        read = batches()
        first = next(read).to_arrow(compat_level=newest)
        rest = (batch for one in read for batch in one.to_arrow(compat_level=newest).to_batches())
        return pa.RecordBatchReader.from_batches(first.schema, chain(first.to_batches(), rest))

    try:
        yield opened
    except Exception:
        if failed:
            raise failed[0] from None
        raise


def reference_file(path: Path) -> FileReference:
    """Hash a file: its absolute path, SHA-256 and size."""
    try:
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
            size = stream.tell()
    except OSError as error:
        raise DataError(
            f"cannot read the file: {error.strerror}",
            place=str(path),
            hint="Check that it exists and that you may read it.",
        ) from error
    return FileReference(path=str(path.resolve()), sha256=digest, size=size)


def scan_file(path: Path, format_: FileFormat, options: Mapping[str, Any]) -> pl.LazyFrame:
    """One file as a LazyFrame. `options` as in `Dataset.by_reference`; the name is never taken as a glob."""
    import polars as pl

    given = dict(options)
    constants, times = given.pop("constants", ()), given.pop("times", ())
    if "schema" in given:
        given["schema"] = {name: dtype_from_text(text) for name, text in given["schema"]}
    if format_ == "ndjson":
        import glob

        lazy = pl.scan_ndjson(glob.escape(str(path)), **given)  # it has no `glob=False`
    elif format_ == "csv":
        lazy = pl.scan_csv(path, glob=False, **given)
    elif format_ == "parquet":
        lazy = pl.scan_parquet(path, glob=False, hive_partitioning=False, **given)
    else:
        lazy = pl.scan_ipc(path, glob=False, hive_partitioning=False, **given)
    for name, text, form in times:
        dtype: Any = dtype_from_text(text)
        lazy = lazy.with_columns(pl.selectors.by_name(name).str.strptime(dtype, form))
    if constants:
        lazy = lazy.with_columns(
            pl.lit(value, dtype=pl.String).cast(dtype_from_text(text)).alias(name) for name, text, value in constants
        )
    return lazy


def _an_option_each(
    options: Mapping[str, JSON] | Sequence[Mapping[str, JSON]] | None, count: int
) -> tuple[dict[str, Any], ...]:
    if options is None or isinstance(options, Mapping):
        return tuple(dict(options or {}) for _ in range(count))
    each = tuple(dict(one) for one in options)
    if len(each) != count:
        raise DataError(f"{len(each)} sets of options for {count} files", hint="Give one for all, or one a file.")
    return each


def _identity(path: Path) -> tuple[int, int, int, int]:
    try:
        found = path.stat()
    except FileNotFoundError:
        return (0, 0, 0, 0)
    return (found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def _named(columns: Sequence[str]) -> Any:
    """Columns by their names, whatever these look like: polars takes "^a$" for a pattern."""
    import polars as pl

    return pl.selectors.by_name(*columns)


def _texts(schema: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(dtype) for name, dtype in schema.items()}
