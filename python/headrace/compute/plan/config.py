"""What a person may say about features: the `[features]` table."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from headrace.compute.plan.nearest import did_you_mean
from headrace.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from headrace.compute.plan.types import Family

TreatAs = Literal["number", "boolean", "category", "frequency", "time", "duration", "drop"]
Part = Literal[
    "year",
    "quarter",
    "month",
    "week",
    "day",
    "day_of_year",
    "day_of_week",
    "hour",
    "minute",
    "second",
    "days",
]


class ColumnConfig(BaseModel):
    """How one column becomes features; what is not set is as for all columns."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    treat_as: TreatAs | None = Field(
        default=None,
        description="What the column is: number, boolean, category (codes of a vocabulary), frequency (share of the "
        "training rows with that value), time (parts of a date), duration (seconds), drop. Default: auto.",
    )
    max_categories: int | None = Field(default=None, ge=1, le=1_000_000, description="As for all columns.")
    min_category_count: int | None = Field(default=None, ge=1, description="As for all columns.")
    time_parts: tuple[Part, ...] | None = Field(default=None, min_length=1, description="As for all columns.")
    cyclical: bool | None = Field(default=None, description="As for all columns.")
    time_zone: str | None = Field(default=None, description="As for all columns.")


class TransformConfig(BaseModel):
    """Columns that Python code computes before all else; see `headrace.Transform`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    use: str = Field(
        description='The transform: a registered name, or `"module:Class"` of the project\'s own code.', min_length=1
    )
    config: dict[str, Any] = Field(default_factory=dict, description="Its own keys.")


class FeatureConfig(BaseModel):
    """The declarative part of a feature plan.

    A selector is the exact name of a column, `type:FAMILY` (integer, float, number, boolean, string, date, datetime,
    time, duration), `regex:PATTERN` (matches the whole name), or `name:NAME` for a name that looks like one of these.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    include: tuple[str, ...] = Field(
        default=(), description="Selectors of the only columns that may become features; empty: all."
    )
    exclude: tuple[str, ...] = Field(default=(), description="Selectors of columns that never become features.")
    id_columns: tuple[str, ...] = Field(
        default=(), description="Columns that identify a row; they never become features."
    )
    transforms: tuple[TransformConfig, ...] = Field(
        default=(),
        description="Columns that only Python can compute: `[[features.transforms]]` with `use` and `config`. They are "
        "computed first, in this order, in training and in serving, and then treated as any other column.",
    )
    columns: dict[str, ColumnConfig] = Field(
        default_factory=dict, description="Per column, by exact name, what `auto` shall not decide."
    )
    max_categories: int = Field(
        default=128,
        ge=1,
        le=1_000_000,
        description="Size of a category vocabulary. A column with more values keeps the most frequent ones if they "
        "cover at least half of its rows, and is frequency-encoded otherwise.",
    )
    min_category_count: int = Field(
        default=1, ge=1, description="Values seen in fewer training rows share the code of unseen values."
    )
    near_unique: float = Field(
        default=0.9,
        gt=0,
        le=1,
        description="A text column with more than 10 values, whose number of values is at least this share of its "
        "rows, is an identifier or free text, and is dropped.",
    )
    time_parts: tuple[Part, ...] = Field(
        default=("year", "month", "day", "day_of_week", "hour", "minute", "second"),
        min_length=1,
        description="Parts of dates and times; those that never change in the training rows are left out. "
        "day_of_week is 1 (Monday) to 7, week is the ISO week, days counts from 1970-01-01.",
    )
    cyclical: bool = Field(
        default=False, description="Add the sine and cosine of each periodic part, for models that are not trees."
    )
    time_zone: str | None = Field(
        default=None,
        description="Zone in which the parts of zoned datetimes are read, such as 'Europe/Berlin'; default: the "
        "column's own. Datetimes without a zone are read as they stand.",
    )


def parse_config(config: Mapping[str, Any]) -> FeatureConfig:
    """Validate a configuration; `ConfigError` names the key, what is wrong with it, and the nearest right one."""
    try:
        return FeatureConfig.model_validate(dict(config))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        hint = None
        if first["type"] == "extra_forbidden":
            model = ColumnConfig if len(first["loc"]) > 1 else FeatureConfig
            known = list(model.model_fields)
            hint = did_you_mean(str(first["loc"][-1]), known)
        raise ConfigError(f"features: {where}: {first['msg']}", place="[features]", hint=hint) from error


def select(selectors: Sequence[str], families: Mapping[str, Family], *, key: str) -> set[str]:
    """The columns that selectors name.

    An exact name that is none is a `ConfigError` with the nearest column; a type or pattern may match nothing.
    """
    chosen: set[str] = set()
    for selector in selectors:
        found = _matches(selector, families, key)
        if not found and not selector.startswith(("type:", "regex:")):
            raise ConfigError(
                f"the selector {selector!r} matches no column",
                place=f"[features] {key}",
                hint=did_you_mean(selector, list(families)),
            )
        chosen |= found
    return chosen


def _matches(selector: str, families: Mapping[str, Family], key: str) -> set[str]:
    how, colon, rest = selector.partition(":")
    if colon and how == "type":
        wanted = {"integer", "float"} if rest == "number" else {rest}
        if not wanted <= {"integer", "float", "boolean", "string", "date", "datetime", "time", "duration"}:
            raise ConfigError(
                f"the selector {selector!r} names no family of types",
                place=f"[features] {key}",
                hint="Families: number, integer, float, boolean, string, date, datetime, time, duration.",
            )
        return {name for name, family in families.items() if family in wanted}
    if colon and how == "regex":
        try:
            pattern = re.compile(rest)
        except re.error as error:
            raise ConfigError(
                f"the selector {selector!r} is no regular expression: {error}", place=f"[features] {key}"
            ) from error
        return {name for name in families if pattern.fullmatch(name)}
    exact = rest if colon and how == "name" else selector
    return {exact} & families.keys()
