"""The how-to pages are executed as they stand; see `pages`."""

from __future__ import annotations

from pathlib import Path

import pytest

from pages import Shell, follow

PAGES = sorted((Path(__file__).parents[2] / "docs" / "how-to").glob("*.md"))


@pytest.mark.slow
@pytest.mark.e2e
@pytest.mark.timeout(600)
@pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])
def test_the_page_can_be_followed(page: Path, tmp_path: Path) -> None:
    follow(page, Shell(tmp_path))
