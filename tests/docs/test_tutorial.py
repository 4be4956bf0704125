"""The tutorial of plugins is executed as it stands; see `pages`."""

from __future__ import annotations

from pathlib import Path

import pytest

from pages import Shell, assert_shown, blocks, follow

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "tutorial" / "02-your-own-plugin.md"
EXAMPLE = ROOT / "plugins" / "headrace-example"


def files_of(package: Path) -> dict[str, str]:
    skipped = {"dist", "build", "__pycache__", ".pytest_cache"}
    paths = (path for path in package.rglob("*") if path.is_file())
    kept = (p for p in paths if not any(part in skipped or part.endswith(".egg-info") for part in p.parts))
    return {str(path.relative_to(package)): path.read_text() for path in kept}


@pytest.fixture(scope="module")
def walked(tmp_path_factory) -> Path:
    """The folder in which the tutorial was followed."""
    home = tmp_path_factory.mktemp("tutorial")
    follow(PAGE, Shell(home))
    return home / "work"


@pytest.mark.slow
@pytest.mark.e2e
@pytest.mark.timeout(900)
def test_the_tutorial_can_be_followed(walked):
    assert (walked / "museum" / ".headrace").is_dir()


@pytest.mark.slow
@pytest.mark.e2e
@pytest.mark.timeout(900)
def test_what_it_ends_with_is_the_example_plugin(walked):
    assert files_of(walked / "headrace-example") == files_of(EXAMPLE)


@pytest.mark.slow
@pytest.mark.e2e
@pytest.mark.timeout(900)
def test_the_second_run_executes_nothing_and_a_changed_key_only_what_depends_on_it(walked):
    journal = (walked / "museum" / "journal.jsonl").read_text()
    assert journal.count('"succeeded"') == 3


def test_every_block_of_the_page_is_understood():
    kinds = {(block.language, bool(block.title)) for block in blocks(PAGE)}
    assert kinds == {("sh", False), ("text", False), ("python", True), ("toml", True), ("markdown", True)}


def test_outputs_are_looked_for_in_order():
    assert_shown("a\n...\nb", "x a\ny\nb z")
    with pytest.raises(AssertionError, match="'a' is not in"):
        assert_shown("b\na", "a\nb")
