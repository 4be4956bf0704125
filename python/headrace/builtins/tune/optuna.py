"""`tune:optuna`: hyperparameters for a trainer, found by Optuna. Needs the extra `tune`."""

from __future__ import annotations

import importlib
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from headrace import Dataset, FeaturePlan, Params, StageContext, errors

__all__ = ["OptunaTuner"]


class _Range(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    low: float = Field(description="Least value.")
    high: float = Field(description="Greatest value.")

    @model_validator(mode="after")
    def _ordered(self) -> _Range:
        if not self.low <= self.high:
            raise ValueError(f"low ({self.low}) is above high ({self.high})")
        if (getattr(self, "log", False) or isinstance(self, LogRange)) and self.low <= 0:
            raise ValueError(f"a logarithmic scale needs low above 0, found {self.low}")
        return self


class IntRange(_Range):
    """Whole numbers."""

    type: Literal["int"] = Field(description="What the parameter is.")
    low: int = Field(description="Least value.")
    high: int = Field(description="Greatest value.")
    log: bool = Field(default=False, description="Draw on a logarithmic scale.")


class FloatRange(_Range):
    """Numbers."""

    type: Literal["float"] = Field(description="What the parameter is.")


class LogRange(_Range):
    """Positive numbers on a logarithmic scale."""

    type: Literal["log"] = Field(description="What the parameter is.")


class Choice(BaseModel):
    """One of several values."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: Literal["categorical"] = Field(description="What the parameter is.")
    choices: tuple[bool | int | float | str, ...] = Field(min_length=1, description="The values.")


Dimension = Annotated[IntRange | FloatRange | LogRange | Choice, Field(discriminator="type")]


class OptunaTuner:
    """Searches the space of a trainer's parameters with a seeded TPE sampler and prunes trials that go badly.

    A trial is a run of the trainer on the training rows, scored by the number that the trainer reports as
    `valid.<metric>`. The first trial has the trainer's defaults, or what is nearest to them in the space. Each finished
    trial is kept in the stage's working folder: a run that was killed goes on where it was, and finds what it would
    have found. The result depends on data, config and seed alone, unless `max_seconds` ends the search.
    """

    class Config(BaseModel):
        """Settings of `tune:optuna`."""

        model_config = ConfigDict(extra="forbid", frozen=True)

        trainer: Literal["lightgbm", "sklearn"] = Field(
            default="lightgbm", description="The implementation of `train` that is tuned."
        )
        n_trials: int = Field(default=30, ge=1, description="Trials, those that are pruned included.")
        max_seconds: float | None = Field(
            default=None,
            gt=0,
            description="Start no further trial after this time. The result then depends on the machine. (The engine's "
            "`timeout` fails the stage instead.)",
        )
        space: dict[str, Dimension] = Field(
            default_factory=dict,
            description="Parameter of the trainer -> {type = int, float or log (with low and high) or categorical "
            "(with choices)}. Default for lightgbm: rate, leaves, leaf size, sampling, regularisation.",
        )
        fixed: dict[str, Any] = Field(
            default_factory=dict, description="Config of the trainer in all trials; it becomes part of the result."
        )
        folds: int = Field(
            default=0,
            ge=0,
            description="Cross-validate each trial on so many folds of training and validation rows together; 0: train "
            "on the training rows, score on the validation rows. Not for rows that depend on time.",
        )
        pruner: Literal["median", "hyperband", "none"] = Field(
            default="median", description="Which trials are ended early: those worse than the median at the same round."
        )
        direction: Literal["minimize", "maximize"] | None = Field(
            default=None, description="Default by the name of the metric: auc and average_precision are maximised."
        )
        seed: int | None = Field(default=None, ge=0, lt=2**31, description="Default: the project's seed.")

        @model_validator(mode="after")
        def _sound(self) -> OptunaTuner.Config:
            if self.folds == 1:
                raise ValueError("folds = 1 leaves nothing to train on; use 0 or at least 2")
            if self.trainer != "lightgbm" and not self.space:
                raise ValueError(f"there is no default `space` for {self.trainer}, name at least one parameter")
            if both := sorted(set(self.space) & set(self.fixed)):
                raise ValueError(f"{both[0]!r} is both in `space` and in `fixed`")
            return self

    def __init__(self, config: Config) -> None:
        self.config = config

    def run(self, ctx: StageContext, plan: FeaturePlan, train_features: Dataset, valid_features: Dataset) -> Params:
        """Search. The values of the result are `fixed` and the best trial's; `study` lists all trials.

        Raises
        ------
        MissingExtraError
            Optuna is not installed.
        ConfigError
            The trainer refuses a parameter, or its value.
        DataError
            There are no validation rows and no `folds`; or no trial came to an end.

        """
        try:
            import optuna  # noqa: F401
        except ImportError as error:
            raise errors.MissingExtraError(
                "tune:optuna needs a package that is not installed: optuna",
                place=f"stage {ctx.stage}",
                hint="pip install 'headrace[tune]'",
            ) from error
        from headrace.builtins.tune.study import Search

        config = self.config
        if not config.space:
            config = config.model_copy(update=self._default_space(train_features.num_rows))
        return Search(ctx, config, self._trainer(), plan).run(train_features, valid_features)

    def _trainer(self) -> Any:
        """The trainer's class.

        By module name, as a spec would name it: the tuner knows trainers by the stage contract alone. The names are
        constants, so that the cache key covers the trainer's source.
        """
        if self.config.trainer == "sklearn":
            return importlib.import_module("headrace.builtins.train.sklearn").SklearnTrainer
        return importlib.import_module("headrace.builtins.lightgbm.train").LightGBMTrainer

    def _default_space(self, rows: int) -> dict[str, Any]:
        """`space` and `fixed` for LightGBM on so many rows."""
        space = {
            "learning_rate": LogRange(type="log", low=0.05, high=0.2),
            "num_leaves": IntRange(type="int", low=4, high=max(31, min(128, rows // 20)), log=True),
            "min_data_in_leaf": IntRange(type="int", low=2, high=max(5, min(200, rows // 20)), log=True),
            "feature_fraction": FloatRange(type="float", low=0.5, high=1.0),
            "bagging_fraction": FloatRange(type="float", low=0.5, high=1.0),
            "lambda_l1": LogRange(type="log", low=1e-6, high=10.0),
            "lambda_l2": LogRange(type="log", low=1e-6, high=10.0),
            "cat_smooth": LogRange(type="log", low=1.0, high=100.0),
        }
        fixed = {"bagging_freq": 1, **self.config.fixed}  # without it bagging_fraction does nothing
        return {"space": {name: range_ for name, range_ in space.items() if name not in fixed}, "fixed": fixed}
