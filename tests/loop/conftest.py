"""Two real packages, made once: one that knows the world as it was, one that knows it turned over."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from headrace import Project
from loop_bench import Tide
from loop_project import World, rows


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, dict[str, Any]]:
    """Files, `about` and digest of a model by whether its rows were flipped."""
    found = {}
    for flip in (False, True):
        world = World(tmp_path_factory.mktemp("packages"), triggers="")
        rows(0, range(-40, 0), 40, flip=flip).write_parquet(world.folder / "base.parquet")
        assert "promoted" in world.once()
        with Project(world.folder) as project:
            package = project.registry.resolve("tide@champion")
            files = {name: package.read(name) for name in package.manifest["files"]}
            found[flip] = {
                "files": files,
                "about": package.manifest["about"],
                "digest": package.manifest["model_digest"],
            }
    return found


@pytest.fixture
def tide(tmp_path: Path, packages: dict[bool, dict[str, Any]]) -> Callable[..., Tide]:
    made: list[Tide] = []

    def make(**policy: Any) -> Tide:
        found = Tide(tmp_path / f"store-{len(made)}", packages, **policy)
        made.append(found)
        return found

    return make
