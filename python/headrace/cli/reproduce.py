"""`headrace reproduce`."""

from __future__ import annotations

import click

from headrace.cli.command import Command
from headrace.cli.options import json_option, project_option
from headrace.cli.output import Column, echo_json, echo_table, number
from headrace.cli.progress import watcher
from headrace.errors import printable

_COLORS = {
    "identical": "green",
    "within tolerance": "green",
    "different": "red",
    "failed": "red",
    "not repeated": "blue",
}


@click.command(
    cls=Command,
    examples=["headrace reproduce flights@champion", "headrace reproduce flights@3 --tolerance 0 --json"],
    keys={
        "ref, run, tolerance": "what was repeated, and the largest difference of numbers that counts as equal",
        "equal": "whether every stage that was repeated gave the same, within the tolerance",
        "stages": "entries: stage, verdict (identical, within tolerance, different, failed, not repeated), "
        "detail, largest",
        "changed": "what is not as it was then: code, versions of distributions, Python",
    },
)
@click.argument("ref", metavar="VERSION")
@click.option(
    "--tolerance", type=click.FloatRange(min=0), default=1e-6, show_default=True, help="Largest absolute difference."
)
@click.option("--quiet", "-q", is_flag=True, help="Say nothing on stderr while it works.")
@project_option
@json_option
def reproduce(*, ref: str, tolerance: float, quiet: bool, project_dir: str, env: str | None, as_json: bool) -> None:
    """Execute again, from the recorded inputs, what made a model version, and say whether the result is equal.

    Exits with 3 if it is not. The cache is not asked, and nothing is recorded or registered.
    """
    from headrace.errors import StageError
    from headrace.project import Project

    with Project(project_dir, env=env) as project, watcher(quiet=quiet) as listener:
        done = project.reproduce(ref, tolerance=tolerance, listener=listener)
    if as_json:
        echo_json(
            {
                "ref": done.ref,
                "run": done.run_id,
                "tolerance": done.tolerance,
                "equal": done.equal,
                "stages": [
                    {"stage": s.stage, "verdict": s.verdict, "detail": s.detail, "largest": s.largest}
                    for s in done.stages
                ],
                "changed": list(done.changed),
            }
        )
    else:
        columns = [
            Column("stage"),
            Column("verdict", colors=_COLORS),
            Column("largest difference", "right"),
            Column("detail"),
        ]
        echo_table(columns, [(s.stage, s.verdict, number(s.largest), s.detail) for s in done.stages])
        if done.changed:
            click.echo("\nnot as it was then:")
            for text in done.changed:
                click.echo(f"  {printable(text)}")
        verdict = click.style("equal", fg="green") if done.equal else click.style("not equal", fg="red")
        click.echo(f"\n{done.ref}, made by run {done.run_id}: {verdict} (tolerance {done.tolerance:g})")
    if not done.equal:
        unequal = [s.stage for s in done.stages if s.verdict in ("different", "failed")]
        raise StageError(f"{done.ref} was not reproduced: {', '.join(unequal)} gave something else")
