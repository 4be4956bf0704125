"""Every exception that headrace raises on purpose, on one page.

A message names the actor, the place, what was found, what was expected, and the way out. `place` and `hint` are kept
apart from the text so that the command line and machines can show them without parsing. Whatever is not one of these
and reaches a user is a bug of headrace or of a plugin, and is reported as one.
"""

from __future__ import annotations

__all__ = [
    "AliasConflictError",
    "ArtifactError",
    "CacheUnavailableError",
    "CancelledError",
    "ConfigError",
    "CorruptObjectError",
    "DataError",
    "DataTypeError",
    "ExportError",
    "FencedError",
    "GraphError",
    "HeadraceError",
    "InvalidNameError",
    "MissingExtraError",
    "ModelFormatError",
    "NotFoundError",
    "ParityError",
    "PluginConflictError",
    "PluginError",
    "RegistryError",
    "ServingError",
    "SpecError",
    "StageError",
    "StageTimeoutError",
    "StoreError",
    "StoreFormatError",
    "UnknownNameError",
]


def printable(text: str) -> str:
    """`text` without what would steer a terminal: control characters, except line ends and tabs, as escapes."""
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)


class HeadraceError(Exception):
    """Root of the tree.

    Parameters
    ----------
    message
        One or two sentences: who, where, what was found, what was expected.
    place
        Where to look: `"headrace.toml:12"`, `"stage train"`, `"column 'age', row 17"`.
    hint
        The way out, as an instruction.
    """

    exit_code = 3

    def __init__(self, message: str, *, place: str | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.place = place
        self.hint = hint

    def __str__(self) -> str:
        text = f"{self.place}: {self.message}" if self.place else self.message
        return f"{text}\n  {self.hint}" if self.hint else text


# --- what a person wrote -------------------------------------------------------------------------------------------


class SpecError(HeadraceError, ValueError):
    """`headrace.toml` (or an overlay, or `--set`) says something that it cannot say."""

    exit_code = 2


class ConfigError(SpecError):
    """A stage's configuration does not fit its `Config`."""


class GraphError(SpecError):
    """The stages cannot be connected: an input without a producer, a cycle, a wrong type."""


class UnknownNameError(SpecError):
    """A stage, plugin, run, model or artifact of that name is not known; the nearest names are in the hint."""


# --- plugins -------------------------------------------------------------------------------------------------------


class PluginError(HeadraceError):
    """A plugin could not be imported, or breaks the contract."""


class PluginConflictError(PluginError):
    """Two distributions register the same name; the message names both."""


class MissingExtraError(PluginError, ImportError):
    """An optional dependency is not installed; the hint is the `pip install` line."""


# --- running -------------------------------------------------------------------------------------------------------


class StageError(HeadraceError):
    """A stage failed. `__cause__` is what it raised."""


class StageTimeoutError(StageError, TimeoutError):
    """A stage ran longer than its `timeout` and was ended."""


class CancelledError(HeadraceError):
    """The run was interrupted by a person (Ctrl-C) or by its parent."""

    exit_code = 130


class FencedError(HeadraceError):
    """The process lost its run: another one declared it dead and its epoch is over. Nothing more may be committed."""


class CacheUnavailableError(HeadraceError):
    """A cache key could not be computed (for instance: the source of a stage is not readable)."""


# --- data and models -----------------------------------------------------------------------------------------------


class DataError(HeadraceError, ValueError):
    """The data is not what the stage can work with; names file, column and row where they are known."""


class DataTypeError(DataError, TypeError):
    """A value is of a type that has no meaning where it stands. Both a `DataError` and a `TypeError`."""


class ModelFormatError(DataError):
    """A model file is not what it claims to be, or is damaged."""


class ExportError(HeadraceError):
    """A model has a property that ONNX cannot express exactly."""


class ParityError(ExportError):
    """The exported model disagrees with the native one by more than the stated tolerance."""


# --- store and registry --------------------------------------------------------------------------------------------


class StoreError(HeadraceError):
    """The store cannot be read or written."""

    exit_code = 5


class StoreFormatError(StoreError):
    """The store was written by a newer headrace, or is not a store."""


class CorruptObjectError(StoreError):
    """An object's bytes do not match its name. It was moved to quarantine."""


class ArtifactError(StoreError):
    """An artifact cannot be saved or loaded: unknown type, missing part, referenced file changed or gone."""


class NotFoundError(StoreError, KeyError):
    """No run, artifact, model, version or alias of that name."""

    exit_code = 2

    def __str__(self) -> str:  # KeyError would print the repr of its argument
        return HeadraceError.__str__(self)


class RegistryError(HeadraceError):
    """The registry refuses: a name that is not allowed, no such version, a package that does not verify."""

    exit_code = 5


class InvalidNameError(RegistryError, ValueError):
    """What was given cannot be the name of a model, an alias or a file of a package."""

    exit_code = 2


class AliasConflictError(RegistryError):
    """Compare-and-swap failed: the alias moved since it was read."""


# --- serving -------------------------------------------------------------------------------------------------------


class ServingError(HeadraceError):
    """The server cannot start: the port is in use, others could reach the host, ONNX Runtime is missing or too old."""
