"""Names are checked once, at the edge."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import RegistryError
from headrace.registry import names

BAD = [
    "",
    ".",
    "..",
    "-a",
    ".a",
    "_a",
    "A",
    "a/b",
    "../a",
    "a\\b",
    "a b",
    "a\n",
    "a\x00",
    "a;b",
    "a@b",
    "é",
    "\uff41",
    "a" * 101,
    "%2e%2e",
    "con\r",
    "<script>",
    "a'b",
    'a"b',
]


@pytest.mark.parametrize("name", BAD)
def test_bad_names(name: str) -> None:
    for check in (names.model_name, names.alias_name):
        with pytest.raises(RegistryError, match="not a name"):
            check(name)
    with pytest.raises(RegistryError):
        names.parse(f"m@{name}") if name else names.parse(name)


@pytest.mark.parametrize("name", [5, None, b"a", ["a"]])
def test_names_are_strings(name: object) -> None:
    for check in (names.model_name, names.alias_name, names.file_name):
        with pytest.raises(RegistryError):
            check(name)  # type: ignore[arg-type]


@given(st.text(max_size=120))
def test_only_the_pattern_passes(text: str) -> None:
    if re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,99}", text):
        assert names.model_name(text) == text
    else:
        with pytest.raises(RegistryError):
            names.model_name(text)


def test_alias_is_no_number() -> None:
    assert names.model_name("7") == "7"
    with pytest.raises(RegistryError, match="looks like a version"):
        names.alias_name("7")


@pytest.mark.parametrize("name", ["model.onnx", "plan.json", "card.md", "A_b-c.1", "a" * 100])
def test_files(name: str) -> None:
    assert names.file_name(name) == name


@pytest.mark.parametrize("name", ["", "manifest.json", ".a", "../a", "a/b", "a\n", "é", "a" * 101, "-a", "a b"])
def test_bad_files(name: str) -> None:
    with pytest.raises(RegistryError, match="not a name for a file"):
        names.file_name(name)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("flights", ("flights", "champion", None)),
        ("flights@champion", ("flights", "champion", None)),
        ("flights@3", ("flights", None, 3)),
        ("7@7", ("7", None, 7)),
        ("f@v1", ("f", "v1", None)),
    ],
)
def test_references(text: str, expected: tuple[str, str | None, int | None]) -> None:
    reference = names.parse(text)
    assert (reference.model, reference.alias, reference.number) == expected


@pytest.mark.parametrize("text", ["@", "@champion", "a@", "a@b@c", "a@9999999999", "a@٣", "a @3", "a@-1", "a@1.0e"])
def test_bad_references(text: str) -> None:
    if text == "a@1.0e":
        assert names.parse(text).alias == "1.0e"
        return
    with pytest.raises(RegistryError):
        names.parse(text)
