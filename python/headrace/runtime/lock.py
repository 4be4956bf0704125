"""The environment: which Python, which distributions, at which versions."""

from __future__ import annotations

import platform
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_CANONICAL = re.compile(r"[-_.]+")


def python_abi() -> str:
    """What compiled code and bytecode depend on, for instance `cpython-311-x86_64-linux`."""
    optimised = f"-O{sys.flags.optimize}" if sys.flags.optimize else ""
    return f"{sys.implementation.cache_tag}-{platform.machine()}-{sys.platform}{optimised}"


@dataclass
class Environment:
    """The installed distributions, read from the names of their `.dist-info` folders (no metadata is parsed)."""

    path: tuple[str, ...] = field(default_factory=lambda: tuple(sys.path))
    _infos: dict[str, tuple[str, str, Path]] | None = None
    _owners: dict[str, str | None] = field(default_factory=dict)

    def distributions(self) -> dict[str, str]:
        """Name -> version of everything installed; the first on `sys.path` wins, as at import."""
        return {name: version for name, version, _ in sorted(self._found().values())}

    def versions_of(self, modules: Iterable[str]) -> dict[str, str]:
        """Distribution -> version for the given top-level modules; `absent` for one that is not installed."""
        found: dict[str, str] = {}
        for module in modules:
            if module in sys.stdlib_module_names:
                continue
            owner = self._owner(module)
            if owner is None:
                found[module] = "absent"
            else:
                name, version, _ = self._found()[owner]
                found[name] = version
        return dict(sorted(found.items()))

    def _found(self) -> dict[str, tuple[str, str, Path]]:
        if self._infos is None:
            infos: dict[str, tuple[str, str, Path]] = {}
            for entry in self.path:
                folder = Path(entry or ".")
                if not folder.is_dir():
                    continue
                for info in sorted(folder.glob("*.dist-info")):
                    name, _, version = info.name.removesuffix(".dist-info").rpartition("-")
                    infos.setdefault(canonical_name(name), (canonical_name(name), version, info))
            self._infos = infos
        return self._infos

    def _owner(self, module: str) -> str | None:
        if module not in self._owners:
            self._owners[module] = self._find_owner(module)
        return self._owners[module]

    def _find_owner(self, module: str) -> str | None:
        found = self._found()
        if canonical_name(module) in found:
            return canonical_name(module)
        for key, (_, _, info) in found.items():
            top_level = info / "top_level.txt"
            if top_level.is_file() and module in top_level.read_text().split():
                return key
        for key, (_, _, info) in found.items():
            record = info / "RECORD"
            if record.is_file() and _owns(record, module):
                return key
        return None


def _owns(record: Path, module: str) -> bool:
    starts = (f"{module}/", f"{module}.py,", f"{module}.")
    with record.open(encoding="utf-8") as lines:
        return any(line.startswith(starts) and ".dist-info" not in line for line in lines)


def canonical_name(name: str) -> str:
    """A distribution's name as package indexes compare it (PEP 503)."""
    return _CANONICAL.sub("-", name).lower()
