"""What is written reads back as it was: tomllib is the oracle."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.scaffold.toml_text import assignment, comment, toml_key, toml_string, toml_value

texts = st.text(st.characters(codec="utf-8"))
scalars = texts | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4), max_leaves=12
)


@given(texts, values)
def test_a_document_reads_back(key: str, value: object) -> None:
    document = tomllib.loads(f"{toml_key(key)} = {toml_value(value)}\n")
    assert document == {key: value}
    assert repr(document[key]) == repr(value)


@given(texts, st.lists(texts, min_size=20, max_size=40))
def test_a_long_list_stands_over_several_lines_and_reads_back(key: str, items: list[str]) -> None:
    text = assignment(key, items)
    assert tomllib.loads(text) == {key: items}
    assert "\n" in text or len(text) <= 110


@given(texts)
def test_a_comment_is_only_a_comment(text: str) -> None:
    assert tomllib.loads(f"{comment(text)}\nafter = 1\n") == {"after": 1}


@pytest.mark.parametrize("name", ['a "b"', "a\nb", "a\\b", "prix €", "🚀", "", " ", "a.b", "\x00\x7f\x1b[31m", "é"])
def test_names_that_need_quotes(name: str) -> None:
    assert tomllib.loads(f"[{toml_key(name)}]\nx = {toml_string(name)}") == {name: {"x": name}}


def test_a_bare_name_stays_bare() -> None:
    assert toml_key("min_age-2") == "min_age-2"


def test_nan_reads_back() -> None:
    assert str(tomllib.loads(f"x = {toml_value(float('nan'))}")["x"]) == "nan"


def test_what_toml_has_no_word_for() -> None:
    with pytest.raises(TypeError, match="NoneType"):
        toml_value(None)
    with pytest.raises(UnicodeEncodeError):
        toml_string("\ud800")
