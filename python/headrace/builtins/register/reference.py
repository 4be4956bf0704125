"""What the model's world looked like: reference profiles for the package."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace import Profile
from headrace.builtins.monitor.reference import INPUTS, SCORES, kinds_of, scored

if TYPE_CHECKING:
    import polars as pl

    from headrace import Predictor


def reference_files(predictor: Predictor, train: pl.DataFrame, test: pl.DataFrame, *, threads: int) -> dict[str, bytes]:
    """`profile.bin`: the plan's raw inputs in the training rows. `scores.bin`: what the model says of the test rows.

    Scores of the training rows are of no use: the model has seen the answers there, so it is surer than it will ever be
    again, and rows like those of training would look as if they had drifted.
    """
    inputs = list(predictor.plan.inputs)
    scores = scored(predictor, test)
    kinds = kinds_of(predictor)
    return {
        INPUTS: Profile.fit(train[inputs], threads=threads).to_bytes(),
        SCORES: Profile.fit(scores, kinds=kinds, threads=threads).to_bytes(),
    }
