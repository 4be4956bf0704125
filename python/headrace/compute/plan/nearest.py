"""A hint for a name that is not known."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def did_you_mean(name: str, known: Sequence[str]) -> str:
    """One sentence: the nearest known names, or the first few of all."""
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
    if close:
        return f"Did you mean {' or '.join(map(repr, close))}?"
    some = ", ".join(map(repr, known[:10]))
    return f"Known: {some}{f' and {len(known) - 10} more' if len(known) > 10 else ''}."
