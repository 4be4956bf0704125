"""On which line of a TOML file a key stands.

tomllib keeps no positions. This reads only table headers and the beginnings of assignments, which is enough to point a
person at the line; where it is unsure it gives the table's line, or none. Nothing is decided by it.
"""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


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
