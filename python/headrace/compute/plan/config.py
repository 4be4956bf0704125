"""What a person may say about features: the `[features]` table."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    FiniteFloat,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from headrace.compute.plan.nearest import did_you_mean
from headrace.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from headrace.compute.plan.types import Family

ModelKind = Literal["trees", "linear"]
CrossAs = Literal["category", "one_hot", "frequency", "target", "bucket", "hash"]
TreatAs = Literal[
    "number", "boolean", "bins", "category", "one_hot", "frequency", "target", "bucket", "hash", "text", "time",
    "duration", "drop",
]  # fmt: skip
Impute = Literal["median", "mean", "most_frequent", "none"]
Scale = Literal["standard", "robust", "none"]
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


def _open_end(value: Any) -> Any:
    """An end of a clip that clips nothing: inf in TOML, null in JSON."""
    return None if isinstance(value, float) and math.isinf(value) else value


_End = Annotated[FiniteFloat | None, BeforeValidator(_open_end)]
_Share = Annotated[float, Field(ge=0, le=1)]

MOST_OUTPUTS: Final = 2**20
"""Outputs of a plan, all together."""
MOST_BUCKETS: Final = 2**24
"""Codes up to here are whole numbers of float32."""

_IMPUTE = Field(
    default=None,
    description="What stands for a missing value: median, mean or most_frequent of the training rows, a number, or "
    "none (it stays missing). Of numbers, times and durations. Default: none for trees, median for linear.",
)
_SCALE = Field(
    default=None,
    description="standard (less the mean, by the standard deviation), robust (less the median, by the interquartile "
    "range), or none. After all else. Default: none for trees, standard for linear.",
)
_SIZE = Field(
    default=None,
    strict=True,
    ge=1,
    le=MOST_BUCKETS,
    description="Outputs of hash (default 16) and of text (default 256), or buckets of bucket (default 1024).",
)
_SIGNED = Field(
    default=None,
    description="hash and text: half of the values count negatively, so that collisions cancel on average "
    "(scikit-learn's alternate_sign). Default: only for linear.",
)
_SMOOTH: Any = Field(
    default="auto",
    description="target: how far the mean of a value is drawn to that of all rows: auto (empirical Bayes, by the "
    "variances within and between), or a number of rows. As scikit-learn's TargetEncoder.",
)


def _check_size(treat_as: str | None, size: int | None) -> None:
    if treat_as in ("hash", "text") and (size or 0) > MOST_OUTPUTS:
        raise ValueError(f"{treat_as} gives at most {MOST_OUTPUTS} outputs, found size = {size}")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Sparse(_Strict):
    """Written with the keys that were given, and no others: which selector sets a key decides."""

    @model_serializer(mode="wrap")
    def _given(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in handler(self).items() if key in self.model_fields_set}


class ColumnConfig(_Sparse):
    """How the columns of a selector become features; what is not set is as for all columns, or left to `auto`."""

    treat_as: TreatAs | None = Field(
        default=None,
        description="What the column is: number, boolean, bins (position among quantiles), category (codes of a "
        "vocabulary), one_hot (an output for each value), frequency (share of the training rows with that value), "
        "target (mean of the target in the training rows with that value), bucket (code by hash), hash (hashed "
        "vector), text (hashed words), time (parts of a date), duration (seconds), drop. Default: auto.",
    )
    impute: Impute | FiniteFloat | None = _IMPUTE
    indicator: bool | None = Field(
        default=None,
        description="number: another output that is 1 where the value was missing. Default: for linear, where the "
        "target differs in the training rows without a value (by three standard errors of the correlation).",
    )
    clip: tuple[_End, _End] | None = Field(
        default=None,
        description="number: least and greatest value; what lies beyond becomes that. inf for an open end: [0, inf].",
    )
    clip_quantiles: tuple[_Share, _Share] | None = Field(
        default=None, description="number: `clip` at these quantiles of the training rows, such as [0.01, 0.99]."
    )
    log: bool = Field(default=False, description="number: sign(x) * log(1 + |x|), after clipping, before scaling.")
    scale: Scale | None = _SCALE
    bins: Annotated[int, Field(ge=2, le=65_536)] | Annotated[tuple[FiniteFloat, ...], Field(min_length=1)] = Field(
        default=10, description="bins: how many, with edges at the quantiles of the training rows; or the edges."
    )
    size: int | None = _SIZE
    signed: bool | None = _SIGNED
    smooth: Literal["auto"] | Annotated[FiniteFloat, Field(ge=0)] = _SMOOTH
    analyzer: Literal["word", "char", "char_wb"] = Field(
        default="word", description="text: words of two letters or more, characters, or characters within words."
    )
    ngrams: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1, le=16)]] = Field(
        default=(1, 1), description="text: least and greatest number of neighbouring words or characters."
    )
    lowercase: bool = Field(default=True, description="text: in lower case first.")
    strip_accents: Literal["ascii", "unicode", "none"] = Field(
        default="none", description="text: without accents: ascii (and without all that has no ASCII form), unicode."
    )
    stop_words: Literal["english"] | tuple[str, ...] = Field(
        default=(),
        description="text: words that do not count; english: those of scikit-learn's list, written into the plan.",
    )
    norm: Literal["l1", "l2", "none"] = Field(
        default="l2", description="text: a row is divided by the sum of its absolute values, by its length, or not."
    )
    binary: bool = Field(default=False, description="text: a word counts once, however often it is there.")
    max_categories: int | None = Field(default=None, ge=1, le=1_000_000, description="As for all columns.")
    min_category_count: int | None = Field(default=None, ge=1, description="As for all columns.")
    time_parts: tuple[Part, ...] | None = Field(default=None, min_length=1, description="As for all columns.")
    cyclical: bool | None = Field(default=None, description="As for all columns.")
    time_zone: str | None = Field(default=None, description="As for all columns.")

    @model_validator(mode="after")
    def _sound(self) -> ColumnConfig:
        if self.clip is not None and self.clip_quantiles is not None:
            raise ValueError("`clip` and `clip_quantiles` exclude each other")
        if self.clip == (None, None):
            raise ValueError("`clip` has neither end; leave it out, or give it one")
        _check_size(self.treat_as, self.size)
        for ends in (self.clip, self.clip_quantiles, self.ngrams):
            if ends is not None and None not in ends and ends[0] > ends[1]:  # type: ignore[operator]  # no None left
                raise ValueError(f"{list(ends)} does not ascend")
        if not isinstance(self.bins, int) and any(a >= b for a, b in zip(self.bins, self.bins[1:], strict=False)):
            raise ValueError("the edges in `bins` do not ascend")
        return self


class CrossConfig(_Sparse):
    """Several columns as one category: each combination of their values is a value."""

    columns: tuple[str, ...] = Field(min_length=2, description="Two or more columns, by exact name.")
    treat_as: CrossAs | None = Field(
        default=None,
        description="category, one_hot, frequency, target, bucket or hash, as for a column. Default: auto.",
    )
    name: str | None = Field(default=None, description="Of the feature. Default: the columns' names, `a:b`.")
    scale: Scale | None = _SCALE
    size: int | None = _SIZE
    signed: bool | None = _SIGNED
    smooth: Literal["auto"] | Annotated[FiniteFloat, Field(ge=0)] = _SMOOTH
    max_categories: int | None = Field(default=None, ge=1, le=1_000_000, description="As for all columns.")
    min_category_count: int | None = Field(default=None, ge=1, description="As for all columns.")

    @model_validator(mode="after")
    def _sound(self) -> CrossConfig:
        _check_size(self.treat_as, self.size)
        return self


class DifferenceConfig(_Sparse):
    """The time between two columns, in seconds: dates and datetimes without zone, or with zones, or times of day."""

    later: str = Field(description="The column from which `earlier` is subtracted.")
    earlier: str = Field(description="The column that is subtracted.")
    name: str | None = Field(default=None, description="Of the feature. Default: `later-earlier`.")
    impute: Impute | FiniteFloat | None = _IMPUTE
    scale: Scale | None = _SCALE


class TransformConfig(_Strict):
    """Columns that Python code computes before all else; see `headrace.Transform`."""

    use: str = Field(
        description='The transform: a registered name, or `"module:Class"` of the project\'s own code.', min_length=1
    )
    config: dict[str, Any] = Field(default_factory=dict, description="Its own keys.")


class FeatureConfig(_Strict):
    """The declarative part of a feature plan.

    A selector is the exact name of a column, `type:FAMILY` (integer, float, number, boolean, string, date, datetime,
    time, duration), `regex:PATTERN` (matches the whole name), or `name:NAME` for a name that looks like one of these.
    """

    model_kind: ModelKind | None = Field(
        default=None,
        json_schema_extra={"asked_of": "features_for"},
        description="What `auto` chooses for. trees: missing values stay, categories are codes. linear: numbers are "
        "imputed and scaled, small categories one-hot, times also cyclical. In both, text with more values than "
        "`max_categories` becomes the mean of the target. Default: what the trainer asks for, else trees.",
    )
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
        default_factory=dict,
        description="By selector, what `auto` shall not decide. Of several that name a column, the most specific one "
        "decides each key: an exact name, then regex, then type (of these, number last).",
    )
    crosses: tuple[CrossConfig, ...] = Field(default=(), description="Combinations of columns as further features.")
    differences: tuple[DifferenceConfig, ...] = Field(
        default=(), description="Times between two columns as further features."
    )
    folds: int = Field(
        default=5,
        ge=2,
        le=100,
        description="target: a training row is encoded by the rows of the other folds, so that its own target is not "
        "in its features. The encoding that is kept is that of all training rows.",
    )
    max_categories: int = Field(
        default=128,
        ge=1,
        le=1_000_000,
        description="Size of a vocabulary. With more values, `auto` makes a column the mean of the target; where "
        "you say category or one_hot, the most frequent values are kept.",
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
    cyclical: bool | None = Field(
        default=None, description="Add the sine and cosine of each periodic part. Default: only for linear."
    )
    time_zone: str | None = Field(
        default=None,
        description="Zone in which the parts of zoned datetimes are read, such as 'Europe/Berlin'; default: the "
        "column's own. Datetimes without a zone are read as they stand.",
    )

    def given(self) -> dict[str, Any]:
        """What differs from the defaults, as JSON values; `parse_config` makes the same of it."""
        fields = FeatureConfig.model_fields
        usual = {key: field.get_default(call_default_factory=True) for key, field in fields.items()}
        written = self.model_dump(mode="json", include=set(fields))
        return {key: value for key, value in written.items() if getattr(self, key) != usual[key]}


def parse_config(config: Mapping[str, Any]) -> FeatureConfig:
    """Validate a configuration; `ConfigError` names the key, what is wrong with it, and the nearest right one."""
    try:
        return FeatureConfig.model_validate(dict(config))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        hint = None
        if first["type"] == "extra_forbidden":
            models: dict[Any, type[BaseModel]] = {
                "columns": ColumnConfig,
                "crosses": CrossConfig,
                "differences": DifferenceConfig,
                "transforms": TransformConfig,
            }
            model = models[first["loc"][0]] if len(first["loc"]) > 1 else FeatureConfig
            hint = did_you_mean(str(first["loc"][-1]), list(model.model_fields))
        raise ConfigError(f"features: {where}: {first['msg']}", place="[features]", hint=hint) from error


def column_configs(columns: Mapping[str, ColumnConfig], families: Mapping[str, Family]) -> dict[str, ColumnConfig]:
    """What holds for each column that a selector names, key by key from the most specific one that sets it.

    An exact name that is no column, and two selectors of one kind that set a key of one column differently, are a
    `ConfigError`.
    """
    found: dict[str, dict[str, tuple[int, str, Any]]] = {}
    for selector, own in columns.items():
        rank = _rank(selector)
        given = {key: getattr(own, key) for key in own.model_fields_set}
        for name in select([selector], families, key="columns"):
            keys = found.setdefault(name, {})
            for key, value in given.items():
                other = keys.get(key)
                if other is None or other[0] < rank:
                    keys[key] = (rank, selector, value)
                elif other[0] == rank and other[2] != value:
                    raise ConfigError(
                        f"`columns` says {key} = {other[2]!r} by {other[1]!r} and {value!r} by {selector!r} for the "
                        f"column {name!r}",
                        place=f"[features] columns.{selector}",
                        hint=f"Say it once more by exact name: columns.{name!r}.{key}.",
                    )
    merged: dict[str, ColumnConfig] = {}
    for name, keys in found.items():
        try:
            merged[name] = ColumnConfig.model_validate({key: value for key, (_, _, value) in keys.items()})
        except ValidationError as error:
            told = sorted({selector for _, selector, _ in keys.values()})
            raise ConfigError(
                f"what {' and '.join(map(repr, told))} say of the column {name!r} does not fit together: "
                f"{error.errors()[0]['msg']}",
                place="[features] columns",
            ) from error
    return merged


def named_exactly(columns: Mapping[str, ColumnConfig], name: str) -> bool:
    """Whether `treat_as` of a column stands under its own name, not under a pattern."""
    exact = [columns.get(name) if _rank(name) == _EXACT else None, columns.get(f"name:{name}")]
    return any(own is not None and own.treat_as is not None for own in exact)


_EXACT = 3


def _rank(selector: str) -> int:
    if selector.startswith("regex:"):
        return 2
    if selector.startswith("type:"):
        return int(selector != "type:number")
    return _EXACT


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
