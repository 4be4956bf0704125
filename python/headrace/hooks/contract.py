"""What a stage class promises, read from the class: its config, its inputs and its outputs.

One reading, shared by the pipeline (to connect stages), the runtime (to call them), `headrace.testing` and
`headrace plugins show`.
"""

from __future__ import annotations

import inspect
import types
import typing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headrace.errors import PluginError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pydantic import BaseModel

ENGINE_KEYS: frozenset[str] = frozenset({"kind", "use", "inputs", "retries", "timeout", "isolation", "after"})
"""Keys of a stage's table that the engine reads; no `Config` may have a field of that name."""


@dataclass(frozen=True)
class InputSpec:
    """A parameter of `run`: its artifact class, that class's `type_name`, whether it may be missing."""

    type: type
    type_name: str
    optional: bool


@dataclass(frozen=True)
class StageContract:
    """What `describe` read from a stage class.

    `outputs` maps name to artifact class; with `single`, `run` returns that one artifact itself, else a
    NamedTuple.
    """

    config: type[BaseModel]
    inputs: dict[str, InputSpec]
    outputs: dict[str, type]
    single: bool
    has_external: bool
    external_takes_registry: bool
    deterministic: bool
    has_transforms: bool = False


def describe(stage_class: type) -> StageContract:
    """Read the contract of a stage class; `PluginError` names what is wrong with it. Runs nothing of it."""
    place = f"{stage_class.__module__}:{stage_class.__qualname__}"
    config = _config(stage_class, place)
    run = getattr(stage_class, "run", None)
    if not inspect.isfunction(run):
        msg = "a stage needs a method `run(self, ctx, ...)`"
        raise PluginError(msg, place=place, hint="Define `run` as a plain method, annotated with artifact types.")
    hints = _hints(run, f"{place}.run")
    inputs = _inputs(run, hints, f"{place}.run")
    outputs, single = _outputs(hints, inputs, f"{place}.run")
    has_external, takes_registry = _external(stage_class, place)
    deterministic = getattr(stage_class, "deterministic", True)
    if not isinstance(deterministic, bool):
        msg = f"`deterministic` must be True or False, not {deterministic!r}"
        raise PluginError(msg, place=place, hint="Leave it out for a stage that gives the same for the same input.")
    has_transforms = inspect.isfunction(getattr(stage_class, "uses_transforms", None))
    return StageContract(config, inputs, outputs, single, has_external, takes_registry, deterministic, has_transforms)


def is_artifact_type(candidate: object) -> bool:
    """Whether `candidate` is a class that keeps the contract of `headrace.Artifact`."""
    return (
        isinstance(candidate, type)
        and isinstance(getattr(candidate, "type_name", None), str)
        and callable(getattr(candidate, "save", None))
        and callable(getattr(candidate, "load", None))
    )


def _config(stage_class: type, place: str) -> type[BaseModel]:
    from pydantic import BaseModel

    config = getattr(stage_class, "Config", None)
    if not (isinstance(config, type) and issubclass(config, BaseModel)):
        msg = f"a stage needs a class attribute `Config` that is a pydantic model, found {_type_text(config)}"
        raise PluginError(msg, place=place, hint="Define `class Config(pydantic.BaseModel)` inside the stage.")
    keys = {field.alias or name for name, field in config.model_fields.items()}
    clash = sorted(ENGINE_KEYS & keys)
    if clash:
        msg = f"its Config has the field {clash[0]!r}, which is a key of the engine in every stage's table"
        raise PluginError(msg, place=place, hint=f"Rename it; reserved are {', '.join(sorted(ENGINE_KEYS))}.")
    return config


def _hints(function: Callable[..., Any], place: str) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function)
    except Exception as error:
        msg = f"its annotations do not resolve: {type(error).__name__}: {error}"
        hint = "Import the names in the annotations for real, not only under TYPE_CHECKING."
        raise PluginError(msg, place=place, hint=hint) from error


def _inputs(run: Callable[..., Any], hints: Mapping[str, Any], place: str) -> dict[str, InputSpec]:
    parameters = list(inspect.signature(run).parameters.values())
    if len(parameters) < 2:
        msg = f"it takes {len(parameters)} parameters, and needs at least `self, ctx`"
        raise PluginError(msg, place=place, hint="Write `def run(self, ctx: StageContext, data: Dataset) -> Dataset`.")
    inputs: dict[str, InputSpec] = {}
    for parameter in parameters[2:]:
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            name = str(parameter.replace(annotation=parameter.empty))
            msg = f"the parameter {name!r} cannot be connected: inputs are passed by name"
            raise PluginError(msg, place=place, hint="Name each input.")
        if parameter.name not in hints:
            msg = f"the input {parameter.name!r} has no annotation"
            raise PluginError(msg, place=place, hint="Annotate it with an artifact type, such as `headrace.Dataset`.")
        found, optional = _split_optional(hints[parameter.name])
        if not is_artifact_type(found):
            annotation = _type_text(hints[parameter.name])
            msg = f"the input {parameter.name!r} is annotated {annotation}, which is no artifact type"
            hint = "An artifact type has `type_name`, `save` and `load`; settings belong into `Config`."
            raise PluginError(msg, place=place, hint=hint)
        if optional != (parameter.default is None):
            msg = f"the input {parameter.name!r} is half optional: `T | None` and the default None go together"
            raise PluginError(msg, place=place, hint=f"Write `{parameter.name}: {_type_text(found)} | None = None`.")
        inputs[parameter.name] = InputSpec(found, found.type_name, optional)
    return inputs


def _split_optional(annotation: Any) -> tuple[Any, bool]:
    if typing.get_origin(annotation) in (types.UnionType, typing.Union):
        members = [member for member in typing.get_args(annotation) if member is not type(None)]
        if len(members) == 1:
            return members[0], True
    return annotation, False


def _outputs(hints: Mapping[str, Any], inputs: Mapping[str, InputSpec], place: str) -> tuple[dict[str, type], bool]:
    if "return" not in hints:
        msg = "it has no return annotation"
        raise PluginError(msg, place=place, hint="Annotate it with an artifact type, or a NamedTuple of them.")
    returned = hints["return"]
    if is_artifact_type(returned):
        same = [name for name, spec in inputs.items() if spec.type_name == returned.type_name]
        name = same[0] if same else returned.type_name.replace("-", "_")
        return {name: returned}, True
    if not (isinstance(returned, type) and issubclass(returned, tuple) and hasattr(returned, "_fields")):
        msg = f"it returns {_type_text(returned)}, which is neither an artifact type nor a NamedTuple of them"
        raise PluginError(msg, place=place, hint="Return an artifact, or a NamedTuple whose fields are artifacts.")
    fields = _hints(returned, f"{place} -> {returned.__qualname__}")
    outputs: dict[str, type] = {}
    for name in returned._fields:
        if not is_artifact_type(fields.get(name)):
            msg = f"the output {name!r} is annotated {_type_text(fields.get(name))}, no artifact type"
            raise PluginError(msg, place=place, hint="Annotate each field of the NamedTuple with an artifact type.")
        outputs[name] = fields[name]
    if not outputs:
        msg = f"the NamedTuple {returned.__qualname__} has no fields, so the stage would give nothing"
        raise PluginError(msg, place=place, hint="Return at least one artifact.")
    return outputs, False


def _external(stage_class: type, place: str) -> tuple[bool, bool]:
    external = getattr(stage_class, "external", None)
    if external is None:
        return False, False
    names = list(inspect.signature(external).parameters)[1:] if inspect.isfunction(external) else None
    if names == ["project_dir"]:
        return True, False
    if names == ["project_dir", "registry", "inputs"]:
        return True, True
    msg = "`external` must be a method that takes (self, project_dir) or (self, project_dir, registry, inputs)"
    raise PluginError(msg, place=place, hint="See the reference of the stage contract.")


def _type_text(annotation: object) -> str:
    return annotation.__qualname__ if isinstance(annotation, type) else str(annotation)
