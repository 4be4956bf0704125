"""`on_drift`: told once for what was newly seen, with the report, the run and the stage."""

from __future__ import annotations

from pathlib import Path

import pytest

from headrace import Project, hookimpl
from headrace.hooks.manager import PluginManager

STEPS = """
from dataclasses import replace

from headrace import DriftReport, StageContext, drift
from pydantic import BaseModel, ConfigDict


class Compare:
    class Config(BaseModel):
        model_config = ConfigDict(extra="forbid", frozen=True)
        live: list[int]
        inside: list[int] = []

    def __init__(self, config):
        self.config = config

    def run(self, ctx: StageContext) -> DriftReport:
        report = self.compared(self.config.live)
        if self.config.inside:
            inside = drift.SegmentDrift("shop", "north", (10000, 10000), self.compared(self.config.inside))
            report = replace(report, segments=(inside,))
        return report

    def compared(self, live):
        column = drift.CountedColumn("colour", [5000, 5000], live, categories=["red", "blue"])
        return drift.compare_counts([column])
"""


class Listener:
    def __init__(self) -> None:
        self.told = []

    @hookimpl
    def on_drift(self, report, run, stage) -> None:
        self.told.append((report.drifted or report.drifted_segments, run.id, run.status, stage.name))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "drift_steps.py").write_text(STEPS)
    (tmp_path / "headrace.toml").write_text(
        '[project]\nname = "watched"\n[compare]\nkind = "monitor"\nuse = "drift_steps:Compare"\nlive = [5000, 5000]\n'
    )
    return tmp_path


def run(folder: Path, live: list[int], inside: list[int] | None = None) -> tuple[str, list]:
    listener = Listener()
    with Project(folder, overrides={"compare.live": live, "compare.inside": inside or []}) as project:
        project.__dict__["plugins"] = PluginManager.discover(extra=[listener])
        made = project.run().raise_on_failure()
        assert len(made["compare"].columns) == 1
        return made.id, listener.told


def test_drift_is_told_once_and_no_drift_is_not(folder: Path) -> None:
    drifted = run(folder, [1000, 9000])
    assert drifted[1] == [(("colour",), drifted[0], "running", "compare")]
    assert run(folder, [1000, 9000])[1] == []  # from the cache: nothing new was seen
    assert run(folder, [5010, 4990])[1] == []
    assert run(folder, [1, 9])[1] == []  # not enough data is no alarm


def test_drift_within_a_segment_alone_is_told(folder: Path) -> None:
    drifted = run(folder, [5010, 4990], [1000, 9000])
    assert drifted[1] == [(("north",), drifted[0], "running", "compare")]
    assert run(folder, [5011, 4989], [5000, 5000])[1] == []
