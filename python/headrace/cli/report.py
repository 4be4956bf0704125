"""`headrace report`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from headrace.cli.command import Command
from headrace.cli.documents import last_output
from headrace.cli.options import json_option, project_option
from headrace.cli.output import echo_json

if TYPE_CHECKING:
    from headrace.project import Project


@click.command(
    cls=Command,
    examples=["headrace report -o report.html", "headrace report 01j8 -o - > report.html"],
    keys={"run": "id of the run", "digest": "of the report artifact", "path": "where it was written"},
)
@click.argument("run_id", metavar="[RUN]", default="latest")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, allow_dash=True), required=True, help="The file; - is stdout."
)
@project_option
@json_option
def report(run_id: str, output: str, project_dir: str, env: str | None, as_json: bool) -> None:
    """Write the HTML report of a run (default: the latest) to a file. The page needs nothing besides itself."""
    from headrace.errors import NotFoundError
    from headrace.project import Project

    with Project(project_dir, env=env) as project:
        info = project.get_run(run_id).info
        ref = last_output(info, "report")
        if ref is None:
            message = f"run {info.id} ({info.status}) has no report"
            hint = "Its [report] stage did not end, or headrace.toml has none; `headrace explain` shows which."
            raise NotFoundError(message, hint=hint)
        write_report(project, ref.digest, output)
    if as_json and output != "-":
        echo_json({"run": info.id, "digest": ref.digest, "path": output})
    elif output != "-":
        click.echo(f"wrote {click.format_filename(output)}", err=True)


def write_report(project: Project, digest: str, output: str) -> None:
    """Write the report artifact `digest` to a file, or to stdout for `-`."""
    from headrace.types import Report

    html = project.store_to_read.artifacts.load(digest, Report).html
    if output == "-":
        sys.stdout.buffer.write(html.encode())
        return
    from headrace.project.writing import write_whole

    write_whole(Path(output), html.encode())
