"""Finds plugins and imports them, one guarded step at a time.

Nothing that a plugin does here, short of killing the process, reaches the caller as anything but a
`PluginProblem`. Ctrl-C is the exception: it belongs to the person, not to the plugin.
"""

from __future__ import annotations

import importlib
import re
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from headrace.errors import HeadraceError, PluginError, printable

if TYPE_CHECKING:
    from importlib.metadata import Distribution

GROUP = "headrace"

_TARGET = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*", re.ASCII)

Phase = Literal["metadata", "import", "registration", "conflict", "observer"]


@dataclass(frozen=True)
class PluginProblem:
    """What is wrong with a plugin: when it showed, one line for a person, the traceback for its author."""

    distribution: str
    entry_point: str
    phase: Phase
    message: str
    traceback: str = ""


@dataclass(frozen=True)
class EntryPoint:
    """`name = value` of the group `headrace` in a distribution's metadata. Nothing of it is imported."""

    distribution: str
    version: str
    name: str
    value: str

    @property
    def label(self) -> str:
        """How messages call the plugin: the distribution, and the entry point where that says more."""
        distribution = printable(self.distribution)
        return distribution if self.name == self.distribution else f"{distribution} (entry point {self.name!r})"


def normalized(distribution: str) -> str:
    """A distribution's name as packaging compares it (PEP 503): `Headrace_XGB` is `headrace-xgb`."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


def entry_points() -> tuple[list[EntryPoint], list[PluginProblem]]:
    """Every entry point of the group on `sys.path`, headrace's own first; and what metadata is unreadable.

    Of two distributions of one name the one that comes first on `sys.path` counts, as it does for an import.
    """
    from importlib.metadata import Distribution, distributions

    found: dict[str, list[EntryPoint]] = {}
    problems: list[PluginProblem] = []
    for distribution in distributions():
        try:
            # Most distributions have no line for us; a look at the text is much cheaper than parsing it.
            text = distribution.read_text("entry_points.txt")
            if not text or GROUP not in text:
                continue
            name = normalized(_name_of(distribution))
            if name not in found:
                found[name] = _points_of(Distribution.from_name(name))
        except Exception as error:  # noqa: BLE001  # a foreign package's metadata; reported, never fatal
            where = str(getattr(distribution, "_path", "a distribution"))
            message = f"unreadable package metadata: {one_line(error)}"
            problems.append(PluginProblem(where, "", "metadata", message, traceback_text(error)))
    order = sorted(found, key=lambda name: (name != GROUP, name))
    return [point for name in order for point in found[name]], problems


def _points_of(distribution: Distribution) -> list[EntryPoint]:
    points = [point for point in distribution.entry_points if point.group == GROUP]
    points.sort(key=lambda point: point.name)
    return [EntryPoint(_name_of(distribution), distribution.version, p.name, p.value) for p in points]


def _name_of(distribution: Distribution) -> str:
    metadata = distribution.metadata
    if "Name" not in metadata:
        msg = "its METADATA has no Name"
        raise ValueError(msg)
    return metadata["Name"]


def load_plugin(value: str) -> object:
    """Import what an entry point names, `"module"` or `"module:attribute"`. A class is instantiated.

    May raise anything that the plugin raises, `SystemExit` included: call it inside a guard.
    """
    module, _, attribute = value.partition(":")
    found: object = importlib.import_module(module.strip())
    for part in filter(None, attribute.strip().split(".")):
        found = getattr(found, part)
    return found() if isinstance(found, type) else found


def check_target(target: object) -> str:
    """Return `target` if it has the form `"module:Class"`; else raise `PluginError`."""
    if isinstance(target, str) and _TARGET.fullmatch(target):
        return target
    msg = f"{target!r} does not say where a class is"
    raise PluginError(msg, hint='Write "package.module:ClassName".')


def load_class(target: str, *, owner: str) -> type:
    """Import the class that `"module:Class"` names.

    `owner` is who asks for it, for the message: `"stage train:xgboost of headrace-xgb 1.2"`. Whatever goes
    wrong is a `PluginError` with the cause chained; headrace's own errors (a missing extra, say) pass as they
    are.
    """
    module, _, attribute = check_target(target).partition(":")
    try:
        imported = importlib.import_module(module)
    except (KeyboardInterrupt, HeadraceError):
        raise
    except ModuleNotFoundError as error:
        missing = error.name or "?"
        if module == missing or module.startswith(f"{missing}."):
            msg = f"there is no module {missing!r}, where {target!r} should be"
            hint = "Check the spelling of the module, and that its package is complete."
        else:
            msg = f"importing {module!r} failed because the module {missing!r} is not installed"
            hint = "Install the package that provides it into this environment."
        raise PluginError(msg, place=owner, hint=hint) from error
    except BaseException as error:  # SystemExit and panics of extension modules are BaseExceptions
        msg = f"importing {target!r} failed: {one_line(error)}"
        raise PluginError(msg, place=owner, hint="Mend that module; `--traceback` shows where it fails.") from error
    found: object = imported
    for part in attribute.split("."):
        found = getattr(found, part, None)
    if found is None:
        defined = [name for name, value in vars(imported).items() if getattr(value, "__module__", None) == module]
        classes = [name for name in defined if isinstance(getattr(imported, name), type)]
        hint = f"It has {', '.join(classes)}." if classes else "Check the spelling: nothing in it is a class."
        raise PluginError(f"module {module!r} has no class {attribute!r}", place=owner, hint=hint)
    if not isinstance(found, type):
        msg = f"{target!r} is not a class but {type(found).__name__}"
        raise PluginError(msg, place=owner, hint='Name a class, as "package.module:ClassName".')
    return found


def one_line(error: BaseException) -> str:
    """An exception as one line for a person, control characters as escapes: a plugin may have said it."""
    if isinstance(error, HeadraceError):
        return printable(" ".join(error.message.split()))
    if isinstance(error, SyntaxError) and error.filename:
        return printable(f"SyntaxError: {error.msg} ({error.filename}, line {error.lineno})")
    text = printable(" ".join(str(error).split()))
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def traceback_text(error: BaseException) -> str:
    """The whole traceback with its causes, for the plugin's author; control characters as escapes."""
    return printable("".join(traceback.format_exception(error)))
