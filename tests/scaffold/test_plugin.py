"""A new plugin package is right from the first moment: its names are checked, its files whole, its own tests pass."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib

import pytest

from headrace.errors import SpecError, StoreError
from headrace.scaffold.plugin import plan_plugin, write_plugin


def install(site, plan):
    """As `pip install -e .` would: what pyproject.toml says, as metadata; the sources where they are."""
    project = tomllib.loads((plan.folder / "pyproject.toml").read_text())["project"]
    site.install(project["name"], project["version"], plugins=project["entry-points"]["headrace"])
    (site.folder / f"{plan.module}").symlink_to(plan.folder / "src" / plan.module)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "kind"), [("geo", "enrich"), ("headrace-sales-force", "ingest"), ("b2", "train"), ("x", "my-own_kind")]
)
def test_its_own_tests_pass(site, tmp_path, name, kind):
    plan = plan_plugin(name, kind=kind, parent=tmp_path)
    write_plugin(plan)
    install(site, plan)
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--strict-markers"],
        cwd=plan.folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert " passed" in run.stdout
    assert "failed" not in run.stdout
    assert "warning" not in run.stdout


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["enrich", "ingest", "train"])
def test_its_types_are_right(tmp_path, kind):
    pytest.importorskip("mypy")
    plan = plan_plugin("typed", kind=kind, parent=tmp_path)
    write_plugin(plan)
    mypy = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "mypy"), "src"],
        cwd=plan.folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert mypy.returncode == 0, mypy.stdout


@pytest.mark.parametrize("kind", ["enrich", "ingest", "train"])
def test_every_file_is_complete(tmp_path, kind):
    plan = plan_plugin("geo-code", kind=kind, parent=tmp_path)
    written = write_plugin(plan)
    assert [str(path.relative_to(plan.folder)) for path in written] == [
        "README.md",
        "pyproject.toml",
        "src/headrace_geo_code/__init__.py",
        "src/headrace_geo_code/plugin.py",
        "src/headrace_geo_code/py.typed",
        "src/headrace_geo_code/stage.py",
        "tests/test_stage.py",
    ]
    for path in written:
        text = path.read_text()
        assert "$" not in text
        assert text == "" or text.endswith("\n")
        if path.suffix == ".py":
            ast.parse(text)
    project = tomllib.loads((plan.folder / "pyproject.toml").read_text())["project"]
    assert project["name"] == "headrace-geo-code"
    assert project["entry-points"]["headrace"] == {"geo-code": "headrace_geo_code.plugin"}
    assert list(tmp_path.iterdir()) == [plan.folder]
    assert plan.folder.stat().st_mode & 0o777 == 0o755


def test_the_readmes_table_is_a_table_of_a_headrace_toml(tmp_path):
    for kind, name, expected in [
        ("enrich", "geo", {"geo": {"kind": "enrich", "use": "geo", "column": "age"}}),
        ("train", "boost", {"train": {"use": "boost", "smoothing": 1.0}}),
    ]:
        plan = plan_plugin(name, kind=kind, parent=tmp_path)
        assert tomllib.loads(plan.table()) == expected
        assert plan.table() in plan.render()["README.md"]


@pytest.mark.parametrize(
    "name",
    [
        "",
        "headrace-",
        "Geo",
        "geo_x",
        "-geo",
        "geo-",
        "ge--o",
        "1geo",
        "../geo",
        "geo/x",
        "geo.x",
        "ge o",
        "géo",
        "geo\n",
        'geo"',
        "geo'); import os; ('",
        "${module}",
        "x" * 41,
        "🚰",
    ],
)
def test_names_that_cannot_be_ones(tmp_path, name):
    with pytest.raises(SpecError, match="cannot be the name of a plugin") as caught:
        plan_plugin(name, parent=tmp_path)
    assert "letter" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_name_comes_with_a_right_one(tmp_path):
    with pytest.raises(SpecError) as caught:
        plan_plugin("My Plugin_2", parent=tmp_path)
    assert "`my-plugin-2`" in caught.value.hint


@pytest.mark.parametrize("kind", ["", "Enrich", "en rich", "a:b", "x" * 65, "kind]\n[project"])
def test_kinds_that_cannot_be_ones(tmp_path, kind):
    with pytest.raises(SpecError, match="cannot be the kind") as caught:
        plan_plugin("geo", kind=kind, parent=tmp_path)
    assert caught.value.hint


def test_a_kind_without_a_template(tmp_path):
    with pytest.raises(SpecError, match=r"no template .* 'gate'") as caught:
        plan_plugin("geo", kind="gate", parent=tmp_path)
    assert "headrace plugins show gate:" in caught.value.hint


def test_a_name_that_is_taken(tmp_path):
    with pytest.raises(SpecError, match="train:lightgbm already, from headrace"):
        plan_plugin("lightgbm", kind="train", parent=tmp_path, taken={("train", "lightgbm"): "headrace"})


@pytest.mark.parametrize("make", ["folder", "file", "link"])
def test_nothing_is_overwritten(tmp_path, make):
    there = tmp_path / "headrace-geo"
    if make == "folder":
        there.mkdir()
    elif make == "file":
        there.write_text("mine")
    else:
        there.symlink_to(tmp_path / "nowhere")
    with pytest.raises(SpecError, match="exists already"):
        plan_plugin("geo", parent=tmp_path)


def test_nothing_is_overwritten_that_came_in_between(tmp_path):
    plan = plan_plugin("geo", parent=tmp_path)
    plan.folder.mkdir()
    (plan.folder / "mine").write_text("mine")
    with pytest.raises(SpecError, match="exists already"):
        write_plugin(plan)
    assert [path.name for path in tmp_path.rglob("*")] == ["headrace-geo", "mine"]


def test_a_parent_that_is_not_there_is_made(tmp_path):
    plan = plan_plugin("geo", parent=tmp_path / "a" / "b")
    write_plugin(plan)
    assert (tmp_path / "a" / "b" / "headrace-geo" / "pyproject.toml").exists()


def test_a_disk_that_refuses_leaves_nothing(tmp_path, monkeypatch):
    plan = plan_plugin("geo", parent=tmp_path)
    monkeypatch.setattr("pathlib.Path.rename", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(StoreError, match="No space left on device") as caught:
        write_plugin(plan)
    assert caught.value.place == str(plan.folder)
    assert list(tmp_path.iterdir()) == []


def test_a_parent_that_is_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    plan = plan_plugin("geo", parent=tmp_path / "file")
    with pytest.raises(StoreError, match="cannot be written"):
        write_plugin(plan)
