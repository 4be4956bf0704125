"""How two versions do on the same labelled live rows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

    from headrace.loop.policy import WatchPolicy
    from headrace.types import PackageView, TransformSource

REPLICATES = 300


@dataclass(frozen=True)
class Judgement:
    """What the watch found: `harm` is why to roll back, or None; `evidence` the numbers (JSON, finite)."""

    harm: str | None
    evidence: dict[str, Any]


def primary(package: PackageView) -> str:
    """The metric that a version was judged by."""
    return str(package.manifest["about"]["primary"]["metric"])


def judge(
    new: PackageView,
    old: PackageView | None,
    frame: pl.DataFrame,
    policy: WatchPolicy,
    transforms: TransformSource,
    *,
    gate_groups: str | None = None,
) -> Judgement:
    """The new champion against the one before it and against the bound, by a paired bootstrap of the rows.

    `frame` are rows whose label is known. Where there is no version before, or it cannot predict them, only the bound
    counts.
    `gate_groups`: the gate's `resample_by`, which counts where the policy says nothing. `DataError`: the rows do not
    have the column that the policy names.
    """
    import numpy as np

    from headrace.compute import metrics
    from headrace.compute.inference import Predictor
    from headrace.errors import DataError

    name = policy.metric or primary(new)
    ours = Predictor.from_package(new, transforms=transforms)
    truth = ours.plan.encode_target(frame, strict=False)
    known = truth.is_not_null()
    frame, truth = frame.filter(known), truth.filter(known)
    evidence: dict[str, Any] = {"metric": name, "rows": frame.height}
    if frame.height < policy.min_rows:
        return Judgement(None, evidence)
    by = _drawn_by(frame, policy.resample_by, gate_groups)
    units = metrics.groups(frame, by)
    if by is not None and units is not None:
        count = int(units.max()) + 1
        evidence |= {"resampled_by": by, "groups": count}
        # All of n groups lie on one side by chance once in 2^n, and the bootstrap of so few would call that sure.
        if count < -math.log2(1 - policy.level):
            return Judgement(None, evidence)
    values = np.asarray(truth.to_numpy())
    samples = [metrics.Scored(ours.plan.task, values, ours.scores(frame))]
    theirs = None if old is None else Predictor.from_package(old, transforms=transforms)
    if theirs is not None and theirs.plan.task == ours.plan.task and theirs.plan.classes == ours.plan.classes:
        try:
            samples.append(metrics.Scored(ours.plan.task, values, theirs.scores(frame)))
        except DataError as error:
            evidence["before_cannot_predict"] = str(error.message)
    resampling = metrics.Resampling(frame.height, replicates=REPLICATES, seed=[13, frame.height], units=units)
    draws = metrics.replicate(samples, [name], resampling)
    level = 2 * policy.level - 1
    measured = [metrics.measure(sample, name) for sample in samples]
    interval = metrics.percentile(draws[:, 0, 0], level)
    if any(isinstance(value, metrics.Undefined) for value in measured) or isinstance(interval, metrics.Undefined):
        return Judgement(None, evidence)
    evidence |= {"value": float(measured[0]), "low": interval.low, "high": interval.high}  # type: ignore[arg-type]
    title = f"{metrics.METRICS[name].title} of version {new.version.number} on {frame.height:,} labelled rows"
    harm: str | None = None
    if policy.bound is not None:
        ends = metrics.gain(name, [interval.low, interval.high], [policy.bound, policy.bound])
        evidence["bound"] = policy.bound
        if float(ends.max()) < 0:
            harm = f"{title} is {evidence['value']:.4g}, surely worse than the bound {policy.bound:.4g}"
    if len(samples) == 2 and old is not None:
        gains = metrics.percentile(metrics.gain(name, draws[:, 0, 0], draws[:, 1, 0]), level)
        evidence |= {"before": float(measured[1]), "version_before": old.version.number}  # type: ignore[arg-type]
        if not isinstance(gains, metrics.Undefined):
            evidence |= {"gain_low": gains.low, "gain_high": gains.high}
            if harm is None and policy.margin is not None and gains.high < -policy.margin:
                was = f"{evidence['before']:.4g} of version {old.version.number}"
                harm = f"{title} is {evidence['value']:.4g}, surely worse than {was} on the same rows"
    return Judgement(harm, evidence)


def _drawn_by(frame: pl.DataFrame, asked: str | None, gate_groups: str | None) -> str | None:
    """The column whose groups are drawn; None: single rows. Live rows need not have all the gate's columns."""
    from headrace.errors import DataError

    if asked:
        if asked not in frame.columns:
            raise DataError(
                f"there is no column {asked!r} to draw groups by",
                place="[loop.watch] resample_by",
                hint=f"The live rows have {', '.join(frame.columns[:20])}.",
            )
        return asked
    if asked is not None or gate_groups is None or gate_groups not in frame.columns:
        return None
    return gate_groups if frame[gate_groups].null_count() < frame.height else None
