"""What a trial is to the trainer (a stage context), and how finished trials are kept."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from headrace import StageContext, errors

__all__ = ["Finished", "Journal", "Pruned", "Scored", "TrialContext"]


class Pruned(Exception):  # noqa: N818  # no error: how a trial ends
    """The trial goes worse than others did."""


class Scored(Exception):  # noqa: N818
    """The trial's score is known, so nothing that comes after it (export, comparison) needs to be done."""

    def __init__(self, name: str, value: float) -> None:
        super().__init__(name)
        self.name = name
        self.value = value


class TrialContext:
    """A stage context that hands on nothing but cancellation, and listens to the metrics.

    `step(name, value, step)` is told each point of a series `valid.*` and may raise `Pruned`; a single number `valid.*`
    is the score and ends the trial.
    """

    def __init__(self, ctx: StageContext, step: Callable[[str, float, int], None]) -> None:
        self._ctx = ctx
        self._step = step

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ctx, name)  # seed, threads, project, ...

    def log(self, message: str) -> None:
        """Nothing: thirty trials would say the same thirty times."""

    def progress(self, done: float, total: float | None = None) -> None:
        """Nothing: the tuner counts trials."""

    def check_cancelled(self) -> None:
        """Raise `CancelledError` if the run is being stopped."""
        self._ctx.check_cancelled()

    def metric(self, name: str, value: float, *, step: int | None = None) -> None:
        """Listen."""
        if name.startswith("valid."):
            # Trainers add up a metric in as many parts as there are threads: the last bits must not decide.
            value = float(f"{value:.12g}")
            if step is None:
                raise Scored(name, value)
            self._step(name, value, step)


@dataclass(frozen=True)
class Finished:
    """A trial that came to an end: its parameters, the metric that it was scored by, its value (none if pruned)."""

    params: Mapping[str, Any]
    metric: str
    value: float | None
    steps: Mapping[str, float] = field(default_factory=dict)
    """Round (as text, for JSON) -> value of the metric then."""


class Journal:
    """Finished trials, a line of JSON each, on disk before the next one starts.

    One process at a time has a stage's working folder, so there is no lock to be left behind by a killed one.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> list[Finished]:
        """What was finished. A last line that was cut off when the process died is taken away."""
        if not self._path.exists():
            return []
        data = self._path.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        if len(whole) < len(data):
            self._path.write_bytes(whole)
        try:
            return [Finished(**json.loads(line)) for line in whole.splitlines()]
        except (ValueError, TypeError) as error:
            raise errors.DataError(
                f"the record of finished trials is damaged: {error}",
                place=str(self._path),
                hint="Delete the file; the trials are then run again.",
            ) from error

    def add(self, trial: Finished) -> None:
        """Keep a trial."""
        with self._path.open("ab") as stream:
            stream.write(json.dumps(asdict(trial), allow_nan=False).encode() + b"\n")
            stream.flush()
            os.fsync(stream.fileno())
