"""What a feature plan is: a JSON document. These classes are its schema, format 1.

Whoever executes a plan needs `inputs`, `steps` and `target`; `choices` and `config` tell a person how it came about.
The fingerprint is the SHA-256 of the executable part, so two plans with the same one give the same numbers.

A step reads one input column and gives one float32 output column. What each does, exactly, so that another
implementation gives the same bits:

number
    The real number that the value stands for, rounded once to the nearest float32 (ties to even; beyond the range:
    an infinity). A decimal is converted to float64 first. Missing (null, NaN): the quiet NaN 0x7fc00000.
boolean
    1.0, 0.0, NaN where missing.
category
    The position of the text in `vocabulary`; `missing` for null, `unseen` for a text that is not in it. Texts are
    compared byte by byte. Integers are written in decimal, booleans as `true` and `false`, before the look-up.
frequency
    `counts` of the text divided by `rows`, in float64, rounded to float32; 0.0 for a text that has none; NaN for null.
time_part
    A field of the proleptic Gregorian calendar, as an integer; of a zoned datetime, after conversion to `time_zone`
    (by the tz database up to the year 2099; later years have no summer time). NaN for null. `days` counts whole days
    since 1970-01-01, rounded down.
time_cycle
    `table[part - first]`, NaN for null. The table holds the sine or cosine as float32, so no two libraries can differ.
seconds
    The duration's integer divided by its units in a second, in float64, rounded to float32; NaN for null.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from headrace.compute.plan.config import Part  # noqa: TC001  # pydantic reads it at run time
from headrace.compute.plan.types import polars_type
from headrace.errors import ModelFormatError

if TYPE_CHECKING:
    from collections.abc import Mapping

FORMAT = 1


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class InputColumn(_Part):
    """A column that the plan reads. `nullable`: whether it had missing values in training; they are always accepted."""

    name: str
    type: str
    nullable: bool


class NumberStep(_Part):
    """A number, rounded to float32."""

    op: Literal["number"] = "number"
    input: str
    output: str


class BooleanStep(_Part):
    """False and true as 0 and 1."""

    op: Literal["boolean"] = "boolean"
    input: str
    output: str


class CategoryStep(_Part):
    """A text as its position in a vocabulary."""

    op: Literal["category"] = "category"
    input: str
    output: str
    vocabulary: tuple[str, ...]
    missing: int
    unseen: int


class FrequencyStep(_Part):
    """A text as its share of the training rows."""

    op: Literal["frequency"] = "frequency"
    input: str
    output: str
    counts: tuple[tuple[str, int], ...]
    rows: int = Field(ge=1)


class TimePartStep(_Part):
    """A field of a date or time."""

    op: Literal["time_part"] = "time_part"
    input: str
    output: str
    part: Part
    time_zone: str | None


class TimeCycleStep(_Part):
    """The sine or cosine of a periodic field."""

    op: Literal["time_cycle"] = "time_cycle"
    input: str
    output: str
    part: Part
    time_zone: str | None
    wave: Literal["sin", "cos"]
    first: int
    table: tuple[float, ...]


class SecondsStep(_Part):
    """A duration in seconds."""

    op: Literal["seconds"] = "seconds"
    input: str
    output: str


Step = Annotated[
    NumberStep | BooleanStep | CategoryStep | FrequencyStep | TimePartStep | TimeCycleStep | SecondsStep,
    Field(discriminator="op"),
]


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


class Choice(_Part):
    """What became of a column of the training frame, and why."""

    column: str
    decision: Literal["number", "boolean", "category", "frequency", "time", "duration", "dropped", "excluded"]
    reason: str
    outputs: tuple[str, ...] = ()


class PlanDocument(_Part):
    """A whole plan."""

    format: Literal[1]
    inputs: tuple[InputColumn, ...]
    steps: tuple[Step, ...]
    target: Target
    choices: tuple[Choice, ...] = ()
    config: dict[str, Any] = Field(default_factory=dict)
    fingerprint: str

    @classmethod
    def make(cls, **parts: Any) -> PlanDocument:
        """With the fingerprint computed."""
        blank = cls(format=1, fingerprint="", **parts)
        return blank.model_copy(update={"fingerprint": fingerprint(blank.model_dump(mode="json"))})

    def as_json(self) -> dict[str, Any]:
        """As plain JSON values, new ones."""
        return self.model_dump(mode="json")


def canonical(value: Any) -> bytes:
    """JSON with sorted keys, no spaces and no escapes that are not needed, as UTF-8."""
    text = json.dumps(value, sort_keys=True, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    return text.encode()


def fingerprint(document: Mapping[str, Any]) -> str:
    """SHA-256 over the executable part, as 64 hexadecimal digits."""
    part = {key: document[key] for key in ("format", "inputs", "steps", "target")}
    return hashlib.sha256(canonical(part)).hexdigest()


def parse_document(document: Mapping[str, Any]) -> PlanDocument:
    """Check a document, all of it.

    Raises `ModelFormatError` for another format, a key or value that does not belong, a reference to nothing, a
    fingerprint that is not that of the content.
    """
    found = document.get("format") if hasattr(document, "get") else None
    if isinstance(found, int) and not isinstance(found, bool) and found > FORMAT:
        raise ModelFormatError(
            f"the feature plan has format {found}, this headrace reads format {FORMAT}",
            place="feature plan",
            hint="Upgrade headrace.",
        )
    try:
        # JSON text, because only there are arrays tuples for a strict model
        plan = PlanDocument.model_validate_json(canonical(document))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "document"
        _refuse(f"{where}: {first['msg']}", error)
    except (TypeError, ValueError) as error:
        _refuse(str(error), error)
    _check_references(plan)
    if plan.fingerprint != fingerprint(plan.as_json()):
        _refuse("its content does not have the fingerprint that it states")
    return plan


def _check_references(plan: PlanDocument) -> None:
    names = [column.name for column in plan.inputs]
    outputs = [step.output for step in plan.steps]
    for what, values in (("input", names), ("output", outputs)):
        if len(set(values)) != len(values):
            _refuse(f"the {what} {next(v for v in values if values.count(v) > 1)!r} is there twice")
    for column in plan.inputs:
        try:
            polars_type(column.type)
        except KeyError as error:
            _refuse(f"the input {column.name!r} has the unknown type {column.type!r}", error)
    known = set(names)
    for step in plan.steps:
        if step.input not in known:
            _refuse(f"the step for {step.output!r} reads {step.input!r}, which is no input")
        if isinstance(step, CategoryStep):
            size = len(step.vocabulary)
            if len(set(step.vocabulary)) != size or (step.missing, step.unseen) != (size, size + 1):
                _refuse(f"the vocabulary of {step.output!r} is not one code a text")
        if isinstance(step, FrequencyStep) and len(dict(step.counts)) != len(step.counts):
            _refuse(f"the counts of {step.output!r} name a text twice")
    classes = plan.target.classes
    if len(set(classes)) != len(classes) or (plan.target.task == "regression") != (not classes):
        _refuse("the classes of the target do not fit its task")


def _refuse(what: str, cause: BaseException | None = None) -> NoReturn:
    raise ModelFormatError(
        f"not a valid feature plan: {what}",
        place="feature plan",
        hint="The document is damaged or was changed by hand; take it again from where it was made.",
    ) from cause
