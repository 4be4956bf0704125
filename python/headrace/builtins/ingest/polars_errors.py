"""What polars raises, as an error that a person can use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import polars as pl

from headrace.builtins.ingest.locate import SourceFile
from headrace.errors import DataError


@contextmanager
def polars_errors(file: SourceFile) -> Iterator[None]:
    """Turn what polars raises, its panics included, into a `DataError` that names the file."""
    try:
        yield
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        text = str(error).strip().split("\n\n")[0].replace("\n", " ")
        raise DataError(f"the file cannot be read: {text[:300]}", place=file.shown, hint="Write it again.") from error
