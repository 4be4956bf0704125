"""Stores on both databases."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from headrace.store import Store


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.system)])
def url(request: pytest.FixtureRequest) -> str | None:
    """What to pass as `url`: None for SQLite in the folder, or a fresh PostgreSQL database."""
    if request.param == "sqlite":
        return None
    return request.getfixturevalue("postgresql").database()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def open_store(root: Path, url: str | None) -> Iterator[Callable[..., Store]]:
    """Open the test's store, again and again; all are closed at the end."""
    with ExitStack() as stack:

        def open_(**options: object) -> Store:
            return stack.enter_context(Store.open(root, url=url, **options))

        yield open_


@pytest.fixture
def store(open_store: Callable[..., Store]) -> Store:
    return open_store()
