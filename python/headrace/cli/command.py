"""The click classes that every command is made of: groups whose commands are imported when they are called."""

from __future__ import annotations

import difflib
import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass
class Settings:
    """What was asked for before the command: shared by all commands through `ctx.obj`."""

    traceback: bool = False


def _remember_traceback(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value:
        ctx.ensure_object(Settings).traceback = True


def traceback_option() -> click.Option:
    """`--traceback`, which every command takes."""
    return click.Option(
        ["--traceback"],
        is_flag=True,
        expose_value=False,
        is_eager=True,
        callback=_remember_traceback,
        help="Show the Python traceback of an error.",
    )


class Command(click.Command):
    """A command with examples, and with the keys of its `--json` document, in its help.

    `examples` are command lines; `keys` maps each top-level key of the JSON document to what it means.
    """

    def __init__(
        self, *args: Any, examples: Sequence[str] = (), keys: Mapping[str, str] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.examples = tuple(examples)
        self.keys = dict(keys or {})
        self.params.append(traceback_option())

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Examples and JSON keys, each as a section."""
        super().format_epilog(ctx, formatter)
        if self.keys:
            with formatter.section("Keys of the JSON document"):
                formatter.write_dl(list(self.keys.items()))
        _write_examples(formatter, self.examples)


class Group(click.Group):
    """A group whose commands all live in its own module."""

    command_class = Command

    def __init__(
        self, *args: Any, examples: Sequence[str] = (), keys: Mapping[str, str] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.examples = tuple(examples)
        self.keys = dict(keys or {})

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """JSON keys of a group that does something by itself, and examples, each as a section."""
        super().format_epilog(ctx, formatter)
        if self.keys:
            with formatter.section("Keys of the JSON document"):
                formatter.write_dl(list(self.keys.items()))
        _write_examples(formatter, self.examples)


@dataclass(frozen=True)
class Lazy:
    """A command that is imported when it is called: `target` is `"module:attribute"`, `help` its line in the list."""

    target: str
    help: str


class LazyGroup(Group):
    """A group that lists its commands without importing them, in sections."""

    def __init__(self, *args: Any, sections: Mapping[str, Mapping[str, Lazy]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.sections = sections

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        """Every command, in the order of the help."""
        return [name for commands in self.sections.values() for name in commands]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  # click's signature
        """Import the command."""
        for commands in self.sections.values():
            if cmd_name in commands:
                module, _, attribute = commands[cmd_name].target.partition(":")
                found: click.Command = getattr(importlib.import_module(module), attribute)
                return found
        return None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Import the command that `args` begin with; an unknown one is an error that names the nearest."""
        name = args[0] if args else ""
        if name in self.list_commands(ctx) or name.startswith("-"):
            return super().resolve_command(ctx, args)
        near = difflib.get_close_matches(name, self.list_commands(ctx), n=2)
        message = f"there is no command {name!r}" + (f"; did you mean {' or '.join(near)}?" if near else "")
        raise click.UsageError(message, ctx)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002  # click's signature
        """The list of commands, without importing one."""
        for title, commands in self.sections.items():
            with formatter.section(title):
                formatter.write_dl([(name, command.help) for name, command in commands.items()])


def _write_examples(formatter: click.HelpFormatter, examples: Sequence[str]) -> None:
    if examples:
        with formatter.section("Examples"):
            for line in examples:
                formatter.write(f"{'':>{formatter.current_indent}}{line}\n")
