"""`headrace tokens create | list | revoke`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from headrace.cli.command import Group
from headrace.cli.options import json_option, project_option
from headrace.cli.output import Column, echo_json, echo_table, iso, moment

if TYPE_CHECKING:
    from collections.abc import Callable

    from headrace.serving.tokens import Token

_UNITS = {"m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
_KEYS = "id, name, scopes, created, expires, revoked, state (valid, expired or revoked)"


class _Span(click.ParamType[float]):
    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        match = re.fullmatch(r"([0-9]{1,6})([mhdw])", value)
        if match is None:
            self.fail(f"{value!r} is no length of time; write 30m, 12h, 90d or 8w", param, ctx)
        return float(match[1]) * _UNITS[match[2]]


def _file_option(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--tokens",
        "file",
        type=click.Path(dir_okay=False, path_type=Path),
        envvar="HEADRACE_TOKENS",
        metavar="FILE",
        help="The file of the tokens.  [default: tokens.json in the project's store]",
    )(function)


@click.group(
    cls=Group,
    examples=[
        "headrace tokens create shop-frontend",
        "headrace tokens create prometheus --scope observe --expires 365d",
        "headrace tokens list",
        "headrace tokens revoke shop-frontend",
    ],
)
def tokens() -> None:
    """Make, list and revoke the tokens with which clients ask a server.

    A server on anything but the loopback asks for them. They stand in the file only as hashes. A running server knows
    of a change within two seconds.
    """


@tokens.command(
    short_help="Make a token, and show it once.",
    examples=[
        "headrace tokens create shop-frontend",
        "headrace tokens create grafana --scope predict --scope observe --expires 52w",
        "headrace tokens create ops --scope admin --tokens /etc/headrace/tokens.json --json",
    ],
    keys={"token": "what clients send, as `Authorization: Bearer TOKEN`; it is not shown again", "about": _KEYS},
)
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice(["predict", "observe", "admin"]),
    help="What it allows: predictions, /metrics, or everything. May be given several times.  [default: predict]",
)
@click.option(
    "--expires", type=_Span(), default="90d", show_default=True, help="How long it is valid: 30m, 12h, 90d, 8w."
)
@_file_option
@project_option
@json_option
def create(
    *,
    name: str,
    scopes: tuple[str, ...],
    expires: float,
    file: Path | None,
    project_dir: str,
    env: str | None,
    as_json: bool,
) -> None:
    """Make a token of 256 random bits, and show it once.

    NAME says whose it is, or what for. The token is written to stdout, everything else to stderr.
    """
    from headrace.serving import tokens as kept

    path = _path(file, project_dir, env)
    made, secret = kept.create(path, name, scopes=scopes or ("predict",), seconds=expires)
    if as_json:
        echo_json({"token": secret, "about": _document(made)})
        return
    click.echo(secret)
    scope = ", ".join(made.scopes)
    click.echo(f"{made.name} ({scope}) is valid until {moment(made.expires)}; it is not shown again", err=True)


@tokens.command(
    "list",
    short_help="List the tokens, without what is secret of them.",
    examples=["headrace tokens list", "headrace tokens list --json"],
    keys={"tokens": f"entries: {_KEYS}"},
)
@_file_option
@project_option
@json_option
def list_(*, file: Path | None, project_dir: str, env: str | None, as_json: bool) -> None:
    """List the tokens; those that ended more than 90 days ago may be gone."""
    from headrace.serving import tokens as kept

    path = _path(file, project_dir, env)
    found = kept.read(path) if file is not None or path.exists() else []
    if as_json:
        echo_json({"tokens": [_document(token) for token in found]})
    elif not found:
        click.echo("no tokens yet; `headrace tokens create NAME` makes one")
    else:
        columns = ["id", "name", "scopes", "created", "expires", "state"]
        colors = {"valid": "green", "expired": "yellow", "revoked": "red"}
        rows = [
            [one.id, one.name, ", ".join(one.scopes), moment(one.created), moment(one.expires), one.state()]
            for one in found
        ]
        echo_table([Column(name, colors=colors if name == "state" else None) for name in columns], rows)


@tokens.command(
    short_help="Take a token back.",
    examples=["headrace tokens revoke shop-frontend", "headrace tokens revoke 3f9a1c07 --json"],
    keys={"about": _KEYS},
)
@click.argument("which", metavar="NAME|ID")
@_file_option
@project_option
@json_option
def revoke(*, which: str, file: Path | None, project_dir: str, env: str | None, as_json: bool) -> None:
    """Take a token back: servers that run let nobody in with it from two seconds later on."""
    from headrace.serving import tokens as kept

    gone = kept.revoke(_path(file, project_dir, env), which)
    if as_json:
        echo_json({"about": _document(gone)})
    else:
        click.echo(f"{gone.name} ({gone.id}) is revoked", err=True)


def _path(file: Path | None, project_dir: str, env: str | None) -> Path:
    if file is not None:
        return file
    from headrace.project import Project
    from headrace.serving.tokens import FILE

    with Project(project_dir, env=env) as project:
        return project.existing_store.root / FILE


def _document(token: Token) -> dict[str, Any]:
    return {
        "id": token.id,
        "name": token.name,
        "scopes": list(token.scopes),
        "created": iso(token.created),
        "expires": iso(token.expires),
        "revoked": iso(token.revoked),
        "state": token.state(),
    }
