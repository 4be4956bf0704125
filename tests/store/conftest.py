"""The small things that tests put into stores. The stores themselves come from the conftest above."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from headrace.store import Store
from headrace.types import ArtifactRef, StageInfo, StageRecord


@pytest.fixture
def record() -> Callable[..., StageRecord]:
    """Make a stage record: `record("train", inputs, outputs, outcome="cached", ...)`."""

    def make(
        name: str,
        inputs: Mapping[str, ArtifactRef] | None = None,
        outputs: Mapping[str, ArtifactRef] | None = None,
        **changes: Any,
    ) -> StageRecord:
        values: dict[str, Any] = {
            "stage": StageInfo(name, "kind", "use", "headrace", "1.0", {"depth": 3, "names": ["a", "b"]}),
            "outcome": "executed",
            "why": "first time",
            "key": None,
            "started": 10.0,
            "ended": 11.5,
            "attempts": 1,
            "inputs": inputs or {},
            "outputs": outputs or {},
        }
        return StageRecord(**values | changes)

    return make


@pytest.fixture
def object_file() -> Callable[[Store, str], Path]:
    """The file of an object, found without asking the code under test."""
    return lambda store, sha256: store.root / "objects" / sha256[:2] / sha256[2:]


@pytest.fixture
def damage(object_file: Callable[[Store, str], Path]) -> Callable[[Store, str], None]:
    """Flip a bit in the middle of an object's file, as a failing disk would."""

    def flip(store: Store, sha256: str) -> None:
        path = object_file(store, sha256)
        path.chmod(0o644)
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
        path.chmod(0o444)

    return flip
