"""How each kind of expectation becomes a rule for a table of given columns."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import polars as pl

from headrace.builtins.validate.columns import (
    Columns,
    UnfitError,
    compile_check,
    constant,
    is_text,
    literal,
    matches,
    values_as,
)
from headrace.builtins.validate.document import Document, Expectation, Policy
from headrace.builtins.validate.grammar import columns_of, parse_check
from headrace.builtins.validate.rules import Facts, Rule, shown_value
from headrace.errors import ConfigError

_DEFAULT_FOR_WHOLE: Policy = "fail"


@dataclass(frozen=True)
class Table:
    """What rules are built for.

    `foreign`: (file, column) -> its values; `now`, in UTC, answers `as_of = "now"`; `listed`: the columns that the
    document names, filled in by `build_rules`.
    """

    columns: Columns
    foreign: Mapping[tuple[str, str], pl.Series]
    now: dt.datetime
    listed: frozenset[str] = field(default_factory=frozenset)


def build_rules(document: Document, table: Table) -> list[Rule]:
    """A rule for each expectation of the document."""
    rules = []
    listed = frozenset(name for expectation in document.expectations for name in expectation.columns)
    table = replace(table, listed=listed)
    for expectation in document.expectations:
        policy = expectation.policy or document.policy
        builder = _BUILDERS[expectation.kind]
        if policy == "quarantine" and expectation.kind not in _BY_ROW:
            policy = _DEFAULT_FOR_WHOLE
        made = Rule(expectation, policy)
        absent = [name for name in expectation.columns if name not in table.columns.schema]
        if absent:
            required = expectation.kind == "column" and expectation.value
            if required or len(expectation.columns) > 1 or expectation.kind == "freshness":
                shown = ", ".join(map(repr, absent))
                rules.append(Rule(expectation, _no_rows(policy), broken=f"the data has no column {shown}"))
            continue  # said once, by the kind "column"; nothing to try for a column that may be absent
        try:
            rules.append(builder(made, table))
        except UnfitError as error:
            rules.append(
                Rule(expectation, _no_rows(policy), broken=f"{made.subject} does not fit `{expectation.kind}`: {error}")
            )
    return rules


def _no_rows(policy: Policy) -> Policy:
    return _DEFAULT_FOR_WHOLE if policy == "quarantine" else policy


# --- how each kind is built -------------------------------------------------------------------------------------------


def _by_row(rule: Rule, what: str, mask: pl.Expr) -> Rule:
    return Rule(rule.expectation, rule.policy, what, mask.fill_null(value=False))


def _by_facts(rule: Rule, facts: Mapping[str, pl.Expr], judge: Callable[[Facts], str | None]) -> Rule:
    return Rule(rule.expectation, rule.policy, facts=facts, judge=judge)


def _one(rule: Rule, table: Table) -> tuple[pl.Expr, pl.DataType]:
    name = rule.expectation.columns[0]
    return table.columns.value(name), table.columns.schema[name]


def _column(rule: Rule, _: Table) -> Rule:
    return _by_facts(rule, {}, lambda _: None)  # that it is there was seen before


def _type(rule: Rule, table: Table) -> Rule:
    value = rule.expectation.value
    wanted = [value] if isinstance(value, str) else value
    _, dtype = _one(rule, table)
    if any(matches(dtype, word) for word in wanted):
        return _by_facts(rule, {}, lambda _: None)
    return Rule(
        rule.expectation,
        rule.policy,
        broken=f"{rule.subject} is {dtype}, and should be {' or '.join(map(str, wanted))}",
    )


def _nulls(rule: Rule, table: Table) -> Rule:
    column, _ = _one(rule, table)
    return _by_row(rule, "have no value", column.is_null())


def _null_share(rule: Rule, table: Table) -> Rule:
    column, _ = _one(rule, table)
    most = rule.expectation.value

    def judge(facts: Facts) -> str | None:
        share = facts["missing"] / max(1, facts["rows"])
        return (
            None if share <= most else f"has no value in {share:.2%} of the rows, and at most {most:.2%} may have none"
        )

    return _by_facts(rule, {"missing": column.is_null().sum(), "rows": pl.len()}, judge)


def _bound(rule: Rule, table: Table) -> Rule:
    column, dtype = _one(rule, table)
    value = rule.expectation.value
    edge = literal(value, dtype)
    if rule.expectation.kind == "min":
        return _by_row(rule, f"are below {shown_value(value)}", column < edge)
    return _by_row(rule, f"are above {shown_value(value)}", column > edge)


def _values(rule: Rule, table: Table) -> Rule:
    column, dtype = _one(rule, table)
    listed = rule.expectation.value
    found = column.is_in(values_as(listed, dtype).implode())
    few = ", ".join(shown_value(value) for value in listed[:5]) + (", ..." if len(listed) > 5 else "")
    if rule.expectation.kind == "allowed":
        return _by_row(rule, f"are none of {few}", ~found)
    return _by_row(rule, f"are one of the forbidden {few}", found)


def _regex(rule: Rule, table: Table) -> Rule:
    column, dtype = _one(rule, table)
    pattern = rule.expectation.value
    whole = rf"\A(?:{pattern})\z"
    for tried in (pattern, whole):
        try:
            pl.Series([""]).str.contains(tried, strict=True)
        except pl.exceptions.ComputeError as error:
            raise ConfigError(
                f"`regex` is {pattern!r}, which is no regular expression: {str(error).splitlines()[-1]}",
                place=rule.expectation.place,
                hint="Syntax: Rust's regex, which takes linear time and so has no look-around and no back-references.",
            ) from error
    if not is_text(dtype):
        raise UnfitError(f"it is {dtype}, and a regular expression is for text")
    return _by_row(rule, f"do not match {pattern}", ~column.str.contains(whole))


def _length(rule: Rule, table: Table) -> Rule:
    column, dtype = _one(rule, table)
    if not is_text(dtype):
        raise UnfitError(f"it is {dtype}, and only text has a length")
    size = column.str.len_chars()
    bound = rule.expectation.value
    if rule.expectation.kind == "min_length":
        return _by_row(rule, f"are shorter than {bound} characters", size < bound)
    return _by_row(rule, f"are longer than {bound} characters", size > bound)


def _unique(rule: Rule, table: Table) -> Rule:
    names = rule.expectation.columns
    parts = [table.columns.value(name) for name in names]
    if any(table.columns.schema[name].is_nested() for name in names):
        raise UnfitError("nested values are not compared")
    first = parts[0].is_first_distinct() if len(parts) == 1 else pl.struct(parts).is_first_distinct()
    known = pl.all_horizontal(part.is_not_null() for part in parts)
    return _by_row(rule, "repeat what an earlier row has", known & ~first)


def _monotonic(rule: Rule, table: Table) -> Rule:
    column, dtype = _one(rule, table)
    if not (dtype.is_numeric() or dtype.is_temporal() or is_text(dtype)):
        raise UnfitError(f"{dtype} has no order")
    before = column.forward_fill().shift(1)
    way = rule.expectation.value
    mask = {
        "increasing": column < before,
        "decreasing": column > before,
        "strictly increasing": column <= before,
        "strictly decreasing": column >= before,
    }[way]
    return _by_row(rule, f"break the order ({way}) with the value before", mask)


def _mean_or_sum(rule: Rule, table: Table) -> Rule:
    column, dtype = _one(rule, table)
    if not (dtype.is_numeric() or dtype == pl.Boolean):
        raise UnfitError(f"{dtype} has no {rule.expectation.kind}")
    low, high = rule.expectation.value
    kind = rule.expectation.kind
    number = column.cast(pl.Float64)

    def judge(facts: Facts) -> str | None:
        found = facts["found"]
        if found is None:
            return f"has no value, so no {kind}"
        return None if low <= found <= high else f"has the {kind} {found:g}, which is not from {low:g} to {high:g}"

    return _by_facts(rule, {"found": number.mean() if kind == "mean" else number.sum()}, judge)


def _rows(rule: Rule, _: Table) -> Rule:
    bound, kind = rule.expectation.value, rule.expectation.kind

    def judge(facts: Facts) -> str | None:
        rows = facts["rows"]
        if kind == "min_rows":
            return None if rows >= bound else f"has {rows} rows, and should have {bound} at least"
        return None if rows <= bound else f"has {rows} rows, and should have {bound} at most"

    return _by_facts(rule, {"rows": pl.len()}, judge)


def _freshness(rule: Rule, table: Table) -> Rule:
    column, dtype = _one(rule, table)
    if not isinstance(dtype, (pl.Date, pl.Datetime)):
        raise UnfitError(f"{dtype} is no date or time")
    age, as_of = rule.expectation.value["max_age"], rule.expectation.value["as_of"]
    moment = table.now if as_of == "now" else as_of
    if isinstance(dtype, pl.Date):
        moment = moment.date() if isinstance(moment, dt.datetime) else moment
    elif dtype.time_zone is None and isinstance(moment, dt.datetime) and moment.tzinfo is not None:
        moment = moment.astimezone(dt.UTC).replace(tzinfo=None)
    oldest = constant(moment, dtype) - age

    def judge(facts: Facts) -> str | None:
        latest = facts["latest"]
        if latest is None:
            return "has no value, so nothing fresh"
        if latest >= oldest:
            return None
        return f"ends at {latest}, more than {age} before {moment} (`as_of`): the data is stale"

    return _by_facts(rule, {"latest": column.max()}, judge)


def _extra_columns(rule: Rule, table: Table) -> Rule:
    extra = [name for name in table.columns.schema if name not in table.listed]
    if not extra:
        return _by_facts(rule, {}, lambda _: None)
    shown = ", ".join(map(repr, extra[:5])) + (", ..." if len(extra) > 5 else "")
    return Rule(rule.expectation, rule.policy, broken=f"the data has columns that no expectation names: {shown}")


def _foreign(rule: Rule, table: Table) -> Rule:
    column, dtype = _one(rule, table)
    file, name = rule.expectation.value["file"], rule.expectation.value["column"]
    known = table.foreign[file, name]
    wanted = pl.String() if is_text(dtype) else dtype
    if is_text(dtype) and not is_text(known.dtype):
        raise UnfitError(f"it is {dtype}, and {name!r} in {file} is {known.dtype}")
    if known.dtype != wanted:
        known = known.cast(wanted, strict=False)
    return _by_row(rule, f"are not in {name!r} of {file}", ~column.is_in(known.drop_nulls().unique().implode()))


def _check(rule: Rule, table: Table) -> Rule:
    tree = parse_check(rule.expectation.value["that"], rule.expectation.place)
    names = columns_of(tree)
    if not names:
        raise ConfigError("the check names no column", place=rule.expectation.place, hint="Compare columns.")
    for name in names:
        if name not in table.columns.schema:
            return Rule(
                rule.expectation,
                _no_rows(rule.policy),
                broken=f"a check names {name!r}, and the data has no such column",
            )
    named = Expectation("check", names, rule.expectation.value, rule.expectation.policy, rule.expectation.place)
    return _by_row(
        Rule(named, rule.policy), f"break `{rule.expectation.value['name']}`", ~compile_check(tree, table.columns)
    )


_BUILDERS: Mapping[str, Callable[[Rule, Table], Rule]] = {
    "column": _column,
    "type": _type,
    "nulls": _nulls,
    "null_share": _null_share,
    "min": _bound,
    "max": _bound,
    "allowed": _values,
    "forbidden": _values,
    "regex": _regex,
    "min_length": _length,
    "max_length": _length,
    "unique": _unique,
    "monotonic": _monotonic,
    "mean": _mean_or_sum,
    "sum": _mean_or_sum,
    "foreign": _foreign,
    "min_rows": _rows,
    "max_rows": _rows,
    "freshness": _freshness,
    "extra_columns": _extra_columns,
    "check": _check,
}
_BY_ROW = (
    "nulls", "min", "max", "allowed", "forbidden", "regex", "min_length", "max_length", "unique", "monotonic",
    "foreign", "check",
)  # fmt: skip
