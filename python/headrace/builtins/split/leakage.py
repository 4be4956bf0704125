"""Whether knowledge leaks: from the target into a column, from one part into another, from the future into training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from headrace import StageContext
from headrace.builtins.split import chance
from headrace.builtins.split.parts import Labelled, SplitConfig, class_codes, finding, plain
from headrace.errors import DataError

#: Fewer rows, or fewer of the rarest class, say nothing about a column that predicts alone.
FEWEST_SAMPLED = 50
FEWEST_OF_A_CLASS = 10
MOST_BINS = 64
#: Rows x columns of the sample at most; wide tables get fewer rows.
MOST_CELLS = 20_000_000
EXAMPLES = 10


def find_leaks(
    parts: Mapping[str, pl.DataFrame], labels: Labelled, config: SplitConfig, ctx: StageContext
) -> list[dict[str, Any]]:
    """All findings, the worst kind first. `parts` are train, valid and test."""
    features = [name for name in parts["train"].columns if name != config.target and name not in config.id_columns]
    for name in config.leak_ignore:
        if name not in parts["train"].columns:
            raise DataError(f"`leak_ignore` names {name!r}, and the data has no such column", hint="Remove it.")
    found = []
    if config.target is not None:
        names = [name for name in features if name not in config.leak_ignore]
        found += columns_that_know(parts["train"], labels, config, ctx, names)
    found += future_in_training(parts, config)
    found += same_rows(parts, features)
    for name in dict.fromkeys((*config.groups, *config.id_columns)):
        if name not in parts["train"].columns:
            raise DataError(
                f"`groups` or `id_columns` names {name!r}, and the data has no such column",
                hint="Name one that it has.",
            )
        found += shared_groups(parts, name)
    return found


# --- one column that predicts the target alone ----------------------------------------------------------------------


def columns_that_know(
    train: pl.DataFrame, labels: Labelled, config: SplitConfig, ctx: StageContext, names: Sequence[str]
) -> list[dict[str, Any]]:
    """Columns whose value alone predicts the target at least `leak_score` well, on rows not used to learn it.

    The prediction is the mean target of a bin (a category, or one of up to 64 quantile bins), learned on one half of a
    sample and judged on the other, both ways round: so a column in which every value is another, an id, predicts
    nothing, however many values it has.
    """
    target = config.target or ""
    rows = min(config.leak_sample, max(1000, MOST_CELLS // max(1, len(names))))
    order = np.argsort(chance.by_position(train.height, ctx.seed, "leakage"))
    classes = labels.classes
    codes = None
    if classes is not None:
        codes = class_codes(Labelled(train, 0, classes, labels.task), target)
        order = _evenly(order, codes, len(classes))
    chosen = np.sort(order[:rows])
    sample = train[chosen.tolist()] if len(chosen) < train.height else train
    if codes is None:
        outcome = plain(sample, target).cast(pl.Float64).to_numpy()[:, None]
        enough = len(outcome) >= FEWEST_SAMPLED and float(outcome.var()) > 0
    else:
        kept = codes[chosen] if len(chosen) < train.height else codes
        outcome = (kept[:, None] == np.arange(len(classes or ()))[None, :]).astype(np.float64)
        enough = len(outcome) >= FEWEST_SAMPLED and float(np.sort(outcome.sum(axis=0))[-2]) >= FEWEST_OF_A_CLASS
        if outcome.shape[1] == 2:
            outcome = outcome[:, 1:]
    if not enough:
        ctx.log("too few rows to tell whether one column predicts the target alone")
        return []
    half = chance.by_position(sample.height, ctx.seed, "halves") % np.uint64(2) == 0
    found = []
    measure = "R2" if codes is None else "AUC" if outcome.shape[1] == 1 else "share of avoidable errors avoided"
    for i, name in enumerate(names):
        if i % 100 == 0:
            ctx.check_cancelled()
        bins = _bins(plain(sample, name), half)
        if bins is None:
            continue
        score = _score(bins, outcome, half, regression=codes is None)
        if score >= config.leak_score:
            text = (
                f"{name!r} alone predicts {target!r} ({measure} {score:.3f} on {sample.height} rows of the training "
                "part): is it known when a prediction is made?"
            )
            found.append(finding("target-leak", name, sample.height, (), text))
    return found


def _evenly(order: np.ndarray, codes: np.ndarray, classes: int) -> np.ndarray:
    """The order in which each class has its turn while it lasts, so that a sample has enough of a rare class."""
    turn = np.empty(len(order), dtype=np.int64)
    for code in range(classes):
        where = np.flatnonzero(codes[order] == code)
        turn[where] = np.arange(len(where))
    return order[np.argsort(turn, kind="stable")]


def _bins(column: pl.Series, half: np.ndarray) -> np.ndarray | None:
    """A bin number for each row; missing values have their own. None for types that have no order and no equality."""
    dtype = column.dtype
    if dtype.is_nested() or dtype in (pl.Object, pl.Null):
        return None
    if not (dtype.is_numeric() or dtype.is_temporal()):
        text = column.cast(pl.String) if dtype != pl.Binary else column
        return text.rank("dense").fill_null(0).cast(pl.Int64).to_numpy()
    values = column.to_physical().cast(pl.Float64, strict=False).fill_null(float("nan")).to_numpy()
    known = values[half & np.isfinite(values)]
    distinct = np.unique(known)
    wanted = min(MOST_BINS, max(2, len(known) // 10))
    if len(distinct) <= wanted:
        edges = distinct
    else:
        edges = np.unique(np.quantile(known, np.linspace(0, 1, wanted + 1)[1:], method="higher"))
    found = np.searchsorted(edges, values) + 1
    found[np.isnan(values)] = 0
    return found.astype(np.int64)


def _score(bins: np.ndarray, outcome: np.ndarray, half: np.ndarray, *, regression: bool) -> float:
    """How well bin means of one half predict the other half, both ways round, pooled."""
    _, bins = np.unique(bins, return_inverse=True)
    size = int(bins.max()) + 1
    predicted = np.empty_like(outcome)
    for learn in (half, ~half):
        count = np.bincount(bins[learn], minlength=size)
        overall = outcome[learn].mean(axis=0)
        for j in range(outcome.shape[1]):
            total = np.bincount(bins[learn], weights=outcome[learn, j], minlength=size)
            # One row's weight of the overall mean keeps a bin of a single row from being certain.
            mean = (total + overall[j]) / (count + 1)
            predicted[~learn, j] = mean[bins[~learn]]
    if regression:
        error = float(((outcome - predicted) ** 2).sum())
        return 1 - error / float(((outcome - outcome.mean(axis=0)) ** 2).sum())
    if outcome.shape[1] == 1:
        return _auc(outcome[:, 0] > 0.5, predicted[:, 0])
    truth = outcome.argmax(axis=1)
    base = float(np.bincount(truth).max()) / len(truth)
    right = float((predicted.argmax(axis=1) == truth).mean())
    return (right - base) / (1 - base)


def _auc(positive: np.ndarray, score: np.ndarray) -> float:
    """Area under the ROC curve: the share of pairs in the right order, ties half (Mann and Whitney 1947)."""
    _, which = np.unique(score, return_inverse=True)
    ones = np.bincount(which, weights=positive.astype(np.float64))
    zeros = np.bincount(which, weights=(~positive).astype(np.float64))
    below = np.cumsum(zeros) - zeros
    return float((ones * (below + zeros / 2)).sum() / (ones.sum() * zeros.sum()))


# --- between the parts ----------------------------------------------------------------------------------------------


def same_rows(parts: Mapping[str, pl.DataFrame], features: Sequence[str]) -> list[dict[str, Any]]:
    """Rows of a later part that have a row of the training part as their equal in every feature.

    Rows are compared by a 64-bit hash that is made and used here and kept nowhere, so it need not be the same tomorrow.
    """
    train = parts["train"]
    schema = train.schema
    names = [n for n in features if not schema[n].is_nested() and schema[n] != pl.Object]
    if not names:
        return []
    pick = pl.selectors.by_name(*names)
    known = train.select(pick).hash_rows(seed=1).unique()
    found = []
    for part in ("valid", "test"):
        again = parts[part].select(pick).hash_rows(seed=1).is_in(known.implode())
        count = int(again.sum())
        if count:
            rows = parts[part].height
            text = f"{count} of {rows} {part} rows ({count / rows:.1%}) equal a training row in every feature"
            found.append(finding("same-row", None, count, again.arg_true().head(EXAMPLES).to_list(), text))
    return found


def future_in_training(parts: Mapping[str, pl.DataFrame], config: SplitConfig) -> list[dict[str, Any]]:
    """Training rows that happened after the first test row."""
    name = config.time_column
    if name is None:
        return []
    if name not in parts["train"].columns:
        raise DataError(f"`time_column` is {name!r}, and the data has no such column", hint="Name the time column.")
    dtype = parts["train"].schema[name]
    if not (dtype.is_numeric() or dtype.is_temporal()):
        return []
    latest, first = plain(parts["train"], name).max(), plain(parts["test"], name).min()
    if latest is None or first is None:
        return []
    later = plain(parts["train"], name) > first
    count = int(later.sum())
    if not count:
        return []
    text = (
        f"{count} training rows are later by {name!r} than the first test row ({first!s}; the last training row: "
        f"{latest!s}): the test says how the past would be guessed from the future"
    )
    return [finding("future-in-training", name, count, later.arg_true().head(EXAMPLES).to_list(), text)]


def shared_groups(parts: Mapping[str, pl.DataFrame], name: str) -> list[dict[str, Any]]:
    """Values of a column that are in training and in test."""
    known = plain(parts["train"], name).drop_nulls().unique()
    found = []
    for part in ("valid", "test"):
        again = plain(parts[part], name).is_in(known.implode()).fill_null(value=False)
        count = int(again.sum())
        if count:
            rows = parts[part].height
            text = (
                f"{count} of {rows} {part} rows ({count / rows:.1%}) have a {name!r} that training has too; "
                "the group split keeps them apart"
            )
            found.append(finding("shared-group", name, count, again.arg_true().head(EXAMPLES).to_list(), text))
    return found
