"""Transforms by name, ready to be called: from the plugins, or from the project's own code."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from headrace.errors import ConfigError, PluginError, UnknownNameError
from headrace.hooks.catalog import TransformEntry, nearest
from headrace.hooks.discovery import load_class
from headrace.types import BoundTransform

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pydantic import BaseModel

    from headrace.hooks.catalog import TransformCatalog
    from headrace.types import JSON

OWN_CODE = "project"


class Transforms:
    """Implements `headrace.types.TransformSource` over a catalog.

    `catalog` is called when a transform is asked for; so is `source_of`, which gives the hash of the first-party source
    of a module, or an empty text where it is installed.
    """

    def __init__(self, catalog: Callable[[], TransformCatalog], source_of: Callable[[str], str]) -> None:
        self._catalog = catalog
        self._source_of = source_of

    def find(self, use: str) -> tuple[TransformEntry, type]:
        """Whose a transform is, and its class: a registered name, or `module:Class` of the project's own code.

        Raises `UnknownNameError`, `PluginConflictError`, or `PluginError` if it cannot be imported or is no transform.
        """
        if ":" in use:
            entry = TransformEntry(name=use, target=use, distribution=OWN_CODE, version="")
            found = load_class(use, owner=use)
        else:
            catalog = self._catalog()
            entry = catalog.entry(use)
            found = catalog.load(entry)
        check_transform(found)
        return entry, found

    def bind(self, use: str, config: Mapping[str, JSON]) -> BoundTransform:
        """See `headrace.types.TransformSource.bind`."""
        entry, found = self.find(use)
        settings = _validated(entry, found, config)
        return BoundTransform(
            use=use,
            distribution=entry.distribution,
            version=entry.version,
            source=self._source_of(found.__module__),
            config=settings.model_dump(mode="json"),
            code=found(settings),
        )


class NoTransforms:
    """A `TransformSource` for those who have none: in tests of a stage, say."""

    def bind(self, use: str, config: Mapping[str, JSON]) -> BoundTransform:  # noqa: ARG002  # the protocol's
        """Raise `UnknownNameError`."""
        raise UnknownNameError(f"there is no transform {use!r}", hint="No transforms can be looked up here.")


def check_transform(found: type) -> type[BaseModel]:
    """The config model of a transform class; `PluginError` names what keeps it from being one. Runs nothing of it."""
    from pydantic import BaseModel

    place = f"{found.__module__}:{found.__qualname__}"
    config = getattr(found, "Config", None)
    if not (isinstance(config, type) and issubclass(config, BaseModel)):
        msg = "a transform needs a class attribute `Config` that is a pydantic model"
        raise PluginError(msg, place=place, hint="Define `class Config(pydantic.BaseModel)` inside the transform.")
    if not inspect.isfunction(getattr(found, "transform", None)):
        msg = "a transform needs a method `transform(self, frame)`"
        raise PluginError(msg, place=place, hint="Take a polars frame, return a frame of the new columns.")
    if not isinstance(getattr(found, "reads", None), property):
        msg = "a transform needs a property `reads`, the names of the columns that it is given"
        raise PluginError(msg, place=place, hint="Define `@property def reads(self) -> tuple[str, ...]`.")
    return config


def _validated(entry: TransformEntry, found: Any, config: Mapping[str, JSON]) -> BaseModel:
    from pydantic import ValidationError

    try:
        settings: BaseModel = found.Config.model_validate(dict(config))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        hint = None
        if first["type"] == "extra_forbidden":
            hint = nearest(key, found.Config.model_fields)
        raise ConfigError(f"{key}: {first['msg']}" if key else first["msg"], place=entry.label, hint=hint) from error
    return settings
