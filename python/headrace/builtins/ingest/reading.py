"""Files that are understood into one `Dataset`: schemas made to agree, copied or referenced."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import polars as pl

from headrace import Dataset
from headrace.builtins.ingest.csv_text import TextTable, understand_csv
from headrace.builtins.ingest.csv_types import CsvDialect, toml_key
from headrace.builtins.ingest.formats import Format, Sniffed, open_unpacked, sniff
from headrace.builtins.ingest.locate import NULL_PARTITION, SourceFile
from headrace.builtins.ingest.ndjson import understand_ndjson
from headrace.builtins.ingest.polars_errors import polars_errors
from headrace.errors import ArtifactError, DataError

Schema = dict[str, str | None]
_INTEGER = re.compile(r"[+-]?(0|[1-9]\d{0,17})")
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_FORMATS: dict[Format, Literal["parquet", "csv", "ndjson", "ipc"]] = {
    "parquet": "parquet", "csv": "csv", "ndjson": "ndjson", "ipc": "ipc", "ipc-stream": "ipc",
}  # fmt: skip


@dataclass(frozen=True)
class Wanted:
    """How files are to be read. `dialect` says nothing about the separator of a file that decides it itself."""

    format: str | None = None
    reference: bool | None = None
    copy_limit: int = 64 * 1024 * 1024
    partitions: bool = False
    separator: str | None = None
    dialect: CsvDialect = field(default_factory=CsvDialect)


def read_files(files: Sequence[SourceFile], wanted: Wanted, log: Callable[[str], None]) -> Dataset:
    """One table of all rows, in the order of the files.

    Copied into the artifact, or by reference; `reference=None` copies up to `copy_limit` bytes in all. Raises
    `DataError` for whatever is wrong with a file, and where columns or types of files differ.
    """
    sniffed = [sniff(file.path, shown=file.shown, stated=wanted.format) for file in files]
    format_ = _same_format(files, sniffed)
    size = sum(file.path.stat().st_size for file in files)
    reference = wanted.reference if wanted.reference is not None else size > wanted.copy_limit
    if format_ == "ipc-stream":
        if wanted.reference:
            raise DataError(
                "an Arrow IPC stream cannot be read in parts, so it cannot be kept by reference",
                place=files[0].shown,
                hint='Write it as an Arrow IPC file or as Parquet, or set `record = "copy"`.',
            )
        reference = False
    tables = [_understand(file, found, wanted, log) for file, found in zip(files, sniffed, strict=True)]
    schema = agree(
        files, [table.types for table in tables], text=format_ in ("csv", "ndjson"), gaps=format_ == "ndjson"
    )
    constants = _partition_columns(files, schema) if wanted.partitions else [[] for _ in files]
    options = [_options(format_, table, schema) for table in tables]
    for one, extra in zip(options, constants, strict=True):
        if extra:
            one["constants"] = extra
    if format_ == "ipc-stream":
        data = _read_streams(files, schema, constants)
    else:
        data = _read(files, _FORMATS[format_], options, copy=not reference)
    counted_rows = sum(table.rows for table in tables)
    if format_ in ("csv", "ndjson") and counted_rows != data.num_rows:
        raise DataError(
            f"the lines say {counted_rows} rows, and {data.num_rows} can be read",
            place=", ".join(file.shown for file in files[:3]),
            hint="End lines with a newline; a carriage return alone, as on old Macs, is none.",
        )
    if data.num_rows == 0:
        raise DataError("there are no rows", place=", ".join(file.shown for file in files[:3]), hint="Check the data.")
    counted = "1 file" if len(files) == 1 else f"{len(files)} files"
    how = "by reference" if reference else "copied"
    log(f"{data.num_rows} rows x {len(data.schema)} columns from {counted}, {size} bytes, {how}")
    return data


def _same_format(files: Sequence[SourceFile], sniffed: Sequence[Sniffed]) -> Format:
    for file, found in zip(files, sniffed, strict=True):
        if found.format != sniffed[0].format:
            raise DataError(
                f"the file is {found.format}, and {files[0].shown!r} is {sniffed[0].format}",
                place=file.shown,
                hint="Read files of one format in a stage.",
            )
    return sniffed[0].format


def _understand(file: SourceFile, found: Sniffed, wanted: Wanted, log: Callable[[str], None]) -> TextTable:
    dialect = wanted.dialect
    if found.format == "csv":
        separator = wanted.separator or guess_separator(file, found, dialect.quote)
        table = understand_csv(file, replace(dialect, separator=separator), found.compression)
    elif found.format == "ndjson":
        table = understand_ndjson(file, found.compression, types=dialect.types, parse_dates=dialect.parse_dates)
    else:
        if dialect.types:
            raise DataError(
                "`types` is for CSV and NDJSON; this format says its types itself", place=file.shown, hint="Remove it."
            )
        table = _understand_binary(file, found.format)
    for note in table.notes:
        log(note)
    return table


def guess_separator(file: SourceFile, found: Sniffed, quote: str | None) -> str:
    """Tab for `.tsv`; else the comma, unless the header has none, and the first lines have equally many of another."""
    if any(suffix.lower() == ".tsv" for suffix in file.path.suffixes):
        return "\t"
    if found.compression == "zstd":
        return ","
    with open_unpacked(file.path, found.compression) as stream:
        lines = [stream.readline(1 << 20).decode(errors="replace") for _ in range(5)]
    if quote:
        lines = [re.sub(f"{quote}[^{quote}]*{quote}", "", line) for line in lines]
    if "," in lines[0]:
        return ","
    for separator in (";", "\t", "|"):
        counts = {line.count(separator) for line in lines if line.strip()}
        if len(counts) == 1 and counts.pop() > 0:
            return separator
    return ","


def _understand_binary(file: SourceFile, format_: Format) -> TextTable:
    """Columns and types from the file's own schema, without reading rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if format_ == "parquet":
            names = pq.read_schema(file.path).names
        elif format_ == "ipc":
            with pa.memory_map(str(file.path)) as source:
                names = pa.ipc.open_file(source).schema.names
        else:
            with pa.memory_map(str(file.path)) as source:
                names = pa.ipc.open_stream(source).schema.names
    except pa.ArrowNotImplementedError as error:
        raise _beyond_arrow(file, format_, str(error).split("\n")[0]) from error
    except (pa.ArrowException, OSError) as error:
        text = str(error).split("\n")[0]
        raise DataError(f"the file is damaged: {text[:300]}", place=file.shown, hint="Write it again.") from error
    for name in names:
        if names.count(name) > 1:
            raise DataError(
                f"the column name {name!r} stands twice", place=file.shown, hint="Rename one of them in the file."
            )
    schema = _schema(file, format_)
    if not schema:
        raise DataError("the file has no columns", place=file.shown, hint="Check how it was written.")
    return TextTable({name: str(dtype) for name, dtype in schema.items()}, 0, {}, {}, ())


def _schema(file: SourceFile, format_: Format) -> pl.Schema:
    with polars_errors(file):
        if format_ == "parquet":
            return pl.scan_parquet(file.path, glob=False, hive_partitioning=False).collect_schema()
        if format_ == "ipc":
            return pl.scan_ipc(file.path, glob=False, hive_partitioning=False).collect_schema()
        return pl.read_ipc_stream(file.path, n_rows=0).schema


def _beyond_arrow(file: SourceFile, format_: Format, said: str) -> DataError:
    """The error for a file that is whole and has types of which Arrow's reader knows nothing; names the columns."""
    wide = [
        f"{name!r} ({dtype})" for name, dtype in _schema(file, format_).items() if str(dtype) in ("Int128", "UInt128")
    ]
    if not wide:
        return DataError(
            f"the file has something that cannot be read: {said[:300]}",
            place=file.shown,
            hint="Write it with plain types: whole numbers, floats, text, booleans, dates.",
        )
    few = ", ".join(wide[:5]) + (f" and {len(wide) - 5} more" if len(wide) > 5 else "")
    columns = f"column {few} has" if len(wide) == 1 else f"the columns {few} have"
    return DataError(
        f"{columns} whole numbers of more than 64 bits, which cannot be read",
        place=file.shown,
        hint="Write the file with Int64 or Float64 in their place; text, if they are identifiers.",
    )


def agree(files: Sequence[SourceFile], schemas: Sequence[Schema], *, text: bool, gaps: bool) -> dict[str, str]:
    """The common schema, columns as in the first file.

    Files must have the same columns, in any order, with the same types. In `text` formats, where types are inferred,
    Int64 and Float64 agree on Float64, and a column without a value (type None) agrees with anything; without a value
    anywhere it is String. With `gaps`, a column may be absent from a file.
    """
    common: Schema = dict(schemas[0])
    for file, schema in zip(files[1:], schemas[1:], strict=True):
        for name in common:
            if name not in schema and not gaps:
                raise DataError(
                    f"column {name!r} of {files[0].shown!r} is not in this file",
                    place=file.shown,
                    hint="Files that are read together must have the same columns.",
                )
        for name, kind in schema.items():
            if name not in common:
                if not gaps:
                    raise DataError(
                        f"column {name!r} is not in {files[0].shown!r}",
                        place=file.shown,
                        hint="Files that are read together must have the same columns.",
                    )
                common[name] = kind
                continue
            before = common[name]
            if text and {before, kind} == {"Int64", "Float64"}:
                common[name] = "Float64"
            elif text and (before is None or kind is None):
                common[name] = before or kind
            elif before != kind:
                raise DataError(
                    f"column {name!r} is {kind}, and {before} in {_first_with(files, schemas, name)!r}",
                    place=file.shown,
                    hint=f'Set `types = {{ {toml_key(name)} = "String" }}` to read both as text, or mend the file.'
                    if text
                    else "Write the files with one type.",
                )
    return {name: kind or "String" for name, kind in common.items()}


def _first_with(files: Sequence[SourceFile], schemas: Sequence[Schema], name: str) -> str:
    return next(file.shown for file, schema in zip(files, schemas, strict=True) if schema.get(name) is not None)


def _options(format_: Format, table: TextTable, schema: dict[str, str]) -> dict[str, Any]:
    """What polars needs to read one file of the common schema without guessing."""
    options: dict[str, Any] = dict(table.options)
    if format_ == "csv":
        options["schema"] = [[n, "String" if n in table.times else schema[n]] for n in table.types]
        if isinstance(options.get("null_values"), dict):
            options["null_values"] = {n: v for n, v in options["null_values"].items() if schema[n] != "String"}
        if table.times:
            options["times"] = [[name, kind, form] for name, (kind, form) in table.times.items()]
    elif format_ == "ndjson":
        options["schema"] = [[name, kind] for name, kind in schema.items()]
    return options


def _partition_columns(files: Sequence[SourceFile], schema: dict[str, str]) -> list[list[list[str | None]]]:
    """The `key=value` folders as columns, one list of `[column, type, text]` a file."""
    each = [file.partitions for file in files]
    keys = list(each[0])
    if not keys:
        raise DataError(
            "`partitions` is set, and no folder on the way to the file is called key=value",
            place=files[0].shown,
            hint="Remove `partitions`.",
        )
    for file, found in zip(files, each, strict=True):
        if list(found) != keys:
            raise DataError(
                f"the folders say {list(found)}, and {keys} for {files[0].shown!r}",
                place=file.shown,
                hint="Read files of one partitioning together.",
            )
        for key in keys:
            if key in schema:
                raise DataError(
                    f"the column {key!r} is in the file and in its folder's name",
                    place=file.shown,
                    hint="Leave `partitions` out to use the one in the file.",
                )
    types = {}
    for key in keys:
        values = [found[key] for found in each if found[key] != NULL_PARTITION]
        if values and all(_INTEGER.fullmatch(value) for value in values):
            types[key] = "Int64"
        elif values and all(_DATE.fullmatch(value) for value in values):
            types[key] = "Date"
        else:
            types[key] = "String"
    return [[[k, types[k], None if found[k] == NULL_PARTITION else found[k]] for k in keys] for found in each]


def _read(
    files: Sequence[SourceFile],
    format_: Literal["parquet", "csv", "ndjson", "ipc"],
    options: Sequence[dict[str, Any]],
    *,
    copy: bool,
) -> Dataset:
    """By reference first, so that what is read is what was hashed; then, for a copy, the frame of it."""
    paths = [file.path for file in files]

    def made(some: Sequence[int]) -> Dataset:
        data = Dataset.by_reference([paths[i] for i in some], format=format_, options=[options[i] for i in some])
        if copy:
            return Dataset.from_frame(data.frame())
        if format_ in ("csv", "ndjson"):  # every value is parsed once, so that a later stage meets no surprise
            data.lazy().select(pl.all().count()).collect(engine="streaming")
        return data

    try:
        return made(range(len(files)))
    except ArtifactError as error:
        raise DataError(
            "the file changed while it was read", place=error.place, hint="Run again when nothing writes to it."
        ) from error
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        for i, file in enumerate(files):  # which file was it?
            with polars_errors(file):
                made([i])
        text = str(error).splitlines()[0]
        raise DataError(f"the files cannot be read together: {text}", place=files[0].shown) from error


def _read_streams(
    files: Sequence[SourceFile], schema: dict[str, str], constants: Sequence[list[list[str | None]]]
) -> Dataset:
    frames = []
    for file, extra in zip(files, constants, strict=True):
        before = file.path.stat()
        with polars_errors(file):
            frame = pl.read_ipc_stream(file.path).select(pl.selectors.by_name(*schema))
        after = file.path.stat()
        if (before.st_size, before.st_mtime_ns, before.st_ino) != (after.st_size, after.st_mtime_ns, after.st_ino):
            raise DataError(
                "the file changed while it was read", place=file.shown, hint="Run again when nothing writes to it."
            )
        dtypes: dict[str | None, Any] = {"Int64": pl.Int64, "Date": pl.Date, "String": pl.String}
        frames.append(frame.with_columns(pl.lit(v, dtype=pl.String).cast(dtypes[t]).alias(str(k)) for k, t, v in extra))
    return Dataset.from_frame(pl.concat(frames, how="vertical"))
