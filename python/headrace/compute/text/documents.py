"""What a vectorizer is given, document by document, for the steps that happen in Python."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headrace.compute.mixed import without_index
from headrace.errors import DataError, DataTypeError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def is_column(documents: Any) -> bool:
    """Whether they hand themselves over through Arrow."""
    return hasattr(documents, "__arrow_c_stream__") or hasattr(documents, "__arrow_c_array__")


def iterated(documents: Any) -> Iterable[Any]:
    """The documents one by one; of a column the values, where a null is an empty text.

    Raises
    ------
    DataTypeError
        They are no iterable.
    DataError
        Now or on the way: what is given is no column of text; names column and row.

    """
    if not is_column(documents):
        return _listed(documents)
    import pyarrow as pa

    documents = without_index(documents)
    name = str(getattr(documents, "name", None) or "")
    try:
        column = pa.chunked_array(documents) if hasattr(documents, "__arrow_c_stream__") else pa.array(documents)
    except (pa.ArrowException, TypeError) as error:
        raise DataError(f"the column cannot be read: {error}", hint="Pass a column of text.") from error
    if pa.types.is_struct(column.type):
        if column.type.num_fields != 1:
            raise DataError(
                f"the frame has {column.type.num_fields} columns, expected one column of text",
                hint="Select the column.",
            )
        name, flat = column.type.field(0).name, column.flatten()
        column = flat[0]
    return _values(column, name)


def _listed(documents: Any) -> Iterable[Any]:
    if hasattr(documents, "collect_schema"):
        raise DataTypeError(
            "the documents are a LazyFrame, expected an iterable or a column of text",
            hint="Call `collect()` on it, and select the column.",
        )
    try:
        iter(documents)
    except TypeError as error:
        raise DataTypeError(
            f"the documents are of type {type(documents).__name__}, expected an iterable or a column of text",
            hint="Pass a list of texts, or a column (polars, pyarrow, pandas).",
        ) from error
    return documents  # type: ignore[no-any-return]


def _values(column: Any, name: str) -> Iterator[Any]:
    """The values of a column of text one by one, or which of them is none."""
    import pyarrow as pa

    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    tests = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_null)
    bytes_too = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view)
    if not any(test(kind) for test in (*tests, *bytes_too)):
        raise DataError(
            f"the column has the Arrow type {column.type}, expected text",
            place=f"column {name!r}",
            hint="Cast it to text first, or leave it out.",
        )
    for row, value in enumerate(column):
        try:
            text = value.as_py()
        except UnicodeDecodeError as error:
            raise DataError(
                f"the text is not UTF-8: byte {error.start} of it begins no character",
                place=f"column {name!r}, row {row}",
                hint="Cast it to binary and say which encoding it has.",
            ) from error
        yield "" if text is None else text
