"""A project of small stages of its own, and the command line in this process."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

STAGES = """
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict

from headrace import Dataset, Evaluation, GateReport, Report, StageContext


class Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    rows: int = 3
    fail: bool = False
    good: bool = True


class Made(NamedTuple):
    data: Dataset


class _Stage:
    Config = Settings

    def __init__(self, config):
        self.config = config


class Make(_Stage):
    def run(self, ctx: StageContext) -> Made:
        import polars as pl

        ctx.log(f"makes {self.config.rows} rows")
        ctx.progress(1, 2)
        ctx.metric("rows", self.config.rows)
        ctx.metric("loss", 0.5, step=1)
        return Made(Dataset.from_frame(pl.DataFrame({"a": range(self.config.rows)})))


class Twice(_Stage):
    def run(self, ctx: StageContext, data: Dataset) -> Made:
        import polars as pl

        if self.config.fail:
            raise ValueError("no luck \\x1b[31m today")
        return Made(Dataset.from_frame(data.frame().with_columns(pl.col("a") * 2)))


class Evaluate(_Stage):
    def run(self, ctx: StageContext, data: Dataset) -> Evaluation:
        return Evaluation(
            task="binary",
            primary="log_loss",
            rows=3,
            level=0.95,
            metrics={
                "roc_auc": {"value": 0.75, "low": 0.7, "high": 0.8, "better": "higher"},
                "log_loss": {"value": 0.5, "low": 0.4, "high": 0.6, "better": "lower"},
                "mcc": {"value": None, "low": None, "high": None, "better": "higher"},
            },
            baseline={"log_loss": {"value": 0.6931, "low": None, "high": None, "better": "lower"}},
        )


class Gate(_Stage):
    def run(self, ctx: StageContext, evaluation: Evaluation) -> GateReport:
        good = self.config.good
        check = {"name": "floor", "passed": good, "found": 0.5, "required": 0.4, "message": "log loss is 0.5"}
        return GateReport(passed=good, checks=[check], champion=None)


class Page(_Stage):
    def run(self, ctx: StageContext, gate: GateReport) -> Report:
        return Report(title="t", html="<!doctype html><p>seen: é</p>")
"""

SPEC = """
[project]
name = "chain"

[ingest]
use = "{module}:Make"

[features]
use = "{module}:Twice"

[evaluate]
use = "{module}:Evaluate"

[gate]
use = "{module}:Gate"

[report]
use = "{module}:Page"

[env.large.ingest]
rows = 30
"""


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def headrace():
    """Run a command line in this process: `headrace("run", "--json")`."""
    from headrace.cli.main import cli

    def invoke(*args: object, stdin: bytes | None = None) -> Result:
        done = CliRunner().invoke(cli, [str(arg) for arg in args], input=stdin)
        return Result(done.exit_code, done.stdout, done.stderr)

    return invoke


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of five small stages, as the working directory."""
    # A module of its own name for each test: what a test imports stays imported.
    module = f"stages_{abs(hash(tmp_path))}"
    (tmp_path / f"{module}.py").write_text(STAGES)
    (tmp_path / "headrace.toml").write_text(SPEC.format(module=module))
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop(module, None)
    if str(tmp_path) in sys.path:
        sys.path.remove(str(tmp_path))
