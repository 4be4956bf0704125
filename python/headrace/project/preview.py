"""What a run would do, found out without doing it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from headrace.errors import CacheUnavailableError
from headrace.pipeline.keys import differences
from headrace.runtime.runner import info_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from headrace.hooks.manager import PluginManager
    from headrace.pipeline.graph import Graph, Node
    from headrace.registry import Registry
    from headrace.runtime.fingerprint import Fingerprinter
    from headrace.store import Store
    from headrace.types import ArtifactRef, StageInfo

Will = Literal["execute", "cached", "depends"]


@dataclass(frozen=True)
class PlannedStage:
    """What would become of a stage.

    `will` is `depends` behind a stage that would be executed: if that gives what it gave before, this one is still
    answered from the cache. `key` is None where it cannot be known yet, or where there is none.
    """

    stage: StageInfo
    will: Will
    why: str
    key: str | None
    needs: frozenset[str]


@dataclass
class Preview:
    """Walks a graph as the runner would, as far as the cache reaches."""

    graph: Graph
    store: Store
    plugins: PluginManager
    registry: Registry
    fingerprinter: Fingerprinter

    def stages(self, force: Collection[str] = ()) -> tuple[PlannedStage, ...]:
        """One entry a stage, in the order of the run. `force` as for a run."""
        for name in force:
            self.graph.spec.stage(name)
        latest = self.store.runs.list(limit=1, project=self.graph.spec.name)
        previous = {record.stage.name: record.fingerprint for info in latest for record in info.stages}
        known: dict[str, Mapping[str, ArtifactRef]] = {}
        planned = []
        for node in self.graph.nodes:
            waits = sorted(node.needs - known.keys())
            if waits:
                why = f"it is seen when {', '.join(waits)} {'has' if len(waits) == 1 else 'have'} ended"
                step = PlannedStage(info_of(node), "depends", why, None, node.needs)
                if node.name in force:
                    step = PlannedStage(info_of(node), "execute", "forced", None, node.needs)
            else:
                step = self._seen(node, known, previous, forced=node.name in force)
            planned.append(step)
        return tuple(planned)

    def _seen(
        self,
        node: Node,
        known: dict[str, Mapping[str, ArtifactRef]],
        previous: Mapping[str, Mapping[str, Any]],
        *,
        forced: bool,
    ) -> PlannedStage:
        inputs = {name: known[edge.stage][edge.output] for name, edge in node.inputs.items()}
        named = [(name, ref.type_name, ref.digest) for name, ref in inputs.items()]
        stage = info_of(node)
        try:
            fingerprint, _ = self.fingerprinter.static(node)
        except CacheUnavailableError as error:
            return PlannedStage(stage, "execute", error.message, None, node.needs)
        fingerprint = self.fingerprinter.with_external(fingerprint, node, self.registry, inputs)
        key = fingerprint.key(named)
        if not node.contract.deterministic:
            return PlannedStage(stage, "execute", "it says that it is not deterministic", None, node.needs)
        if forced:
            return PlannedStage(stage, "execute", "forced", key, node.needs)
        outputs = self.store.cache.lookup(key) or self.plugins.provide("provide_cached", stage=stage, key=key)
        if outputs is not None and set(outputs) == set(node.contract.outputs):
            if all(self.store.artifacts.verify(ref.digest) for ref in outputs.values()):
                known[node.name] = outputs
                return PlannedStage(stage, "cached", "nothing that it depends on changed", key, node.needs)
            why = "its outputs are not in the store any more, or are damaged"
            return PlannedStage(stage, "execute", why, key, node.needs)
        before = previous.get(node.name)
        changed = differences(dict(before), fingerprint.components(named)) if before else []
        why = "; ".join(changed) if changed else "its result is not in the cache" if before else "first time"
        return PlannedStage(stage, "execute", why, key, node.needs)
