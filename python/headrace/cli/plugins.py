"""`headrace plugins`: list, show, check and write plugins."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from headrace.cli.command import Group
from headrace.cli.failure import FAILED
from headrace.cli.options import json_option
from headrace.cli.output import Column, echo_json, echo_pairs, echo_table
from headrace.errors import UnknownNameError, printable
from headrace.hooks.reference import NOTIFIER, TRANSFORM, TRIGGER

if TYPE_CHECKING:
    from headrace.hooks.catalog import StageEntry
    from headrace.hooks.doctor import Finding
    from headrace.hooks.manager import PluginInfo, PluginManager
    from headrace.hooks.reference import Port, StageReference

_WIDEST = 110
_COLORS = {"ok": "green", "broken": "red", "disabled": "yellow", "error": "red", "warning": "yellow", "note": "cyan"}
_PROJECT = click.option(
    "--project",
    "-p",
    "project_dir",
    metavar="DIR",
    default=".",
    show_default=True,
    help="A folder; if it has a headrace.toml, its table [plugins] counts.",
)


@click.group(
    cls=Group,
    examples=[
        "headrace plugins list",
        "headrace plugins show train:lightgbm",
        "headrace plugins doctor",
        "headrace plugins new geo",
    ],
)
def group() -> None:
    """List, explain, check and write plugins."""


@group.command(
    "list",
    examples=["headrace plugins list", "headrace plugins list --kind train --json"],
    keys={
        "plugins": "each entry point: distribution, version, entry_point, target, status, hooks, import_seconds",
        "stages": "each stage: kind, use, distribution, version, target",
        "artifacts": "each artifact type: type_name, distribution, version, target",
        "transforms": "each transform: name, distribution, version, target",
        "triggers": "each trigger: name, distribution, version, target",
        "notifiers": "each notifier: name, distribution, version, target",
        "problems": "how many problems `headrace plugins doctor` starts from",
    },
)
@click.option("--kind", metavar="KIND", help="Only stages of this kind.")
@_PROJECT
@json_option
def list_plugins(kind: str | None, project_dir: str, as_json: bool) -> None:
    """List the installed plugins, and the stages, artifact types, transforms, triggers and notifiers that they add."""
    manager = _manager(project_dir)
    stages = [entry for entry in manager.stages.entries() if kind in (None, entry.kind)]
    if kind is not None and not stages:
        from headrace.hooks.catalog import nearest

        raise UnknownNameError(f"there is no stage of the kind {kind!r}", hint=nearest(kind, manager.stages.kinds()))
    if as_json:
        artifacts = [] if kind else list(manager.artifacts.entries())
        transforms = [] if kind else list(manager.transforms.entries())
        echo_json(
            {
                "plugins": [_plugin_json(plugin) for plugin in manager.plugins],
                "stages": [_stage_json(entry) for entry in stages],
                "artifacts": [
                    {
                        "type_name": entry.type_name,
                        "distribution": entry.distribution,
                        "version": entry.version,
                        "target": entry.target,
                    }
                    for entry in artifacts
                ],
                "transforms": [vars(entry) for entry in transforms],
                "triggers": [] if kind else [vars(entry) for entry in manager.triggers.entries()],
                "notifiers": [] if kind else [vars(entry) for entry in manager.notifiers.entries()],
                "problems": len(manager.problems),
            }
        )
        return
    if kind is None:
        columns = [Column("plugin"), Column("version"), Column("status", colors=_COLORS), Column("hooks")]
        echo_table(
            columns, [[p.distribution, p.version, p.status, ", ".join(p.hooks) or None] for p in manager.plugins]
        )
        click.echo()
    columns = [Column("kind"), Column("use"), Column("from")]
    rows = [[e.kind, e.name, f"{e.distribution} {e.version}"] for e in stages]
    if kind is None:
        rows += [[TRANSFORM, e.name, f"{e.distribution} {e.version}"] for e in manager.transforms.entries()]
        rows += [[TRIGGER, e.name, f"{e.distribution} {e.version}"] for e in manager.triggers.entries()]
        rows += [[NOTIFIER, e.name, f"{e.distribution} {e.version}"] for e in manager.notifiers.entries()]
    echo_table(columns, rows)
    if manager.problems:
        count = len(manager.problems)
        click.echo(f"\n{count} problem{'s' if count > 1 else ''}: see `headrace plugins doctor`.", err=True)


@group.command(
    "show",
    examples=["headrace plugins show train:lightgbm", "headrace plugins show lightgbm --json"],
    keys={
        "kind, use, target, distribution, version": "which stage it is, where its class is, whose it is",
        "about": "what it does",
        "deterministic": "whether the cache may answer for it",
        "inputs, outputs": "name, type and (inputs) optional of each artifact",
        "config": "each key: name, type, required, default, shared, meaning",
    },
)
@click.argument("stage", metavar="KIND:NAME")
@_PROJECT
@json_option
def show(stage: str, project_dir: str, as_json: bool) -> None:
    """Show what a stage does, what it takes and gives, and every key of its config.

    NAME alone is enough where only one kind has it. transform:NAME shows a transform, trigger:NAME a trigger
    and notifier:NAME a notifier of the loop.
    """
    from headrace.hooks.contract import describe
    from headrace.hooks.notifiers import check_notifier
    from headrace.hooks.reference import notifier_reference, stage_reference, transform_reference, trigger_reference
    from headrace.hooks.transforms import check_transform
    from headrace.hooks.triggers import check_trigger
    from headrace.pipeline.spec import SHARED_KEYS

    manager = _manager(project_dir)
    if stage.startswith(f"{TRANSFORM}:"):
        transform = manager.transforms.entry(stage.partition(":")[2])
        found = manager.transforms.load(transform)
        reference = transform_reference(transform, found, check_transform(found))
    elif stage.startswith(f"{TRIGGER}:"):
        trigger = manager.triggers.entry(stage.partition(":")[2])
        found = manager.triggers.load(trigger)
        reference = trigger_reference(trigger, found, check_trigger(found))
    elif stage.startswith(f"{NOTIFIER}:"):
        notifier = manager.notifiers.entry(stage.partition(":")[2])
        found = manager.notifiers.load(notifier)
        reference = notifier_reference(notifier, found, check_notifier(found))
    else:
        entry = _find(manager, stage)
        loaded = manager.stages.load(entry)
        reference = stage_reference(entry, loaded, describe(loaded), shared=SHARED_KEYS)
    if as_json:
        echo_json(_reference_json(reference))
    else:
        _echo_reference(reference)


@group.command(
    "doctor",
    examples=["headrace plugins doctor", "headrace plugins doctor --json"],
    keys={
        "ok": "whether there is no error",
        "plugins": "as in `headrace plugins list`",
        "findings": "each: level (error, warning, note), distribution, about, message, hint, traceback",
    },
)
@_PROJECT
@json_option
@click.pass_context
def doctor(ctx: click.Context, project_dir: str, as_json: bool) -> None:
    """Import every plugin, stage and artifact type, and say what is broken, whose it is, and the way out.

    The exit code is 3 if anything is broken. Warnings and notes (an optional package is not installed) do not count.
    """
    from headrace.hooks.doctor import examine

    manager = _manager(project_dir)
    findings = examine(manager)
    broken = any(finding.level == "error" for finding in findings)
    if as_json:
        plugins = [_plugin_json(plugin) for plugin in manager.plugins]
        echo_json({"ok": not broken, "plugins": plugins, "findings": [vars(finding) for finding in findings]})
    else:
        for finding in findings:
            _echo_finding(finding, with_traceback=ctx.obj.traceback if ctx.obj else False)
        _echo_verdict(manager, findings)
    if broken:
        ctx.exit(FAILED)


@group.command(
    "new",
    examples=["headrace plugins new geo", "headrace plugins new salesforce --kind ingest --dir ../plugins"],
)
@click.argument("name")
@click.option(
    "--kind", default="enrich", show_default=True, metavar="KIND", help="ingest, train, or a kind of your own."
)
@click.option("--dir", "parent", default=".", show_default=True, metavar="DIR", help="Where to put the package.")
def new(name: str, kind: str, parent: str) -> None:
    """Write a plugin package to start from: one stage, with tests that pass. NAME is what `use` will say."""
    from headrace.scaffold.plugin import plan_plugin, write_plugin

    taken = {(entry.kind, entry.name): entry.distribution for entry in _manager(".").stages.entries()}
    plan = plan_plugin(name, kind=kind, parent=Path(parent), taken=taken)
    for path in write_plugin(plan):
        click.echo(path)
    steps = [
        f"cd {shlex.quote(str(plan.folder))}",
        "pip install -e . pytest",
        "pytest",
        f"headrace plugins show {plan.kind}:{plan.use}",
    ]
    click.echo("\n" + "\n".join(["Next:", *(f"  {step}" for step in steps)]))


def _manager(project_dir: str) -> PluginManager:
    """The plugins, minus those that the project's file disables, if there is one."""
    from headrace.hooks.manager import PluginManager
    from headrace.pipeline.spec import FILE_NAME

    if not (Path(project_dir) / FILE_NAME).exists() and project_dir == ".":
        return PluginManager.discover()
    from headrace.project import Project

    return Project(project_dir).plugins


def _find(manager: PluginManager, stage: str) -> StageEntry:
    kind, colon, name = stage.partition(":")
    if colon:
        return manager.stages.entry(kind, name)
    found = [entry for entry in manager.stages.entries() if entry.name == stage]
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(f"{entry.kind}:{entry.name}" for entry in found)
        raise UnknownNameError(f"several stages are called {stage!r}", hint=f"Name one: {names}.")
    from headrace.hooks.catalog import nearest

    known = {entry.name for entry in manager.stages.entries()}
    raise UnknownNameError(f"there is no stage {stage!r}", hint=nearest(stage, known))


def _echo_reference(found: StageReference) -> None:
    click.echo(
        click.style(f"{found.kind}:{found.name}", bold=True)
        + f"  {printable(found.distribution)} {printable(found.version)}".rstrip()
    )
    if found.about:
        click.echo(f"\n{printable(found.about)}")
    click.echo()
    rows = [("class", found.target)]
    if found.kind not in (TRANSFORM, TRIGGER, NOTIFIER):
        rows = [
            ("inputs", _ports(found.inputs)),
            ("outputs", _ports(found.outputs)),
            ("cached", "yes" if found.deterministic else "never: it may give something else each time"),
            *rows,
        ]
    echo_pairs(rows)
    width = min(shutil.get_terminal_size((_WIDEST, 24)).columns, _WIDEST)
    for key in found.config:
        default = click.style(
            printable(key.default_text if key.required or key.shared else f"default {key.default_text}"), dim=True
        )
        click.echo(f"\n{click.style(printable(key.name), bold=True)}  {printable(key.type)}  {default}")
        if key.meaning:
            margin = "    "
            click.echo(click.wrap_text(printable(key.meaning), width, margin, margin))


def _ports(ports: tuple[Port, ...]) -> str:
    texts = [f"{port.name} ({port.type_name}{', optional' if port.optional else ''})" for port in ports]
    return ", ".join(texts) or "none"


def _echo_finding(finding: Finding, *, with_traceback: bool) -> None:
    level = click.style(finding.level, fg=_COLORS[finding.level], bold=True)
    click.echo(f"{level}  {printable(f'{finding.distribution}, {finding.about}: {finding.message}')}")
    if finding.hint:
        click.echo(f"  {printable(finding.hint)}")
    if with_traceback and finding.traceback:
        click.echo("".join(f"    {line}\n" for line in finding.traceback.splitlines()), nl=False)


def _echo_verdict(manager: PluginManager, findings: list[Finding]) -> None:
    counts = {level: sum(f.level == level for f in findings) for level in ("error", "warning", "note")}
    said = ", ".join(f"{count} {level}{'s' if count > 1 else ''}" for level, count in counts.items() if count)
    stages, plugins = len(manager.stages.entries()), len(manager.plugins)
    click.echo(f"{plugins} plugin{'s' if plugins != 1 else ''}, {stages} stages: {said or 'all in order'}.")


def _plugin_json(plugin: PluginInfo) -> dict[str, Any]:
    return {
        "distribution": plugin.distribution,
        "version": plugin.version,
        "entry_point": plugin.entry_point,
        "target": plugin.target,
        "status": plugin.status,
        "hooks": list(plugin.hooks),
        "import_seconds": round(plugin.seconds, 4),
    }


def _stage_json(entry: StageEntry) -> dict[str, Any]:
    return {
        "kind": entry.kind,
        "use": entry.name,
        "distribution": entry.distribution,
        "version": entry.version,
        "target": entry.target,
    }


def _reference_json(found: StageReference) -> dict[str, Any]:
    return {
        "kind": found.kind,
        "use": found.name,
        "target": found.target,
        "distribution": found.distribution,
        "version": found.version,
        "about": found.about,
        "deterministic": found.deterministic,
        "inputs": [{"name": p.name, "type": p.type_name, "optional": p.optional} for p in found.inputs],
        "outputs": [{"name": p.name, "type": p.type_name} for p in found.outputs],
        "config": [
            {
                "name": key.name,
                "type": key.type,
                "required": key.required,
                "default": key.default,
                "shared": key.shared,
                "meaning": key.meaning,
            }
            for key in found.config
        ],
    }
