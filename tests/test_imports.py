"""What an import costs, and what it must not bring along."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

HEAVY = ("polars", "pyarrow", "lightgbm", "onnx", "onnxruntime", "sklearn", "numpy", "scipy", "pandas", "matplotlib")
LATER = (*HEAVY, "sqlalchemy", "alembic", "optuna", "rich")


def modules_after(code: str) -> set[str]:
    script = f"{code}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("import headrace", (*LATER, "pydantic", "pluggy", "click")),
        ("from headrace import Dataset, Model, StageContext, hookimpl, errors", LATER),
        ("import headrace.builtins", LATER),
        ("import headrace.cli.main", LATER),
        ("from headrace import Project; Project('.')", LATER),
        ("from headrace.hooks.manager import PluginManager; PluginManager.discover()", LATER),
    ],
)
def test_nothing_heavy_is_imported_early(code: str, absent: tuple[str, ...]) -> None:
    assert not modules_after(code) & set(absent)


def test_every_builtin_stage_is_light_to_import() -> None:
    code = (
        "from headrace.hooks.manager import PluginManager\n"
        "catalog = PluginManager.discover().stages\n"
        "for entry in catalog.entries():\n    catalog.load(entry)\n"
    )
    assert not modules_after(code) & set(LATER)


def test_a_run_that_has_nothing_to_do_imports_no_frames(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(
        "from headrace import Params, StageContext\nfrom pydantic import BaseModel\n\n\nclass Config(BaseModel):\n"
        "    pass\n\n\nclass Give:\n    Config = Config\n\n    def __init__(self, config: Config) -> None: ...\n\n"
        "    def run(self, ctx: StageContext) -> Params:\n        return Params({})\n"
    )
    (tmp_path / "headrace.toml").write_text('[project]\nname = "p"\n[give]\nkind = "give"\nuse = "own:Give"\n')
    code = f"from headrace import Project\nwith Project({str(tmp_path)!r}) as p:\n    p.run().raise_on_failure()"
    modules_after(code)
    assert not modules_after(code) & {*HEAVY, "alembic", "rich", "click"}


def test_import_headrace_within_its_budget() -> None:
    """At most 60 ms on top of a bare interpreter: of the processor, which others' work does not touch, and of any time.

    The clock counts what others do as well; of several, in turn, the quickest of each knows least of it.
    """

    def seconds(code: str) -> tuple[float, float]:
        began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", code], check=True)
        took, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, took

    def least(runs: list[tuple[float, float]]) -> tuple[float, float]:
        return min(busy for busy, _ in runs), min(took for _, took in runs)

    pairs = [(seconds("import headrace"), seconds("pass")) for _ in range(9)]
    (busy, took), (bare_busy, bare) = least([ours for ours, _ in pairs]), least([others for _, others in pairs])
    assert busy - bare_busy <= 0.060
    assert took - bare <= 0.060 * max(1.0, bare / bare_busy)  # a busy machine stretches both alike


def test_public_names_exist_and_are_few() -> None:
    import headrace

    assert len(headrace.__all__) <= 48
    for name in headrace.__all__:
        assert getattr(headrace, name) is not None
    assert set(headrace.__all__) == set(dir(headrace))
    with pytest.raises(AttributeError, match="no attribute 'nothing_of_that_name'"):
        headrace.nothing_of_that_name  # noqa: B018
