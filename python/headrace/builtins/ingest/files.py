"""`ingest: files`: Parquet, Arrow IPC, CSV and NDJSON files as a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from headrace import Dataset, StageContext
from headrace.builtins.ingest.locate import SourceFile, locate
from headrace.errors import DataError

if TYPE_CHECKING:
    from headrace.builtins.ingest.reading import Wanted


class Ingested(NamedTuple):
    """What an `ingest` stage gives."""

    data: Dataset


_OneCharacter = Annotated[str, Field(min_length=1, max_length=1)]


class FilesConfig(BaseModel):
    """Which files, and how text in them is to be read."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: str | tuple[str, ...] = Field(
        description="A file, a glob, or a list of these, relative to the project. The files of a glob are sorted."
    )
    format: Literal["parquet", "ipc", "csv", "ndjson"] | None = Field(
        default=None,
        description="What the files are. Default: by their first bytes; text by its extension (.csv, .tsv, .ndjson, "
        ".jsonl).",
    )
    record: Literal["auto", "copy", "reference"] = Field(
        default="auto",
        description="`copy` keeps the rows in the store; `reference` keeps paths and hashes, and later stages read the "
        "files; `auto` copies up to `copy_limit`.",
    )
    copy_limit: int = Field(default=64 * 1024 * 1024, ge=0, description="Bytes of all files up to which `auto` copies.")
    partitions: bool = Field(default=False, description="Make columns of folders that are called key=value.")
    separator: _OneCharacter | None = Field(
        default=None,
        description="CSV: between fields. Default: tab for .tsv, else the comma, or what the first line has "
        "in its place.",
    )
    quote: bool = Field(
        default=True, description="CSV: fields may stand in double quotes; false: a quote is plain text."
    )
    has_header: bool = Field(default=True, description="CSV: the first line names the columns.")
    columns: tuple[str, ...] | None = Field(
        default=None, description="CSV: names for all columns, in place of those in the header."
    )
    null_values: tuple[str, ...] = Field(
        default=(),
        description="CSV: texts that mean a missing value in every column. The empty field always does; NA, N/A, null, "
        "None, NaN, - and ? do in columns whose other values are all numbers, booleans or dates.",
    )
    decimal_comma: bool = Field(default=False, description="CSV: numbers are written 1,5.")
    parse_dates: bool = Field(default=True, description="CSV and NDJSON: columns of dates and times become such.")
    types: dict[str, str] = Field(
        default_factory=dict,
        description="CSV and NDJSON: the type of a column where the inferred one is not meant, as "
        '`{ zip = "String" }`.',
    )
    date_formats: dict[str, str] = Field(
        default_factory=dict, description='CSV: how dates of a column are written, as `{ day = "%m/%d/%Y" }`.'
    )


class FilesIngest:
    """Reads files. The rows are those of the files, in their order."""

    Config = FilesConfig

    def __init__(self, config: FilesConfig) -> None:
        self.config = config

    def external(self, project_dir: Path) -> dict[str, list[list[str]]]:
        """Name and SHA-256 of each file, in order. Always hashed: a file can change and keep its size and times."""
        return {"files": [[file.shown, file_sha256(file)] for file in locate(self.config.path, project_dir)]}

    def run(self, ctx: StageContext) -> Ingested:
        from headrace.builtins.ingest.reading import read_files

        return Ingested(data=read_files(locate(self.config.path, ctx.project_dir), wanted(self.config), ctx.log))


def wanted(config: FilesConfig) -> Wanted:
    """What a config says about reading, all but which files."""
    from headrace.builtins.ingest.csv_types import CsvDialect
    from headrace.builtins.ingest.reading import Wanted

    dialect = CsvDialect(
        quote='"' if config.quote else None,
        has_header=config.has_header,
        columns=config.columns,
        null_values=config.null_values,
        decimal_comma=config.decimal_comma,
        parse_dates=config.parse_dates,
        types=config.types,
        date_formats=config.date_formats,
    )
    return Wanted(
        format=config.format,
        reference=None if config.record == "auto" else config.record == "reference",
        copy_limit=config.copy_limit,
        partitions=config.partitions,
        separator=config.separator,
        dialect=dialect,
    )


def file_sha256(file: SourceFile) -> str:
    """SHA-256 of the file's bytes, as hex."""
    import hashlib

    try:
        with file.path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise DataError(
            f"cannot read the file: {error.strerror}",
            place=file.shown,
            hint="Check that it exists and that you may read it.",
        ) from error
