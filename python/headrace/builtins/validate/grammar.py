"""The little language of `[[check]]`: comparisons between columns and constants. Parsed here; nothing is evaluated.

    expression  or      := and ("or" and)*
                and     := not ("and" not)*
                not     := "not" not | compare
                compare := sum (("==" | "!=" | "<" | "<=" | ">" | ">=") sum
                               | "is" ["not"] "null" | ["not"] "in" "[" constant ("," constant)* "]")?
                sum     := product (("+" | "-") product)*
                product := unary (("*" | "/") unary)*
                unary   := "-" unary | atom
                atom    := "(" or ")" | number | text | "true" | "false" | column | ("abs" | "length") "(" or ")"

A column is a bare name, or any name in backticks (a backtick in it is doubled). Text stands in single or double quotes
(the quote in it is doubled). A text beside a column of dates or times is read as ISO 8601. Sums and products are made
in Float64.

Logic has three values, as in SQL: what is compared with a missing value is unknown, and a row fails only where the
whole is false. NaN counts as missing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from headrace.errors import ConfigError

LONGEST = 2000
DEEPEST = 50
MOST_TOKENS = 300
WORDS = ("or", "and", "not", "is", "null", "in", "true", "false")
FUNCTIONS = ("abs", "length")

_TOKEN = re.compile(
    r"""\s*(?:(?P<number>\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?)
           |(?P<name>[^\W\d]\w*)
           |`(?P<quoted>(?:[^`]|``)+)`
           |'(?P<single>(?:[^']|'')*)'
           |"(?P<double>(?:[^"]|"")*)"
           |(?P<sign>==|!=|<=|>=|[-+*/()<>,\[\]]))""",
    re.VERBOSE,
)


@dataclass(frozen=True)
class Column:
    """The value of a column."""

    name: str


@dataclass(frozen=True)
class Constant:
    """A value that stands in the expression."""

    value: bool | int | float | str


@dataclass(frozen=True)
class Unary:
    """`not`, `-`, `is null`, `is not null`, `abs`, `length`."""

    sign: str
    of: Node


@dataclass(frozen=True)
class Binary:
    """`or`, `and`, the comparisons, `+ - * /`."""

    sign: str
    left: Node
    right: Node


@dataclass(frozen=True)
class Among:
    """`in` and `not in` a list of constants."""

    of: Node
    values: tuple[Constant, ...]
    negated: bool


Node = Column | Constant | Unary | Binary | Among
Kind = Literal["number", "name", "quoted", "text", "sign", "end"]


@dataclass(frozen=True)
class _Token:
    kind: Kind
    text: str
    at: int


def parse_check(text: str, place: str) -> Node:
    """The tree of an expression. `ConfigError` says what stood where, and what was expected."""
    if len(text) > LONGEST:
        raise ConfigError(
            f"the expression is longer than {LONGEST} characters", place=place, hint="Split it in several."
        )
    parser = _Parser(text, place)
    tree = parser.disjunction(0)
    parser.expect_end()
    return tree


def columns_of(node: Node) -> tuple[str, ...]:
    """The columns that an expression speaks of, in order, each once."""
    if isinstance(node, Column):
        return (node.name,)
    parts: tuple[Node, ...] = ()
    if isinstance(node, (Unary, Among)):
        parts = (node.of,)
    elif isinstance(node, Binary):
        parts = (node.left, node.right)
    return tuple(dict.fromkeys(name for part in parts for name in columns_of(part)))


class _Parser:
    def __init__(self, text: str, place: str) -> None:
        self.text = text
        self.place = place
        self.tokens = self._tokens()
        self.next = 0

    def _tokens(self) -> list[_Token]:
        made = []
        at = 0
        while self.text[at:].strip():
            match = _TOKEN.match(self.text, at)
            if match is None:
                start = at + len(self.text[at:]) - len(self.text[at:].lstrip())
                raise self.error(start, f"{self.text[start]!r} has no meaning here")
            kind = str(match.lastgroup)
            value = match[kind]
            start = match.start(kind)
            if kind == "quoted":
                value = value.replace("``", "`")
            elif kind in ("single", "double"):
                quote = "'" if kind == "single" else '"'
                kind, value = "text", value.replace(quote * 2, quote)
            made.append(_Token(kind, value, start))  # type: ignore[arg-type]
            at = match.end()
            if len(made) > MOST_TOKENS:
                raise self.error(at, f"more than {MOST_TOKENS} words and signs")
        made.append(_Token("end", "", len(self.text)))
        return made

    def error(self, at: int, what: str) -> ConfigError:
        return ConfigError(
            f"{what}: {self.text[:at]} >>> {self.text[at:]}",
            place=self.place,
            hint="An expression is like: `arr time` >= dep_time and carrier in ['AA', 'UA'].",
        )

    @property
    def here(self) -> _Token:
        return self.tokens[self.next]

    def take(self, *signs: str) -> str | None:
        token = self.here
        if token.kind in ("sign", "name") and token.text in signs:
            self.next += 1
            return token.text
        return None

    def need(self, sign: str) -> None:
        if self.take(sign) is None:
            raise self.error(self.here.at, f"expected {sign!r}")

    def expect_end(self) -> None:
        if self.here.kind != "end":
            raise self.error(self.here.at, f"{self.here.text!r} was not expected")

    def disjunction(self, depth: int) -> Node:
        if depth > DEEPEST:
            raise self.error(self.here.at, f"nested more than {DEEPEST} deep")
        left = self.conjunction(depth)
        while self.take("or"):
            left = Binary("or", left, self.conjunction(depth))
        return left

    def conjunction(self, depth: int) -> Node:
        left = self.negation(depth)
        while self.take("and"):
            left = Binary("and", left, self.negation(depth))
        return left

    def negation(self, depth: int) -> Node:
        if depth > DEEPEST:
            raise self.error(self.here.at, f"nested more than {DEEPEST} deep")
        if self.take("not"):
            return Unary("not", self.negation(depth + 1))
        return self.comparison(depth)

    def comparison(self, depth: int) -> Node:
        left = self.sum(depth)
        sign = self.take("==", "!=", "<", "<=", ">", ">=")
        if sign:
            return Binary(sign, left, self.sum(depth))
        if self.take("is"):
            negated = self.take("not")
            self.need("null")
            return Unary("is not null" if negated else "is null", left)
        negated = self.take("not")
        if self.take("in"):
            return Among(left, self.constants(), negated is not None)
        if negated:
            raise self.error(self.here.at, "expected 'in'")
        return left

    def constants(self) -> tuple[Constant, ...]:
        self.need("[")
        made = []
        while True:
            start = self.here.at
            node = self.unary(0)
            if isinstance(node, Unary) and node.sign == "-" and isinstance(node.of, Constant):
                node = Constant(-node.of.value)  # type: ignore[operator]  # `unary` lets only numbers through
            if not isinstance(node, Constant):
                raise self.error(start, "a list holds constants")
            made.append(node)
            if not self.take(","):
                break
        self.need("]")
        return tuple(made)

    def sum(self, depth: int) -> Node:
        left = self.product(depth)
        while sign := self.take("+", "-"):
            left = Binary(sign, left, self.product(depth))
        return left

    def product(self, depth: int) -> Node:
        left = self.unary(depth)
        while sign := self.take("*", "/"):
            left = Binary(sign, left, self.unary(depth))
        return left

    def unary(self, depth: int) -> Node:
        if depth > DEEPEST:
            raise self.error(self.here.at, f"nested more than {DEEPEST} deep")
        if self.take("-"):
            return Unary("-", self.unary(depth + 1))
        return self.atom(depth)

    def atom(self, depth: int) -> Node:
        token = self.here
        if self.take("("):
            inside = self.disjunction(depth + 1)
            self.need(")")
            return inside
        if token.kind == "number":
            self.next += 1
            return Constant(int(token.text) if token.text.isdigit() else float(token.text))
        if token.kind == "text":
            self.next += 1
            return Constant(token.text)
        if token.kind == "quoted":
            self.next += 1
            return Column(token.text)
        if word := self.take("true", "false"):
            return Constant(word == "true")
        if token.kind == "name" and token.text not in WORDS:
            self.next += 1
            if token.text in FUNCTIONS and self.take("("):
                inside = self.disjunction(depth + 1)
                self.need(")")
                return Unary(token.text, inside)
            return Column(token.text)
        found = repr(token.text) if token.text else "the end"
        raise self.error(token.at, f"expected a column, a number or a text, not {found}")
