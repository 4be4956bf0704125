"""`headrace init`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from headrace.cli.command import Command
from headrace.cli.options import json_option
from headrace.cli.output import echo_json, echo_pairs

if TYPE_CHECKING:
    from headrace.scaffold.project import Scaffolded


@click.command(
    cls=Command,
    examples=[
        "headrace init churn --data customers.csv --target churned",
        "headrace init prices --data sales.parquet --target price --task regression --time-column sold_on",
        "headrace init zones --data zones.csv --target zone --set ingest.types.zip=String",
        "cd churn && headrace run",
    ],
    keys={
        "name, directory, files": "the project, and what was written",
        "rows, columns, unlabelled": "what was seen: how many, and how many rows without a target",
        "target, task, classes": "what is predicted",
        "time_column, id_columns": "what was found; null or empty if nothing was",
        "split": "use (time, group, random), column, why",
    },
)
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--data", metavar="FILE", required=True, help="A Parquet, Arrow IPC, CSV or NDJSON file, or a glob.")
@click.option("--target", metavar="COLUMN", required=True, help="The column to predict.")
@click.option(
    "--task",
    type=click.Choice(["binary", "multiclass", "regression"]),
    help="What kind of prediction it is.  [default: as the target's type and values suggest]",
)
@click.option("--name", help="Name of the project and of its model.  [default: the folder's]")
@click.option("--time-column", metavar="COLUMN", help="Says when a row happened.  [default: found, if there is one]")
@click.option(
    "--set",
    "overrides",
    metavar="ingest.KEY=VALUE",
    multiple=True,
    help="How FILE is to be read, as in TOML; a bare word as a string. `headrace plugins show ingest:files` lists the "
    "keys. May be repeated.",
)
@click.option("--force", is_flag=True, help="Write over a headrace.toml that is there already.")
@json_option
def init(
    *,
    directory: Path,
    data: str,
    target: str,
    task: Any,
    name: str | None,
    time_column: str | None,
    overrides: tuple[str, ...],
    force: bool,
    as_json: bool,
) -> None:
    """Look at a data file and write a headrace.toml that fits it, with the reasons as comments.

    `headrace run` in DIR then works without an edit. Also written is expectations.toml: what must be true of the data,
    as far as this data says.
    """
    from headrace.scaffold.project import init_project

    done = init_project(
        directory,
        data=data,
        target=target,
        task=task,
        name=name,
        time_column=time_column,
        overrides=overrides,
        force=force,
    )
    if as_json:
        echo_json(_document(done))
        return
    seen = done.sketch
    target_words = f"{seen.target} ({seen.task}" + (f", {seen.classes} classes)" if seen.classes else ")")
    facts = {
        "data": f"{seen.rows:,} rows, {len(seen.types):,} columns",
        "target": target_words + (f", missing in {seen.unlabelled:,} rows" if seen.unlabelled else ""),
        "split": f"{seen.division.use}: {seen.division.why}",
        "not features": ", ".join(seen.id_columns[:10]) + (", ..." if len(seen.id_columns) > 10 else "") or None,
    }
    echo_pairs({key: value for key, value in facts.items() if value})
    for path in done.files:
        click.echo(f"wrote {click.format_filename(path)}")
    click.echo(f"\nnext: headrace run --project {click.format_filename(done.directory)}")


def _document(done: Scaffolded) -> dict[str, Any]:
    seen = done.sketch
    return {
        "name": done.name,
        "directory": str(done.directory),
        "files": [str(path) for path in done.files],
        "rows": seen.rows,
        "columns": len(seen.types),
        "unlabelled": seen.unlabelled,
        "target": seen.target,
        "task": seen.task,
        "classes": seen.classes,
        "time_column": seen.time_column,
        "id_columns": list(seen.id_columns),
        "split": {"use": seen.division.use, "column": seen.division.column, "why": seen.division.why},
    }
