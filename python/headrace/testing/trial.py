"""Runs a stage as the runtime does, in a project and a store that are made for it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from headrace import Dataset
from headrace.hooks.contract import StageContract, describe
from headrace.testing.fresh import fail
from headrace.types import Artifact, ArtifactRef

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType

    from headrace.registry import Registry
    from headrace.runtime.context import Context, Event
    from headrace.store import Store

WORKER_SECONDS = 300.0


@dataclass
class Trial:
    """A stage, a temporary project folder and a store. A context manager; `folder` is the caller's to remove."""

    stage: type
    config: Mapping[str, Any]
    folder: Path
    prepare: Callable[[Path], None] | None = None
    contract: StageContract = field(init=False)
    project_dir: Path = field(init=False)
    store: Store = field(init=False)

    def __enter__(self) -> Self:
        from headrace.store import Store

        self.contract = describe(self.stage)
        self.project_dir = self.folder / "project"
        self.project_dir.mkdir(parents=True, exist_ok=True)
        if self.prepare is not None:
            self.prepare(self.project_dir)
        self.store = Store.open(self.project_dir / ".headrace")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.store.close()

    def validated(self) -> Any:
        """The stage's config, as its model."""
        return self.contract.config.model_validate(dict(self.config))

    def save(self, inputs: Mapping[str, Any]) -> dict[str, ArtifactRef]:
        """Keep the inputs in the store. Tables (any Arrow frame, or a dict of columns) become `Dataset`s."""
        self._check_names(inputs)
        refs = {}
        for name, value in inputs.items():
            artifact = as_artifact(value)
            expected = self.contract.inputs[name].type
            if not isinstance(artifact, expected):
                fail(
                    f"the input {name!r} of the test is {type(artifact).__name__}, and `run` takes {expected.__name__}",
                    "Give the conformance test an input of the annotated type.",
                )
            refs[name] = self.store.artifacts.save(artifact)
        self.store.artifacts.flush()
        return refs

    def _check_names(self, inputs: Mapping[str, Any]) -> None:
        known = self.contract.inputs
        missing = [name for name, spec in known.items() if not spec.optional and name not in inputs]
        extra = [name for name in inputs if name not in known]
        if missing or extra:
            fail(
                f"`run` takes the inputs {list(known)}, and the test gives {list(inputs)}",
                f"Give `inputs` for {missing}." if missing else f"Take {extra} out of `inputs`.",
            )

    @property
    def registry(self) -> Registry:
        """The registry of the trial's store."""
        from headrace.registry import Registry

        return Registry(self.store, who="conformance")

    def context(
        self, refs: Mapping[str, ArtifactRef], *, name: str = "trial", seed: int = 0, threads: int = 2
    ) -> Context:
        """What the stage is given, with a folder of its own to work in."""
        from headrace.runtime.context import Context

        workdir = self.folder / "work" / name
        workdir.mkdir(parents=True, exist_ok=True)
        return Context(
            seed=seed,
            threads=threads,
            project="conformance",
            project_dir=self.project_dir,
            run_id="conformance",
            stage=name,
            workdir=workdir,
            registry=self.registry,
            inputs=refs,
            emit=_listen,
        )

    def run(self, refs: Mapping[str, ArtifactRef], **context: Any) -> dict[str, ArtifactRef]:
        """Execute the stage in this process."""
        from headrace.runtime.call import execute

        return execute(self.stage, self.contract, self.validated(), self.context(refs, **context), self.store)

    def run_in_worker(self, refs: Mapping[str, ArtifactRef]) -> dict[str, ArtifactRef]:
        """Execute the stage in a worker process, as `isolation = "process"` does."""
        from headrace.runtime.call import StageCall
        from headrace.runtime.process import execute_in_process

        call = StageCall(
            target=f"{self.stage.__module__}:{self.stage.__qualname__}",
            config=self.validated().model_dump(mode="json"),
            inputs={name: vars(ref) for name, ref in refs.items()},
            stage="worker",
            seed=0,
            threads=2,
            project="conformance",
            project_dir=str(self.project_dir),
            run_id="conformance",
            workdir=str(self.folder / "work" / "worker"),
            who="conformance",
        )
        return execute_in_process(
            call, self.store, _listen, threading.Event(), timeout=WORKER_SECONDS, worker="headrace.project.worker"
        )

    def load(self, ref: ArtifactRef, type_: type) -> Artifact:
        """An artifact out of the store."""
        artifact: Artifact = self.store.artifacts.load(ref, type_)
        return artifact


def _listen(_event: Event) -> None:
    """What a stage says is not looked at here; that it may be said is."""


def as_artifact(value: Any) -> Artifact:
    """An artifact as it is; a dict of columns, or any Arrow-capable frame, as a `Dataset`."""
    if isinstance(value, Artifact) and not isinstance(value, type):
        return value
    if isinstance(value, Mapping):
        import polars as pl

        value = pl.DataFrame(dict(value))
    if not hasattr(value, "__arrow_c_stream__"):
        fail(
            f"an input of the test is {type(value).__name__}, which is neither an artifact nor a table",
            "Give a dict of columns, a frame that speaks Arrow, or an artifact.",
        )
    return Dataset.from_frame(value)
