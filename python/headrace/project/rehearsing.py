"""`headrace rehearse`: the real loop of a project, in a store that is thrown away, through a world that is made up."""

from __future__ import annotations

import datetime as dt
import math
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.errors import SpecError
from headrace.loop.clock import SimulatedClock
from headrace.loop.data import assemble, keep, kept, window_start
from headrace.loop.policy import Columns, read_policy
from headrace.loop.rehearsal.policy import read_rehearsal
from headrace.loop.rehearsal.streams import AT, ID, START, Friedman, Own, Sea, make_world
from headrace.pipeline import spec as specs
from headrace.project.looping import ProjectWorkshop, controller_of, lease_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import polars as pl

    from headrace.compute.inference import Predictor
    from headrace.loop.rehearsal.policy import RehearsePolicy
    from headrace.loop.rehearsal.streams import Stream, World
    from headrace.project import Project
    from headrace.store.loops import LogEntry

_NEVER = 1_000_000_000
"""So many rows in a leaf are never there, so that no split is made."""
_MAKING = frozenset({"ingest", "validate", "split", "features", "tune", "train"})
_TRIGGERS = {"performance": {}, "drift": {"delta": 0.2}}
_LOOP = {"window": "sliding", "length": "56d", "cooldown": "6d", "watch": {"length": "14d", "min_rows": 60}}


@dataclass
class Rehearsal:
    """What came of it. Losses are the primary metric, where lower is better, in each step; `steps` are their days."""

    entries: list[LogEntry] = field(default_factory=list)
    metric: str = ""
    steps: list[float] = field(default_factory=list)
    ours: list[float] = field(default_factory=list)
    never: list[float] = field(default_factory=list)
    always: list[float] = field(default_factory=list)
    always_trainings: int = 0
    always_rows: int = 0
    unanswered: int = 0
    problems: list[str] = field(default_factory=list)

    def count(self, kind: str) -> int:
        """How many entries of a kind there are after the first cycle."""
        return len([e for e in self.entries if e.kind == kind and e.body["cycle"] > 1])

    @property
    def alarms(self) -> int:
        """How often a trigger asked for a run: those that were decided, and those that were held back first."""
        return self.count("decided") + len([e for e in self.entries if e.kind == "held"])

    @property
    def rows(self) -> int:
        """How many rows were trained on after the first cycle."""
        return sum(e.body["data"].get("rows", 0) for e in self.entries if e.kind == "decided" and e.body["cycle"] > 1)

    @staticmethod
    def end(losses: list[float]) -> float | None:
        """The mean loss of the last quarter, of those steps in which there were rows."""
        return _mean(losses[-max(len(losses) // 4, 1) :])

    def document(self) -> dict[str, Any]:
        """For machines, and for what is printed."""
        losses = {"ours": self.ours, "never": self.never, "always": self.always}
        return {
            "ok": not self.problems,
            "problems": self.problems,
            "alarms": self.alarms,
            "trainings": self.count("decided"),
            "promotions": self.count("promoted"),
            "rollbacks": self.count("rolled back"),
            "always_trainings": self.always_trainings,
            "trained_rows": {"ours": self.rows, "never": 0, "always": self.always_rows},
            "unanswered": self.unanswered,
            "metric": self.metric,
            "loss": {name: _mean(found) for name, found in losses.items() if found},
            "loss_of_last_quarter": {name: self.end(found) for name, found in losses.items() if found},
            "steps": {"day": self.steps, **{name: _finite(found) for name, found in losses.items() if found}},
        }


def _finite(losses: Sequence[float]) -> list[float | None]:
    """Where nothing could be measured: None."""
    return [loss if math.isfinite(loss) else None for loss in losses]


def _mean(losses: Sequence[float]) -> float | None:
    known = [loss for loss in losses if math.isfinite(loss)]
    return sum(known) / len(known) if known else None


def rehearse(project: Project, *, told: Callable[[LogEntry], object] | None = None) -> Rehearsal:
    """Live through `[rehearse]` of a project: nothing of the project is changed. Raises as the loop does."""
    policy = read_rehearsal(project.spec)
    with _stage(project, policy) as (actor, world, columns):
        found, versions = _live(actor, world, policy, told or (lambda _entry: None))
        with _quiet(actor) as predictors:
            _score(found, world, policy, versions, predictors)
        found.unanswered = world.unanswered
        if policy.compare:
            _always(found, actor, world, policy, columns)
    _expect(found, policy)
    return found


@contextmanager
def _stage(project: Project, policy: RehearsePolicy) -> Iterator[tuple[Project, World, Columns]]:
    """The project that plays: the same pipeline and policy, a made-up world, a store that is thrown away."""
    from headrace.project import Project

    document = dict(project.spec.document)
    own = policy.stream == "own"
    loop = dict(document.get("loop", {})) or dict(_LOOP)
    loop.setdefault("triggers", _TRIGGERS)
    if own:
        columns = _own_columns(project)
        stream: Stream = Own(ProjectWorkshop(project).base(), columns)
    else:
        stream = Sea() if policy.stream == "sea" else Friedman()
        columns = Columns(target=stream.target, time=AT, id=ID)
        document = _generated(stream.target, "binary" if policy.stream == "sea" else "regression")
    world = make_world(stream, policy, columns)
    with tempfile.TemporaryDirectory(prefix="headrace-rehearsal-") as scratch:
        folder = Path(scratch)
        world.base().write_parquet(folder / "base.parquet")
        for name, table in document.items():
            if isinstance(table, dict) and table.get("kind", name) == "ingest":
                document[name] = {"kind": "ingest", "use": "files", "path": str(folder / "base.parquet")}
        # Nobody is there to approve, and nothing is at stake.
        document["loop"] = {
            **loop,
            "promote": "auto",
            "dry_run": False,
            "live": {"rows": "none", **({"id": columns.id} if columns.id else {})},
        }
        document["project"] = {**document["project"], "threads": project.spec.threads or 2}
        document["store"] = {"path": str(folder / "store")}
        path = project.spec.path if own else folder / "headrace.toml"
        actor = Project(path)
        actor.__dict__ |= {"spec": specs.parse(document, path=path), "plugins": project.plugins}
        with actor:
            yield actor, world, columns


def _own_columns(project: Project) -> Columns:
    shared = project.spec.shared
    target, time = shared.get("target"), shared.get("time_column")
    if not isinstance(target, str) or not isinstance(time, str):
        raise SpecError(
            "a rehearsal with the project's own rows needs `target` and `time_column`",
            place=project.spec.place("project"),
            hint='Set them in [project], or rehearse with stream = "sea" in [rehearse].',
        )
    ids = shared.get("id_columns") or ()
    return Columns(target=target, time=time, id=ids[0] if ids else None)


def _generated(target: str, task: str) -> dict[str, Any]:
    """The pipeline for a generated stream."""
    return {
        "project": {"name": "rehearsal", "target": target, "task": task, "time_column": AT, "id_columns": [ID]},
        "ingest": {"use": "files", "path": "base.parquet"},
        "split": {"use": "time"},
        "features": {"use": "plan", "exclude": [AT]},
        "train": {"use": "lightgbm", "n_estimators": 60, "num_leaves": 15, "min_data_in_leaf": 20},
        "evaluate": {"use": "holdout", "replicates": 100},
        "gate": {"use": "champion", "replicates": 300, "latency_rows": 16},
        "register": {"use": "package"},
    }


def _live(
    actor: Project, world: World, policy: RehearsePolicy, told: Callable[[LogEntry], object]
) -> tuple[Rehearsal, list[int | None]]:
    """The loop, step by step; which version was champion in each."""
    found = Rehearsal()
    clock = SimulatedClock(START.timestamp())
    versions: list[int | None] = []

    def both(entry: LogEntry) -> None:
        found.entries.append(entry)
        told(entry)

    with lease_of(actor) as lease:
        controller = controller_of(actor, lease=lease, clock=clock, source=world, told=both)
        day = 0.0
        controller.workshop = ProjectWorkshop(actor, amend=lambda document: _spoiled(document, policy, day))
        controller.once()
        while day < policy.days:
            versions.append(actor.registry.aliased(controller.place.model, "champion"))
            found.steps.append(day)
            day += policy.step / 86_400
            clock.at = START.timestamp() + day * 86_400
            controller.once()
    return found, versions


def _spoiled(document: dict[str, Any], policy: RehearsePolicy, day: float) -> dict[str, Any]:
    """The document, with a training that is spoiled on the days on which it is to be."""
    if not any(fault.kind == "worse challenger" and fault.covers(day) for fault in policy.faults):
        return document
    for name, table in document.items():
        if isinstance(table, dict) and table.get("kind", name) == "train":
            if table.get("use") != "lightgbm":
                raise SpecError('the fault "worse challenger" is for train: lightgbm', place=f"stage {name}")
            return {**document, name: {**table, "n_estimators": 1, "min_data_in_leaf": _NEVER}}
    return document


@contextmanager
def _quiet(actor: Project) -> Iterator[Callable[[int], Predictor]]:
    """Predictors of versions, each made once."""
    made: dict[int, Predictor] = {}
    model = ProjectWorkshop(actor).model

    def predictor(number: int) -> Predictor:
        if number not in made:
            made[number] = actor.registry.get(model, number).predictor()
        return made[number]

    yield predictor


def _score(
    found: Rehearsal,
    world: World,
    policy: RehearsePolicy,
    versions: list[int | None],
    predictors: Callable[[int], Predictor],
) -> None:
    """The loss of what served, and of the first version all along, in each step."""
    first = next((version for version in versions if version is not None), None)
    if first is None:
        why = next((str(entry.body["why"]) for entry in found.entries if entry.kind in ("held", "ended")), "")
        said = "there was no champion, so there was nothing to rehearse"
        found.problems.append(f"{said}: {why}" if why else said)
        return
    found.metric = "rmse" if predictors(first).plan.task == "regression" else "log_loss"
    for day, version in zip(found.steps, versions, strict=True):
        rows = _rows_of(world, policy, day)
        found.ours.append(_loss(predictors(version or first), rows, found.metric))
        if policy.compare:
            found.never.append(_loss(predictors(first), rows, found.metric))


def _rows_of(world: World, policy: RehearsePolicy, day: float) -> pl.DataFrame:
    start = START + dt.timedelta(days=day)
    return world.between(start, start + dt.timedelta(seconds=policy.step))


def _loss(predictor: Predictor, rows: pl.DataFrame, metric: str) -> float:
    from headrace.compute import metrics

    truth = predictor.plan.encode_target(rows, strict=False)
    known = truth.is_not_null()
    rows = rows.filter(known)
    if not rows.height:
        return math.nan
    scored = metrics.Scored(predictor.plan.task, truth.filter(known).to_numpy(), predictor.scores(rows))
    value = metrics.measure(scored, metric)
    return float("nan") if isinstance(value, metrics.Undefined) else float(value)


def _always(found: Rehearsal, actor: Project, world: World, policy: RehearsePolicy, columns: Columns) -> None:
    """Train again every so often and serve whatever comes of it, without asking a gate."""
    from headrace.compute.inference import Predictor

    loop = read_policy(actor.spec)
    folder = actor.store.root / "always"
    due, predictor = 0.0, None
    for day in found.steps:
        if predictor is None or day >= due:
            now = START + dt.timedelta(days=day)
            live = world.frame(now)
            labelled = live.filter(live[columns.target].is_not_null())
            frame = assemble(world.base(), labelled, columns, window_start(loop, now), now)
            digest, _ = keep(frame, folder)
            plan, model = _made(actor, kept(folder, digest))
            predictor = Predictor(plan, model)
            found.always_trainings += 1
            found.always_rows += frame.height if found.always_trainings > 1 else 0
            due = day + policy.always_every / 86_400
        found.always.append(_loss(predictor, _rows_of(world, policy, day), found.metric))
    found.always_trainings -= 1  # the first model is everybody's


def _made(actor: Project, data: Path) -> tuple[Any, Any]:
    """Plan and model by those stages of the pipeline that make them."""
    from headrace.project import Project

    kinds = {node.name: node.entry.kind for node in actor.graph.nodes}
    document: Mapping[str, Any] = {
        name: table for name, table in actor.spec.document.items() if kinds.get(name, "ingest") in _MAKING
    }
    ingest = next(name for name, kind in kinds.items() if kind == "ingest")
    changed = {**document, ingest: {"kind": "ingest", "use": "files", "path": str(data)}}
    other = Project(actor.spec.path)
    other.__dict__ |= {
        "spec": specs.parse(changed, path=actor.spec.path),
        "store": actor.store,
        "plugins": actor.plugins,
    }
    run = other.run(trigger="always").raise_on_failure()
    outputs = {ref.type_name: ref for record in run for ref in record.outputs.values()}
    return other.artifacts.load(outputs["feature-plan"]), other.artifacts.load(outputs["model"])


def _expect(found: Rehearsal, policy: RehearsePolicy) -> None:
    """Compare with `[rehearse.expect]`."""
    said, expect = found.document(), policy.expect
    for key in ("alarms", "trainings", "promotions", "rollbacks"):
        least, most = getattr(expect, f"min_{key}"), getattr(expect, f"max_{key}")
        if least is not None and said[key] < least:
            found.problems.append(f"{said[key]} {key}, expected at least {least}")
        if most is not None and said[key] > most:
            found.problems.append(f"{said[key]} {key}, expected at most {most}")
    ours = found.end(found.ours)
    for name, losses in (("never", found.never), ("always", found.always)):
        most, theirs = getattr(expect, f"max_loss_to_{name}"), found.end(losses)
        if most is None:
            continue
        if ours is None or theirs is None:
            found.problems.append(f"the loss cannot be compared with {name!r}: set compare = true")
        elif not ours <= most * theirs:
            times = f"{ours / theirs:.3f} times that of {name!r}" if theirs else f"not that of {name!r}"
            found.problems.append(f"in the last quarter the loss is {times}, expected at most {most:g}")
