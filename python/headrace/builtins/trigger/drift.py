"""`trigger: drift`: live rows are not what the champion was made on."""

from __future__ import annotations

import datetime as dt

from pydantic import BaseModel, ConfigDict, Field

from headrace import Fired, TriggerContext
from headrace import drift as drifts


class DriftTrigger:
    """Compares the rows since the last run with the reference profile in the champion's package.

    A column drifted when it changed by more than `delta`, at a false discovery rate of `alpha` over the columns, as in
    `monitor:drift`; with too few rows to tell, nothing fires.
    """

    class Config(BaseModel):
        """Settings of `trigger:drift`."""

        model_config = ConfigDict(extra="forbid", frozen=True)

        delta: float = Field(default=0.1, gt=0, lt=1, description="The size of a change that does not matter.")
        alpha: float = Field(default=0.05, gt=0, lt=1, description="The accepted share of false alarms among alarms.")
        columns: tuple[str, ...] | None = Field(default=None, min_length=1, description="Which. Default: all.")
        scores: bool = Field(default=True, description="Whether what the model says is compared as well.")
        least: int = Field(default=1, ge=1, description="How many columns must have drifted.")
        days: float = Field(default=28.0, gt=0, description="Rows of the last so many days, after the last run.")
        min_rows: int = Field(default=200, ge=1, description="With fewer rows it is not looked.")

    def __init__(self, config: Config) -> None:
        self.config = config

    def check(self, ctx: TriggerContext) -> Fired | None:
        """Count the rows on the bins of the reference, compare."""
        config = self.config
        if ctx.live is None or ctx.champion is None:
            return None
        frame = ctx.live.rows(max(ctx.since, ctx.now - dt.timedelta(days=config.days)), ctx.now)
        if frame.height < config.min_rows:
            return None
        reference = drifts.Reference.of_package(
            ctx.champion, scores=config.scores, transforms=ctx.transforms, threads=ctx.threads
        )
        windows = reference.counted(frame, threads=ctx.threads)
        report = reference.compare(
            windows, delta=config.delta, alpha=config.alpha, columns=config.columns, threads=ctx.threads
        )
        if len(report.drifted) < config.least:
            return None
        found = {column.name: round(column.effect.low, 4) for column in report.columns[: len(report.drifted)][:20]}
        names = ", ".join(report.drifted[:5]) + (" and others" if len(report.drifted) > 5 else "")
        version = ctx.champion.version.number
        why = f"{names} drifted from what version {version} was made on"
        return Fired(why, {"rows": frame.height, "changed_by_at_least": found, "version": version}, lasting=True)
