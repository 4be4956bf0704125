"""Fits an estimator of scikit-learn inside a pipeline that supplies what it needs."""

from __future__ import annotations

import difflib
import pkgutil
import re
import warnings
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
import polars as pl
import skl2onnx
import sklearn
from sklearn.base import BaseEstimator, is_classifier, is_regressor
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.metrics import log_loss, root_mean_squared_error
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # no types in its wheel

from headrace import FeaturePlan, Model, StageContext, errors
from headrace.builtins.train.convert import compare, convert
from headrace.builtins.train.sklearn import made_of_trees

if TYPE_CHECKING:
    from headrace.builtins.train.sklearn import SklearnTrainer

    _Config: TypeAlias = SklearnTrainer.Config

__all__ = ["train"]

_NAME: Final = re.compile(r"sklearn(\.[a-z][a-z0-9_]*)+\.[A-Z][A-Za-z0-9]*")
_Rows: TypeAlias = npt.NDArray[np.float32]


def train(
    ctx: StageContext, config: _Config, plan: FeaturePlan, train_rows: pl.DataFrame, valid_rows: pl.DataFrame
) -> Model:
    """See `SklearnTrainer.run`."""
    place = f"stage {ctx.stage}"
    estimator = _estimator(ctx, config, plan, place)
    pipeline, needs = _pipeline(config, plan, estimator)
    # n_jobs is how the machine was used, not what was learnt: with it, the same model would be another artifact.
    told = {key: value for key, value in estimator.get_params().items() if key != "n_jobs"}
    params = {key: value if _plain(value) else repr(value) for key, value in told.items()}
    for need in needs:
        ctx.log(need)
    features, target = _matrix(plan, train_rows, place)
    valid_features, valid_target = _matrix(plan, valid_rows, place)
    _check_finite(plan, features, place)
    _fit(ctx, pipeline, features, target, place)
    ctx.check_cancelled()
    if "n_jobs" in estimator.get_params():
        estimator.set_params(n_jobs=1)  # forests add up their trees in the order in which threads finish
    if plan.classes and not np.array_equal(pipeline.classes_, np.arange(len(plan.classes))):
        raise errors.DataError(
            f"the training rows hold {len(pipeline.classes_)} of {len(plan.classes)} classes", place=place
        )
    if len(valid_features):
        _measure(ctx, plan, pipeline, valid_features, valid_target)
    onnx = convert(pipeline, len(plan.outputs), len(plan.classes), place=place)
    record = compare(
        pipeline,
        onnx,
        features,
        valid_features,
        names=plan.outputs,
        categorical=[plan.outputs.index(name) for name in plan.categorical],
        missing=config.impute != "none",
        tolerance=config.tolerance,
        place=place,
    )
    ctx.log(f"ONNX equals {type(estimator).__name__} on {record['rows']} rows within {record['max_rel_output']:.1e}")
    return Model(
        task=plan.task,
        target=plan.target,
        features=plan.outputs,
        classes=tuple(plan.classes),
        onnx=onnx,
        parity=record,
        importance=_importance(pipeline, plan),
        info={
            "trainer": "sklearn",
            "sklearn": sklearn.__version__,
            "skl2onnx": skl2onnx.__version__,
            "estimator": f"{type(estimator).__module__}.{type(estimator).__qualname__}",
            "params": params,
            "inside": needs,
            "train_rows": len(features),
            "valid_rows": len(valid_features),
        },
    )


# --- the estimator --------------------------------------------------------------------------------------------------


def _estimator(ctx: StageContext, config: _Config, plan: FeaturePlan, place: str) -> Any:
    found = _find(config.estimator or _default(plan), place)
    known = found._get_param_names()  # noqa: SLF001  # scikit-learn's own way to tell before making one
    for key in config.params:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"Did you mean {near[0]!r}?" if near else f"Parameters: {', '.join(known)}."
            raise errors.ConfigError(f"{found.__name__} has no parameter {key!r}", place=place, hint=hint)
    given: dict[str, Any] = dict(config.params)
    if "random_state" in known:
        given.setdefault("random_state", ctx.seed if config.seed is None else config.seed)
    if "n_jobs" in known:
        given.setdefault("n_jobs", ctx.threads)
    try:
        estimator = found(**given)
    except TypeError as error:
        raise errors.ConfigError(
            f"{found.__name__} cannot be made of these parameters: {error}", place=place
        ) from error
    fits = is_classifier(estimator) if plan.classes else is_regressor(estimator)
    if not fits:
        raise errors.ConfigError(
            f"{found.__name__} is no {'classifier' if plan.classes else 'regressor'}, the task is {plan.task}",
            place=place,
        )
    if plan.classes and not hasattr(estimator, "predict_proba"):
        raise errors.ConfigError(
            f"{found.__name__} gives no probabilities{' with these parameters' if 'probability' in known else ''}",
            place=place,
            hint="Choose one with `predict_proba`, such as sklearn.linear_model.LogisticRegression.",
        )
    return estimator


def _default(plan: FeaturePlan) -> str:
    return f"sklearn.linear_model.{'LogisticRegression' if plan.classes else 'Ridge'}"


def _find(name: str, place: str) -> Any:
    """A public class of scikit-learn by dotted name. Nothing else is imported, whatever the name says."""
    hint = "Write it as in scikit-learn's reference, such as sklearn.ensemble.RandomForestClassifier."
    if not _NAME.fullmatch(name) or "sklearn.externals" in name:
        raise errors.ConfigError(f"{name!r} is no public name of scikit-learn", place=place, hint=hint)
    module, _, attribute = name.rpartition(".")
    try:
        inside = pkgutil.resolve_name(module)
    except (ImportError, AttributeError) as error:
        raise errors.ConfigError(f"scikit-learn {sklearn.__version__} has no module {module}", place=place) from error
    found = getattr(inside, attribute, None)
    if not (isinstance(found, type) and issubclass(found, BaseEstimator) and found.__module__.startswith("sklearn.")):
        near = difflib.get_close_matches(attribute, dir(inside), n=1)
        raise errors.ConfigError(
            f"scikit-learn {sklearn.__version__} has no estimator {name}",
            place=place,
            hint=f"Did you mean {module}.{near[0]}?" if near else hint,
        )
    return found


def _pipeline(config: _Config, plan: FeaturePlan, estimator: Any) -> tuple[Pipeline, list[str]]:
    """The estimator with what it needs before it, and sentences that say so."""
    trees = made_of_trees(f"{type(estimator).__module__}.")
    scale = not trees and plan.model_kind != "linear" if config.scale is None else config.scale
    one_hot = (not trees if config.categorical is None else config.categorical == "one_hot") and plan.categorical
    codes = [index for index, output in enumerate(plan.outputs) if output in plan.categorical]
    numbers = [index for index in range(len(plan.outputs)) if index not in codes or not one_hot]
    steps: list[tuple[str, Any]] = []
    needs: list[str] = []
    if config.impute != "none":
        steps.append(
            ("impute", SimpleImputer(strategy=config.impute, fill_value=0 if config.impute == "constant" else None,
                                     keep_empty_features=True))
        )  # fmt: skip
        if plan.model_kind != "linear":  # else the plan does so before
            needs.append(f"missing numbers are replaced inside the model ({config.impute})")
    if scale:
        steps.append(("scale", StandardScaler()))
        needs.append("numbers are scaled to mean 0 and deviation 1 inside the model")
    parts: list[tuple[str, Any, list[int]]] = []
    if numbers and steps:
        parts.append(("numbers", Pipeline(steps), numbers))
    elif numbers:
        parts.append(("numbers", "passthrough", numbers))
    if one_hot:
        parts.append(
            ("categories", OneHotEncoder(handle_unknown="ignore", dtype=np.float32, sparse_output=False), codes)
        )
        needs.append(f"{len(codes)} category columns are one-hot encoded inside the model")
    if not steps and not one_hot:
        return Pipeline([("model", estimator)]), needs
    return Pipeline([("prepare", ColumnTransformer(parts, sparse_threshold=0)), ("model", estimator)]), needs


def _fit(ctx: StageContext, pipeline: Pipeline, features: _Rows, target: npt.NDArray[Any], place: str) -> None:
    name = type(pipeline[-1]).__name__
    # One thread for products of matrices: on another number they add up in another order, and the model is another one.
    limits = {"blas": 1, "openmp": ctx.threads}
    with warnings.catch_warnings(record=True) as told, threadpool_limits(limits):
        warnings.simplefilter("always")
        try:
            pipeline.fit(features, target)
        except (ValueError, TypeError, ArithmeticError) as error:
            raise errors.DataError(
                f"{name} refuses the data or its parameters: {str(error).partition(chr(10))[0]}",
                place=place,
                hint="Look at the parameters, and at `impute` if missing values are what it refuses.",
            ) from error
    for text in dict.fromkeys(str(warning.message).partition("\n")[0] for warning in told):
        ctx.log(f"{name} warns: {text}")


# --- data -----------------------------------------------------------------------------------------------------------


def _matrix(plan: FeaturePlan, rows: pl.DataFrame, place: str) -> tuple[_Rows, npt.NDArray[Any]]:
    if rows.columns != [*plan.outputs, plan.target]:
        odd = sorted(set(rows.columns) ^ {*plan.outputs, plan.target})[:5]
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
    matrix = np.ascontiguousarray(rows[list(plan.outputs)].to_numpy().astype(np.float32, copy=False))
    return matrix, rows[plan.target].to_numpy()


def _check_finite(plan: FeaturePlan, features: _Rows, place: str) -> None:
    infinite = np.isinf(features)
    if infinite.any():
        row, column = (int(index) for index in np.argwhere(infinite)[0])
        raise errors.DataError(
            f"the feature {plan.outputs[column]!r} is {features[row, column]}, scikit-learn needs finite numbers",
            place=f"{place}, training row {row}",
            hint="Drop the column, clean the value, or use train:lightgbm.",
        )


def _measure(
    ctx: StageContext, plan: FeaturePlan, pipeline: Pipeline, features: _Rows, target: npt.NDArray[Any]
) -> None:
    usable = np.isfinite(np.where(np.isnan(features), 0, features)).all(axis=1)
    features, target = features[usable], target[usable]
    if not len(features):
        return
    if plan.classes:
        value = log_loss(target, pipeline.predict_proba(features), labels=np.arange(len(plan.classes)))
        ctx.metric("valid.log_loss", float(value))
    else:
        ctx.metric("valid.rmse", float(root_mean_squared_error(target, pipeline.predict(features))))


def _importance(pipeline: Pipeline, plan: FeaturePlan) -> dict[str, float]:
    """Importance by feature where the estimator tells: of trees its own, of linear models the sum of |coefficients|."""
    model = pipeline[-1]
    if hasattr(model, "feature_importances_"):
        weights = np.asarray(model.feature_importances_, dtype=np.float64)
    elif isinstance(getattr(model, "coef_", None), np.ndarray):
        weights = np.abs(np.atleast_2d(model.coef_)).sum(axis=0)
    else:
        return {}
    origins = _origins(pipeline, len(plan.outputs))
    if len(origins) != len(weights) or not np.isfinite(weights).all():
        return {}
    totals = np.bincount(origins, weights=weights, minlength=len(plan.outputs))
    return {name: float(total) for name, total in zip(plan.outputs, totals, strict=True)}


def _origins(pipeline: Pipeline, width: int) -> list[int]:
    """Which feature each column comes from that the estimator sees."""
    if len(pipeline) == 1:
        return list(range(width))
    found: list[int] = []
    for name, transformer, columns in pipeline[0].transformers_:
        if name == "categories":
            for column, values in zip(columns, transformer.categories_, strict=True):
                found += [column] * len(values)
        elif name == "numbers":
            found += columns
    return found


def _plain(value: Any) -> bool:
    return value is None or isinstance(value, bool | int | str) or (isinstance(value, float) and np.isfinite(value))
