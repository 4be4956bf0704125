"""Fingerprints of stages: implementation, config, source, lock, seed, and what a stage reads from outside."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from headrace.errors import CacheUnavailableError, HeadraceError, StageError
from headrace.pipeline.keys import Fingerprint, canonical
from headrace.runtime.lock import Environment, python_abi

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from headrace.hooks.transforms import Transforms
    from headrace.pipeline.graph import Node
    from headrace.runtime.source import SourceIndex
    from headrace.types import ArtifactRef, RegistryView


@dataclass
class Fingerprinter:
    """Computes the static part of each stage's key once, and the rest when its inputs are known."""

    project_dir: Path
    seed: int
    index: SourceIndex
    environment: Environment
    transforms: Transforms

    def static(self, node: Node) -> tuple[Fingerprint, tuple[str, ...]]:
        """The fingerprint without `external`, and the modules whose imports could not all be followed.

        Raises `CacheUnavailableError` where the source is not to be had.
        """
        modules: dict[str, str] = {}
        imports: set[str] = set()
        dynamic: set[str] = set()
        for module in (node.implementation.__module__, *self._transforms(node)):
            closure = self.index.closure(module)
            # A module of an installed distribution has no first-party source: the distribution's version stands for it.
            if not closure.modules and module.partition(".")[0] not in closure.imports:
                msg = f"the source of {module!r} is not to be found"
                raise CacheUnavailableError(msg, place=f"stage {node.name}")
            modules |= closure.modules
            imports |= closure.imports
            dynamic |= set(closure.dynamic)
        lock = {"python": python_abi(), **self.environment.versions_of(imports)}
        fingerprint = Fingerprint(
            kind=node.entry.kind,
            use=node.entry.name,
            distribution=node.entry.distribution,
            version=node.entry.version,
            config=node.config.model_dump(mode="json"),
            source=dict(sorted(modules.items())),
            lock=lock,
            seed=self.seed,
        )
        return fingerprint, tuple(sorted(dynamic))

    def _transforms(self, node: Node) -> list[str]:
        """The modules of the transforms that a stage uses."""
        if not node.contract.has_transforms:
            return []
        stage: Any = node.implementation(node.config)
        return [self.transforms.find(name)[1].__module__ for name in stage.uses_transforms()]

    def with_external(
        self, fingerprint: Fingerprint, node: Node, registry: RegistryView, inputs: Mapping[str, ArtifactRef]
    ) -> Fingerprint:
        """The fingerprint with what the stage says that it reads besides its inputs."""
        if not node.contract.has_external:
            return fingerprint
        return replace(fingerprint, external=self.external(node, registry, inputs))

    def external(self, node: Node, registry: RegistryView, inputs: Mapping[str, ArtifactRef]) -> Any:
        """Ask the stage what it reads besides its inputs."""
        stage: Any = node.implementation(node.config)
        arguments: dict[str, Any] = {}
        parameters = inspect.signature(stage.external).parameters
        if "registry" in parameters:
            arguments = {"registry": registry, "inputs": inputs}
        try:
            external = stage.external(self.project_dir, **arguments)
            canonical(external)
        except HeadraceError:
            raise
        except TypeError as error:
            msg = f"`external` must return JSON: {error}"
            raise StageError(msg, place=f"stage {node.name}") from error
        return external
