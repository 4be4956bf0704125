"""Target encoding: what the target was, on average, in the rows with a value.

The formulas are those of scikit-learn's TargetEncoder (1.3 and later): with `auto`, the mean of a value with n rows is
drawn to that of all rows by the weight n v / (n v + w), where v is the variance of the target and w that within the
value (empirical Bayes; Micci-Barreca 2001). Sums do not depend on the order of the rows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from headrace.compute.plan.statistics import power

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt
    import polars as pl

    from headrace.compute.plan.document import Target, TargetStep
    from headrace.types import Task

    _Values = npt.NDArray[np.float64]
    _Codes = npt.NDArray[np.int64]

_TELLING: Final = 3.0
"""By chance, one column in 370 would be as far off."""

Smooth: TypeAlias = "Literal['auto'] | float"


@dataclass(frozen=True)
class Labels:
    """The target of the training rows: class indices, or numbers."""

    values: _Values
    task: Task
    classes: int

    @classmethod
    def of(cls, encoded: pl.Series, target: Target) -> Labels:
        """Of labels that `encode_target` has encoded."""
        import polars as pl

        return cls(encoded.cast(pl.Float64).to_numpy(), target.task, len(target.classes))

    def __getitem__(self, rows: npt.NDArray[np.bool_]) -> Labels:
        return Labels(self.values[rows], self.task, self.classes)

    @property
    def columns(self) -> list[_Values]:
        """What is averaged: the numbers; whether it is the second class; or, of several, whether it is each."""
        if self.task == "regression":
            return [self.values]
        wanted = [1] if self.task == "binary" else range(self.classes)
        return [(self.values == index).astype("f8") for index in wanted]


@dataclass(frozen=True)
class Encoded:
    """A step with the codes of the training rows (see `codes_of`), for cross-fitting."""

    step: TargetStep
    codes: _Codes
    smooth: Smooth


def codes_of(keys: pl.Series, vocabulary: Sequence[str]) -> _Codes:
    """Positions in the vocabulary; its size for what is missing, -1 for a text that is not in it."""
    import polars as pl

    codes = keys.cast(pl.Enum(vocabulary), strict=False).to_physical().cast(pl.Int64)
    missing = pl.when(keys.is_null()).then(len(vocabulary))
    return pl.select(missing.otherwise(codes.fill_null(-1))).to_series().to_numpy()


def encode(codes: _Codes, size: int, labels: Labels, smooth: Smooth) -> tuple[_Values, _Values]:
    """Smoothed means [size + 1, outputs], the last row that of missing values; and the means of all rows [outputs]."""
    import numpy as np

    tables, means = [], []
    for values in labels.columns:
        table, mean = _means(codes, size, values, smooth)
        tables.append(table)
        means.append(mean)
    return np.column_stack(tables), np.array(means)


def cross_fitted(about: Encoded, labels: Labels, folds: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """For each row, what the rows of the other folds give, scaled as the step says [rows, outputs]."""
    import numpy as np

    step = about.step
    out = np.empty((len(about.codes), len(step.outputs)))
    for fold in np.unique(folds):
        inside = folds == fold
        table, mean = encode(about.codes[~inside], len(step.encodings), labels[~inside], about.smooth)
        found = about.codes[inside]
        out[inside] = np.where((found >= 0)[:, None], table[found], mean)
    for index, scaling in enumerate(step.scaling or ()):
        out[:, index] = (out[:, index] - scaling.center) / scaling.scale
    return out.astype(np.float32)


def fold_of_rows(labels: Labels, folds: int, seed: int) -> npt.NDArray[np.int64]:
    """A fold for each row, by chance; each class is spread evenly. Depends on the order of the rows, and the seed."""
    import numpy as np

    order = np.random.default_rng([seed, 0x7A67]).permutation(len(labels.values))
    if labels.task != "regression":
        order = order[np.argsort(labels.values[order], kind="stable")]
    found = np.empty(len(order), dtype=np.int64)
    found[order] = np.arange(len(order)) % min(folds, len(order))
    return found


def tells(flags: npt.NDArray[np.bool_], labels: Labels) -> bool:
    """Whether the target differs where the flags are set: a correlation of three standard errors or more."""
    n, share = len(flags), float(flags.mean())
    if not 0 < share < 1:
        return False
    for column in labels.columns:
        values = column / power(column)
        mean = math.fsum(values.tolist()) / n
        spread = math.sqrt(math.fsum(((values - mean) ** 2).tolist()) / n)
        inside = math.fsum(values[flags].tolist()) / (n * share)
        if spread > 0 and abs(inside - mean) * math.sqrt(share / (1 - share)) / spread * math.sqrt(n) >= _TELLING:
            return True
    return False


def _means(codes: _Codes, size: int, values: _Values, smooth: Smooth) -> tuple[_Values, float]:
    import numpy as np

    unit = power(values)
    values = values / unit
    # In the order of the values within each code, so that the sums do not depend on the order of the rows.
    order = np.lexsort((values, codes))
    codes, values = codes[order], values[order]
    arranged = np.sort(values)
    mean = float(arranged.mean())
    codes, values = codes[codes >= 0], values[codes >= 0]
    present, starts, counts = np.unique(codes, return_index=True, return_counts=True)
    table = np.full(size + 1, mean)
    if not len(present):
        return table * unit, mean * unit
    sums = np.add.reduceat(values, starts)
    if smooth == "auto":
        variance = float(((arranged - mean) ** 2).mean())
        own = sums / counts
        within = np.add.reduceat((values - np.repeat(own, counts)) ** 2, starts) / counts
        with np.errstate(invalid="ignore"):
            weight = variance * counts / (variance * counts + within)
        table[present] = np.where(np.isnan(weight), mean, weight * own + (1 - weight) * mean)
    else:
        total = counts + float(smooth)
        table[present] = (sums + float(smooth) * mean) / total
    return table * unit, mean * unit
