"""Fits LightGBM and brings the result into portable form."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import lightgbm
import numpy as np
import numpy.typing as npt
import polars as pl

from headrace import FeaturePlan, Model, StageContext, errors
from headrace.builtins.lightgbm import parity
from headrace.builtins.lightgbm.export import export

if TYPE_CHECKING:
    from headrace.builtins.lightgbm.train import LightGBMTrainer

    _Config: TypeAlias = LightGBMTrainer.Config

__all__ = ["train"]

_OBJECTIVES: Final = {
    "binary": ("binary",),
    "multiclass": ("multiclass", "multiclassova"),
    "regression": (
        "regression", "regression_l1", "huber", "fair", "poisson", "quantile", "mape", "gamma", "tweedie",
    ),
}  # fmt: skip
"""Objectives of each task, the default first."""
_METRICS: Final = {
    "binary": ("binary_logloss", "binary_error", "auc", "average_precision"),
    "multiclass": ("multi_logloss", "multi_error", "auc_mu"),
    "regression": (
        "rmse", "l2", "l1", "huber", "fair", "poisson", "quantile", "mape", "gamma", "gamma_deviance", "tweedie",
    ),
}  # fmt: skip
_OWN_METRIC: Final = {
    "binary": "binary_logloss",
    "multiclass": "multi_logloss",
    "multiclassova": "multi_logloss",
    "regression": "rmse",
    "regression_l1": "l1",
}
"""The metric of an objective, where it is not called like it."""
_COMPARED_ROWS: Final = 5_000
_THREADS: Final = re.compile(r"\[num_threads: \d+\]\n")
"""LightGBM writes how many threads it used into the model, which is the same for any number of them."""


def train(
    ctx: StageContext, config: _Config, plan: FeaturePlan, train_rows: pl.DataFrame, valid_rows: pl.DataFrame
) -> Model:
    """See `LightGBMTrainer.run`."""
    place = f"stage {ctx.stage}"
    features, target = _matrix(plan, train_rows, place)
    valid_features, valid_target = _matrix(plan, valid_rows, place)
    if len(features) < 2:
        raise errors.DataError(
            f"there are {len(features)} training rows, LightGBM needs at least two",
            place=place,
            hint="Look at the share of the training rows in the split.",
        )
    options = _parameters(ctx, config, plan, len(features), place)
    names = [f"f{index}" for index in range(len(plan.outputs))]  # LightGBM refuses many characters in names
    categorical = [plan.outputs.index(name) for name in plan.categorical] if config.categorical == "native" else []
    data = lightgbm.Dataset(
        features,
        target,
        weight=_weights(config, plan, target, place),
        feature_name=names,
        categorical_feature=categorical,
        params=options,
        free_raw_data=False,
    )
    watched = len(valid_features) > 0
    if not watched:
        ctx.log(f"no validation rows: training runs for {config.n_estimators} rounds without a look at unseen rows")
    booster, best = _fit(ctx, config, options, data, (valid_features, valid_target) if watched else None)
    text = _THREADS.sub("", booster.model_to_string(num_iteration=best))
    onnx = export(text)
    ctx.check_cancelled()
    report = parity.check(
        text, onnx, rows=_sample(valid_features if watched else features), max_rows=config.parity_rows
    )
    gain = booster.feature_importance(importance_type="gain", iteration=best)
    if not gain.any():
        ctx.log("no split reduces the loss: the model predicts a constant")
    ctx.log(
        f"{best} rounds; ONNX equals LightGBM on {report.rows} rows, {report.adversarial_rows} of them adversarial "
        f"(largest difference {report.max_abs_output:.1e})"
    )
    return Model(
        task=plan.task,
        target=plan.target,
        features=plan.outputs,
        classes=tuple(plan.classes),
        onnx=onnx,
        native=text.encode(),
        parity=report.to_json(),
        importance={name: float(value) for name, value in zip(plan.outputs, gain, strict=True)},
        info={
            "trainer": "lightgbm",
            "lightgbm": lightgbm.__version__,
            "parameters": {k: v for k, v in options.items() if k != "num_threads"},  # the same for any number
            "iterations": best,
            "native_features": "f0, f1, ... in the order of `features`",
            "train_rows": len(features),
            "valid_rows": len(valid_features),
        },
    )


# --- what goes in ---------------------------------------------------------------------------------------------------


def _matrix(
    plan: FeaturePlan, rows: pl.DataFrame, place: str
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64]]:
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
    return matrix.astype(np.float32, copy=False), rows[plan.target].cast(pl.Float64).to_numpy()


def _parameters(ctx: StageContext, config: _Config, plan: FeaturePlan, rows: int, place: str) -> dict[str, Any]:
    objective = _chosen("objective", config.objective, _OBJECTIVES[plan.task], plan.task, place)
    default_metric = _OWN_METRIC.get(objective, objective)
    metric = _chosen("metric", config.metric or default_metric, _METRICS[plan.task], plan.task, place)
    seed = ctx.seed if config.seed is None else config.seed
    options: dict[str, Any] = {
        key: getattr(config, key)
        for key in (
            "boosting", "learning_rate", "num_leaves", "max_depth", "min_gain_to_split", "lambda_l1", "lambda_l2",
            "feature_fraction", "bagging_fraction", "bagging_freq", "max_bin", "max_cat_threshold", "max_cat_to_onehot",
            "cat_smooth", "cat_l2",
        )
    }  # fmt: skip
    options |= {
        "objective": objective,
        "metric": metric,
        "min_data_in_leaf": _or(config.min_data_in_leaf, min(20, max(2, rows // 20))),
        "min_data_in_bin": _or(config.min_data_in_bin, 3 if rows >= 200 else 1),
        "min_data_per_group": _or(config.min_data_per_group, min(100, max(2, rows // 20))),
        "seed": seed % 2**31,
        "deterministic": True,
        # Left to itself LightGBM times both and takes the faster, and the two do not add up in the same order.
        "force_row_wise" if len(plan.outputs) <= 256 else "force_col_wise": True,
        "num_threads": ctx.threads,
        "verbosity": -1,
    }
    if plan.task == "multiclass":
        options["num_class"] = len(plan.classes)
    if config.monotone_constraints:
        options["monotone_constraints"] = _constraints(config, plan, place)
    return options | dict(config.params)


def _or(value: int | None, default: int) -> int:
    return default if value is None else value


def _chosen(what: str, value: str | None, possible: Sequence[str], task: str, place: str) -> str:
    if value is None:
        return possible[0]
    if value not in possible:
        raise errors.ConfigError(
            f"the {what} {value!r} does not fit a {task} task", place=place, hint=f"Possible: {', '.join(possible)}."
        )
    return value


def _constraints(config: _Config, plan: FeaturePlan, place: str) -> list[int]:
    for name, sign in config.monotone_constraints.items():
        if name not in plan.outputs:
            near = difflib.get_close_matches(name, plan.outputs, n=1)
            raise errors.ConfigError(
                f"`monotone_constraints` names {name!r}, which is no feature",
                place=place,
                hint=f"Did you mean {near[0]!r}?" if near else "Features are the outputs of the feature plan.",
            )
        if sign and name in plan.categorical and config.categorical == "native":
            raise errors.ConfigError(
                f"`monotone_constraints` names {name!r}, whose values are categories without an order", place=place
            )
    return [config.monotone_constraints.get(name, 0) for name in plan.outputs]


def _weights(
    config: _Config, plan: FeaturePlan, target: npt.NDArray[np.float64], place: str
) -> npt.NDArray[np.float64] | None:
    if config.class_weight is None:
        return None
    if not plan.classes:
        raise errors.ConfigError("`class_weight` needs classes, and this is a regression task", place=place)
    codes = target.astype(np.intp)
    if config.class_weight == "balanced":
        counts = np.bincount(codes, minlength=len(plan.classes))
        return (len(codes) / (len(plan.classes) * np.maximum(counts, 1)))[codes]
    for label, weight in config.class_weight.items():
        if label not in plan.class_names:
            raise errors.ConfigError(
                f"`class_weight` names the class {label!r}, which the target does not have",
                place=place,
                hint=f"Classes: {', '.join(plan.class_names[:20])}.",
            )
        if not (math.isfinite(weight) and weight >= 0):
            raise errors.ConfigError(
                f"the weight of the class {label!r} is {weight}, expected a finite number from 0", place=place
            )
    return np.array([config.class_weight.get(name, 1.0) for name in plan.class_names])[codes]


def _sample(rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """At most a few thousand rows, evenly spread."""
    return rows[np.linspace(0, len(rows) - 1, min(len(rows), _COMPARED_ROWS)).astype(np.intp)]


# --- the fit --------------------------------------------------------------------------------------------------------


def _fit(
    ctx: StageContext,
    config: _Config,
    options: Mapping[str, Any],
    data: lightgbm.Dataset,
    valid: tuple[npt.NDArray[np.float32], npt.NDArray[np.float64]] | None,
) -> tuple[lightgbm.Booster, int]:
    """The booster, and how many of its rounds to use."""
    patience = config.early_stopping_rounds if valid is not None else 0
    if patience and config.boosting == "dart":
        ctx.log("early stopping is off: dart changes earlier trees, so an earlier round cannot be gone back to")
        patience = 0
    watch = _Watch(ctx, f"valid.{options['metric']}", config.n_estimators, patience)
    sets = [lightgbm.Dataset(valid[0], valid[1], reference=data, free_raw_data=False)] if valid is not None else []
    try:
        booster = lightgbm.train(
            dict(options),
            data,
            num_boost_round=config.n_estimators,
            valid_sets=sets,
            valid_names=["valid"] * len(sets),
            callbacks=[watch],
        )
    except lightgbm.basic.LightGBMError as error:
        raise errors.DataError(
            f"LightGBM refuses the data or the parameters: {error}",
            place=f"stage {ctx.stage}",
            hint="Look at the parameters that you set besides the defaults.",
        ) from error
    best = watch.best_round if patience and watch.best_round else booster.current_iteration()
    if best in watch.values:
        ctx.metric(watch.metric, watch.values[best])
    ctx.metric("rounds", best)
    ctx.progress(config.n_estimators, config.n_estimators)
    return booster, best


class _Watch:
    """Tells the run after each round how far it is and how good; ends the training early, or when the run is stopped.

    The best round is found here and not by LightGBM's own callback, because LightGBM adds up a metric in as many parts
    as there are threads: a difference in its last bits must not decide how many rounds the model has.
    """

    before_iteration = False

    def __init__(self, ctx: StageContext, metric: str, rounds: int, patience: int) -> None:
        self.ctx = ctx
        self.metric = metric
        self.rounds = rounds
        self.patience = patience
        self.values: dict[int, float] = {}
        self.best_round = 0
        self._best = math.inf

    def __call__(self, env: lightgbm.callback.CallbackEnv) -> None:
        self.ctx.check_cancelled()
        round_ = env.iteration + 1
        self.ctx.progress(round_, self.rounds)
        for entry in env.evaluation_result_list or ():
            value = float(f"{entry[2]:.12g}")
            if not math.isfinite(value):
                continue
            self.values[round_] = value
            self.ctx.metric(self.metric, value, step=round_)
            cost = -value if entry[3] else value
            if cost < self._best:
                self.best_round, self._best = round_, cost
        if self.patience and self.best_round and round_ - self.best_round >= self.patience:
            raise lightgbm.callback.EarlyStopException(self.best_round - 1, env.evaluation_result_list or [])
