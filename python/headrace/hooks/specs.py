"""Every hook, on one page.

Three kinds, and each docstring says which. *register*: all answers are merged; a duplicate name is an error that names
both distributions. *observe*: the hook is told and answers nothing; a raise is logged with the plugin's name and the
run goes on. *provide*: the first answer that is not None is taken; a raise fails the stage.

Names: a register hook is `headrace_<things>`, an observe hook `before_<noun>`, `after_<noun>` or `on_<noun>_<event>`, a
provide hook `provide_<noun>`. Hooks fire per run, stage or event, never per row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from headrace.hooks.markers import hookspec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from headrace.compute.drift import DriftReport
    from headrace.types import AliasMove, ArtifactRef, ArtifactSource, PackageView, RunInfo, StageInfo, StageRecord


class StageRegistry(Protocol):
    """What `headrace_stages` is given."""

    def add(self, kind: str, name: str, target: str) -> None:
        """Register the implementation `name` of `kind`; `target` is `"module:Class"`, imported on first use."""


class ArtifactRegistry(Protocol):
    """What `headrace_artifacts` is given."""

    def add(self, type_name: str, target: str) -> None:
        """Register an artifact type; `target` is `"module:Class"`, imported on first use."""


class TransformRegistry(Protocol):
    """What `headrace_transforms` is given."""

    def add(self, name: str, target: str) -> None:
        """Register the transform `name`; `target` is `"module:Class"`, imported on first use."""


class TriggerRegistry(Protocol):
    """What `headrace_triggers` is given."""

    def add(self, name: str, target: str) -> None:
        """Register the trigger `name`; `target` is `"module:Class"`, imported on first use."""


class NotifierRegistry(Protocol):
    """What `headrace_notifiers` is given."""

    def add(self, name: str, target: str) -> None:
        """Register the notifier `name`; `target` is `"module:Class"`, imported on first use."""


class Registration:
    """What a plugin adds."""

    @hookspec
    def headrace_stages(self, registry: StageRegistry) -> None:
        """*register*. Add stage implementations.

        Runs once in each process that looks up stages: the command line, the runner, each worker. A raise makes the
        plugin broken: `headrace plugins doctor` reports it, and only what uses its stages fails.
        """

    @hookspec
    def headrace_artifacts(self, registry: ArtifactRegistry) -> None:
        """*register*. Add artifact types, so that they can be loaded by name. Runs and fails as `headrace_stages`."""

    @hookspec
    def headrace_transforms(self, registry: TransformRegistry) -> None:
        """*register*. Add transforms: columns that only Python can compute, made alike in training and in serving.

        `[[features.transforms]]` names them; see `headrace.Transform`. Runs and fails as `headrace_stages`.
        """

    @hookspec
    def headrace_triggers(self, registry: TriggerRegistry) -> None:
        """*register*. Add triggers: what makes the loop train again.

        `[loop.triggers.NAME]` names them; see `headrace.Trigger`. Runs and fails as `headrace_stages`; one that raises
        while it looks is recorded as a problem of the loop, and the others are asked all the same.
        """

    @hookspec
    def headrace_notifiers(self, registry: NotifierRegistry) -> None:
        """*register*. Add notifiers: who is told what the loop does.

        `[loop.notify.NAME]` names them. A class with `Config`, a pydantic model, `__init__(config)` and `send(notice)`,
        which is called in the process of the loop, in a thread, with a mapping: `id` (the same when it is sent again),
        `event`, `project`, `model`, `version` (or None), `at` (seconds since the epoch), `time` (the same as text),
        `subject`, `text`, `who`, `seq` (the entry of the log), `evidence` (JSON). Runs and fails as `headrace_stages`.
        A text that `send` returns is recorded. So is what it raises, or that it does not come back in time; then it is
        called again later, and the loop goes on.
        """


class RunEvents:
    """What becomes of runs and stages. All fire in the process that called `run`, never in a worker."""

    @hookspec
    def before_run(self, run: RunInfo) -> None:
        """*observe*. The run was recorded and begins; `run.stages` is empty."""

    @hookspec
    def after_run(self, run: RunInfo, artifacts: ArtifactSource) -> None:
        """*observe*. The run ended, in whatever way `run.status` says; `run.stages` is complete."""

    @hookspec
    def before_stage(self, run: RunInfo, stage: StageInfo) -> None:
        """*observe*. The stage is about to be executed (it was not answered from the cache)."""

    @hookspec
    def after_stage(self, run: RunInfo, record: StageRecord, artifacts: ArtifactSource) -> None:
        """*observe*. The stage's outputs are committed: executed or taken from the cache, as `record.outcome` says."""

    @hookspec
    def on_stage_error(self, run: RunInfo, record: StageRecord, error: BaseException) -> None:
        """*observe*. The stage failed for good, after its retries."""


class RegistryEvents:
    """What becomes of model versions. Fire in the process that did it, after the database committed."""

    @hookspec
    def after_version_registered(self, package: PackageView) -> None:
        """*observe*. A new version exists: `package.version`, with its manifest and files."""

    @hookspec
    def after_alias_moved(self, move: AliasMove) -> None:
        """*observe*. An alias names another version now."""


class DriftEvents:
    """What was found to have changed. Fires in the process that compared, never in a worker."""

    @hookspec
    def on_drift(self, report: DriftReport, run: RunInfo | None, stage: StageInfo | None) -> None:
        """*observe*. Live rows were compared with a reference, and `report.drifted` names the columns that changed.

        Told by a run after a stage that was executed gave such a report (not when it came from the cache: nothing new
        was seen), with `run` and `stage`; and by `headrace drift` against a registered model, where both are None.
        `report.about` says which `model` and `version` the reference is of, where it is one. Told as well where columns
        changed only within some of `report.segments`: `report.drifted_segments` names those.
        """


class Provision:
    """Doing a part of the runtime's work elsewhere."""

    @hookspec(firstresult=True)
    def provide_cached(self, stage: StageInfo, key: str) -> Mapping[str, ArtifactRef] | None:
        """*provide*. Outputs for `key` from another cache, already put into this store; None: not known.

        Asked in the runner's process when this store has no answer. Stops at the first answer that is not None. The
        objects are verified before they are used.
        """

    @hookspec(firstresult=True)
    def provide_execution(
        self, stage: StageInfo, key: str | None, inputs: Mapping[str, ArtifactRef]
    ) -> Mapping[str, ArtifactRef] | None:
        """*provide*. Run the stage elsewhere and return its outputs, already put into this store; None: run it here.

        Called in the runner's process, in the stage's thread. Stops at the first answer that is not None.
        """


SPECS: tuple[type, ...] = (Registration, RunEvents, RegistryEvents, DriftEvents, Provision)
