"""From a fitted pipeline of scikit-learn to the model that `headrace.Model` describes, and whether both agree."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import skl2onnx
import sklearn
from onnx import TensorProto, helper
from skl2onnx.common.data_types import FloatTensorType

from headrace import errors

__all__ = ["compare", "convert"]

_OPSETS: Final = {"": 18, "ai.onnx.ml": 3}
_GIVEN: Final = 2_000
_MADE: Final = 2_000
_ENDS: Final = (np.float32(-np.inf), np.float32(np.inf))
_Rows: TypeAlias = npt.NDArray[np.float32]


def convert(pipeline: Any, features: int, classes: int, *, place: str) -> bytes:
    """One float32 input `features` [N, features], one output: `probabilities` [N, classes] or `prediction` [N]."""
    options = {id(pipeline): {"zipmap": False}} if classes else None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about versions; what matters shows in the comparison
            made = skl2onnx.to_onnx(
                pipeline,
                initial_types=[("features", FloatTensorType([None, features]))],
                options=options,
                target_opset=_OPSETS,
            )
    except Exception as error:  # converters raise whatever they meet
        raise errors.ExportError(
            f"skl2onnx {skl2onnx.__version__} cannot convert {type(pipeline[-1]).__name__}: "
            f"{type(error).__name__}: {_short(str(error))}",
            place=place,
            hint="Choose another estimator, or train:lightgbm.",
        ) from error
    graph = made.graph
    if classes:
        found = next((value.name for value in graph.output if value.name.startswith("probabilit")), None)
        wanted = "probabilities"
    else:
        found = graph.output[0].name
        wanted = "prediction"
    if found is None:
        raise errors.ExportError(f"the converted {type(pipeline[-1]).__name__} has no probabilities", place=place)
    if found == wanted:  # free the name
        found = f"{wanted}_of_the_estimator"
        for node in graph.node:
            node.output[:] = [found if name == wanted else name for name in node.output]
            node.input[:] = [found if name == wanted else name for name in node.input]
    tail = [classes] if classes else []
    graph.initializer.append(helper.make_tensor("output_shape", TensorProto.INT64, [1 + len(tail)], [-1, *tail]))
    graph.node.append(helper.make_node("Reshape", [found, "output_shape"], [wanted], name="output"))
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info(wanted, TensorProto.FLOAT, ["N", *tail]))
    del graph.input[:]
    graph.input.append(helper.make_tensor_value_info("features", TensorProto.FLOAT, ["N", features]))
    _prune(graph)
    graph.name = "sklearn"
    versions = {entry.domain: entry.version for entry in made.opset_import}
    del made.opset_import[:]  # skl2onnx writes them in the order of a set, another one in each process
    made.opset_import.extend(helper.make_opsetid(domain, version) for domain, version in sorted(versions.items()))
    onnx.checker.check_model(made)
    data: bytes = made.SerializeToString(deterministic=True)
    return data


def compare(
    pipeline: Any,
    onnx_bytes: bytes,
    train: _Rows,
    valid: _Rows,
    *,
    names: Sequence[str],
    categorical: Sequence[int],
    missing: bool,
    tolerance: float,
    place: str,
) -> dict[str, Any]:
    """Run both on rows of the data and on made ones; `ParityError` describes the worst row.

    A made row takes each feature at random from: its least and greatest value in training, the float32 beside each, 0,
    -0, an observed value, missing (numbers), a code never seen (categories).
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = onnxruntime.InferenceSession(onnx_bytes, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime's errors share no base but Exception
        raise errors.ExportError(
            f"ONNX Runtime cannot load the converted {type(pipeline[-1]).__name__}: {_short(str(error))}",
            place=place,
            hint="Choose another estimator, or train:lightgbm.",
        ) from error
    given = np.concatenate([train[:_GIVEN], valid[:_GIVEN]])
    given = given[~np.isinf(given).any(axis=1)]
    made = _made_rows(train, set(categorical), nan=missing or bool(np.isnan(train).any()))
    rows = np.concatenate([given, made])
    expected = np.asarray(_predict(pipeline, rows), dtype=np.float64).reshape(len(rows), -1)
    output = session.run(None, {"features": rows})[0].astype(np.float64).reshape(len(rows), -1)
    off = np.abs(output - expected)
    relative = off / np.maximum(1.0, np.abs(expected))
    wrong = ~(relative <= tolerance).all(axis=1)  # NaN is wrong
    if wrong.any():
        worst = int(np.where(wrong, np.nan_to_num(relative, nan=np.inf).max(axis=1), -1).argmax())
        shown = ", ".join(f"{name}={value!r}" for name, value in zip(names[:8], rows[worst].tolist(), strict=False))
        raise errors.ParityError(
            f"{int(wrong.sum())} of {len(rows)} rows differ between {type(pipeline[-1]).__name__} and its ONNX form. "
            f"The worst: {output[worst].tolist()[:8]} instead of {expected[worst].tolist()[:8]} "
            f"(tolerance {tolerance:g})",
            place=f"{place}, {'given' if worst < len(given) else 'made'} row ({shown})",
            hint="Impute missing values (`impute`), scale the features, or choose another estimator.",
        )
    return {
        "rows": len(rows),
        "given_rows": len(given),
        "adversarial_rows": len(made),
        "max_abs_output": float(off.max(initial=0.0)),
        "max_rel_output": float(relative.max(initial=0.0)),
        "tolerance": tolerance,
        "sklearn": sklearn.__version__,
        "onnxruntime": onnxruntime.__version__,
    }


def _predict(pipeline: Any, rows: _Rows) -> Any:
    return pipeline.predict_proba(rows) if hasattr(pipeline, "predict_proba") else pipeline.predict(rows)


def _made_rows(train: _Rows, categorical: set[int], *, nan: bool) -> _Rows:
    random = np.random.default_rng(0)  # the same rows for the same data
    made = np.empty((_MADE, train.shape[1]), dtype=np.float32)
    for column in range(train.shape[1]):
        seen = train[:, column][~np.isnan(train[:, column])]
        low, high = (np.float32(seen.min()), np.float32(seen.max())) if len(seen) else (np.float32(0), np.float32(0))
        if column in categorical:
            special = [low, high, high + np.float32(1), high + np.float32(2)]
        else:
            special = [low, high, np.float32(0), np.float32(-0.0)]
            special += [np.nextafter(end, toward) for end in (low, high) for toward in _ENDS]
            special += [np.float32(np.nan)] if nan else []
        values = np.array(special, dtype=np.float32)
        observed = random.choice(seen, _MADE) if len(seen) else np.zeros(_MADE, dtype=np.float32)
        made[:, column] = np.where(random.random(_MADE) < 0.5, observed, random.choice(values, _MADE))
    return made


def _prune(graph: Any) -> None:
    """Without the nodes that only gave the outputs that are gone."""
    needed = {value.name for value in graph.output}
    kept = []
    for node in reversed(graph.node):
        if needed & set(node.output):
            kept.append(node)
            needed |= set(node.input)
    del graph.node[:]
    graph.node.extend(reversed(kept))
    initializers = [tensor for tensor in graph.initializer if tensor.name in needed]
    del graph.initializer[:]
    graph.initializer.extend(initializers)


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 200 else f"{text[:197]}..."
