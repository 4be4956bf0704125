"""Lineage as trees: what led to an artifact, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.errors import NotFoundError
from headrace.types import ModelVersion

if TYPE_CHECKING:
    from collections.abc import Mapping

    from headrace.project import Project
    from headrace.store import Store
    from headrace.store.lineage import Step
    from headrace.types import ArtifactRef


@dataclass(frozen=True)
class Ancestor:
    """An artifact and what it was made from.

    `made_by` is the stage that gave it (of several, one that executed it), None where no run recorded that. `inputs`
    are empty for an artifact that stands elsewhere in the tree already; then `seen` is true.
    """

    ref: ArtifactRef
    made_by: Step | None
    inputs: Mapping[str, Ancestor]
    seen: bool = False


@dataclass(frozen=True)
class Use:
    """One way in which an artifact was used: the stage, how many runs did it so, and what it gave."""

    step: Step
    runs: int
    outputs: Mapping[str, Descendant]


@dataclass(frozen=True)
class Descendant:
    """An artifact, what came of it, and the model versions whose model it is; `seen` as in `Ancestor`."""

    ref: ArtifactRef
    used_by: tuple[Use, ...]
    versions: tuple[ModelVersion, ...]
    seen: bool = False


def find_artifact(project: Project, which: str) -> ArtifactRef:
    """The artifact that a digest, a beginning of one, or a model version (`flights@champion`, `flights@3`) names."""
    if "@" not in which and which and set(which) <= set("0123456789abcdef"):
        try:
            return project.store_to_read.artifacts.info(project.store_to_read.lineage.resolve(which)).ref
        except NotFoundError:
            if which not in {model.name for model in project.registry.models()}:
                raise
    package = project.registry.resolve(which)
    run_id = package.manifest.get("run")
    run = project.store_to_read.runs.get(str(run_id)) if run_id else None
    for record in run.stages if run else ():
        for ref in record.outputs.values():
            if ref.type_name == ModelVersion.type_name:
                found = project.store_to_read.artifacts.load(ref, ModelVersion)
                if (found.name, found.number) == (package.version.name, package.version.number):
                    return ref
    raise NotFoundError(
        f"this store has no record of a run that registered {which}",
        hint="If the version came from another store, ask that one, or merge it: headrace store merge OTHER.",
    )


def ancestors(store: Store, ref: ArtifactRef) -> Ancestor:
    """What led to `ref`, back to what was read from outside."""
    return _ancestor(store, ref, set())


def _ancestor(store: Store, ref: ArtifactRef, seen: set[str]) -> Ancestor:
    steps = store.lineage.producers(ref.digest, limit=20)
    step = steps[0] if steps else None
    if ref.digest in seen:
        return Ancestor(ref, step, {}, seen=True)
    seen.add(ref.digest)
    # A stage may give back what it was given; the artifact is older than that stage, and no tree has circles.
    step = next((s for s in steps if ref.digest not in {r.digest for r in s.inputs.values()}), step)
    inputs = {} if step is None else {n: _ancestor(store, r, seen) for n, r in step.inputs.items()}
    return Ancestor(ref, step, inputs)


def descendants(store: Store, ref: ArtifactRef) -> Descendant:
    """What came of `ref`, in all runs."""
    return _descendant(store, ref, set())


def _descendant(store: Store, ref: ArtifactRef, seen: set[str]) -> Descendant:
    versions = tuple(store.lineage.versions(ref.digest))
    if ref.digest in seen:
        return Descendant(ref, (), versions, seen=True)
    seen.add(ref.digest)
    alike: dict[tuple[str, tuple[tuple[str, str], ...]], list[Step]] = {}
    for step in store.lineage.consumers(ref.digest, limit=1000):
        made = tuple(sorted((name, out.digest) for name, out in step.outputs.items()))
        alike.setdefault((step.stage.name, made), []).append(step)
    uses = [
        Use(
            next((s for s in steps if s.outcome == "executed"), steps[0]),
            len({s.run_id for s in steps}),
            {name: _descendant(store, out, seen) for name, out in steps[0].outputs.items()},
        )
        for steps in alike.values()
    ]
    return Descendant(ref, tuple(uses), versions)
