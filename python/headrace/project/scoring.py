"""Predicts a file with a registered version, and writes what comes out."""

from __future__ import annotations

import shutil
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.errors import DataError, SpecError
from headrace.project.reading import is_text, read_file
from headrace.project.writing import replacing

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import polars as pl

    from headrace.project import Project
    from headrace.types import ModelVersion

WRITTEN = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
    ".arrow": "ipc",
    ".ipc": "ipc",
    ".feather": "ipc",
}
ALL = ("*",)
STDIN = "standard input"
_ROWS_AT_ONCE = 50_000


@dataclass(frozen=True)
class Predictions:
    """What a version predicts for a file: carried columns first, then those of `Predictor.predict`."""

    version: ModelVersion
    frame: pl.DataFrame


def predict_file(
    project: Project,
    ref: str,
    path: Path,
    *,
    stated: str | None = None,
    keep: Sequence[str] = (),
    shown: str | None = None,
) -> Predictions:
    """Predict every row of a file, order kept. `keep` are columns of it to carry along, `("*",)` all.

    `shown` is how messages call the file; default: its path.

    Raises `DataError` naming file, column and row; `NotFoundError` for an unknown version.
    """
    shown = str(path) if shown is None else shown
    package = project.registry.resolve(ref)
    predictor = package.predictor()
    data = read_file(project, path, expected=predictor.plan.inputs, stated=stated)
    names = list(data.schema) if tuple(keep) == ALL else list(keep)
    for name in names:
        if name not in data.schema:
            raise SpecError(
                f"there is no column {name!r} to carry along",
                place=shown,
                hint=f"The columns are {', '.join(list(data.schema)[:20])}.",
            )
    rows = data.frame()
    try:
        predicted = predictor.predict(rows)
    except DataError as error:
        place = f"{shown}, {error.place}" if error.place else shown
        raise DataError(error.message, place=place, hint=error.hint) from error
    for name in predicted.columns:
        if name in names:
            raise SpecError(
                f"the column {name!r} of the file has the name of an output of the model",
                place=shown,
                hint="Leave it out of --columns, or rename it in the file.",
            )
    # A selection of no columns has no rows, so there would be nothing to put the predictions beside.
    carried = rows[names].hstack(predicted.get_columns()) if names else predicted
    return Predictions(package.version, carried)


def write_frame(frame: pl.DataFrame, path: Path | None) -> None:
    """Write a frame in the format that the extension of `path` names, whole or not at all; None: CSV on stdout."""
    if path is None:
        for start in range(0, max(frame.height, 1), _ROWS_AT_ONCE):  # so that a reader that leaves is noticed
            part = frame.slice(start, _ROWS_AT_ONCE)
            sys.stdout.buffer.write(part.write_csv(include_header=start == 0).encode())
        return
    kind = WRITTEN.get(path.suffix.lower())
    if kind is None:
        raise SpecError(
            f"{path.suffix or 'no extension'!r} names no format that can be written",
            place=str(path),
            hint=f"Use one of {', '.join(WRITTEN)}.",
        )
    with replacing(path) as unfinished:
        if kind == "parquet":
            frame.write_parquet(unfinished)
        elif kind == "csv":
            frame.write_csv(unfinished)
        elif kind == "ndjson":
            frame.write_ndjson(unfinished)
        else:
            frame.write_ipc(unfinished)


def carried(columns: str | None) -> tuple[str, ...]:
    """`a,b` as `("a", "b")`. A name with a comma can only be carried with all."""
    return tuple(name for name in (columns or "").split(",") if name)


@contextmanager
def stdin_as_file(stated: str | None) -> Iterator[Path]:
    """A temporary file, of the name `STDIN`, with what comes there. `DataError` for text that is not `stated`."""
    with tempfile.TemporaryDirectory(prefix="headrace-stdin-") as folder:
        path = Path(folder) / STDIN
        with path.open("wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file)
        if stated is None and path.stat().st_size and is_text(path):
            raise DataError(
                "this is text, and text does not say what it is",
                place=STDIN,
                hint="Pass `--format csv` or `--format ndjson`.",
            )
        yield path
