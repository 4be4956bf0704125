"""Where a key of the spec was written: on which line of the TOML file, in which overlay, in which override.

tomllib keeps no positions. This reads only table headers and the beginnings of assignments, which is enough to point a
person at the line; where it is unsure it gives the table's line, or none. Nothing is decided by a place.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Override:
    """One key that was set from outside of the file; `shown` is how a person called it."""

    path: tuple[str, ...]
    value: Any
    shown: str


@dataclass(frozen=True)
class Places:
    """Where the value of a key of the spec comes from: the last override of it, else the overlay, else the file."""

    file: str
    text: str = ""
    base: Mapping[str, Any] = field(default_factory=dict)
    overlay: Mapping[str, Any] = field(default_factory=dict)
    env: str | None = None
    overrides: tuple[Override, ...] = ()

    def of(self, *keys: str) -> str:
        """`headrace.toml:12`, or `--set train.seed=1`; of the nearest ancestor where the key itself is not written."""
        for override in reversed(self.overrides):
            if keys[: len(override.path)] == override.path:
                return override.shown
        written: tuple[str, ...] = keys
        in_base, in_overlay = _depth(self.base, keys), _depth(self.overlay, keys)
        if self.env is not None and in_overlay:
            decided_there = in_overlay == len(keys) and not isinstance(_at(self.overlay, keys), Mapping)
            if in_overlay > in_base or (in_overlay == in_base and decided_there):
                written = ("env", self.env, *keys)
        line = line_of(self.text, written)
        return f"{self.file}:{line}" if line else self.file


def key_path(dotted: str) -> tuple[str, ...]:
    """`train.params."lambda l1"` as its parts, as TOML reads a dotted key; split at the dots where it is none."""
    return _path(dotted) or tuple(dotted.split("."))


def _depth(table: Any, keys: Sequence[str]) -> int:
    """How many of `keys` lead into `table`; all of them from where a value stands that is no table."""
    for depth, key in enumerate(keys):
        if not isinstance(table, Mapping):
            return len(keys)
        if key not in table:
            return depth
        table = table[key]
    return len(keys)


def _at(table: Any, keys: Sequence[str]) -> Any:
    for key in keys:
        if not isinstance(table, Mapping):
            break
        table = table[key]
    return table


def line_of(text: str, keys: Sequence[str]) -> int | None:
    """The line (from 1) of the key path `keys`; of its nearest ancestor where the key itself is not found."""
    wanted = tuple(keys)
    found: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    quote: str | None = None
    for number, line in enumerate(text.splitlines(), start=1):
        if quote is not None:
            if line.count(quote) % 2:
                quote = None
            continue
        stripped = line.strip()
        if stripped.startswith("["):
            table = _path(stripped.strip("[]").partition("]")[0])
            for depth in range(1, len(table) + 1):
                found.setdefault(table[:depth], number)
        elif stripped and not stripped.startswith("#") and "=" in stripped:
            path = table + _path(stripped.partition("=")[0])
            for depth in range(1, len(path) + 1):
                found.setdefault(path[:depth], number)
            quote = next((q for q in ('"""', "'''") if line.count(q) % 2), None)
    while wanted:
        if wanted in found:
            return found[wanted]
        wanted = wanted[:-1]
    return None


def _path(dotted: str) -> tuple[str, ...]:
    try:
        node = tomllib.loads(f"{dotted.strip()} = 0")
    except tomllib.TOMLDecodeError:
        return ()
    path: list[str] = []
    while isinstance(node, dict) and node:
        key, node = next(iter(node.items()))
        path.append(key)
    return tuple(path)
