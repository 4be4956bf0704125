"""CSV: its structure checked record by record, and its types decided from all of its rows, once.

Polars reads the values. Before that, Python's `csv` walks the whole file, because polars keeps silent about much: it
renames duplicate columns, fills short records with nulls, reads blank lines as rows, and takes the type of a column
from its first rows. The outcome is a complete schema, so that later reads guess nothing.
"""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

import polars as pl

from headrace.builtins.ingest.csv_types import CsvDialect, decide_types
from headrace.builtins.ingest.formats import Compression, open_unpacked
from headrace.builtins.ingest.locate import SourceFile
from headrace.builtins.ingest.polars_errors import polars_errors
from headrace.errors import DataError

_CHUNK = 1 << 20


@dataclass(frozen=True)
class TextTable:
    """One text file understood: column -> type (None: no value at all), rows, options for the scan, what was noted."""

    types: dict[str, str | None]
    rows: int
    options: dict[str, Any]
    times: dict[str, tuple[str, str]]
    notes: tuple[str, ...]


def understand_csv(file: SourceFile, dialect: CsvDialect, compression: Compression) -> TextTable:
    """Structure, column names and types of one CSV file. `DataError` names file, line, column and value."""
    names, rows, notes = _structure(file, dialect, compression)
    if rows == 0:
        raise DataError("the file has a header and no rows", place=file.shown, hint="Check how it was written.")
    base: dict[str, Any] = {
        "has_header": False,
        "skip_rows": 1 if dialect.has_header else 0,
        "n_rows": rows,
        "separator": dialect.separator,
        "quote_char": dialect.quote,
        "decimal_comma": dialect.decimal_comma,
    }
    decided = decide_types(file, names, base, dialect)
    options = base if not decided.null_values else {**base, "null_values": decided.null_values}
    return TextTable(decided.types, rows, options, decided.times, (*notes, *decided.notes))


# --- structure --------------------------------------------------------------------------------------------------------


def _structure(file: SourceFile, dialect: CsvDialect, compression: Compression) -> tuple[list[str], int, list[str]]:
    """Column names, the number of rows (blank lines at the end not counted), notes."""
    if compression == "zstd":
        return _structure_by_polars(file, dialect)
    notes: list[str] = []
    names: list[str] | None = None
    rows = blank = 0
    with _text(file.path, compression) as stream:
        quoting: Literal[0, 3] = csv.QUOTE_NONE if dialect.quote is None else csv.QUOTE_MINIMAL
        reader = csv.reader(
            stream, delimiter=dialect.separator, quotechar=dialect.quote or '"', quoting=quoting, strict=True
        )
        for record in _records(reader, file, compression):
            if names is None:
                names = _names(record if dialect.has_header else None, len(record), dialect, file, notes)
                if dialect.has_header:
                    continue
            if not record:
                blank += 1
                continue
            if blank and len(names) > 1:
                raise DataError(
                    f"line {reader.line_num - blank} is empty, and data follows it",
                    place=file.shown,
                    hint="Remove empty lines from the file.",
                )
            if len(record) != len(names):
                _ragged(file, reader.line_num, record, names)
            rows += 1 + (blank if len(names) == 1 else 0)
            blank = 0
    if names is None:
        raise DataError("the file has no line with column names", place=file.shown, hint="Check how it was written.")
    return names, rows, notes


def _records(reader: Any, file: SourceFile, compression: Compression) -> Iterator[list[str]]:
    try:
        yield from reader
    except csv.Error as error:
        large = "field larger" in str(error)
        raise DataError(
            f"line {reader.line_num}: " + ("a field is longer than 131,072 characters" if large else str(error)),
            place=file.shown,
            hint='Look for a quote (") that is not closed, or not doubled inside a quoted field; '
            "if the quotes are plain text, set `quote = false`.",
        ) from error
    except UnicodeDecodeError as error:
        raise not_utf8(file, compression) from error
    except (OSError, EOFError) as error:
        raise DataError(f"cannot read the file: {error}", place=file.shown, hint="Copy or write it again.") from error


def _ragged(file: SourceFile, line: int, record: Sequence[str], names: Sequence[str]) -> None:
    start = ", ".join(repr(value) for value in record[:3])
    raise DataError(
        f"line {line} has {len(record)} fields ({start}, ...), and the header has {len(names)}",
        place=file.shown,
        hint="Mend that line; if the separator is not what you meant, set `separator`.",
    )


def _names(header: list[str] | None, width: int, dialect: CsvDialect, file: SourceFile, notes: list[str]) -> list[str]:
    if dialect.columns is not None:
        if len(dialect.columns) != width:
            raise DataError(
                f"`columns` names {len(dialect.columns)} columns, and the file has {width}",
                place=file.shown,
                hint="Name every column of the file, in its order.",
            )
        header = list(dialect.columns)
    elif header is None:
        header = [f"column_{i + 1}" for i in range(width)]
    if not header:
        raise DataError("line 1 is empty, and should name the columns", place=file.shown, hint="Remove empty lines.")
    names = []
    for i, name in enumerate(header):
        if name.strip():
            names.append(name)
            continue
        names.append(f"column_{i + 1}")
        notes.append(f"{file.shown}: column {i + 1} has no name in the header; it is called 'column_{i + 1}'")
    first: dict[str, int] = {}
    for i, name in enumerate(names):
        if name in first:
            raise DataError(
                f"the column name {name!r} stands twice in the header, as column {first[name] + 1} and {i + 1}",
                place=file.shown,
                hint="Rename one of them, or give all names with `columns = [...]`.",
            )
        first[name] = i
    return names


def _structure_by_polars(file: SourceFile, dialect: CsvDialect) -> tuple[list[str], int, list[str]]:
    """For zstd, which Python reads only from 3.14 on: header and rows by polars; records are not counted by field."""
    notes: list[str] = []
    scan = pl.scan_csv(
        file.path,
        has_header=False,
        infer_schema=False,
        separator=dialect.separator,
        quote_char=dialect.quote,
        glob=False,
    )
    with polars_errors(file):
        first = [value or "" for value in scan.head(1).collect().row(0)]
        rows = int(scan.select(pl.len()).collect(engine="streaming").item()) - dialect.has_header
    return _names(first if dialect.has_header else None, len(first), dialect, file, notes), rows, notes


@contextmanager
def _text(path: Path, compression: Compression) -> Iterator[IO[str]]:
    with open_unpacked(path, compression) as raw, io.TextIOWrapper(raw, encoding="utf-8-sig", newline="") as text:
        yield text


def not_utf8(file: SourceFile, compression: Compression) -> DataError:
    """The error for text that is not UTF-8: at which byte, and how to convert it."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    offset = pending = 0
    where, byte = "", 0
    with open_unpacked(file.path, compression) as stream:
        while chunk := stream.read(_CHUNK):
            pending = len(decoder.getstate()[0])
            try:
                decoder.decode(chunk)
            except UnicodeDecodeError as error:
                at = offset - pending + error.start
                byte = error.object[error.start]
                where = f"byte {at}" + (" of the unpacked text" if compression == "gzip" else "")
                break
            offset += len(chunk)
    found = f"{where} is 0x{byte:02x}, which is no UTF-8" if where else "the text ends in the middle of a character"
    return DataError(
        found, place=file.shown, hint="Convert the file: iconv -f windows-1252 -t utf-8 OLD > NEW (or from what it is)."
    )
