"""`Project`: a folder with a `headrace.toml`, and all that can be done with it. Where the parts are put together."""

from __future__ import annotations

import os
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from headrace.errors import NotFoundError, SpecError, printable
from headrace.hooks.catalog import nearest
from headrace.pipeline import graph as graphs
from headrace.pipeline import spec as specs

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    import polars as pl

    from headrace.hooks.manager import PluginManager
    from headrace.hooks.transforms import Transforms
    from headrace.pipeline.graph import Graph
    from headrace.pipeline.spec import Spec
    from headrace.project.compare import Compared, Explained
    from headrace.project.preview import PlannedStage
    from headrace.project.reproduce import Reproduction
    from headrace.registry import Registry
    from headrace.runtime.fingerprint import Fingerprinter
    from headrace.runtime.lock import Environment
    from headrace.runtime.runner import Listener
    from headrace.runtime.source import SourceIndex
    from headrace.store import Store
    from headrace.types import AliasMove, Artifact, ArtifactSource, RunInfo, StageRecord, SupportsArrowStream

STORE_FOLDER = ".headrace"


class Project:
    """A project folder.

    Parameters
    ----------
    path
        The folder, or its `headrace.toml`.
    env
        Name of an overlay, `[env.NAME]`.
    overrides
        `"stage.key=value"` strings, or a mapping of `"stage.key"` to values; they win over the file and the overlay.
    store_url
        SQLAlchemy URL of the metadata database; default `[store] url`, else SQLite inside the store folder.

    Nothing is read before it is needed. A `Project` is a context manager; leaving it closes the store.

    Examples
    --------
    >>> import headrace
    >>> run = headrace.Project("flights").run()          # doctest: +SKIP
    >>> run["evaluate"]                                  # doctest: +SKIP
    """

    def __init__(
        self,
        path: str | os.PathLike[str] = ".",
        *,
        env: str | None = None,
        overrides: Mapping[str, Any] | Sequence[str] = (),
        store_url: str | None = None,
    ) -> None:
        self.path = Path(path)
        self._env = env
        self._overrides = overrides
        self._store_url = store_url
        self._registry: Registry | None = None
        self._forget_empty: Callable[[], object] | None = None

    @cached_property
    def spec(self) -> Spec:
        """The spec, with overlay and overrides applied. Raises `SpecError` with file and line."""
        return specs.load(self.path, env=self._env, overrides=self._overrides)

    @cached_property
    def plugins(self) -> PluginManager:
        """Everything that is installed, minus what `[plugins] disabled` names."""
        from headrace.hooks.manager import PluginManager

        return PluginManager.discover(disabled=self.spec.disabled_plugins)

    @cached_property
    def graph(self) -> Graph:
        """The stages with their implementations, configs and arrows."""
        from headrace.runtime.call import resolve, use_project_code

        use_project_code(self.spec.project_dir)
        return graphs.build(self.spec, lambda stage: resolve(stage, self.plugins.stages))

    @cached_property
    def store(self) -> Store:
        """The store of the project, made on first use. Who only looks takes `store_to_read`."""
        from headrace.store import Store

        root, url = self._where
        return Store.open(root, url=url)

    @property
    def existing_store(self) -> Store:
        """The store of the project. Raises `NotFoundError` where there is none, because nothing ever ran here."""
        from headrace.store.folder import is_store, missing_store

        root, url = self._where
        if "store" not in self.__dict__ and url is None and not is_store(root):
            raise missing_store(root)
        return self.store

    @property
    def store_to_read(self) -> Store:
        """The store of the project, or where there is none, an empty one outside of the project: nothing is written."""
        try:
            return self.existing_store
        except NotFoundError:
            return self._empty_store

    @cached_property
    def _empty_store(self) -> Store:
        import shutil
        import tempfile
        import weakref

        from headrace.store import Store

        folder = Path(tempfile.mkdtemp(prefix="headrace-empty-"))
        self._forget_empty = weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        Store.open(folder / STORE_FOLDER).close()
        return Store.open(folder / STORE_FOLDER, read_only=True)

    @cached_property
    def _where(self) -> tuple[Path, str | None]:
        root = self.spec.project_dir / self.spec.store.get("path", STORE_FOLDER)
        return root, self._store_url or _secret(self.spec.store.get("url"))

    @property
    def artifacts(self) -> ArtifactSource:
        """Loads artifacts by reference."""
        from headrace.runtime.runner import Artifacts

        return Artifacts(self.store_to_read, self.plugins, self.graph, self.transforms)

    @property
    def registry(self) -> Registry:
        """Model versions and aliases; where nothing ever ran, none, and it can only be read."""
        store = self.store_to_read
        if self._registry is None or self._registry.store is not store:
            from headrace.registry import Registry
            from headrace.runtime.provenance import who

            self._registry = Registry(
                store,
                who=who(),
                observer=lambda hook, about: self.plugins.observe(hook, **about),
                transforms=self.transforms,
            )
        return self._registry

    @cached_property
    def transforms(self) -> Transforms:
        """The transforms that plugins registered, and those of the project's own code."""
        from headrace.runtime.transforms import project_transforms

        return project_transforms(self.spec.project_dir, lambda: self.plugins.transforms, self._source_index)

    def run(
        self,
        *,
        force: Collection[str] = (),
        trigger: str = "manual",
        jobs: int | None = None,
        listener: Listener | None = None,
        cancelled: threading.Event | None = None,
    ) -> Run:
        """Run the pipeline: take what is known from the cache, execute the rest, record everything.

        `force` names stages that are executed in any case; `jobs` is how many run at once (default: `[project] jobs`,
        else the number of processors); `listener` is called with each `headrace.runtime.context.Event`.
        A failed stage does not raise: see `Run.succeeded` and `Run.raise_on_failure`.
        """
        import threading as threads

        from headrace.runtime.lock import Environment
        from headrace.runtime.provenance import GitState, describe
        from headrace.runtime.runner import Runner

        git = GitState(self.spec.project_dir)
        graph, store, environment = self.graph, self.store, Environment()
        runner = Runner(
            graph=graph,
            store=store,
            plugins=self.plugins,
            registry=self.registry,
            fingerprinter=self._fingerprinter(environment),
            worker="headrace.project.worker",
            listener=listener or (lambda _event: None),
            jobs=jobs or self.spec.jobs,
            threads=self.spec.threads,
            cancelled=cancelled or threads.Event(),
        )
        return Run(self, runner.run(force=force, trigger=trigger, provenance=describe(environment, git)))

    def plan(self, *, force: Collection[str] = ()) -> tuple[PlannedStage, ...]:
        """What `run` would execute and why, as far as it can be known without executing anything."""
        from headrace.project.preview import Preview
        from headrace.runtime.lock import Environment

        fingerprinter = self._fingerprinter(Environment())
        preview = Preview(self.graph, self.store_to_read, self.plugins, self.registry, fingerprinter)
        return preview.stages(force)

    def explain(self, which: str = "latest") -> Explained:
        """For each stage of a run, all that changed since the run before it, and what the stage said."""
        from headrace.project.compare import explain_run

        return explain_run(self.store_to_read, self.get_run(which).info)

    def compare(self, left: str, right: str = "latest") -> tuple[Compared, ...]:
        """Two runs side by side: params, metrics, data, code, distributions, environment."""
        from headrace.project.compare import compare_runs

        return compare_runs(self.get_run(left).info, self.get_run(right).info)

    def runs(self, limit: int = 20) -> list[RunInfo]:
        """The latest runs of this project, newest first."""
        return self.store_to_read.runs.list(limit=limit, project=self.spec.name)

    def get_run(self, which: str = "latest") -> Run:
        """A run by id, by unique beginning of an id, or the latest."""
        return Run(self, self.store_to_read.runs.get(which))

    def predict(self, ref: str, frame: SupportsArrowStream) -> pl.DataFrame:
        """Predict with a registered version: `"name@alias"`, `"name@3"`, or `"name"` for its champion.

        Row order is kept. Classification gives `prediction` and one `probability_<class>` each; regression gives
        `prediction`. Raises `DataError` naming the column where the frame does not fit the model's signature.
        """
        return self.registry.resolve(ref).predictor().predict(frame)

    def reproduce(self, ref: str, *, tolerance: float = 1e-6, listener: Listener | None = None) -> Reproduction:
        """Execute again what led to a version, from the recorded inputs, and compare; see `runtime.reproduce`."""
        from headrace.project.reproduce import reproduce

        return reproduce(self, ref, tolerance=tolerance, listener=listener or (lambda _event: None))

    def history(self, model: str | None = None) -> list[AliasMove]:
        """Who was champion, when, why, on which gate report."""
        return self.registry.history(model or self.spec.name)

    def _fingerprinter(self, environment: Environment) -> Fingerprinter:
        from headrace.runtime.fingerprint import Fingerprinter

        return Fingerprinter(
            project_dir=self.spec.project_dir,
            seed=self.spec.seed,
            index=self._source_index(),
            environment=environment,
            transforms=self.transforms,
        )

    def _source_index(self) -> SourceIndex:
        from headrace.runtime.source import SourceIndex

        return SourceIndex((self.spec.project_dir,), self.store_to_read.root / "cache" / "source.json")

    def close(self) -> None:
        """Close the store, if it was opened."""
        self._registry = None
        for name in ("store", "_empty_store"):
            if name in self.__dict__:
                self.__dict__.pop(name).close()
        if self._forget_empty is not None:
            self._forget_empty()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Project({str(self.path)!r})"


class Run:
    """A run and its artifacts: `run["train"]` is what stage `train` gave, `run["split", "test"]` one of several."""

    def __init__(self, project: Project, info: RunInfo) -> None:
        self.info = info
        self._project = project

    @property
    def id(self) -> str:
        return self.info.id

    @property
    def succeeded(self) -> bool:
        return self.info.status == "succeeded"

    def raise_on_failure(self) -> Self:
        """Raise `StageError` if a stage failed; else return the run."""
        from headrace.errors import StageError

        for record in self.info.stages:
            if record.outcome == "failed":
                raise StageError(record.error or "failed", place=f"stage {record.stage.name}")
        return self

    def record(self, stage: str) -> StageRecord:
        for record in self.info.stages:
            if record.stage.name == stage:
                return record
        msg = f"run {self.id} has no stage {stage!r}"
        raise NotFoundError(msg, hint=nearest(stage, [r.stage.name for r in self.info.stages]))

    def __getitem__(self, which: str | tuple[str, str]) -> Artifact:
        stage, output = which if isinstance(which, tuple) else (which, None)
        outputs = self.record(stage).outputs
        if output is None:
            if len(outputs) != 1:
                msg = f"stage {stage!r} has {len(outputs)} outputs: {', '.join(outputs)}"
                raise NotFoundError(msg, hint=f"Name one: run[{stage!r}, OUTPUT].")
            output = next(iter(outputs))
        if output not in outputs:
            msg = f"stage {stage!r} has no output {output!r}"
            raise NotFoundError(msg, hint=nearest(output, outputs))
        return self._project.artifacts.load(outputs[output])

    def __iter__(self) -> Iterator[StageRecord]:
        return iter(self.info.stages)

    def __repr__(self) -> str:
        lines = [f"Run {self.id} of {self.info.project}: {self.info.status}"]
        lines += [f"  {r.stage.name:<12} {r.outcome:<9} {r.ended - r.started:7.2f} s  {printable(r.why)}" for r in self]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{escape(r.stage.name)}</td><td>{escape(f'{r.stage.kind}:{r.stage.use}')}</td><td>{r.outcome}</td>"
            f"<td style='text-align:right'>{r.ended - r.started:.2f}</td>"
            f"<td style='text-align:left'>{escape(r.error or r.why)}</td></tr>"
            for r in self
        )
        head = "<tr><th>stage</th><th>implementation</th><th>outcome</th><th>seconds</th><th>why</th></tr>"
        title = f"Run {escape(self.id)} of {escape(self.info.project)}: {self.info.status}"
        return f"<p><b>{title}</b></p><table><thead>{head}</thead><tbody>{rows}</tbody></table>"


def _secret(reference: Any) -> str | None:
    """A secret by reference: `env:NAME`, `file:PATH`. A URL without a password may stand in the file itself."""
    if reference is None:
        return None
    scheme, _, rest = str(reference).partition(":")
    if scheme == "env":
        value = os.environ.get(rest)
        if value is None:
            msg = f"[store] url refers to the environment variable {rest}, which is not set"
            raise SpecError(msg, hint=f"Set it: export {rest}=...")
        return value
    if scheme == "file":
        try:
            return Path(rest).read_text(encoding="utf-8").strip()
        except OSError as error:
            msg = f"[store] url refers to the file {rest}, which cannot be read: {error.strerror}"
            raise SpecError(msg) from error
    return str(reference)
