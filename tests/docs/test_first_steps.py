"""README and the first tutorial are executed as they stand; see `pages`."""

from __future__ import annotations

from pathlib import Path

import pytest

from pages import Shell, blocks, follow

ROOT = Path(__file__).parents[2]
TUTORIAL = ROOT / "docs" / "tutorial" / "01-a-model-from-your-file.md"
README = ROOT / "README.md"
pytestmark = [pytest.mark.slow, pytest.mark.e2e, pytest.mark.timeout(600)]


def test_the_tutorial_can_be_followed(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    follow(TUTORIAL, shell)
    assert (shell.home / "report.html").read_text().startswith("<!doctype html>")
    assert len((shell.home / "predictions.csv").read_text().splitlines()) == 2001


def test_the_readme_can_be_followed(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    (maker,) = (block for block in blocks(TUTORIAL) if block.title)
    shell.run(f"python - <<'END_OF_PYTHON'\n{maker.text}END_OF_PYTHON")
    follow(README, shell)
    assert (shell.home / "predictions.csv").exists()
