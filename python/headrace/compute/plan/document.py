r"""What a feature plan is: a JSON document. These classes are its schema, format 2.

Whoever executes a plan needs `inputs`, `transforms`, `steps` and `target`; `unread` says which other columns are no
surprise; `choices` and `config` tell a person how it came about. The fingerprint is the SHA-256 of the executable part
as canonical JSON (keys sorted, no spaces, only the escapes that JSON requires, numbers as ECMAScript writes them), so
two plans with the same one give the same numbers.

`transforms` are executed first, in order, in Python: each reads columns (of the frame, or given by one before it) and
gives columns, which steps read as if they were inputs. A plan that has none is executed by Rust alone.

A step reads one or more columns and gives one or more float32 outputs. All arithmetic is float64, rounded once to the
nearest float32 at the end (ties to even; beyond the range: an infinity); every NaN is the quiet NaN 0x7fc00000. What is
missing is null or a float's NaN. A constant of minus zero is zero. What the steps share:

scaling
    The quantity q becomes `(q - center) / scale`.
impute
    The quantity that stands for a missing value, before scaling; null: NaN. (Of `number`: before clip and log.)
key text
    How a value is written where texts are looked up or hashed: a string as it stands; an integer in decimal; a float by
    the fewest digits that read back as it, as ECMAScript writes them (so 1.0 is `1`); a decimal without trailing zeros;
    `true` and `false`; a date, datetime or time of day in ISO 8601 (of a zoned datetime in UTC, with a `Z`). Always of
    the value in the type of the signature: an integer in a float64 column is a float64, a float64 that arrives in a
    float32 column is rounded first. Durations have none. A step with several inputs is a cross: the parts joined by
    U+001F, where a part's own `\` is written `\\` and its own U+001F `\u`; missing if any part is. Texts are
    compared byte by byte.
the hash
    MurmurHash3_x86_32 of UTF-8, seed 0, as a signed number h; its index among n is |h| mod n (2^31 mod n for the least
    h), its sign is -1 where h < 0: as scikit-learn's FeatureHasher does it.

And each of them, exactly, so that another implementation gives the same bits:

number
    Missing: `impute`; then `clip` (`lo` if below it, `hi` if above it; either may be null; NaN stays); then, if `log`,
    sign(x) * log1p(|x|), with log1p as FreeBSD's msun computes it (the same bits on every platform); then scaling. With
    none of these four the real number that the value stands for is rounded to float32 directly, without float64 between
    (a decimal: by way of float64). `indicator` is the name of a second output, directly after: 1.0 where the value was
    missing, else 0.0.
boolean
    1.0 or 0.0; `impute`.
bins
    The number of `edges` (strictly ascending) that are not above the number, infinities included; `impute`; scaling.
category
    The position of the key text in `vocabulary`; `missing` for what is missing (the size of the vocabulary), `unseen`
    for a text that is not in it (one more).
one_hot
    An output for each text of `vocabulary`, named `{output}={text}`: 1.0 where the key text is that one, else 0.0.
frequency
    `counts` of the key text divided by `rows`; 0.0 for a text that has none; `impute`; scaling.
target
    The numbers of the key text in `encodings`, one for each output: what the target was, on average and smoothed, in
    the training rows with that text; `missing`; `unseen` for a text that has none; `scaling` for each output.
bucket
    The index of the hash of `prefix` + key text among `buckets`: a category code; missing: `buckets`.
hash
    Outputs `{output}.{i}` for i below `size`: 0.0, but at the index of the hash of `prefix` + key text 1.0, or with
    `signed` the sign of the hash; missing: 0.0 in all.
text
    The row that scikit-learn's HashingVectorizer gives for the text with the same settings, as outputs `{output}.{i}`;
    missing: that of the empty text, 0.0 in all. `signed` is its `alternate_sign`, `size` its `n_features`.
time_part
    A field of the proleptic Gregorian calendar, as an integer; of a zoned datetime, after conversion to `time_zone`
    (by the tz database up to the year 2099; later years have no summer time). `days` counts whole days since
    1970-01-01, rounded down. `impute`; scaling.
time_cycle
    `table[part - first]`; `impute`. The table holds the sine or cosine as float32, so no two libraries can differ.
seconds
    The duration's integer divided by its units in a second; `impute`; scaling.
difference
    The first input less the second one, in seconds: dates (a date is its midnight) and datetimes without zone, or two
    datetimes with zones, or two times of day. Exact in integers of the finer of the two units (a date: ms, a time of
    day: ns), then divided by the units in a second. Missing where either is: `impute`; scaling.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, NoReturn

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from headrace import _core
from headrace.compute.plan.config import MOST_BUCKETS, MOST_OUTPUTS, Part
from headrace.errors import ModelFormatError

if TYPE_CHECKING:
    from collections.abc import Mapping

FORMAT: Final = 2

_Real = Annotated[FiniteFloat, AfterValidator(lambda value: value + 0.0)]
"""A constant: finite, and never minus zero."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Column(_Part):
    """A column by name and type. `nullable`: whether it had missing values in training; they are always accepted."""

    name: str
    type: str
    nullable: bool


class Transform(_Part):
    """Columns that Python code computes: which implementation, of which distribution, with what config.

    `source` is the hash of its first-party source, empty where it is installed and the version says it all.
    """

    use: str
    distribution: str
    version: str
    source: str
    config: dict[str, Any]
    reads: tuple[Column, ...]
    gives: tuple[Column, ...]


class Scaling(_Part):
    """The quantity less `center`, divided by `scale`."""

    center: _Real
    scale: Annotated[_Real, Field(gt=0)]


class _OneInput(_Part):
    input: str
    output: str

    @property
    def reads(self) -> tuple[str, ...]:
        """Names of the columns that it reads."""
        return (self.input,)

    @property
    def gives(self) -> tuple[str, ...]:
        """Names of its outputs, in order."""
        return (self.output,)


class _Keyed(_Part):
    inputs: Annotated[tuple[str, ...], Field(min_length=1)]

    @property
    def reads(self) -> tuple[str, ...]:
        """Names of the columns that it reads."""
        return self.inputs


class _KeyedOnce(_Keyed):
    output: str

    @property
    def gives(self) -> tuple[str, ...]:
        """Names of its outputs, in order."""
        return (self.output,)


class NumberStep(_OneInput):
    """A number, as it is or conditioned."""

    op: Literal["number"] = "number"
    impute: _Real | None = None
    indicator: str | None = None
    clip: tuple[_Real | None, _Real | None] | None = None
    log: bool = False
    scaling: Scaling | None = None

    @property
    def gives(self) -> tuple[str, ...]:
        """The number, and the indicator if there is one."""
        return (self.output,) if self.indicator is None else (self.output, self.indicator)


class BooleanStep(_OneInput):
    """False and true as 0 and 1."""

    op: Literal["boolean"] = "boolean"
    impute: _Real | None = None


class BinsStep(_OneInput):
    """A number as the position among edges."""

    op: Literal["bins"] = "bins"
    edges: tuple[_Real, ...]
    impute: _Real | None = None
    scaling: Scaling | None = None


class CategoryStep(_KeyedOnce):
    """A key text as its position in a vocabulary."""

    op: Literal["category"] = "category"
    vocabulary: tuple[str, ...]
    missing: int
    unseen: int


class OneHotStep(_KeyedOnce):
    """A key text as an output for each text of a vocabulary."""

    op: Literal["one_hot"] = "one_hot"
    vocabulary: tuple[str, ...]

    @property
    def gives(self) -> tuple[str, ...]:
        """One for each text."""
        return tuple(f"{self.output}={text}" for text in self.vocabulary)


class FrequencyStep(_KeyedOnce):
    """A key text as its share of the training rows."""

    op: Literal["frequency"] = "frequency"
    counts: tuple[tuple[str, int], ...]
    rows: int = Field(ge=1)
    impute: _Real | None = None
    scaling: Scaling | None = None


class TargetStep(_Keyed):
    """A key text as the smoothed mean of the target, or of each class."""

    op: Literal["target"] = "target"
    outputs: Annotated[tuple[str, ...], Field(min_length=1)]
    encodings: tuple[tuple[str, tuple[_Real, ...]], ...]
    missing: tuple[_Real, ...]
    unseen: tuple[_Real, ...]
    scaling: tuple[Scaling, ...] | None = None

    @property
    def gives(self) -> tuple[str, ...]:
        """Names of its outputs: one, or one for each class."""
        return self.outputs


class BucketStep(_KeyedOnce):
    """A key text as the number of its hash bucket."""

    op: Literal["bucket"] = "bucket"
    prefix: str
    buckets: int = Field(ge=1, le=MOST_BUCKETS)


class HashStep(_KeyedOnce):
    """A key text as one position of a hashed vector."""

    op: Literal["hash"] = "hash"
    prefix: str
    size: int = Field(ge=1, le=MOST_OUTPUTS)
    signed: bool

    @property
    def gives(self) -> tuple[str, ...]:
        """One for each position."""
        return tuple(f"{self.output}.{index}" for index in range(self.size))


class TextStep(_OneInput):
    """Free text as a hashed vector of its tokens."""

    op: Literal["text"] = "text"
    size: int = Field(ge=1, le=MOST_OUTPUTS)
    analyzer: Literal["word", "char", "char_wb"]
    ngrams: tuple[int, int]
    lowercase: bool
    strip_accents: Literal["ascii", "unicode"] | None
    stop_words: tuple[str, ...]
    signed: bool
    norm: Literal["l1", "l2"] | None
    binary: bool

    @property
    def gives(self) -> tuple[str, ...]:
        """One for each position."""
        return tuple(f"{self.output}.{index}" for index in range(self.size))


class TimePartStep(_OneInput):
    """A field of a date or time."""

    op: Literal["time_part"] = "time_part"
    part: Part
    time_zone: str | None
    impute: _Real | None = None
    scaling: Scaling | None = None


class TimeCycleStep(_OneInput):
    """The sine or cosine of a periodic field."""

    op: Literal["time_cycle"] = "time_cycle"
    part: Part
    time_zone: str | None
    wave: Literal["sin", "cos"]
    first: int
    table: tuple[_Real, ...]
    impute: _Real | None = None


class SecondsStep(_OneInput):
    """A duration in seconds."""

    op: Literal["seconds"] = "seconds"
    impute: _Real | None = None
    scaling: Scaling | None = None


class DifferenceStep(_KeyedOnce):
    """The time from one column to another, in seconds."""

    op: Literal["difference"] = "difference"
    inputs: tuple[str, str]
    impute: _Real | None = None
    scaling: Scaling | None = None


Step = Annotated[
    NumberStep
    | BooleanStep
    | BinsStep
    | CategoryStep
    | OneHotStep
    | FrequencyStep
    | TargetStep
    | BucketStep
    | HashStep
    | TextStep
    | TimePartStep
    | TimeCycleStep
    | SecondsStep
    | DifferenceStep,
    Field(discriminator="op"),
]
TABLES: Final = frozenset({"vocabulary", "counts", "table", "encodings", "stop_words"})
"""Fields of steps that may be long."""


class Target(_Part):
    """The column to predict.

    `classes`: the labels in the order of their indices, `false` before `true`, numbers by
    value, text by code point; empty for regression. `dictionary`: whether text was a categorical column, or with
    `categories`, an enum of these.
    """

    name: str
    type: str
    task: Literal["binary", "multiclass", "regression"]
    classes: tuple[bool | int | float | str, ...]
    dictionary: bool = False
    categories: tuple[str, ...] | None = None


Decision = Literal[
    "number", "boolean", "bins", "category", "one_hot", "frequency", "target", "bucket", "hash", "text", "time",
    "duration", "difference", "dropped", "excluded",
]  # fmt: skip


class Choice(_Part):
    """What became of a column of the training frame, or of a combination of columns, and why."""

    column: str
    decision: Decision
    reason: str
    outputs: tuple[str, ...] = ()


class PlanDocument(_Part):
    """A whole plan.

    `unread`: the columns that the training rows had and that are not read; null in a plan that does not say. A column
    that is neither read nor among them is new, and refused where extra columns are.
    """

    format: Literal[2]
    inputs: tuple[Column, ...]
    transforms: tuple[Transform, ...] = ()
    steps: tuple[Step, ...]
    target: Target
    unread: tuple[str, ...] | None = None
    choices: tuple[Choice, ...] = ()
    config: dict[str, Any] = Field(default_factory=dict)
    fingerprint: str

    @classmethod
    def make(cls, **parts: Any) -> PlanDocument:
        """With the fingerprint computed."""
        blank = cls(format=FORMAT, fingerprint="", **parts)
        return blank.model_copy(update={"fingerprint": fingerprint(blank.model_dump(mode="json"))})

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the outputs of all steps, in order."""
        return tuple(name for step in self.steps for name in step.gives)

    def as_json(self) -> dict[str, Any]:
        """As plain JSON values, new ones."""
        return self.model_dump(mode="json")


def fingerprint(document: Mapping[str, Any]) -> str:
    """SHA-256 over the executable part, as 64 hexadecimal digits."""
    return _core.plan_fingerprint(json.dumps(document, allow_nan=False))


def parse_document(document: Mapping[str, Any]) -> tuple[PlanDocument, _core.Plan]:
    """Check a document, all of it, and make it ready to be executed.

    Raises `ModelFormatError` for another format, a key or value that does not belong, a reference to nothing, a
    fingerprint that is not that of the content.
    """
    try:
        text = json.dumps(document, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        _refuse(f"it cannot be written as JSON: {error}", error)
    compiled = _core.Plan(text)
    try:
        # JSON text, because only there are arrays tuples for a strict model
        return PlanDocument.model_validate_json(text), compiled
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "document"
        _refuse(f"{where}: {first['msg']}", error)


def _refuse(what: str, cause: BaseException | None = None) -> NoReturn:
    raise ModelFormatError(
        f"not a valid feature plan: {what}",
        place="feature plan",
        hint="The document is damaged or was changed by hand; take it again from where it was made.",
    ) from cause
