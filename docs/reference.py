"""Writes `docs/reference/` from the code: `make docs`. A test fails while what is there is not what this would write.

python docs/reference.py
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from headrace import errors
from headrace.cli.failure import EXIT_CODES
from headrace.cli.main import cli
from headrace.hooks import specs
from headrace.hooks.contract import ENGINE_KEYS, describe
from headrace.hooks.manager import PluginManager
from headrace.hooks.notifiers import check_notifier
from headrace.hooks.reference import (
    Port,
    StageReference,
    config_keys,
    notifier_reference,
    stage_reference,
    trigger_reference,
)
from headrace.hooks.triggers import check_trigger
from headrace.loop.notices import EVENTS
from headrace.loop.policy import LoopPolicy
from headrace.loop.rehearsal.policy import RehearsePolicy
from headrace.pipeline.spec import KINDS, PLUGIN_KEYS, PROJECT_KEYS, SHARED_KEYS, STORE_KEYS
from headrace.testing.hooks import HookConformance, hook_conformance
from headrace.testing.stage import Refusal, StageConformance, run_stage, stage_conformance
from headrace.testing.transform import TransformConformance, transform_conformance

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

FOLDER = Path(__file__).parent / "reference"
MADE = "<!-- Made from the code by docs/reference.py: edit the code, then `make docs`. -->"

HOW_HOOKS_ARE_CALLED = """\
A plugin is a module, an object or a class that an entry point of the group `headrace` names. Its functions are marked
with `@headrace.hookimpl`, and each takes those arguments of the hook that it wants, by name. Implementations are called
one after the other, the last plugin by name first, headrace's own last; `@hookimpl(tryfirst=True)` and `trylast=True`
change that. Hooks are never wrapped. With `@hookimpl(optionalhook=True)` a plugin may implement a hook that this
version of headrace does not know."""

PROJECT_TABLE = {
    "name": ("string", "required", "The project's name, under which its models are registered."),
    "target": ("string", "required by most stages", "The column to predict."),
    "task": ('"binary" | "multiclass" | "regression"', "required by most stages", "What kind of prediction it is."),
    "time_column": ("string", "not set", "The column that says when a row happened."),
    "id_columns": (
        "array of string",
        "[]",
        "Columns that name rows or things, and from which nothing is to be learnt.",
    ),
    "seed": ("integer", "0", "The one source of randomness; part of every cache key."),
    "jobs": ("integer", "the number of processors", "How many stages may run at once."),
    "threads": ("integer", "the number of processors", "How many threads a stage may use; never part of a cache key."),
}
STORE_TABLE = {
    "path": ("string", '".headrace"', "The folder of the store, seen from the project's folder."),
    "url": (
        "string",
        "not set",
        "A PostgreSQL URL for the metadata; `env:NAME`, `file:PATH` refer to secrets. Not set: SQLite.",
    ),
}
PLUGINS_TABLE = {
    "disabled": ("array of string", "[]", "Distributions whose plugins are left alone; they are not even imported."),
}
STAGE_TABLE = {
    "kind": ("string", "the table's name", "The kind of the stage; must be said where the table's name is no kind."),
    "use": (
        "string",
        "required",
        'The implementation: a registered name, or `"module:Class"` of the project\'s own code.',
    ),
    "inputs": (
        "table of string",
        "{}",
        'Which output an input comes from, where names and types do not say: `{ data = "split.train" }`.',
    ),
    "after": ("array of string", "[]", "Stages that must have ended before this one starts."),
    "retries": ("integer >= 0", "0", "How often the stage is tried again after it failed."),
    "timeout": (
        "float > 0",
        "not set",
        "Seconds after which the stage is ended; it then runs in a process of its own.",
    ),
    "isolation": ('"thread" | "process"', '"thread"', "Where the stage runs."),
}


def pages() -> dict[str, str]:
    """File name -> text, of every page of the reference."""
    return {
        "cli.md": cli_page(),
        "errors.md": errors_page(),
        "headrace-toml.md": toml_page(),
        "hooks.md": hooks_page(),
        "stages.md": stages_page(),
        "testing.md": testing_page(),
    }


# --- hooks ----------------------------------------------------------------------------------------------------------


def hooks_page() -> str:
    """Every hook with its arguments, and what a plugin is given to register with."""
    lines = [
        "# Hooks",
        MADE,
        inspect.cleandoc(specs.__doc__ or "").partition("\n\n")[2],
        HOW_HOOKS_ARE_CALLED,
    ]
    for group in specs.SPECS:
        lines += [f"## {_words(group.__name__)}", inspect.cleandoc(group.__doc__ or "")]
        for name, function in _own_functions(group):
            lines += [
                f"### {name}",
                f"```python\n{signature(name, function)}\n```",
                inspect.cleandoc(function.__doc__ or ""),
            ]
    lines.append("## What a register hook is given")
    protocols = (
        specs.StageRegistry,
        specs.ArtifactRegistry,
        specs.TransformRegistry,
        specs.TriggerRegistry,
        specs.NotifierRegistry,
    )
    for protocol in protocols:
        for name, function in _own_functions(protocol):
            title = f"{protocol.__name__}.{name}"
            lines += [
                f"### {title}",
                f"```python\n{signature(name, function)}\n```",
                inspect.cleandoc(function.__doc__ or ""),
            ]
    return _joined(lines)


def signature(name: str, function: Any) -> str:
    """`name(argument: Type, ...) -> Type`, as the specification writes it."""
    found = inspect.signature(function)
    parameters = [p for p in found.parameters.values() if p.name != "self"]
    # Annotations are texts in that module; without the quotes they read as they were written.
    return f"{name}{found.replace(parameters=parameters)}".replace("'", "").replace("<factory>", "{}")


def _own_functions(group: type) -> Iterator[tuple[str, Any]]:
    return (
        (name, found) for name, found in vars(group).items() if inspect.isfunction(found) and not name.startswith("_")
    )


def _words(name: str) -> str:
    spaced = "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in name).strip()
    return spaced.capitalize()


# --- stages ---------------------------------------------------------------------------------------------------------


def stages_page() -> str:
    """Every built-in stage: what it does, takes and gives, and each key of its config."""
    manager = PluginManager.discover()
    entries = [entry for entry in manager.stages.entries() if entry.distribution == "headrace"]
    entries.sort(key=lambda entry: (KINDS.index(entry.kind), entry.name))
    lines = [
        "# Built-in stages",
        MADE,
        (
            'Each is written as `use = "NAME"` in the table of its kind. The keys that every stage has are in '
            "[headrace.toml](headrace-toml.md). `headrace plugins show KIND:NAME` prints the same, for plugins too."
        ),
    ]
    for entry in entries:
        loaded = manager.stages.load(entry)
        lines += _stage(stage_reference(entry, loaded, describe(loaded), shared=SHARED_KEYS))
    lines += [
        "## Triggers",
        "What makes the loop train again: `[loop.triggers.NAME]`, with `use` where NAME is not that of the trigger.",
    ]
    for trigger in manager.triggers.entries():
        if trigger.distribution == "headrace":
            found = manager.triggers.load(trigger)
            reference = trigger_reference(trigger, found, check_trigger(found))
            lines += [f"### trigger: {trigger.name}", reference.about, _keys(reference)]
    lines += [
        "## Notifiers",
        (
            "Who is told what the loop does: `[loop.notify.NAME]`, with `use` where NAME is not that of the notifier. "
            "Each may have `events` (default: all), a list of: " + ", ".join(f"`{name}`" for name in EVENTS) + "; and "
            "`timeout` (default 10s), within which one message must be delivered."
        ),
    ]
    for notifier in manager.notifiers.entries():
        if notifier.distribution == "headrace":
            found = manager.notifiers.load(notifier)
            reference = notifier_reference(notifier, found, check_notifier(found))
            lines += [f"### notifier: {notifier.name}", reference.about, _keys(reference)]
    return _joined(lines)


def _stage(found: StageReference) -> list[str]:
    about = [
        f"- takes: {_ports(found.inputs)}",
        f"- gives: {_ports(found.outputs)}",
        f"- cached: {'yes' if found.deterministic else 'never'}",
    ]
    return [f"## {found.kind}: {found.name}", found.about, "\n".join(about), _keys(found)]


def _keys(found: StageReference) -> str:
    keys = [(f"`{key.name}`", _code(key.type), _code(key.default_text), key.meaning) for key in found.config]
    return _table(("key", "type", "default", "meaning"), keys) if keys else "It has no keys of its own."


def _ports(ports: tuple[Port, ...]) -> str:
    texts = [f"`{port.name}` ({port.type_name}{', optional' if port.optional else ''})" for port in ports]
    return ", ".join(texts) or "nothing"


# --- headrace.toml --------------------------------------------------------------------------------------------------


def toml_page() -> str:
    """The tables of headrace.toml that are not a stage's own. `ValueError` if a key is not explained above."""
    stages = (
        "Every other table is a stage, in the order of the file. These keys are the engine's; all others are the "
        "stage's own, see [Built-in stages](stages.md)."
    )
    tables = [
        ("[project]", PROJECT_TABLE, PROJECT_KEYS, "What the whole project shares."),
        ("[store]", STORE_TABLE, STORE_KEYS, "Where results are kept."),
        ("[plugins]", PLUGINS_TABLE, PLUGIN_KEYS, "Which plugins are not wanted."),
        ("[STAGE]", STAGE_TABLE, ENGINE_KEYS, stages),
    ]
    shared = ", ".join(f"`{key}`" for key in SHARED_KEYS)
    lines = ["# headrace.toml", MADE]
    for title, table, keys, about in tables:
        if set(table) != set(keys):
            raise ValueError(f"{title}: {sorted(set(table) ^ set(keys))} are not in both docs/reference.py and spec.py")
        rows = [(f"`{key}`", _code(kind), default, meaning) for key, (kind, default, meaning) in table.items()]
        lines += [f"## {title}", about, _table(("key", "type", "default", "meaning"), rows)]
        if title == "[project]":
            lines.append(
                f"Stages whose config has a key {shared} take it from here where their own table does not set it."
            )
    rehearsal = [(f"`{k.name}`", _code(k.type), _code(k.default_text), k.meaning) for k in config_keys(RehearsePolicy)]
    loop = [(f"`{k.name}`", _code(k.type), _code(k.default_text), k.meaning) for k in config_keys(LoopPolicy)]
    lines += [
        "## [loop]",
        (
            "What `headrace loop` may do. Lengths of time are written 30s, 15m, 12h, 7d or 2w, and shown here in "
            "seconds. The keys of each trigger and notifier are in [Built-in stages](stages.md)."
        ),
        _table(("key", "type", "default", "meaning"), loop),
        "## [rehearse]",
        "What `headrace rehearse` plays, with the loop and the pipeline as they are.",
        _table(("key", "type", "default", "meaning"), rehearsal),
    ]
    kinds = ", ".join(f"`{kind}`" for kind in KINDS)
    lines += [
        f"Kinds that headrace knows: {kinds}. A table with another name says its `kind`.",
        "## [env.NAME]",
        (
            "An overlay, applied with `--env NAME`: tables as above, whose keys replace those of the file. "
            "`--set stage.key=value` wins over both."
        ),
    ]
    return _joined(lines)


# --- command line ---------------------------------------------------------------------------------------------------


def cli_page() -> str:
    """Every command with its arguments, options, JSON keys and examples."""
    codes = [(str(code), meaning) for code, meaning in EXIT_CODES.items()]
    lines = ["# Command line", MADE, cli.help or "", "Exit codes:", _table(("code", "meaning"), codes)]
    with click.Context(cli, info_name="headrace") as root:
        for name in cli.list_commands(root):
            command = cli.get_command(root, name)
            if command is not None:
                lines += _command(command, f"headrace {name}", root)
    return _joined(lines)


def _command(command: click.Command, path: str, parent: click.Context) -> Iterator[str]:
    with click.Context(command, info_name=path.rsplit(maxsplit=1)[-1], parent=parent) as ctx:
        yield f"## {path}"
        yield f"```\n{' '.join([path, *command.collect_usage_pieces(ctx)])}\n```"
        if command.help:
            yield inspect.cleandoc(command.help).replace("\b\n", "")
        records = [param.get_help_record(ctx) for param in command.params]
        rows = [(f"`{declared}`", meaning) for declared, meaning in filter(None, records)]
        if rows:
            yield _table(("option", "meaning"), rows)
        keys: Mapping[str, str] = getattr(command, "keys", {})
        if keys:
            yield "Keys of the JSON document:"
            yield _table(("key", "meaning"), [(f"`{key}`", meaning) for key, meaning in keys.items()])
        examples = getattr(command, "examples", ())
        if examples:
            yield "```sh\n" + "\n".join(examples) + "\n```"
        if isinstance(command, click.Group):
            for name in command.list_commands(ctx):
                inner = command.get_command(ctx, name)
                if inner is not None:
                    yield from _command(inner, f"{path} {name}", ctx)


# --- errors ---------------------------------------------------------------------------------------------------------


def errors_page() -> str:
    """The exception tree, with the exit code of each."""
    rows = list(_tree(errors.HeadraceError, 0))
    about = "Every exception that headrace raises on purpose. Each carries `message`, `place` and `hint`."
    table = _table(("class", "also a", "exit code", "meaning"), rows)
    return _joined(["# Errors", MADE, f"{about} Import them from `headrace.errors`.", table])


def _tree(found: type[errors.HeadraceError], depth: int) -> Iterator[tuple[str, str, str, str]]:
    builtin = [base.__name__ for base in found.__bases__ if not issubclass(base, errors.HeadraceError)]
    meaning = inspect.cleandoc(found.__doc__ or "").partition("\n\n")[0]
    indent = "&nbsp;&nbsp;" * depth
    also = ", ".join(f"`{name}`" for name in builtin if name != "Exception")
    yield f"{indent}`{found.__name__}`", also, str(found.exit_code), meaning
    for name in errors.__all__:
        if found in getattr(errors, name).__bases__:
            yield from _tree(getattr(errors, name), depth + 1)


# --- testing ----------------------------------------------------------------------------------------------------------


def testing_page() -> str:
    """The conformance kit: what it is given, and each of its checks."""
    import headrace.testing

    lines = ["# headrace.testing", MADE, inspect.cleandoc(headrace.testing.__doc__ or "")]
    for function, kit in (
        (stage_conformance, StageConformance),
        (transform_conformance, TransformConformance),
        (hook_conformance, HookConformance),
        (run_stage, None),
    ):
        name = function.__name__
        lines += [f"## {name}", f"```python\n{signature(name, function)}\n```", _prose(function)]
        if kit is not None:
            checks = [(f"`{check}`", inspect.cleandoc(found.__doc__ or "")) for check, found in _checks(kit)]
            lines.append(_table(("check", "why"), checks))
    lines += ["## Refusal", f"```python\n{signature('Refusal', Refusal)}\n```", _prose(Refusal)]
    return _joined(lines)


def _checks(kit: type) -> Iterator[tuple[str, Any]]:
    return ((name, found) for name, found in vars(kit).items() if name.startswith("test_"))


def _prose(documented: Any) -> str:
    """A docstring with its list of parameters as a Markdown list."""
    lines: list[str] = []
    listed = False
    for line in inspect.cleandoc(documented.__doc__ or "").splitlines():
        if line == "----------":
            lines[-1] = f"{lines[-1]}:\n"
            listed = True
        elif listed and line and not line.startswith(" "):
            lines.append(f"- `{line}`:")
        else:
            lines.append(f"  {line.strip()}" if listed and line else line)
    return "\n".join(lines)


# --- Markdown -------------------------------------------------------------------------------------------------------


def _code(text: str) -> str:
    plain = {"required", "not set", "computed", "as in [project]"}
    return text if text in plain else f"`{text}`"


def _table(headings: tuple[str, ...], rows: list[Any]) -> str:
    lines = [" | ".join(headings), " | ".join("---" for _ in headings)]
    lines += [" | ".join(_cell(text) for text in row) for row in rows]
    return "\n".join(f"| {line} |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _joined(parts: list[str]) -> str:
    return "\n\n".join(part.rstrip() for part in parts if part) + "\n"


def main() -> None:
    """Write what has changed, and take away what is no page any more."""
    FOLDER.mkdir(exist_ok=True)
    made = pages()
    for path in FOLDER.glob("*.md"):
        if path.name not in made:
            path.unlink()
    for name, text in made.items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
