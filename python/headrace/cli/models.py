"""`headrace models list | show | promote | rollback | history`."""

from __future__ import annotations

import click

from headrace.cli.command import Group
from headrace.cli.options import json_option, project_option
from headrace.cli.output import Column, echo_json, echo_table, short

_HISTORY = "model, alias, version, previous, who, why, gate (digest of the report), run_id, at"


@click.group(
    cls=Group,
    examples=[
        "headrace models list",
        "headrace models show flights@champion",
        'headrace models promote flights@2 --why "better on winter flights"',
        'headrace models rollback flights --why "late arrivals are up"',
    ],
)
def models() -> None:
    """List, show, promote and roll back model versions.

    A version is named MODEL@ALIAS (flights@champion), MODEL@NUMBER (flights@3), or MODEL for its champion.
    """


@models.command(
    "list",
    examples=["headrace models list", "headrace models list --json"],
    keys={"versions": "entries: model, number, aliases, package, model_digest, run, created"},
)
@project_option
@json_option
def list_(project_dir: str, env: str | None, as_json: bool) -> None:
    """List the models and their versions, newest version first."""
    from headrace.project import Project

    with Project(project_dir, env=env) as project:
        entries = [entry for model in project.registry.models() for entry in _versions(project, model)]
    if as_json:
        echo_json({"versions": entries})
        return
    if not entries:
        click.echo("no models yet; a run with a register stage makes one")
        return
    columns = [Column("model"), Column("version", "right"), Column("aliases"), Column("run"), Column("package")]
    echo_table(
        columns,
        [(e["model"], e["number"], ", ".join(e["aliases"]) or "-", e["run"], short(e["package"])) for e in entries],
    )
