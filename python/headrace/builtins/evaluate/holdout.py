"""`evaluate:holdout`: how good a model is on the test rows, with intervals, slices, curves and importance."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from headrace import Dataset, Evaluation, FeaturePlan, Model, StageContext, errors, metrics

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

    from headrace import Predictor
    from headrace.builtins.evaluate.judgement import Trivial

SLICE_REPLICATES = 200
FEW_GROUPS = 20
MOST_TRIED = 200


class HoldoutEvaluation:
    """Measures a model on rows that it has not seen, beside the trivial predictor on the same rows.

    All metrics of the task, each with a percentile interval by the bootstrap; the same for slices of the
    rows; points of the curves; permutation importance of the input columns. What the rows cannot tell is
    null, with the reason.
    """

    class Config(BaseModel):
        """Settings of `evaluate:holdout`."""

        model_config = ConfigDict(extra="forbid", frozen=True)

        primary: str | None = Field(
            default=None,
            description="The metric that decides (gate, slices, importance). Default: log_loss for classification, "
            "rmse for regression: each is proper, so that only better predictions improve it, and has no threshold.",
        )
        threshold: float = Field(
            default=0.5,
            ge=0,
            le=1,
            description="Binary: a row is predicted positive when its probability is at least this.",
        )
        level: float = Field(default=0.95, gt=0.5, lt=1, description="Share of the replicates inside an interval.")
        replicates: int = Field(
            default=1000,
            ge=50,
            description="Bootstrap replicates. For very many rows fewer are drawn, never under 200; the log says so.",
        )
        resample_by: str | None = Field(
            default=None,
            description="A column whose groups of equal value are drawn whole, for rows that are alike within a group "
            "(a day, a customer). Default: single rows are drawn, which is right when rows are independent.",
        )
        slices: Literal["auto"] | tuple[str, ...] = Field(
            default="auto",
            description='Columns to slice by. "auto": the most important ones that have few values, numbers or times.',
        )
        slice_columns: int = Field(default=12, ge=0, description='With slices = "auto": at most so many columns.')
        slice_values: int = Field(
            default=20,
            ge=2,
            description="A column with more values than this is cut into quarters (numbers, times) or left out (text; "
            "where it was asked for by name, its most frequent values are taken).",
        )
        slice_rows: int = Field(default=100, ge=2, description="Slices with fewer rows are left out.")
        importance_rows: int = Field(
            default=2000, ge=0, description="Rows on which permutation importance is measured; 0: not at all."
        )
        importance_repeats: int = Field(default=5, ge=1, description="Shuffles of each column.")
        id_columns: tuple[str, ...] = Field(default=(), description="Columns that are never sliced by.")

        @field_validator("primary")
        @classmethod
        def _known(cls, name: str | None) -> str | None:
            if name is not None and name not in metrics.METRICS:
                raise ValueError(f"'{name}' is not a metric; known are {', '.join(metrics.METRICS)}")
            return name

    def __init__(self, config: Config) -> None:
        self.config = config

    def run(self, ctx: StageContext, model: Model, plan: FeaturePlan, train: Dataset, test: Dataset) -> Evaluation:
        """Score the test rows and measure.

        Raises
        ------
        ConfigError
            The primary metric does not fit the task; a column of `slices` or `resample_by` does not exist.
        DataError
            No test row has a target.

        """
        from headrace import Predictor
        from headrace.builtins.evaluate.curves import curves
        from headrace.builtins.evaluate.judgement import Trivial, judge

        config = self.config
        place = f"stage {ctx.stage}"
        primary = metrics.known(config.primary or metrics.PRIMARY[model.task], model.task, place=place).name
        notes: list[str] = []
        frame, truth = known_rows(plan, test.frame(), notes, place=place)
        for name in (*(config.slices if config.slices != "auto" else ()), config.resample_by):
            if name is not None and name not in frame.columns:
                raise no_column(name, frame.columns, place)
        _, training_truth = known_rows(plan, train.frame(), [], place=place)

        predictor = Predictor(plan, model, threads=ctx.threads)
        scored = metrics.Scored(model.task, truth, predictor.scores(frame), threshold=config.threshold)
        trivial = Trivial.of(scored, training_truth)
        rows = _Rows(frame, scored, trivial, groups(frame, config.resample_by, notes), primary, notes)
        count = metrics.affordable(config.replicates, scored.rows, scored.classes)
        if count < config.replicates:
            notes.append(f"{count} bootstrap replicates instead of {config.replicates}: there are {scored.rows:,} rows")
        resampling = metrics.Resampling(scored.rows, replicates=count, seed=[ctx.seed, 1], units=rows.units)

        judgement = judge(scored, trivial, resampling, level=config.level, check=ctx.check_cancelled)
        ctx.progress(1, 3)
        importance = self._importance(ctx, predictor, inputs_by_gain(plan, model), rows)
        ctx.progress(2, 3)
        slices = self._slices(ctx, rows, importance, besides={plan.target, *config.id_columns})
        ctx.progress(3, 3)

        for note in notes:
            ctx.log(note)
        for name, measured in judgement.metrics.items():
            if measured["value"] is not None:
                ctx.metric(name, measured["value"])
        ctx.log(summary(primary, judgement.metrics[primary], judgement.baseline[primary], scored.rows))
        return Evaluation(
            task=model.task,
            primary=primary,
            rows=scored.rows,
            level=config.level,
            metrics=judgement.metrics,
            baseline=judgement.baseline,
            slices=slices,
            curves=curves(scored, plan.class_names, level=config.level, seed=ctx.seed),
            importance=importance,
            about={
                "replicates": count,
                "resampled": "rows" if config.resample_by is None else f"groups of '{config.resample_by}'",
                "threshold": config.threshold if model.task == "binary" else None,
                "notes": notes,
            },
        )

    def _importance(self, ctx: StageContext, predictor: Predictor, inputs: list[str], rows: _Rows) -> dict[str, float]:
        asked = self.config.importance_rows
        if not asked:
            return {}
        from headrace.builtins.evaluate.importance import permutation_importance, within_budget

        some, total = rows.sample(asked, [ctx.seed, 5]), rows.scored.rows
        if some.scored.rows < total:
            rows.notes.append(f"importance was measured on {some.scored.rows:,} of {total:,} rows")
        columns, repeats = within_budget(
            inputs, rows=some.scored.rows, width=len(inputs), repeats=self.config.importance_repeats
        )
        if len(columns) < len(inputs):
            rows.notes.append(f"importance was measured for {len(columns)} of {len(inputs)} columns, those most used")
        if repeats < self.config.importance_repeats:
            rows.notes.append(f"shuffles of each column: {repeats} instead of {self.config.importance_repeats}")
        made: dict[str, list[int]] = {}
        for position, read in enumerate(predictor.plan.sources.values()):
            for column in read:
                made.setdefault(column, []).append(position)
        found = permutation_importance(
            predictor.scores_of,
            predictor.plan.matrix(some.frame, extra_columns="ignore"),
            some.scored,
            {column: made[column] for column in columns},
            primary=rows.primary,
            repeats=repeats,
            seed=ctx.seed,
            check=ctx.check_cancelled,
        )
        return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))

    def _slices(
        self, ctx: StageContext, rows: _Rows, importance: dict[str, float], *, besides: set[str]
    ) -> list[dict[str, Any]]:
        from headrace.builtins.evaluate.slices import MOST_ROWS, Part, judge_parts, parts

        config = self.config
        some = rows.sample(MOST_ROWS, [ctx.seed, 6])
        if some.scored.rows < rows.scored.rows:
            rows.notes.append(f"slices were measured on {some.scored.rows:,} of {rows.scored.rows:,} rows")
        auto = config.slices == "auto"
        names = [name for name in some.frame.columns if name not in besides] if auto else list(config.slices)
        if auto:
            names.sort(key=lambda name: -importance.get(name, 0.0))  # stable: equals stay in the file's order
        found: list[Part] = []
        columns = 0
        for name in names[: MOST_TRIED if auto else None]:
            if auto and columns >= config.slice_columns:
                break
            of_column = list(
                parts(some.frame, name, most=config.slice_values, fewest=config.slice_rows, asked=not auto)
            )
            found += of_column
            columns += bool(of_column)
        return judge_parts(
            some.scored,
            some.trivial,
            found,
            primary=rows.primary,
            level=config.level,
            replicates=min(config.replicates, SLICE_REPLICATES),
            seed=ctx.seed,
            units=some.units,
            check=ctx.check_cancelled,
        )


@dataclass(frozen=True)
class _Rows:
    """The rows that are measured on, and what is known about them. `notes` are for the reader, and grow."""

    frame: pl.DataFrame
    scored: metrics.Scored
    trivial: Trivial
    units: NDArray[np.intp] | None
    primary: str
    notes: list[str]

    def sample(self, most: int, seed: list[int]) -> _Rows:
        """At most so many of the rows, in their order."""
        if self.scored.rows <= most:
            return self
        import numpy as np

        rng = np.random.Generator(np.random.PCG64DXSM(np.random.SeedSequence(seed)))
        rows = np.sort(rng.choice(self.scored.rows, most, replace=False))
        units = None if self.units is None else self.units[rows]
        return replace(
            self, frame=self.frame[rows], scored=self.scored.take(rows), trivial=self.trivial.take(rows), units=units
        )


def known_rows(
    plan: FeaturePlan, frame: pl.DataFrame, notes: list[str], *, place: str
) -> tuple[pl.DataFrame, NDArray[Any]]:
    """The rows that have a target, and their targets as the plan encodes them."""
    encoded = plan.encode_target(frame, strict=False)
    known = encoded.is_not_null()
    labelled = frame[plan.target].is_not_null()
    if not known.any():
        hint = "Look at what the split gives to this part, and whether the labels have arrived."
        raise errors.DataError(
            f"none of {frame.height} rows has a known target '{plan.target}'", place=place, hint=hint
        )
    absent, strange = int((~labelled).sum()), int((labelled & ~known).sum())
    if absent:
        notes.append(f"{absent:,} of {frame.height:,} rows have no target and were left out")
    if strange:
        what = "a target that is not a finite number" if plan.task == "regression" else "a class unknown in training"
        notes.append(f"{strange:,} of {frame.height:,} rows have {what} and were left out, which flatters the model")
    return (frame, encoded.to_numpy()) if known.all() else (frame.filter(known), encoded.filter(known).to_numpy())


def inputs_by_gain(plan: FeaturePlan, model: Model) -> list[str]:
    """The columns that the plan reads, those first whose features the model says it uses most."""
    gains = dict.fromkeys(plan.inputs, 0.0)
    for output, columns in plan.sources.items():
        for column in columns:
            gains[column] += model.importance.get(output, 0.0)
    return sorted(gains, key=lambda name: -gains[name])


def groups(frame: pl.DataFrame, column: str | None, notes: list[str]) -> NDArray[np.intp] | None:
    """As `metrics.groups`, with a note where there are few."""
    codes = metrics.groups(frame, column)
    if codes is not None and int(codes.max()) + 1 < FEW_GROUPS:
        notes.append(f"'{column}' has only {codes.max() + 1} groups: the intervals are narrower than they should be")
    return codes


def no_column(name: str, columns: list[str], place: str) -> errors.ConfigError:
    """A configured column that the data does not have."""
    import difflib

    near = difflib.get_close_matches(name, columns, n=1)
    hint = f"Did you mean '{near[0]}'?" if near else "See the columns with `headrace validate --suggest`."
    return errors.ConfigError(f"the test rows have no column '{name}'", place=place, hint=hint)


def summary(primary: str, ours: dict[str, Any], baseline: dict[str, Any], rows: int) -> str:
    """One line for the person who watches."""
    title = metrics.METRICS[primary].title
    if ours["value"] is None:
        return f"{title} on {rows:,} rows: none, because {ours['reason']}"
    interval = "" if ours["low"] is None else f" ({ours['low']:.4g} to {ours['high']:.4g})"
    rival = "none" if baseline["value"] is None else f"{baseline['value']:.4g}"
    return f"{title} on {rows:,} rows: {ours['value']:.4g}{interval}; the trivial predictor: {rival}"
