"""`features:plan`: fits the feature plan on the training rows and applies it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from pydantic import ConfigDict, Field

from headrace import Dataset, FeaturePlan, StageContext, Task

if TYPE_CHECKING:
    import polars as pl

_DROPPED_SHOWN: Final = 20
_MODELS: Final = {"trees": "trees", "linear": "a linear model"}


class Features(NamedTuple):
    """What the stage gives: the plan, and both sets of rows as its outputs plus the encoded target."""

    plan: FeaturePlan
    train_features: Dataset
    valid_features: Dataset


class PlanFeatures:
    """Decides what each column becomes, from the training rows alone, and applies that to training and validation rows.

    The feature frames hold the plan's outputs as Float32 and the target under its own name: class index as Int32, or
    Float64. Target encodings of training rows are cross-fitted: they come from the other folds of the rows, drawn with
    the project's seed. What was chosen, and why, is in the plan (`plan.choices`) and in the log.
    """

    class Config(FeaturePlan.Config):
        """Settings of `features:plan`."""

        model_config = ConfigDict(extra="forbid", frozen=True)

        target: str = Field(description="The column to predict.")
        task: Task | None = Field(
            default=None,
            description="binary, multiclass or regression. Default: what the target's type and values suggest.",
        )
        missing_target: Literal["drop", "error"] = Field(
            default="drop", description="What to do with rows whose target is missing: leave them out, or stop."
        )

    def __init__(self, config: Config) -> None:
        self.config = config

    def uses_transforms(self) -> tuple[str, ...]:
        """Their source is part of the cache key."""
        return tuple(transform.use for transform in self.config.transforms)

    def run(self, ctx: StageContext, train: Dataset, valid: Dataset) -> Features:
        """Fit on `train`, transform both.

        Raises
        ------
        ConfigError
            A selector or column name matches nothing, or a column cannot be what the config says.
        DataError
            The target is absent, constant, missing (with `missing_target = "error"`) or does not fit the task; no
            feature is left; or a validation column does not have the type that it has in training.

        """
        target, task = self.config.target, self.config.task
        rows = train.frame()
        if self.config.missing_target == "drop":
            kept = FeaturePlan.labelled(rows, target)
            if kept.height and kept.height < rows.height:
                ctx.log(f"left out {rows.height - kept.height} of {rows.height} training rows without a target")
            rows = kept if kept.height else rows  # none at all is an error, which the plan words
        if task is None:
            task = FeaturePlan.infer_task(rows, target)
            ctx.log(f"the target {target!r} asks for {task}")
        about = self.config.model_dump(include=set(FeaturePlan.Config.model_fields))
        plan, made = FeaturePlan.fit_transform(
            rows, target=target, task=task, config=about, transforms=ctx.transforms, seed=ctx.seed
        )
        ctx.check_cancelled()
        _tell(ctx, plan)
        judged = self._valid_rows(ctx, plan, valid.frame())
        features = Features(
            plan=plan,
            train_features=_dataset(made, plan.encode_target(rows)),
            valid_features=_dataset(plan.transform(judged), plan.encode_target(judged)),
        )
        ctx.metric("features", len(plan.outputs))
        ctx.metric("dropped_columns", sum(choice["decision"] == "dropped" for choice in plan.choices))
        return features

    def _valid_rows(self, ctx: StageContext, plan: FeaturePlan, frame: pl.DataFrame) -> pl.DataFrame:
        """Validation rows whose label the model can know."""
        labels = plan.encode_target(frame, strict=False)
        unusable = labels.null_count()
        missing = frame.height - FeaturePlan.labelled(frame, plan.target).height
        if missing and self.config.missing_target == "error":
            plan.encode_target(frame)  # raises, naming the row
        if unusable:
            ctx.log(
                f"left out {unusable} of {frame.height} validation rows: {missing} without a target, "
                f"{unusable - missing} with a label that is not among the training rows"
            )
        return frame.filter(labels.is_not_null())


def _dataset(features: pl.DataFrame, target: pl.Series) -> Dataset:
    return Dataset.from_frame(features.with_columns(target))


def _tell(ctx: StageContext, plan: FeaturePlan) -> None:
    """What a person should know before wondering: what was dropped, and how many became what."""
    dropped = [choice for choice in plan.choices if choice["decision"] == "dropped"]
    for choice in dropped[:_DROPPED_SHOWN]:
        ctx.log(f"dropped {choice['column']!r}: {choice['reason']}")
    if len(dropped) > _DROPPED_SHOWN:
        ctx.log(f"dropped {len(dropped) - _DROPPED_SHOWN} more columns; the plan names each with the reason")
    kept = Counter(c["decision"] for c in plan.choices if c["decision"] not in ("dropped", "excluded"))
    summary = ", ".join(f"{count} {decision}" for decision, count in kept.items())
    ctx.log(f"{len(plan.inputs)} columns become {len(plan.outputs)} features for {_MODELS[plan.model_kind]}: {summary}")
