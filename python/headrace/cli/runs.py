"""`headrace runs list | show | compare`."""

from __future__ import annotations

from typing import Any

import click

from headrace.cli.command import Group
from headrace.cli.documents import RESULT_KEYS, RUN_KEYS, result_document, run_document
from headrace.cli.options import json_option, project_option
from headrace.cli.output import Column, echo_json, echo_pairs, echo_table, moment, number, one_line, seconds, short
from headrace.cli.progress import OUTCOME_COLORS
from headrace.errors import printable


@click.group(cls=Group, examples=["headrace runs list", "headrace runs show", "headrace runs compare 01j8 01j9"])
def runs() -> None:
    """List, show and compare runs.

    A run is named by its id, by an unambiguous beginning of it, or by `latest`.
    """


@runs.command(
    "list",
    examples=["headrace runs list --limit 5", "headrace runs list --json"],
    keys={"runs": "newest first; each: id, project, status, trigger, started, ended, seconds, stages (counts)"},
)
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="At most this many.")
@project_option
@json_option
def list_(limit: int, project_dir: str, env: str | None, as_json: bool) -> None:
    """List the latest runs, newest first."""
    from headrace.project import Project

    with Project(project_dir, env=env) as project:
        found = project.runs(limit)
    documents = [run_document(info) for info in found]
    for document in documents:
        outcomes = [stage["outcome"] for stage in document["stages"]]
        document["stages"] = {outcome: outcomes.count(outcome) for outcome in dict.fromkeys(outcomes)}
    if as_json:
        echo_json({"runs": documents})
        return
    if not documents:
        click.echo("no runs yet; `headrace run` makes one")
        return
    columns = [
        Column("run"),
        Column("status", colors=OUTCOME_COLORS),
        Column("started"),
        Column("seconds", "right"),
        Column("trigger"),
        Column("stages"),
    ]
    echo_table(
        columns,
        [
            (
                d["id"],
                d["status"],
                moment(info.started),
                "-" if d["seconds"] is None else seconds(d["seconds"]),
                d["trigger"],
                ", ".join(f"{count} {outcome}" for outcome, count in d["stages"].items()) or "-",
            )
            for d, info in zip(documents, found, strict=True)
        ],
    )


@runs.command(
    short_help="Show a run and where it came from.",
    examples=["headrace runs show", "headrace runs show 01j8 --json"],
    keys={**RUN_KEYS, **RESULT_KEYS, "provenance": "git commit and diff, Python, platform, who, distributions"},
)
@click.argument("run_id", metavar="[RUN]", default="latest")
@project_option
@json_option
def show(*, run_id: str, project_dir: str, env: str | None, as_json: bool) -> None:
    """Show a run (default: the latest): stages, metrics, artifacts, where it came from."""
    from headrace.cli.run import print_run
    from headrace.project import Project

    with Project(project_dir, env=env) as project:
        info = project.get_run(run_id).info
        document = run_document(info) | result_document(project, info) | {"provenance": dict(info.provenance)}
    if as_json:
        echo_json(document)
        return
    print_run(document)
    _print_recorded(document)
    click.echo()
    echo_pairs(_origin(document["provenance"]) | {"started": moment(info.started), "trigger": info.trigger})


def _print_recorded(document: dict[str, Any]) -> None:
    outputs = [
        (f"{stage['name']}.{name}", ref["type"], short(ref["digest"]))
        for stage in document["stages"]
        for name, ref in stage["outputs"].items()
    ]
    metrics = [
        (stage["name"], name, number(value))
        for stage in document["stages"]
        for name, value in stage["metrics"].items()
        if "@" not in name
    ]
    if metrics:
        click.echo()
        echo_table([Column("stage"), Column("recorded"), Column("value", "right")], metrics)
    if outputs:
        click.echo()
        echo_table([Column("artifact"), Column("type"), Column("digest")], outputs)
    for stage in document["stages"]:
        if stage["error"]:
            click.echo(f"\n{click.style(stage['name'], fg='red')}: {printable(stage['error'])}")


def _origin(provenance: dict[str, Any]) -> dict[str, Any]:
    git = provenance.get("git") or {}
    commit = git.get("commit")
    dirty = " with uncommitted changes" if git.get("dirty") else ""
    found = {"code": f"{commit}{dirty}" if commit else "not in a git repository"}
    for name in ("python", "platform", "who"):
        if provenance.get(name):
            found[name] = provenance[name]
    return found


@runs.command(
    short_help="Show what differs between two runs.",
    examples=["headrace runs compare 01j8 01j9", "headrace runs compare 01j8 latest --all"],
    keys={
        "left, right": "ids of the runs",
        "differences": "entries: section (params, metrics, data, code, distributions, environment), name, left, "
        "right, same",
    },
)
@click.argument("left")
@click.argument("right", default="latest", metavar="[RIGHT]")
@click.option("--all", "everything", is_flag=True, help="Show what is equal as well.")
@project_option
@json_option
def compare(*, left: str, right: str, everything: bool, project_dir: str, env: str | None, as_json: bool) -> None:
    """Compare two runs (the second by default the latest): params, metrics, data, code, distributions."""
    from headrace.project import Project

    with Project(project_dir, env=env) as project:
        one, other = project.get_run(left), project.get_run(right)
        rows = [row for row in project.compare(one.id, other.id) if everything or not row.same]
    if as_json:
        entries = [
            {"section": r.section, "name": r.name, "left": r.left, "right": r.right, "same": r.same} for r in rows
        ]
        echo_json({"left": one.id, "right": other.id, "differences": entries})
        return
    if not rows:
        click.echo(f"runs {one.id} and {other.id} do not differ in params, metrics, data, code or environment")
        return
    for section in dict.fromkeys(row.section for row in rows):
        columns = [Column(section), Column(one.id), Column(other.id), Column("change", "right")]
        echo_table(
            columns,
            [
                (row.name, _value(row.left), _value(row.right), _change(row.left, row.right))
                for row in rows
                if row.section == section
            ],
        )
        click.echo()


def _value(value: Any) -> str:
    text = one_line(value)
    return short(text) if len(text) == 64 and set(text) <= set("0123456789abcdef") else text


def _change(left: Any, right: Any) -> str:
    if any(isinstance(v, bool) or not isinstance(v, int | float) for v in (left, right)) or left == right:
        return ""
    return f"{right - left:+.4g}"
