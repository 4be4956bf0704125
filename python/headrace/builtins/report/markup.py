"""HTML that is escaped unless it was made here: text becomes markup only through `h`."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterable
from typing import Any

_VOID = frozenset({"meta", "br", "col"})
# What HTML may not hold at all, escaped or not; and what would let a name rearrange the text around it.
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff\u202a-\u202e\u2066-\u2069]")


DASH = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"


class Html(str):
    """Markup that is safe to put into a page as it is. Only `h`, `join` and this package's constants make it."""

    __slots__ = ()


def text(value: object) -> str:
    """Any value as text that is safe in HTML, in an attribute and in SVG. Control characters become visible."""
    plain = _CONTROL.sub(lambda match: f"\\u{ord(match[0]):04x}", str(value))
    return html.escape(plain, quote=True).replace("\n", "↵").replace("\r", "↵")


def join(parts: Iterable[object], between: str = "") -> Html:
    """Several pieces after each other: markup as it is, everything else escaped; None is left out."""
    return Html(between.join(p if isinstance(p, Html) else text(p) for p in parts if p is not None))


def h(tag: str, *children: object, **attributes: Any) -> Html:
    """An element. `class_` is `class`, `aria_label` is `aria-label`; an attribute that is None or False is left out."""
    written = []
    for key, value in attributes.items():
        name = key.rstrip("_").replace("_", "-")
        if value is True:
            written.append(f" {name}")
        elif value is not None and value is not False:
            written.append(f' {name}="{text(value)}"')
    start = f"<{tag}{''.join(written)}>"
    return Html(start) if tag in _VOID else Html(f"{start}{join(children)}</{tag}>")


def number(value: Any, digits: int = 4) -> str:
    """A number as a person reads it: four significant digits, a real minus, a dash where there is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return DASH
    if isinstance(value, int):
        return f"{value:,}".replace("-", MINUS)
    shown = f"{value:.{digits}g}"
    if value == 0 or 1e-4 <= abs(value) < 1e7:
        # As many decimals as the digits ask for, so that 0.25 beside 0.2513 reads 0.2500.
        exponent = int(f"{value:.{digits - 1}e}".partition("e")[2]) if value else 0
        shown = f"{value:,.{min(max(0, digits - 1 - exponent), 8)}f}"
    return shown.replace("-", MINUS)


def interval(low: Any, high: Any) -> str:
    """An interval, or nothing."""
    if low is None or high is None:
        return ""
    return f"{number(low)} to {number(high)}"
