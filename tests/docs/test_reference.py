"""The reference says what the code says: it is made from it and current. Links in the docs lead somewhere."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from headrace.hooks import specs
from headrace.hooks.contract import describe
from headrace.hooks.manager import PluginManager
from headrace.hooks.reference import config_keys

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs" / "reference"
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


@pytest.fixture(scope="module")
def generator():
    spec = importlib.util.spec_from_file_location("headrace_docs_reference", ROOT / "docs" / "reference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_reference_is_current(generator):
    made = generator.pages()
    there = {path.name: path.read_text() for path in REFERENCE.glob("*.md")}
    assert set(there) == set(made), "run `make docs`"
    for name, text in made.items():
        assert there[name] == text, f"docs/reference/{name} is not what the code says: run `make docs`"


def test_every_hook_is_documented_with_its_arguments():
    page = (REFERENCE / "hooks.md").read_text()
    names = [name for group in specs.SPECS for name in vars(group) if hasattr(vars(group)[name], "headrace_spec")]
    assert len(names) >= 11
    for name in names:
        assert f"### {name}\n" in page
        assert re.search(rf"^{name}\(\w+: ", page, re.MULTILINE)


def test_every_hook_says_which_kind_it_is():
    for group in specs.SPECS:
        for name, function in vars(group).items():
            if hasattr(function, "headrace_spec"):
                assert re.match(r"\*(register|observe|provide)\*\. \S", function.__doc__), name


def test_every_config_key_of_every_builtin_is_documented_and_explained():
    page = (REFERENCE / "stages.md").read_text()
    manager = PluginManager.discover()
    for entry in manager.stages.entries():
        if entry.distribution == "headrace":
            section = page.partition(f"## {entry.kind}: {entry.name}\n")[2].partition("\n## ")[0]
            for key in config_keys(describe(manager.stages.load(entry)).config):
                assert f"| `{key.name}` |" in section, f"{entry.kind}:{entry.name} {key.name}"
                assert key.meaning, f"{entry.kind}:{entry.name} {key.name} has no description"


def test_a_key_of_the_file_that_nobody_explained_is_an_error(generator, monkeypatch):
    monkeypatch.setattr(generator, "PROJECT_KEYS", (*generator.PROJECT_KEYS, "new_key"))
    with pytest.raises(ValueError, match="new_key"):
        generator.toml_page()


@pytest.mark.parametrize(
    "page", [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")], ids=lambda p: str(p.relative_to(ROOT))
)
def test_links_lead_somewhere(page):
    for target in LINK.findall(page.read_text()):
        if "://" not in target and not target.startswith("mailto:"):
            assert (page.parent / target).exists(), f"{page.relative_to(ROOT)} refers to {target}"
