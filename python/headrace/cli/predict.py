"""`headrace predict`."""

from __future__ import annotations

from pathlib import Path

import click

from headrace.cli.command import Command
from headrace.cli.options import json_option, project_option
from headrace.cli.output import echo_json


@click.command(
    cls=Command,
    examples=[
        "headrace predict flights@champion new.parquet",
        "headrace predict flights@3 new.csv -o predictions.parquet --columns date,carrier,flight",
        "cat new.ndjson | headrace predict flights - --format ndjson",
    ],
    keys={
        "model, version": "which version predicted",
        "rows": "how many rows",
        "columns": "the columns that were written",
        "path": "where to",
    },
)
@click.argument("ref", metavar="REF")
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path, allow_dash=True))
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where to write: .parquet, .csv, .ndjson or .arrow, by the extension.  [default: CSV on stdout]",
)
@click.option("--columns", metavar="NAME,...", help="Columns of FILE to write before the predictions; * for all.")
@click.option(
    "--format",
    "stated",
    type=click.Choice(["parquet", "csv", "ndjson", "ipc"]),
    help="What FILE is.  [default: by its first bytes; text by its extension]",
)
@project_option
@json_option
def predict(
    *,
    ref: str,
    file: Path,
    output: Path | None,
    columns: str | None,
    stated: str | None,
    project_dir: str,
    env: str | None,
    as_json: bool,
) -> None:
    """Predict the rows of FILE with a registered model, in their order.

    REF is MODEL@ALIAS, MODEL@NUMBER, or MODEL for its champion. Classification gives the column `prediction` and one
    `probability_<class>` for each class; regression gives `prediction`. FILE is Parquet, Arrow IPC, CSV or NDJSON, read
    as the project reads its own; `-` is stdin. What the model does not need is ignored.
    """
    from headrace.project import Project
    from headrace.project.scoring import STDIN, carried, predict_file, stdin_as_file, write_frame

    if as_json and output is None:
        raise click.UsageError("--json needs -o: without it, the predictions themselves go to stdout")
    if output is not None and output.exists() and file.exists() and output.samefile(file):
        raise click.UsageError(f"-o names {click.format_filename(file)} itself, whose rows would be lost")
    keep = carried(columns)
    with Project(project_dir, env=env) as project:
        if str(file) == "-":
            with stdin_as_file(stated) as path:
                found = predict_file(project, ref, path, stated=stated, keep=keep, shown=STDIN)
        else:
            found = predict_file(project, ref, file, stated=stated, keep=keep)
    if output is None:
        write_frame(found.frame, None)
    else:
        write_frame(found.frame, output)
        document = {
            "model": found.version.name,
            "version": found.version.number,
            "rows": found.frame.height,
            "columns": found.frame.columns,
            "path": str(output),
        }
        if as_json:
            echo_json(document)
        else:
            what = f"{found.version.name}@{found.version.number}"
            click.echo(f"{what}: {found.frame.height:,} rows -> {click.format_filename(output)}", err=True)
