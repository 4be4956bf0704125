from __future__ import annotations

import datetime as dt
import json
import math
import re
import subprocess
import sys

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace import Dataset
from headrace.builtins.validate import expectations as module
from headrace.builtins.validate.document import Lines, parse_document, read_document
from headrace.builtins.validate.expectations import ExpectationsConfig, ExpectationsValidator
from headrace.builtins.validate.suggest import suggest
from headrace.errors import ConfigError, DataError

quiet = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
NAIVE = dt.datetime
ODD = ['a "q"', "two\nlines", "^x$", "*", "🦊", "a.b", "\x7f", ""]


@pytest.fixture
def validate(ctx):
    """Write the text to `expectations.toml` and run the stage: `validate(frame, text)`."""

    def run(frame, text="", **config):
        if text:
            (ctx.project_dir / "expectations.toml").write_text(text)
        data = frame if isinstance(frame, Dataset) else Dataset.from_frame(frame)
        return ExpectationsValidator(ExpectationsConfig(**config)).run(ctx, data)

    return run


def toml(value) -> str:
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{toml(k)} = {toml(v)}" for k, v in value.items()) + " }"
    if isinstance(value, (dt.date, dt.datetime)):
        return value.isoformat()
    return json.dumps(value) if not isinstance(value, float) or math.isfinite(value) else str(value)


def rows_that_fail(validate, values, dtype, **section) -> list[int]:
    """Run one column with the section under policy quarantine; the rows that were set apart."""
    frame = pl.DataFrame({"x": pl.Series(values, dtype=dtype), "keep": list(range(len(values)))})
    more = frame.clear().vstack(
        pl.DataFrame({"x": pl.Series([None] * (len(values) + 1), dtype=dtype), "keep": -1}).cast(frame.schema)
    )
    lines = "\n".join(f"{key} = {toml(value)}" for key, value in section.items())
    made = validate(pl.concat([frame, more]), f'policy = "quarantine"\n[columns.x]\n{lines}\n')
    apart = made.quarantined.frame()
    assert made.data.num_rows + apart.height == len(frame) + len(more)
    assert apart["quarantined_row"].to_list() == apart["keep"].to_list()
    assert made.data.frame()["keep"].to_list() == [
        *(i for i in range(len(values)) if i not in apart["keep"]),
        *[-1] * more.height,
    ]
    entry = list(made.validation.findings)
    assert (len(entry) == 1) == (apart.height > 0)
    if entry:
        assert entry[0]["failed_rows"] == apart.height
        assert entry[0]["examples"] == apart["quarantined_row"].to_list()[:10]
    return apart["quarantined_row"].to_list()


# --- each kind against brute force ------------------------------------------------------------------------------------

ints = st.lists(st.none() | st.integers(-5, 5), min_size=1, max_size=12)
floats = st.lists(
    st.none() | st.sampled_from([math.nan, math.inf, -math.inf, -1.5, 0.0, -0.0, 2.0, 1e300]), min_size=1, max_size=12
)
texts = st.lists(st.none() | st.sampled_from(["", "a", "ab", "abc\n", "ü🦊", "A1", "^x$"]), min_size=1, max_size=12)
dates = st.lists(st.none() | st.dates(dt.date(2020, 1, 1), dt.date(2020, 1, 9)), min_size=1, max_size=12)


def missing(value) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def expected(values, fails) -> list[int]:
    return [i for i, value in enumerate(values) if not missing(value) and fails(value)]


@quiet
@given(
    values=ints,
    low=st.integers(-300, 5),
    high=st.integers(-5, 300),
    dtype=st.sampled_from([pl.Int8, pl.Int64, pl.Float32]),
)
def test_bounds_of_numbers(validate, values, low, high, dtype):
    assert rows_that_fail(validate, values, dtype, min=low) == expected(values, lambda v: v < low)
    assert rows_that_fail(validate, values, dtype, max=high + 0.5) == expected(values, lambda v: v > high + 0.5)


@quiet
@given(values=floats, bound=st.sampled_from([-1.5, 0, 2.0, math.inf, -math.inf, 10**30]))
def test_bounds_of_floats(validate, values, bound):
    assert rows_that_fail(validate, values, pl.Float64, min=bound) == expected(values, lambda v: v < bound)
    assert rows_that_fail(validate, values, pl.Float64, max=bound) == expected(values, lambda v: v > bound)


@quiet
@given(values=st.lists(st.none() | st.integers(0, 255), min_size=1, max_size=8), bound=st.integers(-1000, 1000))
def test_bounds_beyond_a_small_type(validate, values, bound):
    assert rows_that_fail(validate, values, pl.UInt8, min=bound) == expected(values, lambda v: v < bound)
    assert rows_that_fail(validate, values, pl.UInt8, max=bound) == expected(values, lambda v: v > bound)
    assert rows_that_fail(validate, values, pl.UInt8, allowed=[bound, 3]) == expected(
        values, lambda v: v not in (bound, 3)
    )


@quiet
@given(values=dates, bound=st.dates(dt.date(2020, 1, 1), dt.date(2020, 1, 9)))
def test_bounds_of_dates(validate, values, bound):
    assert rows_that_fail(validate, values, pl.Date, min=bound) == expected(values, lambda v: v < bound)
    assert rows_that_fail(validate, values, pl.Date, max=bound.isoformat()) == expected(values, lambda v: v > bound)
    moments = [v and NAIVE(v.year, v.month, v.day, 12) for v in values]
    start = NAIVE(bound.year, bound.month, bound.day)
    assert rows_that_fail(validate, moments, pl.Datetime("ms"), min=start) == expected(moments, lambda v: v < start)
    assert rows_that_fail(validate, moments, pl.Datetime("ns"), max=bound) == expected(moments, lambda v: v > start)


@quiet
@given(values=texts, listed=st.lists(st.sampled_from(["", "a", "ab", "zz", "^x$"]), min_size=1, max_size=3))
@pytest.mark.parametrize("dtype", [pl.String, pl.Categorical])
def test_lists_of_values(validate, values, listed, dtype):
    assert rows_that_fail(validate, values, dtype, allowed=listed) == expected(values, lambda v: v not in listed)
    assert rows_that_fail(validate, values, dtype, forbidden=listed) == expected(values, lambda v: v in listed)


@quiet
@given(values=texts, pattern=st.sampled_from(["a", "a|ab", "[a-z]*", ".*", r"\w\d", "^a$", "(?i)AB", ".+\n?"]))
def test_regex_must_match_the_whole(validate, values, pattern):
    assert rows_that_fail(validate, values, pl.String, regex=pattern) == expected(
        values, lambda v: re.fullmatch(pattern, v) is None
    )


@quiet
@given(values=texts, bound=st.integers(0, 4))
def test_lengths_are_of_characters(validate, values, bound):
    assert rows_that_fail(validate, values, pl.String, min_length=bound) == expected(values, lambda v: len(v) < bound)
    assert rows_that_fail(validate, values, pl.String, max_length=bound) == expected(values, lambda v: len(v) > bound)


@quiet
@given(values=st.one_of(ints, floats))
def test_nulls_and_nan(validate, values):
    frame = pl.DataFrame({"x": pl.Series(values, dtype=pl.Float64), "i": range(len(values))})
    frame = pl.concat([frame, frame.with_columns(x=pl.lit(1.0))])
    made = validate(frame, 'policy = "quarantine"\n[columns.x]\nnulls = false\n')
    assert made.quarantined.frame()["i"].to_list() == [i for i, v in enumerate(values) if missing(v)]


@quiet
@given(values=st.one_of(ints, texts))
def test_unique_blames_the_later_ones(validate, values):
    dtype = pl.String if any(isinstance(v, str) for v in values) else pl.Int64
    seen = set()
    wanted = []
    for i, value in enumerate(values):
        if value is not None:
            if value in seen:
                wanted.append(i)
            seen.add(value)
    assert rows_that_fail(validate, values, dtype, unique=True) == wanted


@quiet
@given(
    pairs=st.lists(st.tuples(st.none() | st.integers(0, 2), st.none() | st.sampled_from("ab")), min_size=1, max_size=10)
)
def test_unique_sets_of_columns(validate, pairs):
    seen = set()
    wanted = []
    for i, pair in enumerate(pairs):
        if None not in pair:
            if pair in seen:
                wanted.append(i)
            seen.add(pair)
    frame = pl.DataFrame(pairs, schema={"^a$": pl.Int64, "b": pl.String}, orient="row")
    made = validate(frame, 'policy = "quarantine"\n[table]\nunique = [["^a$", "b"]]\n', max_quarantined=1.0)
    assert made.quarantined.frame()["quarantined_row"].to_list() == wanted


@quiet
@given(
    values=st.one_of(ints, dates),
    way=st.sampled_from(["increasing", "decreasing", "strictly increasing", "strictly decreasing"]),
)
def test_monotonic(validate, values, way):
    dtype = pl.Date if any(isinstance(v, dt.date) for v in values) else pl.Int64
    wanted, before = [], None
    for i, value in enumerate(values):
        if value is None:
            continue
        if before is not None:
            broken = {
                "increasing": value < before,
                "decreasing": value > before,
                "strictly increasing": value <= before,
                "strictly decreasing": value >= before,
            }[way]
            if broken:
                wanted.append(i)
        before = value
    assert rows_that_fail(validate, values, dtype, monotonic=way) == wanted


@quiet
@given(values=ints, low=st.floats(-6, 6), width=st.floats(0, 6))
@pytest.mark.parametrize("kind", ["mean", "sum"])
def test_mean_and_sum(validate, values, low, width, kind):
    known = [v for v in values if v is not None]
    found = None if not known and kind == "mean" else sum(known) / (len(known) if kind == "mean" else 1)
    holds = found is not None and low <= found <= low + width
    frame = pl.DataFrame({"x": pl.Series(values, dtype=pl.Int64)})
    text = f'policy = "warn"\n[columns.x]\n{kind} = [{low!r}, {low + width!r}]\n'
    if found is None or min(abs(found - low), abs(found - low - width)) > 1e-9:
        assert (not validate(frame, text).validation.findings) == holds


@quiet
@given(values=ints, share=st.floats(0, 1))
def test_share_of_nulls(validate, values, share):
    frame = pl.DataFrame({"x": pl.Series(values, dtype=pl.Int64)})
    made = validate(frame, f'policy = "warn"\n[columns.x]\nnulls = {share!r}\n')
    assert (not made.validation.findings) == (values.count(None) / len(values) <= share)


@pytest.mark.parametrize(
    ("key", "bound", "holds"),
    [("min_rows", 3, True), ("min_rows", 4, False), ("max_rows", 3, True), ("max_rows", 2, False)],
)
def test_row_counts(validate, key, bound, holds):
    made = validate(pl.DataFrame({"x": [1, 2, 3]}), f'policy = "warn"\n[table]\n{key} = {bound}\n')
    assert (not made.validation.findings) == holds


@pytest.mark.parametrize(
    ("dtype", "word", "holds"),
    [
        (pl.Int32, "integer", True),
        (pl.Int32, "number", True),
        (pl.Float32, "integer", False),
        (pl.Float32, "number", True),
        (pl.String, "text", True),
        (pl.Categorical, "text", True),
        (pl.Boolean, "boolean", True),
        (pl.Boolean, "number", False),
        (pl.Date, "date", True),
        (pl.Datetime("us", "UTC"), "datetime", True),
        (pl.Datetime("us"), "date", False),
        (pl.Int32, "Int32", True),
        (pl.Int32, "Int64", False),
        (pl.Int32, ["text", "integer"], True),
    ],
)
def test_types(validate, dtype, word, holds):
    made = validate(
        pl.DataFrame({"x": pl.Series([None], dtype=dtype)}), f'policy = "warn"\n[columns.x]\ntype = {toml(word)}\n'
    )
    assert (not made.validation.findings) == holds
    assert holds or str(dtype) in made.validation.findings[0]["message"]


def test_foreign_values(ctx, validate):
    (ctx.project_dir / "known.csv").write_text("id,code\n1,AA\n2,UA\n")
    pl.DataFrame({"id": [1, 2]}).write_parquet(ctx.project_dir / "known.parquet")
    frame = pl.DataFrame({"code": ["AA", None, "ZZ"], "id": [1, 3, 2]})
    text = 'policy = "warn"\n[columns.code]\nforeign = { file = "known.csv", column = "code" }\n'
    for name in ("known.csv", "known.parquet"):
        made = validate(frame, text + f'[columns.id]\nforeign = {{ file = "{name}", column = "id" }}\n')
        assert [f["examples"] for f in made.validation.findings] == [[2], [1]]
    stage = ExpectationsValidator(ExpectationsConfig())
    before = stage.external(ctx.project_dir)
    (ctx.project_dir / "known.csv").write_text("id,code\n1,AA\n2,ZZ\n")
    assert stage.external(ctx.project_dir) != before
    with pytest.raises(ConfigError, match="names the column 'codes'"):
        validate(frame, text.replace('column = "code"', 'column = "codes"'))
    with pytest.raises(ConfigError, match="cannot read"):
        validate(frame, text.replace("known.csv", "gone.csv"))


# --- freshness and the clock ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "as_of", "holds"),
    [
        ([dt.date(2024, 1, 8), None], "2024-01-10", True),
        ([dt.date(2024, 1, 7)], "2024-01-10", False),
        ([NAIVE(2024, 1, 8, 12)], "2024-01-10T12:00:00", True),
        ([NAIVE(2024, 1, 8, 11)], "2024-01-10T12:00:00", False),
        ([dt.datetime(2024, 1, 8, 12, tzinfo=dt.UTC)], "2024-01-10T13:00:00+01:00", True),
        ([dt.datetime(2024, 1, 8, 11, tzinfo=dt.UTC)], "2024-01-10T13:00:00+01:00", False),
        ([None], "2024-01-10", False),
    ],
)
@pytest.mark.parametrize("quoted", [True, False])
def test_freshness_against_a_stated_moment(validate, values, as_of, holds, quoted):
    dtype = pl.Date if values[0] is None else None
    frame = pl.DataFrame({"t": pl.Series(values, dtype=dtype)})
    stated = f'"{as_of}"' if quoted else as_of
    text = f'policy = "warn"\n[table.freshness]\ncolumn = "t"\nmax_age = "2d"\nas_of = {stated}\n'
    made = validate(frame, text)
    assert (not made.validation.findings) == holds


def test_only_now_puts_the_clock_into_the_key(ctx, validate, monkeypatch):
    text = '[table.freshness]\ncolumn = "t"\nmax_age = "2d"\nas_of = {}\npolicy = "warn"\n'
    path = ctx.project_dir / "expectations.toml"
    stage = ExpectationsValidator(ExpectationsConfig())

    class Clock(dt.datetime):
        @classmethod
        def now(cls, tz=None):
            return cls.at

    monkeypatch.setattr(module.dt, "datetime", Clock)
    Clock.at = Clock(2024, 1, 10, 12, 34, 56, tzinfo=dt.UTC)
    path.write_text(text.format('"2024-01-10"'))
    assert stage.external(ctx.project_dir)["now"] is None
    path.write_text(text.format('"now"'))
    first = stage.external(ctx.project_dir)
    assert first["now"] == "2024-01-10T12:00:00+00:00"
    Clock.at = Clock(2024, 1, 10, 12, 59, tzinfo=dt.UTC)
    assert stage.external(ctx.project_dir) == first
    Clock.at = Clock(2024, 1, 10, 13, 0, tzinfo=dt.UTC)
    assert stage.external(ctx.project_dir) != first
    path.write_text(text.format('"now"').replace("2d", "30m"))
    Clock.at = Clock(2024, 1, 10, 12, 34, 56, tzinfo=dt.UTC)
    assert stage.external(ctx.project_dir)["now"] == "2024-01-10T12:34:00+00:00"
    frame = pl.DataFrame({"t": [Clock(2024, 1, 10, 12, 0)]})
    assert validate(frame).validation.findings
    assert not validate(frame.with_columns(pl.col("t") + dt.timedelta(minutes=10))).validation.findings


# --- policies and messages ------------------------------------------------------------------------------------------

FRAME = pl.DataFrame({"age": [30, -1, 200, None], "name": ["ann", "bob", "", "dan"]})
TEXT = """\
policy = "fail"

[table]
min_rows = { value = 10, policy = "warn" }

[columns.age]
min = { value = 0, policy = "quarantine" }
max = { value = 150, policy = "quarantine" }
nulls = 0.5

[columns.name]
min_length = { value = 1, policy = "quarantine" }
regex = { value = "[a-c].*", policy = "warn" }

[[check]]
that = "age is null or length(name) > 0"
policy = "warn"
name = "who has an age has a name"
"""


def test_policies_of_single_expectations(ctx, validate, roundtrip):
    made = validate(FRAME, TEXT)
    assert made.data.frame().rows() == [(30, "ann"), (None, "dan")]
    apart = made.quarantined.frame()
    assert apart.columns == ["age", "name", "quarantined_row", "quarantined_because"]
    assert apart.rows() == [(-1, "bob", 1, "age: min 0"), (200, "", 2, "age: max 150; name: min_length 1")]
    report = made.validation
    assert (report.rows, report.quarantined_rows, report.expectations) == (4, 2, 9)
    found = {(f["column"], f["expectation"]): f for f in report.findings}
    assert found["age", "min"]["policy"] == "quarantine"
    assert found["age", "min"]["examples"] == [1]
    assert found["age", "min"]["message"] == "column 'age': 1 row is below 0 (row 1 counted from 0: -1)"
    assert found["age", "min"]["place"] == "expectations.toml:7"
    assert found[None, "min_rows"]["message"] == "the table has 4 rows, and should have 10 at least"
    assert found["name", "regex"]["failed_rows"] == 2
    assert "who has an age has a name" in found[None, "check"]["message"]
    assert any(line.startswith("warn: the table has 4 rows") for line in ctx.logs)
    assert roundtrip(report) == report
    assert roundtrip(made.quarantined).frame().equals(apart)


def test_a_failure_names_file_line_column_rows_and_values(validate):
    with pytest.raises(DataError) as caught:
        validate(FRAME, TEXT.replace('{ value = 150, policy = "quarantine" }', "150"))
    assert caught.value.place == "expectations.toml:8"
    assert "column 'age': 1 row is above 150 (row 2 counted from 0: 200)" in caught.value.message
    assert "quarantine" in caught.value.hint


def test_without_failing_rows_the_data_passes_as_it_is(validate, tmp_path):
    FRAME.write_parquet(tmp_path / "a.parquet")
    data = Dataset.by_reference([tmp_path / "a.parquet"], format="parquet")
    made = validate(data, '[columns.age]\nmax = 1000\nunique = true\n[[check]]\nthat = "age < 500"\n')
    assert made.data is data
    assert data._frame is None, "a reference is read in batches, not held"
    assert made.quarantined.num_rows == 0
    assert made.quarantined.columns == ("age", "name", "quarantined_row", "quarantined_because")


def test_no_expectations_at_all(ctx, validate):
    made = validate(FRAME)
    assert made.validation.expectations == 0
    assert any("--suggest" in line for line in ctx.logs)
    assert ExpectationsValidator(ExpectationsConfig()).external(ctx.project_dir) == {
        "file": None,
        "foreign": [],
        "now": None,
    }


def test_inline_expectations_join_those_of_the_file(validate):
    inline = {"policy": "warn", "columns": {"age": {"max": 150}}}
    made = validate(FRAME, '[columns.age]\nmin = { value = 0, policy = "warn" }\n', expect=inline)
    assert [f["expectation"] for f in made.validation.findings] == ["min", "max"]
    with pytest.raises(ConfigError, match="unknown key 'mx'") as caught:
        validate(FRAME, expect={"columns": {"age": {"mx": 1}}})
    assert "headrace.toml" in caught.value.place


def test_too_much_quarantine_is_a_failure(validate):
    with pytest.raises(DataError, match="4 of 4 rows would go to quarantine"):
        validate(FRAME, 'policy = "quarantine"\n[columns.age]\nmin = 300\nnulls = false\n')
    with pytest.raises(DataError, match="4 of 4"):
        validate(FRAME.with_columns(age=1), 'policy = "quarantine"\n[columns.age]\nmin = 300\n', max_quarantined=1.0)


def test_columns_that_are_absent_or_too_many(validate):
    with pytest.raises(DataError, match="no column 'gone'"):
        validate(FRAME, "[columns.gone]\nmin = 3\n")
    assert not validate(FRAME, "[columns.gone]\nmin = 3\noptional = true\n").validation.findings
    made = validate(FRAME, '[columns.gone]\nmin = 3\npolicy = "warn"\n')
    assert [f["expectation"] for f in made.validation.findings] == ["column"]
    with pytest.raises(DataError, match="no expectation names: 'name'"):
        validate(FRAME, '[table]\nextra_columns = "refuse"\n[columns.age]\n')
    listed = '[table]\nextra_columns = "refuse"\n[columns.age]\n[columns.name]\noptional = true\n'
    assert not validate(FRAME, listed).validation.findings
    with pytest.raises(DataError, match="a check names 'b'"):
        validate(FRAME, '[[check]]\nthat = "age < b"\n')


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ('min = "x"', "does not fit `min`"),
        ('regex = "a"', "a regular expression is for text"),
        ("min_length = 1", "only text has a length"),
        ('allowed = ["x"]', "does not fit `allowed`"),
    ],
)
def test_expectations_that_do_not_fit_the_type(validate, section, message):
    with pytest.raises(DataError, match=message):
        validate(FRAME, f"[columns.age]\n{section}\n")


def test_odd_column_names(validate):
    frame = pl.DataFrame({name: [1, 2] for name in ODD})
    text = "".join(f"[columns.{toml(name)}]\nmax = 1\n" for name in ODD)
    checks = "".join(f"[[check]]\nthat = {toml('`' + name + '` < 2')}\n" for name in ODD if name)
    made = validate(frame, 'policy = "quarantine"\n' + text + checks)
    assert made.data.frame().rows() == [(1,) * len(ODD)]
    assert len(made.validation.findings) == 2 * len(ODD) - 1


# --- what a person may write wrongly --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "line", "message", "hint"),
    [
        ("polcy = 'fail'\n", 1, "unknown key 'polcy' in the file", "'policy'"),
        ("[columns.a]\ntype = 'text'\nmni = 3\n", 3, r"unknown key 'mni' in \[columns.a\]", "'min'"),
        ('[columns."a b"]\n\n"nuls" = true\n', 3, "unknown key 'nuls'", "'nulls'"),
        ("columns.a.mx = 1\n", 1, "unknown key 'mx'", "'max'"),
        ("[table]\nmin_row = 1\n", 2, "unknown key 'min_row'", "'min_rows'"),
        ("[[check]]\nthat = 'a < 1'\n[[check]]\nthta = 'a'\n", 4, "unknown key 'thta'", "'that'"),
        ("[columns.a]\nmin = [1]\n", 2, "`min` is", ""),
        ("[columns.a]\nmin = true\n", 2, "`min` is True", ""),
        ("[columns.a]\nmax = nan\n", 2, "`max` is nan", ""),
        ("[columns.a]\nnulls = 2\n", 2, "`nulls` is 2", ""),
        ("[columns.a]\nallowed = []\n", 2, "`allowed` is", ""),
        ("[columns.a]\nmonotonic = 'up'\n", 2, "one of increasing", ""),
        ("[columns.a]\nmean = [2, 1]\n", 2, "lowest, highest", ""),
        ("[columns.a]\nmin = { value = 1, polcy = 'warn' }\n", 2, "unknown key 'polcy'", "'policy'"),
        ("[columns.a]\nmin = { policy = 'warn' }\n", 2, "has no `value`", ""),
        ("[columns.a]\nmin = { value = 1, policy = 'stop' }\n", 2, "`policy` is 'stop'", "quarantine"),
        ("[columns.a]\ntype = { value = 'text', policy = 'quarantine' }\n", 2, "cannot put rows into quarantine", ""),
        ("[table]\nmin_rows = -1\n", 2, "whole number", ""),
        ("[table]\nunique = ['a']\n", 2, "list of lists", ""),
        ("[table.freshness]\ncolumn = 't'\nmax_age = '2 days'\nas_of = 'now'\n", 3, "a duration", ""),
        ("[table.freshness]\ncolumn = 't'\nmax_age = '2d'\n", 1, "needs `as_of`", "now"),
        ("[table.freshness]\ncolumn = 't'\nmax_age = '2d'\nas_of = 'soon'\n", 4, "date or time", ""),
        ("[columns.a]\nmin = 1\nmin = 2\n", 3, "not TOML", ""),
        ("[columns.a\n", 1, "not TOML", ""),
        ("policy = 'x'\n", 1, "`policy` is 'x'", ""),
        ("columns = 3\n", 1, "must be a table", ""),
        ("check = 3\n", 1, "must be a list", ""),
    ],
)
def test_wrong_files(text, line, message, hint):
    with pytest.raises(ConfigError, match=message) as caught:
        parse_document(text, "e.toml")
    assert caught.value.place == f"e.toml:{line}"
    assert hint in (caught.value.hint or "")


def test_errors_that_need_the_data_still_name_the_line(validate):
    with pytest.raises(ConfigError, match="no regular expression") as caught:
        validate(FRAME, "[columns.name]\nregex = '(a'\n")
    assert caught.value.place == "expectations.toml:2"
    with pytest.raises(ConfigError, match="no regular expression"):
        validate(FRAME, "[columns.name]\nregex = '(?=a)'\n")
    with pytest.raises(ConfigError, match="names no column"):
        validate(FRAME, "[[check]]\nthat = '1 < 2'\n")
    with pytest.raises(ConfigError, match=">>>") as caught:
        validate(FRAME, "[columns.age]\n[[check]]\npolicy = 'warn'\nthat = 'age <'\n")
    assert caught.value.place == "expectations.toml:4"
    with pytest.raises(ConfigError, match="cannot read the file of expectations"):
        validate(FRAME, file="gone.toml")


def test_a_regex_takes_linear_time(validate):
    frame = pl.DataFrame({"s": ["a" * 5000 + "!"] * 200})
    made = validate(frame, 'policy = "warn"\n[columns.s]\nregex = "(a+)+b"\n')
    assert made.validation.findings[0]["failed_rows"] == 200


def test_five_thousand_columns(validate):
    frame = pl.DataFrame({f"c{i}": [i, i + 1, None] for i in range(5000)})
    text = 'policy = "warn"\n' + "".join(
        f'[columns.c{i}]\ntype = "integer"\nmin = {i}\nmax = {i + 1 - (i == 77)}\nnulls = 0.5\n' for i in range(5000)
    )
    made = validate(frame, text)
    assert made.validation.expectations == 25_000
    assert [(f["column"], f["examples"]) for f in made.validation.findings] == [("c77", [1])]


# --- suggestions ----------------------------------------------------------------------------------------------------

column = st.one_of(
    st.lists(st.none() | st.integers(-(2**63), 2**63 - 1), min_size=40, max_size=40).map(
        lambda v: pl.Series(v, dtype=pl.Int64)
    ),
    st.lists(st.none() | st.integers(0, 9), min_size=40, max_size=40).map(lambda v: pl.Series(v, dtype=pl.Int8)),
    st.lists(st.none() | st.floats(), min_size=40, max_size=40).map(lambda v: pl.Series(v, dtype=pl.Float64)),
    st.lists(st.none() | st.floats(width=32), min_size=40, max_size=40).map(lambda v: pl.Series(v, dtype=pl.Float32)),
    st.lists(st.none() | st.text(), min_size=40, max_size=40).map(lambda v: pl.Series(v, dtype=pl.String)),
    st.lists(st.sampled_from(["a", "b", "ü\n\"'\\"]), min_size=40, max_size=40).map(
        lambda v: pl.Series(v, dtype=pl.Categorical)
    ),
    st.lists(st.none() | st.booleans(), min_size=40, max_size=40).map(lambda v: pl.Series(v, dtype=pl.Boolean)),
    st.lists(st.none() | st.datetimes(NAIVE(1900, 1, 1)), min_size=40, max_size=40).map(
        lambda v: pl.Series(v, dtype=pl.Datetime("us"))
    ),
    st.just(pl.Series([[1]] * 40)),
    st.just(pl.Series([None] * 40)),
)


@quiet
@given(
    st.dictionaries(st.text() | st.sampled_from([*ODD, "id", "policy"]), column, min_size=1, max_size=4),
    st.integers(0, 40),
)
def test_a_suggestion_holds_for_its_own_data(validate, columns, rows):
    frame = pl.DataFrame(columns).head(rows)
    text = suggest(frame)
    assert text == suggest(frame)
    assert parse_document(text, "e.toml").policy == "fail"
    if rows:
        assert not validate(frame, text).validation.findings


def test_a_suggestion_is_sensible():
    frame = pl.DataFrame(
        {
            "order_id": [f"o{i}" for i in range(1000)],
            "amount": [float(i % 90) + 10 for i in range(1000)],
            "delta": [float(i % 100) - 50 for i in range(1000)],
            "country": ["DE", "FR", "US", None] * 250,
            "note": [f"free text {i % 400}" for i in range(1000)],
            "when": [dt.date(2024, 1, 1)] * 1000,
            "mail": [f"user{i % 300}@example.org" for i in range(1000)],
        }
    )
    text = suggest(frame)
    assert "min_rows = 500" in text
    assert '[columns.order_id]\ntype = "text"\nnulls = false\nunique = true' in text
    assert 'min = { value = 0.0, policy = "warn" }  # 10 in the sample' in text, "amounts stay positive"
    assert 'max = { value = 150.0, policy = "warn" }  # 99 in the sample' in text, "half the width is added"
    assert 'min = { value = -100.0, policy = "warn" }' in text
    assert 'allowed = { value = ["DE", "FR", "US"], policy = "warn" }' in text
    assert "nulls = 0.52  # 25.0% in the sample" in text
    assert "# e-mail addresses" in text
    assert text.count("allowed") == 1, "free text is no list"
    more = frame.with_columns(pl.col("amount") * 1.2).head(600)
    document = parse_document(text, "e.toml")
    assert len(document.expectations) > 15
    assert more.height


def test_few_rows_suggest_only_types():
    text = suggest(pl.DataFrame({"a": [1, 2], "b": ["x", "y"]}))
    kinds = {e.kind for e in parse_document(text, "e.toml").expectations}
    assert kinds == {"column", "type"}


def test_lines_of_inline_documents():
    document = read_document({"columns": {"a": {"min": 1}}}, Lines("", "headrace.toml"))
    assert {e.place for e in document.expectations} == {"headrace.toml"}


def test_the_stage_is_light_to_import():
    code = (
        "import sys, headrace.builtins.validate.expectations; "
        "heavy = {'polars', 'numpy', 'pyarrow'} & set(sys.modules); sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
