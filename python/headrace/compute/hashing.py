"""The content hash of a frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
