"""Runs a graph: what is known is taken from the cache, what is missing is executed, everything is recorded."""

from __future__ import annotations

import logging
import os
import queue
import shutil
import threading
import time
import traceback
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from headrace.errors import CacheUnavailableError, CancelledError, FencedError, HeadraceError, StageError, StoreError
from headrace.pipeline.keys import Fingerprint, canonical, differences
from headrace.pipeline.spec import recorded
from headrace.runtime.call import StageCall, execute, load_artifact
from headrace.runtime.context import Context, Event
from headrace.runtime.process import execute_in_process
from headrace.types import (
    Artifact,
    ArtifactRef,
    ModelVersion,
    Outcome,
    RegistryView,
    RunInfo,
    RunStatus,
    StageInfo,
    StageRecord,
    TransformSource,
)

if TYPE_CHECKING:
    from pathlib import Path

    from headrace.hooks.manager import PluginManager
    from headrace.pipeline.graph import Graph, Node
    from headrace.runtime.fingerprint import Fingerprinter
    from headrace.store import RunHandle, Store

_log = logging.getLogger("headrace.runtime")
Listener = Callable[[Event], None]
HEARTBEAT_SECONDS = 10.0
LOOK_BACK = 5  # runs, when it is asked why a stage has to be executed
SUCCESS = ("executed", "cached")
_DRIFT_REPORT = "drift-report"  # by name, so that a run without a monitor does not import it


def _silent(event: Event) -> None:
    """Nobody watches."""


class RunRegistry(RegistryView, Protocol):
    """The registry as a run needs it: in somebody's name, and told which run it is."""

    @property
    def who(self) -> str: ...
    def set_run(self, run_id: str | None) -> None: ...
    def needs_repair(self, version: ModelVersion) -> bool: ...


@dataclass
class Runner:
    """Executes runs of one graph against one store. One run at a time; make another runner for another run."""

    graph: Graph
    store: Store
    plugins: PluginManager
    registry: RunRegistry
    fingerprinter: Fingerprinter
    worker: str
    listener: Listener = _silent
    jobs: int | None = None
    threads: int | None = None
    cancelled: threading.Event = field(default_factory=threading.Event)

    def run(
        self,
        *,
        force: Collection[str] = (),
        trigger: str = "manual",
        provenance: Mapping[str, Any] | None = None,
    ) -> RunInfo:
        """Run the graph once and return the record of it. Stage failures are in the record, not raised.

        `force` names stages that are executed whatever the cache says. Raises `CancelledError` after Ctrl-C,
        `FencedError` if another process declared this run dead, `StoreError` if the store cannot be written.
        """
        spec = self.graph.spec
        for name in force:
            spec.stage(name)
        handle = self.store.runs.create(
            project=spec.name, trigger=trigger, spec=recorded(spec.document), provenance=dict(provenance or {})
        )
        self.registry.set_run(handle.id)
        run = _Run(self, handle, frozenset(force), _threads_each(self.threads, self.jobs))
        status: RunStatus = "failed"
        beating = threading.Event()
        heart = threading.Thread(target=self._beat, args=(handle, beating), daemon=True)
        heart.start()
        try:
            self.tell("before_run", handle)
            status = run.all(self.jobs or os.cpu_count() or 1)
        except (KeyboardInterrupt, CancelledError) as error:
            status = "cancelled"
            self.cancelled.set()
            run.wait_for_running()
            msg = f"run {handle.id} was stopped; what had ended is kept"
            raise CancelledError(msg, hint="`headrace run` goes on from there.") from error
        finally:
            beating.set()
            if not run.fenced:
                self.store.runs.finish(handle, status)
                self.tell("after_run", handle)
            self.fingerprinter.index.keep()
        return self.store.runs.get(handle.id)

    def tell(self, hook: str, handle: RunHandle, **about: Any) -> None:
        """Call an observe hook, with the run as it stands. The run is read only where somebody listens."""
        if self.plugins.listens(hook):
            artifacts = Artifacts(self.store, self.plugins, self.graph, self.fingerprinter.transforms)
            self.plugins.observe(hook, run=self.store.runs.get(handle.id), artifacts=artifacts, **about)

    def tell_drift(self, handle: RunHandle, record: StageRecord) -> None:
        """Call `on_drift` for each report of an executed stage that says so. Read only where somebody listens."""
        reports = [ref for ref in record.outputs.values() if ref.type_name == _DRIFT_REPORT]
        if not reports or not self.plugins.listens("on_drift"):
            return
        artifacts = Artifacts(self.store, self.plugins, self.graph, self.fingerprinter.transforms)
        for ref in reports:
            report: Any = artifacts.load(ref)
            if report.drifted or report.drifted_segments:
                run = self.store.runs.get(handle.id)
                self.plugins.observe("on_drift", report=report, run=run, stage=record.stage)

    def _beat(self, handle: RunHandle, ended: threading.Event) -> None:
        while not ended.wait(HEARTBEAT_SECONDS):
            try:
                self.store.runs.heartbeat(handle)
            except FencedError:
                return  # the next commit raises it where it matters
            except StoreError as error:
                # A missed beat is no harm while the lease lasts; a store that stays away is found by the next commit.
                _log.warning("run %s: the lease could not be renewed: %s", handle.id, error)

    def last_records(self, *, before: str) -> dict[str, tuple[StageRecord, StageRecord | None]]:
        """Of each stage, the latest record of the runs before `before`, and the latest that succeeded."""
        found: dict[str, tuple[StageRecord, StageRecord | None]] = {}
        for info in self.store.runs.list(limit=LOOK_BACK, project=self.graph.spec.name):
            for record in info.stages if info.id != before else ():
                succeeded = record if record.outcome in SUCCESS else None
                latest, good = found.get(record.stage.name, (record, None))
                found[record.stage.name] = (latest, good or succeeded)
        return found


@dataclass(frozen=True)
class Artifacts:
    """Implements `headrace.ArtifactSource`. A project's own types need not be registered: its stages name them."""

    store: Store
    plugins: PluginManager
    graph: Graph
    transforms: TransformSource

    def load(self, ref: ArtifactRef) -> Artifact:
        cls = self.graph.artifact_class(ref.type_name) or self.plugins.artifacts.load(ref.type_name)
        artifact: Artifact = load_artifact(self.store, ref, cls, self.transforms)
        return artifact


def _threads_each(threads: int | None, jobs: int | None) -> int:
    return threads or max(1, (os.cpu_count() or 1) // (jobs or 1))


@dataclass
class _Run:
    """The state of one run: which stages have ended, which are under way."""

    runner: Runner
    handle: RunHandle
    force: frozenset[str]
    threads: int
    fenced: bool = False
    records: dict[str, StageRecord] = field(default_factory=dict)
    running: dict[str, threading.Thread] = field(default_factory=dict)
    ended: queue.SimpleQueue[tuple[Node, StageRecord | BaseException]] = field(default_factory=queue.SimpleQueue)

    @cached_property
    def last(self) -> Mapping[str, tuple[StageRecord, StageRecord | None]]:
        """What became of each stage before; read only when something is executed."""
        return self.runner.last_records(before=self.handle.id)

    def all(self, jobs: int) -> RunStatus:
        waiting = list(self.runner.graph.nodes)
        while waiting or self.running:
            for node in list(waiting):
                if not node.needs <= self.records.keys():
                    continue
                if any(self.records[name].outcome not in SUCCESS for name in node.needs):
                    waiting.remove(node)
                    self._skip(node)
                elif len(self.running) < jobs:
                    waiting.remove(node)
                    self._start(node)
            if self.running:
                self._collect()
        failed = any(record.outcome == "failed" for record in self.records.values())
        return "failed" if failed else "succeeded"

    def wait_for_running(self, seconds: float = 10.0) -> None:
        """After a cancellation: give stages that look for it the time to stop. The others are daemons."""
        deadline = time.monotonic() + seconds
        for thread in self.running.values():
            thread.join(max(0.0, deadline - time.monotonic()))

    def _start(self, node: Node) -> None:
        def work() -> None:
            try:
                self.ended.put((node, _StageRun(self, node).run()))
            except BaseException as error:  # noqa: BLE001  # handed to the main thread, which raises it
                self.ended.put((node, error))

        thread = threading.Thread(target=work, name=f"headrace-{node.name}", daemon=True)
        self.running[node.name] = thread
        thread.start()

    def _collect(self) -> None:
        node, result = self.ended.get()
        del self.running[node.name]
        if isinstance(result, BaseException):
            self.fenced = self.fenced or isinstance(result, FencedError)
            self.runner.cancelled.set()
            self.wait_for_running()
            raise result
        self.records[node.name] = result
        if result.outcome == "cancelled":
            raise CancelledError("the run is being stopped", place=f"stage {node.name}")

    def _skip(self, node: Node) -> None:
        culprits = sorted(n for n in node.needs if self.records[n].outcome not in SUCCESS)
        now = time.time()
        record = StageRecord(
            stage=info_of(node),
            outcome="skipped",
            why=f"{', '.join(culprits)} did not succeed",
            key=None,
            started=now,
            ended=now,
            attempts=0,
            inputs={},
            outputs={},
        )
        self.runner.store.runs.commit_stage(self.handle, record, cache_key=None)
        self.records[node.name] = record
        self.runner.listener(Event(node.name, "ended", {"outcome": "skipped", "why": record.why}))


class _StageRun:
    """One stage of one run, in its own thread."""

    def __init__(self, run: _Run, node: Node) -> None:
        self.run_ = run
        self.runner = run.runner
        self.store = run.runner.store
        self.node = node
        self.info = info_of(node)
        self.inputs = {name: run.records[edge.stage].outputs[edge.output] for name, edge in node.inputs.items()}
        self.metrics: dict[str, float] = {}
        self.lines: list[str] = []
        self.fingerprint: Mapping[str, Any] = {}
        self.dynamic: tuple[str, ...] = ()
        self.started = time.time()
        self.attempts = 0

    def run(self) -> StageRecord:
        try:
            key, uncached = self._key()
            if key is None:
                return self._end("executed", why=uncached, key=None, outputs=self._executed(None))
            known = self._known(key)
            if known is not None:
                return self._end("cached", why="nothing that it depends on changed", key=key, outputs=known)
            with self.store.cache.claim(key, check=self._check):
                known = self._known(key)  # another process may have made it while this one waited
                if known is not None:
                    return self._end("cached", why="another run made it meanwhile", key=key, outputs=known)
                why = self._why()
                return self._end("executed", why=why, key=key, outputs=self._executed(key))
        except FencedError:
            raise
        except CancelledError:
            return self._failed("cancelled", None)
        except Exception as error:  # noqa: BLE001  # whatever a stage raises is its failure, and is recorded
            return self._failed("failed", error)

    # --- is it known? -----------------------------------------------------------------------------------------------

    def _key(self) -> tuple[str | None, str]:
        """The cache key; or None, and why there is none."""
        named = [(name, ref.type_name, ref.digest) for name, ref in self.inputs.items()]
        try:
            static, dynamic = self.runner.fingerprinter.static(self.node)
        except CacheUnavailableError as error:
            self._say(f"not cached: {error.message}")
            return None, error.message
        full: Fingerprint = self.runner.fingerprinter.with_external(
            static, self.node, self.runner.registry, self.inputs
        )
        self.fingerprint = full.components(named)
        self.dynamic = dynamic
        if not self.node.contract.deterministic:
            return None, "it says that it is not deterministic"
        return full.key(named), ""

    def _why(self) -> str:
        if self.node.name in self.run_.force:
            return "forced"
        latest, good = self.run_.last.get(self.node.name, (None, None))
        if latest is None:
            return "first time"
        if good is None:
            return f"it has not succeeded yet (the last time: {latest.outcome})"
        changed = differences(good.fingerprint, self.fingerprint)
        if not changed and latest.outcome not in SUCCESS:
            return f"it did not succeed the last time ({latest.outcome})"
        if not changed:
            return "its outputs are not in the store any more, or are damaged"
        rest = len(changed) - 3
        return "; ".join(changed[:3]) + (f"; and {rest} more" if rest > 0 else "")

    def _known(self, key: str) -> Mapping[str, ArtifactRef] | None:
        if self.node.name in self.run_.force:
            return None
        outputs = self.store.cache.lookup(key) or self.runner.plugins.provide(
            "provide_cached", stage=self.info, key=key
        )
        if outputs is None or set(outputs) != set(self.node.contract.outputs):
            return None
        damaged = [name for name, ref in outputs.items() if not self._is_whole(ref)]
        for name in damaged:
            self._say(f"output {name!r} is missing from the store or damaged: it is made again")
        return None if damaged else outputs

    def _is_whole(self, ref: ArtifactRef) -> bool:
        """Whether an output is all here. A model version only names its package, whose files must be here as well."""
        if not self.store.artifacts.verify(ref.digest):
            return False
        if ref.type_name != ModelVersion.type_name:
            return True
        return not self.runner.registry.needs_repair(self.store.artifacts.load(ref, ModelVersion))

    # --- make it ----------------------------------------------------------------------------------------------------

    def _executed(self, key: str | None) -> Mapping[str, ArtifactRef]:
        for module in self.dynamic:
            self._say(f"{module} imports by a name that is only known at run time: edits of that are not noticed")
        self.runner.tell("before_stage", self.run_.handle, stage=self.info)
        self._emit(Event(self.node.name, "started", {"kind": self.info.kind, "use": self.info.use}))
        provided: Mapping[str, ArtifactRef] | None = self.runner.plugins.provide(
            "provide_execution", stage=self.info, key=key, inputs=self.inputs
        )
        if provided is not None:
            self.attempts = 1
            return provided
        workdir = self.store.root / "work" / (key or f"{self.run_.handle.id}-{self.node.name}")
        last = 1 + self.node.spec.retries
        for attempt in range(1, last + 1):
            self.attempts = attempt
            try:
                outputs = self._attempt(workdir)
            except (CancelledError, FencedError):
                raise
            except Exception as error:
                if attempt == last:
                    raise
                self._say(f"attempt {attempt} of {last} failed: {type(error).__name__}: {error}")
                self._emit(Event(self.node.name, "retry", {"attempt": attempt, "of": last, "error": str(error)}))
            else:
                self._check_external()
                shutil.rmtree(workdir, ignore_errors=True)
                return outputs
        raise AssertionError

    def _attempt(self, workdir: Path) -> Mapping[str, ArtifactRef]:
        spec, node, graph = self.node.spec, self.node, self.runner.graph
        if spec.isolation == "process":
            call = StageCall(
                target=node.entry.target,
                config=node.config.model_dump(mode="json"),
                inputs={name: vars(ref) for name, ref in self.inputs.items()},
                stage=node.name,
                seed=graph.spec.seed,
                threads=self.run_.threads,
                project=graph.spec.name,
                project_dir=str(graph.spec.project_dir),
                run_id=self.run_.handle.id,
                workdir=str(workdir),
                who=self.runner.registry.who,
                disabled_plugins=graph.spec.disabled_plugins,
            )
            return execute_in_process(
                call, self.store, self._emit, self.runner.cancelled, timeout=spec.timeout, worker=self.runner.worker
            )
        context = Context(
            seed=graph.spec.seed,
            threads=self.run_.threads,
            project=graph.spec.name,
            project_dir=graph.spec.project_dir,
            run_id=self.run_.handle.id,
            stage=node.name,
            workdir=workdir,
            registry=self.runner.registry,
            inputs=self.inputs,
            emit=self._emit,
            transforms=self.runner.fingerprinter.transforms,
            cancelled=self.runner.cancelled,
        )
        return execute(node.implementation, node.contract, node.config, context, self.store)

    def _check_external(self) -> None:
        """Refuse what was read from a source that changed meanwhile: the key would speak of something else.

        The registry is another matter: registering changes what a stage that looks at it would see.
        """
        node = self.node
        if not node.contract.has_external or node.contract.external_takes_registry or not self.fingerprint:
            return
        now = self.runner.fingerprinter.external(node, self.runner.registry, self.inputs)
        if canonical(now) != canonical(self.fingerprint["external"]):
            raise StageError(
                "what it reads from outside changed while it ran, so nobody can say what it read",
                place=f"stage {node.name}",
                hint="Run again when the data is at rest.",
            )

    # --- say and record it ------------------------------------------------------------------------------------------

    def _check(self) -> None:
        if self.runner.cancelled.is_set():
            raise CancelledError("the run is being stopped", place=f"stage {self.node.name}")

    def _say(self, message: str) -> None:
        self._emit(Event(self.node.name, "log", {"message": message}))

    def _emit(self, event: Event) -> None:
        if event.kind == "metric":
            step = event.data["step"]
            name = event.data["name"]
            self.metrics[name if step is None else f"{name}@{step}"] = event.data["value"]
        elif event.kind == "log":
            self.lines.append(event.data["message"])
        self.runner.listener(event)

    def _end(
        self,
        outcome: Outcome,
        *,
        why: str,
        key: str | None,
        outputs: Mapping[str, ArtifactRef],
        error: str | None = None,
    ) -> StageRecord:
        record = StageRecord(
            stage=self.info,
            outcome=outcome,
            why=why,
            key=key,
            started=self.started,
            ended=time.time(),
            attempts=self.attempts,
            inputs=self.inputs,
            outputs=dict(outputs),
            metrics=self.metrics,
            error=error,
            fingerprint=self.fingerprint,
        )
        if self.lines:
            self.store.runs.append_log(self.run_.handle, self.node.name, self.lines)
        self.store.runs.commit_stage(self.run_.handle, record, cache_key=key if outcome == "executed" else None)
        self.runner.listener(
            Event(
                self.node.name,
                "ended",
                {"outcome": outcome, "why": why, "seconds": record.ended - record.started},
            )
        )
        if outcome in SUCCESS:
            self.runner.tell("after_stage", self.run_.handle, record=record)
        if outcome == "executed":
            self.runner.tell_drift(self.run_.handle, record)
        return record

    def _failed(self, outcome: Outcome, error: Exception | None) -> StageRecord:
        if error is None:
            return self._end(outcome, why="the run was stopped", key=None, outputs={})
        self.lines.append("".join(traceback.format_exception(error)))
        text = str(error) if isinstance(error, HeadraceError) else f"{type(error).__name__}: {error}"
        record = self._end(outcome, why="it raised an error", key=None, outputs={}, error=text)
        raised = error if isinstance(error, HeadraceError) else StageError(text, place=f"stage {self.node.name}")
        self.runner.tell("on_stage_error", self.run_.handle, record=record, error=raised)
        return record


def info_of(node: Node) -> StageInfo:
    """What observers and records are told of a stage."""
    return StageInfo(
        name=node.name,
        kind=node.entry.kind,
        use=node.entry.name,
        distribution=node.entry.distribution,
        version=node.entry.version,
        config=node.config.model_dump(mode="json"),
    )
