"""`headrace run`, `plan` and `explain`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from headrace.cli import failure
from headrace.cli.command import Command, Settings
from headrace.cli.documents import RESULT_KEYS, RUN_KEYS, result_document, run_document
from headrace.cli.options import json_option, project_option
from headrace.cli.output import Column, echo_json, echo_pairs, echo_table, interval, measure, seconds, short
from headrace.cli.progress import OUTCOME_COLORS, watcher
from headrace.errors import printable

if TYPE_CHECKING:
    from headrace.errors import StageError
    from headrace.project import Project, Run
    from headrace.types import StageRecord


@click.command(
    cls=Command,
    examples=[
        "headrace run",
        "headrace run --project flights --env prod --set train.num_leaves=63",
        "headrace run --force train --json > run.json",
        "headrace run --report report.html --fail-on-gate",
    ],
    keys={**RUN_KEYS, **RESULT_KEYS},
)
@project_option
@click.option(
    "--set",
    "overrides",
    metavar="STAGE.KEY=VALUE",
    multiple=True,
    help="Override one key of the spec; the value as in TOML, a bare word as a string. May be repeated.",
)
@click.option("--force", metavar="STAGE", multiple=True, help="Execute this stage in any case. May be repeated.")
@click.option("--jobs", type=click.IntRange(min=1), help="How many stages run at once.  [default: the processors]")
@click.option("--trigger", metavar="TEXT", default="manual", show_default=True, help="What started this run; recorded.")
@click.option("--report", "report_path", metavar="FILE", type=click.Path(), help="Write the HTML report here as well.")
@click.option("--fail-on-gate", is_flag=True, help="Exit with 4 if the gate refuses the model.")
@click.option("--quiet", "-q", is_flag=True, help="Say nothing on stderr while it works.")
@json_option
def run(
    *,
    project_dir: str,
    env: str | None,
    overrides: tuple[str, ...],
    force: tuple[str, ...],
    jobs: int | None,
    trigger: str,
    report_path: str | None,
    fail_on_gate: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Run the pipeline of a project.

    What is known is taken from the cache, what is missing is executed, everything is recorded. A run that was
    interrupted goes on at the last stage that had ended.
    """
    from headrace.cli.interrupt import interruptible
    from headrace.project import Project

    with Project(project_dir, env=env, overrides=overrides) as project:
        with interruptible() as asked, watcher(quiet=quiet) as listener:
            done = project.run(force=force, trigger=trigger, jobs=jobs, listener=listener, cancelled=asked)
        document = run_document(done.info) | result_document(project, done.info)
        if report_path is not None:
            _write_report(project, document, report_path)
        if as_json:
            echo_json(document)
        else:
            print_run(document, report_path)
        _raise_failures(project, done)
        if fail_on_gate and document["gate"] is not None and not document["gate"]["passed"]:
            reasons = [c["message"] for c in document["gate"]["checks"] if not c["passed"]]
            raise failure.GateRefusedError(f"the gate refused the model: {'; '.join(map(str, reasons))}")


def _write_report(project: Project, document: dict[str, Any], path: str) -> None:
    from headrace.cli.report import write_report

    if document["report"] is not None:
        write_report(project, document["report"], path)
    elif document["status"] == "succeeded":
        raise click.UsageError('--report: this pipeline has no report stage; add [report] with use = "html"')


def print_run(document: dict[str, Any], report_path: str | None = None) -> None:
    """A run and what it came to, for people."""
    status = click.style(document["status"], fg=OUTCOME_COLORS.get(document["status"]), bold=True)
    click.echo(f"run {document['id']} of {document['project']}: {status} in {seconds(document['seconds'])} s\n")
    print_stages(document["stages"])
    if document["evaluation"] is not None:
        click.echo()
        _print_metrics(document["evaluation"])
    facts: list[tuple[str, str]] = []
    if document["gate"] is not None:
        facts.append(("gate", _verdict(document["gate"])))
    if document["version"] is not None:
        version = document["version"]
        names = ", ".join(version["aliases"])
        facts.append(("model", f"{version['name']}@{version['number']}" + (f" ({names})" if names else "")))
    if document["report"] is not None:
        facts.append(("report", report_path or "headrace report -o report.html"))
    if facts:
        click.echo()
        echo_pairs(facts)


def print_stages(stages: list[dict[str, Any]]) -> None:
    """The table of stages."""
    columns = [
        Column("stage"),
        Column("implementation"),
        Column("outcome", colors=OUTCOME_COLORS),
        Column("seconds", "right"),
        Column("why"),
    ]
    rows = [(s["name"], implementation(s), s["outcome"], seconds(s["seconds"]), s["why"]) for s in stages]
    echo_table(columns, rows)


def implementation(stage: dict[str, Any]) -> str:
    """`KIND:NAME`, or `MODULE:CLASS` of the project's own code."""
    return stage["use"] if ":" in stage["use"] else f"{stage['kind']}:{stage['use']}"


def _print_metrics(evaluation: dict[str, Any]) -> None:
    level = f"{evaluation['level']:.0%} interval"
    columns = [Column("metric"), Column("value", "right"), Column(level), Column("baseline", "right"), Column("better")]
    rows = []
    names = sorted(evaluation["metrics"], key=lambda name: (name != evaluation["primary"], name))
    for name in names:
        metric = evaluation["metrics"][name]
        base = evaluation["baseline"].get(name, {}).get("value")
        shown = f"{name} (primary)" if name == evaluation["primary"] else name
        rows.append((shown, measure(metric["value"]), interval(metric), measure(base), metric.get("better")))
    click.echo(f"on {evaluation['rows']:,} rows that the model has not seen:")
    echo_table(columns, rows)


def _verdict(gate: dict[str, Any]) -> str:
    against = f"against version {gate['champion']}" if gate["champion"] is not None else "there was no champion"
    if gate["passed"]:
        return f"passed ({against})"
    reasons = "; ".join(str(check["message"]) for check in gate["checks"] if not check["passed"])
    return f"refused ({against}): {reasons}"


def _raise_failures(project: Project, done: Run) -> None:
    """Say on stderr which stages failed, the last of them as the error of the command."""
    if done.succeeded:
        return
    from headrace.errors import StageError

    failed = [record for record in done.info.stages if record.outcome == "failed"]
    if click.get_current_context().ensure_object(Settings).traceback:
        log = project.explain(done.id).log
        for text in (text for record in failed for text in log.get(record.stage.name, ())):
            if text.startswith("Traceback"):
                click.echo(printable(text), err=True)
    errors = [_stage_error(done, record) for record in failed]
    for error in errors[:-1]:
        failure.say(error.message, place=error.place, hint=error.hint)
    raise errors[-1] if errors else StageError(f"run {done.id} is {done.info.status}")


def _stage_error(done: Run, record: StageRecord) -> StageError:
    """The recorded error of a stage, taken apart again into message and hint."""
    from headrace.errors import StageError

    place = f"stage {record.stage.name}"
    text = (record.error or "failed").removeprefix(f"{place}: ")
    message, separated, hint = text.rpartition("\n  ")
    if not separated or hint.startswith("- "):
        message, hint = text, f"`headrace explain {done.id}` shows its log, with the traceback."
    return StageError(message, place=place, hint=hint)


@click.command(
    cls=Command,
    examples=["headrace plan", "headrace plan --set train.num_leaves=63", "headrace plan --json"],
    keys={
        "project": "name of the project",
        "stages": "one entry a stage: name, kind, use, will (execute, cached, depends), why, key, needs",
    },
)
@project_option
@click.option("--set", "overrides", metavar="STAGE.KEY=VALUE", multiple=True, help="As for `headrace run`.")
@click.option("--force", metavar="STAGE", multiple=True, help="As for `headrace run`.")
@json_option
def plan(project_dir: str, env: str | None, overrides: tuple[str, ...], force: tuple[str, ...], as_json: bool) -> None:
    """Show what a run would execute, and why, without running it.

    A stage behind one that will be executed can be judged only when that one has ended: if what it gives is equal to
    what it gave before, the rest is still taken from the cache.
    """
    from headrace.project import Project

    with Project(project_dir, env=env, overrides=overrides) as project:
        steps = project.plan(force=force)
        document: dict[str, Any] = {
            "project": project.spec.name,
            "stages": [
                {
                    "name": step.stage.name,
                    "kind": step.stage.kind,
                    "use": step.stage.use,
                    "will": step.will,
                    "why": step.why,
                    "key": step.key,
                    "needs": sorted(step.needs),
                }
                for step in steps
            ],
        }
        if as_json:
            echo_json(document)
            return
        columns = [
            Column("stage"),
            Column("implementation"),
            Column("will be", colors={"executed": "green", "cached": "blue"}),
            Column("key"),
            Column("why"),
        ]
        words = {"execute": "executed", "cached": "cached", "depends": "seen later"}
        echo_table(
            columns,
            [(s["name"], implementation(s), words[s["will"]], short(s["key"]), s["why"]) for s in document["stages"]],
        )


@click.command(
    cls=Command,
    examples=["headrace explain", "headrace explain 01j8 --json"],
    keys={
        "id, project, status": "which run",
        "before": "id of the run that it is compared with; null for the first",
        "stages": "one entry a stage: name, outcome, why, key, changes (all that changed since the run before), log",
    },
)
@click.argument("run_id", metavar="[RUN]", default="latest")
@project_option
@json_option
def explain(run_id: str, project_dir: str, env: str | None, as_json: bool) -> None:
    """Say for each stage of a run (default: the latest) why it was executed or taken from the cache."""
    from headrace.project import Project

    with Project(project_dir, env=env) as project:
        explained = project.explain(run_id)
        info = explained.info
        document = {
            "id": info.id,
            "project": info.project,
            "status": info.status,
            "before": explained.before,
            "stages": [
                {
                    "name": record.stage.name,
                    "outcome": record.outcome,
                    "why": record.why,
                    "key": record.key,
                    "changes": list(explained.changes[record.stage.name]),
                    "error": record.error,
                    "log": list(explained.log.get(record.stage.name, ())),
                }
                for record in info.stages
            ],
        }
        if as_json:
            echo_json(document)
        else:
            _print_explanation(document)


def _print_explanation(document: dict[str, Any]) -> None:
    before = f", compared with run {document['before']}" if document["before"] else ""
    click.echo(f"run {document['id']} of {document['project']}: {document['status']}{before}")
    for stage in document["stages"]:
        outcome = click.style(stage["outcome"], fg=OUTCOME_COLORS.get(stage["outcome"]))
        click.echo(f"\n{click.style(stage['name'], bold=True)}  {outcome}: {printable(stage['why'])}")
        if stage["key"]:
            click.echo(f"  key {short(stage['key'])}")
        if len(stage["changes"]) > 1:
            for change in stage["changes"]:
                click.echo(f"  - {printable(change)}")
        if stage["error"]:
            click.echo(f"  {printable(stage['error'])}")
        for line in stage["log"]:
            click.echo(click.style(f"  | {printable(line)}", dim=True))
