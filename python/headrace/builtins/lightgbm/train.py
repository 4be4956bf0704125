"""`train:lightgbm`: gradient-boosted trees, exported to ONNX and compared with LightGBM itself."""

from __future__ import annotations

import os
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from headrace import Dataset, FeaturePlan, Model, Params, StageContext, errors

__all__ = ["LightGBMTrainer"]

Objective = Literal[
    "binary", "multiclass", "multiclassova", "regression", "regression_l1", "huber", "fair", "poisson", "quantile",
    "mape", "gamma", "tweedie",
]  # fmt: skip
Metric = Literal[
    "binary_logloss", "binary_error", "auc", "average_precision", "multi_logloss", "multi_error", "auc_mu", "rmse",
    "l2", "l1", "huber", "fair", "poisson", "quantile", "mape", "gamma", "gamma_deviance", "tweedie",
]  # fmt: skip


class LightGBMTrainer:
    """Trains LightGBM on the features, stops early on the validation rows, exports to ONNX.

    Categories are native LightGBM categoricals. The same data, config, seed and number of threads give the same model,
    byte for byte. Before the model is given out, its ONNX form is compared with LightGBM on adversarial rows (at and
    beside every threshold, missing, infinite, unseen categories) and on validation rows; `Model.parity` is the record.
    """

    class Config(BaseModel):
        """Settings of `train:lightgbm`, under LightGBM's own names."""

        model_config = ConfigDict(extra="forbid", frozen=True)

        objective: Objective | None = Field(
            default=None, description="What is minimised. Default by task: binary, multiclass, regression."
        )
        metric: Metric | None = Field(
            default=None, description="What early stopping watches. Default: the loss of the objective (rmse for l2)."
        )
        boosting: Literal["gbdt", "dart", "rf"] = Field(
            default="gbdt", description="Boosted trees, boosted trees with dropout, or a random forest."
        )
        n_estimators: int = Field(default=500, ge=1, description="Boosting rounds, at most.")
        learning_rate: float = Field(default=0.1, gt=0, description="Weight of each round.")
        num_leaves: int = Field(default=31, ge=2, le=131072, description="Leaves of a tree, at most.")
        max_depth: int = Field(default=-1, description="Depth of a tree, at most; 0 or less: no limit.")
        min_data_in_leaf: int | None = Field(
            default=None, ge=0, description="Rows in a leaf, at least. Default: 20, less with under 400 rows (rows/20)."
        )
        min_data_in_bin: int | None = Field(
            default=None, ge=1, description="Rows in a histogram bin, at least. Default: 3; 1 with under 200 rows."
        )
        min_gain_to_split: float = Field(default=0.0, ge=0, description="Gain that a split needs, at least.")
        lambda_l1: float = Field(default=0.0, ge=0, description="L1 regularisation of leaf values.")
        lambda_l2: float = Field(default=0.0, ge=0, description="L2 regularisation of leaf values.")
        feature_fraction: float = Field(default=1.0, gt=0, le=1, description="Share of the features that a tree sees.")
        bagging_fraction: float = Field(default=1.0, gt=0, le=1, description="Share of the rows that a tree sees.")
        bagging_freq: int = Field(default=0, ge=0, description="Draw the rows anew every so many rounds; 0: never.")
        max_bin: int = Field(default=255, ge=2, description="Histogram bins of a feature, at most.")
        categorical: Literal["native", "ordinal"] = Field(
            default="native",
            description="Category codes as LightGBM categoricals (splits on sets), or as ordered numbers.",
        )
        max_cat_threshold: int = Field(default=32, ge=1, description="Categories on one side of a split, at most.")
        max_cat_to_onehot: int = Field(default=4, ge=1, description="With so few categories, one against the rest.")
        cat_smooth: float = Field(default=10.0, ge=0, description="Smoothing of category statistics.")
        cat_l2: float = Field(default=10.0, ge=0, description="L2 regularisation in categorical splits.")
        min_data_per_group: int | None = Field(
            default=None, ge=1, description="Rows of a group of categories, at least. Default: 100, or rows/20 if less."
        )
        monotone_constraints: dict[str, Literal[-1, 0, 1]] = Field(
            default_factory=dict, description="Feature name -> 1 (prediction must not fall) or -1 (must not rise)."
        )
        class_weight: Literal["balanced"] | dict[str, float] | None = Field(
            default=None,
            description='Weight of the rows by class: "balanced" (inversely to frequency), or label -> weight '
            "(1 where not named). Weighted probabilities are not calibrated.",
        )
        early_stopping_rounds: int = Field(
            default=30,
            ge=0,
            description="Stop when the metric has not improved on the validation rows for so many rounds; 0: never.",
        )
        seed: int | None = Field(default=None, ge=0, lt=2**31, description="Default: the project's seed.")
        params: dict[str, bool | int | float | str] = Field(
            default_factory=dict, description="Further training parameters of LightGBM, under its own names."
        )
        parity_rows: int = Field(
            default=20_000, ge=100, description="Adversarial rows on which ONNX and LightGBM are compared, at most."
        )

        @model_validator(mode="after")
        def _forest_needs_chance(self) -> LightGBMTrainer.Config:
            drawn = self.bagging_freq > 0 and self.bagging_fraction < 1
            if self.boosting == "rf" and not drawn and self.feature_fraction == 1:
                raise ValueError(
                    'boosting = "rf" needs bagging_freq >= 1 with bagging_fraction < 1, or feature_fraction < 1: else '
                    "all trees are the same"
                )
            return self

    def __init__(self, config: Config) -> None:
        self.config = config

    @staticmethod
    def features_for(_: Config) -> Literal["trees"]:
        """The kind of model that features should be chosen for."""
        return "trees"

    def run(
        self,
        ctx: StageContext,
        plan: FeaturePlan,
        train_features: Dataset,
        valid_features: Dataset,
        params: Params | None = None,
    ) -> Model:
        """Train, export, compare.

        Values in `params` replace those of the config key by key; a key that is no config key goes into `params`.

        Raises
        ------
        ConfigError
            An objective or metric that does not fit the task, a feature or class that does not exist, an unknown
            parameter.
        DataError
            Fewer than two training rows, or columns other than the plan's outputs.
        ExportError
            The model has a property that ONNX cannot express exactly, or the exported model differs.

        """
        # Threads of OpenMP spin while they wait: on a machine that is busy otherwise, LightGBM then takes twenty times
        # as long on two threads as on one. The library reads this when it is loaded; after that it changes nothing.
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")
        from headrace.builtins.lightgbm import boost

        place = f"stage {ctx.stage}"
        return boost.train(ctx, self._settings(params, place), plan, train_features.frame(), valid_features.frame())

    def _settings(self, params: Params | None, place: str) -> Config:
        from headrace.builtins.lightgbm import parameters

        config = self.config
        if params is not None:
            merged: dict[str, Any] = config.model_dump()
            fields = type(config).model_fields
            merged |= {key: value for key, value in params.values.items() if key in fields}
            merged["params"] |= {key: value for key, value in params.values.items() if key not in fields}
            try:
                config = type(config).model_validate(merged)
            except ValidationError as error:
                first = error.errors(include_url=False)[0]
                where = ".".join(str(part) for part in first["loc"])
                raise errors.ConfigError(
                    f"the input `params` does not fit: {where}: {first['msg']}", place=place
                ) from error
        parameters.check(config.params, frozenset(type(config).model_fields) - {"params", "parity_rows"}, place=place)
        return config
