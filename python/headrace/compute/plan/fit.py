"""Fits a plan: looks at each column of the training frame, chooses its steps, and writes down why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

from headrace.compute.plan.config import (
    MOST_OUTPUTS,
    ColumnConfig,
    FeatureConfig,
    TreatAs,
    column_configs,
    named_exactly,
    select,
)
from headrace.compute.plan.context import Names, Shared, Subject, dull
from headrace.compute.plan.document import Choice, DifferenceStep, PlanDocument, Step, Transform
from headrace.compute.plan.encoding import Encoded, Labels
from headrace.compute.plan.fit_keys import fit_keys, fit_text
from headrace.compute.plan.fit_values import fit_bins, fit_boolean, fit_duration, fit_number, fit_time
from headrace.compute.plan.keys import cross_text, key_text
from headrace.compute.plan.nearest import did_you_mean
from headrace.compute.plan.read import column_of
from headrace.compute.plan.target import encode_target, fit_target
from headrace.compute.plan.transforms import about_column, raw_inputs
from headrace.compute.plan.types import Family, family, time_zone, type_name
from headrace.compute.plan.values import difference
from headrace.errors import ConfigError, DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import polars as pl

    from headrace.compute.plan.config import CrossConfig, DifferenceConfig
    from headrace.types import Task

_KEYED: Final[frozenset[Family]] = frozenset({"string", "integer", "float", "boolean", "date", "datetime", "time"})
_SUITS: Final[Mapping[TreatAs, frozenset[Family]]] = {
    "number": frozenset({"integer", "float"}),
    "boolean": frozenset({"boolean"}),
    "bins": frozenset({"integer", "float"}),
    "category": _KEYED,
    "one_hot": _KEYED,
    "frequency": _KEYED,
    "target": _KEYED,
    "bucket": _KEYED,
    "hash": _KEYED,
    "text": frozenset({"string"}),
    "time": frozenset({"date", "datetime", "time"}),
    "duration": frozenset({"duration"}),
}
_AUTO: Final[Mapping[Family, TreatAs]] = {
    "integer": "number",
    "float": "number",
    "boolean": "boolean",
    "date": "time",
    "datetime": "time",
    "time": "time",
    "duration": "duration",
}
_VALUES: Final[Mapping[TreatAs, Callable[[Subject], Choice]]] = {
    "number": fit_number,
    "boolean": fit_boolean,
    "bins": fit_bins,
    "time": fit_time,
    "duration": fit_duration,
    "text": fit_text,
}


@dataclass(frozen=True)
class Fitted:
    """A plan, and what cross-fitting needs to know of the training rows."""

    plan: PlanDocument
    labels: Labels
    folds: int
    encoded: tuple[Encoded, ...]


def fit(
    frame: pl.DataFrame, *, target: str, task: Task, settings: FeatureConfig, transforms: Sequence[Transform] = ()
) -> Fitted:
    """Fit a plan; see `FeaturePlan.fit`. `frame` has the columns that `transforms` gave, too."""
    label = fit_target(column_of(frame, target), task)
    families = {name: family(type_name(dtype)) for name, dtype in frame.schema.items()}
    not_features = _excluded(settings, families, target)
    own = column_configs(settings.columns, families)
    labels = Labels.of(encode_target(column_of(frame, target), label), label)
    shared = Shared(settings, settings.model_kind or "trees", label, labels, Names(frame.columns))
    choices: list[Choice] = []
    steps: list[Step] = []
    for series in frame.get_columns():
        name = series.name
        if name in not_features:
            choices.append(Choice(column=name, decision="excluded", reason=not_features[name]))
            continue
        subject = Subject(name, (name,), series.alias("value"), families[name], own.get(name, ColumnConfig()), shared)
        subject.forced = named_exactly(settings.columns, name)
        choices.append(_choose(subject))
        steps += subject.steps
    for index, cross in enumerate(settings.crosses):
        _check_columns(frame, not_features, cross.columns, f"crosses.{index}.columns")
        subject = _crossed(frame, families, cross, shared, index)
        choices.append(fit_keys(subject, cross.treat_as))
        steps += subject.steps
    for index, pair in enumerate(settings.differences):
        _check_columns(frame, not_features, (pair.later, pair.earlier), f"differences.{index}")
        choice, made = _difference(frame, families, pair, shared, index)
        choices.append(choice)
        steps += made
    if not steps:
        _refuse_nothing(frame, choices)
    _check_number(steps)
    read = {name for step in steps for name in step.reads}
    inputs = raw_inputs(
        (about_column(series.name, series) for series in frame.get_columns() if series.name in read), transforms
    )
    known = {column.name for column in inputs} | {column.name for about in transforms for column in about.gives}
    plan = PlanDocument.make(
        inputs=inputs,
        transforms=tuple(transforms),
        steps=tuple(steps),
        target=label,
        unread=tuple(name for name in frame.columns if name not in known),
        choices=tuple(choices),
        config=settings.given(),
    )
    return Fitted(plan, labels, settings.folds, tuple(shared.encoded))


def _excluded(settings: FeatureConfig, families: Mapping[str, Family], target: str) -> dict[str, str]:
    """Columns that are no features by decree, with the reason."""
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


def _check_number(steps: Sequence[Step]) -> None:
    outputs = [len(step.gives) for step in steps]
    if sum(outputs) > MOST_OUTPUTS:
        widest = steps[outputs.index(max(outputs))]
        raise ConfigError(
            f"the plan would have {sum(outputs):,} outputs, and {MOST_OUTPUTS:,} are possible; {max(outputs):,} come "
            f"from {', '.join(map(repr, widest.reads))} ({widest.op})",
            place="[features]",
            hint="Give it a smaller `size` or `max_categories`.",
        )


def _choose(column: Subject) -> Choice:
    wanted = column.config.treat_as
    kind = wanted or _AUTO.get(column.family)
    if wanted == "drop":
        return column.dropped("named in `columns`")
    if kind is None and column.family != "string":
        if column.family == "null":
            return column.dropped("null in every row")
        return column.dropped(f"no transformation for the type {type_name(column.series.dtype)}")
    if kind is not None and column.family not in _SUITS[kind]:
        possible = [word for word, families in _SUITS.items() if column.family in families] or ["drop"]
        raise ConfigError(
            f'the column {column.name!r} has the type {type_name(column.series.dtype)}, which cannot be "{kind}"',
            place=f"[features] columns.{column.name}",
            hint=f"Possible: {', '.join(possible)}.",
        )
    if kind is not None and kind in _VALUES:
        return _VALUES[kind](column)
    column.series = key_text(column.series)
    return fit_keys(column, kind)


# --- several columns -------------------------------------------------------------------------------------------------


def _check_columns(frame: pl.DataFrame, not_features: Mapping[str, str], names: tuple[str, ...], key: str) -> None:
    for name in names:
        if name not in frame.columns:
            raise ConfigError(
                f"the frame has no column {name!r}", place=f"[features] {key}", hint=did_you_mean(name, frame.columns)
            )
        if name in not_features:
            raise ConfigError(
                f"the column {name!r} is no feature, alone or combined: {not_features[name]}",
                place=f"[features] {key}",
                hint=f'To use it in combination only, set columns.{name}.treat_as = "drop" instead of excluding it.',
            )


def _crossed(
    frame: pl.DataFrame, families: Mapping[str, Family], cross: CrossConfig, shared: Shared, index: int
) -> Subject:
    for name in cross.columns:
        if families[name] not in _KEYED:
            raise ConfigError(
                f"the column {name!r} has the type {type_name(frame.schema[name])}, which has no categories",
                place=f"[features] crosses.{index}.columns",
            )
    keys = cross_text([key_text(frame.get_column(name)) for name in cross.columns])
    given = {key: getattr(cross, key) for key in cross.model_fields_set - {"columns", "name"}}
    config = ColumnConfig.model_validate(given)
    name = cross.name or ":".join(cross.columns)
    return Subject(name, cross.columns, keys, "string", config, shared, forced=cross.treat_as is not None)


def _difference(
    frame: pl.DataFrame, families: Mapping[str, Family], pair: DifferenceConfig, shared: Shared, index: int
) -> tuple[Choice, list[Step]]:
    later, earlier = frame.get_column(pair.later), frame.get_column(pair.earlier)
    kinds = [(families[name], bool(time_zone(type_name(frame.schema[name])))) for name in (pair.later, pair.earlier)]
    naive = {("date", False), ("datetime", False)}
    if not set(kinds) <= naive and kinds not in ([("datetime", True)] * 2, [("time", False)] * 2):
        raise ConfigError(
            f"{pair.earlier!r} ({type_name(earlier.dtype)}) cannot be subtracted from {pair.later!r} "
            f"({type_name(later.dtype)})",
            place=f"[features] differences.{index}",
            hint="Two dates or datetimes, both with a time zone or both without, or two times of day can.",
        )
    values = difference(later.alias("value"), earlier.alias("value"))
    name = pair.name or f"{pair.later}-{pair.earlier}"
    if reason := dull(values):
        return Choice(column=name, decision="dropped", reason=reason), []
    filler, scaling = shared.finish(values, pair.impute, pair.scale)
    step = DifferenceStep(
        inputs=(pair.later, pair.earlier), output=shared.names.derived(name), impute=filler, scaling=scaling
    )
    reason = f"seconds from {pair.earlier!r} to {pair.later!r}"
    return Choice(column=name, decision="difference", reason=reason, outputs=step.gives), [cast(Step, step)]
