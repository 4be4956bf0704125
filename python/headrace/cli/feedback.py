"""`headrace feedback`."""

from __future__ import annotations

from pathlib import Path

import click

from headrace.cli.command import Command
from headrace.cli.options import json_option, project_option
from headrace.cli.output import Column, echo_json, echo_table, number


@click.command(
    cls=Command,
    examples=[
        "headrace feedback labels.csv",
        "headrace feedback sales.parquet --id order --label returned --time settled_at",
        "headrace feedback --summary --period week",
    ],
    keys={
        "labels": "how many labels the file gave; null if the very same file was read before",
        "empty": "rows of it that have no label yet",
        "unknown, unknown_ids": "labels for rows that are not in the log, which are kept as well; up to 20 ids of them",
        "periods": "with --summary: model, version, start, rows, labelled, and metrics by name",
    },
)
@click.argument("file", metavar="[FILE]", required=False, type=click.Path(path_type=Path))
@click.option("--id", "identity", default="request_id", show_default=True, metavar="COLUMN", help="The request's id.")
@click.option("--label", default="label", show_default=True, metavar="COLUMN", help="What turned out to be true.")
@click.option("--row", metavar="COLUMN", help="The row of the request.  [default: 0, or what stands behind ID/]")
@click.option("--time", metavar="COLUMN", help="When the label became known.  [default: when FILE is read]")
@click.option("--summary", is_flag=True, help="Print metrics over time by version, of what has a label.")
@click.option(
    "--period",
    type=click.Choice(["hour", "day", "week", "month"]),
    default="day",
    show_default=True,
    help="What --summary cuts time into.",
)
@click.option("--log-dir", type=click.Path(file_okay=False, path_type=Path), help="Where `headrace serve` logged.")
@project_option
@json_option
def feedback(
    *,
    file: Path | None,
    identity: str,
    label: str,
    row: str | None,
    time: str | None,
    summary: bool,
    period: str,
    log_dir: Path | None,
    project_dir: str,
    env: str | None,
    as_json: bool,
) -> None:
    """Take labels for rows that were predicted, by the id that the server gave back in `headrace-request-id`.

    FILE is Parquet, Arrow IPC, CSV or NDJSON with an id and a label a row. Labels may be late, partial, corrected or
    delivered twice: of several for one row the last one counts, by --time or else by their order.
    """
    from headrace.project import Project
    from headrace.project.feedback import as_document, take_file
    from headrace.project.feedback import summary as summed
    from headrace.serving.labels import Columns, told_unknown

    if file is None and not summary:
        raise click.UsageError("give a FILE of labels, --summary, or both")
    document: dict[str, object] = {}
    with Project(project_dir, env=env) as project:
        if file is not None:
            told = take_file(project, file, Columns(identity, label, row, time), log=log_dir)
            unknown = told_unknown(told.unknown)
            document |= {"labels": told.labels, "empty": told.empty, **unknown}
            if not as_json:
                what = "read before: nothing new" if told.labels is None else f"{told.labels:,} labels"
                click.echo(f"{click.format_filename(file)}: {what}", err=True)
                if told.unknown:
                    some = ", ".join(map(repr, unknown["unknown_ids"][:3]))
                    click.echo(f"{len(told.unknown):,} of them are for rows that are not in the log: {some}", err=True)
        if summary:
            found = summed(project, log=log_dir, period=period)  # type: ignore[arg-type]  # one of the choices
            document |= as_document(found)
            if strangers := sorted({f"{one.model}@{one.version}" for one in found if one.labelled and not one.metrics}):
                click.echo(f"not in the registry, so without metrics: {', '.join(strangers)}", err=True)
            if not as_json:
                names = list(dict.fromkeys(name for one in found for name in one.metrics))[:4]
                heads = [Column("version"), Column("from"), Column("rows", "right"), Column("labelled", "right")]
                rows = [
                    [
                        f"{one.model}@{one.version}",
                        f"{one.start:%Y-%m-%d %H:%M}",
                        f"{one.rows:,}",
                        f"{one.labelled:,}",
                        *(number(one.metrics.get(name)) for name in names),
                    ]
                    for one in found
                ]
                echo_table([*heads, *(Column(name, "right") for name in names)], rows)
    if as_json:
        echo_json(document)
