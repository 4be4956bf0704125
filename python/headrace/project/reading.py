"""Reads a file that comes from outside of any run as the project's own `ingest: files` stage would read it."""

from __future__ import annotations

import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.compute.plan.types import family, polars_type, type_name
from headrace.errors import DataError
from headrace.runtime.context import Context, Event

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    import polars as pl

    from headrace.compute.dataset import Dataset
    from headrace.pipeline.graph import Node
    from headrace.project import Project

_KIND, _USE = "ingest", "files"
_HERE = ("path", "format", "partitions", "record", "copy_limit")
_BINARY = (b"PAR1", b"ARRO", b"\xff\xff\xff\xff")


def read_file(
    project: Project,
    path: str | os.PathLike[str],
    *,
    expected: Mapping[str, str] | None = None,
    stated: str | None = None,
    streamed: bool = False,
) -> Dataset:
    """The rows of a Parquet, Arrow IPC, CSV or NDJSON file; `stated` is its format where it does not say it itself.

    What the project's spec says about reading (separator, missing values, types) holds here too. A CSV or NDJSON file
    does not say its types; where those that are found differ from `expected` (column -> type, as in
    `FeaturePlan.inputs`), the file is read again with the expected ones, so that a column that happens to be empty, or
    all digits, in a small file is what it was in training. With `streamed` the rows stay in the file, to be read by
    `Dataset.batches`, but for an Arrow IPC stream's, which are held in memory.

    Raises `DataError` that names file, column and row.
    """
    file = Path(path)
    if not file.is_file():
        if file.is_dir():
            found = "this is a folder"
        else:
            found = "this is no ordinary file" if file.exists() else "there is no such file"
        raise DataError(found, place=str(path), hint="Name a Parquet, Arrow IPC, CSV or NDJSON file.")
    config = _config(project)
    if stated:
        config["format"] = stated
    if streamed:
        config["copy_limit"] = 0
    data = _read(project, file, config)
    if not expected or not is_text(file):
        return data
    differing = differing_types(data, expected)
    if differing:
        data = _read(project, file, config | {"types": {**config.get("types", {}), **differing}})
    return data


def _config(project: Project) -> dict[str, Any]:
    """What the project's first `ingest: files` stage says, but for which files."""
    for node in project.graph.nodes:
        if (node.entry.kind, node.entry.name) == (_KIND, _USE):
            said = node.config.model_dump(exclude_unset=True)
            return {key: value for key, value in said.items() if key not in _HERE}
    return {}


def ingested(project: Project, node: Node) -> pl.DataFrame:
    """The rows that a stage of the project's pipeline gives which takes none."""
    return _given(project, node.implementation, node.config, project.spec.project_dir).frame()


def _read(project: Project, file: Path, config: Mapping[str, Any]) -> Dataset:
    catalog = project.plugins.stages
    stage: Any = catalog.load(catalog.entry(_KIND, _USE))
    return _given(project, stage, stage.Config(path=file.name, **config), file.parent.resolve())


def _given(project: Project, stage: Any, config: Any, folder: Path) -> Dataset:
    with tempfile.TemporaryDirectory(prefix="headrace-read-") as scratch:
        context = Context(
            seed=project.spec.seed,
            threads=project.spec.threads or 1,
            project=project.spec.name,
            project_dir=folder,
            run_id="read",
            stage="read",
            workdir=Path(scratch),
            registry=project.registry,
            inputs={},
            emit=_unheard,
            cancelled=threading.Event(),
        )
        given = stage(config).run(context)
        data: Dataset = getattr(given, "data", given)
        return data


def _unheard(event: Event) -> None:
    """What the stage says is for the record of a run, and this is none."""


def differing_types(data: Dataset, expected: Mapping[str, str]) -> dict[str, str]:
    """Column -> polars' name of the expected type, for the columns of `data` that were found to be of another."""
    types = {name: type_name(dtype) for name, dtype in data.lazy().collect_schema().items()}
    return {
        name: str(polars_type(wanted))
        for name, wanted in expected.items()
        if name in types and not _fits(types[name], wanted)
    }


def _fits(found: str, wanted: str) -> bool:
    return family(found) == family(wanted) or (family(found) == "integer" and family(wanted) == "float")


def is_text(file: Path) -> bool:
    """Whether a file has none of the first bytes of the binary formats; compressed text counts as text."""
    with file.open("rb") as stream:
        return not stream.read(4).startswith(_BINARY)
