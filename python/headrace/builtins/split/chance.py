"""Chance that is the same on every machine and in every version: no library's generator, no library's hash.

A row's number comes from its position (SplitMix64 of Steele, Lea and Flood 2014, a bijection of 64-bit numbers, so that
no two positions tie) or from its key (SHA-256 of a framed, type-tagged text of the values).
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import polars as pl

from headrace.errors import DataError

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def by_position(rows: int, seed: int, purpose: str) -> np.ndarray:
    """A number for each of `rows` positions: uint64 [rows], all different. `purpose` keeps uses of a seed apart."""
    start = int.from_bytes(hashlib.sha256(f"headrace split 1\n{purpose}\n{seed}".encode()).digest()[:8], "big")
    with np.errstate(over="ignore"):
        z = np.uint64(start) + _GOLDEN * np.arange(1, rows + 1, dtype=np.uint64)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return np.asarray(z ^ (z >> np.uint64(31)))


def by_key(frame: pl.DataFrame, columns: Sequence[str], seed: int) -> np.ndarray:
    """A number for each row from its values in `columns`: uint64 [rows]; equal values, equal numbers.

    A whole number counts the same as an integer or as a float, so that a column that becomes Float64 because a value is
    missing splits as before. Columns of nested or other types that have no text of their own are a `DataError`.
    """
    keys = frame.select(pl.selectors.by_name(*columns))
    unique = keys.unique(maintain_order=True)
    prefix = f"headrace split key 1\n{seed}\n".encode()
    numbers = [
        int.from_bytes(hashlib.sha256(prefix + b"".join(map(_framed, row))).digest()[:8], "big")
        for row in unique.rows()
    ]
    names = [str(i) for i in range(keys.width)]
    keys.columns, unique.columns = names, names
    table = unique.with_columns(pl.Series("number", numbers, dtype=pl.UInt64))
    return (
        keys.join(table, on=names, how="left", nulls_equal=True, maintain_order="left").get_column("number").to_numpy()
    )


def _framed(value: Any) -> bytes:
    if value is None:
        tag, text = b"n", ""
    elif isinstance(value, bool):
        tag, text = b"b", str(int(value))
    elif isinstance(value, int):
        tag, text = b"i", str(value)
    elif isinstance(value, float):
        tag, text = (b"i", str(int(value))) if value.is_integer() else (b"f", value.hex())
    elif isinstance(value, str):
        tag, text = b"s", value
    elif isinstance(value, bytes):
        tag, text = b"y", value.hex()
    elif isinstance(value, dt.datetime):
        moment = value.astimezone(dt.UTC) if value.tzinfo else value
        tag, text = b"t", moment.isoformat()
    elif isinstance(value, (dt.date, dt.time)):
        tag, text = b"d", value.isoformat()
    elif isinstance(value, (dt.timedelta, Decimal)):
        tag, text = b"x", str(value)
    else:
        raise DataError(
            f"a key cannot be made of {type(value).__name__} values", hint="Name columns of text, numbers or dates."
        )
    data = text.encode()
    return tag + len(data).to_bytes(8, "big") + data


def below(numbers: np.ndarray, share: float) -> np.ndarray:
    """Which of the numbers lie in the lowest `share` of all 64-bit numbers: bool, as `numbers`."""
    cut = int(share * 2.0**64)
    return np.ones(numbers.shape, dtype=bool) if cut >= 2**64 else numbers < np.uint64(cut)


def counts(rows: int, shares: Sequence[float]) -> list[int]:
    """`rows` divided by `shares` (which sum to 1), by largest remainder; each share gets one where there is enough.

    The first share comes first where rows are scarce: one row goes to it, the second to the last, the third between.
    """
    scarce = [0, len(shares) - 1, *range(1, len(shares) - 1)]
    if rows <= len(shares):
        return [1 if i in scarce[:rows] else 0 for i in range(len(shares))]
    exact = [rows * share for share in shares]
    made = [max(1, int(value)) for value in exact]
    while sum(made) > rows:
        made[max((i for i in range(len(made)) if made[i] > 1), key=lambda i: (made[i] - exact[i], made[i]))] -= 1
    while sum(made) < rows:
        made[max(range(len(made)), key=lambda i: (exact[i] - made[i], -i))] += 1
    return made
