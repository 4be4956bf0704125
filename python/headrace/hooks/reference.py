"""What a person may want to know of a stage: its config key by key, its inputs and outputs, whose it is.

Read from the code, for `headrace plugins show` and for the reference in the documentation.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from headrace.errors import PluginError

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic.fields import FieldInfo

    from headrace.hooks.catalog import NotifierEntry, StageEntry, TransformEntry, TriggerEntry
    from headrace.hooks.contract import StageContract

TRANSFORM = "transform"
"""What stands in the place of a kind where a transform is meant: `transform:holidays`."""
TRIGGER = "trigger"
"""The same for triggers of the loop: `trigger:schedule`."""
NOTIFIER = "notifier"
"""The same for notifiers: `notifier:webhook`."""


@dataclass(frozen=True)
class ConfigKey:
    """A key of a stage's table.

    `name` is the path inside the table: `a.b` is key b of the table a, `a[].b` that of a table in the array a,
    `a.NAME.b` that of any table in a. `type` uses TOML's words. `default` is None where there is none, and where a
    function of the plugin computes it (`computed`). `shared` keys are taken from `[project]` where they are not set.
    """

    name: str
    type: str
    required: bool
    default: Any
    meaning: str
    shared: bool = False
    computed: bool = False

    @property
    def default_text(self) -> str:
        """The default as one would write it, or why there is none."""
        if self.shared:
            return "as in [project]"
        if self.required:
            return "required"
        if self.computed:
            return "computed"
        return "not set" if self.default is None else json.dumps(_without_none(self.default), ensure_ascii=False)


@dataclass(frozen=True)
class Port:
    """An input or output: its name, the `type_name` of the artifact, and whether the stage runs without it."""

    name: str
    type_name: str
    optional: bool = False


@dataclass(frozen=True)
class StageReference:
    """Everything that `headrace plugins show` prints."""

    kind: str
    name: str
    target: str
    distribution: str
    version: str
    about: str
    deterministic: bool
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    config: tuple[ConfigKey, ...]


def stage_reference(
    entry: StageEntry, stage_class: type, contract: StageContract, *, shared: Collection[str] = ()
) -> StageReference:
    """Read the reference of a stage. `shared` names the config keys that `[project]` gives where the stage does not."""
    return StageReference(
        kind=entry.kind,
        name=entry.name,
        target=entry.target,
        distribution=entry.distribution,
        version=entry.version,
        about=inspect.cleandoc(stage_class.__doc__ or ""),
        deterministic=contract.deterministic,
        inputs=tuple(Port(name, spec.type_name, spec.optional) for name, spec in contract.inputs.items()),
        outputs=tuple(Port(name, type_name_of(found)) for name, found in contract.outputs.items()),
        config=config_keys(contract.config, shared=shared),
    )


def transform_reference(
    entry: TransformEntry | TriggerEntry | NotifierEntry, transform_class: type, config: type[BaseModel]
) -> StageReference:
    """Read the reference of a transform: as of a stage of the kind `transform`, without inputs and outputs."""
    return StageReference(
        kind=TRANSFORM,
        name=entry.name,
        target=entry.target,
        distribution=entry.distribution,
        version=entry.version,
        about=inspect.cleandoc(transform_class.__doc__ or ""),
        deterministic=True,
        inputs=(),
        outputs=(),
        config=config_keys(config),
    )


def trigger_reference(entry: TriggerEntry, trigger_class: type, config: type[BaseModel]) -> StageReference:
    """Read the reference of a trigger, as `transform_reference` does."""
    return replace(transform_reference(entry, trigger_class, config), kind=TRIGGER)


def notifier_reference(entry: NotifierEntry, notifier_class: type, config: type[BaseModel]) -> StageReference:
    """Read the reference of a notifier, as `transform_reference` does."""
    return replace(transform_reference(entry, notifier_class, config), kind=NOTIFIER)


def type_name_of(artifact_class: type) -> str:
    """The `type_name` of an artifact class."""
    return str(artifact_class.type_name)  # type: ignore[attr-defined]  # `describe` checked that it is there


def config_keys(config: type[BaseModel], *, shared: Collection[str] = ()) -> tuple[ConfigKey, ...]:
    """Every key of a config model, nested ones too. `PluginError` where a field's type cannot be written in a file."""
    from pydantic.errors import PydanticUserError

    try:
        schema = config.model_json_schema(mode="validation")
    except PydanticUserError as error:
        msg = f"its Config has a field that a file cannot hold: {str(error).splitlines()[0]}"
        place = f"{config.__module__}:{config.__qualname__}"
        raise PluginError(msg, place=place, hint="Use strings, numbers, booleans, lists, dicts and models.") from error
    merged: dict[str, ConfigKey] = {}
    for key in _Schema(schema.get("$defs", {})).keys(schema, ""):
        merged[key.name] = _merged(merged[key.name], key) if key.name in merged else key
    return tuple(_completed(key, config, shared) for key in merged.values())


def _merged(one: ConfigKey, other: ConfigKey) -> ConfigKey:
    """A key that several alternatives of a table have, as one."""
    types = dict.fromkeys([*one.type.split(" | "), *other.type.split(" | ")])
    meaning = one.meaning if other.meaning in ("", one.meaning) else f"{one.meaning} {other.meaning}".strip()
    return replace(
        one,
        type=" | ".join(types),
        required=one.required and other.required,
        default=one.default if one.default == other.default else None,
        meaning=meaning,
        computed=one.computed or other.computed or one.default != other.default,
    )


def _completed(key: ConfigKey, config: type[BaseModel], shared: Collection[str]) -> ConfigKey:
    """Add what the JSON schema leaves out: defaults that a function makes, and keys that `[project]` gives."""
    from pydantic_core import to_jsonable_python

    default, computed = key.default, key.computed
    for name, field in config.model_fields.items():
        if computed and key.name == (field.alias or name):
            default = to_jsonable_python(_default(field))
            computed = default is None
    shared_here = key.name in shared
    return ConfigKey(key.name, key.type, key.required, default, key.meaning, shared_here, computed)


def _default(field: FieldInfo) -> Any:
    try:
        return field.get_default(call_default_factory=True)
    except (TypeError, ValueError):  # a factory that looks at the other fields: there is no fixed default
        return None


def _without_none(value: Any) -> Any:
    """TOML has no null: a key that is None is a key that is not there."""
    return {k: _without_none(v) for k, v in value.items() if v is not None} if isinstance(value, Mapping) else value


class _Schema:
    """Walks a JSON schema as pydantic writes it."""

    def __init__(self, definitions: Mapping[str, Any]) -> None:
        self._definitions = definitions
        self._open: list[str] = []

    def keys(self, schema: Mapping[str, Any], path: str) -> Iterator[ConfigKey]:
        """The keys of an object schema, each followed by those inside it."""
        for name, about in schema.get("properties", {}).items():
            where = f"{path}{name}"
            required = name in schema.get("required", ())
            meaning = " ".join(about.get("description", "").split())
            computed = not required and "default" not in about
            default = about.get("default")
            yield ConfigKey(where, self.text(about), required, default, meaning, computed=computed)
            yield from self._inside(about, where)

    def _inside(self, schema: Mapping[str, Any], where: str) -> Iterator[ConfigKey]:
        for part in schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf") or ():
            yield from self._inside(part, where)
        if "$ref" in schema:
            name = schema["$ref"].rpartition("/")[2]
            if name not in self._open:  # a model that contains itself is told once
                self._open.append(name)
                yield from self._inside(self._definitions[name], where)
                self._open.pop()
        if "items" in schema:
            yield from self._inside(schema["items"], f"{where}[]")
        if isinstance(schema.get("additionalProperties"), Mapping):
            yield from self._inside(schema["additionalProperties"], f"{where}.NAME")
        yield from self.keys(schema, f"{where}.")

    def text(self, schema: Mapping[str, Any]) -> str:
        """A type in TOML's words."""
        if "$ref" in schema:
            return self.text(self._definitions[schema["$ref"].rpartition("/")[2]])
        if "const" in schema:
            return json.dumps(schema["const"], ensure_ascii=False)
        if "enum" in schema:
            return " | ".join(json.dumps(value, ensure_ascii=False) for value in schema["enum"])
        parts = schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf")
        if parts:
            texts = [self.text(part) for part in parts if part.get("type") != "null"]
            return " | ".join(dict.fromkeys(texts))
        kind = schema.get("type")
        if kind == "array":
            items = schema.get("items")
            return "array" + (f" of {_grouped(self.text(items))}" if items else "") + _bounds(schema)
        if kind == "object":
            values = schema.get("additionalProperties")
            named = "properties" not in schema and isinstance(values, Mapping) and values
            return f"table of {_grouped(self.text(values))}" if named else "table"  # type: ignore[arg-type]
        words = {"integer": "integer", "number": "float", "string": "string", "boolean": "boolean", "null": "not set"}
        return words.get(str(kind), "any") + _bounds(schema)


def _grouped(text: str) -> str:
    return f"({text})" if " | " in text else text


def _bounds(schema: Mapping[str, Any]) -> str:
    limits = [
        ("minimum", ">= {}"),
        ("exclusiveMinimum", "> {}"),
        ("maximum", "<= {}"),
        ("exclusiveMaximum", "< {}"),
        ("multipleOf", "multiple of {}"),
        ("minLength", "at least {} characters"),
        ("maxLength", "at most {} characters"),
        ("minItems", "at least {}"),
        ("maxItems", "at most {}"),
        ("pattern", "matching {}"),
    ]
    found = [text.format(schema[name]) for name, text in limits if name in schema]
    return f" {', '.join(found)}" if found else ""
