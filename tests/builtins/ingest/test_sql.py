from __future__ import annotations

import datetime as dt
import json
import sqlite3

import polars as pl
import pytest
from pydantic import ValidationError

from headrace.builtins.ingest.sql import SqlConfig, SqlIngest
from headrace.errors import ConfigError, DataError

CANARY = "pa%24s'w0rd"


@pytest.fixture
def lite(ctx):
    """A SQLite file in the project, open for writing."""
    connection = sqlite3.connect(ctx.project_dir / "shop.db")
    connection.execute("CREATE TABLE orders (id INTEGER, name TEXT, amount REAL, day TEXT)")
    connection.executemany(
        "INSERT INTO orders VALUES (?, ?, ?, ?)",
        [(1, "ann", 1.5, "2024-01-01"), (2, None, None, "2024-01-02"), (3, "cy'd", -2.0, None)],
    )
    connection.commit()
    yield connection
    connection.close()


def ingest(ctx, **config) -> pl.DataFrame:
    config.setdefault("uri", "shop.db")
    return SqlIngest(SqlConfig(**config)).run(ctx).data.frame()


def external(ctx, **config) -> dict:
    config.setdefault("uri", "shop.db")
    token = SqlIngest(SqlConfig(**config)).external(ctx.project_dir)
    json.dumps(token)
    return token


ALL = "SELECT * FROM orders ORDER BY id"


def test_a_query_on_sqlite(ctx, lite):
    frame = ingest(ctx, query=ALL)
    assert frame.schema == {"id": pl.Int64, "name": pl.String, "amount": pl.Float64, "day": pl.String}
    assert frame.rows() == lite.execute(ALL).fetchall()
    assert not any("ORDER BY" in line for line in ctx.logs)


def test_where_the_address_may_be(ctx, lite, monkeypatch, tmp_path):
    monkeypatch.setenv("SHOP", "shop.db")
    (ctx.project_dir / "address").write_text("sqlite:///shop.db\n")
    (ctx.project_dir / "odd ?#%.db").write_bytes((ctx.project_dir / "shop.db").read_bytes())
    for uri in ("shop.db", str(ctx.project_dir / "shop.db"), "env:SHOP", "file:address", "odd ?#%.db"):
        assert ingest(ctx, uri=uri, query=ALL).height == 3


def test_parameters_are_bound(ctx, lite):
    evil = "x'; DROP TABLE orders; --"
    frame = ingest(ctx, query="SELECT id, ? AS given FROM orders WHERE id >= ? ORDER BY id", parameters=(evil, 2))
    assert frame.rows() == [(2, evil), (3, evil)]
    assert ingest(ctx, query=ALL).height == 3


def test_a_query_from_a_file(ctx, lite):
    (ctx.project_dir / "q.sql").write_text(ALL)
    assert ingest(ctx, query_file="q.sql").height == 3
    before = external(ctx, query_file="q.sql")
    (ctx.project_dir / "q.sql").write_text(ALL + " LIMIT 1")
    assert external(ctx, query_file="q.sql") != before
    with pytest.raises(ConfigError, match="cannot read the query") as caught:
        ingest(ctx, query_file="gone.sql")
    assert caught.value.place == "gone.sql"


def test_what_tells_that_sqlite_changed(ctx, lite):
    watermark = "SELECT max(day), count(*) FROM orders"
    by_file, by_mark = external(ctx, query=ALL), external(ctx, query=ALL, watermark=watermark)
    assert by_mark["watermark"] == ["2024-01-02", "3"]
    assert external(ctx, query=ALL) == by_file
    lite.execute("PRAGMA journal_mode = WAL")
    lite.execute("UPDATE orders SET amount = 9 WHERE id = 1")
    lite.commit()
    changed = external(ctx, query=ALL)
    assert changed != by_file, "a change in the write-ahead log counts"
    assert external(ctx, query=ALL, watermark=watermark) == by_mark, "the watermark says when the data is new"
    lite.execute("INSERT INTO orders VALUES (4, 'd', 0, '2024-02-01')")
    lite.commit()
    assert external(ctx, query=ALL, watermark=watermark) != by_mark
    assert ingest(ctx, query=ALL).height == 4
    with pytest.raises(DataError, match="returns 4 rows, and should return one"):
        external(ctx, query=ALL, watermark="SELECT id FROM orders")


def test_no_order_is_said(ctx, lite):
    ingest(ctx, query="SELECT * FROM orders")
    assert any("no ORDER BY" in line for line in ctx.logs)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("SELECT * FROM nope", "no such table"),
        ("SELEC 1", "syntax error"),
        ("SELECT * FROM orders WHERE 0 ORDER BY id", "no rows"),
        ("SELECT id, id FROM orders", "two columns that are called 'id'"),
        ("DELETE FROM orders", "readonly|returns no columns"),
    ],
)
def test_bad_queries(ctx, lite, query, message):
    with pytest.raises(DataError, match=message) as caught:
        ingest(ctx, query=query)
    assert caught.value.place == "shop.db"
    assert caught.value.hint
    assert lite.execute("SELECT count(*) FROM orders").fetchone() == (3,)


def test_types_are_those_of_all_rows(ctx, lite):
    lite.executemany("INSERT INTO orders VALUES (?, NULL, NULL, NULL)", [(i,) for i in range(4, 3000)])
    lite.execute("INSERT INTO orders VALUES (3000, 'late', 0.5, 'late')")
    lite.commit()
    query = """
        SELECT CASE WHEN id < 3000 THEN NULL ELSE name END AS a, CASE WHEN id < 3000 THEN id ELSE 2.5 END AS b
        FROM orders ORDER BY id
    """
    frame = ingest(ctx, query=query)
    assert frame.schema == {"a": pl.String, "b": pl.Float64}
    assert frame.row(-1) == ("late", 2.5)


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("gone.db", "no such SQLite file"),
        ("env:HEADRACE_NOT_SET", "HEADRACE_NOT_SET is not set"),
        ("file:gone", "cannot read the file that holds"),
        ("mysql://root@localhost/x", "neither PostgreSQL"),
        ("postgresql://me:secret@localhost/x", "a password stands in the spec"),
        ("postgresql://localhost/x?user=me&password=secret", "a password stands in the spec"),
    ],
)
def test_bad_addresses(ctx, uri, message):
    for call in (ingest, external):
        with pytest.raises(ConfigError, match=message) as caught:
            call(ctx, uri=uri, query="SELECT 1 AS a")
        assert "secret" not in str(caught.value)


def test_a_file_that_is_no_database(ctx):
    (ctx.project_dir / "text.db").write_text("not a database, but long enough to be looked at " * 20)
    with pytest.raises(DataError, match="not a database"):
        ingest(ctx, uri="text.db", query="SELECT * FROM sqlite_master")


def test_configs():
    with pytest.raises(ValidationError, match="one of them"):
        SqlConfig(uri="a.db")
    with pytest.raises(ValidationError, match="one of them"):
        SqlConfig(uri="a.db", query="SELECT 1", query_file="q.sql")


def test_a_missing_driver_says_how_to_get_it(ctx, lite, monkeypatch):
    import sys

    from headrace.errors import MissingExtraError

    monkeypatch.setitem(sys.modules, "adbc_driver_sqlite.dbapi", None)
    monkeypatch.setitem(sys.modules, "adbc_driver_sqlite", None)
    with pytest.raises(MissingExtraError) as caught:
        ingest(ctx, query=ALL)
    assert caught.value.hint == "pip install 'headrace[sql]'"


@pytest.mark.parametrize(
    "address",
    [
        f"postgresql://me:{CANARY}@127.0.0.1:1/db",
        "postgresql://me:pa ss@127.0.0.1:1/db",
        "postgresql://me:p%zzw@127.0.0.1:1/db",
        f"postgresql://127.0.0.1:1/db?user=me&password={CANARY}",
        f"postgresql://me:{CANARY}@no-such-host.invalid/db",
        f"postgresql://me:{CANARY}@127.0.0.1:port/db",
    ],
)
def test_a_failed_connection_never_says_the_password(ctx, monkeypatch, address):
    monkeypatch.setenv("DATABASE", address)
    with pytest.raises(DataError, match="cannot connect") as caught:
        ingest(ctx, uri="env:DATABASE", query="SELECT 1 AS a")
    error = caught.value
    assert error.place == "env:DATABASE"
    assert error.__cause__ is None
    assert error.__suppress_context__
    told = f"{error} {error!r} {ctx.logs}"
    for part in (CANARY, "pa$s'w0rd", "pa ss", "p%zzw", "me:"):
        assert part not in told


# --- PostgreSQL -------------------------------------------------------------------------------------------------------


@pytest.fixture
def database(postgresql, monkeypatch):
    """The URL of a database with a table, also in the variable DATABASE; and a way to change it."""
    from adbc_driver_postgresql import dbapi

    url = postgresql.database()
    monkeypatch.setenv("DATABASE", url)

    def change(sql: str) -> None:
        with dbapi.connect(url, autocommit=True) as connection, connection.cursor() as cursor:
            cursor.execute(sql)

    change("CREATE TABLE orders (id bigint, name text, price numeric(10, 2), at timestamptz, day date, ok boolean)")
    change(
        "INSERT INTO orders VALUES (1, 'ann', 1.50, '2024-01-01 12:00+01', '2024-01-01', true), "
        "(2, NULL, NULL, NULL, NULL, NULL), (3, 'cy''d', 'NaN', '2024-01-03 00:00Z', '2024-01-03', false)"
    )
    return change


@pytest.mark.system
def test_a_query_on_postgresql(ctx, database):
    frame = ingest(ctx, uri="env:DATABASE", query=ALL)
    assert frame.schema == {
        "id": pl.Int64,
        "name": pl.String,
        "price": pl.Float64,
        "at": pl.Datetime("us", "UTC"),
        "day": pl.Date,
        "ok": pl.Boolean,
    }
    assert frame.row(0) == (1, "ann", 1.5, dt.datetime(2024, 1, 1, 11, tzinfo=dt.UTC), dt.date(2024, 1, 1), True)
    assert frame.row(1) == (2, None, None, None, None, None)
    assert any("NUMERIC" in line for line in ctx.logs)


@pytest.mark.system
def test_postgresql_binds_and_only_reads(ctx, database):
    evil = "x'); DROP TABLE orders; --"
    query = "SELECT id, $1::text AS given FROM orders WHERE id >= $2::bigint ORDER BY id"
    assert ingest(ctx, uri="env:DATABASE", query=query, parameters=(evil, 2)).rows() == [(2, evil), (3, evil)]
    with pytest.raises(DataError, match="read-only transaction"):
        ingest(ctx, uri="env:DATABASE", query="DELETE FROM orders RETURNING id")
    with pytest.raises(DataError, match="multiple commands"):
        ingest(ctx, uri="env:DATABASE", query="SELECT 1 AS a; DROP TABLE orders")
    assert ingest(ctx, uri="env:DATABASE", query=ALL).height == 3


@pytest.mark.system
def test_what_tells_that_postgresql_changed(ctx, database):
    here = {"uri": "env:DATABASE", "query": ALL}
    marked = {**here, "watermark": "SELECT max(at), count(*) FROM orders"}
    first, first_marked = external(ctx, **here), external(ctx, **marked)
    assert external(ctx, **here) == first
    database("UPDATE orders SET name = 'bea' WHERE id = 1")
    assert external(ctx, **here) != first, "without a watermark the result itself is compared"
    assert external(ctx, **marked) == first_marked
    database("UPDATE orders SET at = now() WHERE id = 1")
    assert external(ctx, **marked) != first_marked


@pytest.mark.system
def test_types_of_postgresql(ctx, database):
    query = (
        "SELECT gen_random_uuid() AS u, '{\"a\": 1}'::jsonb AS j, 1.25::float4 AS f, 'x'::char(3) AS c, "
        "2::smallint AS s, '10:00'::time AS t ORDER BY 1"
    )
    frame = ingest(ctx, uri="env:DATABASE", query=query)
    assert frame.schema == {
        "u": pl.String, "j": pl.String, "f": pl.Float32, "c": pl.String, "s": pl.Int16, "t": pl.Time,
    }  # fmt: skip
    assert len(frame["u"][0]) == 36
    assert json.loads(frame["j"][0]) == {"a": 1}
    with pytest.raises(DataError, match="column 'i' has the type") as caught:
        ingest(ctx, uri="env:DATABASE", query="SELECT interval '1 day' AS i ORDER BY 1")
    assert "Cast it" in caught.value.hint
    with pytest.raises(DataError, match="two columns"):
        ingest(ctx, uri="env:DATABASE", query="SELECT 1 AS a, 2 AS a ORDER BY 1")
    with pytest.raises(DataError, match="nope") as caught:
        ingest(ctx, uri="env:DATABASE", query="SELECT * FROM nope ORDER BY 1")
    assert caught.value.place == "env:DATABASE"
