"""`[loop]` of headrace.toml: when the loop may act, on which data, and what becomes of a model that passed."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from headrace.errors import SpecError
from headrace.hooks.catalog import nearest
from headrace.hooks.wording import wrong

if TYPE_CHECKING:
    from headrace.pipeline.spec import Spec

_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|h|d|w)")
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
DAY, WEEK = _SECONDS["d"], _SECONDS["w"]


def _seconds(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError("write a time such as 30s, 15m, 12h, 7d or 2w")  # noqa: TRY004  # pydantic wants it
    if isinstance(value, str):
        match = _SPAN.fullmatch(value.strip())
        if match is None:
            raise ValueError(f"{value!r} is no length of time; write 30s, 15m, 12h, 7d or 2w")
        return float(match[1]) * _SECONDS[match[2]]
    return float(value)


def _instant(value: Any) -> Any:
    """TOML's dates and times, or their text; without a zone they are UTC."""
    if isinstance(value, str):
        try:
            value = dt.datetime.fromisoformat(value)
        except ValueError as error:
            raise ValueError(f"{value!r} is no date; write 2026-01-31 or 2026-01-31T12:00:00Z") from error
    if isinstance(value, dt.date) and not isinstance(value, dt.datetime):
        value = dt.datetime(value.year, value.month, value.day, tzinfo=dt.UTC)
    if not isinstance(value, dt.datetime):
        raise ValueError("write a date such as 2026-01-31")  # noqa: TRY004  # pydantic wants it
    return value if value.tzinfo else value.replace(tzinfo=dt.UTC)


Span = Annotated[float, BeforeValidator(_seconds), Field(ge=0)]
Instant = Annotated[dt.datetime, BeforeValidator(_instant)]
_Table = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


def _server(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc or not text.isprintable():
        raise ValueError("write where the server answers, as http://127.0.0.1:8080")
    return text.rstrip("/")


class LivePolicy(BaseModel):
    """Where live rows and their labels are. Files that are delivered twice, or rows that are, count once."""

    model_config = _Table

    use: Literal["files", "served"] = Field(
        default="files",
        description='"files": rows and labels in files; "served": the prediction log of "headrace serve" in the store, '
        'and the labels that "headrace feedback" put there.',
    )
    rows: tuple[str, ...] = Field(
        default=(), description='For "files": globs of files with live rows, relative to the project.'
    )
    labels: tuple[str, ...] = Field(
        default=(),
        description="Globs of files with an identifier and the target, where labels come apart from the rows. The last "
        "one for an identifier counts.",
    )
    id: str | None = Field(
        default=None, description="The column that names a row, here and in `labels`. Default: the first of id_columns."
    )
    time: str | None = Field(default=None, description="When a row happened. Default: `time_column` of [project].")
    slices: tuple[str, ...] = Field(
        default=(),
        description="Columns by whose values metrics over time are shown too; inputs that the server logged.",
    )
    label_time: str | None = Field(
        default=None, description="A column of `labels` that says when a label became known. Default: it always was."
    )

    @model_validator(mode="before")
    @classmethod
    def _listed(cls, values: Any) -> Any:
        if isinstance(values, Mapping):
            return {
                k: (v,) if k in ("rows", "labels", "slices") and isinstance(v, str) else v for k, v in values.items()
            }
        return values

    @model_validator(mode="after")
    def _consistent(self) -> LivePolicy:
        if self.use == "files" and not self.rows:
            raise ValueError('`rows` names no files; write rows = "live/*.parquet", or use = "served"')
        if self.use == "served" and (self.rows or self.labels or self.label_time):
            raise ValueError('`rows`, `labels` and `label_time` are for use = "files"')
        return self


class WatchPolicy(BaseModel):
    """What happens after a promotion: how long the new champion is watched, and when it is taken back."""

    model_config = _Table

    length: Span = Field(default=7 * DAY, description="For how long, as 7d. 0s: not at all.")
    min_rows: int = Field(default=100, ge=10, description="With fewer labelled rows nothing is said.")
    metric: str | None = Field(default=None, description="Default: the metric that the champion was judged by.")
    bound: float | None = Field(
        default=None, description="Rolled back when the metric is surely worse than this. Default: no bound."
    )
    margin: float | None = Field(
        default=0.0,
        ge=0,
        description="Rolled back when the new champion is surely worse by more than this than the one before it on the "
        "same rows.",
    )
    level: float = Field(default=0.99, gt=0.5, lt=1, description="How sure.")
    resample_by: str | None = Field(
        default=None,
        description="As in `gate:champion`: a column whose groups are drawn whole, as the rows of a day share its "
        'weather. With too few groups to be that sure nothing is said. Default: what the gate has. "": single rows.',
    )


class LoopPolicy(BaseModel):
    """The table `[loop]`."""

    model_config = _Table

    every: Span = Field(default=60.0, description="How often the long-running loop looks, as 60s.")
    window: Literal["expanding", "sliding", "since"] = Field(
        default="expanding",
        description='Rows to train on: all, those of the last `length` ("sliding"), or those from `since` on.',
    )
    length: Span | None = Field(default=None, description='For window = "sliding", as 90d.')
    since: Instant | None = Field(default=None, description='For window = "since", as 2026-01-31.')
    cooldown: Span = Field(
        default=DAY,
        description="The least time between two runs, and after a roll back. While drift or performance are all that "
        "asks, it doubles with each run in a row that came to nothing, to 32 times at most.",
    )
    follow_up: Span = Field(
        default=28 * DAY,
        description="So long after a promotion that a change of the world brought about, one more run is due: by then "
        "more of the rows are from the world as it is now. If that one came to nothing: a second. 0s: never.",
    )
    change_rows: int = Field(
        default=500,
        ge=10,
        description="Where a trigger tells since when the target follows another rule, so many labelled rows from then "
        "on are waited for, and a run is on those only.",
    )
    change_wait: Span = Field(
        default=28 * DAY, description="So long is waited for them; then `min_rows` of them are enough."
    )
    budget: int = Field(default=7, ge=0, description="The most runs within seven days.")
    min_rows: int = Field(
        default=100, ge=0, description="The least labelled live rows that came in since the last run."
    )
    promote: Literal["auto", "wait"] = Field(
        default="auto",
        description='Whether a model that passed serves at once, or waits for "headrace models approve".',
    )
    dry_run: bool = Field(default=False, description="Only record what would be done.")
    live: LivePolicy | None = Field(default=None, description="Where live rows and labels are.")
    watch: WatchPolicy = Field(default_factory=WatchPolicy, description="After a promotion.")
    triggers: dict[str, dict[str, Any]] = Field(
        default_factory=dict,
        description="Name -> the keys of a trigger; `use` says which one, where the name does not.",
    )
    patience: Annotated[Span, Field(gt=0)] = Field(
        default=600.0,
        description="How long a trigger may take to answer, or live rows and the project's files to be read, as 10m; "
        "then they are said to hang, and the loop goes on without.",
    )
    notify: dict[str, dict[str, Any]] = Field(
        default_factory=dict,
        description="Name -> the keys of a notifier; `use` says which one, where the name does not. See "
        "[Notifiers](stages.md#notifiers).",
    )
    server: Annotated[str, AfterValidator(_server)] | None = Field(
        default=None,
        description="Where `headrace serve` answers, as http://127.0.0.1:8080. Whether it does, and with the "
        "champion, is looked at by the loop and shown by `headrace status`.",
    )

    @field_validator("triggers", "notify", mode="before")
    @classmethod
    def _tables(cls, value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, str | list | tuple):
            names = [value] if isinstance(value, str) else value
            first = names[0] if names and isinstance(names[0], str) else "NAME"
            raise ValueError(f"each has a table of its own: [loop.{info.field_name}.{first}]")  # noqa: TRY004  # pydantic wants it
        return value

    @model_validator(mode="after")
    def _consistent(self) -> LoopPolicy:
        for window, key in (("sliding", "length"), ("since", "since")):
            if (self.window == window) != (getattr(self, key) is not None):
                raise ValueError(f'`{key}` and `window = "{window}"` go together: set both, or neither')
        return self


@dataclass(frozen=True)
class Columns:
    """Columns that the loop has to know by name."""

    target: str
    time: str
    id: str | None


def read_policy(spec: Spec) -> LoopPolicy:
    """The policy of a project; the defaults where it has no `[loop]`. Raises `SpecError` with line and nearest key."""
    table = spec.document.get("loop", {})
    if not isinstance(table, Mapping):
        raise SpecError("`loop` must be a table", place=spec.place("loop"), hint="Write it as [loop].")
    try:
        return LoopPolicy.model_validate(dict(table))
    except ValidationError as error:
        raise refused(spec, "loop", LoopPolicy, error) from error


def refused(spec: Spec, table: str, model: type[BaseModel], error: ValidationError) -> SpecError:
    """What to say of a table that is not as its model wants it: the first thing, its line, the nearest key."""
    first = error.errors(include_url=False)[0]
    where = tuple(str(part) for part in first["loc"])
    place = spec.place(table, *where)
    name = ".".join((table, *where[:-1]))
    if first["type"] == "extra_forbidden":
        known = _fields(model, where[:-1])
        return SpecError(f"[{name}] has no key {where[-1]!r}", place=place, hint=nearest(where[-1], known))
    # Somebody may have written a password there; and of a whole table it is the keys that are wrong.
    secret = bool({"notify", "server"} & set(where)) or isinstance(first["input"], Mapping)
    said = wrong(first, secret=secret)
    what = f"`{where[-1]}` of [{name}]: " if where else f"[{table}]: "
    return SpecError(what + said, place=place, hint="docs/reference/headrace-toml.md explains each key.")


def _fields(model: type[BaseModel], path: tuple[str, ...]) -> list[str]:
    for part in path:
        if part.isdigit():  # which one of a list
            continue
        found = model.model_fields[part].annotation
        inner = [
            a for a in (found, *getattr(found, "__args__", ())) if isinstance(a, type) and issubclass(a, BaseModel)
        ]
        if not inner:
            return []
        model = inner[0]
    return list(model.model_fields)


def columns_of(spec: Spec, policy: LoopPolicy) -> Columns | None:
    """The columns that live rows are read by; None where the project has no `[loop.live]`. Raises `SpecError`."""
    if policy.live is None:
        return None
    target, time = spec.shared.get("target"), policy.live.time or spec.shared.get("time_column")
    for found, key in ((target, "target"), (time, "time_column")):
        if not isinstance(found, str):
            raise SpecError(
                f"live rows need a `{key}`", place=spec.place("loop", "live"), hint=f'Set `{key} = "..."` in [project].'
            )
    ids = spec.shared.get("id_columns") or ()
    named = policy.live.id or (ids[0] if ids else None)
    if policy.live.labels and named is None:
        raise SpecError(
            "labels in files of their own need an identifier",
            place=spec.place("loop", "live", "labels"),
            hint='Set `id = "..."` in [loop.live], or `id_columns` in [project].',
        )
    return Columns(target=str(target), time=str(time), id=named)
