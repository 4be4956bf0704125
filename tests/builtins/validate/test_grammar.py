from __future__ import annotations

import math

import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from headrace.builtins.validate.columns import Columns, UnfitError, compile_check
from headrace.builtins.validate.grammar import Among, Binary, Column, Constant, Unary, columns_of, parse_check
from headrace.errors import ConfigError

NAMES = {
    "a": pl.Int64(),
    "b": pl.Float64(),
    "^x$": pl.Int64(),
    "s": pl.String(),
    "t two": pl.String(),
    "f": pl.Boolean(),
}


# --- an oracle: the same tree, evaluated by Python, with None for unknown ---------------------------------------------


def evaluate(node, row):
    if isinstance(node, Column):
        value = row[node.name]
        return None if isinstance(value, float) and math.isnan(value) else value
    if isinstance(node, Constant):
        return node.value
    if isinstance(node, Among):
        value = evaluate(node.of, row)
        if value is None:
            return None
        return (value in [v.value for v in node.values]) != node.negated
    if isinstance(node, Unary):
        value = evaluate(node.of, row)
        if node.sign == "is null":
            return value is None
        if node.sign == "is not null":
            return value is not None
        if value is None:
            return None
        return {
            "not": lambda: not value,
            "-": lambda: -float(value),
            "abs": lambda: abs(float(value)),
            "length": lambda: len(value),
        }[node.sign]()
    left, right = evaluate(node.left, row), evaluate(node.right, row)
    if node.sign == "and":
        return False if left is False or right is False else None if left is None or right is None else True
    if node.sign == "or":
        return True if left is True or right is True else None if left is None or right is None else False
    if left is None or right is None:
        return None
    if node.sign in "+-*/":
        left, right = float(left), float(right)
        if node.sign == "/" and right == 0:
            result = math.nan if left == 0 else math.copysign(math.inf, left) * math.copysign(1, right)
        else:
            result = {"+": left + right, "-": left - right, "*": left * right, "/": left / right if right else 0}[
                node.sign
            ]
        return None if math.isnan(result) else result
    return {
        "==": left == right,
        "!=": left != right,
        "<": left < right,
        "<=": left <= right,
        ">": left > right,
        ">=": left >= right,
    }[node.sign]


def written(node) -> str:
    """The tree as text, with all its parentheses."""
    if isinstance(node, Column):
        return "`" + node.name.replace("`", "``") + "`"
    if isinstance(node, Constant):
        if isinstance(node.value, bool):
            return "true" if node.value else "false"
        return "'" + node.value.replace("'", "''") + "'" if isinstance(node.value, str) else repr(node.value)
    if isinstance(node, Among):
        return f"({written(node.of)} {'not ' if node.negated else ''}in [{', '.join(map(written, node.values))}])"
    if isinstance(node, Unary):
        inside = written(node.of)
        if node.sign.startswith("is"):
            return f"({inside} {node.sign})"
        return f"{node.sign}({inside})" if node.sign in ("abs", "length") else f"({node.sign} {inside})"
    return f"({written(node.left)} {node.sign} {written(node.right)})"


numbers = st.integers(0, 5) | st.sampled_from([0.5, 2.0, 1e300])
texts = st.sampled_from(["", "x", "it's", 'say "x"', "ü"])


def number_nodes():
    leaves = st.sampled_from([Column("a"), Column("b"), Column("^x$")]) | numbers.map(Constant)
    return st.recursive(
        leaves | st.sampled_from([Unary("length", Column("s")), Unary("length", Column("t two"))]),
        lambda inner: (
            st.builds(Binary, st.sampled_from("+-*/"), inner, inner)
            | st.builds(Unary, st.sampled_from(["-", "abs"]), inner)
        ),
        max_leaves=6,
    )


text_nodes = st.sampled_from([Column("s"), Column("t two")]) | texts.map(Constant)
comparisons = (
    st.builds(Binary, st.sampled_from(["==", "!=", "<", "<=", ">", ">="]), number_nodes(), number_nodes())
    | st.builds(Binary, st.sampled_from(["==", "!=", "<", "<=", ">", ">="]), text_nodes, text_nodes)
    | st.builds(Unary, st.sampled_from(["is null", "is not null"]), number_nodes() | text_nodes)
    | st.builds(
        Among,
        st.sampled_from([Column("s"), Column("t two")]),
        st.lists(texts.map(Constant), min_size=1, max_size=3).map(tuple),
        st.booleans(),
    )
    | st.builds(
        Among,
        st.sampled_from([Column("a"), Column("b")]),
        st.lists(numbers.map(Constant), min_size=1, max_size=3).map(tuple),
        st.booleans(),
    )
    | st.just(Column("f"))
    | st.booleans().map(Constant)
)
trees = st.recursive(
    comparisons,
    lambda inner: (
        st.builds(Binary, st.sampled_from(["and", "or"]), inner, inner) | st.builds(Unary, st.just("not"), inner)
    ),
    max_leaves=6,
)
rows = st.fixed_dictionaries(
    {
        "a": st.none() | st.integers(-3, 5),
        "b": st.none() | st.sampled_from([math.nan, math.inf, -math.inf, 0.0, 0.5, 2.0, -1e300]),
        "^x$": st.none() | st.integers(-3, 5),
        "s": st.none() | texts,
        "t two": st.none() | texts,
        "f": st.none() | st.booleans(),
    }
)


@settings(max_examples=400, deadline=None)
@given(trees, st.lists(rows, min_size=1, max_size=5))
def test_every_expression_means_what_python_says(tree, table):
    assume(columns_of(tree))
    parsed = parse_check(written(tree), "here")
    assert parsed == tree
    frame = pl.DataFrame(table, schema=NAMES)
    columns = Columns.of(frame.schema)
    found = columns.positional(frame.lazy()).select(x=compile_check(parsed, columns)).collect()["x"].to_list()
    assert found == [evaluate(tree, row) for row in table]


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("a + b * 2 < 3 and f or not f", "(((`a` + (`b` * 2)) < 3) and `f`) or (not `f`)"),
        ("not a < b and f", "(not (`a` < `b`)) and `f`"),
        ("a - b - 1 > 0", "((`a` - `b`) - 1) > 0"),
        ("a not in [1, -2, 3.5]", "(`a` not in [1, -2, 3.5])"),
        ("-a<b", "(- `a`) < `b`"),
        ('s == "say ""x"""', "`s` == 'say \"x\"'"),
        ("a is not null", "(`a` is not null)"),
        ("`in` == `a``b`", "`in` == `a``b`"),
        ("length(s) > 3", "length(`s`) > 3"),
        ("length > 3", "`length` > 3"),
        ("größe >= 1", "`größe` >= 1"),
        ("a == 1e3", "`a` == 1000.0"),
    ],
)
def test_precedence(text, same):
    assert parse_check(text, "here") == parse_check(same, "here")


@pytest.mark.parametrize(
    "text",
    [
        "", "a <", "a < b <c", "a <> b", "a = b", "a b", "(a < b", "a < b)", "a in []", "a in [b]", "a in 1", "a is 3",
        "a not null", "__import__('os')", "a; b", "a.b < 1", "a < 'x", "`` == 1", "lambda: 1", "a if b", "@a", "not",
        "a and", "a in [1,]", "{a}", "a < 1 # x", "\\", "a == 'x' 'y'",
    ],
)  # fmt: skip
def test_what_is_no_expression(text):
    with pytest.raises(ConfigError) as caught:
        parse_check(text, "expectations.toml:7")
    assert caught.value.place == "expectations.toml:7"
    assert ">>>" in caught.value.message


@pytest.mark.parametrize(
    "text", ["(" * 200 + "a" + ")" * 200, "not " * 200 + "f", "-" * 200 + "a", "a+" * 500 + "a", "a" * 3000]
)
def test_deep_and_long_ones_are_refused(text):
    with pytest.raises(ConfigError, match=r"deep|longer|more than"):
        parse_check(text, "here")


@given(st.text(alphabet="ab `'\"()[]<>=!+-*/.,0123456789\nandotrisulfe", max_size=40))
def test_any_text_parses_or_is_a_config_error(text):
    try:
        tree = parse_check(text, "here")
    except ConfigError:
        return
    columns = Columns.of(dict.fromkeys(columns_of(tree), pl.Int64()))
    try:
        compile_check(tree, columns)
    except UnfitError:
        return


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a", "gives a integer"),
        ("a + 1", "gives a number"),
        ("s + 1 > 2", "`.` with a text"),
        ("a == s", "a integer is compared with a text"),
        ("a and f", "`and` stands beside"),
        ("not a", "`not` stands before"),
        ("f < true", "between true and false"),
        ("length(a) > 1", "`length` of"),
        ("abs(s) > 1", "`abs` of"),
        ("a in ['x']", "cannot be compared"),
    ],
)
def test_types_that_do_not_go_together(text, message):
    with pytest.raises(UnfitError, match=message):
        compile_check(parse_check(text, "here"), Columns.of(NAMES))
