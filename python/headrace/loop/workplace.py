"""What the controller works with: the project's rows and runs, its place in a store, and what triggers are given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import datetime as dt
    from pathlib import Path

    import polars as pl

    from headrace.loop.live import Live
    from headrace.registry import Registry
    from headrace.store.loops import Loops
    from headrace.types import PackageView, TransformSource


@dataclass(frozen=True)
class Trained:
    """What a run gave. `compared`: the champion that the gate looked at; `gate`: the digest of its report."""

    run: str
    status: str
    version: int | None = None
    package: str | None = None
    passed: bool = False
    compared: int | None = None
    gate: str | None = None
    why: str = ""


class Workshop(Protocol):
    """Where the project's rows come from, and where models are made."""

    def base(self) -> pl.DataFrame:
        """The project's own rows, as its ingest stage gives them."""

    def inputs(self) -> str:
        """A fingerprint of the project's own input files."""

    def train(self, data: Path | None, *, why: str) -> Trained:
        """Run the pipeline, on the rows of a file or else on the project's own; promote nothing."""


@dataclass(frozen=True)
class Place:
    """Which project, and in which store: `folder` is where rows of runs are kept."""

    project: str
    model: str
    folder: Path
    loops: Loops
    registry: Registry


@dataclass
class Context:
    """Implements `headrace.TriggerContext`."""

    now: dt.datetime
    since: dt.datetime
    champion: PackageView | None
    live: Live | None
    new_labels: int
    inputs: str
    inputs_seen: str | None
    transforms: TransformSource
    threads: int
