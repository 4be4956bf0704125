"""`headrace store fsck | gc | merge`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from headrace.cli.command import Group
from headrace.cli.options import json_option, project_option
from headrace.cli.output import Column, echo_json, echo_pairs, echo_table, one_line, size
from headrace.errors import StoreError, printable

if TYPE_CHECKING:
    from headrace.store.fsck import FsckReport

_DAY = 86_400.0


@click.group(
    cls=Group,
    examples=["headrace store fsck", "headrace store gc --delete", "headrace store merge ../other/.headrace"],
)
def store() -> None:
    """Check, clean and merge the store: the folder .headrace of a project."""


@store.command(
    short_help="Check every byte and every row.",
    examples=["headrace store fsck", "headrace store fsck --repair", "headrace store fsck --json"],
    keys={
        "ok": "whether nothing is damaged, or all that was is mended",
        "objects, bytes, artifacts, versions": "how much was checked",
        "missing, corrupt, dangling, stale": "findings: what, place, detail, mended",
        "crashed": "ids of runs that died",
        "read_only": "whether the store lies where nothing can be written, so that it was only looked at",
        "orphans, orphan_bytes": "objects that nothing refers to; harmless, gc takes them",
    },
)
@click.option("--repair", is_flag=True, help="Forget what is damaged, so that the next run makes it again; tidy up.")
@project_option
@json_option
def fsck(*, repair: bool, project_dir: str, env: str | None, as_json: bool) -> None:
    """Read every byte of the store and check it against its hash, and every row against what it speaks of.

    Damaged objects are moved to .headrace/quarantine, unless the store is read-only. Exits with 5 if something is
    damaged and not mended.
    """
    from headrace.project import Project

    with Project(project_dir, env=env) as project:
        report = project.existing_store.fsck(repair=repair)
    if as_json:
        echo_json({"ok": report.ok, **asdict(report)})
    else:
        _print_fsck(report)
    if not report.ok:
        damaged = [f for f in (*report.missing, *report.corrupt, *report.dangling) if not f.mended]
        hint = "`--repair` mends what it can."
        if repair:
            hint = "Look at the findings; what is left needs a copy of the store."
        elif report.read_only:
            hint = "Make the store writable, or copy it; then `--repair` mends what it can."
        raise StoreError(f"{len(damaged)} things in the store are damaged", place=str(project_dir), hint=hint)


def _print_fsck(report: FsckReport) -> None:
    click.echo(
        f"checked {report.objects:,} objects ({size(report.bytes)}), {report.artifacts:,} artifacts, "
        f"{report.versions:,} model versions"
    )
    findings = [
        (kind, finding.what, finding.place, "mended" if finding.mended else "", finding.detail)
        for kind in ("missing", "corrupt", "dangling", "stale")
        for finding in getattr(report, kind)
    ]
    if findings:
        columns = [
            Column("finding", colors={"missing": "red", "corrupt": "red", "dangling": "red", "stale": "yellow"}),
            Column("what"),
            Column("where"),
            Column("mended", colors={"mended": "green"}),
            Column("detail"),
        ]
        echo_table(columns, findings)
    if report.crashed:
        click.echo(f"runs that died: {', '.join(report.crashed)}; the next run goes on from what they kept")
    if report.orphans:
        click.echo(f"{report.orphans:,} objects ({size(report.orphan_bytes)}) that nothing needs: headrace store gc")
    if report.ok:
        click.echo(click.style("nothing is damaged", fg="green"))
    if report.read_only:
        click.echo("the store is read-only: nothing was mended or moved to quarantine")
    elif any(not finding.mended for finding in report.stale):
        click.echo("`headrace store fsck --repair` removes what dead processes left")


@store.command(
    short_help="Remove what nothing needs any more.",
    examples=["headrace store gc", "headrace store gc --delete --keep 10 --grace 1"],
    keys={
        "dry_run": "true unless --delete",
        "artifacts": "digests of the artifacts whose contents go",
        "objects, bytes": "files that go, and their size",
        "kept_objects, kept_bytes": "what stays",
        "notes": "what else there is to know",
    },
)
@click.option("--delete", is_flag=True, help="Really remove; without it, only say what would go.")
@click.option(
    "--keep", type=click.IntRange(min=0), default=50, show_default=True, help="Keep all of the last so many runs."
)
@click.option(
    "--grace", metavar="DAYS", type=click.FloatRange(min=0), default=14, show_default=True, help="Keep what is younger."
)
@project_option
@json_option
def gc(*, delete: bool, keep: int, grace: float, project_dir: str, env: str | None, as_json: bool) -> None:
    """Remove what nothing needs any more: not what is registered, nor the last runs, nor what is young."""
    from headrace.project import Project

    with Project(project_dir, env=env) as project:
        report = project.existing_store.gc(dry_run=not delete, keep=keep, grace=grace * _DAY)
    if as_json:
        echo_json(asdict(report))
        return
    verb = "would go" if report.dry_run else "went"
    click.echo(
        f"{len(report.artifacts):,} artifacts, {report.objects:,} files, {size(report.bytes)} {verb}; "
        f"{report.kept_objects:,} files, {size(report.kept_bytes)} stay"
    )
    for note in report.notes:
        click.echo(note)
    if report.dry_run and report.objects:
        click.echo("nothing was removed; `headrace store gc --delete` does it")


@store.command(
    short_help="Take over everything of another store.",
    examples=["headrace store merge ../laptop/.headrace"],
    keys={"report": "what was taken over, by kind"},
)
@click.argument("other", metavar="OTHER", type=click.Path(path_type=Path))
@project_option
@json_option
def merge(*, other: Path, project_dir: str, env: str | None, as_json: bool) -> None:
    """Take over everything that another store has: runs, artifacts, model versions. OTHER is its folder.

    The other store is only read. OTHER may also be the project that it belongs to.
    """
    from headrace.project import STORE_FOLDER, Project

    inside = other / STORE_FOLDER
    with Project(project_dir, env=env) as project:
        report = project.store.merge(inside if inside.is_dir() else other)
    document: dict[str, Any] = asdict(report)
    if as_json:
        echo_json({"report": document})
        return
    echo_pairs({name: one_line(len(v) if isinstance(v, list | tuple) else v) for name, v in document.items()})
    for skipped in report.skipped:
        click.echo(f"not taken over: {printable(skipped)}", err=True)
