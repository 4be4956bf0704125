"""The loop of a project: its policy, triggers, live rows and pipeline put together."""

from __future__ import annotations

import glob
import hashlib
import math
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from headrace.errors import ConfigError, SpecError, StoreError
from headrace.hooks.catalog import nearest
from headrace.hooks.triggers import make_trigger
from headrace.loop.bounded import ELSEWHERE, BoundedSource, BoundedTrigger, BoundedWorkshop
from headrace.loop.clock import SystemClock
from headrace.loop.controller import Controller
from headrace.loop.live import FileRows, Live
from headrace.loop.policy import columns_of, read_policy
from headrace.loop.workplace import Place, Trained
from headrace.pipeline import spec as specs
from headrace.types import GateReport, ModelVersion

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    import polars as pl

    from headrace.loop.clock import Clock
    from headrace.loop.live import LiveSource
    from headrace.loop.policy import Columns, LoopPolicy
    from headrace.loop.post import Post
    from headrace.pipeline.graph import Node
    from headrace.project import Project
    from headrace.project.health import Health
    from headrace.project.project import Run
    from headrace.store.loops import LogEntry, LoopLease

FOLDER = "loop"
LOG = "predictions"
"""Where `headrace serve` logs predictions, in the store's folder."""
_NEEDED = ("ingest", "gate", "register")


def controller_of(
    project: Project,
    *,
    lease: LoopLease | None = None,
    clock: Clock | None = None,
    source: LiveSource | None = None,
    cancelled: threading.Event | None = None,
    told: Callable[[LogEntry], object] | None = None,
) -> Controller:
    """The controller of a project's loop. Raises `SpecError` where `[loop]` or the pipeline is not as it must be.

    `source` takes the place of what `[loop.live]` names.
    """
    from headrace.runtime.provenance import who

    policy = read_policy(project.spec)
    columns = columns_of(project.spec, policy)
    _check_metric(project, policy)
    if source is None and policy.live is not None and columns is not None:
        source = _source(project, policy, columns)
    workshop = ProjectWorkshop(project, cancelled=cancelled)
    return Controller(
        place=Place(
            project=project.spec.name,
            model=workshop.model,
            # A store may be shared: what one project's loop keeps and removes is no business of another's.
            folder=project.store_to_read.root / FOLDER / project.spec.name,
            loops=project.store_to_read.loops,
            registry=project.registry,
        ),
        policy=policy,
        columns=columns,
        live=None if source is None or columns is None else Live(BoundedSource(source, policy.patience), columns),
        triggers=triggers_of(project, policy),
        workshop=BoundedWorkshop(workshop, policy.patience),
        clock=clock or SystemClock(),
        transforms=project.transforms,
        lease=lease,
        who=f"headrace loop of {who()}",
        threads=project.spec.threads or 1,
        gate_groups=workshop.gate_groups,
        told=told or (lambda _entry: None),
    )


@contextmanager
def lease_of(project: Project, *, wait: threading.Event | None = None) -> Iterator[LoopLease | None]:
    """The right to be the project's loop; None where another process is, or, with `wait`, once that is set."""
    loops, name = project.store.loops, project.spec.name
    lease = loops.take(name)
    while lease is None and wait is not None and not wait.wait(1.0):
        lease = loops.take(name)
    try:
        yield lease
    finally:
        if lease is not None:
            lease.release()


def once(controller: Controller, post: Post, health: Health) -> None:
    """Look, act, and tell."""
    post.begin()
    try:
        health.look()
        controller.once()
    finally:
        post.deliver()


def keep_going(controller: Controller, post: Post, health: Health, stop: threading.Event) -> None:
    """Look, act, tell, sleep until something is due, until `stop` is set."""
    post.begin()
    while not stop.is_set():
        try:
            health.look()
            controller.look()
        finally:
            post.deliver()
        due, now = min(controller.due(), post.due() or math.inf), controller.clock.now()
        stop.wait(max(min(controller.policy.every, max(due - now, 0.0)), 1.0))


def triggers_of(project: Project, policy: LoopPolicy) -> dict[str, Any]:
    """The triggers that the policy names, ready to be asked. Raises `SpecError` with line and nearest name."""
    found: dict[str, Any] = {}
    for name, table in policy.triggers.items():
        place = project.spec.place("loop", "triggers", name)
        if name in ELSEWHERE:
            raise SpecError(
                f"a trigger cannot be called {name!r}: the loop tells of its own problems under that name",
                place=place,
                hint=f"Call it otherwise, and set `use`: [loop.triggers.my-{name.replace(' ', '-')}]",
            )
        use = table.get("use", name)
        catalog = project.plugins.triggers
        if not isinstance(use, str) or use not in catalog.names():
            raise SpecError(
                f"[loop.triggers.{name}]: there is no trigger {use!r}",
                place=place,
                hint=nearest(str(use), catalog.names()) + " Or set `use`.",
            )
        entry = catalog.entry(use)
        config = {key: value for key, value in table.items() if key != "use"}
        try:
            trigger = make_trigger(entry, catalog.load(entry), name, config, place)
            found[name] = BoundedTrigger(trigger, policy.patience)
        except ConfigError as error:
            wrong = next((key for key in config if repr(key) in error.message), None)
            error.place = project.spec.place("loop", "triggers", name, *([wrong] if wrong else []))
            raise
    return found


def _check_metric(project: Project, policy: LoopPolicy) -> None:
    """A metric that the watch cannot measure would let everything pass. `ConfigError` with the nearest name."""
    from headrace.compute import metrics

    task = project.spec.shared.get("task")
    if policy.watch.metric is not None:
        place = project.spec.place("loop", "watch", "metric")
        metrics.known(policy.watch.metric, task if task in metrics.PRIMARY else None, place=f"{place}, [loop.watch]")


def _source(project: Project, policy: LoopPolicy, columns: Columns) -> LiveSource:
    if policy.live is None or policy.live.use == "files":
        return file_rows(project, policy, columns)
    from headrace.loop.served import ServedRows

    store, workshop = project.store_to_read, ProjectWorkshop(project)
    return ServedRows(store.root / LOG, store.live, model=workshop.model, columns=columns, like=workshop.base)


def file_rows(project: Project, policy: LoopPolicy, columns: Columns) -> FileRows:
    """Live rows in the files that `[loop.live]` names, read as the project's ingest stage reads."""
    from headrace.project.reading import read_file

    folder = project.spec.project_dir
    if policy.live is None:
        raise SpecError("there is no [loop.live]", place=project.spec.place("loop"))

    def locate(pattern: str) -> list[Path]:
        matches = sorted(glob.glob(pattern, root_dir=folder, recursive=True))  # noqa: PTH207  # as ingest: files
        return [folder / match for match in matches if (folder / match).is_file()]

    def read(path: Path) -> pl.DataFrame:
        champion = project.registry.champion(ProjectWorkshop(project).model)
        expected = None if champion is None else dict(_plan_inputs(champion))
        return read_file(project, path, expected=expected).frame()

    return FileRows(policy.live, columns, locate=locate, read=read)


def _plan_inputs(package: Any) -> Mapping[str, str]:
    import json

    signature = json.loads(package.read("signature.json"))
    return {entry["name"]: entry["type"] for entry in signature["inputs"]}


class ProjectWorkshop:
    """Makes models by the project's pipeline. Implements `headrace.loop.workplace.Workshop`.

    `amend` may change the spec's document before a run: for rehearsals.
    """

    def __init__(
        self,
        project: Project,
        *,
        cancelled: threading.Event | None = None,
        amend: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
    ) -> None:
        self._project = project
        self._cancelled = cancelled
        self._amend = amend or (lambda document: document)
        self._nodes = {kind: self._node(kind) for kind in _NEEDED}
        self._hashed: tuple[Any, str] | None = None
        self._base: tuple[str, pl.DataFrame] | None = None

    @property
    def model(self) -> str:
        """The name that models are registered under."""
        named = getattr(self._nodes["register"].config, "model", None)
        return str(named or self._project.spec.name)

    @property
    def gate_groups(self) -> str | None:
        """The `resample_by` of the gate, if it has one."""
        found = getattr(self._nodes["gate"].config, "resample_by", None)
        return found if isinstance(found, str) else None

    def base(self) -> pl.DataFrame:
        """See `Workshop.base`."""
        from headrace.project.reading import ingested

        fingerprint = self.inputs()
        if self._base is None or self._base[0] != fingerprint:
            self._base = (fingerprint, ingested(self._project, self._nodes["ingest"]))
        return self._base[1]

    def inputs(self) -> str:
        """See `Workshop.inputs`. Files are hashed again when their size or time changed."""
        node = self._nodes["ingest"]
        if not node.contract.has_external:
            return ""
        looks = self._looks(node)
        if self._hashed is None or looks is None or self._hashed[0] != looks:
            stage: Any = node.implementation
            found = stage(node.config).external(self._project.spec.project_dir)
            self._hashed = (looks, hashlib.sha256(repr(found).encode()).hexdigest()[:16])
        return self._hashed[1]

    def _looks(self, node: Node) -> Any:
        from headrace.builtins.ingest.locate import locate

        if (node.entry.kind, node.entry.name, node.entry.distribution) != ("ingest", "files", "headrace"):
            return None
        paths: Any = node.config
        files = locate(paths.path, self._project.spec.project_dir)
        return [(file.shown, *_stat(file.path)) for file in files]

    def train(self, data: Path | None, *, why: str) -> Trained:
        """See `Workshop.train`."""
        from headrace.errors import StageError

        run = self._with(data).run(trigger=why, cancelled=self._cancelled)
        try:
            run.raise_on_failure()
        except StageError as error:
            return Trained(run=run.id, status=run.info.status, why=f"{error.place}: {error.message}"[:1000])
        return _trained(run, self._nodes)

    def _with(self, data: Path | None) -> Project:
        """The project, reading the rows of `data`, and leaving promotion to the loop; the store is shared."""
        from headrace.project import Project

        project, spec = self._project, self._project.spec
        document = dict(spec.document)
        register = self._nodes["register"].name
        document[register] = {**document[register], "promote": False}
        if data is not None:
            if not data.is_file():
                raise StoreError(
                    "the rows that this run was decided on are gone",
                    place=str(data),
                    hint="Restore the file from a copy of the store, or end the cycle by `headrace loop pause`.",
                )
            shown = os.path.relpath(data, spec.project_dir)
            document[self._nodes["ingest"].name] = {"kind": "ingest", "use": "files", "path": shown}
        other = Project(spec.path)
        amended = self._amend(document)
        other.__dict__ |= {
            "spec": specs.parse(amended, path=spec.path),
            "store": project.store,
            "plugins": project.plugins,
        }
        return other

    def _node(self, kind: str) -> Node:
        spec = self._project.spec
        found = [node for node in self._project.graph.nodes if node.entry.kind == kind]
        if len(found) != 1:
            raise SpecError(
                f"the loop needs one stage of the kind {kind!r}, and the pipeline has {len(found)}",
                place=spec.path.name,
                hint="The loop reads rows by [ingest], asks [gate], and promotes what [register] registered.",
            )
        return found[0]


def model_of(project: Project) -> str:
    """The name that the loop's models are registered under; the project's, where the pipeline registers nothing."""
    try:
        return ProjectWorkshop(project).model
    except SpecError:
        return project.spec.name


def _stat(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns, found.st_ino


def _trained(run: Run, nodes: Mapping[str, Node]) -> Trained:
    report = run[nodes["gate"].name]
    version = run[nodes["register"].name]
    if not isinstance(report, GateReport) or not isinstance(version, ModelVersion):
        raise SpecError(
            "the stages [gate] and [register] must give a GateReport and a ModelVersion",
            hint="Use those of headrace, or write yours to give these.",
        )
    gate = next(iter(run.record(nodes["gate"].name).outputs.values()))
    failed = [str(check["message"]) for check in report.checks if check["passed"] is not True]
    said = failed or [str(check["message"]) for check in report.checks if check["name"] == "champion"]
    return Trained(
        run=run.id,
        status=run.info.status,
        version=version.number,
        package=version.package,
        passed=report.passed,
        compared=report.champion,
        gate=gate.digest,
        why=" ".join(said[:3])[:1000],
    )


def say(project: Project, kind: str, body: Mapping[str, Any]) -> LogEntry:
    """Write what a person says to the loop into its log."""
    import time

    from headrace.runtime.provenance import who

    # A command line may hold bytes that are no text.
    clean = {
        key: value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value
        for key, value in body.items()
    }
    return project.store.loops.append(project.spec.name, kind, clean, at=time.time(), who=who())


def approve(project: Project, ref: str, kind: str, reason: str) -> LogEntry:
    """Approve of, or reject, the version that the loop waits with. Raises `RegistryError` where it does not wait."""
    from headrace.errors import RegistryError
    from headrace.loop.state import fold

    state = fold(project.existing_store.loops.entries(project.spec.name))
    version, model = project.registry.resolve(ref).version, model_of(project)
    waits = state.cycle.version if state.phase == "wait" and state.cycle is not None else None
    if (model, waits) != (version.name, version.number):
        raise RegistryError(
            f"the loop of {project.spec.name} does not wait for {version.name}@{version.number} to be approved",
            place=ref,
            hint="`headrace status` says what it waits for. To promote by hand: headrace models promote",
        )
    return say(project, kind, {"version": version.number, "reason": reason})


def status_document(project: Project) -> dict[str, Any]:
    """What `headrace status` shows."""
    import time

    from headrace.loop.report import status_of
    from headrace.project.health import ailing

    store, policy = project.store_to_read, read_policy(project.spec)
    model = ProjectWorkshop(project).model
    found = status_of(project.spec.name, model, policy, store.loops, project.registry, now=time.time())
    why = None if policy.server is None else ailing(policy.server, model, found["champion"])
    server = None if policy.server is None else {"url": policy.server, "ok": why is None, "why": why}
    return {**found, "server": server, **_quality(project)}


def _quality(project: Project) -> dict[str, Any]:
    """How the champion does lately; a status screen does not fail because live rows cannot be read."""
    from headrace.errors import DataError, RegistryError
    from headrace.project.measuring import lately, over_time

    try:
        return {"quality": lately(project, over_time(project)), "quality_unknown": None}
    except (DataError, RegistryError, SpecError, StoreError) as error:
        return {"quality": None, "quality_unknown": f"{error.place}: {error.message}" if error.place else error.message}
