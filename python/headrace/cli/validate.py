"""`headrace validate`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from headrace.cli.command import Command
from headrace.cli.options import json_option, project_option
from headrace.cli.output import Column, echo_json, echo_table

if TYPE_CHECKING:
    from headrace.types import ValidationReport

_POLICIES = {"fail": "red", "warn": "yellow", "quarantine": "yellow"}


@click.command(
    cls=Command,
    examples=[
        "headrace validate",
        "headrace validate new.parquet",
        "headrace validate --suggest customers.csv -o expectations.toml",
    ],
    keys={
        "rows, expectations": "how much was checked",
        "quarantined_rows": "rows that would be kept apart",
        "findings": "entries: expectation, column, policy, failed_rows, examples (row numbers from 0), message",
    },
)
@click.argument("data", metavar="[DATA]", required=False, type=click.Path(path_type=Path))
@click.option("--suggest", is_flag=True, help="Write expectations that DATA meets, to be edited, instead of checking.")
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="With --suggest: where to.  [default: stdout]",
)
@click.option("--force", is_flag=True, help="With --suggest: write over a file that is there already.")
@project_option
@json_option
def validate(
    *,
    data: Path | None,
    suggest: bool,
    output: Path | None,
    force: bool,
    project_dir: str,
    env: str | None,
    as_json: bool,
) -> None:
    """Check data against the project's expectations, or suggest some.

    DATA is a Parquet, Arrow IPC, CSV or NDJSON file; without it, the project's own data is taken. Exits with 3 if the
    data must not pass. With --suggest and DATA, no project is needed.
    """
    if suggest:
        if as_json:
            raise click.UsageError("--suggest writes TOML; it does not go with --json")
        _suggest(data, output, force=force, project_dir=project_dir, env=env)
        return
    if output is not None or force:
        raise click.UsageError("-o and --force go with --suggest")
    from headrace.project import Project
    from headrace.project.checking import validate as check

    with Project(project_dir, env=env) as project:
        report = check(project, data)
    if as_json:
        echo_json(
            {
                "rows": report.rows,
                "expectations": report.expectations,
                "quarantined_rows": report.quarantined_rows,
                "findings": [dict(finding) for finding in report.findings],
            }
        )
    else:
        _print_report(report)


def _print_report(report: ValidationReport) -> None:
    click.echo(f"{report.rows:,} rows, {report.expectations:,} expectations")
    if not report.findings:
        click.echo(click.style("all of them hold", fg="green"))
        return
    columns = [
        Column("policy", colors=_POLICIES),
        Column("expectation"),
        Column("column"),
        Column("rows", "right"),
        Column("examples"),
        Column("message"),
    ]
    rows: list[list[Any]] = []
    for finding in report.findings:
        examples: Any = finding.get("examples") or ()
        rows.append(
            [
                finding.get("policy"),
                finding.get("expectation"),
                finding.get("column"),
                finding.get("failed_rows"),
                ", ".join(map(str, examples[:5])) or "-",
                finding.get("message"),
            ]
        )
    echo_table(columns, rows)
    if report.quarantined_rows:
        click.echo(f"{report.quarantined_rows:,} rows would be kept apart")


def _suggest(data: Path | None, output: Path | None, *, force: bool, project_dir: str, env: str | None) -> None:
    from headrace.errors import SpecError
    from headrace.scaffold.expectations import suggest_for_file, suggest_for_project

    if output is not None and output.exists() and not force:
        raise SpecError(
            "it is there already", place=str(output), hint="Write over it with --force, or name another file."
        )
    if data is not None:
        text = suggest_for_file(data)
    else:
        from headrace.project import Project

        with Project(project_dir, env=env) as project:
            text = suggest_for_project(project)
    if output is None:
        sys.stdout.write(text)
        return
    from headrace.project.writing import write_whole

    write_whole(output, text.encode())
    click.echo(f"wrote {click.format_filename(output)}", err=True)
