"""The values of parameters, and the types of values."""

from __future__ import annotations

from typing import Any

from headrace.errors import ConfigError


def invalid(name: str, value: Any, expected: str) -> ConfigError:
    """What a parameter is, and what it may be."""
    return ConfigError(f"the parameter {name} of HashingVectorizer is {value!r}, expected {expected}")


def numpy_type(dtype: Any, *, signed: bool) -> Any:
    """`dtype` as numpy's, if a sparse matrix can have it."""
    import numpy as np

    try:
        found = np.dtype(dtype)
    except TypeError as error:
        raise invalid("dtype", dtype, "a numpy type") from error
    if found.kind not in "biufc" or not found.isnative or found.name == "float16":
        raise invalid("dtype", dtype, "a type of numbers that scipy.sparse has")
    if found.kind == "u" and signed:
        raise invalid("dtype", dtype, "a signed type, since alternate_sign makes negative values")
    return found


def converted(matrix: Any, dtype: Any, norm: str | None, *, binary: bool) -> Any:
    """The values of a matrix of counts in another type: whole numbers overflow, then rows are divided in float64."""
    import numpy as np

    counts = matrix.data
    if dtype.kind == "c" and norm is not None:
        raise invalid("dtype", dtype.name, "a real type, since norm is not None")
    if binary and norm is not None:
        return counts
    if dtype.kind == "b":
        # Values that cancelled each other were true before they were added.
        values = np.ones(len(counts), dtype)
    else:
        values = (counts.astype(np.int64) if dtype.kind in "iu" else counts).astype(dtype)
    if norm is None:
        return values
    values = values.astype(np.float64)
    row_of = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    # Whole numbers: their sums are exact in any order.
    powers = np.abs(values) if norm == "l1" else values * values
    sums = np.bincount(row_of, weights=powers, minlength=matrix.shape[0])
    divisors = sums if norm == "l1" else np.sqrt(sums)
    divisors[divisors == 0.0] = 1.0
    return values / divisors[row_of]
