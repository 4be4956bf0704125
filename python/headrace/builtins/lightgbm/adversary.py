"""Rows on which a copy of a model that decides differently anywhere would show it.

A random row hardly ever comes near a threshold deep in a tree. So for every split there are rows that satisfy all the
decisions on the way to it, and there stand on its threshold, one float32 to either side, and on a missing value; or,
at a categorical split, on categories inside and outside its set and on numbers that are no category.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from headrace.builtins.lightgbm.decisions import ZERO, float32_threshold, goes_left
from headrace.builtins.lightgbm.text import Missing, Model, Tree

__all__ = ["AdversarialRows", "adversarial_rows"]

_Values = npt.NDArray[np.float32]

_LARGEST: Final = np.finfo(np.float32).max
_AFTER_ZERO: Final = np.nextafter(ZERO, np.float32(np.inf))
_AROUND_ZERO: Final = np.array([0.0, -0.0, 1e-45, -1e-45, ZERO, -ZERO, _AFTER_ZERO, -_AFTER_ZERO], dtype=np.float32)
_ODD: Final = np.array([np.nan, np.inf, -np.inf, _LARGEST, -_LARGEST, 1.0, -1.0], dtype=np.float32)
_ANYWHERE: Final = np.concatenate([_ODD, _AROUND_ZERO])
_POOL: Final = 512
_RANDOM_ROWS: Final = 1000


@dataclass(frozen=True, slots=True, eq=False)
class AdversarialRows:
    """Rows made from a model; the same model gives the same rows."""

    rows: _Values
    """[n, features]"""
    aims: npt.NDArray[np.int64]
    """[n, 2]: the tree and the node that a row is aimed at, or -1."""
    splits: int
    """How many splits the model has."""
    splits_probed: int
    """How many of them rows are aimed at: all, unless that were more rows than the limit."""


def adversarial_rows(model: Model, *, limit: int, seed: int = 0) -> AdversarialRows:
    """Make at most `limit` rows; when that is too few for all splits, for those of trees chosen by `seed`."""
    random = np.random.default_rng(seed)
    pools = _pools(model)
    constant = np.repeat(_ANYWHERE[:, None], model.num_features, axis=1)
    mixed = np.stack([random.choice(pool, _RANDOM_ROWS) for pool in pools], axis=1)
    blocks = [np.concatenate([constant, mixed])[:limit]]
    aims = [(-1, -1)] * len(blocks[0])
    splits_probed = 0
    for tree, node, rows in _aimed(model, pools, random):
        if len(aims) + len(rows) > limit:
            break
        blocks.append(rows)
        aims += [(tree, node)] * len(rows)
        splits_probed += 1
    return AdversarialRows(
        np.concatenate(blocks),
        np.array(aims, dtype=np.int64).reshape(-1, 2),
        sum(tree.num_leaves - 1 for tree in model.trees),
        splits_probed,
    )


def _pools(model: Model) -> list[_Values]:
    """For each feature values that some split tells apart, and the odd ones."""
    found: list[list[_Values]] = [[] for _ in range(model.num_features)]
    for tree in model.trees:
        for node in np.flatnonzero(tree.categorical).tolist():
            inside = np.array(tree.categories(node), dtype=np.float32)
            found[int(tree.split_feature[node])] += [inside, inside + np.float32(0.5), inside[-1:] + 1]
        numeric = ~tree.categorical
        thresholds = float32_threshold(tree.threshold[numeric])
        beyond = _next(thresholds, np.inf)
        for feature, *pair in zip(tree.split_feature[numeric].tolist(), thresholds, beyond, strict=True):
            found[feature].append(np.array(pair))
    return [_pool(values) for values in found]


def _pool(values: list[_Values]) -> _Values:
    if not values:
        return _ANYWHERE
    distinct = np.unique(np.concatenate(values))
    kept = distinct[np.linspace(0, len(distinct) - 1, min(_POOL, len(distinct))).astype(np.int64)]
    return np.concatenate([_ANYWHERE, kept])


def _aimed(model: Model, pools: list[_Values], random: np.random.Generator) -> Iterator[tuple[int, int, _Values]]:
    """For each split of each tree, the trees in random order, the rows that probe it."""
    for index in random.permutation(len(model.trees)).tolist():
        tree = model.trees[index]
        for node, witness in _witnesses(tree, pools, random):
            probes = _probes(tree, node, random)
            rows = np.repeat(witness[None, :], len(probes), axis=0)
            rows[:, tree.split_feature[node]] = probes
            yield index, node, rows


def _witnesses(tree: Tree, pools: list[_Values], random: np.random.Generator) -> Iterator[tuple[int, _Values]]:
    """For each inner node a row that reaches it, parents first."""
    start = random.choice(_ANYWHERE, len(pools)).astype(np.float32)
    for feature, pool in enumerate(pools):
        if pool is not _ANYWHERE:  # of very many features, a model mostly uses a few
            start[feature] = random.choice(pool)
    pending: list[tuple[int, _Values, dict[int, npt.NDArray[np.bool_]]]] = [(0, start, {})]
    while pending and tree.num_leaves > 1:
        node, row, allowed = pending.pop()
        yield node, row
        feature = int(tree.split_feature[node])
        pool = pools[feature]
        left = goes_left(tree, node, pool)
        for child, side in ((int(tree.left_child[node]), left), (int(tree.right_child[node]), ~left)):
            if child >= 0:
                still = side & allowed[feature] if feature in allowed else side
                below = row.copy()
                if still.any():  # not so when the pool had to leave the needed value out
                    below[feature] = random.choice(pool[still])
                pending.append((child, below, allowed | {feature: still}))


def _probes(tree: Tree, node: int, random: np.random.Generator) -> _Values:
    if tree.categorical[node]:
        inside = np.array(tree.categories(node), dtype=np.float32)
        outside = np.setdiff1d(np.arange(inside[-1] + 2, dtype=np.float32), inside)
        return np.concatenate([
            random.permutation(inside)[:4],
            random.permutation(outside)[:4],
            [inside[0] + np.float32(0.5), np.nextafter(inside[0], np.float32(-np.inf)), -0.5, -1.0, np.nan, 1e30],
        ]).astype(np.float32)  # fmt: skip
    threshold = float32_threshold(tree.threshold[node : node + 1])[0]
    near_zero = tree.missing[node] == Missing.ZERO or np.abs(threshold) < 2 * ZERO
    around = [_next(threshold, -np.inf), threshold, _next(threshold, np.inf), np.nan]
    return np.array([*around, *(_AROUND_ZERO if near_zero else ())], dtype=np.float32)


def _next(values: _Values, end: float) -> _Values:
    with np.errstate(over="ignore"):  # after the largest comes infinity
        return np.nextafter(values, np.float32(end))
