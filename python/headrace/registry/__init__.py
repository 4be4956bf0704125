"""The registry: model packages, their versions, and the aliases that name them."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headrace.registry.package import ModelPackage as ModelPackage
    from headrace.registry.registry import ModelInfo as ModelInfo
    from headrace.registry.registry import Registry as Registry
    from headrace.registry.registry import VersionInfo as VersionInfo

_WHERE = {
    "ModelInfo": "headrace.registry.registry",
    "ModelPackage": "headrace.registry.package",
    "Registry": "headrace.registry.registry",
    "VersionInfo": "headrace.registry.registry",
}

__all__ = sorted(_WHERE)  # noqa: PLE0605  # a list; ruff cannot see through sorted()


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        msg = f"module 'headrace.registry' has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(importlib.import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return list(__all__)
