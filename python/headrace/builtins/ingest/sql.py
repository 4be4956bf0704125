"""`ingest: sql`: the result of a query on SQLite or PostgreSQL as a dataset."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from headrace import Dataset, StageContext
from headrace.builtins.ingest.files import Ingested
from headrace.errors import ConfigError, DataError

if TYPE_CHECKING:
    import polars as pl

    from headrace.builtins.ingest.database import Address

_ORDER_BY = re.compile(r"\border\s+by\b", re.IGNORECASE)


class SqlConfig(BaseModel):
    """Which database, which query."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    uri: str = Field(
        description="`env:NAME` or `file:PATH`, where the address is (postgresql://... or the path of a SQLite file); "
        "or the path of a SQLite file itself. A password never stands here."
    )
    query: str | None = Field(default=None, description="One SELECT. Say ORDER BY, so that rows have an order.")
    query_file: str | None = Field(default=None, description="A file with the query, in place of `query`.")
    parameters: tuple[str | int | float | bool | None, ...] = Field(
        default=(), description="Values for `?` (SQLite) or `$1`, `$2` (PostgreSQL). They are bound, not pasted."
    )
    watermark: str | None = Field(
        default=None,
        description="A query of one row that changes when the data does, as `SELECT max(updated_at), count(*) FROM t`. "
        "Without one, SQLite's file is hashed, and PostgreSQL is asked the whole query, to see whether its result "
        "changed.",
    )

    @model_validator(mode="after")
    def _one_query(self) -> SqlConfig:
        if (self.query is None) == (self.query_file is None):
            raise ValueError("set `query` or `query_file`, one of them")
        return self


class SqlIngest:
    """Runs one query, read-only, and copies its result.

    NUMERIC columns of PostgreSQL become Float64, UUID and JSON become text; other types that have no like are an error
    that says to cast them in the query.
    """

    Config = SqlConfig

    def __init__(self, config: SqlConfig) -> None:
        self.config = config

    def external(self, project_dir: Path) -> dict[str, Any]:
        """What tells whether the result is still the same: see `watermark`. The text of `query_file` belongs to it."""
        from headrace.builtins.ingest.database import connect, fetch, find_address

        address = find_address(self.config.uri, project_dir)
        query = self._query(project_dir)
        token: dict[str, Any] = {"query": query}
        if self.config.watermark is not None:
            with connect(address) as connection:
                table = fetch(connection, address, self.config.watermark, (), what="watermark query")
            if table.num_rows != 1:
                raise DataError(
                    f"the watermark query returns {table.num_rows} rows, and should return one",
                    place=address.shown,
                    hint="Write it like SELECT max(updated_at), count(*) FROM t.",
                )
            token["watermark"] = [str(value) for value in table.to_pylist()[0].values()]
        elif address.sqlite is not None:
            token["files"] = _hashes(address.sqlite)
        else:
            token["result"] = _content(self._fetch(address, query))
        return token

    def run(self, ctx: StageContext) -> Ingested:
        from headrace.builtins.ingest.database import find_address

        address = find_address(self.config.uri, ctx.project_dir)
        query = self._query(ctx.project_dir)
        if not _ORDER_BY.search(query):
            ctx.log(
                "warning: the query has no ORDER BY, so the database may give the rows in another order next time, and "
                "what depends on their order (a random split) changes with it"
            )
        frame = _frame(self._fetch(address, query), address.shown, ctx)
        if frame.height == 0:
            raise DataError("the query returns no rows", place=address.shown, hint="Check the query and the table.")
        ctx.log(f"{frame.height} rows x {frame.width} columns from {address.shown}")
        return Ingested(data=Dataset.from_frame(frame))

    def _fetch(self, address: Address, query: str) -> Any:
        from headrace.builtins.ingest.database import connect, fetch

        with connect(address) as connection:
            return fetch(connection, address, query, self.config.parameters, what="query")

    def _query(self, project_dir: Path) -> str:
        if self.config.query is not None:
            return self.config.query
        name = self.config.query_file or ""
        try:
            return (project_dir / name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"cannot read the query: {error}", place=name, hint="Check the path; it is relative to the project."
            ) from error


def _hashes(path: Path) -> list[str | None]:
    """SHA-256 of the database and of its write-ahead log, which holds what is not yet in the database."""
    import hashlib

    made: list[str | None] = []
    for file in (path, path.with_name(path.name + "-wal")):
        if file.exists():
            with file.open("rb") as stream:
                made.append(hashlib.file_digest(stream, "sha256").hexdigest())
        else:
            made.append(None)
    return made


def _content(table: Any) -> str:
    """SHA-256 of the result as one Arrow IPC stream. The order of rows counts."""
    import hashlib
    import io

    import pyarrow as pa

    sink = io.BytesIO()
    whole = table.combine_chunks()
    with pa.ipc.new_stream(sink, whole.schema) as writer:
        writer.write_table(whole)
    return hashlib.sha256(sink.getbuffer()).hexdigest()


def _frame(table: Any, shown: str, ctx: StageContext) -> pl.DataFrame:
    """The result in polars' types. `DataError` for a name that stands twice and for types without a like."""
    import polars as pl

    names = table.schema.names
    for name in names:
        if names.count(name) > 1:
            raise DataError(
                f"the query returns two columns that are called {name!r}",
                place=shown,
                hint="Name them apart with AS.",
            )
    columns = []
    for name, column in zip(names, table.columns, strict=True):
        try:
            columns.append(_series(name, column, ctx))
        except (pl.exceptions.PolarsError, NotImplementedError) as error:
            raise DataError(
                f"the column {name!r} has the type {column.type}, which is not supported",
                place=shown,
                hint=f"Cast it in the query, as CAST({name} AS text).",
            ) from error
    return pl.DataFrame(columns)


def _series(name: str, column: Any, ctx: StageContext) -> pl.Series:
    import polars as pl
    import pyarrow as pa

    if not isinstance(column.type, pa.BaseExtensionType):
        series = pl.Series(name, column)
        return series.cast(pl.Float64) if isinstance(series.dtype, pl.Decimal) else series
    storage = pa.chunked_array([chunk.storage for chunk in column.chunks], type=column.type.storage_type)
    kind = getattr(column.type, "type_name", column.type.extension_name)
    if kind == "numeric":
        ctx.log(f"column {name!r}: NUMERIC is read as Float64")
        return pl.Series(name, storage).cast(pl.Float64)
    if kind == "arrow.uuid":
        from uuid import UUID

        return pl.Series(
            name, [None if v is None else str(UUID(bytes=v)) for v in storage.to_pylist()], dtype=pl.String
        )
    if kind == "arrow.json":
        return pl.Series(name, storage)
    raise NotImplementedError(kind)
