"""`headrace status`, `headrace timeline`, `headrace audit verify`."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import click

from headrace.cli.command import Command, Group
from headrace.cli.documents import move_document
from headrace.cli.options import json_option, project_option
from headrace.cli.output import Column, echo_json, echo_pairs, echo_table, iso, measure, moment
from headrace.errors import StoreError, printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.project.history import History
    from headrace.store.loops import LogEntry


@click.command(
    cls=Command,
    examples=["headrace status", "headrace status --json"],
    keys={
        "project, model, champion, champion_since": "what serves, and since when",
        "doing, cycle, working_on": "what the loop is about, in which cycle, on which host (null: no process runs)",
        "paused, asked_for, held, problems": "what keeps it, what persons asked for, what it cannot tell",
        "incidents": "what went wrong and is not over: seq, what, said, since, until, closed_by",
        "quality, quality_unknown": "the champion's metric in the last week with labels, all rows and the worst slice",
        "server": "url, ok, why: whether the server of `[loop] server` answers with the champion; null: none is named",
        "notifiers": "who is told: name, use, waiting, again_at, given_up, last_error",
        "budget, budget_left, cooldown_until": "what it may still do",
        "clock_behind": "by how many seconds the clock is behind the log; null: it is not",
        "triggers, entries, last": "what it is asked by, how long the log is, and its last entries",
    },
)
@project_option
@json_option
def status(*, project_dir: str, env: str | None, as_json: bool) -> None:
    """Show on one screen what the loop does, what keeps it, and what it did last."""
    from headrace.project import Project
    from headrace.project.looping import status_document

    with Project(project_dir, env=env) as project:
        found = status_document(project)
    if as_json:
        for key in ("champion_since", "cooldown_until"):
            found[key] = iso(found[key])
        found["last"] = [_for_machines(entry) for entry in found["last"]]
        found["incidents"] = [_incident(one) for one in found["incidents"]]
        found["notifiers"] = [{**one, "again_at": iso(one["again_at"])} for one in found["notifiers"]]
        echo_json(found)
        return
    champion = f"version {found['champion']} since {moment(found['champion_since'])}" if found["champion"] else "none"
    held = found["held"]
    pairs: list[tuple[str, Any]] = [
        ("model", found["model"]),
        ("champion", champion),
        (
            "the loop",
            found["doing"] + (f" on {found['working_on']}" if found["working_on"] else "; no process runs it"),
        ),
        ("paused", found["paused"] and f"yes: {found['paused']}"),
        ("held", held and held["why"]),
        ("asked for", "; ".join(reason or "by hand" for reason in found["asked_for"]) or None),
        ("quality", _quality(found)),
        ("server", found["server"] and _server(found["server"])),
        ("runs left", f"{found['budget_left']} of {found['budget']} within seven days"),
        ("cooldown", found["cooldown_until"] and f"until {moment(found['cooldown_until'])}"),
        ("clock", found["clock_behind"] and f"{found['clock_behind']:.0f} s behind the log: was it set back?"),
        ("triggers", ", ".join(found["triggers"]) or "none"),
        ("tells", ", ".join(_notifier(one) for one in found["notifiers"]) or None),
        ("incidents", None if found["incidents"] else "none open"),
    ]
    echo_pairs([(name, value) for name, value in pairs if value])
    if found["incidents"]:
        click.echo()
        open_ = [(moment(one["since"]), one["what"], one["said"]) for one in found["incidents"]]
        echo_table([Column("open since"), Column("incident"), Column("what is wrong")], open_)
    if found["last"]:
        click.echo()
        rows = [(moment(entry["at"]), entry["kind"], entry["what"]) for entry in found["last"]]
        echo_table([Column("when"), Column("what"), Column("why")], rows)


@click.command(
    cls=Command,
    examples=[
        "headrace timeline",
        "headrace timeline --since 2026-11-01 --json",
        "headrace timeline --html timeline.html",
    ],
    keys={
        "entries": "each: seq, at, kind, who, what, body (the evidence), hash; oldest first",
        "incidents": "what went wrong: seq, what, said, since, until and closed_by (null: it is not over)",
        "metrics": "over time: model, version, start, rows, labelled, metrics by name, slice (null: all rows)",
        "metrics_unknown": "why the metrics cannot be told, or null",
    },
)
@click.option("--since", metavar="DATE", help="From this day on, in UTC, as 2026-11-01.")
@click.option(
    "--period",
    type=click.Choice(["hour", "day", "week", "month"]),
    default="week",
    show_default=True,
    help="What metrics over time cut it into.",
)
@click.option(
    "--html",
    type=click.Path(dir_okay=False, allow_dash=True),
    metavar="FILE",
    help="Write a page with plots that loads nothing; - is stdout.",
)
@project_option
@json_option
def timeline(
    *, since: str | None, period: str, html: str | None, project_dir: str, env: str | None, as_json: bool
) -> None:
    """Show everything that the loop decided and did, and what persons told it, oldest first; and metrics over time.

    Metrics are of live rows whose label is known, by version and by the columns that `slices` of [loop.live] names.
    """
    from headrace.loop.report import entry_document
    from headrace.project import Project
    from headrace.project.history import history_of

    if html == "-" and as_json:
        raise click.UsageError("--html - and --json both want stdout; give --html a FILE")
    with Project(project_dir, env=env) as project:
        found = history_of(project, period=period, since=_day(since))  # type: ignore[arg-type]  # one of the choices
    if html is not None:
        _write_page(found, html)
    if as_json:
        entries = [_for_machines(entry_document(entry)) for entry in found.entries]
        incidents = [_incident(one) for one in found.incidents]
        metrics = {"metrics": found.periods, "metrics_unknown": found.periods_unknown}
        echo_json({"entries": entries, "incidents": incidents, **metrics})
    if as_json or html is not None:
        return
    if not found.entries:
        click.echo("nothing yet; `headrace loop --once` makes the first entry")
        return
    _table(found.entries)
    _metrics(found)


def _metrics(found: History) -> None:
    if found.periods_unknown is not None:
        click.echo(f"\nmetrics cannot be told: {printable(found.periods_unknown)}", err=True)
    name = found.metric
    if name is None or not found.periods:
        return
    rows = []
    for one in found.periods:
        part = "all" if one["slice"] is None else f"{one['slice']['column']}: {one['slice']['value']}"
        value = measure(one["metrics"].get(name))
        rows.append((one["version"], one["start"][:10], part, f"{one['rows']:,}", f"{one['labelled']:,}", value))
    click.echo()
    heads = [Column("version"), Column("from"), Column("rows of"), Column("rows", "right"), Column("labelled", "right")]
    echo_table([*heads, Column(name, "right")], rows)


def _write_page(found: History, output: str) -> None:
    import sys
    from pathlib import Path

    from headrace.builtins.report.figures import available
    from headrace.builtins.report.timeline_page import timeline_page
    from headrace.loop.report import entry_document
    from headrace.project.writing import write_whole

    page = timeline_page(
        found.project,
        found.model,
        champion=found.champion,
        entries=[entry_document(entry) for entry in found.entries],
        incidents=found.incidents,
        moves=[move_document(move) | {"at": move.at} for move in found.moves],
        metric=found.metric,
        periods=found.periods,
        head=found.head,
        plots=available(),
    ).encode()
    if output == "-":
        sys.stdout.buffer.write(page)
        return
    write_whole(Path(output), page)
    click.echo(f"wrote {click.format_filename(output)}", err=True)


@click.group(cls=Group, examples=["headrace audit verify"])
def audit() -> None:
    """Check the log of the loop."""


@audit.command(
    short_help="Compute the chain of the log anew.",
    examples=["headrace audit verify", "headrace audit verify --head 5f0c..."],
    keys={
        "ok, entries, head": "whether the chain holds, how long it is, its last hash",
        "problems, notes": "what is wrong, what to know",
    },
)
@click.option("--head", metavar="HASH", help="A head that was kept elsewhere: it must be in the chain.")
@project_option
@json_option
def verify(*, head: str | None, project_dir: str, env: str | None, as_json: bool) -> None:
    """Compute the chain of the log anew: each entry has the SHA-256 of the one before and of itself.

    It shows what was changed, taken out, put in or moved, a log that lost its end, and moves of an alias that the
    registry has and the log has not. A log that was written anew as a whole is only found by comparing with a head
    that was kept elsewhere: keep the one that is printed. Exits with 5 if anything is wrong.
    """
    from headrace.project import Project
    from headrace.project.auditing import audit as audited

    with Project(project_dir, env=env) as project:
        name = project.spec.name
        found = audited(project, head)
    if as_json:
        document = {"ok": not found.problems, "entries": found.entries, "head": found.head}
        echo_json({**document, "problems": list(found.problems), "notes": list(found.notes)})
    for note in found.notes:
        click.echo(printable(note), err=True)
    if found.problems:
        raise StoreError(
            f"the log of {name!r} was tampered with or is damaged: {'; '.join(found.problems)}",
            place="loop_log",
            hint="Restore the database from a copy, and find out who can write to it.",
        )
    if not as_json:
        click.echo(f"{found.entries} entries, all as they were written; the head is {found.head}")


def _quality(found: dict[str, Any]) -> str | None:
    if found["quality_unknown"] is not None:
        return f"cannot be told: {found['quality_unknown']}"
    told = found["quality"]
    if told is None:
        return None
    rows = f"{told['labelled']:,} labelled rows since {told['start'][:10]}"
    said = f"{told['metric']} {measure(told['value'])} on {rows}"
    worst = told["worst"]
    if worst is not None:
        said += f"; worst where {worst['column']} is {worst['value']}: {measure(worst['metric'])}"
    return said


def _server(found: dict[str, Any]) -> str:
    return f"{found['url']}: " + ("answers, with the champion" if found["ok"] else str(found["why"]))


def _notifier(one: dict[str, Any]) -> str:
    said = [str(one["name"])]
    if one["waiting"]:
        said.append(f"{one['waiting']} to be sent again after {moment(one['again_at'])}")
    if one["given_up"]:
        said.append(f"{one['given_up']} given up")
    return said[0] + (f" ({'; '.join(said[1:])})" if said[1:] else "")


def _incident(one: dict[str, Any]) -> dict[str, Any]:
    return {**one, "since": iso(one["since"]), "until": iso(one["until"])}


def _day(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        found = dt.datetime.fromisoformat(text)
    except ValueError:
        raise click.UsageError(f"{text!r} is no date; write 2026-11-01") from None
    return (found if found.tzinfo else found.replace(tzinfo=dt.UTC)).timestamp()


def _table(entries: Sequence[LogEntry]) -> None:
    from headrace.loop.report import sentence

    rows = [(entry.seq, moment(entry.at), entry.kind, sentence(entry)) for entry in entries]
    echo_table([Column("#", "right"), Column("when"), Column("what"), Column("why")], rows)


def _for_machines(entry: dict[str, Any]) -> dict[str, Any]:
    return {**entry, "at": iso(entry["at"])}
