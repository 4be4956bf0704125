"""Models to export: trained by LightGBM, or written by hand so that thresholds and sets can be anything.

Fixtures, so that nothing has to be imported from here:

- `train(objective, rounds=10, **params)`: the text of a small model on `table`.
- `table`: 600 rows of float32 with NaN, zeros, two categorical columns, a constant one and one of huge values.
- `write(trees, objective="regression", features=1, outputs=1)`: the text of a model of `HandTree`s.
- `hand_tree(...)`: a `HandTree`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import lightgbm
import numpy as np
import pytest

CATEGORICAL = [0, 1]


@dataclass(frozen=True)
class HandTree:
    """A tree as LightGBM writes it. `threshold` holds a float, or a set of categories for a categorical split."""

    split_feature: Sequence[int]
    threshold: Sequence[float | frozenset[int]]
    decision_type: Sequence[int]
    left_child: Sequence[int]
    right_child: Sequence[int]
    leaf_value: Sequence[float]

    def lines(self) -> list[str]:
        inner = len(self.leaf_value) - 1
        sets = [t for t in self.threshold if isinstance(t, frozenset)]
        words = [[sum(1 << c % 32 for c in s if c // 32 == w) for w in range(max(s) // 32 + 1)] for s in sets]
        numbers = iter(range(len(sets)))
        thresholds = [next(numbers) if isinstance(t, frozenset) else t for t in self.threshold]
        values: dict[str, Sequence[Any]] = {
            "num_leaves": [inner + 1],
            "num_cat": [len(sets)],
            "split_feature": self.split_feature,
            "split_gain": [1] * inner,
            "threshold": [f"{t:.17g}" for t in thresholds],
            "decision_type": self.decision_type,
            "left_child": self.left_child,
            "right_child": self.right_child,
            "leaf_value": [f"{v:.17g}" for v in self.leaf_value],
            "leaf_weight": [1] * (inner + 1) if inner else [],
            "leaf_count": [1] * (inner + 1),
            "internal_value": [0] * inner,
            "internal_weight": [1] * inner,
            "internal_count": [1] * inner,
        }
        if sets:
            values["cat_boundaries"] = np.cumsum([0] + [len(w) for w in words]).tolist()
            values["cat_threshold"] = [word for w in words for word in w]
        values |= {"is_linear": [0], "shrinkage": [1]}
        return [f"{key}={' '.join(map(str, value))}" for key, value in values.items()]


def write_text(
    trees: Sequence[HandTree], *, objective: str = "regression", features: int = 1, outputs: int = 1, classes: int = 1
) -> str:
    blocks = ["\n".join([f"Tree={i}", *tree.lines()]) + "\n\n\n" for i, tree in enumerate(trees)]
    return "\n".join(
        [
            "tree",
            "version=v4",
            f"num_class={classes}",
            f"num_tree_per_iteration={outputs}",
            "label_index=0",
            f"max_feature_idx={features - 1}",
            *([f"objective={objective}"] if objective else []),
            "feature_names=" + " ".join(f"f{i}" for i in range(features)),
            "feature_infos=" + " ".join(["[-1:1]"] * features),
            "tree_sizes=" + " ".join(str(len(block)) for block in blocks),
            "",
            "".join(blocks) + "end of trees",
            "",
            "feature_importances:",
            "",
            "parameters:",
            "[boosting: gbdt]",
            "",
            "end of parameters",
            "",
        ]
    )


def make_table() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(3)
    x = random.normal(size=(600, 7)).astype(np.float32)
    x[:, 0] = random.integers(0, 5, 600)
    x[:, 1] = random.integers(0, 90, 600)
    x[:, 4] = 7
    x[:, 5] = np.float32(1e38) * x[:, 5].clip(-3, 3)
    y = x[:, 2] + (x[:, 0] % 2) + np.sin(x[:, 1]) + (x[:, 5] > 0) + np.abs(x[:, 6])
    x[random.random(x.shape) < 0.08] = np.nan
    x[random.random(x.shape) < 0.08] = 0
    return x, y - y.min() + 0.1


def train_text(table: tuple[np.ndarray, np.ndarray], objective: str, rounds: int = 10, **params: Any) -> str:
    x, y = table
    group = None
    if objective in ("binary", "cross_entropy", "cross_entropy_lambda"):
        y = (y > np.median(y)).astype(float)
    if objective in ("multiclass", "multiclassova", "lambdarank", "rank_xendcg"):
        y = np.digitize(y, np.quantile(y, [0.3, 0.7]))
        if objective.startswith("multiclass"):
            params = {"num_class": 3} | params
        else:
            group = [60] * 10
    defaults = {
        "objective": objective, "num_leaves": 9, "min_data_in_leaf": 5, "min_data_per_group": 5, "cat_smooth": 1,
        "num_threads": 2, "verbose": -1, "seed": 1, "deterministic": True,
    }  # fmt: skip
    data = lightgbm.Dataset(x, y, group=group, categorical_feature=CATEGORICAL)
    return lightgbm.train(defaults | params, data, rounds).model_to_string()


@pytest.fixture(scope="session")
def labelled() -> tuple[np.ndarray, np.ndarray]:
    return make_table()


@pytest.fixture(scope="session")
def table(labelled: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    return labelled[0]


@pytest.fixture(scope="session")
def train(labelled: tuple[np.ndarray, np.ndarray]) -> Callable[..., str]:
    def train_on_table(objective: str, rounds: int = 10, **params: Any) -> str:
        return train_text(labelled, objective, rounds, **params)

    return train_on_table


@pytest.fixture(scope="session")
def write() -> Callable[..., str]:
    return write_text


@pytest.fixture(scope="session")
def hand_tree() -> type[HandTree]:
    return HandTree
