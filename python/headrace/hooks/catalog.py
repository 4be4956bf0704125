"""What plugins registered: stages, artifact types and transforms, as strings until somebody asks for the class."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Generic, NoReturn, TypeAlias, TypeVar

from headrace.errors import PluginConflictError, PluginError, UnknownNameError
from headrace.hooks.discovery import EntryPoint, PluginProblem, check_target, load_class

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    _AnyEntry: TypeAlias = "StageEntry | ArtifactEntry | TransformEntry | TriggerEntry | NotifierEntry"

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}", re.ASCII)
NAME_RULE = "Use at most 64 lower-case letters, digits, '-' and '_', a letter first."


@dataclass(frozen=True)
class StageEntry:
    """A registered stage implementation. `target` is `"module:Class"`, not yet imported."""

    kind: str
    name: str
    target: str
    distribution: str
    version: str

    @property
    def label(self) -> str:
        """How messages call it."""
        return f"stage {self.kind}:{self.name} of {self.distribution} {self.version}".rstrip()


@dataclass(frozen=True)
class ArtifactEntry:
    """A registered artifact type; `target` is `"module:Class"`, not yet imported."""

    type_name: str
    target: str
    distribution: str
    version: str

    @property
    def label(self) -> str:
        """How messages call it."""
        return f"artifact type {self.type_name} of {self.distribution} {self.version}".rstrip()


@dataclass(frozen=True)
class TransformEntry:
    """A registered transform; `target` is `"module:Class"`, not yet imported."""

    name: str
    target: str
    distribution: str
    version: str

    @property
    def label(self) -> str:
        """How messages call it."""
        return f"transform {self.name} of {self.distribution} {self.version}".rstrip()


@dataclass(frozen=True)
class TriggerEntry:
    """A registered trigger; `target` is `"module:Class"`, not yet imported."""

    name: str
    target: str
    distribution: str
    version: str

    @property
    def label(self) -> str:
        """How messages call it."""
        return f"trigger {self.name} of {self.distribution} {self.version}".rstrip()


@dataclass(frozen=True)
class NotifierEntry:
    """A registered notifier; `target` is `"module:Class"`, not yet imported."""

    name: str
    target: str
    distribution: str
    version: str

    @property
    def label(self) -> str:
        """How messages call it."""
        return f"notifier {self.name} of {self.distribution} {self.version}".rstrip()


def is_name(name: object) -> bool:
    """Whether stages, kinds, artifact types, transforms, triggers and notifiers may be called so."""
    return isinstance(name, str) and _NAME.fullmatch(name) is not None


def check_name(what: str, name: object) -> str:
    """Return `name` if what a plugin registers may be called so; else raise `PluginError`."""
    if isinstance(name, str) and is_name(name):
        return name
    msg = f"{name!r} cannot be the name of {what}"
    raise PluginError(msg, hint=NAME_RULE)


class StageClaims:
    """What one plugin's `headrace_stages` is given: collects what it adds, and takes back nothing."""

    def __init__(self, plugin: EntryPoint) -> None:
        self._plugin = plugin
        self.entries: dict[tuple[str, str], StageEntry] = {}

    def add(self, kind: str, name: str, target: str) -> None:
        """See `headrace.hooks.specs.StageRegistry.add`. Raises `PluginError` for a bad or repeated name."""
        key = check_name("a stage kind", kind), check_name("a stage", name)
        if key in self.entries:
            msg = f"the stage {kind}:{name} is registered twice by the same plugin"
            raise PluginError(msg, hint="Register each name once.")
        self.entries[key] = StageEntry(
            kind, name, check_target(target), self._plugin.distribution, self._plugin.version
        )


class ArtifactClaims:
    """What one plugin's `headrace_artifacts` is given."""

    def __init__(self, plugin: EntryPoint) -> None:
        self._plugin = plugin
        self.entries: dict[str, ArtifactEntry] = {}

    def add(self, type_name: str, target: str) -> None:
        """See `headrace.hooks.specs.ArtifactRegistry.add`. `PluginError` for a bad or repeated name."""
        if check_name("an artifact type", type_name) in self.entries:
            msg = f"the artifact type {type_name} is registered twice by the same plugin"
            raise PluginError(msg, hint="Register each name once.")
        plugin = self._plugin
        self.entries[type_name] = ArtifactEntry(type_name, check_target(target), plugin.distribution, plugin.version)


Named = TypeVar("Named", TransformEntry, TriggerEntry, NotifierEntry)


class NamedClaims(Generic[Named]):
    """What one plugin's `headrace_transforms`, `headrace_triggers` or `headrace_notifiers` is given.

    `noun` is how messages call what is registered, and `entry` makes it of name, target, distribution and version.
    """

    def __init__(self, plugin: EntryPoint, noun: str, entry: Callable[[str, str, str, str], Named]) -> None:
        self._plugin = plugin
        self._noun = noun
        self._entry: Callable[[str, str, str, str], Named] = entry
        self.entries: dict[str, Named] = {}

    def add(self, name: str, target: str) -> None:
        """See the registries of `headrace.hooks.specs`. `PluginError` for a bad or repeated name."""
        if check_name(f"a {self._noun}", name) in self.entries:
            msg = f"the {self._noun} {name} is registered twice by the same plugin"
            raise PluginError(msg, hint="Register each name once.")
        plugin = self._plugin
        self.entries[name] = self._entry(name, check_target(target), plugin.distribution, plugin.version)


class StageCatalog:
    """Stage implementations by kind and name. Built by `PluginManager`; immutable."""

    def __init__(self, claims: Mapping[tuple[str, str], Sequence[StageEntry]], broken: Iterable[str] = ()) -> None:
        self._claims = {key: tuple(claims[key]) for key in sorted(claims)}
        self._broken = tuple(broken)

    def entries(self) -> tuple[StageEntry, ...]:
        """What can be used, by kind and name. A name that two plugins claim is not in it."""
        return tuple(found[0] for found in self._claims.values() if len(found) == 1)

    def kinds(self) -> tuple[str, ...]:
        """Every kind that has an implementation."""
        return tuple(sorted({kind for kind, _ in self._claims}))

    def conflicts(self) -> tuple[tuple[StageEntry, ...], ...]:
        """Each name that more than one plugin claims, with every claim."""
        return tuple(found for found in self._claims.values() if len(found) > 1)

    def entry(self, kind: str, use: str) -> StageEntry:
        """The implementation `use` of `kind`.

        Raises `PluginConflictError` if several plugins claim it, `UnknownNameError` (with the nearest names)
        if none does.
        """
        found = self._claims.get((kind, use), ())
        if len(found) == 1:
            return found[0]
        if found:
            _conflict(f"the stage {kind}:{use}", found)
        names = [name for k, name in self._claims if k == kind]
        elsewhere = [k for k, name in self._claims if name == use]
        if names and elsewhere:
            msg = f"{use!r} is no implementation of {kind!r}, but of {_either(elsewhere)}"
            hint = f"For {kind!r} there is {_either(sorted(names))}."
        elif names:
            msg = f"there is no implementation {use!r} of {kind!r}"
            hint = nearest(use, names)
        else:
            msg = f"there is no stage kind {kind!r}, so no implementation {use!r} of it"
            hint = nearest(kind, self.kinds())
        raise UnknownNameError(msg, hint=_with_broken(hint, self._broken))

    def load(self, entry: StageEntry) -> type:
        """Import the class. Raises `PluginError` with the cause chained."""
        return load_class(entry.target, owner=entry.label)


Entry = TypeVar("Entry", bound=ArtifactEntry | TransformEntry | TriggerEntry | NotifierEntry)


class _Catalog(Generic[Entry]):
    """Things that plugins registered by a name of their own. Immutable. `noun` is how messages call one."""

    noun: ClassVar[str]

    def __init__(self, claims: Mapping[str, Sequence[Entry]], broken: Iterable[str] = ()) -> None:
        self._claims: dict[str, tuple[Entry, ...]] = {key: tuple(claims[key]) for key in sorted(claims)}
        self._broken = tuple(broken)

    def names(self) -> tuple[str, ...]:
        """What can be used; a name that two plugins claim is not in it."""
        return tuple(name for name, found in self._claims.items() if len(found) == 1)

    def entries(self) -> tuple[Entry, ...]:
        """What can be used, with who registered it."""
        return tuple(found[0] for found in self._claims.values() if len(found) == 1)

    def conflicts(self) -> dict[str, tuple[Entry, ...]]:
        """Each name that more than one plugin claims, with every claim."""
        return {name: found for name, found in self._claims.items() if len(found) > 1}

    def entry(self, name: str) -> Entry:
        """Who registered a name. Raises `PluginConflictError`, `UnknownNameError`."""
        found = self._claims.get(name, ())
        if len(found) == 1:
            return found[0]
        if found:
            _conflict(f"the {self.noun} {name!r}", found)
        msg = f"there is no {self.noun} {name!r}"
        raise UnknownNameError(msg, hint=_with_broken(nearest(name, self._claims), self._broken))


class ArtifactCatalog(_Catalog[ArtifactEntry]):
    """Artifact types by name. Built by `PluginManager`; immutable."""

    noun = "artifact type"

    def load(self, type_name: str) -> type:
        """Import the class of a type; `PluginError` if that fails or gives the class of another."""
        entry = self.entry(type_name)
        found = load_class(entry.target, owner=entry.label)
        actual = getattr(found, "type_name", None)
        if actual != type_name:
            msg = f"{entry.target!r} is registered as {type_name!r}, but its type_name is {actual!r}"
            raise PluginError(msg, place=entry.label, hint="Register an artifact class under its `type_name`.")
        return found


class TransformCatalog(_Catalog[TransformEntry]):
    """Transforms by name. Built by `PluginManager`; immutable."""

    noun = "transform"

    def load(self, entry: TransformEntry) -> type:
        """Import the class. Raises `PluginError` with the cause chained."""
        return load_class(entry.target, owner=entry.label)


class TriggerCatalog(_Catalog[TriggerEntry]):
    """Triggers by name. Built by `PluginManager`; immutable."""

    noun = "trigger"

    def load(self, entry: TriggerEntry) -> type:
        """Import the class. Raises `PluginError` with the cause chained."""
        return load_class(entry.target, owner=entry.label)


class NotifierCatalog(_Catalog[NotifierEntry]):
    """Notifiers by name. Built by `PluginManager`; immutable."""

    noun = "notifier"

    def load(self, entry: NotifierEntry) -> type:
        """Import the class. Raises `PluginError` with the cause chained."""
        return load_class(entry.target, owner=entry.label)


def nearest(wrong: str, right: Iterable[str]) -> str:
    """A hint with the names nearest to `wrong`, or all of them where none is near."""
    names = sorted(right)
    close = difflib.get_close_matches(wrong, names, n=3, cutoff=0.6)
    if close:
        return f"Did you mean {_either(close)}?"
    return f"There is {_either(names)}." if names else "Nothing is registered here; is its plugin installed?"


def conflict_problems(
    stages: StageCatalog,
    artifacts: ArtifactCatalog,
    transforms: TransformCatalog,
    triggers: TriggerCatalog,
    notifiers: NotifierCatalog,
) -> list[PluginProblem]:
    """One problem for each name that is claimed more than once, under the later claimant."""
    named: list[tuple[str, Sequence[_AnyEntry]]] = []
    named += [(f"the stage {c[0].kind}:{c[0].name}", c) for c in stages.conflicts()]
    named += [(f"the artifact type {name!r}", claims) for name, claims in artifacts.conflicts().items()]
    named += [(f"the transform {name!r}", claims) for name, claims in transforms.conflicts().items()]
    named += [(f"the trigger {name!r}", claims) for name, claims in triggers.conflicts().items()]
    named += [(f"the notifier {name!r}", claims) for name, claims in notifiers.conflicts().items()]
    return [
        PluginProblem(claims[-1].distribution, "", "conflict", f"{what} is registered by {_owners(claims)}")
        for what, claims in named
    ]


def _conflict(what: str, claims: Sequence[_AnyEntry]) -> NoReturn:
    msg = f"{what} is registered by {_owners(claims)}"
    hint = "Uninstall one of them, or name it in `disabled` of the table [plugins] of headrace.toml."
    raise PluginConflictError(msg, hint=hint)


def _owners(claims: Sequence[_AnyEntry]) -> str:
    owners = [f"{claim.distribution} {claim.version}".rstrip() + f" ({claim.target})" for claim in claims]
    return ", ".join(owners[:-1]) + f" and {owners[-1]}"


def _either(names: Sequence[str]) -> str:
    quoted = [repr(name) for name in names]
    return quoted[0] if len(quoted) == 1 else ", ".join(quoted[:-1]) + f" or {quoted[-1]}"


def _with_broken(hint: str, broken: Sequence[str]) -> str:
    if not broken:
        return hint
    names = ", ".join(broken)
    return f"{hint} It may belong to a plugin that is broken ({names}): see `headrace plugins doctor`."
