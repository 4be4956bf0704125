"""Which rows a trigger looks at, so that it may look as often as it likes with one budget of false alarms."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    import polars as pl

_SCALES = 4


def windows(frame: pl.DataFrame, recent: int, block: int) -> Iterator[tuple[pl.DataFrame, float]]:
    """The last full window of each length, the longest first, as far as all of it is recent; its share of the level.

    Which windows there are, and what share each has, follows from the order of the rows alone, so nothing need be
    remembered between looks. Of the lengths that fit, the four longest: shorter ones have next to no share by then.
    """
    blocks, old = frame.height // block, frame.height - recent
    scale, found = blocks.bit_length() - 1, 0
    while scale >= 0 and found < _SCALES:
        length = block << scale
        number = frame.height // length
        if (number - 1) * length >= old:
            yield frame.slice((number - 1) * length, length), 1 / ((scale + 1) * (scale + 2) * number * (number + 1))
            found += 1
        scale -= 1
