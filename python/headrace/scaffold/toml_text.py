"""TOML as text, for files that a person goes on with: values in one line, comments where they belong.

Only what the standard library lacks: it reads TOML and does not write it. What is written here reads back as it was, by
`tomllib`, whatever the names and texts hold (TOML 1.0; https://toml.io/en/v1.0.0).
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

_BARE = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_ESCAPES = {"\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r", '"': '\\"', "\\": "\\\\"}
_WIDTH = 110


def toml_string(text: str) -> str:
    """A basic string. Lone surrogates, which no UTF-8 file can hold, are a `ValueError`."""
    text.encode("utf-8")
    return '"' + "".join(_escaped(c) for c in text) + '"'


def toml_key(name: str) -> str:
    """A key: bare where that is allowed, quoted where not."""
    return name if _BARE.fullmatch(name) else toml_string(name)


def toml_value(value: Any) -> str:
    """A value in one line. `TypeError` for what TOML has no word for, None among it."""
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float():
            return _float(value)
        case str():
            return toml_string(value)
        case Mapping():
            inner = ", ".join(f"{toml_key(str(k))} = {toml_value(v)}" for k, v in value.items())
            return f"{{ {inner} }}" if inner else "{}"
        case Sequence() if not isinstance(value, bytes | bytearray | memoryview):
            return "[" + ", ".join(toml_value(item) for item in value) + "]"
    message = f"TOML has no value of type {type(value).__name__}"
    raise TypeError(message)


def assignment(key: str, value: Any) -> str:
    """`key = value`, a list that does not fit in a line with one item a line."""
    line = f"{toml_key(key)} = {toml_value(value)}"
    if len(line) <= _WIDTH or not isinstance(value, list | tuple) or not value:
        return line
    items = "".join(f"    {toml_value(item)},\n" for item in value)
    return f"{toml_key(key)} = [\n{items}]"


def comment(text: str, *, width: int = _WIDTH) -> str:
    """`text` as comment lines. Control characters, which comments may not hold, become escapes."""
    lines = []
    for paragraph in text.split("\n"):
        safe = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in paragraph)
        indent = " " * (len(safe) - len(safe.lstrip()))
        lines += textwrap.wrap(
            safe,
            width - 2,
            subsequent_indent=indent + ("  " if indent else ""),
            break_long_words=False,
            break_on_hyphens=False,
        ) or [""]
    return "\n".join(f"# {line}".rstrip() for line in lines)


def _escaped(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    if character < " " or character == "\x7f":
        return f"\\u{ord(character):04X}"
    return character


def _float(value: float) -> str:
    if value != value:  # noqa: PLR0124  # NaN, without importing math for it
        return "nan"
    if value in (float("inf"), float("-inf")):
        return "inf" if value > 0 else "-inf"
    text = repr(value)
    return text if any(c in text for c in ".e") else f"{text}.0"
