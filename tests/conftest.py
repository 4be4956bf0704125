"""What tests of several rooms share: distributions that are really there, written by hand into a folder."""

from __future__ import annotations

import importlib
import os
import sys
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest


class SitePackages:
    """A folder on `sys.path`, here and in child processes, into which distributions are installed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def install(
        self,
        name: str,
        version: str = "1.0",
        *,
        plugins: Mapping[str, str] | None = None,
        files: Mapping[str, str] | None = None,
        metadata: str | None = None,
    ) -> Path:
        """Write modules and the metadata of a distribution; `plugins` are its entry points of the group `headrace`."""
        for path, text in (files or {}).items():
            target = self.folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(textwrap.dedent(text), encoding="utf-8")
        info = self.folder / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir(exist_ok=True)
        about = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n" if metadata is None else metadata
        (info / "METADATA").write_text(about, encoding="utf-8")
        if plugins is not None:
            lines = [f"{key} = {value}" for key, value in plugins.items()]
            (info / "entry_points.txt").write_text("\n".join(["[headrace]", *lines, ""]), encoding="utf-8")
        importlib.invalidate_caches()
        return info

    def forget(self) -> None:
        """Drop what was imported from the folder."""
        for name, module in list(sys.modules.items()):
            if str(getattr(module, "__file__", None) or "").startswith(str(self.folder)):
                del sys.modules[name]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SitePackages]:
    """An empty folder of installed distributions, first on `sys.path`; gone after the test."""
    folder = tmp_path / "site-packages"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH", "")])))
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    made = SitePackages(folder)
    yield made
    made.forget()
