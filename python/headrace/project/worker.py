"""`python -m headrace.project.worker`: runs one stage in a process of its own.

Reads a `StageCall` with the store's address as JSON from standard input and writes JSON lines to the file descriptor
that it was given: events while it runs, then `result` or `error`. Standard output and error stay the stage's own.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.hooks.contract import describe
from headrace.hooks.manager import PluginManager
from headrace.registry import Registry
from headrace.runtime.call import StageCall, execute, load_target, use_project_code
from headrace.runtime.context import Context, Event
from headrace.runtime.source import SourceIndex
from headrace.runtime.transforms import project_transforms
from headrace.runtime.wire import describe_error
from headrace.store import Store
from headrace.types import ArtifactRef

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def main() -> int:
    """Run the call on standard input; the report goes to the descriptor named by the first argument."""
    with os.fdopen(int(sys.argv[1]), "w", encoding="utf-8", buffering=1) as report:
        request = json.load(sys.stdin)
        # Threads of OpenMP that wait by spinning take the processor from stages that run beside this one.
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")

        def emit(event: Event) -> None:
            report.write(json.dumps({"event": [event.stage, event.kind, dict(event.data)]}) + "\n")

        try:
            outputs = _run(StageCall(**request["call"]), request["store"], emit)
        except BaseException as error:  # noqa: BLE001  # everything a stage raises must reach the runner, sys.exit too
            report.write(json.dumps({"error": describe_error(error)}) + "\n")
            return 1
        report.write(json.dumps({"result": {k: vars(v) for k, v in outputs.items()}}) + "\n")
    return 0


def _run(call: StageCall, store_address: Mapping[str, Any], emit: Any) -> dict[str, ArtifactRef]:
    use_project_code(Path(call.project_dir))
    implementation = load_target(call.target)
    contract = describe(implementation)
    with Store.open(Path(store_address["root"]), url=store_address["url"], create=False) as store:
        registry = Registry(store, who=call.who, observer=_Observers(call.disabled_plugins).tell)
        registry.set_run(call.run_id)
        context = Context(
            seed=call.seed,
            threads=call.threads,
            project=call.project,
            project_dir=Path(call.project_dir),
            run_id=call.run_id,
            stage=call.stage,
            workdir=Path(call.workdir),
            registry=registry,
            inputs={name: ArtifactRef(**ref) for name, ref in call.inputs.items()},
            emit=emit,
            transforms=project_transforms(
                Path(call.project_dir),
                lambda: PluginManager.discover(disabled=call.disabled_plugins).transforms,
                lambda: SourceIndex((Path(call.project_dir),)),
            ),
        )
        return execute(implementation, contract, contract.config.model_validate(call.config), context, store)


class _Observers:
    """Tells plugins of registry events. Plugins are looked up only when there is something to tell."""

    def __init__(self, disabled: Sequence[str]) -> None:
        self._disabled = tuple(disabled)

    def tell(self, hook: str, about: Mapping[str, Any]) -> None:
        PluginManager.discover(disabled=self._disabled).observe(hook, **about)


if __name__ == "__main__":
    sys.exit(main())
