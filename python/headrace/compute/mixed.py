"""Which column of a frame, or of a Series, of pandas cannot be handed over through Arrow, and in which row.

pandas keeps values of several types in one column of objects; pyarrow says that it cannot convert it, and not where.
"""

from __future__ import annotations

import math
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from headrace.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator


def is_pandas(frame: object) -> bool:
    """Whether the frame is one of pandas, whose index becomes a column on the way to Arrow."""
    return type(frame).__module__.partition(".")[0] == "pandas"


def without_index(frame: Any) -> Any:
    """A frame of pandas without an index that would come along as a column; anything else as it is.

    For the doors that hand a frame to pyarrow; `headrace._core` does the same at its own.
    """
    if is_pandas(frame) and getattr(frame, "ndim", 0) == 2 and type(frame.index).__name__ != "RangeIndex":
        return frame.reset_index(drop=True)
    return frame


@contextmanager
def naming_column(frame: Any) -> Iterator[None]:
    """A `DataError` that does not say where it happened says so, if `frame` is of pandas and holds mixed objects."""
    try:
        yield
    except DataError as error:
        if error.place is None:
            error.place = place_of_mixed(frame)
        raise


def place_of_mixed(frame: Any) -> str | None:
    """`column 'a', row 2` of the first value that does not go with those before it; None if there is none."""
    if not is_pandas(frame):
        return None
    if getattr(frame, "ndim", 0) == 1:
        frame = frame.to_frame("" if frame.name is None else frame.name)
    for position, name in enumerate(frame.columns):
        column = frame.iloc[:, position]
        if column.dtype != object or _is_readable(column):
            continue
        row = _first_odd(column.tolist())
        return f"column {str(name)!r}" if row is None else f"column {str(name)!r}, row {row}"
    return None


def _is_readable(column: Any) -> bool:
    import pyarrow as pa

    try:
        pa.array(column, from_pandas=True)
    except (ValueError, TypeError, OverflowError):  # pyarrow's own errors are among them
        return False
    return True


def _first_odd(values: list[Any]) -> int | None:
    first: type | None = None
    for row, value in enumerate(values):
        if value is None or (isinstance(value, float) and math.isnan(value)) or type(value).__name__ == "NAType":
            continue  # missing, as NaN and as pandas' own, which has no truth
        first = first or type(value)
        if type(value) is not first or not _is_readable([value]):
            return row
    return None
