"""What the user sees, and which exit code the shell gets, when something went wrong."""

from __future__ import annotations

import os
import sys
import traceback

import click

from headrace.errors import HeadraceError, printable

OK, BUG, USAGE, FAILED, REFUSED, STORE, DRIFT, REHEARSAL, INTERRUPTED = 0, 1, 2, 3, 4, 5, 6, 7, 130

EXIT_CODES = {
    OK: "done",
    BUG: "a bug of headrace or of a plugin; the message says where the traceback is",
    USAGE: "wrong usage, a wrong spec, a name that is not known or not allowed",
    FAILED: "a stage failed, or the data or a plugin is not as it must be",
    REFUSED: "the gate refused the model (only with --fail-on-gate)",
    STORE: "the store or the registry cannot be read or written, or refuses",
    DRIFT: "live data drifted (only with --fail-on-drift)",
    REHEARSAL: "a rehearsal did not go as [rehearse.expect] says",
    INTERRUPTED: "interrupted by Ctrl-C or SIGTERM",
}


class GateRefusedError(HeadraceError):
    """The gate said no, and the caller asked that this be a failure."""

    exit_code = REFUSED


class DriftFoundError(HeadraceError):
    """Live data drifted, and the caller asked that this be a failure."""

    exit_code = DRIFT


class RehearsalError(HeadraceError):
    """A rehearsal did not go as it was expected to."""

    exit_code = REHEARSAL


def report(error: BaseException, *, show_traceback: bool) -> int:
    """Say on stderr what went wrong, and return the exit code."""
    if show_traceback and not isinstance(error, click.ClickException | click.Abort | KeyboardInterrupt):
        click.echo(printable("".join(traceback.format_exception(error))), err=True, nl=False)
    match error:
        case HeadraceError():
            say(error.message, place=error.place, hint=error.hint)
            return error.exit_code
        case click.exceptions.NoArgsIsHelpError():
            click.echo(error.format_message(), err=True)
            return USAGE
        case click.UsageError():
            path = error.ctx.command_path if error.ctx else "headrace"
            say(_sentence(error.format_message()), hint=f"`{path} --help` shows the usage.")
            return USAGE
        case click.ClickException():
            say(_sentence(error.format_message()))
            return USAGE
        case click.Abort() | KeyboardInterrupt():
            say("interrupted")
            return INTERRUPTED
        case SystemExit():  # somebody's code below us wants to leave; what was asked for is not done, whatever it says
            say(f"a plugin or the project's own code tried to end the process (exit {error.code})")
            return FAILED
        case OSError():
            return _operating_system(error)
    return _bug(error, show_traceback=show_traceback)


def say(message: str, *, place: str | None = None, hint: str | None = None) -> None:
    """One error on stderr: `error: PLACE: MESSAGE`, and the way out on a line of its own."""
    color = None if color_allowed() else False
    where = f"{printable(place)}: " if place else ""
    click.echo(click.style("error:", fg="red", bold=True) + f" {where}{printable(message)}", err=True, color=color)
    if hint:
        click.echo(click.style("  hint:", fg="cyan") + f" {printable(hint)}", err=True, color=color)


def color_allowed() -> bool:
    """Whether colours may be used at all; whether the stream is a terminal is click's to see."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _sentence(message: str) -> str:
    return message[:1].lower() + message[1:] if message[1:2].islower() else message


def _operating_system(error: OSError) -> int:
    if error.filename is None:
        say(f"the operating system refused: {error.strerror or error}")
    else:
        say(f"{error.strerror or error}", place=str(error.filename))
    return STORE


def _bug(error: BaseException, *, show_traceback: bool) -> int:
    import tempfile

    summary = "".join(traceback.format_exception_only(error)).strip()
    if show_traceback:
        say(f"this is a bug of headrace or of a plugin: {summary}")
        return BUG
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="headrace-", suffix=".log", delete=False, encoding="utf-8", errors="backslashreplace"
        ) as file:
            file.write(printable(f"{' '.join(sys.argv)}\n\n{''.join(traceback.format_exception(error))}"))
        where = f"The traceback is in {file.name}; please report it."
    except OSError:
        where = "Run the same again with --traceback, and please report what it shows."
    say(f"this is a bug of headrace or of a plugin: {summary}", hint=where)
    return BUG
