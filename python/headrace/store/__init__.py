"""The store: a folder of content-addressed objects, and a database that says what they are.

`Store.open(root)` is the door. Nothing here imports SQLAlchemy before that.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headrace.store.artifacts import ArtifactInfo as ArtifactInfo
    from headrace.store.artifacts import PartInfo as PartInfo
    from headrace.store.objects import Blob as Blob
    from headrace.store.runs import LogLine as LogLine
    from headrace.store.runs import RunHandle as RunHandle
    from headrace.store.store import Store as Store

_WHERE = {
    "ArtifactInfo": "headrace.store.artifacts",
    "Blob": "headrace.store.objects",
    "LogLine": "headrace.store.runs",
    "PartInfo": "headrace.store.artifacts",
    "RunHandle": "headrace.store.runs",
    "Store": "headrace.store.store",
}

__all__ = sorted(_WHERE)  # noqa: PLE0605  # a list; ruff cannot see through sorted()


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        msg = f"module 'headrace.store' has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(importlib.import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return list(__all__)
