"""LightGBM's trees as an ONNX model that decides and adds up exactly as LightGBM does.

    features ── Cast ──┬───────────────────────────────────────┐
    [N, F] float32     ├── codes of categorical features ──────┼── TreeEnsemble ── objective ── Cast ── output
                       └── copies in which zero is missing ────┘     float64                           float32

*Same leaf.* Every split decides as LightGBM does, for every float32 value (`decisions`, `categories`).

*Same sum.* The trees are evaluated in float64 (operator TreeEnsemble of ai.onnx.ml 5, measured to be as fast as in
float32). Leaf values are rounded to multiples of one power of two, the smallest for which every sum over trees still
fits into 53 bits. Then each addition is exact, so the raw score depends neither on the order of the trees, nor on the
number of threads, nor on the rows that share a batch. With T trees, and B the sum over trees of the largest |leaf|,
it is within T·B·2^-53 of the true sum, and so is LightGBM's own.

*Same output.* The objective's transformation is computed in float64 and rounded to float32 once.
"""

from __future__ import annotations

import json
from typing import Final

import numpy as np
import onnx
from onnx import TensorProto, helper

from headrace import errors
from headrace.builtins.lightgbm.graph import Graph, add_trees
from headrace.builtins.lightgbm.text import Model, parse

__all__ = ["INPUT", "PREDICTION", "PROBABILITIES", "RAW_SCORE", "declare_raw_score", "export", "is_classifier"]

INPUT: Final = "features"
PROBABILITIES: Final = "probabilities"
PREDICTION: Final = "prediction"
RAW_SCORE: Final = "raw_score"

_CLASSIFIERS: Final = frozenset({"binary", "multiclass", "multiclassova"})
_IDENTITY: Final = frozenset(
    {"regression", "regression_l1", "huber", "fair", "quantile", "mape", "lambdarank", "rank_xendcg"}
)
_EXPONENTIAL: Final = frozenset({"poisson", "gamma", "tweedie"})
_OBJECTIVES: Final = _CLASSIFIERS | _IDENTITY | _EXPONENTIAL | {"cross_entropy", "cross_entropy_lambda"}

# All three of ONNX 1.16, the first with TreeEnsemble.
_IR_VERSION: Final = 10
_OPSETS: Final = {"": 21, "ai.onnx.ml": 5}


def export(model_text: str, *, raw: bool = False) -> bytes:
    """Translate a model text into a serialised ONNX model. The same text gives the same bytes.

    Its input is `features`, float32 [N, F], in the order of the model's feature names, a category as its number. With N
    dynamic, it has one output:

    - `probabilities`, float32 [N, classes], for the objectives binary (column 1 is class 1), multiclass, and
      multiclassova (whose rows, as in LightGBM, need not add up to 1);
    - `prediction`, float32 [N], for every other objective and for a loss of the user's own: what `Booster.predict`
      gives, so a probability for cross_entropy, and the raw score for a loss of one's own.

    With `raw` there is a second output, `raw_score`, float64 [N, trees in an iteration]: what
    `Booster.predict(raw_score=True)` gives.

    Raises `errors.ModelFormatError` when the text is damaged, and `errors.ExportError` when something in it cannot be
    expressed exactly: linear trees, an unknown objective, several outputs without an objective, leaf values or category
    numbers that are too large.
    """
    model = parse(model_text)
    _check(model)
    graph = Graph()
    features = graph.node("Cast", [INPUT], "wide_features", to=TensorProto.DOUBLE)
    score = add_trees(graph, model, features, RAW_SCORE)
    shape: list[str | int | None] = ["N"]
    name = PREDICTION
    if is_classifier(model):
        name = PROBABILITIES
        shape.append(max(2, model.num_tree_per_iteration))
    graph.node("Cast", [_transformed(graph, model, score)], name, to=TensorProto.FLOAT)

    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)]
    if raw:
        outputs.append(declare_raw_score(model))
    inputs = [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["N", model.num_features])]
    proto = helper.make_model(
        helper.make_graph(graph.nodes, "lightgbm", inputs, outputs, graph.constants),
        producer_name="headrace",
        ir_version=_IR_VERSION,
        opset_imports=[helper.make_opsetid(domain, version) for domain, version in _OPSETS.items()],
    )
    properties = {
        "objective": model.objective.name if model.objective else "custom",
        "feature_names": json.dumps(model.feature_names, ensure_ascii=False),
    }
    helper.set_model_props(proto, properties)
    return bytes(proto.SerializeToString(deterministic=True))


def declare_raw_score(model: Model) -> onnx.ValueInfoProto:
    """The declaration of the output `raw_score`."""
    return helper.make_tensor_value_info(RAW_SCORE, TensorProto.DOUBLE, ["N", model.num_tree_per_iteration])


def is_classifier(model: Model) -> bool:
    """Whether the exported model's output is `probabilities`; if not, it is `prediction`."""
    return model.objective is not None and model.objective.name in _CLASSIFIERS


def _check(model: Model) -> None:
    for index, tree in enumerate(model.trees):
        if tree.is_linear:
            raise errors.ExportError(
                f"Tree {index} has linear models in its leaves, which the trees of ONNX do not have.",
                hint="Train with linear_tree=false.",
            )
    outputs = model.num_tree_per_iteration
    if model.objective is None:
        if outputs > 1:
            raise errors.ExportError(
                f"The model has {outputs} raw scores and no objective: what becomes of them is not written in it.",
                hint="Train with one of LightGBM's own objectives, for instance multiclass.",
            )
        return
    name = model.objective.name
    if name not in _OBJECTIVES:
        raise errors.ExportError(
            f"The objective is {name!r}, the exporter knows only {', '.join(sorted(_OBJECTIVES))}.",
            hint="Train with one of these.",
        )
    expected = model.num_class if name in ("multiclass", "multiclassova") else 1
    if outputs != expected:
        raise errors.ExportError(
            f"The objective {name!r} with {model.num_class} classes needs {expected} trees in an iteration, "
            f"the model has {outputs}.",
            hint="Train again: the text does not come from one training.",
        )


def _transformed(graph: Graph, model: Model, score: str) -> str:
    """The objective's transformation of the raw scores [N, K] into probabilities [N, C] or predictions [N]."""
    if model.average_output:
        iterations = graph.constant("iterations", np.float64(max(1, model.num_iterations)))
        score = graph.node("Div", [score, iterations], "mean_score")
    objective = model.objective
    name = objective.name if objective else ""
    slope = objective.sigmoid if objective else 1.0
    if name == "binary":
        # softmax(0, s) = (1 - p, p) with p = 1 / (1 + exp(-s)). ONNX Runtime's Sigmoid has only float32's accuracy.
        scale = graph.constant("scale", np.array([[0.0, slope]]))
        return graph.node("Softmax", [graph.node("Mul", [score, scale], "logits")], "wide_probabilities", axis=1)
    if name == "multiclass":
        return graph.node("Softmax", [score], "wide_probabilities", axis=1)
    if name == "multiclassova":
        return _logistic(graph, score, slope)
    axis = graph.constant("output_axis", np.array([1]))
    score = graph.node("Squeeze", [score, axis], "flat_score")
    if name in _EXPONENTIAL:
        return graph.node("Exp", [score], "exponential")
    if name == "cross_entropy":
        return _logistic(graph, score, 1.0)
    if name == "cross_entropy_lambda":
        one = graph.constant("one", np.float64(1.0))
        return graph.node("Log", [graph.node("Add", [graph.node("Exp", [score], "odds"), one], "one_more")], "log")
    if objective is not None and objective.sqrt:
        return graph.node("Mul", [score, graph.node("Abs", [score], "size")], "signed_square")
    return score


def _logistic(graph: Graph, score: str, slope: float) -> str:
    exponent = graph.node("Mul", [score, graph.constant("minus_slope", np.float64(-slope))], "exponent")
    one = graph.constant("one", np.float64(1.0))
    return graph.node(
        "Reciprocal", [graph.node("Add", [graph.node("Exp", [exponent], "odds"), one], "one_more")], "logistic"
    )
