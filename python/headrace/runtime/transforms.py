"""Transforms for those who run stages or predict, with the source behind them hashed."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from headrace.hooks.transforms import Transforms
from headrace.pipeline.keys import canonical
from headrace.runtime.call import use_project_code

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from headrace.hooks.catalog import TransformCatalog
    from headrace.runtime.source import SourceIndex


def project_transforms(
    project_dir: Path, catalog: Callable[[], TransformCatalog], index: Callable[[], SourceIndex]
) -> Transforms:
    """The transforms that a project can use: those of `catalog` and its own."""

    def source_of(module: str) -> str:
        modules = index().closure(module).modules
        return hashlib.sha256(canonical(modules)).hexdigest() if modules else ""

    use_project_code(project_dir)
    return Transforms(catalog, source_of)
