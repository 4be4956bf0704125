"""What is wrong with a value of headrace.toml, in words: what pydantic says of it, in those of TOML."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_LONGEST = 80
_WORDS = (
    ("Value error, ", ""),
    ("a valid tuple", "a list"),
    ("a valid list", "a list"),
    ("a valid dictionary", "a table"),
    ("a valid string", "a text"),
    ("a valid integer", "a whole number"),
    ("a valid number", "a number"),
    ("a valid boolean", "true or false"),
    ("Input should", "it should"),
    ("Field required", "it is needed, and missing"),
)


def wrong(first: Mapping[str, Any], *, secret: bool = False) -> str:
    """What was expected, and what was found; not that of a table that may hold secrets."""
    said = str(first["msg"])
    for theirs, ours in _WORDS:
        said = said.replace(theirs, ours)
    if secret or first["type"] == "missing" or "input" not in first:
        return said
    found = repr(first["input"])
    if found in said:
        return said
    return f"{said} (found {found if len(found) <= _LONGEST else found[:_LONGEST] + '...'})"
