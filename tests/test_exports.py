"""The extension module, its stub and its Python face say the same names: a drift alarm."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

from headrace import _core

PACKAGE = Path(_core.__file__).resolve().parent


def exported() -> set[str]:
    return {name for name in dir(_core) if not name.startswith("_")}


def test_the_module_lists_its_names():
    assert set(_core.__all__) == exported() != set()


def test_the_stub_has_each_name():
    stub = ast.parse((PACKAGE / "_core.pyi").read_text("utf-8"))
    declared = {node.name for node in stub.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    assert declared == exported()
    listed = next(node for node in stub.body if isinstance(node, ast.Assign) and node.targets[0].id == "__all__")
    assert set(ast.literal_eval(listed.value)) == exported()


def test_compute_uses_each_name():
    used = set()
    for path in (PACKAGE / "compute").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "_core":
                used.add(node.attr)
            elif isinstance(node, ast.ImportFrom) and node.module == "headrace._core":
                used.update(alias.name for alias in node.names)
    assert exported() - used == set()


def test_every_function_says_what_it_does():
    assert [name for name in exported() if not inspect.getdoc(getattr(_core, name))] == []


def test_types_are_marked():
    assert (PACKAGE / "py.typed").is_file()
