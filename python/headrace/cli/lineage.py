"""`headrace lineage`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from headrace.cli.command import Command
from headrace.cli.documents import ref_document
from headrace.cli.options import json_option, project_option
from headrace.cli.output import Branch, echo_json, echo_tree, short

if TYPE_CHECKING:
    from headrace.project.ancestry import Ancestor, Descendant
    from headrace.store.lineage import Step


@click.command(
    cls=Command,
    examples=[
        "headrace lineage flights@champion",
        "headrace lineage 3fa9c2 --down",
        "headrace lineage 3fa9c2 --json",
    ],
    keys={
        "artifact": "digest, type, size",
        "up": "made_by (run, stage, kind, use, outcome) and inputs: name -> the same again; seen: stands elsewhere",
        "down": "versions (name, number), used_by: entries of run, stage, ..., runs, outputs: name -> the same again",
    },
)
@click.argument("which", metavar="ARTIFACT|MODEL@ALIAS")
@click.option("--up", "direction", flag_value="up", help="Only what made it.")
@click.option("--down", "direction", flag_value="down", help="Only what came of it.")
@project_option
@json_option
def lineage(*, which: str, direction: str | None, project_dir: str, env: str | None, as_json: bool) -> None:
    """Show what made an artifact, and what came of it.

    An artifact is named by its digest or an unambiguous beginning of it, as `headrace runs show` prints them; a model
    version by MODEL@ALIAS or MODEL@NUMBER.
    """
    from headrace.project import Project
    from headrace.project.ancestry import ancestors, descendants, find_artifact

    with Project(project_dir, env=env) as project:
        ref = find_artifact(project, which)
        up = ancestors(project.store_to_read, ref) if direction in (None, "up") else None
        down = descendants(project.store_to_read, ref) if direction in (None, "down") else None
    if as_json:
        document: dict[str, Any] = {"artifact": ref_document(ref)}
        if up is not None:
            document["up"] = _up_document(up)
        if down is not None:
            document["down"] = _down_document(down)
        echo_json(document)
        return
    if up is not None:
        click.echo(click.style("made from", dim=True))
        echo_tree(_up_branch("", up, above=None))
    if up is not None and down is not None:
        click.echo()
    if down is not None:
        click.echo(click.style("came of it", dim=True))
        echo_tree(_down_branch("", down))


def _step_document(step: Step) -> dict[str, Any]:
    return {
        "run": step.run_id,
        "project": step.project,
        "stage": step.stage.name,
        "kind": step.stage.kind,
        "use": step.stage.use,
        "outcome": step.outcome,
    }


def _up_document(node: Ancestor) -> dict[str, Any]:
    return {
        **ref_document(node.ref),
        "made_by": _step_document(node.made_by) if node.made_by else None,
        "seen": node.seen,
        "inputs": {name: _up_document(inner) for name, inner in node.inputs.items()},
    }


def _down_document(node: Descendant) -> dict[str, Any]:
    return {
        **ref_document(node.ref),
        "versions": [{"name": version.name, "number": version.number} for version in node.versions],
        "seen": node.seen,
        "used_by": [
            {
                **_step_document(use.step),
                "runs": use.runs,
                "outputs": {name: _down_document(inner) for name, inner in use.outputs.items()},
            }
            for use in node.used_by
        ],
    }


def _up_branch(name: str, node: Ancestor, *, above: str | None) -> Branch:
    """`above` is the run that is named already, further up in the tree."""
    label = f"{name}: " if name else ""
    text = f"{label}{node.ref.type_name} {short(node.ref.digest)}"
    if node.seen:
        return Branch(f"{text}  (see above)")
    if node.made_by is not None:
        text += f"  by {_words(node.made_by)}"
        if node.made_by.run_id != above:
            text += f" in run {node.made_by.run_id}"
            above = node.made_by.run_id
    inner = tuple(_up_branch(inner_name, ancestor, above=above) for inner_name, ancestor in node.inputs.items())
    return Branch(text, inner)


def _down_branch(name: str, node: Descendant) -> Branch:
    label = f"{name}: " if name else ""
    text = f"{label}{node.ref.type_name} {short(node.ref.digest)}"
    if node.versions:
        text += f"  = {', '.join(f'{v.name}@{v.number}' for v in node.versions)}"
    if node.seen:
        text += "  (see above)"
    children = []
    for use in node.used_by:
        runs = f"run {use.step.run_id}" + (f" and {use.runs - 1} more" if use.runs > 1 else "")
        outputs = tuple(_down_branch(inner_name, inner) for inner_name, inner in use.outputs.items())
        children.append(Branch(f"{_words(use.step)} in {runs}", outputs))
    return Branch(text, tuple(children))


def _words(step: Step) -> str:
    return f"{step.stage.name} ({step.stage.kind}:{step.stage.use})"
