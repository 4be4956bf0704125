"""PostgreSQL: a database by URL that several machines share, reached through SQLAlchemy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError

from headrace.errors import MissingExtraError, StoreError
from headrace.store.database import Database

if TYPE_CHECKING:
    from pathlib import Path

_EACH = "json_each(:items)"
_EACH_HERE = "json_array_elements_text(CAST(:items AS json))"


class PostgresqlDatabase(Database):
    """A database on a server."""

    dialect = "postgresql"

    def __init__(self, url: str, *, read_only: bool) -> None:
        try:
            parsed = sa.make_url(url)
        except ArgumentError as error:
            raise StoreError(
                "the store's URL cannot be read", place="[store] url", hint="Write postgresql://USER@HOST/DATABASE."
            ) from error
        if parsed.get_backend_name() != "postgresql":
            raise StoreError(
                f"the store's URL names {parsed.get_backend_name()!r}; only PostgreSQL is reached by URL",
                place="[store] url",
                hint="Leave the URL out: SQLite in the store's folder needs none.",
            )
        if parsed.drivername == "postgresql":
            parsed = parsed.set(drivername="postgresql+psycopg")
        try:
            self._engine = sa.create_engine(parsed, pool_size=4, max_overflow=-1, pool_pre_ping=True)
        except ModuleNotFoundError as error:
            raise MissingExtraError(
                f"PostgreSQL needs the driver {error.name!r}", hint="pip install 'headrace[postgres]'"
            ) from error
        super().__init__(place=parsed.render_as_string(hide_password=True), read_only=read_only)

    def close(self) -> None:
        self._engine.dispose()

    def backup(self, target: Path) -> None:
        raise StoreError(
            f"a database on a server is not copied to {target}", place=self.place, hint="Use the server's own backup."
        )

    @contextmanager
    def _transaction(self, *, write: bool) -> Iterator[PostgresqlConnection]:  # noqa: ARG002  # both begin alike here
        with self._engine.begin() as connection:
            yield PostgresqlConnection(connection)


class PostgresqlConnection:
    """Implements `headrace.store.database.Connection`."""

    def __init__(self, core: sa.Connection) -> None:
        self.core = core

    def rows(self, sql: str, /, **parameters: Any) -> list[Any]:
        return list(self.core.execute(_text(sql), parameters))

    def run(self, sql: str, rows: Mapping[str, Any] | Iterable[Mapping[str, Any]], /) -> int:
        several = rows if isinstance(rows, Mapping) else list(rows)
        return self.core.execute(_text(sql), several).rowcount if several else 0

    def execute(self, statement: sa.Executable, parameters: Any = None, /) -> sa.CursorResult[Any]:
        return self.core.execute(statement, parameters)


def _text(sql: str) -> sa.TextClause:
    return sa.text(sql.replace(_EACH, _EACH_HERE))
