"""`headrace models list | show | card | promote | approve | rollback | history`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from headrace.cli.command import Group
from headrace.cli.documents import aliases_of, move_document
from headrace.cli.options import json_option, project_option
from headrace.cli.output import Column, echo_json, echo_pairs, echo_table, interval, iso, measure, moment, short, size

if TYPE_CHECKING:
    from headrace.types import AliasMove, PackageView

_MOVE = "model, alias, version, previous, who, why, gate (digest of the gate report), run_id, at"


@click.group(
    cls=Group,
    examples=[
        "headrace models list",
        "headrace models show flights@champion",
        'headrace models promote flights@2 --why "better on winter flights"',
        'headrace models rollback flights --why "late arrivals are up"',
    ],
)
def models() -> None:
    """List, show, promote and roll back model versions.

    A version is named MODEL@ALIAS (flights@champion), MODEL@NUMBER (flights@3), or MODEL for its champion.
    """


@models.command(
    "list",
    short_help="List the models and their versions.",
    examples=["headrace models list", "headrace models list --json"],
    keys={"versions": "entries: model, number, aliases, package, model_digest, run, who, created, about; newest first"},
)
@project_option
@json_option
def list_(*, project_dir: str, env: str | None, as_json: bool) -> None:
    """List the models and their versions, newest version first."""
    from headrace.project import Project

    with Project(project_dir, env=env) as project:
        registry = project.registry
        found = [version for model in registry.models() for version in registry.versions(model.name)]
    if as_json:
        entries = [
            {
                "model": version.model,
                "number": version.number,
                "aliases": list(version.aliases),
                "package": version.package,
                "model_digest": version.model_digest,
                "run": version.run_id,
                "who": version.who,
                "created": iso(version.created),
                "about": dict(version.about),
            }
            for version in found
        ]
        echo_json({"versions": entries})
        return
    if not found:
        click.echo("no models yet; a run with a register stage makes one")
        return
    columns = [
        Column("version"),
        Column("aliases"),
        Column("created"),
        Column("run"),
        Column("who"),
        Column("package"),
    ]
    echo_table(
        columns,
        [
            (f"{v.model}@{v.number}", ", ".join(v.aliases) or "-", moment(v.created), v.run_id, v.who, short(v.package))
            for v in found
        ],
    )


@models.command(
    short_help="Show the package of a version.",
    examples=["headrace models show flights@champion", "headrace models show flights@3 --json"],
    keys={
        "name, number, package, aliases": "which version",
        "manifest": "the package's manifest: files with size and SHA-256, run, what it is about",
        "signature": "inputs (name, type, nullable) and outputs",
        "metrics": "metrics.json of the package",
    },
)
@click.argument("ref", metavar="REF")
@project_option
@json_option
def show(*, ref: str, project_dir: str, env: str | None, as_json: bool) -> None:
    """Show what is in the package of a version: metrics, signature, files, where it came from."""
    from headrace.project import Project

    with Project(project_dir, env=env) as project:
        package = project.registry.resolve(ref)
        document = {
            "name": package.version.name,
            "number": package.version.number,
            "package": package.version.package,
            "aliases": aliases_of(project, package.version.name, package.version.number),
            "manifest": dict(package.manifest),
            "signature": _part(package, "signature.json"),
            "metrics": _part(package, "metrics.json"),
        }
    if as_json:
        echo_json(document)
    else:
        _print_version(document)


def _part(package: PackageView, name: str) -> Any:
    import json

    return json.loads(package.read(name)) if name in package.manifest["files"] else None


def _print_version(document: dict[str, Any]) -> None:
    manifest, signature = document["manifest"], document["signature"] or {}
    title = f"{document['name']}@{document['number']}"
    names = f" ({', '.join(document['aliases'])})" if document["aliases"] else ""
    click.echo(click.style(title, bold=True) + names)
    about = {key: value for key, value in manifest.get("about", {}).items() if not isinstance(value, dict | list)}
    facts = {"package": document["package"], "run": manifest.get("run"), "created": _created(manifest), **about}
    echo_pairs({key: value for key, value in facts.items() if value is not None}, indent=2)
    metrics = (document["metrics"] or {}).get("metrics") or {}
    if metrics:
        click.echo()
        columns = [Column("metric"), Column("value", "right"), Column("interval"), Column("better")]
        rows = []
        for name, metric in metrics.items():
            rows.append((name, measure(metric.get("value")), interval(metric), metric.get("better")))
        echo_table(columns, rows, indent=2)
    inputs = signature.get("inputs") or []
    if inputs:
        click.echo()
        columns = [Column("input"), Column("type"), Column("nulls")]
        echo_table(
            columns, [(i["name"], i["type"], "yes" if i.get("nullable") else "no") for i in inputs[:50]], indent=2
        )
        if len(inputs) > 50:
            click.echo(f"  and {len(inputs) - 50} more (--json shows all)")
    python = signature.get("python") or []
    if python:
        click.echo()
        columns = [Column("Python columns"), Column("from")]
        echo_table(columns, [(t["use"], f"{t['distribution']} {t['version']}".rstrip()) for t in python], indent=2)
    click.echo()
    files = manifest.get("files") or {}
    columns = [Column("file"), Column("size", "right"), Column("sha256")]
    echo_table(columns, [(n, size(f["size"]), short(f["sha256"])) for n, f in sorted(files.items())], indent=2)


@models.command(
    short_help="Write the card of a version.",
    examples=[
        "headrace models card flights@champion",
        "headrace models card flights@3 --html -o card.html",
        "headrace models card flights@3 --json",
    ],
    keys={
        "name, number, package, model_digest, aliases, created, registered_by, task, target": "which version",
        "data": "sources (stage, path, sha256), time_column, datasets by name: digest, rows, columns, first, last",
        "metrics": "metrics.json of the package: primary, rows, level, metrics, baseline, slices, importance",
        "live": "metrics of live rows by month and slice",
        "features": "inputs, outputs, python, classes",
        "profile": "rows, columns and fingerprint of the reference",
        "gate": "digest, passed, champion (that it was compared with), checks",
        "decision": "cycle of the loop, reasons, rows, steps",
        "approvals": "each: at, what, who, why, gate",
        "lineage": "run, trigger, started, stages with digests of their inputs and outputs",
        "environment": "python, abi, platform, machine, cpus, who, git, seed, distributions",
        "files": "size and sha256 of each file of the package",
    },
)
@click.argument("ref", metavar="REF")
@click.option("--html", "as_html", is_flag=True, help="A page that loads nothing, in place of Markdown.")
@click.option("-o", "--output", type=click.Path(dir_okay=False, allow_dash=True), default="-", help="[default: stdout]")
@project_option
@json_option
def card(*, ref: str, as_html: bool, output: str, project_dir: str, env: str | None, as_json: bool) -> None:
    """Write what the store knows of a version: its data, metrics by slice, lineage, gate, approvals, environment.

    Everything is read from the run, the package, the log and the history; what was not recorded is said so (null in
    --json).
    """
    import sys
    from pathlib import Path

    from headrace.builtins.report.card_page import card_page, markdown
    from headrace.cli.output import json_text
    from headrace.project import Project
    from headrace.project.card import card_of
    from headrace.project.writing import write_whole

    if as_html and as_json:
        raise click.UsageError("give --html or --json, not both")
    with Project(project_dir, env=env) as project:
        found = card_of(project, ref)
    text = json_text(found) + "\n" if as_json else card_page(found) if as_html else markdown(found)
    if output == "-":
        sys.stdout.flush()
        sys.stdout.buffer.write(text.encode())
        return
    write_whole(Path(output), text.encode())
    click.echo(f"wrote {click.format_filename(output)}", err=True)


def _created(manifest: dict[str, Any]) -> str | None:
    created = manifest.get("created")
    return moment(created) if isinstance(created, int | float) else created


@models.command(
    examples=[
        'headrace models promote flights@2 --why "better on winter flights"',
        'headrace models promote flights@3 --alias challenger --why "to be watched"',
    ],
    keys={"move": f"null if the alias was there already; else {_MOVE}"},
)
@click.argument("ref", metavar="REF")
@click.option("--alias", metavar="NAME", default="champion", show_default=True, help="The alias that moves.")
@click.option("--why", metavar="TEXT", required=True, help="The reason; it stays in the history.")
@project_option
@json_option
def promote(*, ref: str, alias: str, why: str, project_dir: str, env: str | None, as_json: bool) -> None:
    """Let an alias name another version."""
    from headrace.project import Project

    with Project(project_dir, env=env) as project:
        move = project.registry.promote(ref, alias, why=why)
    _print_move(move, f"{ref} has the alias {alias} already", as_json=as_json)


@models.command(
    short_help="Let the loop promote a version.",
    examples=["headrace models approve flights@7", 'headrace models approve flights@7 --reason "checked"'],
)
@click.argument("ref", metavar="REF")
@click.option("--reject", is_flag=True, help="Say no instead: the version is not promoted.")
@click.option("--reason", default="", help="Why: goes into the log.")
@project_option
def approve(*, ref: str, reject: bool, reason: str, project_dir: str, env: str | None) -> None:
    """Let the loop promote the version that it waits with (`promote = "wait"` in [loop]), when it looks next."""
    from headrace.project import Project
    from headrace.project.looping import approve as say

    with Project(project_dir, env=env) as project:
        entry = say(project, ref, "rejected" if reject else "approved", reason)
    click.echo(f"{entry.kind}: version {entry.body['version']}; the loop takes it up when it looks next")


@models.command(
    short_help="Let an alias go back to the version before.",
    examples=['headrace models rollback flights --why "late arrivals are up"'],
    keys={"move": _MOVE},
)
@click.argument("model", metavar="MODEL")
@click.option("--alias", metavar="NAME", default="champion", show_default=True, help="The alias that moves.")
@click.option("--why", metavar="TEXT", default="rollback", show_default=True, help="The reason; it stays.")
@project_option
@json_option
def rollback(*, model: str, alias: str, why: str, project_dir: str, env: str | None, as_json: bool) -> None:
    """Let an alias name the version that it named before the present one. The history keeps both moves."""
    from headrace.project import Project

    with Project(project_dir, env=env) as project:
        move = project.registry.rollback(model, alias, why=why)
    _print_move(move, "", as_json=as_json)


def _print_move(move: AliasMove | None, otherwise: str, *, as_json: bool) -> None:
    if as_json:
        echo_json({"move": move_document(move) if move is not None else None})
        return
    if move is None:
        click.echo(otherwise)
        return
    before = f", before: version {move.previous}" if move.previous is not None else ""
    click.echo(f"{move.model}@{move.alias} is version {move.version} now{before}")


@models.command(
    short_help="Show who moved an alias, when and why.",
    examples=["headrace models history flights", "headrace models history flights --alias champion --json"],
    keys={"moves": f"newest first; each: {_MOVE}"},
)
@click.argument("model", metavar="[MODEL]", required=False)
@click.option("--alias", metavar="NAME", help="Only this alias.")
@project_option
@json_option
def history(*, model: str | None, alias: str | None, project_dir: str, env: str | None, as_json: bool) -> None:
    """Show who moved an alias, when, why, and on which gate report (default: the project's own model)."""
    from headrace.project import Project

    with Project(project_dir, env=env) as project:
        moves = project.registry.history(model or project.spec.name, alias)
    if as_json:
        echo_json({"moves": [move_document(move) for move in moves]})
        return
    columns = [
        Column("when"),
        Column("alias"),
        Column("version", "right"),
        Column("before", "right"),
        Column("who"),
        Column("gate"),
        Column("why"),
    ]
    echo_table(
        columns,
        [(moment(m.at), m.alias, m.version, m.previous, m.who, short(m.gate), m.why) for m in moves],
    )
