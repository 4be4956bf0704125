"""A loop whose trainings cost nothing: packages that were made before are registered in their place."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from headrace.hooks.transforms import NoTransforms
from headrace.loop.clock import SimulatedClock
from headrace.loop.controller import Controller
from headrace.loop.live import Live, joined
from headrace.loop.policy import Columns, LoopPolicy
from headrace.loop.workplace import Place, Trained
from headrace.registry import Registry
from headrace.store import Store
from loop_project import DAY, START, rows

COLUMNS = Columns(target="high", time="at", id="id")


class Memory:
    """A `LiveSource` in memory: rows, and labels with the moment at which they became known."""

    def __init__(self) -> None:
        self.all = rows(0, range(1), 1).clear()
        self.reads = 0

    def add(self, frame: pl.DataFrame) -> None:
        self.all = pl.concat([self.all, frame], how="vertical_relaxed")

    def stamp(self) -> str:
        return str(self.all.height)

    def frame(self, until: Any) -> pl.DataFrame:
        self.reads += 1
        return joined(self.all, None, COLUMNS, until)


@dataclass
class Bench:
    """A `Workshop` that registers a package instead of training one; which, the rows say."""

    registry: Registry
    packages: dict[bool, dict[str, Any]]
    trained: list[str] = field(default_factory=list)
    passed: bool = True
    status: str = "succeeded"
    fingerprint: str = "one"
    oldest: list[Any] = field(default_factory=list)
    """The time of the first row that each training was given; the rows themselves are gone after it."""

    def base(self) -> pl.DataFrame:
        return rows(0, range(-40, 0), 40)

    def inputs(self) -> str:
        return self.fingerprint

    def train(self, data: Path | None, *, why: str) -> Trained:
        self.trained.append(why)
        flip = False
        if data is not None:
            frame = pl.read_parquet(data)
            self.oldest.append(frame["at"].min())
            last = frame.tail(100)
            flip = bool(((last["x"] + last["y"] > 0) != last["high"]).mean() > 0.5)
        if self.status != "succeeded":
            return Trained(run="0" * 12, status=self.status, why="no")
        package = self.packages[flip]
        version = self.registry.register(
            "tide", package["files"], about=package["about"], model_digest=package["digest"]
        )
        compared = self.registry.aliased("tide", "champion")
        return Trained("0" * 12, "succeeded", version.number, version.package, self.passed, compared, None, "it is so")


class Tide:
    """A store with a loop whose trainings cost nothing, on a simulated clock."""

    def __init__(self, root: Path, packages: dict[bool, dict[str, Any]], **policy: Any) -> None:
        self.root = root
        self.packages = packages
        self.clock = SimulatedClock(START.timestamp())
        self.source = Memory()
        self.options: dict[str, Any] = {}
        self.triggers: dict[str, Any] = {}
        self.set(**policy)
        Store.open(root).close()

    def set(self, **policy: Any) -> None:
        wanted: dict[str, Any] = {"window": "sliding", "length": "15d", "cooldown": "1d", "budget": 5} | policy
        wanted = {"min_rows": 50, "change_rows": 100} | wanted
        self.policy = LoopPolicy.model_validate({"watch": {"length": "7d", "min_rows": 50}} | wanted)

    def at(self, day: float) -> None:
        self.clock.at = START.timestamp() + day * DAY

    def open(self, store: Store, *, loops: Any = None, lease: Any = None) -> Controller:
        registry = Registry(store, who="test")
        bench = Bench(registry, self.packages, **self.options)
        return Controller(
            place=Place("tide", "tide", self.root / "loop", loops or store.loops, registry),
            policy=self.policy,
            columns=COLUMNS,
            live=Live(self.source, COLUMNS),
            triggers=self.triggers,
            workshop=bench,
            clock=self.clock,
            transforms=NoTransforms(),
            lease=lease,
        )

    def once(self) -> list[str]:
        with Store.open(self.root) as store:
            lease = store.loops.take("tide")
            try:
                return [entry.kind for entry in self.open(store, lease=lease).once()]
            finally:
                lease.release()

    def log(self) -> list[Any]:
        with Store.open(self.root) as store:
            return store.loops.entries("tide")

    def kinds(self) -> list[str]:
        return [entry.kind for entry in self.log()]

    def say(self, kind: str, **body: Any) -> None:
        with Store.open(self.root) as store:
            store.loops.append("tide", kind, body, at=self.clock.at, who="a person")

    def champions(self) -> list[tuple[int | None, int | None]]:
        with Store.open(self.root) as store:
            moves = Registry(store, who="test").history("tide", "champion")
            return [(move.previous, move.version) for move in reversed(moves)]
