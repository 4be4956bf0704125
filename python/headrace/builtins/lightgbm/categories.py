"""Categorical splits as questions that ONNX Runtime answers fast.

A categorical split asks whether a category is in a set. ONNX has a node mode for that, but the runtime walks through
the set value by value: with 1000 categories and sets of 30, a model took three times as long as in LightGBM. So sets
form groups, and categories that no set of a group tells apart get the same small code. A group of g sets needs at most
2^g - 1 codes, fewer when sets nest or do not meet, and each split becomes a question about a few codes in one column.
The model carries a table from category to codes; looking a category up there also does what LightGBM does with
fractions, negative numbers, NaN and categories it never saw.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

__all__ = ["CategoryCodes", "encode"]

_MAX_CODES: Final = 15
"""Codes in a column. Measured with 30, 105 and 1000 categories: fewer need more columns, more take longer in trees."""

Categories = tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class CategoryCodes:
    """The sets of one feature, encoded."""

    table: npt.NDArray[np.uint8]
    """[highest category + 2, columns]: the codes of each category. The last row is for everything that belongs to no
    set; its codes, like those of every category outside the sets of a group, are 0."""
    questions: dict[Categories, tuple[int, tuple[int, ...]]]
    """For each set: its column, and the codes in that column that are in the set; never 0."""

    @property
    def width(self) -> int:
        """The number of columns."""
        return int(self.table.shape[1])


def encode(sets: Iterable[Categories]) -> CategoryCodes:
    """Group `sets` (ascending, not empty) in the order in which they come; equal sets share a question."""
    distinct = list(dict.fromkeys(sets))
    none = max(categories[-1] for categories in distinct) + 1
    columns: list[npt.NDArray[np.int64]] = []
    groups: list[list[Categories]] = []
    for categories in distinct:
        member = np.zeros(none + 1, dtype=np.int64)
        member[list(categories)] = 1
        if groups:
            # Refine the group's partition by this set. Code 0 stays 0: it sorts first, and is never a member.
            refined = np.unique(2 * columns[-1] + member, return_inverse=True)[1]
            if refined.max() <= _MAX_CODES:
                columns[-1] = refined
                groups[-1].append(categories)
                continue
        columns.append(member)
        groups.append([categories])
    questions = {
        categories: (number, tuple(np.unique(column[list(categories)]).tolist()))
        for number, (column, group) in enumerate(zip(columns, groups, strict=True))
        for categories in group
    }
    return CategoryCodes(np.stack(columns, axis=1).astype(np.uint8), questions)
