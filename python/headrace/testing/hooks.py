"""What every plugin with hooks must do, as tests: `hook_conformance` makes the class that pytest collects."""

from __future__ import annotations

import contextlib
import io
import math
import threading
from collections.abc import Mapping
from functools import cached_property
from typing import Any, ClassVar

from headrace import DriftReport, drift
from headrace.errors import ArtifactError
from headrace.hooks.discovery import entry_points, normalized
from headrace.hooks.manager import PluginInfo, PluginManager
from headrace.testing.fresh import check_light, check_quick, fail
from headrace.types import (
    JSON,
    AliasMove,
    Artifact,
    ArtifactRef,
    ModelVersion,
    Outcome,
    RunInfo,
    RunStatus,
    StageInfo,
    StageRecord,
)

THREADS = 4


class _NoArtifacts:
    """An `ArtifactSource` that has nothing, as after `headrace store gc`."""

    def load(self, ref: ArtifactRef) -> Artifact:
        """Raise `ArtifactError`."""
        raise ArtifactError("the artifact is gone", place=ref.digest, hint="Run again.")


class _Package:
    """A `PackageView` of a package that was never registered."""

    version = ModelVersion(name="conformance", number=1, package="0" * 64)
    manifest: ClassVar[Mapping[str, Any]] = {
        "format": 1,
        "name": "conformance",
        "created": 0.0,
        "run": "r-conformance",
        "files": {"metrics.json": {"sha256": "0" * 64, "size": 2}},
        "about": {},
        "model_digest": "0" * 64,
    }

    def read(self, name: str) -> bytes:  # noqa: ARG002  # the protocol's
        """Every file is an empty JSON object."""
        return b"{}"


_STAGE = StageInfo(
    "tränk 🚰", "train", "lightgbm", "headrace", "1.0", {"num_leaves": 31, "note": 'a "quote"\n', "x": None}
)
_REF = ArtifactRef("0" * 64, "model", 10)


def _record(outcome: Outcome, error: str | None = None) -> StageRecord:
    return StageRecord(
        stage=_STAGE,
        outcome=outcome,
        why="a check",
        key="0" * 64,
        started=0.0,
        ended=1.5,
        attempts=1,
        inputs={"data": _REF},
        outputs={} if error else {"model": _REF},
        metrics={} if error else {"auc": 0.5},
        error=error,
    )


def _run(status: RunStatus, *stages: StageRecord) -> RunInfo:
    ended = None if status == "running" else 2.0
    return RunInfo("r-conformance", "conformance", status, 0.0, ended, "manual", stages, {"git": None})


def _life(status: RunStatus) -> list[tuple[str, dict[str, Any]]]:
    """The events of a run that ends so, in order."""
    begun, artifacts = _run("running"), _NoArtifacts()
    events: list[tuple[str, dict[str, Any]]] = [
        ("before_run", {"run": begun}),
        ("after_stage", {"run": begun, "record": _record("cached"), "artifacts": artifacts}),
        ("before_stage", {"run": begun, "stage": _STAGE}),
    ]
    last = _record("executed")
    if status == "succeeded":
        events.append(("after_stage", {"run": begun, "record": last, "artifacts": artifacts}))
    if status == "failed":
        last = _record("failed", "ValueError: no")
        events.append(("on_stage_error", {"run": begun, "record": last, "error": ValueError("no")}))
    if status == "cancelled":
        last = _record("cancelled", "interrupted")
    ended = _run(status, _record("cached"), last)
    events.append(("after_run", {"run": ended, "artifacts": artifacts}))
    return events


def _drift() -> DriftReport:
    """A report with a column that drifted, and one of which nothing is known."""
    part = drift.DriftPart("values", 0.4, 0.35, 0.45, 0.1, 1e-9, 0.12)
    unknown = drift.DriftPart("values", math.nan, math.nan, math.nan, 0.1, 1.0, math.inf)
    ks = drift.Statistic("ks", 0.4, 1e-9, 0.35, 0.45, 0.01, 0.12, 1000.0, 500.0, "asymptotic")
    rows = (1000, 500)
    columns = (
        drift.ColumnDrift(
            name='a "quoted" näme 🚰\n',
            kind="ordered",
            verdict="drift",
            effect=part,
            pvalue=0.0,
            pvalue_delta=1e-9,
            pvalue_adjusted=2e-9,
            importance=1.0,
            rank=1,
            rows=rows,
            values=rows,
            statistics={"ks": ks},
            parts={"values": part},
        ),
        drift.ColumnDrift(
            name="empty",
            kind="nominal",
            verdict="not enough data",
            effect=unknown,
            pvalue=1.0,
            pvalue_delta=1.0,
            pvalue_adjusted=1.0,
            importance=0.0,
            rank=2,
            rows=(1000.0, 0.0),
            values=(0.0, 0.0),
            statistics={},
            parts={"values": unknown},
        ),
    )
    settings = {"delta": 0.1, "delta_rate": 0.02, "alpha": 0.05, "power": 0.8, "draws": 199, "correction": "bh"}
    about: dict[str, JSON] = {"model": "conformance", "version": 1}
    inside = drift.SegmentDrift("kind", 'a "quoted" välue 🚰\n', rows, DriftReport(columns, settings, about))
    return DriftReport(columns, settings, about, (inside,))


class HookSubject:
    """The plugins of one distribution, alone."""

    def __init__(self, distribution: str) -> None:
        self.distribution = distribution

    @cached_property
    def manager(self) -> PluginManager:
        return self.fresh()

    def fresh(self) -> PluginManager:
        """A manager that has only this distribution's plugins and headrace's own."""
        ours = {normalized(self.distribution), "headrace"}
        others = {point.distribution for point in entry_points()[0]}
        return PluginManager.discover(disabled=[name for name in others if normalized(name) not in ours])

    @property
    def plugins(self) -> list[PluginInfo]:
        found = [p for p in self.manager.plugins if normalized(p.distribution) == normalized(self.distribution)]
        if not found:
            fail(
                f"no distribution {self.distribution!r} with an entry point of the group `headrace` is installed",
                "Install it (`pip install -e .`), and see `[project.entry-points.headrace]` of its pyproject.toml.",
            )
        return found


def hook_conformance(distribution: str) -> type[HookConformance]:
    """A pytest class that checks the hooks of an installed distribution. Assign it to a name like `TestHooks`.

    Its observers are told of runs that succeed, fail and are cancelled, of new versions, moved aliases and drift, with
    values that are legal but awkward, and from several threads at once. What they need from outside (a server, a
    variable of the environment) is for a fixture of a subclass to give.
    """
    subject = HookSubject(distribution)
    return type("HookConformance", (HookConformance,), {"subject": subject, "__doc__": HookConformance.__doc__})


class HookConformance:
    """The checks of a plugin's hooks. Made by `hook_conformance`."""

    subject: ClassVar[HookSubject]

    def test_is_installed_and_in_order(self) -> None:
        """Every entry point can be imported, and each of its hooks fits its specification."""
        for plugin in self.subject.plugins:
            problems = [p.message for p in self.subject.manager.problems if p.distribution == plugin.distribution]
            if plugin.status != "ok" or problems:
                fail(f"{plugin.distribution}: {'; '.join(problems)}", "See `headrace plugins doctor`.")

    def test_is_light_to_import(self) -> None:
        """Plugins are imported at every start of headrace."""
        check_light([plugin.target.partition(":")[0] for plugin in self.subject.plugins])

    def test_is_quick_to_import(self) -> None:
        """In proportion to headrace's own names."""
        check_quick([plugin.target.partition(":")[0] for plugin in self.subject.plugins])

    def test_observes_a_run_that_succeeds(self) -> None:
        """From `before_run` to `after_run`."""
        self._tell(_life("succeeded"))

    def test_observes_a_run_that_fails(self) -> None:
        """With `on_stage_error`."""
        self._tell(_life("failed"))

    def test_observes_a_run_that_is_cancelled(self) -> None:
        """Which ends before its stages do."""
        self._tell(_life("cancelled"))

    def test_observes_the_registry(self) -> None:
        """A new version; an alias that appears, moves and goes."""
        moves = [(1, None), (2, 1), (None, 2)]
        told: list[tuple[str, dict[str, Any]]] = [("after_version_registered", {"package": _Package()})]
        for now, before in moves:
            move = AliasMove("conformance", "champion", now, before, "somebody", "because", None, None, 0.0)
            told.append(("after_alias_moved", {"move": move}))
        self._tell(told)

    def test_observes_drift(self) -> None:
        """In a run, and outside of one."""
        begun = _run("running")
        told: list[tuple[str, dict[str, Any]]] = [("on_drift", {"report": _drift(), "run": begun, "stage": _STAGE})]
        self._tell([*told, ("on_drift", {"report": _drift(), "run": None, "stage": None})])

    def test_observes_from_several_threads(self) -> None:
        """Stages that do not depend on one another run at the same time."""
        manager = self.subject.fresh()
        threads = [threading.Thread(target=_tell, args=(manager, _life("succeeded"))) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        _check_silent(manager)

    def test_leaves_standard_output_alone(self) -> None:
        """With `--json` the output is for machines."""
        printed = io.StringIO()
        manager = self.subject.fresh()
        with contextlib.redirect_stdout(printed):
            for status in ("succeeded", "failed"):
                _tell(manager, _life(status))
        if printed.getvalue():
            fail(f"a hook prints {printed.getvalue()[:200]!r}", "Use `logging`, or standard error.")

    def test_providers_decline_or_answer(self) -> None:
        """A *provide* hook returns None for what it does not know, else a mapping of outputs."""
        manager = self.subject.fresh()
        asked: list[tuple[str, dict[str, Any]]] = [("provide_cached", {"stage": _STAGE, "key": "0" * 64})]
        asked.append(("provide_execution", {"stage": _STAGE, "key": None, "inputs": {"data": _REF}}))
        for hook, arguments in asked:
            answer = manager.provide(hook, **arguments)
            if answer is not None and not isinstance(answer, Mapping):
                fail(f"`{hook}` returns {type(answer).__name__}", "Return None, or a mapping of name to ArtifactRef.")

    def _tell(self, events: list[tuple[str, dict[str, Any]]]) -> None:
        __tracebackhide__ = True
        manager = self.subject.fresh()
        self.subject.plugins  # noqa: B018  # fails where nothing is installed
        _tell(manager, events)
        _check_silent(manager)


def _tell(manager: PluginManager, events: list[tuple[str, dict[str, Any]]]) -> None:
    for hook, arguments in events:
        manager.observe(hook, **arguments)


def _check_silent(manager: PluginManager) -> None:
    __tracebackhide__ = True
    for problem in manager.problems:
        if problem.phase == "observer":
            fail(
                f"{problem.message}\n{problem.traceback}",
                "An observer must take whatever it is told; catch what can go wrong, and log it.",
            )
