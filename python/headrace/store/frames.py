"""How frames lie in the store: Parquet with zstd, and Arrow IPC for the one thing that Parquet has no word for.

Every polars type but `Object` comes back from Parquet with the digest that it went in with (the tests hold that); a
struct without fields is the exception, and goes to IPC.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headrace.errors import ArtifactError, StoreError

if TYPE_CHECKING:
    from pathlib import Path

    import polars as pl

_MAGIC = {b"PAR1": "parquet", b"ARRO": "arrow"}


def to_polars(frame: Any, part: str) -> pl.DataFrame:
    """Any Arrow-capable frame as a polars frame. Raises `ArtifactError` for what is not one."""
    import polars as pl

    if isinstance(frame, pl.DataFrame):
        return frame
    if not hasattr(frame, "__arrow_c_stream__"):
        raise ArtifactError(
            f"{type(frame).__name__} is not a frame", place=part, hint="Give a polars, pyarrow or pandas frame."
        )
    return pl.DataFrame(frame)


def format_of(frame: pl.DataFrame, part: str) -> str:
    """In which format the frame can be kept. Raises `ArtifactError` naming a column that cannot be kept at all."""
    fitting = "parquet"
    for name, dtype in frame.schema.items():
        found = _peculiar(dtype)
        if found == "object":
            raise ArtifactError(
                f"column {name!r} has the type {dtype}, which no file format can keep",
                place=part,
                hint="Cast it, for instance to strings, or drop it.",
            )
        if found is not None:
            fitting = "arrow"
    if fitting == "parquet" and frame.width == 0 and frame.height:
        fitting = "arrow"
    return fitting


def _peculiar(dtype: Any) -> str | None:
    """`"object"` if Python objects are anywhere in the type, `"empty struct"` if a struct without fields is."""
    import polars as pl

    if isinstance(dtype, pl.Object) or dtype == pl.Object:
        return "object"
    if isinstance(dtype, pl.Struct):
        inner = [_peculiar(field.dtype) for field in dtype.fields]
        return "empty struct" if not inner else next((found for found in inner if found), None)
    if isinstance(dtype, pl.List | pl.Array):
        return _peculiar(dtype.inner)
    return None


def write(frame: pl.DataFrame, path: Path, file_format: str) -> None:
    """Write a frame to a file. Raises `StoreError` if that fails, for a full disk above all."""
    import polars as pl

    try:
        if file_format == "parquet":
            frame.write_parquet(path, compression="zstd")
        else:
            frame.write_ipc(path, compression="zstd")
    except (OSError, pl.exceptions.PolarsError) as error:
        raise StoreError(
            f"a frame of {frame.height} rows cannot be written: {error}",
            place=str(path),
            hint="Make room on that disk (`headrace store gc` helps), then run again. Nothing was half-written.",
        ) from error


def read(path: Path) -> pl.DataFrame:
    """Read a frame from a file; its first bytes say how. Raises `ArtifactError` for anything else."""
    import polars as pl

    with path.open("rb") as stream:
        kind = _MAGIC.get(stream.read(4))
    if kind is None:
        raise ArtifactError(
            "this is neither Parquet nor Arrow IPC", place=str(path), hint="`headrace store fsck` checks the store."
        )
    return pl.read_parquet(path) if kind == "parquet" else pl.read_ipc(path)
