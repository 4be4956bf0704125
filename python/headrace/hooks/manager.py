"""The plugin manager: an object that somebody constructs, with everything that the installed plugins offer.

pluggy checks hook implementations against their specifications and keeps their order. The calls are ours:
each implementation is called by itself, so that a raise has an owner and stays with it.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import pluggy

from headrace.errors import HeadraceError, PluginError, printable
from headrace.hooks.catalog import (
    ArtifactCatalog,
    ArtifactClaims,
    ArtifactEntry,
    NamedClaims,
    NotifierCatalog,
    NotifierEntry,
    StageCatalog,
    StageClaims,
    StageEntry,
    TransformCatalog,
    TransformEntry,
    TriggerCatalog,
    TriggerEntry,
    conflict_problems,
    nearest,
)
from headrace.hooks.discovery import (
    GROUP,
    EntryPoint,
    Phase,
    PluginProblem,
    entry_points,
    load_plugin,
    normalized,
    one_line,
    traceback_text,
)
from headrace.hooks.markers import PROJECT
from headrace.hooks.specs import SPECS

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["PluginInfo", "PluginManager", "PluginProblem", "StageEntry"]

_log = logging.getLogger("headrace.plugins")


@dataclass(frozen=True)
class PluginInfo:
    """An entry point and what became of it: the hooks it implements, the seconds importing it took."""

    distribution: str
    version: str
    entry_point: str
    target: str
    status: Literal["ok", "broken", "disabled"]
    hooks: tuple[str, ...] = ()
    seconds: float = 0.0


class PluginManager:
    """Every plugin of the environment: what it registers, and the hooks to call.

    A plugin is in as a whole or, if its import or registration fails, out as a whole; then it is in
    `problems` and nothing else is touched. Implementations of a hook are called last registered first, so
    headrace's own come last, unless they ask for another place with `tryfirst` or `trylast`.
    """

    def __init__(self) -> None:
        self._pluggy = pluggy.PluginManager(PROJECT)
        for spec in SPECS:
            self._pluggy.add_hookspecs(spec)
        self._hook_names = frozenset(name for name in dir(self._pluggy.hook) if not name.startswith("_"))
        self._plugins: list[PluginInfo] = []
        self._problems: list[PluginProblem] = []
        self._points: dict[str, EntryPoint] = {}
        self._observer_problems: dict[tuple[str, str], PluginProblem] = {}
        self._stage_claims: dict[tuple[str, str], list[StageEntry]] = {}
        self._artifact_claims: dict[str, list[ArtifactEntry]] = {}
        self._transform_claims: dict[str, list[TransformEntry]] = {}
        self._trigger_claims: dict[str, list[TriggerEntry]] = {}
        self._notifier_claims: dict[str, list[NotifierEntry]] = {}
        self.stages = StageCatalog({})
        self.artifacts = ArtifactCatalog({})
        self.transforms = TransformCatalog({})
        self.triggers = TriggerCatalog({})
        self.notifiers = NotifierCatalog({})

    @classmethod
    def discover(cls, *, disabled: Iterable[str] = (), extra: Iterable[object] = ()) -> PluginManager:
        """Import and register the plugins of this environment.

        Parameters
        ----------
        disabled
            Names of distributions whose plugins are left alone; they are not even imported.
        extra
            Plugins that no distribution names: objects with hook implementations, or names of modules (a
            project's own).

        Raises `PluginError` only if headrace itself is not installed, so that its own stages cannot be found.
        """
        self = cls()
        off = {normalized(name) for name in disabled}
        points, problems = entry_points()
        self._problems.extend(problems)
        if GROUP not in off and not any(normalized(point.distribution) == GROUP for point in points):
            msg = "headrace is not installed in this environment, so its own stages are not registered"
            raise PluginError(msg, hint="Install it; in a source tree with `pip install -e .`.")
        for point in points:
            if normalized(point.distribution) in off:
                info = PluginInfo(point.distribution, point.version, point.name, point.value, "disabled")
                self._plugins.append(info)
            else:
                self._add(point, None)
        for plugin in extra:
            if isinstance(plugin, str):
                self._add(EntryPoint(plugin, "", plugin, plugin), None)
            else:
                name = getattr(plugin, "__name__", None) or type(plugin).__name__
                self._add(EntryPoint(name, "", name, name), plugin)
        self._build()
        return self

    @property
    def plugins(self) -> tuple[PluginInfo, ...]:
        """Every entry point that was found, the disabled and the broken ones too."""
        return tuple(self._plugins)

    @property
    def problems(self) -> tuple[PluginProblem, ...]:
        """Everything that is wrong with plugins so far; of an observer that keeps raising, the first time."""
        return (*self._problems, *self._observer_problems.values())

    def listens(self, hook_name: str) -> bool:
        """Whether any plugin implements the hook; lets a caller leave the preparation out."""
        return bool(self._implementations(hook_name))

    def observe(self, hook_name: str, /, **kwargs: Any) -> None:
        """Tell every implementation of an *observe* hook. One that raises is logged and the next is told."""
        for impl in self._implementations(hook_name):
            try:
                impl.function(*[kwargs[name] for name in impl.argnames])
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # noqa: BLE001  # sys.exit in a plugin must not end the run
                point = self._points[impl.plugin_name]
                message = f"its hook `{hook_name}` raised {one_line(error)}"
                problem = PluginProblem(point.distribution, point.name, "observer", message, traceback_text(error))
                self._observer_problems.setdefault((impl.plugin_name, hook_name), problem)
                _log.warning("plugin %s: %s", point.label, message)
                _log.debug("plugin %s: traceback of `%s`: %s", point.label, hook_name, problem.traceback)

    def provide(self, hook_name: str, /, **kwargs: Any) -> Any:
        """The first answer of a *provide* hook that is not None, or None.

        What an implementation raises becomes a `PluginError` that names it (errors of headrace pass as they
        are).
        """
        for impl in self._implementations(hook_name):
            try:
                answer = impl.function(*[kwargs[name] for name in impl.argnames])
            except (KeyboardInterrupt, HeadraceError):
                raise
            except BaseException as error:
                msg = f"its hook `{hook_name}` raised {one_line(error)}"
                place = f"plugin {self._points[impl.plugin_name].label}"
                hint = "Disable the plugin (`disabled` of the table [plugins] of headrace.toml) or mend it."
                raise PluginError(msg, place=place, hint=hint) from error
            if answer is not None:
                return answer
        return None

    def _implementations(self, hook_name: str) -> list[pluggy.HookImpl]:
        return list(reversed(getattr(self._pluggy.hook, hook_name).get_hookimpls()))

    def _add(self, point: EntryPoint, plugin: object) -> None:
        """Import (unless `plugin` is given) and register one plugin; what goes wrong becomes a problem."""
        phase: Phase = "import"
        key = f"{point.distribution}:{point.name}"
        hooks: tuple[str, ...] = ()
        began = time.perf_counter()
        took = 0.0
        try:
            plugin = load_plugin(point.value) if plugin is None else plugin
            took = time.perf_counter() - began
            phase = "registration"
            self._points[key] = point
            self._pluggy.register(plugin, key)
            hooks = self._hooks_of(plugin)
            self._collect(key)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001  # sys.exit at import, Rust panics
            if self._pluggy.has_plugin(key):
                self._pluggy.unregister(name=key)
            message = _explain(error)
            self._problems.append(PluginProblem(point.distribution, point.name, phase, message, traceback_text(error)))
        status: Literal["ok", "broken"] = "ok" if self._pluggy.has_plugin(key) else "broken"
        self._plugins.append(
            PluginInfo(point.distribution, point.version, point.name, point.value, status, hooks, took)
        )

    def _hooks_of(self, plugin: object) -> tuple[str, ...]:
        callers = self._pluggy.get_hookcallers(plugin) or []
        if not callers:
            msg = "it implements no hook of headrace"
            raise PluginError(msg, hint="Mark its functions with `@headrace.hookimpl`.")
        for caller in callers:
            mine = [impl for impl in caller.get_hookimpls() if impl.plugin is plugin]
            if caller.name not in self._hook_names and not all(impl.optionalhook for impl in mine):
                msg = f"there is no hook `{caller.name}`"
                raise PluginError(msg, hint=nearest(caller.name, self._hook_names))
            if any(impl.wrapper or impl.hookwrapper for impl in mine):
                msg = f"its `{caller.name}` is a wrapper, and hooks of headrace are not wrapped"
                raise PluginError(msg, hint="Remove `wrapper=True`; observe before and after instead.")
        return tuple(sorted(caller.name for caller in callers if caller.name in self._hook_names))

    def _collect(self, key: str) -> None:
        """Ask the plugin what it adds; all of it counts, or nothing."""
        point = self._points[key]
        stages, artifacts = StageClaims(point), ArtifactClaims(point)
        transforms = NamedClaims(point, "transform", TransformEntry)
        triggers = NamedClaims(point, "trigger", TriggerEntry)
        notifiers = NamedClaims(point, "notifier", NotifierEntry)
        for hook, registry in (
            ("headrace_stages", stages),
            ("headrace_artifacts", artifacts),
            ("headrace_transforms", transforms),
            ("headrace_triggers", triggers),
            ("headrace_notifiers", notifiers),
        ):
            for impl in self._implementations(hook):
                if impl.plugin_name == key:
                    impl.function(*[{"registry": registry}[name] for name in impl.argnames])
        for stage_key, stage in stages.entries.items():
            self._stage_claims.setdefault(stage_key, []).append(stage)
        for type_name, artifact in artifacts.entries.items():
            self._artifact_claims.setdefault(type_name, []).append(artifact)
        for name, transform in transforms.entries.items():
            self._transform_claims.setdefault(name, []).append(transform)
        for name, trigger in triggers.entries.items():
            self._trigger_claims.setdefault(name, []).append(trigger)
        for name, notifier in notifiers.entries.items():
            self._notifier_claims.setdefault(name, []).append(notifier)

    def _build(self) -> None:
        broken = sorted({info.distribution for info in self._plugins if info.status == "broken"})
        self.stages = StageCatalog(self._stage_claims, broken)
        self.artifacts = ArtifactCatalog(self._artifact_claims, broken)
        self.transforms = TransformCatalog(self._transform_claims, broken)
        self.triggers = TriggerCatalog(self._trigger_claims, broken)
        self.notifiers = NotifierCatalog(self._notifier_claims, broken)
        self._problems.extend(
            conflict_problems(self.stages, self.artifacts, self.transforms, self.triggers, self.notifiers)
        )


def _explain(error: BaseException) -> str:
    if isinstance(error, pluggy.PluginValidationError):
        # pluggy prefixes the plugin's repr, which for a module is its path; the rest says what does not fit.
        return "its hooks do not fit their specifications: " + printable(" ".join(str(error).split()))
    if isinstance(error, SystemExit):
        return printable(f"it tried to end the process (exit {error.code})")
    if isinstance(error, HeadraceError) and error.hint:
        return f"{one_line(error)}. {printable(error.hint)}"
    return one_line(error)
