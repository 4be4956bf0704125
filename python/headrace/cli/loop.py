"""`headrace loop`, `headrace loop trigger | pause | resume`."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from headrace.cli.command import Group
from headrace.cli.options import json_option, project_option
from headrace.cli.output import echo_json, moment
from headrace.errors import printable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from headrace.store.loops import LogEntry


@click.group(
    cls=Group,
    invoke_without_command=True,
    examples=[
        "headrace loop --once",
        "headrace loop --project flights",
        'headrace loop trigger --reason "the new fares are in"',
        'headrace loop pause --reason "the feed is broken"',
    ],
    keys={
        "worked": "whether this process was the loop; false: another one is",
        "entries": "what it wrote: seq, at, kind, who, what, body, hash",
    },
)
@click.option("--once", is_flag=True, help="Do what there is to do, and end: for cron and CI.")
@project_option
@json_option
@click.pass_context
def loop(ctx: click.Context, *, once: bool, project_dir: str, env: str | None, as_json: bool) -> None:
    """Watch, decide, train, compare, promote or keep, by itself, until SIGTERM or Ctrl-C.

    The table [loop] of headrace.toml says when and on what. Each decision is written to the store with its evidence;
    what was begun and not ended is taken up by the next process. Where another process is the project's loop already,
    this one waits for it to end; with --once it leaves the work to it.
    """
    if ctx.invoked_subcommand is not None:
        return
    from headrace.project import Project
    from headrace.project.health import Health
    from headrace.project.looping import controller_of, keep_going, lease_of
    from headrace.project.looping import once as look_once
    from headrace.project.notifying import post_of

    written: list[LogEntry] = []

    def told(entry: LogEntry) -> None:
        written.append(entry)
        if not as_json:
            _say(entry)

    with Project(project_dir, env=env) as project, _stopping() as stop:
        post_of(controller_of(project), project)  # says what is wrong before anybody waits
        with lease_of(project, wait=None if once else stop) as lease:
            if lease is None:
                if once and not as_json:
                    click.echo("another process is the loop of this project: nothing was done", err=True)
            else:
                controller = controller_of(project, lease=lease, cancelled=stop, told=told)
                post, health = post_of(controller, project), Health.of(controller)
                if once:
                    look_once(controller, post, health)
                else:
                    keep_going(controller, post, health, stop)
        if as_json:
            from headrace.loop.report import entry_document

            echo_json({"worked": lease is not None, "entries": [entry_document(entry) for entry in written]})
        elif once and lease is not None and not written:
            click.echo("nothing to do")


@loop.command(
    short_help="Ask for a run.",
    examples=["headrace loop trigger", 'headrace loop trigger --reason "the new fares are in"'],
)
@click.option("--reason", default="", help="Why: goes into the log.")
@project_option
def trigger(*, reason: str, project_dir: str, env: str | None) -> None:
    """Ask for a run: the loop takes it up when it looks next. The cooldown does not hold it, the budget does."""
    _tell(project_dir, env, "requested", {"reason": reason})


@loop.command(
    short_help="Stop the loop from doing anything.", examples=['headrace loop pause --reason "the feed is broken"']
)
@click.option("--reason", default="", help="Why: goes into the log.")
@project_option
def pause(*, reason: str, project_dir: str, env: str | None) -> None:
    """Stop the loop from doing anything, a roll back included, until it is resumed. A training that runs ends first."""
    _tell(project_dir, env, "paused", {"reason": reason})


@loop.command(examples=["headrace loop resume"])
@click.option("--reason", default="", help="Why: goes into the log.")
@project_option
def resume(*, reason: str, project_dir: str, env: str | None) -> None:
    """Let the loop go on."""
    _tell(project_dir, env, "resumed", {"reason": reason})


def _tell(project_dir: str, env: str | None, kind: str, body: dict[str, str]) -> None:
    from headrace.project import Project
    from headrace.project.looping import say

    with Project(project_dir, env=env) as project:
        _say(say(project, kind, body))


def _say(entry: LogEntry) -> None:
    from headrace.loop.report import sentence

    said = printable(sentence(entry)).replace("\n", " ")
    click.echo(f"{moment(entry.at)}  {entry.kind:<12}  {said}")


@contextmanager
def _stopping() -> Iterator[threading.Event]:
    """An event that SIGTERM and Ctrl-C set."""
    stop = threading.Event()

    def heard(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    before = {number: signal.signal(number, heard) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
