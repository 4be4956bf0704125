"""`headrace artifacts show | export`."""

from __future__ import annotations

from pathlib import Path

import click

from headrace.cli.command import Group
from headrace.cli.documents import ref_document
from headrace.cli.options import json_option, project_option
from headrace.cli.output import Column, echo_json, echo_pairs, echo_table, iso, moment, short, size


@click.group(
    cls=Group,
    examples=["headrace artifacts show 3fa9c2", "headrace artifacts export 3fa9c2 out/"],
)
def artifacts() -> None:
    """Show and export artifacts.

    An artifact is named by its digest, by an unambiguous beginning of it (`headrace runs show` prints them), or, for a
    model version, by MODEL@ALIAS.
    """


@artifacts.command(
    examples=["headrace artifacts show 3fa9c2", "headrace artifacts show 3fa9c2 --json"],
    keys={
        "artifact": "digest, type, size",
        "created": "when it was kept first (ISO 8601, UTC)",
        "whole": "whether all of it is in the store and undamaged",
        "parts": "name -> format, size, sha256",
    },
)
@click.argument("which", metavar="ARTIFACT")
@project_option
@json_option
def show(*, which: str, project_dir: str, env: str | None, as_json: bool) -> None:
    """Show what an artifact is: type, parts, and the value in short."""
    from headrace.project import Project
    from headrace.project.ancestry import find_artifact

    with Project(project_dir, env=env) as project:
        ref = find_artifact(project, which)
        info = project.store_to_read.artifacts.info(ref.digest)
        whole = project.store_to_read.artifacts.verify(ref.digest)
        if as_json:
            parts = {n: {"format": p.format, "size": p.size, "sha256": p.sha256} for n, p in info.parts.items()}
            echo_json({"artifact": ref_document(ref), "created": iso(info.created), "whole": whole, "parts": parts})
            return
        facts = {"digest": ref.digest, "type": ref.type_name, "size": size(ref.size), "created": moment(info.created)}
        echo_pairs(facts | {"whole": "yes" if whole else "no: a part is missing or damaged"})
        click.echo()
        columns = [Column("part"), Column("format"), Column("size", "right"), Column("sha256")]
        echo_table(columns, [(n, p.format, size(p.size), short(p.sha256)) for n, p in info.parts.items()])


@artifacts.command(
    short_help="Write the parts of an artifact as files.",
    examples=["headrace artifacts export 3fa9c2 out/"],
    keys={"artifact": "digest, type, size", "files": "the paths that were written"},
)
@click.argument("which", metavar="ARTIFACT")
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@click.option("--force", is_flag=True, help="Write over files that are there.")
@project_option
@json_option
def export(*, which: str, folder: Path, force: bool, project_dir: str, env: str | None, as_json: bool) -> None:
    """Write the parts of an artifact as files: frames as Parquet, documents as JSON, the rest as it is."""
    from headrace.project import Project
    from headrace.project.ancestry import find_artifact
    from headrace.project.exporting import export_artifact

    with Project(project_dir, env=env) as project:
        ref = find_artifact(project, which)
        written = export_artifact(project, ref, folder, force=force)
    if as_json:
        echo_json({"artifact": ref_document(ref), "files": [str(path) for path in written]})
        return
    for path in written:
        click.echo(click.format_filename(path))
