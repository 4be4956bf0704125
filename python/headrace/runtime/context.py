"""What a stage is given while it runs, and what it says while it runs."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from headrace.errors import CancelledError, StageError
from headrace.hooks.transforms import NoTransforms

if TYPE_CHECKING:
    from pathlib import Path

    from headrace.types import ArtifactRef, RegistryView, TransformSource

EventKind = Literal["started", "log", "progress", "metric", "retry", "ended"]


@dataclass(frozen=True)
class Event:
    """Something that a stage said, or that happened to it. `data` is JSON."""

    stage: str
    kind: EventKind
    data: Mapping[str, Any]


Emit = Callable[[Event], None]


@dataclass
class Context:
    """Implements `headrace.StageContext`."""

    seed: int
    threads: int
    project: str
    project_dir: Path
    run_id: str
    stage: str
    workdir: Path
    registry: RegistryView
    inputs: Mapping[str, ArtifactRef]
    emit: Emit
    transforms: TransformSource = field(default_factory=NoTransforms)
    cancelled: threading.Event = field(default_factory=threading.Event)

    def log(self, message: str) -> None:
        self.check_cancelled()
        self.emit(Event(self.stage, "log", {"message": message}))

    def progress(self, done: float, total: float | None = None) -> None:
        self.check_cancelled()
        self.emit(Event(self.stage, "progress", {"done": done, "total": total}))

    def metric(self, name: str, value: float, *, step: int | None = None) -> None:
        if not math.isfinite(value):
            msg = f"metric {name!r} is {value}; a metric must be a finite number"
            raise StageError(msg, place=f"stage {self.stage}", hint="Leave it out where it is not defined.")
        self.emit(Event(self.stage, "metric", {"name": name, "value": float(value), "step": step}))

    def check_cancelled(self) -> None:
        if self.cancelled.is_set():
            msg = "the run is being stopped"
            raise CancelledError(msg, place=f"stage {self.stage}")
