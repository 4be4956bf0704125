"""`headrace rehearse`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from headrace.cli.command import Command
from headrace.cli.failure import RehearsalError
from headrace.cli.options import json_option, project_option
from headrace.cli.output import Column, echo_json, echo_table, number

if TYPE_CHECKING:
    from headrace.store.loops import LogEntry


@click.command(
    cls=Command,
    examples=[
        "headrace rehearse",
        "headrace rehearse --set rehearse.stream=sea --set rehearse.seed=3 --json",
    ],
    keys={
        "ok, problems": "whether [rehearse.expect] was met, and what was not",
        "alarms": "how often a trigger asked for a run",
        "trainings, promotions, rollbacks": "how many after the first model",
        "always_trainings": "how many the policy that always trains needed",
        "trained_rows": "rows that each of the policies trained on after the first model",
        "unanswered": "rows that came while the server was down",
        "metric, loss, loss_of_last_quarter": "the mean over the steps: of what served, of never, of always training",
        "steps": "day, ours, never, always: the loss in each step",
        "timeline": "what the loop did: day, kind, what",
    },
)
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Set a key, as rehearse.days=90.")
@project_option
@json_option
def rehearse(*, overrides: tuple[str, ...], project_dir: str, env: str | None, as_json: bool) -> None:
    """Play the loop through a made-up world on a simulated clock, and say what it did and what it cost.

    The table [rehearse] of headrace.toml says which world, and what goes wrong in it. Nothing of the project is
    changed. Exits with 7 if [rehearse.expect] is not met.
    """
    from headrace.loop.rehearsal.streams import START
    from headrace.loop.report import sentence
    from headrace.project import Project
    from headrace.project.rehearsing import rehearse as play

    def day(entry: LogEntry) -> int:
        return round((entry.at - START.timestamp()) / 86_400)

    def told(entry: LogEntry) -> None:
        if not as_json and entry.kind not in ("held", "promoting", "rolling back"):
            click.echo(f"day {day(entry):>4}  {entry.kind:<12}  {sentence(entry)}")

    with Project(project_dir, env=env, overrides=overrides) as project:
        found = play(project, told=told)
    document: dict[str, Any] = found.document()
    if as_json:
        timeline = [{"day": day(entry), "kind": entry.kind, "what": sentence(entry)} for entry in found.entries]
        echo_json(document | {"timeline": timeline})
    else:
        _print(document)
    if found.problems:
        raise RehearsalError("; ".join(found.problems), place="[rehearse.expect]")


def _print(document: dict[str, Any]) -> None:
    click.echo()
    columns = [Column("policy"), Column("trainings", "right"), Column("rows", "right")]
    columns.append(Column(document["metric"] or "loss", "right"))
    columns.append(Column("last quarter", "right"))
    trainings = {"ours": document["trainings"], "never": 0, "always": document["always_trainings"]}
    rows = [
        (
            name,
            trainings[name],
            f"{document['trained_rows'][name]:,}",
            number(loss),
            number(document["loss_of_last_quarter"][name]),
        )
        for name, loss in document["loss"].items()
    ]
    echo_table(columns, rows)
    click.echo(
        f"{document['alarms']} alarms, {document['promotions']} promotions, {document['rollbacks']} roll backs"
        + (f", {document['unanswered']:,} rows without an answer" if document["unanswered"] else "")
    )
