"""Numbers, booleans, times and durations: the steps that each becomes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from headrace.compute.plan.context import dull
from headrace.compute.plan.document import (
    BinsStep,
    BooleanStep,
    NumberStep,
    SecondsStep,
    TimeCycleStep,
    TimePartStep,
)
from headrace.compute.plan.encoding import tells
from headrace.compute.plan.nearest import did_you_mean
from headrace.compute.plan.statistics import imputation, quantile_edges, quantiles
from headrace.compute.plan.types import time_zone as zone_of
from headrace.compute.plan.types import type_name
from headrace.compute.plan.values import conditioned, number, seconds, time_part
from headrace.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from headrace.compute.plan.config import Part
    from headrace.compute.plan.context import Subject
    from headrace.compute.plan.document import Choice, Scaling, Step
    from headrace.compute.plan.types import Family

_ID_ROWS: Final = 20
_EXACT: Final = 2.0**24
"""Up to here every whole number is a float32."""
_CYCLES: Final[Mapping[Part, tuple[int, int]]] = {
    "quarter": (1, 4),
    "month": (1, 12),
    "week": (1, 53),
    "day": (1, 31),
    "day_of_year": (1, 366),
    "day_of_week": (1, 7),
    "hour": (0, 24),
    "minute": (0, 60),
    "second": (0, 60),
}
"""First value and number of values of the periodic parts."""
_CLOCK: Final = frozenset({"hour", "minute", "second"})


def fit_number(column: Subject) -> Choice:
    """A number as it is, or imputed, clipped, as its logarithm, scaled."""
    import numpy as np

    config = column.config
    exact = conditioned(column.series)
    rounded = number(column.series)
    if not column.forced:
        if reason := dull(rounded):
            return column.dropped(reason)
        if not column.chosen and (reason := _row_number(column)):
            return column.dropped(reason)
    clip = quantiles(exact, config.clip_quantiles) if config.clip_quantiles else config.clip
    missing = np.isnan(exact)
    filler, _ = column.shared.finish(exact, config.impute, "none")
    about: dict[str, Any] = {"clip": clip, "log": config.log, "impute": filler}
    step = NumberStep(input=column.name, output=column.name, **about)
    _, scaling = column.shared.finish(conditioned(column.series, step), "none", config.scale)
    wanted = column.linear and tells(missing, column.shared.labels) if config.indicator is None else config.indicator
    indicator = column.derived(".missing") if wanted else None
    step = NumberStep(input=column.name, output=column.name, scaling=scaling, indicator=indicator, **about)
    column.steps.append(step)
    notes = [f"{type_name(column.series.dtype)}, {', '.join(_conditions(step)) or 'as it is'}"]
    if infinite := int(np.isinf(rounded).sum()):
        notes.append(f"{infinite} infinite in float32")
    with np.errstate(invalid="ignore"):
        inexact = int(((np.abs(exact) > _EXACT) & np.isfinite(rounded) & (rounded != exact)).sum())
    if inexact and scaling is None:
        notes.append(f"{inexact} values beyond 2^24 are rounded to float32")
    return column.kept("number", notes)


def _conditions(step: NumberStep) -> list[str]:
    """What is done to a number, in words."""
    words = [f"missing as {step.impute:g}"] if step.impute is not None else []
    if step.clip:
        low, high = ("open" if end is None else f"{end:g}" for end in step.clip)
        words.append(f"clipped to {low} .. {high}")
    words += ["marked where missing"] if step.indicator is not None else []
    return words + (["logarithm"] if step.log else []) + _scaled(step.scaling)


def _scaled(scaling: Scaling | None) -> list[str]:
    return [] if scaling is None else [f"less {scaling.center:g}, by {scaling.scale:g}"]


def fit_boolean(column: Subject) -> Choice:
    """0 and 1."""
    values = number(column.series).astype("f8")
    if not column.forced and (reason := dull(values)):
        return column.dropped(reason)
    how = column.config.impute if column.config.impute is not None else "most_frequent" if column.linear else "none"
    filler = imputation(values, how)
    column.steps.append(BooleanStep(input=column.name, output=column.name, impute=filler))
    return column.kept("boolean", ["0 and 1", *([] if filler is None else [f"missing as {filler:g}"])])


def fit_bins(column: Subject) -> Choice:
    """The position among edges: given ones, or quantiles."""
    import numpy as np

    values = conditioned(column.series)
    if not column.forced and (reason := dull(values)):
        return column.dropped(reason)
    wanted = column.config.bins
    edges = quantile_edges(values, wanted) if isinstance(wanted, int) else wanted
    found = np.searchsorted(np.array(edges), values, side="right").astype(np.float64)
    found[np.isnan(values)] = np.nan
    filler, scaling = column.shared.finish(found, column.config.impute, column.config.scale)
    name = column.derived(".bins")
    column.steps.append(BinsStep(input=column.name, output=name, edges=edges, impute=filler, scaling=scaling))
    how = "edges as given" if edges == wanted else "edges at quantiles"
    return column.kept("bins", [f"{len(edges) + 1} bins, {how}", *_scaled(scaling)])


def fit_duration(column: Subject) -> Choice:
    """Seconds."""
    values = seconds(column.series)
    if not column.forced and (reason := dull(values)):
        return column.dropped(reason)
    filler, scaling = column.shared.finish(values, column.config.impute, column.config.scale)
    column.steps.append(SecondsStep(input=column.name, output=column.name, impute=filler, scaling=scaling))
    return column.kept("duration", ["seconds", *_scaled(scaling)])


def fit_time(column: Subject) -> Choice:
    """Parts of a date, a datetime or a time of day."""
    import polars as pl

    config, shared = column.config, column.shared
    parts = config.time_parts or shared.config.time_parts
    cyclical = shared.config.cyclical if config.cyclical is None else config.cyclical
    zone = _time_zone(column)
    if column.series.null_count() == len(column.series):
        return column.dropped("null in every row")
    possible = [part for part in parts if _has_part(column.family, part)]
    found = {part: time_part(column.series, part, zone) for part in possible}
    used = [part for part in possible if column.forced or found[part].drop_nulls().n_unique() > 1]
    if not used and column.series.null_count():
        used = possible[:1]  # whether there is a date at all says something
    if not used:
        return column.dropped("the same in every row, in all the parts that `time_parts` names")
    for part in used:
        quantities = found[part].cast(pl.Float64).to_numpy()
        filler, scaling = shared.finish(quantities, config.impute, config.scale)
        step = TimePartStep(
            input=column.name,
            output=column.derived(f".{part}"),
            part=part,
            time_zone=zone,
            impute=filler,
            scaling=scaling,
        )
        column.steps.append(step)
        if (column.linear if cyclical is None else cyclical) and part in _CYCLES:
            column.steps += _waves(column, part, zone, filler)
    notes = [", ".join(used)]
    if column.family == "datetime":
        notes.append(f"in {zone}" if zone else "no time zone, read as it stands")
    if constant := [part for part in possible if part not in used]:
        notes.append(f"never changing: {', '.join(constant)}")
    return column.kept("time", notes)


def _row_number(column: Subject) -> str | None:
    """An integer that differs in every row and is named like an identifier would only be learnt by heart."""
    if column.family != "integer" or column.series.null_count() or len(column.series) < _ID_ROWS:
        return None
    words = column.name.replace("-", "_").replace(" ", "_").lower().strip("_").split("_")
    camel = column.name.endswith(("Id", "ID")) and len(column.name) > 2
    unnamed = not words[-1] or words[0] == "unnamed:"  # the index that pandas writes first
    named = camel or unnamed or words[-1] in {"id", "key", "uuid", "index", "idx", "rowid", "rownum", "nr"}
    if named and column.series.n_unique() == len(column.series):
        return "a different whole number in every row, and named like an identifier"
    return None


def _has_part(kind: Family, part: Part) -> bool:
    return kind == "datetime" or (part in _CLOCK) == (kind == "time")


def _time_zone(column: Subject) -> str | None:
    import zoneinfo

    own = zone_of(type_name(column.series.dtype))
    wanted = column.config.time_zone or (column.shared.config.time_zone if own else None)
    if wanted is not None and wanted not in zoneinfo.available_timezones():
        raise ConfigError(
            f"the time zone {wanted!r} is unknown",
            place="[features] time_zone",
            hint=did_you_mean(wanted, sorted(zoneinfo.available_timezones())),
        )
    if wanted is not None and own is None:
        raise ConfigError(
            f"the column {column.name!r} has no time zone, so it cannot be converted to {wanted!r}",
            place=f"[features] columns.{column.name}.time_zone",
            hint="Leave it out, or give the column a zone when it is read.",
        )
    return wanted or own


def _waves(column: Subject, part: Part, zone: str | None, filler: float | None) -> list[Step]:
    """Sine and cosine. What is missing stands in the middle of the circle, where the part has a number for it."""
    import numpy as np

    first, length = _CYCLES[part]
    angles = [2 * math.pi * step / length for step in range(length)]
    made: list[Step] = []
    for wave, function in (("sin", math.sin), ("cos", math.cos)):
        table = tuple(float(np.float32(function(angle))) for angle in angles)
        made.append(
            TimeCycleStep.model_validate(
                {
                    "input": column.name,
                    "output": column.derived(f".{part}.{wave}"),
                    "part": part,
                    "time_zone": zone,
                    "wave": wave,
                    "first": first,
                    "table": table,
                    "impute": None if filler is None else 0.0,
                }
            )
        )
    return made
