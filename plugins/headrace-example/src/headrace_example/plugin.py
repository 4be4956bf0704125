"""What headrace imports at every start: names only, nothing heavy."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Protocol

from headrace import RunInfo, hookimpl


class StageRegistry(Protocol):
    """What headrace hands in."""

    def add(self, kind: str, name: str, target: str) -> None:
        """Register a stage."""


@hookimpl
def headrace_stages(registry: StageRegistry) -> None:
    """The class is imported when a pipeline first uses it."""
    registry.add("enrich", "holidays", "headrace_example.holidays:Holidays")


@hookimpl
def after_run(run: RunInfo) -> None:
    """Write a line about each run into the file that `HEADRACE_JOURNAL` names."""
    journal = os.environ.get("HEADRACE_JOURNAL")
    if journal:
        line = {"run": run.id, "project": run.project, "status": run.status, "stages": len(run.stages)}
        with Path(journal).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
