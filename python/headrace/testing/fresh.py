"""Imports modules in a fresh interpreter, to see what comes with them and how long they take."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Sequence

HEAVY = (
    "alembic",
    "catboost",
    "dask",
    "jax",
    "lightgbm",
    "matplotlib",
    "mlflow",
    "numpy",
    "onnx",
    "onnxruntime",
    "optuna",
    "pandas",
    "polars",
    "pyarrow",
    "requests",
    "scipy",
    "sklearn",
    "sqlalchemy",
    "statsmodels",
    "tensorflow",
    "torch",
    "transformers",
    "xgboost",
)
"""Packages that take long to import; they belong into the functions that use them."""

RATIO = 1.0
"""A plugin's modules may take as long to import as headrace's public names and pydantic together."""

_SCRIPT = """
import importlib, json, sys, time
modules, heavy = json.loads(sys.argv[1])
def clock():
    # The time in which this thread was ready and others had the processor is not the modules' (Linux says it).
    try:
        with open("/proc/thread-self/schedstat") as file:
            waited = int(file.read().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        waited = 0.0
    return time.perf_counter() - waited
began = clock()
import pydantic
from headrace import Dataset, StageContext, hookimpl
class Yardstick(pydantic.BaseModel):
    value: int = 0
yardstick = clock() - began
began = clock()
found = {}
for module in modules:
    before = set(sys.modules)
    importlib.import_module(module)
    found[module] = sorted(set(heavy) & (set(sys.modules) - before))
took = clock() - began
sys.__stdout__.write("\\n" + json.dumps({"heavy": found, "ratio": took / yardstick}) + "\\n")
"""


@dataclass(frozen=True)
class FreshImport:
    """What importing modules brought in, and how long it took as a multiple of headrace's own names and pydantic."""

    heavy: dict[str, list[str]]
    ratio: float


def fresh_import(modules: Sequence[str]) -> FreshImport:
    """Import `modules`, in order, in an interpreter that has imported nothing yet."""
    arguments = json.dumps([list(modules), list(HEAVY)])
    done = subprocess.run(  # noqa: S603  # our own interpreter, a fixed script
        [sys.executable, "-c", _SCRIPT, arguments], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        fail(
            f"{' and '.join(modules)} cannot be imported in a fresh interpreter: {last}",
            "Install the package into this environment (`pip install -e .`): a worker process must find it too.",
        )
    found = json.loads(done.stdout.strip().splitlines()[-1])
    return FreshImport(found["heavy"], found["ratio"])


def check_light(modules: Sequence[str]) -> None:
    """Fail if importing `modules` imports one of the heavy packages."""
    for module, heavy in fresh_import(modules).heavy.items():
        if heavy:
            fail(
                f"importing {module!r} imports {', '.join(heavy)}",
                "Import it inside the function that uses it: plugins are imported at every start of headrace.",
            )


def check_quick(modules: Sequence[str]) -> None:
    """Fail if importing `modules` takes longer than the yardstick, five times in a row."""
    ratios = []
    for _ in range(5):  # a busy machine may slow one of them down
        ratios.append(fresh_import(modules).ratio)
        if ratios[-1] <= RATIO:
            return
    fail(
        f"importing {' and '.join(modules)} takes {min(ratios):.1f} times as long as headrace's own names",
        f"At most {RATIO:g} times is allowed; `python -X importtime -c 'import ...'` shows what takes it.",
    )


def fail(what: str, way_out: str) -> NoReturn:
    """Fail a check: what was found, and what to change."""
    __tracebackhide__ = True
    raise AssertionError(f"{what}\n  {way_out}")
