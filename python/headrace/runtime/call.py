"""One execution of one stage: inputs from the store, `run`, outputs into the store.

The same code runs in the runner's process and in a worker. Inputs always come from the store, also when they were made
a moment ago, so that a stage sees the same values whether or not what precedes it was answered from the cache.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headrace.errors import PluginError, SpecError, StageError
from headrace.hooks.catalog import StageEntry
from headrace.hooks.contract import StageContract, describe
from headrace.hooks.discovery import load_class

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from headrace.hooks.catalog import StageCatalog
    from headrace.pipeline.spec import StageSpec
    from headrace.runtime.context import Context
    from headrace.store import Store
    from headrace.types import ArtifactRef, TransformSource

OWN_CODE = "project"
_FEATURE_PLAN = "feature-plan"  # by name, so that a run that executes nothing does not import it


@dataclass(frozen=True)
class StageCall:
    """Everything that is needed to run a stage elsewhere. JSON, so that it can cross a process border."""

    target: str
    config: Mapping[str, Any]
    inputs: Mapping[str, Mapping[str, Any]]
    stage: str
    seed: int
    threads: int
    project: str
    project_dir: str
    run_id: str
    workdir: str
    who: str
    disabled_plugins: Sequence[str] = ()


def use_project_code(project_dir: Path) -> None:
    """Make the project's own modules importable, as `python -m` would."""
    if str(project_dir) not in sys.path:
        sys.path.insert(0, str(project_dir))


def resolve(stage: StageSpec, catalog: StageCatalog) -> tuple[StageEntry, type, StageContract]:
    """The implementation that a stage names: a registered one, or `module:Class` of the project's own code."""
    if ":" in stage.use:
        entry = StageEntry(kind=stage.kind, name=stage.use, target=stage.use, distribution=OWN_CODE, version="")
        try:
            implementation = load_target(stage.use)
        except PluginError as error:
            raise SpecError(f"stage [{stage.name}]: {error.message}", hint=error.hint) from error
    else:
        entry = catalog.entry(stage.kind, stage.use)
        implementation = catalog.load(entry)
    return entry, implementation, describe(implementation)


def load_target(target: str) -> type:
    """Import `"module:Class"`. `PluginError` whatever goes wrong, a module that ends the process among it."""
    return load_class(target, owner=target)


def execute(
    implementation: type, contract: StageContract, config: Any, context: Context, store: Store
) -> dict[str, ArtifactRef]:
    """Run a stage and keep what it gives. Errors come out as they are; the caller says which stage it was.

    A stage that ends the process raises `StageError` instead: `sys.exit(0)` in it must not look like a success.
    """
    inputs: dict[str, Any] = {
        name: load_artifact(store, context.inputs[name], spec.type, context.transforms)
        for name, spec in contract.inputs.items()
        if name in context.inputs
    }
    context.workdir.mkdir(parents=True, exist_ok=True)
    try:
        result = implementation(config).run(context, **inputs)
    except SystemExit as error:
        raise StageError(
            f"it tried to end the process (exit {error.code})",
            place=f"stage {context.stage}",
            hint="Raise an error where it cannot go on; return where it is done.",
        ) from error
    context.check_cancelled()
    return {name: store.artifacts.save(value) for name, value in _outputs(result, contract, context.stage).items()}


def load_artifact(store: Store, ref: ArtifactRef, artifact_class: type, transforms: TransformSource) -> Any:
    """The artifact; a feature plan with its transforms."""
    artifact: Any = store.artifacts.load(ref, artifact_class)
    return artifact.bind(transforms) if ref.type_name == _FEATURE_PLAN else artifact


def _outputs(result: Any, contract: StageContract, stage: str) -> dict[str, Any]:
    names = list(contract.outputs)
    if contract.single:
        values = {names[0]: result}
    else:
        found = getattr(result, "_asdict", None)
        if found is None:
            msg = f"returned {type(result).__name__}, and is annotated to return a NamedTuple with {', '.join(names)}"
            raise StageError(msg, place=f"stage {stage}")
        values = dict(found())
    for name, type_ in contract.outputs.items():
        if not isinstance(values.get(name), type_):
            found_type = type(values.get(name)).__name__
            msg = f"output {name!r} is a {found_type}, and is annotated as {type_.__name__}"
            raise StageError(msg, place=f"stage {stage}", hint="Return what `run` is annotated to return.")
    return values
