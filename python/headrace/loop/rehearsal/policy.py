"""`[rehearse]` of headrace.toml: which world the loop is to live through, what goes wrong in it, what is expected."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from headrace.errors import SpecError
from headrace.loop.policy import DAY, Span, refused

if TYPE_CHECKING:
    from headrace.pipeline.spec import Spec

_Table = ConfigDict(extra="forbid", frozen=True)


SIZES: Mapping[str, float] = MappingProxyType({"covariate drift": 1.5, "unit change": 2.54, "late labels": 30.0})
"""The sizes of faults that have one."""


class Fault(BaseModel):
    """Something that goes wrong, from one simulated day to another."""

    model_config = _Table

    kind: Literal[
        "covariate drift",
        "concept drift",
        "unit change",
        "late labels",
        "wrong labels",
        "broken batch",
        "worse challenger",
        "server down",
    ] = Field(
        description='"covariate drift": a number is shifted; "concept drift": the target follows another rule; '
        '"unit change": a number is given in another unit; "late labels": labels are known so many days later; '
        '"wrong labels": the labels that come in are the other rule\'s, though the world is as it was, so that a model '
        'that learns them is harmful; "broken batch": the features of the rows are empty; "worse challenger": whatever '
        'is trained has learnt nothing (lightgbm only); "server down": the rows are neither answered nor logged.'
    )
    day: float = Field(ge=0, description="From this day on.")
    until: float | None = Field(default=None, description="To this day. Default: for good.")
    size: float | None = Field(
        default=None,
        gt=0,
        description="Of a covariate drift: in standard deviations (default: 1.5); of a unit change: what the number is "
        "multiplied by (2.54); of late labels: days (30).",
    )
    column: str | None = Field(
        default=None, description="Of a covariate drift or a unit change: which. Default: the first column of numbers."
    )

    @model_validator(mode="after")
    def _consistent(self) -> Fault:
        if self.until is not None and self.until <= self.day:
            raise ValueError("`until` is not after `day`")
        if self.size is not None and self.kind not in SIZES:
            raise ValueError(f"`size` says nothing of {self.kind!r}; it is for {', '.join(SIZES)}")
        if self.column is not None and self.kind not in ("covariate drift", "unit change"):
            raise ValueError(f"`column` says nothing of {self.kind!r}; it is for covariate drift and unit change")
        return self

    @property
    def much(self) -> float:
        """`size`, or the default of the kind."""
        return SIZES[self.kind] if self.size is None else self.size

    def covers(self, day: float) -> bool:
        """Whether it is so on a day."""
        return self.day <= day and (self.until is None or day < self.until)


class Expect(BaseModel):
    """What must be so in the end. Promotions and trainings are those after the first model."""

    model_config = _Table

    min_alarms: int | None = Field(default=None, ge=0, description="The least number of times that a trigger asked.")
    max_alarms: int | None = Field(default=None, ge=0, description="The greatest.")
    min_trainings: int | None = Field(default=None, ge=0, description="The least number of runs.")
    max_trainings: int | None = Field(default=None, ge=0, description="The greatest.")
    min_promotions: int | None = Field(default=None, ge=0, description="The least number of promotions.")
    max_promotions: int | None = Field(default=None, ge=0, description="The greatest.")
    min_rollbacks: int | None = Field(default=None, ge=0, description="The least number of roll backs.")
    max_rollbacks: int | None = Field(default=None, ge=0, description="The greatest.")
    max_loss_to_never: float | None = Field(
        default=None, gt=0, description="The greatest loss in the last quarter, as a multiple of never training."
    )
    max_loss_to_always: float | None = Field(
        default=None, gt=0, description="The same, of training again at every `always_every`."
    )


class RehearsePolicy(BaseModel):
    """The table `[rehearse]`."""

    model_config = _Table

    stream: Literal["own", "sea", "friedman"] = Field(
        default="own",
        description='"own": rows of the project, drawn anew and given new times; "sea", "friedman": generated ones, '
        "with a small LightGBM model, in place of the project's pipeline.",
    )
    days: int = Field(default=365, ge=7, description="How long, in simulated days.")
    history: int = Field(default=56, ge=7, description="Days before the first, on whose rows the first model is made.")
    rows: int = Field(default=40, ge=5, description="Rows a day.")
    step: Span = Field(default=7 * DAY, gt=0, description="How often the loop looks.")
    label_delay: Span = Field(default=2 * DAY, description="How late labels are known.")
    seed: int = Field(default=0, ge=0, description="Of the world.")
    compare: bool = Field(default=True, description="Whether the other two policies are played through as well.")
    always_every: Span = Field(default=28 * DAY, gt=0, description='How often the policy "always" trains.')
    faults: tuple[Fault, ...] = Field(default=(), description="What goes wrong.")
    expect: Expect = Field(default_factory=Expect, description="What must be so in the end.")

    @model_validator(mode="after")
    def _within(self) -> RehearsePolicy:
        late = next((fault for fault in self.faults if fault.day >= self.days), None)
        if late is not None:
            raise ValueError(f"the fault {late.kind!r} on day {late.day:g} comes after the end: `days` is {self.days}")
        return self


def read_rehearsal(spec: Spec) -> RehearsePolicy:
    """The rehearsal of a project. Raises `SpecError` with line and nearest key."""
    table = spec.document.get("rehearse", {})
    if not isinstance(table, Mapping):
        raise SpecError("`rehearse` must be a table", place=spec.place("rehearse"), hint="Write it as [rehearse].")
    try:
        return RehearsePolicy.model_validate(dict(table))
    except ValidationError as error:
        raise refused(spec, "rehearse", RehearsePolicy, error) from error
