"""NDJSON: one JSON object a line. Types are JSON's own, from all lines; a column has one of them."""

from __future__ import annotations

import glob
import json
from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl

from headrace.builtins.ingest.csv_text import TextTable, not_utf8
from headrace.builtins.ingest.csv_types import check_known, toml_key
from headrace.builtins.ingest.formats import Compression, open_unpacked
from headrace.builtins.ingest.locate import SourceFile
from headrace.builtins.ingest.polars_errors import polars_errors
from headrace.errors import DataError

#: A key that stands twice in one object is looked for in so many lines; JSON readers disagree about which value counts.
LINES_FOR_DUPLICATES = 1000
_WORDS = {
    bool: "a boolean", int: "a whole number", float: "a number", str: "text", list: "a list", dict: "an object",
}  # fmt: skip
_TIMES = {
    "Date": r"^\d{4}-\d\d-\d\d$",
    "Datetime[us]": r"^\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d{1,9})?$",
    "Datetime[us, UTC]": r"^\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)$",
}
_MOST_SIGNATURES = 10_000
_INT64 = range(-(2**63), 2**63)


def understand_ndjson(
    file: SourceFile, compression: Compression, *, types: Mapping[str, str], parse_dates: bool
) -> TextTable:
    """Columns (in the order of first appearance), types and rows. `DataError` names file, line, column and value."""
    if compression == "zstd":
        raise DataError("zstd is read for CSV, not for NDJSON", place=file.shown, hint="Unpack it, or use gzip.")
    seen: dict[str, dict[type, int]] = {}
    signatures: set[tuple[Any, ...]] = set()
    large: set[str] = set()
    rows = 0
    for line, text in _lines(file, compression):
        row = _parse(text, line, file, pairs=line <= LINES_FOR_DUPLICATES)
        rows += 1
        signature = (tuple(row), tuple(map(type, row.values())))
        if int in signature[1]:
            large.update(name for name, value in row.items() if type(value) is int and value not in _INT64)
        if signature in signatures:
            continue
        if len(signatures) < _MOST_SIGNATURES:
            signatures.add(signature)
        for name, value in row.items():
            kinds = seen.setdefault(name, {})
            if value is not None:
                kinds.setdefault(type(value), line)
    if rows == 0:
        raise DataError("the file has no rows", place=file.shown, hint="Check how it was written.")
    check_known(types, list(seen), "types", file.shown)
    notes = [f"{file.shown}: column {n!r} has whole numbers beyond 64 bits: kept as text" for n in sorted(large)]
    found = {name: "String" if name in large else _type(name, kinds, file, types) for name, kinds in seen.items()}
    found |= types
    if parse_dates:
        texts = [name for name, kind in found.items() if kind == "String" and name not in types and name not in large]
        found |= _dates(file, found, texts)
    return TextTable(found, rows, {}, {}, tuple(notes))


def _lines(file: SourceFile, compression: Compression) -> Iterator[tuple[int, str]]:
    try:
        with open_unpacked(file.path, compression) as stream:
            for number, raw in enumerate(stream, 1):
                text = raw.decode()
                if text.strip():
                    yield number, text
    except UnicodeDecodeError as error:
        raise not_utf8(file, compression) from error
    except (OSError, EOFError) as error:
        raise DataError(f"cannot read the file: {error}", place=file.shown, hint="Copy or write it again.") from error


def _parse(text: str, line: int, file: SourceFile, *, pairs: bool) -> dict[str, Any]:
    try:
        row = json.loads(text, object_pairs_hook=_once if pairs else None, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        if line == 1 and text.startswith("\ufeff"):
            what, hint = "the file begins with a byte order mark", "Save it as UTF-8 without one."
        else:
            what, hint = f"line {line}, character {error.pos + 1}: {error.msg}", "Write one JSON object a line."
        raise DataError(what, place=file.shown, hint=hint) from error
    except (_DuplicateKeyError, _ConstantError) as error:
        raise DataError(f"line {line}: {error}", place=file.shown, hint=error.hint) from error
    except RecursionError as error:
        raise DataError(f"line {line} is nested too deeply", place=file.shown, hint="Flatten it.") from error
    if not isinstance(row, dict):
        raise DataError(
            f"line {line} is {_WORDS.get(type(row), 'null')}, not an object",
            place=file.shown,
            hint="Write one JSON object a line; a JSON array of rows is not NDJSON.",
        )
    return row


class _DuplicateKeyError(ValueError):
    hint = "Rename one of them."


class _ConstantError(ValueError):
    hint = "Write null instead: JSON has no such number."


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _DuplicateKeyError(f"the column name {twice!r} stands twice")
    return made


def _no_constant(text: str) -> Any:
    raise _ConstantError(f"{text} stands where a value should")


def _type(name: str, kinds: Mapping[type, int], file: SourceFile, types: Mapping[str, str]) -> str | None:
    """The one type of a column; None if it has no value. Whole and other numbers together are Float64."""
    if name in types:
        return types[name]
    for nested in (list, dict):
        if nested in kinds:
            raise DataError(
                f"column {name!r} has {_WORDS[nested]} in line {kinds[nested]}; a table has one value a cell",
                place=file.shown,
                hint="Flatten it into columns, or leave it out, before it comes here.",
            )
    found = set(kinds)
    if found == {int, float}:
        return "Float64"
    if len(found) > 1:
        first, second = sorted(kinds.items(), key=lambda item: item[1])[:2]
        raise DataError(
            f"column {name!r} has {_WORDS[first[0]]} in line {first[1]} and {_WORDS[second[0]]} in line {second[1]}",
            place=file.shown,
            hint=f'Mend the file, or read all of it as text with `types = {{ {toml_key(name)} = "String" }}`.',
        )
    if not found:
        return None
    return {bool: "Boolean", int: "Int64", float: "Float64", str: "String"}[found.pop()]


def _dates(file: SourceFile, found: Mapping[str, str | None], names: list[str]) -> dict[str, str]:
    """Text columns whose every value is an ISO date or date-time, and valid."""
    if not names:
        return {}
    at = {name: str(i) for i, name in enumerate(found)}
    asked = {}
    for name in names:
        asked[f"{at[name]}:n"] = pl.col(at[name]).count()
        for kind, pattern in _TIMES.items():
            asked[f"{at[name]}:{kind}"] = pl.col(at[name]).str.contains(pattern).sum()
    with polars_errors(file):
        lazy = _scan(file, dict.fromkeys(names, pl.String())).rename({name: at[name] for name in names})
        row = lazy.select(**asked).collect(engine="streaming").row(0, named=True)
    better = {n: k for n in names for k in _TIMES if 0 < row[f"{at[n]}:n"] == row[f"{at[n]}:{k}"]}
    return {name: kind for name, kind in better.items() if _parses(file, name, kind)}


def _parses(file: SourceFile, name: str, kind: str) -> bool:
    """Whether polars reads the column as that type: 2023-02-30 looks like a date and is none."""
    dtype = pl.Date() if kind == "Date" else pl.Datetime("us", "UTC" if "UTC" in kind else None)
    try:
        _scan(file, {name: dtype}).select(pl.all().count()).collect(engine="streaming")
    except pl.exceptions.PolarsError:
        return False
    return True


def _scan(file: SourceFile, schema: Mapping[str, pl.DataType]) -> pl.LazyFrame:
    return pl.scan_ndjson(glob.escape(str(file.path)), schema=dict(schema))
