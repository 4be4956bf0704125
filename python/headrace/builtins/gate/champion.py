"""`gate:champion`: whether a challenger may replace the champion."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from headrace import (
    ArtifactRef,
    Dataset,
    Evaluation,
    FeaturePlan,
    GateReport,
    Model,
    RegistryView,
    StageContext,
    errors,
    metrics,
)

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

    from headrace import PackageView
    from headrace.builtins.gate.comparison import Comparison


class Budgets(BaseModel):
    """Limits of size, time and exactness; None: no limit."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    size_bytes: int | None = Field(default=None, gt=0, description="Largest size of the ONNX model, in bytes.")
    row_p50_ms: float | None = Field(default=None, gt=0, description="Median time of predicting one row, in ms.")
    row_p99_ms: float | None = Field(default=None, gt=0, description="99 % quantile of predicting one row, in ms.")
    batch_p50_ms: float | None = Field(default=None, gt=0, description="Median time of predicting a batch, in ms.")
    batch_p99_ms: float | None = Field(default=None, gt=0, description="99 % quantile of predicting a batch, in ms.")
    parity: float | None = Field(
        default=None, ge=0, description="Largest difference between outputs of the ONNX and the native model."
    )


class ChampionGate:
    """Decides whether the new model may become champion.

    It must surely beat the trivial predictor; if there is a champion, it is scored on the same raw rows through its own
    feature plan, and a paired bootstrap of the primary metric decides; floors of metrics, on all rows and on every
    slice, and budgets are kept if they are set. What cannot be told does not pass. Where the champion was trained on
    some of the rows, the comparison favours it.
    """

    class Config(BaseModel):
        """Settings of `gate:champion`."""

        model_config = ConfigDict(extra="forbid", frozen=True)

        model: str | None = Field(default=None, description="Name in the registry. Default: the project's name.")
        rule: Literal["superior", "non-inferior"] = Field(
            default="superior",
            description='"superior": surely better than the champion by more than `margin`. "non-inferior": surely not '
            "worse by more than `margin`, so that a fresher model of equal quality replaces it.",
        )
        margin: float = Field(default=0.0, ge=0, description="In units of the evaluation's primary metric.")
        level: float = Field(
            default=0.95,
            gt=0.5,
            lt=1,
            description="How sure: a model that is no better is promoted with probability 1 - level at most.",
        )
        replicates: int = Field(default=1000, ge=100, description="Bootstrap replicates of the comparison.")
        resample_by: str | None = Field(
            default=None, description="As in `evaluate:holdout`: a column whose groups are drawn whole."
        )
        min_rows: int = Field(
            default=50,
            ge=2,
            description="With fewer test rows (or groups of `resample_by`), no champion is replaced: the bootstrap "
            "would be too sure of itself.",
        )
        beat_baseline: Literal["surely", "on average", "no"] = Field(
            default="surely",
            description='Against the trivial predictor: "surely" (the whole interval of the gain is above 0), '
            '"on average" (the gain is), or "no" demand.',
        )
        champion_unusable: Literal["fail", "pass"] = Field(
            default="fail",
            description="What to do where the champion cannot score the rows, since a column that it needs is gone or "
            'has another type: "fail" leaves it in place, "pass" decides by the other checks.',
        )
        floors: dict[str, float] = Field(
            default_factory=dict,
            description="Metric -> the worst value allowed on all test rows (where lower is better: the highest).",
        )
        slice_floors: dict[str, float] = Field(
            default_factory=dict, description="Metric -> the worst value allowed in any slice of the evaluation."
        )
        budgets: Budgets = Field(default_factory=Budgets, description="Limits of size, time and exactness.")
        latency_rows: int = Field(default=256, ge=1, description="Rows of a batch when its time is measured.")

        @field_validator("floors", "slice_floors")
        @classmethod
        def _known(cls, floors: dict[str, float]) -> dict[str, float]:
            for name in floors:
                if name not in metrics.METRICS:
                    raise ValueError(f"'{name}' is not a metric; known are {', '.join(metrics.METRICS)}")
            return floors

    def __init__(self, config: Config) -> None:
        self.config = config

    def external(
        self,
        project_dir: Path,  # noqa: ARG002  # the contract's name
        registry: RegistryView,
        inputs: Mapping[str, ArtifactRef],
    ) -> Any:
        """The package of the champion that the model is compared with."""
        if self.config.model is None:
            raise errors.ConfigError("the model has no name", hint='Set `model = "..."`, or [project] name.')
        rival = registry.champion(self.config.model, besides=inputs["model"].digest)
        return {"champion": None if rival is None else rival.version.package}

    def run(
        self, ctx: StageContext, model: Model, plan: FeaturePlan, test: Dataset, evaluation: Evaluation
    ) -> GateReport:
        """Make every check, also after one has failed, so that a person sees them all.

        Raises
        ------
        ConfigError
            A floor names a metric of another task, or `resample_by` a column that does not exist.

        """
        from headrace import Predictor
        from headrace.builtins.gate import checks, latency

        config = self.config
        place = f"stage {ctx.stage}"
        for name in (*config.floors, *config.slice_floors):
            metrics.known(name, model.task, place=place)
        if config.resample_by is not None and config.resample_by not in test.columns:
            hint = f"The columns are: {', '.join(test.columns[:30])}."
            raise errors.ConfigError(f"the test rows have no column '{config.resample_by}'", place=place, hint=hint)
        predictor = Predictor(plan, model, threads=ctx.threads)
        frame, truth = known_rows(plan, test.frame(), place=place)

        made: list[dict[str, Any]] = []
        if config.beat_baseline != "no":
            made.append(checks.against_baseline(evaluation, config.beat_baseline))
        name = config.model or ctx.project
        digest = ctx.inputs["model"].digest if "model" in ctx.inputs else None
        rival = ctx.registry.champion(name, besides=digest)
        comparison: dict[str, Any] = {}
        if rival is None:
            message = f"'{name}' has no champion yet: the other checks decide."
            made.append(checks.check("champion", True, found=None, required=None, message=message))
        else:
            threshold = evaluation.about.get("threshold")
            scored = metrics.Scored(
                model.task,
                truth,
                predictor.scores(frame),
                threshold=threshold if isinstance(threshold, float) else 0.5,
            )
            rows = _Rows(frame, scored, model.classes, metrics.groups(frame, config.resample_by))
            entry, comparison = self._against_champion(ctx, rival, rows, evaluation)
            made.append(entry)
        made += [checks.floor(evaluation, metric, worst) for metric, worst in config.floors.items()]
        made += [checks.slice_floor(evaluation, metric, worst) for metric, worst in config.slice_floors.items()]

        # Times differ from run to run: they enter the report only where a budget makes them part of the decision.
        times = latency.measure(predictor.scores, frame, batch=config.latency_rows, check=ctx.check_cancelled)
        for label, value in times.items():
            ctx.metric(f"latency_{label}", value)
        made += self._budgets(model, times)

        passed = checks.verdict(made)
        for entry in made:
            ctx.log(f"{'passed' if entry['passed'] else 'FAILED'}: {entry['message']}")
        number = None if rival is None else rival.version.number
        return GateReport(passed=passed, checks=made, champion=number, comparison=comparison)

    def _budgets(self, model: Model, times: Mapping[str, float]) -> list[dict[str, Any]]:
        from headrace.builtins.gate.checks import budget

        limits, made = self.config.budgets, []
        if limits.size_bytes is not None:
            made.append(budget("size", "The ONNX model's size", len(model.onnx), limits.size_bytes, " bytes"))
        if limits.parity is not None:
            found = model.parity.get("max_abs_output")
            made.append(budget("parity", "The difference of ONNX from the native model", found, limits.parity, ""))
        words = {"row": "one row", "batch": f"{self.config.latency_rows} rows"}
        for key, value in times.items():
            limit = getattr(limits, key)
            if limit is not None:
                which, quantile, _ = key.split("_")
                what = f"The time to predict {words[which]} ({quantile})"
                made.append(budget(f"latency {which} {quantile}", what, round(value, 3), limit, " ms"))
        return made

    def _against_champion(
        self, ctx: StageContext, rival: PackageView, rows: _Rows, evaluation: Evaluation
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """The check of the comparison, and `GateReport.comparison`."""
        from headrace.builtins.gate.checks import check
        from headrace.builtins.gate.comparison import compare
        from headrace.builtins.gate.rival import score_rival

        config, primary = self.config, evaluation.primary
        about: dict[str, Any] = {
            "model": rival.version.name,
            "version": rival.version.number,
            "package": rival.version.package,
            "metric": primary,
            "rule": config.rule,
            "margin": config.margin,
            "level": config.level,
            "rows": rows.scored.rows,
        }
        found = score_rival(
            rival, rows.scored, rows.classes, rows.frame, threads=ctx.threads, transforms=ctx.transforms
        )
        if isinstance(found, str):
            passed = config.champion_unusable == "pass"
            then = (
                "As configured, the other checks decide."
                if passed
                else 'So it stays: promote by hand, or set champion_unusable = "pass".'
            )
            message = f"The champion (version {rival.version.number}) cannot score these rows: {found}. {then}"
            return check("champion", passed, found=None, required=None, message=message), about | {"unusable": found}
        resampling = metrics.Resampling(
            rows.scored.rows,
            replicates=metrics.affordable(config.replicates, rows.scored.rows, rows.scored.classes),
            seed=[ctx.seed, 7],
            units=rows.units,
        )
        result = compare(rows.scored, found, resampling, primary=primary, level=config.level, check=ctx.check_cancelled)
        about |= {"replicates": resampling.replicates, "units": resampling.count, "metrics": result.table}
        return self._decision(result, primary, rival.version.number, resampling.count), about

    def _decision(self, result: Comparison, primary: str, version: int, units: int) -> dict[str, Any]:
        from headrace.builtins.gate.checks import check, number

        config = self.config
        title = metrics.METRICS[primary].title
        least = config.margin if config.rule == "superior" else -config.margin
        sign = ">" if config.rule == "superior" else ">="
        required = f"{sign} {number(float(least))}"
        row = result.table[primary]
        if units < config.min_rows:
            message = f"{units} test rows or groups are too few to replace a champion; {config.min_rows} are asked for."
            return check("champion", False, found=result.bound, required=required, message=message)
        if result.bound is None:
            message = f"The champion (version {version}) cannot be compared: {title} has no interval, {result.reason}."
            return check("champion", False, found=None, required=required, message=message)
        passed = result.bound > least if config.rule == "superior" else result.bound >= least
        better = {"superior": "better", "non-inferior": "no worse"}[config.rule]
        margin = f" by more than {number(config.margin)}" if config.margin else ""
        sure = f"with {100 * config.level:g} % confidence the gain is at least {number(result.bound)}"
        message = (
            f"{title} is {number(row['challenger'])}, against {number(row['champion'])} of the champion (version "
            f"{version}): {'surely' if passed else 'not surely'} {better}{margin}; {sure}."
        )
        return check("champion", passed, found=result.bound, required=required, message=message)


@dataclass(frozen=True)
class _Rows:
    """The test rows with a target, the challenger's scores of them, and the groups that are drawn whole."""

    frame: pl.DataFrame
    scored: metrics.Scored
    classes: tuple[Any, ...]
    units: NDArray[np.intp] | None


def known_rows(plan: FeaturePlan, frame: pl.DataFrame, *, place: str) -> tuple[pl.DataFrame, NDArray[Any]]:
    """The rows that have a target that the plan knows, and their targets as the plan encodes them."""
    import numpy as np

    encoded = plan.encode_target(frame, strict=False)
    known = encoded.is_not_null()
    if not known.any():
        hint = "Look at what the split gives to this part, and whether the labels have arrived."
        message = f"none of {frame.height} test rows has a known target '{plan.target}'"
        raise errors.DataError(message, place=place, hint=hint)
    return frame.filter(known), np.asarray(encoded.filter(known).to_numpy())
