"""`trigger: drift`: live rows are not what the champion was made on."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from headrace import Fired, TriggerContext
from headrace import drift as drifts
from headrace.builtins.trigger.windows import windows


class DriftTrigger:
    """Compares the rows since the last run with the reference profile in the champion's package.

    A column drifted when it changed by more than `delta`, as in `monitor:drift`; with too few rows to tell, nothing
    fires. The inputs are compared within each segment of the reference too, where the package has any (`segments` of
    `register:package`). The inputs, the scores and the segments are questions with an equal part of the level each;
    over segments and their columns p-values are adjusted (Benjamini and Hochberg).

    However often it looks, rows without drift fire with probability `alpha` at most until the next run. The rows since
    the last one are cut, in the order of time, into windows of `min_rows`, of twice as many, four times as many and so
    on. Each is looked at when it is full, and has its share of `alpha`, whatever has been looked at before (Bonferroni;
    the shares fall as 1/k(k + 1)). So no row counts twice in windows of one length, and a window that is looked at
    again says the same again.
    """

    class Config(BaseModel):
        """Settings of `trigger:drift`."""

        model_config = ConfigDict(extra="forbid", frozen=True)

        delta: float = Field(default=0.1, gt=0, lt=1, description="The size of a change that does not matter.")
        alpha: float = Field(
            default=0.05, gt=0, lt=1, description="How often there may be a false alarm between two runs."
        )
        columns: tuple[str, ...] | None = Field(default=None, min_length=1, description="Which. Default: all.")
        scores: bool = Field(default=True, description="Whether what the model says is compared as well.")
        segments: bool = Field(
            default=True,
            description="Whether the inputs are compared within each segment of the reference too, where it has any.",
        )
        least: int = Field(
            default=1, ge=1, description="How many columns must have drifted, of all rows or within a segment."
        )
        days: float = Field(default=28.0, gt=0, description="Windows of the last so many days, after the last run.")
        min_rows: int = Field(
            default=200, ge=1, description="Rows of the shortest window; with fewer it is not looked."
        )

    def __init__(self, config: Config) -> None:
        self.config = config

    def check(self, ctx: TriggerContext) -> Fired | None:
        """Count the rows on the bins of the reference, compare."""
        config = self.config
        if ctx.live is None or ctx.champion is None:
            return None
        frame = ctx.live.rows(ctx.since, ctx.now)
        recent = ctx.live.rows(max(ctx.since, ctx.now - dt.timedelta(days=config.days)), ctx.now).height
        found = list(windows(frame, recent, config.min_rows))
        if not found:
            return None
        reference = drifts.Reference.of_package(
            ctx.champion, scores=config.scores, transforms=ctx.transforms, threads=ctx.threads
        )
        segmented = config.segments and reference.inputs.segmented_by is not None
        questions = 1 + (reference.scores is not None) + segmented
        options: dict[str, Any] = {"delta": config.delta, "columns": config.columns, "threads": ctx.threads}
        for rows, share in found:
            counted = reference.counted(rows, threads=ctx.threads)
            options["alpha"] = config.alpha * share / questions
            report = reference.compare(counted, **options)
            if segmented:
                report = replace(report, segments=reference.by_segment(counted, **options))
            if len({column.name for column in report.drifted_somewhere().values()}) >= config.least:
                return _fired(report, rows.height, ctx.champion.version.number)
        return None


def _fired(report: drifts.DriftReport, rows: int, version: int) -> Fired:
    found = report.drifted_somewhere()
    names = ", ".join(list(found)[:5]) + (" and others" if len(found) > 5 else "")
    why = f"{names} drifted from what version {version} was made on"
    evidence = {name: round(column.effect.low, 4) for name, column in list(found.items())[:20]}
    return Fired(why, {"rows": rows, "changed_by_at_least": evidence, "version": version}, lasting=True)
