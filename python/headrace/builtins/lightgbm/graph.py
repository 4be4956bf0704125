"""The trees of a model as nodes of an ONNX graph: the columns they ask about, and the ensemble itself."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from headrace import errors
from headrace.builtins.lightgbm.categories import Categories, CategoryCodes, encode
from headrace.builtins.lightgbm.decisions import ZERO, float32_threshold, nan_goes_left
from headrace.builtins.lightgbm.text import Missing, Model, Tree

__all__ = ["Graph", "add_trees", "exact_leaves"]

_BRANCH_LEQ: Final = 0
_BRANCH_MEMBER: Final = 6
_MAX_CATEGORY: Final = 2**22
"""A feature's table has a row for each category, of a byte for each column: some 100 in large models."""


_Reals = npt.NDArray[np.float64]


@dataclass(slots=True)
class Graph:
    """Nodes and constants in the order in which they were added."""

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[onnx.TensorProto] = field(default_factory=list)

    def node(self, op: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(op, inputs, [output], **attributes))
        return output

    def constant(self, name: str, value: npt.ArrayLike) -> str:
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name


def exact_leaves(model: Model) -> tuple[list[_Reals], float]:
    """Every tree's leaf values as they are exported, and how far a raw score can be from LightGBM's because of that.

    All are multiples of one power of two so large that every sum over trees is one of fewer than 2^53 of them: sums are
    exact in whatever order they are made. The distance bounds both roundings, ours of each leaf and LightGBM's of each
    addition.
    """
    largest = [float(np.abs(tree.leaf_value).max()) for tree in model.trees]
    outputs = model.num_tree_per_iteration
    # A little above the sum of the largest leaves: room for what rounding them adds.
    bound = max(sum(largest[k::outputs]) for k in range(outputs)) * (1.0 + 2.0**-20)
    if not math.isfinite(bound):
        raise errors.ExportError(
            "The leaf values add up to more than a float64 can hold.", hint="Scale the target down and train again."
        )
    grid = math.ldexp(1.0, max(math.frexp(bound)[1] - 53, -1074))
    leaves = [np.rint(tree.leaf_value / grid) * grid for tree in model.trees]
    return leaves, model.num_iterations * (grid / 2 + bound * 2.0**-53)


def add_trees(graph: Graph, model: Model, features: str, output: str) -> str:
    """Add the sum over trees, float64 [N, K], of `features`, float64 [N, F]."""
    columns = _Columns.of(model)
    graph.nodes.append(_ensemble(model, columns, columns.add_to(graph, features), output))
    return output


# --- columns -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Columns:
    """What the trees ask about: the model's own features, then columns derived from them."""

    codes: dict[int, CategoryCodes]
    """The categorical features. Those whose codes take equally many columns follow one another."""
    first_code: dict[int, int]
    zero_missing: dict[int, int]
    """The features that have splits with zero as missing, and the column in which their zeros are NaN."""

    @classmethod
    def of(cls, model: Model) -> _Columns:
        sets: dict[int, list[Categories]] = {}
        zeros: set[int] = set()
        for tree in model.trees:
            for node in np.flatnonzero(tree.categorical).tolist():
                sets.setdefault(int(tree.split_feature[node]), []).append(tree.categories(node))
            zeros.update(tree.split_feature[~tree.categorical & (tree.missing == Missing.ZERO)].tolist())
        for feature, used in sets.items():
            if (highest := max(categories[-1] for categories in used)) > _MAX_CATEGORY:
                raise errors.ExportError(
                    f"Feature {model.feature_names[feature]!r} has the category {highest}; "
                    f"the table that the exported model needs can go up to {_MAX_CATEGORY}.",
                    hint="Number the categories 0, 1, 2, ... before training.",
                )
        encoded = [(feature, encode(sets[feature])) for feature in sorted(sets)]
        encoded.sort(key=lambda item: item[1].width)
        at = model.num_features
        first_code = {}
        for feature, code in encoded:
            first_code[feature] = at
            at += code.width
        return cls(dict(encoded), first_code, {feature: at + i for i, feature in enumerate(sorted(zeros))})

    def add_to(self, graph: Graph, features: str) -> str:
        parts = [features]
        if self.codes:
            parts += self._add_codes(graph, features)
        if self.zero_missing:
            parts.append(self._add_zero_missing(graph, features))
        return features if len(parts) == 1 else graph.node("Concat", parts, "columns", axis=1)

    def _add_zero_missing(self, graph: Graph, features: str) -> str:
        chosen = graph.constant("zero_missing_features", np.array(list(self.zero_missing)))
        values = graph.node("Gather", [features, chosen], "zero_missing_values", axis=1)
        size = graph.node("Abs", [values], "zero_missing_size")
        is_zero = graph.node("LessOrEqual", [size, graph.constant("zero", np.float64(ZERO))], "is_zero")
        return graph.node("Where", [is_zero, graph.constant("nan", np.float64(np.nan)), values], "zero_missing")

    def _add_codes(self, graph: Graph, features: str) -> list[str]:
        # The row of a category's codes: its whole part, or the last row for whatever is no category (NaN, x <= -1, or
        # larger than any). NaN is not greater than -1, and only after that is it safe to cast.
        chosen = graph.constant("categorical_features", np.array(list(self.codes)))
        last = graph.constant("last_row", np.array([float(len(code.table) - 1) for code in self.codes.values()]))
        values = graph.node("Gather", [features, chosen], "categorical_values", axis=1)
        known = graph.node("Greater", [values, graph.constant("minus_one", np.float64(-1.0))], "is_known")
        bounded = graph.node("Min", [graph.node("Where", [known, values, last], "known"), last], "bounded")
        rows = graph.node("Cast", [bounded], "category", to=TensorProto.INT64)

        widths = [code.width for code in self.codes.values()]
        return [
            self._add_codes_of(graph, rows, width, [i for i, other in enumerate(widths) if other == width])
            for width in sorted(set(widths))
        ]

    def _add_codes_of(self, graph: Graph, rows: str, width: int, positions: list[int]) -> str:
        """The features at `positions` share one table, each with rows of its own, and one lookup."""
        tables = [code.table for i, code in enumerate(self.codes.values()) if i in positions]
        starts = np.cumsum([0] + [len(table) for table in tables[:-1]])
        name = f"codes_{width}"
        if len(positions) < len(self.codes):
            chosen = graph.constant(f"{name}_features", np.array(positions))
            rows = graph.node("Gather", [rows, chosen], f"{name}_category", axis=1)
        if len(positions) > 1:
            rows = graph.node("Add", [rows, graph.constant(f"{name}_starts", starts)], f"{name}_rows")
        found = graph.node("Gather", [graph.constant(f"{name}_table", np.concatenate(tables)), rows], f"{name}_found")
        flat = graph.node("Flatten", [found], f"{name}_flat")
        return graph.node("Cast", [flat], name, to=TensorProto.DOUBLE)


# --- trees ---------------------------------------------------------------------------------------------------------


class _Nodes(NamedTuple):
    """The inner nodes of one tree; children are numbered as in `Tree`."""

    column: npt.NDArray[np.int64]
    mode: npt.NDArray[np.uint8]
    split: npt.NDArray[np.float64]
    nan_left: npt.NDArray[np.bool_]
    left: npt.NDArray[np.int64]
    right: npt.NDArray[np.int64]
    members: list[float]
    """The sets of the categorical nodes, a NaN after each."""


def _nodes(tree: Tree, columns: _Columns) -> _Nodes:
    if tree.num_leaves == 1:
        return _LEAF
    column = tree.split_feature.copy()
    categorical = tree.categorical
    members: list[float] = []
    for node in np.flatnonzero(categorical).tolist():
        feature = int(tree.split_feature[node])
        offset, codes = columns.codes[feature].questions[tree.categories(node)]
        column[node] = columns.first_code[feature] + offset
        members += (*codes, math.nan)
    for node in np.flatnonzero(~categorical & (tree.missing == Missing.ZERO)).tolist():
        column[node] = columns.zero_missing[int(tree.split_feature[node])]
    return _Nodes(
        column,
        np.where(categorical, _BRANCH_MEMBER, _BRANCH_LEQ).astype(np.uint8),
        np.where(categorical, 0.0, float32_threshold(tree.threshold).astype(np.float64)),
        nan_goes_left(tree),
        tree.left_child,
        tree.right_child,
        members,
    )


# The format has no tree without an inner node: one with two leaves of the same value stands for it.
_LEAF: Final = _Nodes(
    column=np.zeros(1, np.int64),
    mode=np.zeros(1, np.uint8),
    split=np.zeros(1),
    nan_left=np.zeros(1, np.bool_),
    left=np.array([~0]),
    right=np.array([~1]),
    members=[],
)


def _told_apart(tree: _Nodes, leaves: _Reals, first_node: int, first_leaf: int) -> tuple[_Nodes, _Reals]:
    """Number the leaves anew if the root's children, a leaf and a node, have the same number each in its own list.

    ONNX Runtime 1.23 takes such a root for a tree of a single leaf (its issue 24679), and predicts wrongly.
    """
    leaf, node = sorted((int(tree.left[0]), int(tree.right[0])))
    if not leaf < 0 <= node or ~leaf + first_leaf != node + first_node:
        return tree, leaves
    left, right = (np.where(c < 0, ~((~c + 1) % len(leaves)), c) for c in (tree.left, tree.right))
    return tree._replace(left=left, right=right), np.roll(leaves, 1)


def _ensemble(model: Model, columns: _Columns, features: str, output: str) -> onnx.NodeProto:
    outputs = model.num_tree_per_iteration
    # Without trees every raw score is 0.
    leaves = [np.repeat(v, 2) if len(v) == 1 else v for v in exact_leaves(model)[0] or [np.zeros(1)] * outputs]
    trees = [_nodes(tree, columns) for tree in model.trees] or [_LEAF] * outputs
    first_node = np.cumsum([0] + [len(tree.column) for tree in trees])
    first_leaf = np.cumsum([0] + [len(values) for values in leaves])
    for index, tree in enumerate(trees):
        trees[index], leaves[index] = _told_apart(tree, leaves[index], first_node[index], first_leaf[index])

    def ids(children: list[npt.NDArray[np.int64]]) -> list[int]:
        starts = zip(children, first_leaf[:-1], first_node[:-1], strict=True)
        return list(np.concatenate([np.where(c < 0, ~c + leaf, c + node) for c, leaf, node in starts]).tolist())

    def are_leaves(children: list[npt.NDArray[np.int64]]) -> list[int]:
        return list((np.concatenate(children) < 0).astype(np.int64).tolist())

    column, mode, split, nan_left, left, right, members = (list(part) for part in zip(*trees, strict=True))
    sets = [member for tree in members for member in tree]
    targets = [np.full(len(values), index % outputs) for index, values in enumerate(leaves)]
    return helper.make_node(
        "TreeEnsemble",
        [features],
        [output],
        domain="ai.onnx.ml",
        aggregate_function=1,  # sum
        post_transform=0,  # none
        n_targets=outputs,
        tree_roots=first_node[:-1].tolist(),
        nodes_featureids=np.concatenate(column).tolist(),
        nodes_modes=numpy_helper.from_array(np.concatenate(mode)),
        nodes_splits=numpy_helper.from_array(np.concatenate(split)),
        nodes_missing_value_tracks_true=np.concatenate(nan_left).astype(np.int64).tolist(),
        nodes_truenodeids=ids(left),
        nodes_trueleafs=are_leaves(left),
        nodes_falsenodeids=ids(right),
        nodes_falseleafs=are_leaves(right),
        leaf_targetids=np.concatenate(targets).tolist(),
        leaf_weights=numpy_helper.from_array(np.concatenate(leaves)),
        **({"membership_values": numpy_helper.from_array(np.array(sets))} if sets else {}),
    )
