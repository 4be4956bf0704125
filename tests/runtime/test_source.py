"""Which source a result depends on: exactly what importing it runs, comments aside."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest

from headrace.runtime.lock import Environment, canonical_name
from headrace.runtime.source import SourceClosure, SourceIndex

if TYPE_CHECKING:
    from pathlib import Path
from typing import Any

FILES = {
    "steps.py": "import json\nimport polars as pl\nfrom tools.first import one\n\ndef run():\n    return one()\n",
    "tools/__init__.py": "",
    "tools/first.py": "from . import second\n\ndef one():\n    return second.two()\n",
    "tools/second.py": "from .deep.third import three\n\ndef two():\n    return three()\n",
    "tools/deep/__init__.py": "DEPTH = 2\n",
    "tools/deep/third.py": "def three():\n    return 3  # three\n",
    "tools/unused.py": "def never():\n    return 0\n",
    "other.py": "import numpy\n",
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def closure(project: Path, module: str = "steps") -> SourceClosure:
    return SourceIndex((project,)).closure(module)


def test_imports_are_followed_and_nothing_else(project: Path) -> None:
    found = closure(project)
    assert set(found.modules) == {
        "steps",
        "tools",
        "tools.first",
        "tools.second",
        "tools.deep",
        "tools.deep.third",
    }
    assert found.imports == {"json", "polars"}


@pytest.mark.parametrize("edited", ["steps.py", "tools/first.py", "tools/deep/third.py", "tools/deep/__init__.py"])
def test_an_edit_anywhere_in_the_closure_counts(project: Path, edited: str) -> None:
    before = closure(project)
    path = project / edited
    path.write_text(path.read_text() + "\nMORE = 1\n")
    after = closure(project)
    changed = {name for name in after.modules if before.modules.get(name) != after.modules[name]}
    assert changed == {edited.removesuffix(".py").removesuffix("/__init__").replace("/", ".")}


@pytest.mark.parametrize(
    ("edited", "old", "new"),
    [
        ("tools/deep/third.py", "# three", "# drei"),
        ("tools/deep/third.py", "  # three", ""),
        ("steps.py", "import json\n", "# first\n\n\nimport json\n"),
        ("steps.py", "    return one()", "  return one()"),
        ("tools/unused.py", "return 0", "return 1"),
        ("other.py", "numpy", "scipy"),
    ],
)
def test_comments_layout_and_files_not_imported_do_not_count(project: Path, edited: str, old: str, new: str) -> None:
    before = closure(project)
    path = project / edited
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    assert closure(project) == before


def test_a_changed_string_is_no_comment(project: Path) -> None:
    (project / "steps.py").write_text("TEXT = '# not a comment'\n")
    before = closure(project)
    (project / "steps.py").write_text("TEXT = '# another'\n")
    assert closure(project) != before


def test_imports_inside_functions_count(project: Path) -> None:
    (project / "steps.py").write_text("def run():\n    from tools.unused import never\n    return never()\n")
    assert "tools.unused" in closure(project).modules


def test_import_module_with_a_literal_is_followed_and_a_computed_name_is_told(project: Path) -> None:
    (project / "steps.py").write_text("import importlib\nimportlib.import_module('tools.unused')\n")
    found = closure(project)
    assert "tools.unused" in found.modules
    assert found.dynamic == ()
    (project / "steps.py").write_text("import importlib\nimportlib.import_module('tools.' + 'unused')\n")
    assert closure(project).dynamic == ("steps",)


def test_a_deleted_import_is_noticed(project: Path) -> None:
    before = closure(project)
    (project / "tools/deep/third.py").unlink()
    assert closure(project) != before


def test_lazy_exports_are_followed_where_they_are_named(project: Path) -> None:
    (project / "lazy").mkdir()
    (project / "lazy/__init__.py").write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from lazy.a import A\n    from lazy.b import B\n"
    )
    (project / "lazy/a.py").write_text("class A: ...\n")
    (project / "lazy/b.py").write_text("class B: ...\n")
    (project / "steps.py").write_text("from lazy import A\n")
    assert set(closure(project).modules) == {"steps", "lazy", "lazy.a"}


@pytest.mark.parametrize(
    "text", ["from lazy import stuff\n", "import lazy\nprint(lazy.stuff)\n", "from lazy import inner as i\ni.thing()\n"]
)
def test_lazy_exports_are_followed_through_packages_and_other_names(project: Path, text: str) -> None:
    head = "import importlib\nfrom typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    "
    serve = "\n\ndef __getattr__(name):\n    return importlib.import_module(HOMES[name])\n"
    files = {
        "lazy/__init__.py": head + "from lazy.inner import thing as stuff" + serve,
        "lazy/inner/__init__.py": head + "from lazy.inner.deep import made as thing" + serve,
        "lazy/inner/deep.py": "made = 1\n",
        "steps.py": text,
    }
    for name, content in files.items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(content)
    found = closure(project)
    assert set(found.modules) == {"steps", "lazy", "lazy.inner", "lazy.inner.deep"}
    assert found.dynamic == ()


def test_a_package_under_another_name_is_followed_where_it_is_used(project: Path) -> None:
    head = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    "
    files = {
        "front/__init__.py": head + "from back import numbers as numbers\n",
        "back/__init__.py": "",
        "back/numbers/__init__.py": head
        + "from back.numbers.primes import Prime\n    from back.numbers.odd import Odd\n",
        "back/numbers/primes.py": "class Prime: ...\n",
        "back/numbers/odd.py": "class O: ...\n",
        "steps.py": "from front import numbers\n\nnumbers.Prime()\n",
    }
    for name, content in files.items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(content)
    assert set(closure(project).modules) == {"steps", "front", "back", "back.numbers", "back.numbers.primes"}


def test_import_cycles_end(project: Path) -> None:
    (project / "tools/deep/third.py").write_text("import steps\n")
    assert "steps" in closure(project).modules


def test_what_is_installed_is_not_hashed(project: Path) -> None:
    (project / "steps.py").write_text("import pydantic, click, sys\n")
    found = closure(project)
    assert set(found.modules) == {"steps"}
    assert found.imports == {"pydantic", "click", "sys"}


def test_what_is_installed_elsewhere_is_not_hashed(project: Path, site: Any) -> None:
    site.install("far-away", files={"far_away/__init__.py": "import far_away.inner", "far_away/inner.py": "X = 1"})
    (project / "steps.py").write_text("import far_away\n")
    assert set(closure(project).modules) == {"steps"}
    assert closure(project).imports == {"far_away"}


def test_a_file_that_does_not_parse_is_hashed_as_it_is(project: Path) -> None:
    (project / "tools/first.py").write_text("def broken(:\n")
    before = closure(project)
    (project / "tools/first.py").write_text("def broken(::\n")
    assert closure(project) != before


def test_the_cache_file_changes_nothing(project: Path) -> None:
    cache = project / "cache" / "source.json"
    first = SourceIndex((project,), cache)
    expected = first.closure("steps")
    first.keep()
    assert cache.exists()
    assert SourceIndex((project,), cache).closure("steps") == expected
    (project / "tools/second.py").write_text("def two():\n    return 22\n")
    assert SourceIndex((project,), cache).closure("steps") == closure(project)
    kept = json.loads(cache.read_text())
    cache.write_text(json.dumps({**kept, "format": 1, "facts": {key: ["x"] for key in kept["facts"]}}))
    assert SourceIndex((project,), cache).closure("steps") == closure(project)
    cache.write_text("{ not json")
    assert SourceIndex((project,), cache).closure("steps") == closure(project)


def test_versions_of_distributions() -> None:
    environment = Environment()
    found = environment.versions_of(["pydantic", "sklearn", "os", "no_such_module_here"])
    import pydantic
    import sklearn

    assert found == {
        "no_such_module_here": "absent",
        "pydantic": pydantic.__version__,
        "scikit-learn": sklearn.__version__,
    }
    assert environment.distributions()["scikit-learn"] == sklearn.__version__


def test_the_first_on_the_path_wins(tmp_path: Path) -> None:
    for folder, version in (("a", "2.0"), ("b", "1.0")):
        (tmp_path / folder / f"Some_Thing-{version}.dist-info").mkdir(parents=True)
    environment = Environment((str(tmp_path / "a"), str(tmp_path / "b"), "/nowhere"))
    assert environment.distributions() == {"some-thing": "2.0"}
    assert canonical_name("Some_.Thing") == "some-thing"


def test_the_environment_is_the_interpreter_s() -> None:
    assert Environment().path == tuple(sys.path)
