"""`headrace.toml` as a typed value: the project and its stages, overlays and overrides applied.

Reading says where: an error names the file and the line. Whether a stage's own keys fit its `Config` is not decided
here, because that needs the plugin; `pipeline.graph` does it.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from headrace.errors import SpecError
from headrace.hooks.catalog import nearest
from headrace.hooks.contract import ENGINE_KEYS
from headrace.pipeline.locate import Override, Places, key_path

if TYPE_CHECKING:
    from pathlib import Path

FILE_NAME = "headrace.toml"
KINDS = (
    "ingest",
    "validate",
    "split",
    "features",
    "tune",
    "train",
    "evaluate",
    "gate",
    "register",
    "report",
    "deploy",
    "monitor",
    "trigger",
    "notify",
)
RESERVED = ("project", "env", "store", "plugins", "rehearse", "loop", "serve")
_WITH_DEFAULTS = ("loop", "rehearse")  # tables that say something also where nobody wrote them
PROJECT_KEYS = ("name", "target", "task", "time_column", "id_columns", "seed", "jobs", "threads")
STORE_KEYS = ("path", "url")
PLUGIN_KEYS = ("disabled",)
SHARED_KEYS = ("target", "task", "time_column", "id_columns")
_NAME_LIMIT = 100


@dataclass(frozen=True)
class StageSpec:
    """One stage as written. `config` holds the keys that are the stage's own."""

    name: str
    kind: str
    use: str
    config: Mapping[str, Any]
    inputs: Mapping[str, str] = field(default_factory=dict)
    after: tuple[str, ...] = ()
    retries: int = 0
    timeout: float | None = None
    isolation: str = "thread"


@dataclass(frozen=True)
class Spec:
    """A whole `headrace.toml`. `shared` are the `[project]` keys that stages inherit when their `Config` has them."""

    path: Path
    name: str
    stages: tuple[StageSpec, ...]
    seed: int = 0
    jobs: int | None = None
    threads: int | None = None
    shared: Mapping[str, Any] = field(default_factory=dict)
    store: Mapping[str, Any] = field(default_factory=dict)
    disabled_plugins: tuple[str, ...] = ()
    document: Mapping[str, Any] = field(default_factory=dict)
    places: Places = field(default_factory=lambda: Places(FILE_NAME))

    @property
    def project_dir(self) -> Path:
        return self.path.parent

    def place(self, *keys: str) -> str:
        """Where the key was written, as near as it can be found: `headrace.toml:12`, or `--set train.seed=1`."""
        return self.places.of(*keys)

    def stage(self, name: str) -> StageSpec:
        for stage in self.stages:
            if stage.name == name:
                return stage
        raise SpecError(
            f"there is no stage {name!r}",
            place=self.path.name,
            hint=nearest(name, [s.name for s in self.stages]),
        )


def load(path: Path, *, env: str | None = None, overrides: Mapping[str, Any] | Sequence[str] = ()) -> Spec:
    """Read the spec at `path` (the file, or the folder that holds it).

    `env` names an overlay `[env.NAME]`; `overrides` are `stage.key=value` strings (the value as TOML, a bare word as a
    string) or a mapping of such keys to values. Overlay first, then overrides.
    """
    path = path / FILE_NAME if path.is_dir() else path
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SpecError(
            "there is no headrace.toml here",
            place=str(path),
            hint="Make one with `headrace init . --data FILE --target COLUMN`, or go to the project's folder.",
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"cannot be read: {error}", place=str(path), hint="It must be a UTF-8 text file.") from error
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SpecError(f"is not valid TOML: {error}", place=path.name, hint="Mend that line.") from error
    return parse(document, path=path.resolve(), text=text, env=env, overrides=overrides)


def parse(
    document: Mapping[str, Any],
    *,
    path: Path,
    text: str = "",
    env: str | None = None,
    overrides: Mapping[str, Any] | Sequence[str] = (),
) -> Spec:
    """Turn a TOML document into a `Spec`; see `load`."""
    base = {k: v for k, v in document.items() if k != "env"}
    overlay = _overlay(document.get("env", {}), env, Places(path.name, text))
    items = override_items(overrides)
    reader = _Reader(Places(path.name, text, base, overlay, env, tuple(items)))
    merged = _merged(base, overlay)
    for item in items:
        merged = overridden(merged, item)

    project = reader.table(merged, "project", PROJECT_KEYS)
    if "name" not in project:
        raise SpecError(
            "[project] has no `name`",
            place=reader.place("project"),
            hint='Add `name = "..."`: lower-case letters, digits, `.`, `_`, `-`.',
        )
    name = reader.typed(project, "project", "name", str)
    if not valid_name(name):
        raise SpecError(
            f"the project name {name!r} is not allowed",
            place=reader.place("project", "name"),
            hint="Use lower-case letters, digits, `.`, `_` and `-`, beginning with a letter or digit.",
        )
    plugins = reader.table(merged, "plugins", PLUGIN_KEYS)
    stages = tuple(reader.stage(key, merged[key]) for key in merged if key not in RESERVED)
    if not stages:
        raise SpecError("has no stages", place=path.name, hint="Add at least one, for instance `[ingest]`.")
    seed = reader.typed(project, "project", "seed", int, 0)
    return Spec(
        path=path,
        name=name,
        stages=stages,
        seed=seed,
        jobs=reader.typed(project, "project", "jobs", int, None),
        threads=reader.typed(project, "project", "threads", int, None),
        shared={k: project[k] for k in SHARED_KEYS if k in project} | {"model": name},
        store=reader.table(merged, "store", STORE_KEYS),
        disabled_plugins=tuple(reader.typed(plugins, "plugins", "disabled", list, [])),
        document=merged,
        places=reader.places,
    )


def valid_name(name: str) -> bool:
    """Whether `name` may name a project, stage or model: `[a-z0-9][a-z0-9._-]*`, at most 100 characters."""
    allowed = set("abcdefghijklmnopqrstuvwxyz0123456789._-")
    return 0 < len(name) <= _NAME_LIMIT and name[0] not in "._-" and set(name) <= allowed


def override_items(overrides: Mapping[str, Any] | Sequence[str]) -> list[Override]:
    """Overrides as keys and values, in their order. Raises `SpecError` for a text that is none."""
    if isinstance(overrides, Mapping):
        return [Override(key_path(key), value, f"overrides[{key!r}]") for key, value in overrides.items()]
    items = []
    for text in overrides:
        key, equals, value = text.partition("=")
        if not equals or "." not in key:
            raise SpecError(
                f"{text!r} is not an override",
                place="--set",
                hint="Write STAGE.KEY=VALUE, for instance train.num_leaves=63.",
            )
        items.append(Override(key_path(key.strip()), _value(value.strip()), f"--set {text}"))
    return items


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, KeyError):
        return text  # a bare word, as a shell user writes it


class _Reader:
    """Checks tables and says where in the file they are wrong."""

    def __init__(self, places: Places) -> None:
        self.places = places

    def place(self, *keys: str) -> str:
        return self.places.of(*keys)

    def table(self, document: Mapping[str, Any], key: str, known: Sequence[str]) -> dict[str, Any]:
        value = document.get(key, {})
        if not isinstance(value, Mapping):
            raise SpecError(f"`{key}` must be a table", place=self.place(key), hint=f"Write it as [{key}].")
        for inner in value:
            if inner not in known:
                raise SpecError(
                    f"[{key}] has no key {inner!r}", place=self.place(key, inner), hint=nearest(inner, known)
                )
        return dict(value)

    def typed(self, table: Mapping[str, Any], where: str, key: str, kind: type, default: Any = None) -> Any:
        value = table.get(key, default)
        if value is default:
            return value
        if (isinstance(value, bool) and kind is not bool) or not isinstance(value, kind):
            raise SpecError(f"`{key}` is {value!r}, and must be of type {kind.__name__}", place=self.place(where, key))
        return value

    def stage(self, name: str, table: Any) -> StageSpec:
        if not isinstance(table, Mapping):
            raise SpecError(
                f"there is no top-level key {name!r}",
                place=self.place(name),
                hint="Stages are tables: [ingest], [train], ... " + nearest(name, [*RESERVED, *KINDS]),
            )
        if not valid_name(name):
            raise SpecError(
                f"the stage name {name!r} is not allowed",
                place=self.place(name),
                hint="Use lower-case letters, digits, `.`, `_` and `-`.",
            )
        kind = table.get("kind", name)
        if "kind" not in table and name not in KINDS:
            raise SpecError(
                f"{name!r} is neither a known table nor a kind of stage",
                place=self.place(name),
                hint=nearest(name, [*RESERVED, *KINDS]) + f' For a kind of your own, add `kind = "{name}"`.',
            )
        if "use" not in table:
            raise SpecError(
                f"stage [{name}] has no `use`",
                place=self.place(name),
                hint=f'Write `use = "..."`; `headrace plugins list` shows the implementations of kind {kind!r}.',
            )
        retries = self.typed(table, name, "retries", int, 0)
        timeout = table.get("timeout")
        isolation = self.typed(table, name, "isolation", str, "thread")
        if retries < 0:
            raise SpecError(f"`retries` is {retries}, and must be at least 0", place=self.place(name, "retries"))
        if timeout is not None and (isinstance(timeout, bool) or not isinstance(timeout, int | float) or timeout <= 0):
            raise SpecError(
                f"`timeout` is {timeout!r}, and must be a number of seconds above 0",
                place=self.place(name, "timeout"),
            )
        if isolation not in ("thread", "process"):
            raise SpecError(
                f"`isolation` is {isolation!r}",
                place=self.place(name, "isolation"),
                hint='Use "thread" or "process".',
            )
        inputs = self.typed(table, name, "inputs", dict, {})
        for key, producer in inputs.items():
            if not isinstance(producer, str):
                raise SpecError(
                    f"`inputs.{key}` is {producer!r}",
                    place=self.place(name, "inputs", key),
                    hint='Write "STAGE.OUTPUT".',
                )
        return StageSpec(
            name=name,
            kind=self.typed({"kind": kind}, name, "kind", str),
            use=self.typed(table, name, "use", str),
            config={k: v for k, v in table.items() if k not in ENGINE_KEYS},
            inputs=dict(inputs),
            after=tuple(self.typed(table, name, "after", list, [])),
            retries=retries,
            timeout=float(timeout) if timeout is not None else None,
            # A thread cannot be ended from outside, so a timeout means a process of its own.
            isolation="process" if timeout is not None else isolation,
        )


def _overlay(overlays: Any, env: str | None, places: Places) -> Mapping[str, Any]:
    """What `[env.NAME]` says; nothing where no overlay is asked for."""
    if not isinstance(overlays, Mapping) or not all(isinstance(v, Mapping) for v in overlays.values()):
        raise SpecError("`env` must hold tables", place=places.of("env"), hint="Write [env.prod.train].")
    if env is None:
        return {}
    if env not in overlays:
        none = f"There is none in it: write [env.{env}.STAGE], or leave `env` out."
        hint = nearest(env, overlays) if overlays else none
        raise SpecError(f"there is no overlay [env.{env}]", place=places.file, hint=hint)
    found: Mapping[str, Any] = overlays[env]
    return found


def overridden(document: Mapping[str, Any], override: Override) -> dict[str, Any]:
    """`document` with one key changed; `SpecError` if it has no such table."""
    head, *rest = override.path
    if head not in document and head not in _WITH_DEFAULTS:
        raise SpecError(
            f"{'.'.join(override.path)!r} begins with {head!r}, which is not in this spec",
            place=override.shown,
            hint=nearest(head, document),
        )
    patch: Any = override.value
    for part in reversed(rest):
        patch = {part: patch}
    return _merged(document, {head: patch})


def _merged(base: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """Tables merge key by key; everything else is replaced. New keys come last."""
    result = dict(base)
    for key, value in patch.items():
        old = result.get(key)
        result[key] = _merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return result


def recorded(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document as it may be written down: of notifiers (`[loop.notify]`) only what can be no secret."""
    loop = document.get("loop")
    notify = loop.get("notify") if isinstance(loop, Mapping) else None
    if not isinstance(loop, Mapping) or notify is None:
        return dict(document)
    named = notify.items() if isinstance(notify, Mapping) else ()
    return {**document, "loop": {**loop, "notify": {name: _shown(keys) for name, keys in named}}}


def _shown(keys: Any) -> dict[str, Any]:
    shown = ("use", "events", "timeout")
    items = keys.items() if isinstance(keys, Mapping) else ()
    return {key: value if key in shown else "(not shown)" for key, value in items}
