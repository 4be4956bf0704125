"""The content hash of a frame, and the hash of each value of a column."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headrace import _core

if TYPE_CHECKING:
    from headrace.types import SupportsArrowStream


def frame_digest(frame: SupportsArrowStream, *, threads: int | None = None) -> str:
    """Hash what a frame says, not how it lies in memory.

    Equal for equal column names, column order, logical types, nulls and values, whatever the slices, chunks, validity
    bitmaps, offset widths or string layouts, and whatever lies under a null. Different for `-0.0` and `0.0`, for NaNs
    with different payloads, for null and the empty string, for int32 and int64, and for a categorical (dictionary)
    column and a plain one. The definition, byte by byte, is in `rust/headrace-core/src/hash.rs`.

    Parameters
    ----------
    frame
        Anything with `__arrow_c_stream__` or `__arrow_c_array__` (polars, pyarrow, pandas, DuckDB). A stream is
        consumed, one batch at a time; the interpreter is released meanwhile.
    threads
        At most so many columns at once; default: as many as the process may use. The digest does not depend on it.

    Returns
    -------
    str
        SHA-256 as 64 lower-case hexadecimal digits.

    Raises
    ------
    DataError
        `frame` is not a frame, or holds a column of a type that has no hash (union, run-end encoded, 128-bit integer);
        the message names the column. Or the producer of the stream failed.

    """
    return _core.frame_digest(frame, threads=threads)


def murmur3_column(
    column: SupportsArrowStream, *, seed: int = 0, null: int | None = None, threads: int | None = None
) -> Any:
    """MurmurHash3_x86_32 of each string of a column: what `sklearn.utils.murmurhash3_32` gives for its UTF-8.

    Parameters
    ----------
    column
        A column of strings or bytes, plain or dictionary, or a frame of one: anything with `__arrow_c_stream__` or
        `__arrow_c_array__`. The interpreter is released meanwhile.
    seed
        0 to 2^32 - 1.
    null
        What a null gets. Without it, a null is an error.
    threads
        At most so many threads; default: as many as the process may use. The hashes do not depend on it.

    Returns
    -------
    numpy.ndarray
        int32, one for each row, on memory that Rust has filled.

    Raises
    ------
    DataError
        The column is no column of strings, a string is not UTF-8, or a value is null and `null` is not given; the
        message names the row.

    """
    return _core.murmur3_column(column, seed=seed, null=null, threads=threads)
