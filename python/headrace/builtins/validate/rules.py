"""Rules, which are expectations as polars expressions, tried on a table: one pass counts, a second one only shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from headrace.builtins.validate.document import Expectation, Policy

EXAMPLES = 10
SHOWN = 3
ONE_PASS = 1000
_SINGULAR = {"are": "is", "have": "has", "do": "does", "repeat": "repeats", "break": "breaks"}
Facts = Mapping[str, Any]


@dataclass(frozen=True)
class Rule:
    """One expectation ready to be tried.

    Either `mask` (True for a row that fails; never null) and `what` ("is below 0"), or `facts` (aggregates) and `judge`
    (a message if they fail), or `broken` (a message: it cannot even be tried, and so fails).
    """

    expectation: Expectation
    policy: Policy
    what: str = ""
    mask: pl.Expr | None = None
    facts: Mapping[str, pl.Expr] = field(default_factory=dict)
    judge: Callable[[Facts], str | None] | None = None
    broken: str | None = None

    @property
    def why(self) -> str:
        """What quarantined rows say in the column that tells why they are there."""
        expectation = self.expectation
        if expectation.kind == "check":
            return str(expectation.value["name"])
        named = ", ".join(expectation.columns)
        if expectation.kind == "nulls":
            return f"{named}: no value"
        shown = "" if expectation.value is True else f" {shown_value(expectation.value)}"
        return f"{named}: {expectation.kind}{shown}"

    @property
    def subject(self) -> str:
        names = self.expectation.columns
        if not names:
            return "the table"
        return f"column {names[0]!r}" if len(names) == 1 else f"columns {', '.join(map(repr, names))}"


@dataclass(frozen=True)
class Finding:
    """A rule that does not hold. `rows`: how many fail; `examples`: the first of them, from 0."""

    rule: Rule
    rows: int
    examples: tuple[int, ...]
    message: str


def try_rules(rules: Sequence[Rule], frame: pl.LazyFrame) -> list[Finding]:
    """All rules on a frame whose columns are called by position. Streams; memory does not grow with the rows."""
    asked: dict[str, pl.Expr] = {}
    for i, rule in enumerate(rules):
        if rule.mask is not None:
            asked[f"{i}"] = rule.mask.sum()
        asked |= {f"{i} {key}": expression for key, expression in rule.facts.items()}
    found = _one_row(frame, asked)
    failed = {i: int(found[f"{i}"] or 0) for i, rule in enumerate(rules) if rule.mask is not None and found[f"{i}"]}
    shown = _examples(rules, failed, frame)
    made = []
    for i, rule in enumerate(rules):
        if rule.broken is not None:
            made.append(Finding(rule, 0, (), rule.broken))
        elif i in failed:
            rows, values = shown[i]
            made.append(Finding(rule, failed[i], rows, _message(rule, failed[i], rows, values)))
        elif rule.judge is not None:
            message = rule.judge({key: found[f"{i} {key}"] for key in rule.facts})
            if message is not None:
                made.append(Finding(rule, 0, (), f"{rule.subject} {message}"))
    return made


def _one_row(frame: pl.LazyFrame, asked: Mapping[str, pl.Expr]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    # One pass for most tables. Polars' planning grows with the square of the number of expressions, so that very many
    # are faster in several passes.
    for some in _parts(list(asked.items())):
        # Positions instead of keys as names: keys are ours, but expressions keep their own output names apart.
        answer = frame.select(e.alias(str(i)) for i, (_, e) in enumerate(some)).collect(engine="streaming")
        found |= zip((key for key, _ in some), answer.row(0), strict=True)
    return found


def _parts(asked: Sequence[tuple[str, pl.Expr]]) -> list[Sequence[tuple[str, pl.Expr]]]:
    return [asked[i : i + ONE_PASS] for i in range(0, len(asked), ONE_PASS)]


def _examples(
    rules: Sequence[Rule], failed: Mapping[int, int], frame: pl.LazyFrame
) -> dict[int, tuple[tuple[int, ...], list[Any]]]:
    """For each failed rule the first rows, and the first values of its columns in them."""
    asked: dict[str, pl.Expr] = {}
    for i in failed:
        mask = rules[i].mask
        if mask is None:
            continue
        asked[f"{i} rows"] = mask.arg_true().head(EXAMPLES).implode()
    rows = _one_row(frame, asked)
    wanted = sorted({row for found in rows.values() for row in found[:SHOWN]})
    names = {i: _positions(rules[i]) for i in failed}
    picked = sorted({name for several in names.values() for name in several})
    values: dict[tuple[int, str], Any] = {}
    if wanted and picked:
        few = frame.select(picked).with_row_index("row").filter(pl.col("row").is_in(wanted)).collect(engine="streaming")
        for record in few.rows(named=True):
            values |= {(record["row"], name): record[name] for name in picked}
    made = {}
    for i in failed:
        mine = rows[f"{i} rows"]
        shown = [
            values[row, names[i][0]] if len(names[i]) == 1 else tuple(values[row, name] for name in names[i])
            for row in mine[:SHOWN]
            if names[i]
        ]
        made[i] = (tuple(mine), shown)
    return made


def _positions(rule: Rule) -> list[str]:
    return [] if rule.mask is None else sorted(set(rule.mask.meta.root_names()), key=int)


def _message(rule: Rule, count: int, rows: Sequence[int], values: Sequence[Any]) -> str:
    numbers = ", ".join(str(row) for row in rows[:SHOWN]) + (", ..." if count > SHOWN else "")
    shown = "; ".join(shown_value(value) for value in values)
    one = "1 row" if count == 1 else f"{count} rows"
    verb, rest = rule.what.split(" ", 1)
    verb = _SINGULAR.get(verb, verb) if count == 1 else verb
    where = f"row {numbers}" if count == 1 else f"rows {numbers}"
    return f"{rule.subject}: {one} {verb} {rest} ({where} counted from 0" + (f": {shown})" if shown else ")")


def shown_value(value: Any) -> str:
    """A value as messages show it: short, and on one line."""
    if isinstance(value, tuple):
        return ", ".join(shown_value(part) for part in value)
    text = repr(value) if isinstance(value, (str, float, int, bool)) or value is None else str(value)
    text = "missing" if value is None else text
    return text if len(text) <= 60 else text[:57] + "..."
