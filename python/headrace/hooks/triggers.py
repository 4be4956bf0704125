"""Triggers: what a plugin may add to say when the loop should train again, and what it is told to decide it."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from headrace.errors import ConfigError, PluginError
from headrace.hooks.catalog import nearest
from headrace.hooks.wording import wrong

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping

    import polars as pl
    from pydantic import BaseModel

    from headrace.hooks.catalog import TriggerEntry
    from headrace.types import JSON, PackageView, TransformSource


@dataclass(frozen=True)
class Fired:
    """Why the loop should train again, in a sentence, with the numbers that say so (JSON, finite).

    `lasting`: that it will be so until a model that suits the world as it is now is promoted, as drift is, and new rows
    are not: after runs that came to nothing it is answered at growing intervals. `changed`: since when the target
    follows another rule, where the trigger can tell. The loop then waits until there are enough rows from then on, and
    trains on those only.
    """

    why: str
    evidence: Mapping[str, JSON] = field(default_factory=dict)
    lasting: bool = False
    changed: dt.datetime | None = None


class LiveRows(Protocol):
    """What came in since the model was made: raw rows, with their labels where these are known."""

    time_column: str
    target: str

    def rows(self, start: dt.datetime | None, end: dt.datetime) -> pl.DataFrame:
        """The rows with `start` < time <= `end`, each once, as far as they and their labels had come in by `end`.

        The target is null where the label is not known. In the order of time.
        """


class TriggerContext(Protocol):
    """What a trigger is told. Times are aware, in UTC.

    `now`: by the loop's clock. `since`: when the last run was decided, or the loop began. `champion`: what serves, or
    None. `live`: what came in, or None where the project has no `[loop.live]`. `new_labels`: how many labelled rows
    came in since the last run. `inputs`, `inputs_seen`: the fingerprint of the project's own input files now, and at
    the last run (None: never).
    """

    now: dt.datetime
    since: dt.datetime
    champion: PackageView | None
    live: LiveRows | None
    new_labels: int
    inputs: str
    inputs_seen: str | None
    transforms: TransformSource
    threads: int


class Trigger(Protocol):
    """What a class must be to be a trigger: `headrace_triggers` registers it.

    `Config` is a pydantic model, and `__init__` takes an instance of it. `check` is called each time the loop looks,
    and must not change anything. A trigger that waits for a moment also has `due(self, since) -> datetime`, the first
    moment after `since` at which it will fire: the loop sleeps until then at most.
    """

    Config: type[BaseModel]

    def __init__(self, config: Any) -> None: ...

    def check(self, ctx: TriggerContext) -> Fired | None:
        """Why to train again, or None. What it raises is recorded, and the loop goes on."""


def check_trigger(found: type) -> type[BaseModel]:
    """The config model of a trigger class; `PluginError` names what keeps it from being one. Runs nothing of it."""
    from pydantic import BaseModel

    place = f"{found.__module__}:{found.__qualname__}"
    config = getattr(found, "Config", None)
    if not (isinstance(config, type) and issubclass(config, BaseModel)):
        msg = "a trigger needs a class attribute `Config` that is a pydantic model"
        raise PluginError(msg, place=place, hint="Define `class Config(pydantic.BaseModel)` inside the trigger.")
    if not inspect.isfunction(getattr(found, "check", None)):
        msg = "a trigger needs a method `check(self, ctx)`"
        raise PluginError(msg, place=place, hint="Return `headrace.Fired(why)` to train again, or None.")
    return config


def make_trigger(entry: TriggerEntry, found: Any, name: str, config: Mapping[str, Any], place: str) -> Any:
    """An instance of a trigger class with its settings. Raises `ConfigError` that names key, place and nearest key."""
    from pydantic import ValidationError

    model = check_trigger(found)
    try:
        settings = model.model_validate(dict(config))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        hint = f"`headrace plugins show trigger:{entry.name}` explains each key."
        if first["type"] == "extra_forbidden":
            raise ConfigError(
                f"[loop.triggers.{name}] has no key {key!r}",
                place=place,
                hint=f"{nearest(key, model.model_fields)} {hint}",
            ) from error
        raise ConfigError(f"[loop.triggers.{name}], key {key!r}: {wrong(first)}", place=place, hint=hint) from error
    return found(settings)
