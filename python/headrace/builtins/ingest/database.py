"""Connections for `ingest: sql`: where the address of a database comes from, read-only, and silent about secrets."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from headrace.errors import ConfigError, DataError, MissingExtraError

Scalar = str | int | float | bool | None

_ENV, _FILE = "env:", "file:"
_POSTGRES = ("postgresql://", "postgres://")
#: Rows that SQLite's driver looks at to decide types: a column has one only as far as its values agree.
_SQLITE_ROWS = 1_000_000
#: What a failed connection may say. Anything else the driver says may quote the address, and so the password.
_SAYABLE = {
    "connection refused": "connection refused: no server listens there",
    "no such file or directory": "there is no such socket: no server listens there",
    "password authentication failed": "the server refused the user or the password",
    "no password supplied": "the server wants a password, and the address has none",
    "does not exist": "the user or the database does not exist",
    "could not translate host name": "the host name is not known",
    "timeout": "the server did not answer in time",
    "no pg_hba.conf entry": "the server does not admit this user from here",
    "unable to open database file": "the file cannot be opened",
    "failed to open": "the file cannot be opened",
    "file is not a database": "the file is not a SQLite database",
}


class Address:
    """Where a database is. Never shows itself: `repr` and messages say only how the spec names it."""

    def __init__(self, uri: str, shown: str, *, sqlite: Path | None) -> None:
        self._uri = uri
        self.shown = shown
        self.sqlite = sqlite

    def __repr__(self) -> str:
        return f"Address({self.shown!r})"

    def reveal(self) -> str:
        return self._uri

    def scrub(self, text: str) -> str:
        """`text` without the address and the secrets in it."""
        secrets = {self._uri}
        if self.sqlite is None:
            parts = urlsplit(self._uri)
            given = [parts.password, *(value for key, value in parse_qsl(parts.query) if "password" in key)]
            secrets |= {form for value in given if value for form in (value, unquote(value))}
        for secret in sorted(secrets, key=len, reverse=True):
            text = text.replace(secret, "***")
        return text


def find_address(stated: str, project_dir: Path) -> Address:
    """What the config's `uri` means: `env:NAME`, `file:PATH` (its first line), or the path of a SQLite file.

    Raises `ConfigError` if the variable or file is not there, or if a password stands in the config itself.
    """
    if stated.startswith(_ENV):
        name = stated.removeprefix(_ENV)
        value = os.environ.get(name, "").strip()
        if not value:
            raise ConfigError(
                f"the environment variable {name} is not set",
                place="uri",
                hint=f"Set {name} to the database's address.",
            )
        return _address(value, stated, project_dir)
    if stated.startswith(_FILE):
        path = project_dir / stated.removeprefix(_FILE)
        try:
            value = path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"cannot read the file that holds the database's address: {type(error).__name__}",
                place=stated,
                hint="Check the path; it is relative to the project.",
            ) from None
        if not value or "\n" in value:
            raise ConfigError(
                "the file must hold one line, the database's address", place=stated, hint="Write it anew."
            )
        return _address(value, stated, project_dir)
    if stated.startswith(_POSTGRES):
        parts = urlsplit(stated)
        if parts.password or "password" in parts.query:
            raise ConfigError(
                "a password stands in the spec",
                place="uri",
                hint='Put the whole address into an environment variable, and set `uri = "env:NAME"`.',
            )
    return _address(stated, stated, project_dir)


def _address(value: str, shown: str, project_dir: Path) -> Address:
    if value.startswith(_POSTGRES):
        return Address(value, shown, sqlite=None)
    if "://" in value and not value.startswith("sqlite:///"):
        raise ConfigError(
            "the address is neither PostgreSQL's (postgresql://...) nor the path of a SQLite file",
            place=shown,
            hint="Other databases: export to Parquet, or write an ingest stage of your own.",
        )
    path = project_dir / value.removeprefix("sqlite:///")
    if not path.is_file():
        raise ConfigError(
            "there is no such SQLite file", place=shown, hint="Check the path; it is relative to the project."
        )
    return Address(str(path), shown, sqlite=path)


@contextmanager
def connect(address: Address) -> Iterator[Any]:
    """A read-only ADBC connection. What goes wrong is a `DataError` without the address."""
    dbapi = _driver(address)
    try:
        if address.sqlite is not None:
            # A path in a URI: these three characters have a meaning there.
            path = str(address.sqlite.resolve())
            for character, code in (("%", "%25"), ("?", "%3f"), ("#", "%23")):
                path = path.replace(character, code)
            connection = dbapi.connect(f"file:{path}?mode=ro", autocommit=True)
        else:
            connection = dbapi.connect(address.reveal(), autocommit=True)
    except (dbapi.Error, OSError, ValueError) as error:
        raise DataError(
            f"cannot connect to the database: {_sayable(error)}", place=address.shown, hint="Check the address."
        ) from None
    with connection:
        if address.sqlite is None:
            with connection.cursor() as cursor:
                cursor.execute("SET default_transaction_read_only = on")
        yield connection


def fetch(connection: Any, address: Address, sql: str, parameters: Sequence[Scalar], *, what: str) -> Any:
    """The result of a query as a pyarrow Table. `what` names the query in messages. Parameters are bound."""
    dbapi = _driver(address)
    with connection.cursor() as cursor:
        try:
            if address.sqlite is not None:
                cursor.adbc_statement.set_options(**{"adbc.sqlite.query.batch_rows": str(_SQLITE_ROWS)})
            cursor.execute(sql, tuple(parameters) or None)
            table = cursor.fetch_arrow_table()
        except (dbapi.Error, OSError, ValueError) as error:
            text = address.scrub(str(error)).split("\n\nQuery was:")[0].split("\nquery:")[0].strip()
            hint = "Mend the query."
            if "Type mismatch" in text:
                hint = "SQLite columns may mix types: cast the column in the query, as CAST(x AS REAL)."
            raise DataError(f"the {what} failed: {text[:600]}", place=address.shown, hint=hint) from None
    if not table.schema.names:
        raise DataError(f"the {what} returns no columns", place=address.shown, hint="Write a SELECT.")
    return table


def _driver(address: Address) -> Any:
    name = "adbc_driver_postgresql" if address.sqlite is None else "adbc_driver_sqlite"
    try:
        return importlib.import_module(f"{name}.dbapi")
    except ImportError as error:
        raise MissingExtraError(
            f"reading from a database needs a driver that is not installed ({error.name})",
            hint="pip install 'headrace[sql]'",
        ) from error


def _sayable(error: Exception) -> str:
    text = str(error).lower()
    for phrase, meaning in _SAYABLE.items():
        if phrase in text:
            return meaning
    return "the driver does not accept the address (what it says is not shown: it may quote the password)"
