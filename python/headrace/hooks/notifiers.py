"""Notifiers: what a plugin may add to tell somebody what the loop does."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Protocol

from headrace.errors import ConfigError, PluginError
from headrace.hooks.catalog import nearest
from headrace.hooks.wording import wrong

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pydantic import BaseModel

    from headrace.hooks.catalog import NotifierEntry


class Notifier(Protocol):
    """What a class must be to be a notifier: `headrace_notifiers` registers it, and says what a notice has in it."""

    Config: type[BaseModel]

    def __init__(self, config: Any) -> None: ...

    def send(self, notice: Mapping[str, Any]) -> str | None:
        """Deliver a notice, and come back when it was accepted. A text that it returns is recorded.

        So is what it raises: the message of headrace's errors, of others, which may hold a secret, the type only.
        """


def check_notifier(found: type) -> type[BaseModel]:
    """The config model of a notifier class; `PluginError` names what keeps it from being one. Runs nothing of it."""
    from pydantic import BaseModel

    place = f"{found.__module__}:{found.__qualname__}"
    config = getattr(found, "Config", None)
    if not (isinstance(config, type) and issubclass(config, BaseModel)):
        msg = "a notifier needs a class attribute `Config` that is a pydantic model"
        raise PluginError(msg, place=place, hint="Define `class Config(pydantic.BaseModel)` inside the notifier.")
    if not inspect.isfunction(getattr(found, "send", None)):
        msg = "a notifier needs a method `send(self, notice)`"
        raise PluginError(msg, place=place, hint="Deliver the mapping `notice`, and raise where that fails.")
    return config


def notifier_settings(
    entry: NotifierEntry, found: Any, name: str, config: Mapping[str, Any], *, folder: Path, place: str
) -> Any:
    """An instance of the notifier's `Config`. `ConfigError` names key and place, and never shows a value.

    `folder` is the project's: the model is validated with the context `{"folder": folder}`.
    """
    from pydantic import ValidationError

    model = check_notifier(found)
    try:
        return model.model_validate(dict(config), context={"folder": folder})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    # Outside of the block: what pydantic raised shows the values that it was given, and some may be secrets.
    key = ".".join(str(part) for part in first["loc"])
    hint = f"`headrace plugins show notifier:{entry.name}` explains each key."
    if first["type"] == "extra_forbidden":
        raise ConfigError(
            f"[loop.notify.{name}] has no key {key!r}", place=place, hint=f"{nearest(key, model.model_fields)} {hint}"
        )
    said = wrong(first, secret=True)
    where = f", key {key!r}" if key else ""
    raise ConfigError(f"[loop.notify.{name}]{where}: {said}", place=place, hint=hint)
