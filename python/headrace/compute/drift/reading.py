"""Samples from Python: arrays, lists and Arrow columns as numbers or as counts of categories."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from headrace.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

Missing = Literal["raise", "omit"]


def numbers(sample: Any, side: str, missing: Missing) -> NDArray[np.float64]:
    """The values as float64. NaN and null are missing; infinities are values."""
    import numpy as np

    _check(missing)
    if _is_arrow(sample):
        column = _numeric(_series(sample, side), side)
        nulls = column.null_count()
        values = column.drop_nulls().to_numpy()
    else:
        nulls = 0
        try:
            values = np.asarray(sample)
            if values.dtype.kind not in "biuf":
                values = (
                    values.astype(np.float64) if values.dtype.kind == "O" or values.size == 0 else _refuse(values, side)
                )
        except (TypeError, ValueError) as error:
            raise DataError(
                f"the {side} sample cannot be read as numbers: {error}",
                hint="Pass a one-dimensional array, a list of numbers or an Arrow column.",
            ) from error
        if values.ndim != 1:
            raise DataError(
                f"the {side} sample has {values.ndim} dimensions, expected 1", hint="Compare one column at a time."
            )
    values = np.ascontiguousarray(values, dtype=np.float64)
    nan = np.isnan(values)
    count = nulls + int(nan.sum())
    if count and missing == "raise":
        raise _missing(side, count)
    return values[~nan] if count > nulls else values


def table(
    reference: Any, live: Any, *, bins: int | Any | None, missing: Missing
) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """How often each category or bin occurs on both sides.

    Text, booleans and integers are categories; floats are put into `bins`, quantiles of the reference if that is a
    number (10 by default), with open ends.
    """
    import numpy as np
    import polars as pl

    _check(missing)
    pair = _categories(reference, "reference"), _categories(live, "live")
    for series, side in zip(pair, ("reference", "live"), strict=True):
        if series.is_empty():
            raise _empty(side)
    if bins is not None or any(series.dtype.is_float() for series in pair):
        return _binned(reference, live, 10 if bins is None else bins, missing)
    kept = []
    for series, side in zip(pair, ("reference", "live"), strict=True):
        nulls = series.null_count()
        if nulls and missing == "raise":
            raise _missing(side, nulls)
        kept.append(series.drop_nulls())
        if kept[-1].is_empty():
            raise _empty(side)
    if kept[0].dtype != kept[1].dtype:
        if not (kept[0].dtype.is_integer() and kept[1].dtype.is_integer()):
            raise DataError(
                f"the reference holds {kept[0].dtype} and live {kept[1].dtype}",
                hint="Cast both sides to one type first.",
            )
        kept = [series.cast(pl.Int128) for series in kept]
    counted = [
        series.alias("value").value_counts().rename({"count": name})
        for series, name in zip(kept, ("reference", "live"), strict=True)
    ]
    both = counted[0].join(counted[1], on="value", how="full", coalesce=True).sort("value")
    sides = (both[name].fill_null(0).cast(pl.UInt64).to_numpy() for name in ("reference", "live"))
    first, second = (np.ascontiguousarray(side) for side in sides)
    _not_empty(first, second)
    return first, second


def counts(reference: Any, live: Any) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Two rows of counts, given as such."""
    import numpy as np

    rows = []
    for sample, side in ((reference, "reference"), (live, "live")):
        values = np.asarray(sample)
        whole = (
            values.ndim == 1 and values.dtype.kind in "iuf" and bool(np.all(values >= 0) and np.all(values % 1 == 0))
        )
        if not whole:
            raise DataError(
                f"the {side} counts are not whole numbers from 0 on, in one dimension",
                hint="Leave out counts=True to compare raw samples.",
            )
        rows.append(np.ascontiguousarray(values, dtype=np.uint64))
    _not_empty(*rows)
    return rows[0], rows[1]


def _binned(
    reference: Any, live: Any, bins: int | Any, missing: Missing
) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    import numpy as np

    first, second = numbers(reference, "reference", missing), numbers(live, "live", missing)
    _not_empty(first, second)
    if isinstance(bins, int):
        if bins < 2:
            raise DataError(f"bins is {bins}, expected at least 2")
        ordered = np.sort(first)
        inner = np.unique(ordered[(np.arange(1, bins) * len(ordered)) // bins])
    else:
        inner = np.asarray(bins, dtype=np.float64)
        if inner.ndim != 1 or np.isnan(inner).any() or (np.diff(inner) <= 0).any():
            raise DataError("the edges of the bins do not ascend", hint="Give each edge once, in order, without NaN.")
    sides = (
        np.bincount(np.searchsorted(inner, side, side="right"), minlength=len(inner) + 1) for side in (first, second)
    )
    reference_row, live_row = (side.astype(np.uint64) for side in sides)
    return reference_row, live_row


def _is_arrow(sample: Any) -> bool:
    return hasattr(sample, "__arrow_c_stream__") or hasattr(sample, "__arrow_c_array__")


def _series(sample: Any, side: str) -> pl.Series:
    import polars as pl

    try:
        return sample if isinstance(sample, pl.Series) else pl.Series(sample)
    except Exception as error:
        raise DataError(
            f"the {side} sample cannot be read as a column: {error}",
            hint="Pass one column of a frame, an array or a list.",
        ) from error


def _numeric(column: pl.Series, side: str) -> pl.Series:
    import polars as pl

    if column.dtype.is_temporal() or column.dtype == pl.Boolean:
        column = column.to_physical()
    if not (column.dtype.is_numeric() or column.dtype in (pl.Boolean, pl.Null)):
        raise DataError(
            f"the {side} sample holds {column.dtype}, expected numbers",
            hint="Categories are compared by chi2, psi, jensenshannon, hellinger or total_variation.",
        )
    return column.cast(pl.Float64)


def _categories(sample: Any, side: str) -> pl.Series:
    import numpy as np

    if _is_arrow(sample):
        return _series(sample, side)
    values = np.asarray(sample)
    if values.ndim != 1:
        raise DataError(
            f"the {side} sample has {values.ndim} dimensions, expected 1", hint="Compare one column at a time."
        )
    return _series(sample if values.dtype.kind == "O" else values, side)


def _refuse(values: NDArray[Any], side: str) -> NDArray[Any]:
    raise DataError(
        f"the {side} sample holds {values.dtype}, expected numbers",
        hint="Categories are compared by chi2, psi, jensenshannon, hellinger or total_variation.",
    )


def _missing(side: str, count: int) -> DataError:
    return DataError(
        f"the {side} sample has {count} missing values (NaN or null), which are in no order",
        hint='Leave them out with missing="omit", and compare how many there are by themselves.',
    )


def _check(missing: str) -> None:
    if missing not in ("raise", "omit"):
        raise DataError(f'missing is {missing!r}, expected "raise" or "omit"')


def _not_empty(reference: NDArray[Any], live: NDArray[Any]) -> None:
    for values, side in ((reference, "reference"), (live, "live")):
        if values.sum() == 0 if values.dtype.kind == "u" else values.size == 0:
            raise _empty(side)


def _empty(side: str) -> DataError:
    return DataError(
        f"the {side} sample has no values to compare, expected at least one",
        hint="Compare where both sides have rows; missing values are no values.",
    )
