"""A small project with a loop, and a world that it lives in: rows that come in, with labels, on a simulated clock."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import polars as pl

from headrace import Project
from headrace.loop.clock import SimulatedClock
from headrace.project.looping import controller_of, lease_of

START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
DAY = 86_400.0

SPEC = """
[project]
name = "tide"
target = "high"
task = "binary"
time_column = "at"
id_columns = ["id"]
threads = 1
jobs = 1

[ingest]
use = "files"
path = "base.parquet"

[split]
use = "time"

[features]
use = "plan"
exclude = ["at"]

[train]
use = "lightgbm"
n_estimators = 20
num_leaves = 7
min_data_in_leaf = 20

[evaluate]
use = "holdout"
replicates = 100

[gate]
use = "champion"
replicates = 200
latency_rows = 16

[register]
use = "package"
profile = true

[loop]
window = "sliding"
length = "60d"
cooldown = "1d"
budget = 3
min_rows = 50
change_rows = 100
{loop}

[loop.live]
rows = "live/*.parquet"
labels = "labels/*.parquet"
label_time = "known"

[loop.watch]
length = "7d"
min_rows = 50
{watch}

{triggers}
"""


def rows(seed: int, days: range, a_day: int, *, flip: bool = False, shift: float = 0.0) -> pl.DataFrame:
    """`a_day` rows for each day after START; the label follows from x and y, the other way round with `flip`."""
    chance = np.random.default_rng([seed, days.start + 1000, len(days)])
    count = a_day * len(days)
    x, y = chance.normal(size=count) + shift, chance.normal(size=count)
    high = (x + y + chance.normal(scale=0.5, size=count) > 0) ^ flip
    seconds = np.repeat(np.arange(days.start, days.stop), a_day) * DAY + np.tile(np.arange(a_day), len(days)) * 60.0
    at = pl.Series([START + dt.timedelta(seconds=float(s)) for s in seconds], dtype=pl.Datetime("us", "UTC"))
    names = [f"{day}-{n}-{seed}" for day in days for n in range(a_day)]
    return pl.DataFrame({"id": names, "at": at, "x": x, "y": y, "high": high.astype(np.int64)})


def labels_of(frame: pl.DataFrame, *, days_late: float = 0.0) -> pl.DataFrame:
    return frame.select("id", "high", known=pl.col("at") + dt.timedelta(days=days_late))


def write_spec(folder: Path, *, loop: str = "", watch: str = "", triggers: str = "[loop.triggers.performance]") -> None:
    (folder / "headrace.toml").write_text(SPEC.format(loop=loop, watch=watch, triggers=triggers))


class World:
    """The project's folder and its clock."""

    def __init__(self, folder: Path, **spec: str) -> None:
        self.folder = folder
        self.clock = SimulatedClock(START.timestamp())
        for name in ("live", "labels"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        write_spec(folder, **spec)
        rows(0, range(-40, 0), 40).write_parquet(folder / "base.parquet")

    def deliver(self, frame: pl.DataFrame, name: str, *, days_late: float = 0.0) -> None:
        frame.drop("high").write_parquet(self.folder / "live" / f"{name}.parquet")
        labels_of(frame, days_late=days_late).write_parquet(self.folder / "labels" / f"{name}.parquet")

    def at(self, day: float) -> None:
        self.clock.at = START.timestamp() + day * DAY

    @contextmanager
    def loop(self, **more: object):
        with Project(self.folder) as project, lease_of(project) as lease:
            yield controller_of(project, lease=lease, clock=self.clock, **more)

    def once(self, **more: object) -> list[str]:
        with self.loop(**more) as controller:
            return [entry.kind for entry in controller.once()]

    def log(self) -> list:
        with Project(self.folder) as project:
            return project.store.loops.entries("tide")

    def kinds(self) -> list[str]:
        return [entry.kind for entry in self.log()]

    def champions(self) -> list[tuple[int | None, int | None]]:
        """The moves of the alias, oldest first: from, to."""
        with Project(self.folder) as project:
            return [
                (move.previous, move.version) for move in reversed(project.history("tide")) if move.alias == "champion"
            ]


Made = Callable[..., World]
