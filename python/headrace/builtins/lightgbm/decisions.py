"""What one split of a LightGBM tree decides for a float32 value.

LightGBM compares in double and its prediction API first drops values with |x| <= 1e-35, that is, reads them as 0. Both
matter: `goes_left` says what LightGBM does, `float32_threshold` gives the threshold that decides the same for every
float32 value without that first step. Read from `Tree::NumericalDecision`, `Tree::CategoricalDecision` and the row
readers of LightGBM's C API.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from headrace.builtins.lightgbm.text import Missing, Tree

__all__ = ["ZERO", "float32_threshold", "goes_left", "nan_goes_left"]

ZERO: Final = np.float32(1e-35)
"""LightGBM's `kZeroThreshold`: a value no farther from zero than this is zero."""


def goes_left(tree: Tree, node: int, values: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """Which of `values` [n] go to the left child of `node`, as LightGBM decides."""
    seen = values.astype(np.float64)
    seen[np.abs(seen) <= ZERO] = 0.0
    missing = np.isnan(seen)
    if tree.categorical[node]:
        # NaN, negative numbers and categories never seen go right; a fraction counts as its whole part.
        whole = np.trunc(np.where(missing, -1.0, seen))
        return np.isin(whole, tree.categories(node)) & (seen > -1.0)
    kind = tree.missing[node]
    if kind != Missing.NAN:
        seen[missing] = 0.0
    if kind == Missing.ZERO:
        missing = seen == 0.0
    by_default = missing if kind != Missing.NONE else np.zeros_like(missing)
    left: npt.NDArray[np.bool_] = np.where(by_default, tree.default_left[node], seen <= tree.threshold[node])
    return left


def nan_goes_left(tree: Tree) -> npt.NDArray[np.bool_]:
    """[nodes] Which splits send NaN to the left; no categorical one does."""
    left = np.where(tree.missing == Missing.NONE, tree.threshold >= 0.0, tree.default_left)
    return np.asarray(left & ~tree.categorical, dtype=np.bool_)


def float32_threshold(threshold: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """Thresholds `t'` with `x <= t'` exactly when LightGBM finds `x <= t`, for every float32 `x` but NaN.

    Rounding toward -inf gives the largest float32 that is not above `t`, and no float32 lies between the two. Then the
    values that LightGBM reads as 0 must go where 0 goes, so a `t` among them moves to the end of their range: to `ZERO`
    when 0 <= t, to the last value before `-ZERO` when not.
    """
    with np.errstate(over="ignore"):
        rounded = threshold.astype(np.float32)
        down = np.where(rounded > threshold, np.nextafter(rounded, np.float32(-np.inf)), rounded)
    down = np.where((threshold >= 0.0) & (threshold < ZERO), ZERO, down)
    below_zero = np.nextafter(-ZERO, np.float32(-np.inf))
    return np.where((threshold >= -ZERO) & (threshold < 0.0), below_zero, down)
