"""How results are printed: tables, trees, numbers and times for people; one JSON document for machines."""

from __future__ import annotations

import json
import sys
import time
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import click

from headrace.errors import printable

Align = Literal["left", "right"]


def echo_json(document: Mapping[str, Any]) -> None:
    """The one JSON document of a command, on stdout. NaN and infinities never occur in it: they are null."""
    utf8 = (getattr(sys.stdout, "encoding", None) or "").lower().replace("-", "") == "utf8"
    click.echo(json_text(document, ensure_ascii=not utf8))


def json_text(document: Mapping[str, Any], *, ensure_ascii: bool = False) -> str:
    """A document as text: indented, NaN and infinities as null."""
    return json.dumps(_finite(document), ensure_ascii=ensure_ascii, allow_nan=False, indent=2, default=str)


def _finite(value: Any) -> Any:
    match value:
        case float():
            return value if value - value == 0 else None
        case Mapping():
            return {str(k): _finite(v) for k, v in value.items()}
        case list() | tuple():
            return [_finite(v) for v in value]
    return value


@dataclass(frozen=True)
class Column:
    """A column of a table: its heading, the side it stands on, and the colour of a cell by its text."""

    heading: str
    align: Align = "left"
    colors: Mapping[str, str] | None = None


def echo_table(columns: Sequence[Column], rows: Sequence[Sequence[Any]], *, indent: int = 0) -> None:
    """A table without lines, its columns as wide as their widest cell; the last one is not padded."""
    cells = [[one_line(cell) for cell in row] for row in rows]
    widths = [max([width(column.heading), *(width(row[i]) for row in cells)]) for i, column in enumerate(columns)]
    margin = " " * indent
    heading = "  ".join(_padded(c.heading, w, c.align) for c, w in zip(columns, widths, strict=True))
    click.echo(margin + click.style(heading.rstrip(), dim=True))
    for row in cells:
        parts = []
        for cell, column, cell_width in zip(row, columns, widths, strict=True):
            padded = _padded(cell, cell_width, column.align)
            color = (column.colors or {}).get(cell)
            parts.append(click.style(padded, fg=color) if color else padded)
        click.echo((margin + "  ".join(parts)).rstrip())


def echo_pairs(pairs: Mapping[str, Any] | Sequence[tuple[str, Any]], *, indent: int = 0) -> None:
    """Names and values, one pair a line."""
    items = list(pairs.items()) if isinstance(pairs, Mapping) else list(pairs)
    longest = max((width(name) for name, _ in items), default=0)
    for name, value in items:
        label = click.style(_padded(printable(name), longest, "left"), dim=True)
        click.echo(f"{' ' * indent}{label}  {one_line(value)}".rstrip())


@dataclass(frozen=True)
class Branch:
    """A node of a tree that is printed."""

    text: str
    children: tuple[Branch, ...] = ()


def echo_tree(root: Branch) -> None:
    """A tree, with lines."""
    click.echo(printable(root.text))
    _echo_children(root.children, "")


def _echo_children(children: Sequence[Branch], margin: str) -> None:
    for position, child in enumerate(children):
        last = position == len(children) - 1
        click.echo(f"{margin}{'└─' if last else '├─'} {printable(child.text)}")
        _echo_children(child.children, margin + ("   " if last else "│  "))


def one_line(value: Any) -> str:
    """A value as one printable line."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return number(value)
    return printable(str(value)).replace("\n", " ").replace("\t", " ")


def number(value: float | None, digits: int = 4) -> str:
    """A number with `digits` significant places, without a needless exponent."""
    if value is None:
        return "-"
    return f"{value:.{digits}g}" if abs(value) < 10**digits else f"{value:,.0f}"


def measure(value: float | None) -> str:
    """A metric's value: four decimals where that shows it, so that a column of them can be compared at a glance."""
    if value is None or value == 0 or not 0.001 <= abs(value) < 1000:
        return number(value)
    return f"{value:.4f}"


def interval(metric: Mapping[str, Any]) -> str:
    """`low` to `high` of a metric, `-` where there is none."""
    low, high = metric.get("low"), metric.get("high")
    return "-" if low is None or high is None else f"{measure(low)} .. {measure(high)}"


def seconds(value: float) -> str:
    """A duration: `0.03`, `12.4`, `3 min 05 s`."""
    if value < 120:
        return f"{value:.2f}" if value < 10 else f"{value:.1f}"
    return f"{int(value // 60)} min {int(value % 60):02d} s"


def moment(at: float | None) -> str:
    """A time stamp in local time, to the second."""
    return "-" if at is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def iso(at: float | None) -> str | None:
    """A time stamp for machines: ISO 8601, UTC, milliseconds."""
    if at is None:
        return None
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at)) + f".{int(at % 1 * 1000):03d}Z"


def size(count: float) -> str:
    """A number of bytes: `512 B`, `1.4 MiB`."""
    if count < 1024:
        return f"{count:.0f} B"
    for unit in ("KiB", "MiB", "GiB"):
        count /= 1024
        if count < 1024:
            return f"{count:.1f} {unit}"
    return f"{count / 1024:.1f} TiB"


def short(digest: str | None) -> str:
    """The beginning of a digest, long enough to be used in its place."""
    return "-" if not digest else digest[:12]


def width(text: str) -> int:
    """The number of terminal cells that `text` takes (UAX 11; combining marks take none)."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def _padded(text: str, cells: int, align: Align) -> str:
    space = " " * (cells - width(text))
    return space + text if align == "right" else text + space
