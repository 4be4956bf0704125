"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def project_option(function: F) -> F:
    """`--project DIR` and `--env NAME`."""
    function = click.option("--env", metavar="NAME", help="Apply the overlay [env.NAME] of headrace.toml.")(function)
    return click.option(
        "--project",
        "-p",
        "project_dir",
        metavar="DIR",
        default=".",
        show_default=True,
        help="The folder with the headrace.toml.",
    )(function)


def json_option(function: F) -> F:
    """`--json`."""
    return click.option(
        "--json", "as_json", is_flag=True, help="Print one JSON document on stdout, and nothing else there."
    )(function)
