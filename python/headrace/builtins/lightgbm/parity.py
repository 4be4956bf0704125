"""Whether an exported model is the model it was exported from.

LightGBM itself is the oracle, on the same float32 values. Three things are compared on every row:

- the leaves: the exported raw score must be, bit for bit, the sum of the exported values of the leaves that LightGBM
  reaches (sums of exported leaf values are exact, so one wrong leaf in one tree shows);
- the raw score: within the bound that `exact_leaves` proves;
- the output: within the tolerance.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Final

import lightgbm
import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime

from headrace import errors
from headrace.builtins.lightgbm.adversary import AdversarialRows, adversarial_rows
from headrace.builtins.lightgbm.export import (
    INPUT,
    PREDICTION,
    PROBABILITIES,
    RAW_SCORE,
    declare_raw_score,
    is_classifier,
)
from headrace.builtins.lightgbm.graph import exact_leaves
from headrace.builtins.lightgbm.text import Model, parse

__all__ = ["ParityReport", "check"]

_LEAVES_AT_ONCE: Final = 2_000_000
_MAX_NUMBERS: Final = 2**25
_SHOWN: Final = 8

_Rows = npt.NDArray[np.float32]
_Reals = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ParityReport:
    """What was compared, and the largest differences that were found. A report exists only for models that passed."""

    rows: int
    adversarial_rows: int
    given_rows: int
    splits: int
    splits_probed: int
    """Fewer than `splits` when probing all of them would have taken more rows than the limit."""
    leaf_mismatches: int
    max_abs_raw: float
    raw_bound: float
    max_abs_output: float
    max_rel_output: float
    """Relative to max(1, |LightGBM's output|); not above `tolerance`."""
    tolerance: float
    lightgbm: str
    onnxruntime: str

    def to_json(self) -> dict[str, Any]:
        """The report as JSON values."""
        return asdict(self)


def check(
    model_text: str,
    onnx_bytes: bytes,
    *,
    rows: npt.ArrayLike | None = None,
    tolerance: float = 1e-6,
    max_rows: int = 50_000,
) -> ParityReport:
    """Compare an exported model with LightGBM on adversarial rows and on `rows`.

    Parameters
    ----------
    model_text
        The text that was exported.
    onnx_bytes
        What `export` made of it. These bytes are what is run; nothing but a tap of the raw score is added.
    rows
        More rows to compare, [n, features], for instance of the validation data; they are read as float32.
    tolerance
        How far an output may be from LightGBM's: |a - b| <= tolerance · max(1, |b|). Rounding to float32 takes 6e-8.
    max_rows
        How many adversarial rows to make at most; fewer, of at most 2^25 numbers together, for wide models.

    Raises
    ------
    errors.ParityError
        Something differs by more; the worst row is described.
    errors.ModelFormatError
        The text is damaged, or `onnx_bytes` is not a model of this exporter with these features.
    errors.DataError
        `rows` does not have a column for each feature.
    """
    model = parse(model_text)
    made = adversarial_rows(model, limit=min(max_rows, _MAX_NUMBERS // model.num_features))
    given = _given(rows, model)
    everything = np.concatenate([made.rows, given])
    ours = _Exported(onnx_bytes, model)
    theirs = lightgbm.Booster(model_str=model_text)
    leaves, raw_bound = exact_leaves(model)

    worst_raw = worst_output = worst_relative = 0.0
    for start, part in _chunks(everything, len(model.trees)):
        output, raw = ours.run(part)
        expected = _predict(theirs, part, output)
        expected_raw = _predict(theirs, part, raw, raw_score=True)
        expected_sum = _sum_of_leaves(theirs, part, leaves, raw)
        wrong_leaf = (raw != expected_sum).any(axis=1)
        off_raw = _distance(raw, expected_raw)
        off_output = _distance(output, expected)
        with np.errstate(invalid="ignore"):
            relative = off_output / np.maximum(1.0, np.abs(expected))
        within = (off_raw <= raw_bound).all(axis=1) & (relative <= tolerance).all(axis=1)  # NaN is not within anything
        wrong = wrong_leaf | ~within
        if wrong.any():
            # A wrong leaf explains more than the differences that follow from it.
            worst = int(np.lexsort((relative.max(axis=1), wrong_leaf, wrong))[-1])
            raise errors.ParityError(
                f"{int(wrong.sum())} of the first {start + len(part)} rows differ. The worst: "
                f"{'a wrong leaf, ' if wrong_leaf[worst] else ''}output {_show(output[worst])} instead of "
                f"{_show(expected[worst])}, raw score {_show(raw[worst])} instead of {_show(expected_raw[worst])}"
                f" (tolerance {tolerance:g}).",
                place=_where(start + worst, everything, made, model),
                hint="Do not deploy this model. Export it again from its text; if it still differs, report both.",
            )
        worst_raw = max(worst_raw, float(off_raw.max(initial=0.0)))
        worst_output = max(worst_output, float(off_output.max(initial=0.0)))
        worst_relative = max(worst_relative, float(relative.max(initial=0.0)))
    return ParityReport(
        rows=len(everything),
        adversarial_rows=len(made.rows),
        given_rows=len(given),
        splits=made.splits,
        splits_probed=made.splits_probed,
        leaf_mismatches=0,
        max_abs_raw=worst_raw,
        raw_bound=raw_bound,
        max_abs_output=worst_output,
        max_rel_output=worst_relative,
        tolerance=tolerance,
        lightgbm=lightgbm.__version__,
        onnxruntime=onnxruntime.__version__,
    )


class _Exported:
    """The exported model, run with its raw score as a second output."""

    def __init__(self, onnx_bytes: bytes, model: Model) -> None:
        self.name = PROBABILITIES if is_classifier(model) else PREDICTION
        try:
            proto = onnx.load_from_string(onnx_bytes)
        except Exception as error:  # protobuf's own, which has no public name in onnx
            raise errors.ModelFormatError("The exported model is not ONNX.") from error
        widths = [value.type.tensor_type.shape.dim[-1].dim_value for value in proto.graph.input if value.name == INPUT]
        if widths != [model.num_features] or self.name not in {value.name for value in proto.graph.output}:
            raise errors.ModelFormatError(
                f"The ONNX model does not give {self.name!r} for {model.num_features} features.",
                hint="Pass what headrace's exporter made of the same model text.",
            )
        if RAW_SCORE not in {value.name for value in proto.graph.output}:
            proto.graph.output.append(declare_raw_score(model))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 2  # so that the runtime's parallel path is among what is checked
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 4  # what it has to say is in the exception
        try:
            self.session = onnxruntime.InferenceSession(
                proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # of a dozen classes without a public base
            raise errors.ModelFormatError(f"ONNX Runtime cannot load the exported model: {error}") from error

    def run(self, rows: _Rows) -> tuple[_Reals, _Reals]:
        """Output and raw score, both as float64 [n, columns]."""
        output, raw = self.session.run([self.name, RAW_SCORE], {INPUT: rows})
        return output.astype(np.float64).reshape(len(rows), -1), raw


def _given(rows: npt.ArrayLike | None, model: Model) -> _Rows:
    if rows is None:
        return np.empty((0, model.num_features), dtype=np.float32)
    with np.errstate(over="ignore"):
        given = np.asarray(rows, dtype=np.float32)
    if given.ndim != 2 or given.shape[1] != model.num_features:
        raise errors.DataError(
            f"The rows to compare have the shape {given.shape}, expected a column for each of "
            f"{model.num_features} features."
        )
    return given


def _chunks(rows: _Rows, trees: int) -> Iterator[tuple[int, _Rows]]:
    size = max(1, _LEAVES_AT_ONCE // max(1, trees))
    for start in range(0, len(rows), size):
        yield start, rows[start : start + size]


def _predict(booster: lightgbm.Booster, rows: _Rows, like: _Reals, *, raw_score: bool = False) -> _Reals:
    """LightGBM's prediction in the shape of ours."""
    predicted: _Reals = np.asarray(booster.predict(rows, raw_score=raw_score, num_iteration=-1), dtype=np.float64)
    predicted = predicted.reshape(len(rows), -1)
    if predicted.shape[1] == 1 and like.shape[1] == 2:
        predicted = np.concatenate([1.0 - predicted, predicted], axis=1)
    return predicted


def _sum_of_leaves(booster: lightgbm.Booster, rows: _Rows, leaves: list[_Reals], like: _Reals) -> _Reals:
    """The raw scores [n, K] that the exported leaf values give for the leaves that LightGBM reaches."""
    if not leaves:
        return np.zeros_like(like)
    reached = np.asarray(booster.predict(rows, pred_leaf=True, num_iteration=-1)).astype(np.int64)
    starts = np.cumsum([0] + [len(values) for values in leaves[:-1]])
    values = np.concatenate(leaves)[reached.reshape(len(rows), -1) + starts]
    total: _Reals = values.reshape(len(rows), -1, like.shape[1]).sum(axis=1)
    return total


def _distance(ours: _Reals, theirs: _Reals) -> _Reals:
    """|ours - theirs|, and 0 where both are the same infinity in float32."""
    with np.errstate(over="ignore", invalid="ignore"):
        off = np.abs(ours - theirs)
        return np.where(ours == theirs.astype(np.float32), np.where(np.isfinite(off), off, 0.0), off)


def _show(values: _Reals) -> str:
    return ", ".join(f"{value!r}" for value in values[:_SHOWN].tolist()) + (", ..." if len(values) > _SHOWN else "")


def _where(row: int, rows: _Rows, made: AdversarialRows, model: Model) -> str:
    values = ", ".join(
        f"{name}={value!r}" for name, value in zip(model.feature_names[:_SHOWN], rows[row].tolist(), strict=False)
    )
    if row >= len(made.rows):
        return f"given row {row - len(made.rows)} ({values})"
    tree, node = made.aims[row].tolist()
    if tree < 0:
        return f"adversarial row {row} ({values})"
    feature = int(model.trees[tree].split_feature[node])
    return (
        f"adversarial row {row}, aimed at tree {tree}, node {node}: "
        f"feature {model.feature_names[feature]!r} = {rows[row, feature].item()!r} ({values})"
    )
