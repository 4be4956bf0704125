"""`trigger: performance`: the champion is worse on live rows, whose labels are known by now, than it was promised."""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field, field_validator

from headrace import Fired, Predictor, TriggerContext, errors, metrics

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

    from headrace import PackageView

_SURE = 4.0
_LEAST = 20


class PerformanceTrigger:
    """Measures the champion on labelled live rows since the last run, and compares with a bound.

    The bound is `bound`, or else `worse_by` beyond the value that the champion had on its test rows (beyond the worse
    end of that value's interval, so that a lucky test is no reason to train). It fires when the whole bootstrap
    interval of the live value, at `level`, is beyond the bound. Where the errors of the rows, in the order of time,
    surely rise at one place, that is told as the moment of the change.
    """

    class Config(BaseModel):
        """Settings of `trigger:performance`."""

        model_config = ConfigDict(extra="forbid", frozen=True)

        metric: str | None = Field(default=None, description="Default: the metric that the champion was judged by.")
        bound: float | None = Field(default=None, description="The worst value that is accepted.")
        worse_by: float = Field(default=0.1, ge=0, description="Without `bound`: a share of the champion's own value.")
        resample_by: str | None = Field(
            default=None,
            description="A column whose rows of one value are drawn together, as flights of a day share its weather. "
            "The moment of a change is then not looked for: a bad day is none.",
        )
        days: float = Field(default=28.0, gt=0, description="Rows of the last so many days, after the last run.")
        min_rows: int = Field(default=100, ge=10, description="With fewer labelled rows it is not looked.")
        level: float = Field(default=0.995, gt=0.5, lt=1, description="How sure.")
        replicates: int = Field(default=400, ge=100, description="Bootstrap replicates.")

        @field_validator("metric")
        @classmethod
        def _known(cls, metric: str | None) -> str | None:
            if metric is not None and metric not in metrics.METRICS:
                raise ValueError(f"'{metric}' is not a metric; known are {', '.join(metrics.METRICS)}")
            return metric

    def __init__(self, config: Config) -> None:
        self.config = config

    def check(self, ctx: TriggerContext) -> Fired | None:
        """Predict the labelled rows, resample, compare."""
        config = self.config
        if ctx.live is None or ctx.champion is None:
            return None
        frame = ctx.live.rows(max(ctx.since, ctx.now - dt.timedelta(days=config.days)), ctx.now)
        frame = frame.filter(frame[ctx.live.target].is_not_null())
        if frame.height < config.min_rows:
            return None
        name = config.metric or str(ctx.champion.manifest["about"]["primary"]["metric"])
        bound = config.bound if config.bound is not None else _bound(ctx.champion, name, config.worse_by)
        predictor = Predictor.from_package(ctx.champion, threads=ctx.threads, transforms=ctx.transforms)
        truth = predictor.plan.encode_target(frame, strict=False)
        known = truth.is_not_null()
        frame, truth = frame.filter(known), truth.filter(known)
        if bound is None or frame.height < config.min_rows:
            return None
        scored = metrics.Scored(predictor.plan.task, truth.to_numpy(), predictor.scores(frame))
        units = _units(frame, config.resample_by)
        drawing = metrics.Resampling(frame.height, replicates=config.replicates, seed=[11, frame.height], units=units)
        draws = metrics.replicate([scored], [name], drawing)
        value = metrics.measure(scored, name)
        interval = metrics.percentile(draws[:, 0, 0], 2 * config.level - 1)
        if isinstance(value, metrics.Undefined) or isinstance(interval, metrics.Undefined):
            return None
        best = {"higher": interval.high, "lower": interval.low}.get(metrics.METRICS[name].better)
        if best is None:
            best = min(abs(interval.low), abs(interval.high)) if interval.low * interval.high > 0 else 0.0
        if not float(metrics.gain(name, bound, best)) > 0:
            return None
        title = metrics.METRICS[name].title
        why = f"{title} of version {ctx.champion.version.number} is {value:.4g} on {frame.height:,} labelled rows"
        evidence: dict[str, str | float] = {"metric": name, "value": float(value), "bound": bound, "rows": frame.height}
        evidence |= {"low": interval.low, "high": interval.high}
        split = change_point(_errors(scored)) if units is None else None
        changed = None if split is None else _moment(frame[ctx.live.time_column][split])
        return Fired(f"{why}; {bound:.4g} is the bound", evidence, lasting=True, changed=changed)


def change_point(errors: NDArray[np.float64]) -> int | None:
    """The place from which on the errors are higher: the split whose two means differ most, in standard errors.

    `errors` [N] in the order of time. None where the rise is less than four standard errors at its best split, which
    chance alone gives less than once in a hundred series (the maximum of the standardised CUSUM; Csorgo and Horvath
    1997, Limit Theorems in Change-Point Analysis), or where fewer than 20 rows lie on one side of it.
    """
    import numpy as np

    count = len(errors)
    if count < 2 * _LEAST:
        return None
    before = np.arange(_LEAST, count - _LEAST + 1)
    sums, squares = np.cumsum(errors)[before - 1], np.cumsum(errors**2)[before - 1]
    after = count - before
    rest, others = errors.sum() - sums, (errors**2).sum() - squares
    means = sums / before, rest / after
    # Within each side: a change that is there must not count as noise.
    spread = (squares - sums * means[0] + others - rest * means[1]) / (count - 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        rise = np.nan_to_num((means[1] - means[0]) / np.sqrt(np.maximum(spread, 0.0) * (1 / before + 1 / after)))
    best = int(np.argmax(rise))
    return int(before[best]) if rise[best] > _SURE else None


def _units(frame: pl.DataFrame, column: str | None) -> NDArray[np.intp] | None:
    """A code 0..G-1 for each row by the value of a column; null is a value."""
    import numpy as np

    if column is None:
        return None
    if column not in frame.columns:
        place = "[loop.triggers] performance: resample_by"
        raise errors.ConfigError(
            f"the live rows have no column {column!r}", place=place, hint="Name one that they have."
        )
    ranks = frame[column].rank("dense").fill_null(0).to_numpy()
    return np.unique(ranks, return_inverse=True)[1].astype(np.intp)


def _errors(scored: metrics.Scored) -> NDArray[np.float64]:
    """How far off each row was: bounded for classes, in the target's unit for numbers."""
    import numpy as np

    if scored.task == "regression":
        return np.abs(np.asarray(scored.truth, dtype=np.float64) - scored.scores)
    return 1.0 - scored.scores[np.arange(len(scored.truth)), np.asarray(scored.truth, dtype=np.int64)]


def _moment(value: dt.date) -> dt.datetime:
    """A value of a column of dates or times; without a zone it is UTC."""
    if not isinstance(value, dt.datetime):
        value = dt.datetime(value.year, value.month, value.day)  # noqa: DTZ001  # given its zone below
    return value.replace(tzinfo=dt.UTC) if value.tzinfo is None else value.astimezone(dt.UTC)


def _bound(package: PackageView, name: str, worse_by: float) -> float | None:
    """What the champion had on its test rows, at the worse end of the interval, made worse by a share of it."""
    found = json.loads(package.read("metrics.json"))["metrics"].get(name)
    if not found or found.get("value") is None:
        return None
    better = metrics.METRICS[name].better
    if better == "zero":
        return None
    end = found.get("low" if better == "higher" else "high")
    start = float(found["value"] if end is None else end)
    return start - abs(start) * worse_by if better == "higher" else start + abs(start) * worse_by
