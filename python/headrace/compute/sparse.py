"""Sparse rows that Rust has made, as scipy's matrices."""

from __future__ import annotations

import sys
from typing import Any


def csr(rows: tuple[Any, Any, Any], columns: int) -> Any:
    """(data, indices, indptr) as a CSR matrix on the same memory; indices ascend strictly in each row.

    A `csr_matrix`; or a `csr_array`, if scikit-learn is there and set so.
    """
    from scipy.sparse import csr_array, csr_matrix

    sklearn = sys.modules.get("sklearn")
    wanted = sklearn.get_config().get("sparse_interface") if sklearn is not None else None
    kind = csr_array if wanted == "sparray" else csr_matrix
    matrix = kind(rows, shape=(len(rows[2]) - 1, int(columns)), copy=False)
    # Rust sorted and merged them; scipy need not look again.
    matrix.has_sorted_indices = True
    matrix.has_canonical_format = True
    return matrix
