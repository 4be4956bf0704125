"""What a trainer learns from: the rows of a features stage, as a matrix and a target."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from headrace import FeaturePlan, errors

if TYPE_CHECKING:
    import numpy.typing as npt
    import polars as pl


def matrix_and_target(
    plan: FeaturePlan, rows: pl.DataFrame, place: str
) -> tuple[npt.NDArray[np.float32], npt.NDArray[Any]]:
    """The features, float32 of shape (rows, features) in the plan's order, and the target, of shape (rows,).

    Raises `DataError` if the columns are not the plan's, or if a row has no target.
    """
    wanted = [*plan.outputs, plan.target]
    if rows.columns != wanted:
        odd = sorted(set(rows.columns) ^ set(wanted))[:5]
        raise errors.DataError(
            f"the feature frame does not have the columns of the feature plan and the target: {odd or 'another order'}",
            place=place,
            hint="Connect `plan`, `train_features` and `valid_features` from the same features stage.",
        )
    unlabelled = rows[plan.target].alias("target").is_null()  # polars takes some names for patterns
    if unlabelled.any():
        raise errors.DataError(
            f"the target {plan.target!r} has no value in {unlabelled.sum()} of {rows.height} rows",
            place=f"{place}, row {unlabelled.arg_max()}",
            hint="Leave rows without a target out before the features stage.",
        )
    matrix: npt.NDArray[np.float32] = rows[list(plan.outputs)].to_numpy()
    return matrix.astype(np.float32, copy=False), rows[plan.target].to_numpy()
