"""Data checked by a project's `validate` stage outside of any run."""

from __future__ import annotations

import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.errors import SpecError
from headrace.project.reading import read_file
from headrace.runtime.context import Context, Event
from headrace.types import ValidationReport

if TYPE_CHECKING:
    from headrace.compute.dataset import Dataset
    from headrace.pipeline.graph import Node
    from headrace.project import Project

_KIND = "validate"


def validate(project: Project, path: Path | None = None) -> ValidationReport:
    """What the project's first `validate` stage says of a file, or of the project's own data.

    Nothing is recorded. Raises `DataError` where a policy says that the data must not pass, `SpecError` for a project
    that checks nothing.
    """
    node = next((n for n in project.graph.nodes if n.entry.kind == _KIND), None)
    if node is None:
        raise SpecError(
            "this project has no [validate] stage",
            place=project.spec.path.name,
            hint="Make expectations with `headrace validate --suggest -o expectations.toml`, and add the stage.",
        )
    data = own_data(project) if path is None else read_file(project, path)
    result = _run(project, node, data=data)
    found = [value for value in result._asdict().values() if isinstance(value, ValidationReport)]
    return found[0]


def own_data(project: Project) -> Dataset:
    """The rows that the project's first stage of kind `ingest` gives now."""
    node = next((n for n in project.graph.nodes if n.entry.kind == "ingest" and not n.inputs), None)
    if node is None:
        raise SpecError(
            "this project has no [ingest] stage to take data from",
            place=project.spec.path.name,
            hint="Name a file: headrace validate FILE",
        )
    data: Dataset = _run(project, node).data
    return data


def _run(project: Project, node: Node, **inputs: Any) -> Any:
    with tempfile.TemporaryDirectory(prefix="headrace-validate-") as scratch:
        context = Context(
            seed=project.spec.seed,
            threads=project.spec.threads or 1,
            project=project.spec.name,
            project_dir=project.spec.project_dir,
            run_id="validate",
            stage=node.name,
            workdir=Path(scratch),
            registry=project.registry,
            inputs={},
            emit=_unheard,
            cancelled=threading.Event(),
        )
        return node.implementation(node.config).run(context, **inputs)


def _unheard(event: Event) -> None:
    """What a stage says is for the record of a run, and this is none."""
