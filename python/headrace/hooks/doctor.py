"""What is wrong with the installed plugins. Looks further than a run: every stage and artifact is imported."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from headrace.errors import HeadraceError, MissingExtraError
from headrace.hooks.contract import describe
from headrace.hooks.discovery import one_line, traceback_text
from headrace.hooks.reference import config_keys
from headrace.hooks.transforms import check_transform

if TYPE_CHECKING:
    from collections.abc import Iterator

    from headrace.hooks.discovery import Phase
    from headrace.hooks.manager import PluginManager

SLOW_IMPORT_SECONDS = 0.5
"""A plugin module that only registers strings takes a few milliseconds; one that imports a framework, much more."""

_WAY_OUT: dict[Phase, str] = {
    "metadata": "Reinstall that package.",
    "import": "Update or reinstall it, or name it in `disabled` of the table [plugins] of headrace.toml.",
    "registration": "Update it, or tell its author; until then it is left out, with all that it adds.",
    "conflict": "Uninstall one of them, or name it in `disabled` of the table [plugins] of headrace.toml.",
    "observer": "Update it, or tell its author; the run went on without it.",
}


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong: whose it is, what it is about, and the way out.

    An `error` means that something cannot be used; a `warning`, that it works but is not as it should be; a `note`,
    that something optional is not installed.
    """

    level: Literal["error", "warning", "note"]
    distribution: str
    about: str
    message: str
    hint: str
    traceback: str = ""


def examine(manager: PluginManager) -> list[Finding]:
    """Everything that is wrong with the plugins that `manager` found."""
    return [*_problems(manager), *_slow(manager), *_stages(manager), *_artifacts(manager), *_transforms(manager)]


def _problems(manager: PluginManager) -> Iterator[Finding]:
    for problem in manager.problems:
        about = f"entry point {problem.entry_point}" if problem.entry_point else problem.phase
        hint = _WAY_OUT[problem.phase]
        yield Finding("error", problem.distribution, about, problem.message, hint, problem.traceback)


def _slow(manager: PluginManager) -> Iterator[Finding]:
    for plugin in manager.plugins:
        if plugin.seconds > SLOW_IMPORT_SECONDS:
            message = f"importing {plugin.target} takes {plugin.seconds:.1f} s, at every start of headrace"
            hint = "Its author should import heavy modules inside functions; a plugin module only registers names."
            yield Finding("warning", plugin.distribution, f"entry point {plugin.entry_point}", message, hint)


def _stages(manager: PluginManager) -> Iterator[Finding]:
    for entry in manager.stages.entries():
        try:
            contract = describe(manager.stages.load(entry))
            undescribed = [key.name for key in config_keys(contract.config) if not key.meaning]
        except HeadraceError as error:
            yield _finding(error, entry.distribution, f"stage {entry.kind}:{entry.name}")
            continue
        if undescribed:
            message = f"its config does not say what {', '.join(map(repr, undescribed))} means"
            hint = "Its author should give each field a `Field(description=...)`."
            yield Finding("warning", entry.distribution, f"stage {entry.kind}:{entry.name}", message, hint)


def _artifacts(manager: PluginManager) -> Iterator[Finding]:
    for entry in manager.artifacts.entries():
        try:
            manager.artifacts.load(entry.type_name)
        except HeadraceError as error:
            yield _finding(error, entry.distribution, f"artifact type {entry.type_name}")


def _transforms(manager: PluginManager) -> Iterator[Finding]:
    for entry in manager.transforms.entries():
        try:
            config_keys(check_transform(manager.transforms.load(entry)))
        except HeadraceError as error:
            yield _finding(error, entry.distribution, f"transform {entry.name}")


def _finding(error: HeadraceError, distribution: str, about: str) -> Finding:
    level: Literal["error", "note"] = "note" if isinstance(error, MissingExtraError) else "error"
    return Finding(level, distribution, about, one_line(error), error.hint or "", traceback_text(error))
