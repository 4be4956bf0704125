"""Runs a plan: the Rust core, which the server calls as well."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from headrace import _core
from headrace.compute.mixed import is_pandas

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.compute.plan.document import PlanDocument
    from headrace.types import SupportsArrowStream


def compile_plan(plan: PlanDocument) -> _core.Plan:
    """A plan ready to be executed: everything that is looked up is built once.

    `matrix(frame, order="C", threads=None)`: all outputs of a frame (anything with `__arrow_c_stream__`) as float32
    [rows, outputs], row-major or (`"F"`) column-major, rows in the order of the frame, every NaN 0x7fc00000.
    `sparse(frame, threads=None)`: the same as `(data, indices, indptr)` of scipy's CSR, zeros left out and NaN kept.
    `row(json)`: the outputs of one JSON object with a value a column. A row's bits depend on nothing but the row: not
    on other rows, nor on how a frame is chunked, nor on the number of threads. The interpreter is released meanwhile.
    Columns beyond the plan's are ignored, but with `strict=True` those that training did not have are refused, as
    `check_columns(names)` does for names alone.

    Raises
    ------
    ModelFormatError
        The document is not valid.
    DataError
        From its methods: a column is missing, extra (where `strict`) or of a type that is neither the plan's nor a
        declared cast of it (see `headrace.compute.plan.read`), or its buffers are damaged; with the column and the
        first such row.

    """
    return _core.Plan(json.dumps(plan.as_json(), allow_nan=False))


def exportable(frame: SupportsArrowStream, inputs: Sequence[str]) -> SupportsArrowStream:
    """The frame itself, or one that hands over the same columns for less, or at all.

    pandas converts each column to Arrow, so it is asked for the plan's only. polars ends the process when it is asked
    to export a column with a NUL in its name; U+FFFE, which is no character, stands for it, and the core reads it so.
    """
    library = type(frame).__module__.partition(".")[0]
    if not hasattr(frame, "__arrow_c_stream__"):
        return frame  # its reader says what it is not
    columns = list(getattr(frame, "columns", ()))
    if is_pandas(frame) and 0 < len(inputs) < len(columns) and set(inputs) <= set(columns):
        return frame[list(inputs)]  # type: ignore[index, no-any-return]  # a DataFrame, as its columns say
    if library == "polars" and any("\0" in name for name in columns):
        renamed = {name: name.replace("\0", "\ufffe") for name in columns if "\0" in name}
        return frame.rename(renamed)  # type: ignore[attr-defined, no-any-return]
    return frame
