"""`monitor:drift`: compares live rows with what the model was made on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from headrace import ArtifactRef, Dataset, DriftReport, RegistryView, StageContext, errors
from headrace import drift as drifts


class Monitored(NamedTuple):
    """What `monitor:drift` gives: the report about all rows, and one for each period."""

    drift: DriftReport
    windows: drifts.DriftWindows


class DriftMonitor:
    """Compares live rows with the reference profile in the package of a registered model.

    Looked at are the columns that the model's plan reads, and what the model says of the rows. A column drifted when it
    changed by more than `delta`, at a false discovery rate of `alpha` over the columns; with too few rows to tell, the
    verdict is that, and never an alarm. Columns are ranked by the size of the change times their importance to the
    model. With a `period`, each day, week or month is compared by itself as well; and so are the rows of each segment,
    of all rows and of each of the last 60 periods, where the package has segments (`segments` of `register:package`).
    """

    class Config(BaseModel):
        """Settings of `monitor:drift`."""

        model_config = ConfigDict(extra="forbid", frozen=True)

        model: str | None = Field(default=None, description="Name in the registry. Default: the project's name.")
        alias: str = Field(default="champion", description="Which version: the one under this alias.")
        columns: tuple[str, ...] | None = Field(
            default=None,
            min_length=1,
            description="The columns to look at, of inputs and scores. Default: all that the reference has; of dates "
            "and moments, which move on with time, only weekday and hour.",
        )
        scores: bool = Field(
            default=True, description="Whether the model predicts the rows, so that what it says is compared as well."
        )
        delta: float = Field(
            default=0.1,
            gt=0,
            lt=1,
            description="The size of a change, from 0 to 1, up to which it does not matter.",
        )
        alpha: float = Field(
            default=0.05, gt=0, lt=1, description="The share of false alarms among the alarms that is accepted."
        )
        time_column: str | None = Field(default=None, description="Dates or moments of the rows, for `period`.")
        period: Literal["day", "week", "month"] | None = Field(
            default=None, description="Compare each day, week (from Monday) or month by itself too; null: do not."
        )
        segments: bool = Field(
            default=True,
            description="Whether the inputs, of all rows and of each period, are compared within each segment of the "
            "reference too, where it has any.",
        )
        fail_on_drift: bool = Field(
            default=False,
            description="Whether drift, of all rows or within a segment, fails the stage, and so the run, after it was "
            "said which columns.",
        )

    def __init__(self, config: Config) -> None:
        self.config = config

    def external(
        self,
        project_dir: Path,  # noqa: ARG002  # the contract's name
        registry: RegistryView,
        inputs: Mapping[str, ArtifactRef],  # noqa: ARG002  # the contract's name
    ) -> Any:
        """The package that the rows are compared with."""
        if self.config.model is None:
            raise errors.ConfigError("the model has no name", hint='Set `model = "..."`, or [project] name.')
        package = registry.package(self.config.model, self.config.alias)
        return None if package is None else {"package": package.version.package, "version": package.version.number}

    def run(self, ctx: StageContext, data: Dataset) -> Monitored:
        """Count, compare, say.

        Raises
        ------
        NotFoundError
            The alias names no version.
        RegistryError
            The version has no reference profile.
        DataError
            A column that the model reads is missing, or has another type.
        StageError
            There is drift, and `fail_on_drift` is set.

        """
        config = self.config
        name = config.model or ctx.project
        if config.period is not None and config.time_column is None:
            raise errors.ConfigError(
                "there is a `period`, and no column to cut the rows by", hint='Set `time_column = "..."`.'
            )
        package = ctx.registry.package(name, config.alias)
        if package is None:
            raise errors.NotFoundError(
                f"the model {name!r} has no alias {config.alias!r}",
                hint="Train and register it first: monitoring belongs behind [register], or into a project of its own.",
            )
        reference = drifts.Reference.of_package(
            package, scores=config.scores, transforms=ctx.transforms, threads=ctx.threads
        )
        options: dict[str, Any] = {"delta": config.delta, "alpha": config.alpha, "threads": ctx.threads}
        if config.columns is not None:
            options["columns"] = config.columns
        # Files are read in batches: memory is bounded by those, not by the rows.
        if config.period is None or config.time_column is None:
            windows = reference.counted(data.batches(), threads=ctx.threads)
            over = drifts.DriftWindows(None, (), ())
        else:
            windows, over = drifts.over_time(
                reference, data.batches(), config.time_column, config.period, segments=config.segments, **options
            )
        report = reference.compare(windows, **options)
        if config.segments:
            report = replace(report, segments=reference.by_segment(windows, **options))
        _say(ctx, report, over, windows.rows)
        drifted = report.drifted or tuple(report.drifted_somewhere())
        if drifted and config.fail_on_drift:
            raise errors.StageError(
                f"{_listed(drifted)} drifted from what {name} version {package.version.number} was made on",
                hint=f"`headrace drift {name}@{config.alias} LIVE --html drift.html` shows how.",
            )
        return Monitored(report, over)


def _say(ctx: StageContext, report: DriftReport, over: drifts.DriftWindows, rows: int) -> None:
    version = f"{report.about['model']} version {report.about['version']}"
    ctx.log(
        f"{rows:,} rows against {version}: {len(report.drifted)} of {len(report)} columns drifted, for "
        f"{len(report.undecided)} there are not enough data"
    )
    for column in report.columns[: len(report.drifted)][:10]:
        effect = column.effect
        ctx.log(f"drift: {column.name}, {effect.name} changed by {effect.size:.3f}, at least {effect.low:.3f}")
    for one in over.periods:
        if one.report.drifted:
            ctx.log(f"{one.start}: {_listed(one.report.drifted)} drifted")
        for part in one.report.segments:
            if part.report.drifted:
                ctx.log(f"{one.start}, {part.by} {part.segment}: {_listed(part.report.drifted)} drifted")
    for part in report.segments:
        if part.report.drifted:
            ctx.log(f"{part.by} {part.segment}: {_listed(part.report.drifted)} drifted")
    ctx.metric("columns_drifted", len(report.drifted))
    ctx.metric("columns_undecided", len(report.undecided))
    if report.segments:
        ctx.metric("segments_drifted", len(report.drifted_segments))
    for step, one in enumerate(over.periods):
        ctx.metric("columns_drifted_in_period", len(one.report.drifted), step=step)
        if one.report.segments:
            ctx.metric("segments_drifted_in_period", len(one.report.drifted_segments), step=step)


def _listed(names: tuple[str, ...]) -> str:
    few = ", ".join(names[:5])
    return few if len(names) <= 5 else f"{few} and {len(names) - 5} more"
