"""Exceptions as JSON, so that they can cross a process border."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Any

from headrace import errors
from headrace.errors import HeadraceError, StageError

if TYPE_CHECKING:
    from collections.abc import Mapping


def describe_error(error: BaseException) -> dict[str, Any]:
    """An exception as JSON, for `revive_error` on the other side."""
    ours = isinstance(error, HeadraceError)
    return {
        "type": type(error).__name__,
        "ours": ours,
        "message": error.message if ours else str(error),  # type: ignore[attr-defined]
        "place": error.place if ours else None,  # type: ignore[attr-defined]
        "hint": error.hint if ours else None,  # type: ignore[attr-defined]
        "traceback": "".join(traceback.format_exception(error)),
    }


def revive_error(about: Mapping[str, Any]) -> HeadraceError:
    """The exception that a worker described. Foreign types come back as `StageError`; the traceback is a note."""
    known = getattr(errors, about["type"], None) if about["ours"] else None
    if isinstance(known, type) and issubclass(known, HeadraceError):
        error = known(about["message"], place=about["place"], hint=about["hint"])
    else:
        error = StageError(f"{about['type']}: {about['message']}")
    error.add_note(about["traceback"])
    return error
