"""The names of models, aliases and package files, checked once, at the edge. None of them ever becomes a path."""

from __future__ import annotations

import re
from dataclasses import dataclass

from headrace.errors import InvalidNameError

CHAMPION = "champion"
MANIFEST = "manifest.json"
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
_FILE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")


@dataclass(frozen=True)
class Reference:
    """`NAME`, `NAME@ALIAS` or `NAME@NUMBER`, taken apart. One of `alias` and `number` is set."""

    model: str
    alias: str | None
    number: int | None


def model_name(text: str) -> str:
    """`text`, if it may be the name of a model."""
    return _checked(text, "model")


def alias_name(text: str) -> str:
    """`text`, if it may be an alias. A number may not: it would look like a version."""
    name = _checked(text, "alias")
    if name.isdecimal():
        raise InvalidNameError(
            f"{name!r} is not a name for an alias: it looks like a version", hint="Begin with a letter."
        )
    return name


def file_name(text: str) -> str:
    """`text`, if it may be the name of a file in a package."""
    if not isinstance(text, str) or _FILE.fullmatch(text) is None or text == MANIFEST:
        reason = (
            "the registry writes that one" if text == MANIFEST else "letters, digits, dot, dash and underscore only"
        )
        raise InvalidNameError(f"{text!r:.120} is not a name for a file of a package: {reason}")
    return text


def parse(text: str) -> Reference:
    """Take a reference apart. Without `@`, the champion is meant."""
    name, at, which = text.partition("@")
    if not at:
        return Reference(model_name(name), CHAMPION, None)
    if which.isascii() and which.isdecimal() and len(which) < 10:
        return Reference(model_name(name), None, int(which))
    return Reference(model_name(name), alias_name(which), None)


def _checked(text: str, what: str) -> str:
    if not isinstance(text, str) or _NAME.fullmatch(text) is None:
        raise InvalidNameError(
            f"{text!r:.120} is not a name for a{'n' if what == 'alias' else ''} {what}",
            hint="Up to 100 of: a-z, 0-9, dot, dash, underscore; the first a letter or a digit.",
        )
    return text
