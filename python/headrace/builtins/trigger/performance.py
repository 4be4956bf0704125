"""`trigger: performance`: the champion is worse on live rows, whose labels are known by now, than it was promised."""

from __future__ import annotations

import datetime as dt
import json
import math
from statistics import NormalDist
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field, field_validator

from headrace import Fired, Predictor, TriggerContext, errors, metrics
from headrace.builtins.trigger.windows import windows

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

    from headrace import PackageView

_SURE = 4.0
_LEAST = 20
_NORMAL = 1000


class PerformanceTrigger:
    """Measures the champion on labelled live rows since the last run, and compares with a bound.

    The bound is `bound`, or else `worse_by` beyond the value that the champion had on its test rows (beyond the worse
    end of that value's interval, so that a lucky test is no reason to train). However often it looks, a champion that
    is not worse than the bound fires with probability 1 - `level` at most until the next run: the labelled rows since
    the last one are cut into windows of `min_rows`, of twice as many and so on, in the order of time, and each that is
    full has its share of that (as in `trigger:drift`). It fires when the whole interval of the metric in a window is
    beyond the bound: Student's t over the standard error of the bootstrap (Efron and Tibshirani 1993, chapter 12),
    since no percentile of some hundred replicates reaches so far. Labels that come in out of turn move rows from one
    window to the next; the budget is exact where they come in the order of the rows, however late. Where the errors of
    the rows surely rise at one place, that is told as the moment of the change.
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
        days: float = Field(default=28.0, gt=0, description="Windows of the last so many days, after the last run.")
        min_rows: int = Field(
            default=100, ge=10, description="Labelled rows of the shortest window; with fewer it is not looked."
        )
        level: float = Field(
            default=0.95, gt=0.5, lt=1, description="How sure, over all looks between two runs together."
        )
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
        start = max(ctx.since, ctx.now - dt.timedelta(days=config.days))
        frame = _labelled(ctx.live.rows(ctx.since, ctx.now), ctx.live.target)
        recent = _labelled(ctx.live.rows(start, ctx.now), ctx.live.target).height
        found = list(windows(frame, recent, config.min_rows))
        if not found:
            return None
        name = config.metric or str(ctx.champion.manifest["about"]["primary"]["metric"])
        bound = config.bound if config.bound is not None else _bound(ctx.champion, name, config.worse_by)
        if bound is None:
            return None
        predictor = Predictor.from_package(ctx.champion, threads=ctx.threads, transforms=ctx.transforms)
        metrics.known(name, predictor.plan.task, place="[loop.triggers] performance: metric")
        for rows, share in found:
            scored, known = _scored(predictor, rows)
            if scored is None or scored.rows < config.min_rows / 2:
                continue
            interval = self._interval(scored, name, _units(known, config.resample_by), (1 - config.level) * share)
            if interval is None or not _beyond(name, bound, interval):
                continue
            value = metrics.measure(scored, name)
            if isinstance(value, metrics.Undefined):
                continue
            title = metrics.METRICS[name].title
            why = f"{title} of version {ctx.champion.version.number} is {value:.4g} on {scored.rows:,} labelled rows"
            evidence: dict[str, str | float] = {"metric": name, "value": float(value), "bound": bound}
            evidence |= {"rows": scored.rows, "low": interval.low, "high": interval.high}
            # A run in between does not make the world another one: what came before it tells since when it is.
            before = _labelled(ctx.live.rows(ctx.now - dt.timedelta(days=config.days), ctx.now), ctx.live.target)
            changed = None if config.resample_by else _changed(ctx.live.time_column, predictor, before)
            return Fired(f"{why}; {bound:.4g} is the bound", evidence, lasting=True, changed=changed)
        return None

    def _interval(
        self, scored: metrics.Scored, name: str, units: NDArray[np.intp] | None, alpha: float
    ) -> metrics.Interval | None:
        """The interval of the metric of which each end is passed with probability `alpha`; None where there is none."""
        import numpy as np

        replicates = self.config.replicates
        drawing = metrics.Resampling(scored.rows, replicates=replicates, seed=[11, scored.rows], units=units)
        draws = metrics.replicate([scored], [name], drawing)[:, 0, 0]
        value = metrics.measure(scored, name)
        known = metrics.percentile(draws, 0.5)
        if isinstance(value, metrics.Undefined) or isinstance(known, metrics.Undefined) or drawing.count < 2:
            return None
        # What is drawn from G groups varies by (G - 1)/G less than what they were drawn from.
        spread = float(np.std(draws[np.isfinite(draws)])) * math.sqrt(drawing.count / (drawing.count - 1))
        reach = spread * student_quantile(alpha, drawing.count - 1)
        return metrics.Interval(float(value) - reach, float(value) + reach)


def _changed(time: str, predictor: Predictor, frame: pl.DataFrame) -> dt.datetime | None:
    """Since when the champion's errors are greater."""
    scored, known = _scored(predictor, frame)
    split = None if scored is None else change_point(_errors(scored))
    return None if split is None else _moment(known[time][split])


def _labelled(frame: pl.DataFrame, target: str) -> pl.DataFrame:
    return frame.filter(frame[target].is_not_null())


def _scored(predictor: Predictor, frame: pl.DataFrame) -> tuple[metrics.Scored | None, pl.DataFrame]:
    """The champion's scores of the rows whose label it knows (None: of none), and those rows."""
    truth = predictor.plan.encode_target(frame, strict=False)
    known = truth.is_not_null()
    frame, truth = frame.filter(known), truth.filter(known)
    if not frame.height:
        return None, frame
    return metrics.Scored(predictor.plan.task, truth.to_numpy(), predictor.scores(frame)), frame


def _beyond(name: str, bound: float, interval: metrics.Interval) -> bool:
    """Whether even the better end of the interval is worse than the bound."""
    best = {"higher": interval.high, "lower": interval.low}.get(metrics.METRICS[name].better)
    if best is None:
        best = min(abs(interval.low), abs(interval.high)) if interval.low * interval.high > 0 else 0.0
    return float(metrics.gain(name, bound, best)) > 0


def student_quantile(tail: float, freedom: int) -> float:
    """What Student's t with `freedom` degrees passes with probability `tail`, for 0 < tail < 0.5.

    Bisection of the finite sums for whole degrees of freedom (Abramowitz and Stegun, 26.7.3 and 26.7.4); from a
    thousand degrees on the normal distribution.
    """
    if freedom >= _NORMAL:
        return NormalDist().inv_cdf(1 - tail)
    low, high = 0.0, math.pi / 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _tail(middle, freedom) > tail else (low, middle)
    return math.tan(high) * math.sqrt(freedom)


def _tail(angle: float, freedom: int) -> float:
    """The probability of more than tan(angle) * sqrt(freedom)."""
    odd = freedom % 2
    power = math.cos(angle) if odd else 1.0
    total = power if freedom > 1 else 0.0
    for at in range(3 if odd else 2, freedom - 1, 2):
        power *= math.cos(angle) ** 2 * ((at - 1) / at)
        total += power
    inside = 2 / math.pi * (angle + math.sin(angle) * total) if odd else math.sin(angle) * total
    return (1 - inside) / 2


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
    """As `metrics.groups`, of a column that the live rows must have."""
    if column is not None and column not in frame.columns:
        place = "[loop.triggers] performance: resample_by"
        raise errors.ConfigError(
            f"the live rows have no column {column!r}", place=place, hint="Name one that they have."
        )
    return metrics.groups(frame, column)


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
