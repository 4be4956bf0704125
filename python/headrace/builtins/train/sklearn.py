"""`train:sklearn`: any estimator of scikit-learn that converts to ONNX. Needs the extra `sklearn`."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from headrace import Dataset, FeaturePlan, Model, Params, StageContext, errors

__all__ = ["SklearnTrainer"]


def made_of_trees(name: str) -> bool:
    """Whether an estimator of that dotted name is a tree or an ensemble of trees."""
    return name.startswith(("sklearn.tree.", "sklearn.ensemble."))


class SklearnTrainer:
    """Trains an estimator of scikit-learn, converts it with skl2onnx, and compares both on adversarial rows.

    What the estimator needs and the features do not give is done inside the model: missing numbers are imputed, numbers
    are scaled and category codes are one-hot encoded for estimators that are no trees. The log says which.
    """

    class Config(BaseModel):
        """Settings of `train:sklearn`."""

        model_config = ConfigDict(extra="forbid", frozen=True)

        estimator: str | None = Field(
            default=None,
            description="Dotted name inside scikit-learn, such as sklearn.ensemble.RandomForestClassifier. Default: "
            "sklearn.linear_model.LogisticRegression, or sklearn.linear_model.Ridge for regression.",
        )
        params: dict[str, bool | int | float | str | list[int] | list[float] | None] = Field(
            default_factory=dict, description="Parameters of the estimator, under its own names."
        )
        impute: Literal["median", "mean", "most_frequent", "constant", "none"] = Field(
            default="median",
            description="What stands in for missing numbers (constant: 0). none: the estimator must know missing "
            "values, and so must its ONNX form, which few do.",
        )
        scale: bool | None = Field(
            default=None,
            description="Numbers to mean 0 and deviation 1. Default: unless the estimator is made of trees, or the "
            "features were made for a linear model, and are scaled.",
        )
        categorical: Literal["one_hot", "ordinal"] | None = Field(
            default=None, description="What becomes of category codes. Default: ordinal for trees, else one_hot."
        )
        seed: int | None = Field(default=None, ge=0, lt=2**31, description="Default: the project's seed.")
        tolerance: float = Field(
            default=1e-4,
            gt=0,
            description="How far an output of the ONNX form may be from the estimator's, relative to max(1, |output|).",
        )

    def __init__(self, config: Config) -> None:
        self.config = config

    @staticmethod
    def features_for(config: Config) -> Literal["trees", "linear"]:
        """The kind of model that features should be chosen for: trees by the module of the estimator, else linear."""
        return "trees" if made_of_trees(config.estimator or "") else "linear"

    def run(
        self,
        ctx: StageContext,
        plan: FeaturePlan,
        train_features: Dataset,
        valid_features: Dataset,
        params: Params | None = None,
    ) -> Model:
        """Train, convert, compare. Values in `params` replace those of the config, or of the estimator's parameters.

        Raises
        ------
        MissingExtraError
            scikit-learn or skl2onnx is not installed.
        ConfigError
            The estimator does not exist, does not fit the task, gives no probabilities, or has no such parameter.
        DataError
            The estimator refuses the data.
        ExportError
            skl2onnx cannot convert the estimator, or the converted model differs.

        """
        try:
            import skl2onnx  # noqa: F401
            import sklearn  # noqa: F401
        except ImportError as error:
            raise errors.MissingExtraError(
                f"train:sklearn needs a package that is not installed: {error.name}",
                place=f"stage {ctx.stage}",
                hint="pip install 'headrace[sklearn]'",
            ) from error
        from headrace.builtins.train import estimator

        config = self._settings(params, f"stage {ctx.stage}")
        return estimator.train(ctx, config, plan, train_features.frame(), valid_features.frame())

    def _settings(self, params: Params | None, place: str) -> Config:
        if params is None:
            return self.config
        fields = set(type(self.config).model_fields)
        merged: dict[str, Any] = self.config.model_dump()
        merged |= {key: value for key, value in params.values.items() if key in fields}
        merged["params"] |= {key: value for key, value in params.values.items() if key not in fields}
        try:
            return type(self.config).model_validate(merged)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            raise errors.ConfigError(
                f"the input `params` does not fit: {where}: {first['msg']}", place=place
            ) from error
