"""Which columns of a table no profile is made of unless somebody names them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

    from headrace.compute.dataset import Dataset

LEAST_ROWS = 50
MOST_REPEATED = 0.05
KEPT = 65_536
"""So many different values of a column are counted one by one; beyond, those in a share of all hashes are."""
_DOUBT = 1.03
_IDENTIFIER = "(nearly) every value is its own, so it names rows and says nothing about them"


def unfit(data: Dataset) -> dict[str, str]:
    """Columns without a profile, and identifiers, each with the reason.

    An identifier is a column of whole numbers or texts with at least 50 values, of which 95 % or more are different.
    Such columns are read in batches, until it is sure that none of them is one. Up to 65,536 different values this is
    exact; of more, their number is that in a share of all hashes, times so many (Bar-Yossef et al. 2002, Counting
    distinct elements in a data stream): a standard error of 0.4 to 0.6 %. Memory: 1 MB a column.
    """
    reasons: dict[str, str] = {}
    open_ones: dict[str, _Distinct] = {}
    for name, dtype in data.lazy().collect_schema().items():
        reason = _without_profile(dtype)
        if reason is not None:
            reasons[name] = reason
        elif _may_name_rows(dtype):
            open_ones[name] = _Distinct()
    rest = data.num_rows
    for batch in data.batches(columns=list(open_ones)) if open_ones else ():
        rest -= batch.height
        for name, distinct in list(open_ones.items()):
            distinct.add(batch.get_column(name))
            if distinct.fit_with(rest):
                del open_ones[name]
        if not open_ones:
            break
    return reasons | {name: _IDENTIFIER for name, distinct in open_ones.items() if distinct.names_rows()}


@dataclass
class _Distinct:
    """How many values of a column are different: hashes that end in `bits` zeros are kept."""

    present: int = 0
    bits: int = 0
    hashes: pl.Series | None = field(default=None, repr=False)

    def add(self, values: pl.Series) -> None:
        import polars as pl

        found = values.drop_nulls()
        self.present += found.len()
        if isinstance(found.dtype, pl.Categorical | pl.Enum):
            found = found.cast(pl.String)  # the codes of two batches need not agree
        hashes = self._some(found.hash()).unique()
        self.hashes = hashes if self.hashes is None else self.hashes.append(hashes).unique()
        while self.hashes.len() > KEPT:
            self.bits += 1
            self.hashes = self._some(self.hashes)

    def _some(self, hashes: pl.Series) -> pl.Series:
        return hashes if self.bits == 0 else hashes.filter(hashes % (1 << self.bits) == 0)

    @property
    def distinct(self) -> int:
        return 0 if self.hashes is None else self.hashes.len() << self.bits

    def fit_with(self, rest: int) -> bool:
        """Whether it is no identifier even if all values in the `rest` of the rows are new."""
        most = self.distinct * (_DOUBT if self.bits else 1.0)
        return most + MOST_REPEATED * rest < (1 - MOST_REPEATED) * self.present

    def names_rows(self) -> bool:
        return self.present >= LEAST_ROWS and self.distinct >= (1 - MOST_REPEATED) * self.present


def _without_profile(dtype: Any) -> str | None:
    import polars as pl

    if isinstance(dtype, pl.List | pl.Array):
        inner: Any = dtype.inner
        return None if inner.is_float() else f"lists of {inner} have no profile"
    if isinstance(dtype, pl.Struct | pl.Binary | pl.Object):
        return f"columns of the type {dtype} have no profile"
    return None


def _may_name_rows(dtype: Any) -> bool:
    import polars as pl

    return bool(dtype.is_integer()) or isinstance(dtype, pl.String | pl.Categorical | pl.Enum)
