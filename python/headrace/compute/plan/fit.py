"""Fits a plan: looks at each column of the training frame, chooses its steps, and writes down why."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from headrace.compute.plan.config import ColumnConfig, FeatureConfig, Part, TreatAs, select
from headrace.compute.plan.document import (
    BooleanStep,
    CategoryStep,
    Choice,
    Column,
    FrequencyStep,
    NumberStep,
    PlanDocument,
    SecondsStep,
    Step,
    TimeCycleStep,
    TimePartStep,
    Transform,
)
from headrace.compute.plan.keys import key_text
from headrace.compute.plan.nearest import did_you_mean
from headrace.compute.plan.read import column_of
from headrace.compute.plan.target import fit_target
from headrace.compute.plan.transforms import raw_inputs
from headrace.compute.plan.types import Family, family, type_name
from headrace.compute.plan.types import time_zone as zone_of
from headrace.compute.plan.values import number, seconds, time_part
from headrace.errors import ConfigError, DataError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    import numpy.typing as npt
    import polars as pl

    from headrace.types import Task

_FEW_VALUES: Final = 10
"""A column with so few values is never near-unique, however few rows there are."""
_MOST_COUNTS: Final = 50_000
"""A frequency step keeps so many values; the rarer ones count as unseen."""
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
_SUITS: Final[Mapping[TreatAs, frozenset[Family]]] = {
    "number": frozenset({"integer", "float"}),
    "boolean": frozenset({"boolean"}),
    "category": frozenset({"string", "integer", "boolean"}),
    "frequency": frozenset({"string", "integer", "boolean"}),
    "time": frozenset({"date", "datetime", "time"}),
    "duration": frozenset({"duration"}),
}
_AUTO: Final[Mapping[Family, TreatAs]] = {
    "integer": "number",
    "float": "number",
    "boolean": "boolean",
    "string": "category",
    "date": "time",
    "datetime": "time",
    "time": "time",
    "duration": "duration",
}


@dataclass
class _Column:
    """A column on its way to steps. `forced`: a person said what it is, so it is not dropped for being dull.

    `series` does not have the column's name: polars takes `^a$` and `*` for patterns, also as the name of a series.
    """

    name: str
    series: pl.Series
    family: Family
    config: ColumnConfig
    shared: FeatureConfig
    names: _Names
    steps: list[Step] = field(default_factory=list)

    @property
    def forced(self) -> bool:
        return self.config.treat_as is not None

    def dropped(self, reason: str) -> Choice:
        self.steps.clear()
        return Choice(column=self.name, decision="dropped", reason=reason)


class _Names:
    """Gives out output names: a column's own name to what it passes through, else a name that is not taken."""

    def __init__(self, frame: pl.DataFrame) -> None:
        self.taken = set(frame.columns)

    def derived(self, name: str) -> str:
        made, again = name, 2
        while made in self.taken:
            made, again = f"{name}~{again}", again + 1
        self.taken.add(made)
        return made


def fit(
    frame: pl.DataFrame, *, target: str, task: Task, settings: FeatureConfig, transforms: Sequence[Transform] = ()
) -> PlanDocument:
    """Fit a plan; see `FeaturePlan.fit`. `frame` has the columns that `transforms` gave, too."""
    label = fit_target(column_of(frame, target), task)
    families = {name: family(type_name(dtype)) for name, dtype in frame.schema.items()}
    not_features = _excluded(settings, families, target)
    names = _Names(frame)
    choices: list[Choice] = []
    steps: list[Step] = []
    inputs: list[Column] = []
    for series in frame.get_columns():
        if series.name in not_features:
            choices.append(Choice(column=series.name, decision="excluded", reason=not_features[series.name]))
            continue
        own = settings.columns.get(series.name, ColumnConfig())
        column = _Column(series.name, series.alias("value"), families[series.name], own, settings, names)
        choices.append(_choose(column))
        if column.steps:
            steps += column.steps
            nullable = _has_missing(column.series)
            inputs.append(Column(name=series.name, type=type_name(series.dtype), nullable=nullable))
    if not steps:
        _refuse_nothing(frame, choices)
    return PlanDocument.make(
        inputs=raw_inputs(inputs, transforms),
        transforms=tuple(transforms),
        steps=tuple(steps),
        target=label,
        choices=tuple(choices),
        config=settings.model_dump(mode="json", exclude_defaults=True),
    )


def _excluded(settings: FeatureConfig, families: Mapping[str, Family], target: str) -> dict[str, str]:
    """Columns that are no features by decree, with the reason."""
    for name in settings.columns:
        if name not in families:
            raise ConfigError(
                f"the frame has no column {name!r}", place="[features] columns", hint=did_you_mean(name, list(families))
            )
    reasons: dict[str, str] = {}
    if settings.include:
        kept = select(settings.include, families, key="include")
        reasons |= dict.fromkeys(families.keys() - kept, "not named by `include`")
    reasons |= dict.fromkeys(select(settings.exclude, families, key="exclude"), "named by `exclude`")
    ids = select([f"name:{name}" for name in settings.id_columns], families, key="id_columns")
    reasons |= dict.fromkeys(ids, "identifies a row (`id_columns`)")
    reasons[target] = "the target"
    return reasons


def _refuse_nothing(frame: pl.DataFrame, choices: list[Choice]) -> None:
    dropped = [choice for choice in choices if choice.decision == "dropped"]
    if not dropped:
        raise DataError(
            f"of {frame.width} columns none is left to be a feature: all are excluded, or the target",
            hint="Look at `include`, `exclude` and `id_columns` in [features].",
        )
    lines = "".join(f"\n    {choice.column!r}: {choice.reason}" for choice in dropped[:10])
    more = f"\n    and {len(dropped) - 10} more" if len(dropped) > 10 else ""
    raise DataError(
        f"no column is left to be a feature; dropped were:{lines}{more}",
        hint='Keep one all the same with `columns.NAME.treat_as = "category"` (or number, time, ...) in [features].',
    )


def _choose(column: _Column) -> Choice:
    kind = column.config.treat_as or _AUTO.get(column.family)
    if kind == "drop":
        return column.dropped("named in `columns`")
    if kind is None:
        if column.family == "null":
            return column.dropped("null in every row")
        return column.dropped(f"no transformation for the type {type_name(column.series.dtype)}")
    if column.family not in _SUITS[kind]:
        possible = [word for word, families in _SUITS.items() if column.family in families] or ["drop"]
        raise ConfigError(
            f'the column {column.name!r} has the type {type_name(column.series.dtype)}, which cannot be "{kind}"',
            place=f"[features] columns.{column.name}",
            hint=f"Possible: {', '.join(possible)}.",
        )
    return {
        "number": _number,
        "boolean": _boolean,
        "category": _category,
        "frequency": _frequency,
        "time": _time,
        "duration": _duration,
    }[kind](column)


# --- kinds ----------------------------------------------------------------------------------------------------------


def _number(column: _Column) -> Choice:
    import numpy as np
    import polars as pl

    column.steps.append(NumberStep(input=column.name, output=column.name))
    values = number(column.series)
    if not column.forced:
        if reason := _dull(values):
            return column.dropped(reason)
        if reason := _row_number(column):
            return column.dropped(reason)
    notes = [f"{type_name(column.series.dtype)}, as it is"]
    if infinite := int(np.isinf(values).sum()):
        notes.append(f"{infinite} infinite in float32")
    exact = column.series.cast(pl.Float64).to_numpy()
    with np.errstate(invalid="ignore"):
        rounded = int(((np.abs(exact) > _EXACT) & np.isfinite(values) & (values != exact)).sum())
    if rounded:
        notes.append(f"{rounded} values beyond 2^24 are rounded to float32")
    return _kept(column, "number", notes)


def _boolean(column: _Column) -> Choice:
    column.steps.append(BooleanStep(input=column.name, output=column.name))
    if not column.forced and (reason := _dull(number(column.series))):
        return column.dropped(reason)
    return _kept(column, "boolean", ["0 and 1"])


def _duration(column: _Column) -> Choice:
    column.steps.append(SecondsStep(input=column.name, output=column.name))
    if not column.forced and (reason := _dull(seconds(column.series))):
        return column.dropped(reason)
    return _kept(column, "duration", ["seconds"])


def _category(column: _Column) -> Choice:
    counts, present = _counts(column.series)
    limit = column.config.max_categories or column.shared.max_categories
    least = column.config.min_category_count or column.shared.min_category_count
    if not column.forced:
        if reason := _dull_text(column, counts, present):
            return column.dropped(reason)
        covered = sum(count for _, count in counts[:limit])
        if len(counts) > limit and covered * 2 < present:
            return _frequency(column, f"{len(counts)} values, too many for {limit} codes")
    vocabulary = tuple(text for text, count in counts[:limit] if count >= least)
    size = len(vocabulary)
    column.steps.append(
        CategoryStep(inputs=(column.name,), output=column.name, vocabulary=vocabulary, missing=size, unseen=size + 1)
    )
    notes = [f"{len(counts)} values in {present} rows"]
    if size < len(counts):
        known = sum(count for _, count in counts[:size])
        notes.append(
            f"the {size} most frequent have a code ({known / max(present, 1):.0%} of the rows), the others share one"
        )
    return _kept(column, "category", notes)


def _frequency(column: _Column, why: str | None = None) -> Choice:
    counts, present = _counts(column.series)
    least = max(
        column.config.min_category_count or column.shared.min_category_count, 2 if len(counts) > _MOST_COUNTS else 1
    )
    kept = tuple((text, count) for text, count in counts[:_MOST_COUNTS] if count >= least)
    column.steps.append(
        FrequencyStep(
            inputs=(column.name,),
            output=column.names.derived(f"{column.name}.frequency"),
            counts=kept,
            rows=max(len(column.series), 1),
        )
    )
    if not column.forced and present == len(column.series) and len({count for _, count in counts}) == 1:
        return column.dropped(f"{len(counts)} values, all equally frequent")
    notes = [why or f"{len(counts)} values in {present} rows", "share of the training rows with the same value"]
    if len(kept) < len(counts):
        notes.append(f"{len(counts) - len(kept)} rare values count as unseen")
    return _kept(column, "frequency", notes)


def _time(column: _Column) -> Choice:
    parts = column.config.time_parts or column.shared.time_parts
    cyclical = column.shared.cyclical if column.config.cyclical is None else column.config.cyclical
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
        name = f"{column.name}.{part}"
        column.steps.append(
            TimePartStep(input=column.name, output=column.names.derived(name), part=part, time_zone=zone)
        )
        if cyclical and part in _CYCLES:
            column.steps += _waves(column, name, part, zone)
    notes = [", ".join(used)]
    if column.family == "datetime":
        notes.append(f"in {zone}" if zone else "no time zone, read as it stands")
    if constant := [part for part in possible if part not in used]:
        notes.append(f"never changing: {', '.join(constant)}")
    return _kept(column, "time", notes)


# --- what is looked at -----------------------------------------------------------------------------------------------


def _kept(column: _Column, decision: TreatAs, notes: list[str]) -> Choice:
    if missing := column.series.null_count():
        notes.append(f"{missing} missing")
    if column.forced:
        notes.append("as named in `columns`")
    outputs = tuple(name for step in column.steps for name in step.gives)
    return Choice.model_validate(
        {"column": column.name, "decision": decision, "reason": "; ".join(notes), "outputs": outputs}
    )


def _dull(values: npt.NDArray[np.float32] | npt.NDArray[np.float64]) -> str | None:
    """Why a column of numbers can teach nothing, or None. One value and some missing do teach something."""
    import numpy as np

    missing = np.isnan(values)
    if missing.all():
        return "no value in any row"
    if not missing.any() and (values == values[0]).all():
        return f"constant ({values[0]:g})"
    return None


def _dull_text(column: _Column, counts: list[tuple[str, int]], present: int) -> str | None:
    if not counts:
        return "null in every row"
    if len(counts) == 1 and present == len(column.series):
        return f"constant ({_short(counts[0][0])})"
    if len(counts) > _FEW_VALUES and len(counts) >= column.shared.near_unique * present:
        guess = _guess(column.series)
        return f"{len(counts)} different values in {present} rows: an identifier or free text{guess}"
    return None


def _row_number(column: _Column) -> str | None:
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


def _guess(series: pl.Series) -> str:
    """What texts that are all different may be, as an addition to the reason."""
    import polars as pl

    sample = key_text(series.drop_nulls().head(1000))
    if sample.cast(pl.Float64, strict=False).is_not_null().all():
        return "; all are numbers: read the column as numbers to use it"
    if sample.str.contains(r"^\d{4}-\d{2}-\d{2}").all():
        return "; all look like dates: read the column as dates to use it"
    return ""


def _counts(series: pl.Series) -> tuple[list[tuple[str, int]], int]:
    """Texts with their counts, most frequent first, equal counts by code point; and the rows that are not null."""
    import polars as pl

    present = key_text(series.drop_nulls()).alias("text")
    counts = present.value_counts().sort(by=["count", "text"], descending=[True, False])
    return list(zip(counts["text"].to_list(), counts["count"].cast(pl.Int64).to_list(), strict=True)), len(present)


def _has_missing(series: pl.Series) -> bool:
    return bool(series.null_count()) or (series.dtype.is_float() and bool(series.is_nan().any()))


def _has_part(kind: Family, part: Part) -> bool:
    return kind == "datetime" or (part in _CLOCK) == (kind == "time")


def _time_zone(column: _Column) -> str | None:
    import zoneinfo

    own = zone_of(type_name(column.series.dtype))
    wanted = column.config.time_zone or (column.shared.time_zone if own else None)
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


def _waves(column: _Column, name: str, part: Part, zone: str | None) -> list[Step]:
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
                    "output": column.names.derived(f"{name}.{wave}"),
                    "part": part,
                    "time_zone": zone,
                    "wave": wave,
                    "first": first,
                    "table": table,
                }
            )
        )
    return made


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:37]}...")
