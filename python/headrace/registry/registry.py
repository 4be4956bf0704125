"""`Registry`: versions of models, and which of them has which name."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import EllipsisType
from typing import TYPE_CHECKING, Any

from headrace.errors import NotFoundError, RegistryError
from headrace.hooks.transforms import NoTransforms
from headrace.registry.names import CHAMPION, alias_name, model_name, parse
from headrace.registry.package import ModelPackage, make_manifest, package_digest
from headrace.store.objects import checked_digest
from headrace.types import JSON, AliasMove, ModelVersion

if TYPE_CHECKING:
    from headrace.store import Store
    from headrace.store.versions import AliasState, Move, Version
    from headrace.types import TransformSource

Observer = Callable[[str, dict[str, Any]], object]


@dataclass(frozen=True)
class ModelInfo:
    """A model: how many versions it has, and its aliases (name -> number)."""

    name: str
    versions: int
    aliases: Mapping[str, int]


@dataclass(frozen=True)
class VersionInfo:
    """A version without its files. `created` in seconds since the epoch; `model_digest` is the model artifact's."""

    model: str
    number: int
    package: str
    model_digest: str
    run_id: str | None
    who: str
    created: float
    aliases: tuple[str, ...]
    about: Mapping[str, Any]


class Registry:
    """The registry of a store, in the name of somebody.

    Parameters
    ----------
    store
        Where versions are kept.
    who
        Who moves aliases and registers: goes into the history.
    observer
        Told of `after_version_registered` and `after_alias_moved`, after the database committed.
    transforms
        Where packages that need Python columns find what computes them; default: nowhere.

    """

    def __init__(
        self,
        store: Store,
        *,
        who: str,
        observer: Observer | None = None,
        transforms: TransformSource | None = None,
    ) -> None:
        self.store = store
        self.who = who
        self._observer = observer
        self._transforms = transforms or NoTransforms()
        self._run_id: str | None = None

    def set_run(self, run_id: str | None) -> None:
        """Say in which run what follows happens."""
        self._run_id = run_id

    # --- registering ------------------------------------------------------------------------------------------------

    def register(
        self, model: str, files: Mapping[str, bytes], *, about: Mapping[str, JSON], model_digest: str
    ) -> ModelVersion:
        """Make a package of `files` and register it. The same package again gives the version that it already has.

        Raises `RegistryError` for a name that is not allowed, for no files, or if `about` is not JSON.
        """
        from headrace.store.versions import Version

        name = model_name(model)
        if not files:
            raise RegistryError("a package needs files", place=name, hint="Give at least the model.")
        manifest, blobs = make_manifest(
            name, files, about=about, model_digest=checked_digest(model_digest), run_id=self._run_id
        )
        wanted = Version(
            model=name,
            number=0,
            package=package_digest(manifest),
            model_digest=model_digest,
            manifest=manifest,
            run_id=self._run_id,
            who=self.who,
            created=manifest["created"],
        )
        made, is_new = self.store.versions.add(wanted, files, blobs)
        if is_new:
            self._tell("after_version_registered", {"package": ModelPackage(self.store, made, self._transforms)})
        return ModelVersion(name, made.number, made.package)

    # --- looking up -------------------------------------------------------------------------------------------------

    def models(self) -> list[ModelInfo]:
        """All models, by name."""
        return [
            ModelInfo(name, count, {a: state.number for a, state in self.store.versions.aliases(name).items()})
            for name, count in self.store.versions.models().items()
        ]

    def versions(self, model: str) -> list[VersionInfo]:
        """The versions of a model, newest first. Raises `NotFoundError` for a model without any."""
        rows = self.store.versions.of(model_name(model))
        if not rows:
            raise self._no_model(model)
        aliases = self.store.versions.aliases(model)
        return [_info(row, aliases) for row in reversed(rows)]

    def get(self, model: str, which: int | str) -> ModelPackage:
        """A version by number or alias, its files checked. Raises `NotFoundError`, `RegistryError` if damaged."""
        return ModelPackage(self.store, self._row(model_name(model), which), self._transforms)

    def resolve(self, ref: str) -> ModelPackage:
        """`"flights@champion"`, `"flights@3"`, or `"flights"` for its champion. Raises as `get` does."""
        reference = parse(ref)
        return self.get(reference.model, reference.alias or reference.number or 0)

    def champion(self, model: str, *, besides: str | None = None) -> ModelPackage | None:
        """The version under the alias `champion`, or None.

        Where the champion's own model has the digest `besides`, the version that was champion before it. One that was
        rolled back does not count.
        """
        name = model_name(model)
        for number in self.store.versions.standing(name, CHAMPION):
            row = self.store.versions.get(name, number)
            if row is not None and row.model_digest != besides:
                return ModelPackage(self.store, row, self._transforms)
        return None

    def package(self, model: str, alias: str) -> ModelPackage | None:
        """The version under an alias, or None. Raises `RegistryError` if it is damaged."""
        number = self.aliased(model, alias)
        return None if number is None else self.get(model, number)

    def needs_repair(self, version: ModelVersion) -> bool:
        """Whether files of a version are missing or damaged, and the stage that registered it may make them again.

        It may not where the version was champion and is no more: to register it again would give it back the alias
        that somebody took from it.
        """
        row = self.store.versions.get(version.name, version.number)
        if row is None or row.package != version.package:
            return False
        if self.store.versions.is_whole(row):
            return False
        was = any(move.version == row.number for move in self.store.versions.history(row.model, CHAMPION))
        return not was or self.aliased(row.model, CHAMPION) == row.number

    def aliased(self, model: str, alias: str) -> int | None:
        """The number of the version that an alias names now, or None."""
        state = self._state(model_name(model), alias_name(alias))
        return state.number if state else None

    def history(self, model: str, alias: str | None = None) -> list[AliasMove]:
        """Who moved which alias, when, why, on which gate report; newest first."""
        return self.store.versions.history(model_name(model), alias_name(alias) if alias is not None else None)

    # --- moving aliases ---------------------------------------------------------------------------------------------

    def move_alias(
        self, version: ModelVersion, alias: str, *, expected: int | None, why: str, gate: str | None = None
    ) -> None:
        """Point an alias at a version, if it is still at version `expected` (None: it does not exist yet).

        An alias that is at `version` already stays there, without an entry in the history: so a run that died between
        the move and its record can be repeated. Raises `AliasConflictError` if the alias is somewhere else,
        `NotFoundError` if there is no such version, `RegistryError` if its package is damaged.
        """
        from headrace.store.versions import conflict

        row = self._row(model_name(version.name), version.number)
        if row.package != version.package:
            raise RegistryError(f"version {version.number} of {version.name!r} is another package than the one given")
        move = self._move(row, alias, why, gate)
        state = self._state(row.model, move.alias)
        found = state.number if state else None
        if found == row.number:
            return
        if found != expected:
            raise conflict(move, found, expected)
        self._apply(row, move, state)

    def promote(
        self,
        ref: str,
        alias: str = CHAMPION,
        *,
        why: str,
        expected: int | EllipsisType | None = ...,
        gate: str | None = None,
    ) -> AliasMove | None:
        """Point an alias at a version, by hand. Its files are checked first.

        `expected`: the number that the alias must still have (None: it must not exist); left out, wherever it is now.
        Returns the move, or None if the alias was there already. Raises as `move_alias` does.
        """
        from headrace.store.versions import conflict

        reference = parse(ref)
        row = self._row(reference.model, reference.alias or reference.number or 0)
        move = self._move(row, alias, why, gate)
        state = self._state(row.model, move.alias)
        found = state.number if state else None
        if not isinstance(expected, EllipsisType) and expected != found:
            raise conflict(move, found, expected)
        return None if found == row.number else self._apply(row, move, state)

    def rollback(self, model: str, alias: str = CHAMPION, *, why: str) -> AliasMove:
        """Point an alias at the version that it had before the present one, as a new entry in the history.

        Twice in a row goes back two versions. Raises `RegistryError` if there is nothing to go back to.
        """
        name, alias = model_name(model), alias_name(alias)
        state = self._state(name, alias)
        if state is None:
            raise self._no_alias(name, alias)
        standing = self.store.versions.standing(name, alias)
        if len(standing) < 2:
            raise RegistryError(
                f"the alias {alias!r} of {name!r} is at version {state.number}, and there is none to go back to",
                hint=f"Name a version: headrace models promote {name}@NUMBER",
            )
        row = self._row(name, standing[1])
        return self._apply(row, self._move(row, alias, why, None, rollback=True), state)

    def _move(self, row: Version, alias: str, why: str, gate: str | None, *, rollback: bool = False) -> Move:
        from headrace.store.versions import Move

        return Move(
            model=row.model,
            alias=alias_name(alias),
            number=row.number,
            who=self.who,
            why=why,
            gate=gate,
            run_id=self._run_id,
            action="rollback" if rollback else "move",
        )

    def _apply(self, row: Version, move: Move, state: AliasState | None) -> AliasMove:
        """Check the package, then move: a name is never given to something that cannot be served."""
        ModelPackage(self.store, row, self._transforms)
        moved = self.store.versions.move(move, expected=state)
        self._tell("after_alias_moved", {"move": moved})
        return moved

    # --- the rest ---------------------------------------------------------------------------------------------------

    def _state(self, model: str, alias: str) -> AliasState | None:
        return self.store.versions.aliases(model).get(alias)

    def _row(self, model: str, which: int | str) -> Version:
        if isinstance(which, str):
            state = self._state(model, alias_name(which))
            if state is None:
                raise self._no_alias(model, which)
            which = state.number
        row = self.store.versions.get(model, which)
        if row is None:
            known = [version.number for version in self.store.versions.of(model)]
            if not known:
                raise self._no_model(model)
            raise NotFoundError(
                f"the model {model!r} has no version {which}", hint=f"It has {known[0]} to {known[-1]}."
            )
        return row

    def _no_model(self, model: str) -> NotFoundError:
        known = list(self.store.versions.models())
        near = difflib.get_close_matches(model, known, n=3)
        if near:
            hint = f"Did you mean {' or '.join(near)}?"
        else:
            hint = f"There are: {', '.join(known[:10])}." if known else "Nothing was registered yet: headrace run"
        return NotFoundError(f"there is no model {model!r}", hint=hint)

    def _no_alias(self, model: str, alias: str) -> NotFoundError:
        if not self.store.versions.of(model):
            return self._no_model(model)
        known = ", ".join(self.store.versions.aliases(model)) or "none yet"
        return NotFoundError(
            f"the model {model!r} has no alias {alias!r}",
            hint=f"Its aliases: {known}. Make one: headrace models promote {model}@NUMBER",
        )

    def _tell(self, hook: str, about: dict[str, Any]) -> None:
        if self._observer is not None:
            self._observer(hook, about)

    def __repr__(self) -> str:
        return f"Registry({self.store!r}, who={self.who!r})"


def _info(row: Version, aliases: Mapping[str, AliasState]) -> VersionInfo:
    return VersionInfo(
        model=row.model,
        number=row.number,
        package=row.package,
        model_digest=row.model_digest,
        run_id=row.run_id,
        who=row.who,
        created=row.created,
        aliases=tuple(alias for alias, state in aliases.items() if state.number == row.number),
        about=row.manifest["about"],
    )
