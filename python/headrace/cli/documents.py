"""Runs and what came of them as JSON documents: what `--json` prints, and what the tables are made from."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from headrace.cli.output import iso

if TYPE_CHECKING:
    from headrace.project import Project
    from headrace.types import AliasMove, ArtifactRef, RunInfo, StageRecord

RUN_KEYS = {
    "id, project, status, trigger": "which run, and what became of it",
    "started, ended, seconds": "ISO 8601 in UTC, and the duration",
    "stages": "one entry a stage: name, kind, use, outcome, why, seconds, attempts, key, error, inputs, "
    "outputs, metrics",
}


def run_document(info: RunInfo) -> dict[str, Any]:
    """A run with its stages."""
    return {
        "id": info.id,
        "project": info.project,
        "status": info.status,
        "trigger": info.trigger,
        "started": iso(info.started),
        "ended": iso(info.ended),
        "seconds": None if info.ended is None else round(info.ended - info.started, 3),
        "stages": [stage_document(record) for record in info.stages],
    }


def stage_document(record: StageRecord) -> dict[str, Any]:
    """A stage of a run."""
    return {
        "name": record.stage.name,
        "kind": record.stage.kind,
        "use": record.stage.use,
        "outcome": record.outcome,
        "why": record.why,
        "seconds": round(record.ended - record.started, 4),
        "attempts": record.attempts,
        "key": record.key,
        "error": record.error,
        "inputs": {name: ref.digest for name, ref in record.inputs.items()},
        "outputs": {name: ref_document(ref) for name, ref in record.outputs.items()},
        "metrics": dict(record.metrics),
    }


def ref_document(ref: ArtifactRef) -> dict[str, Any]:
    """An artifact's address."""
    return {"digest": ref.digest, "type": ref.type_name, "size": ref.size}


def move_document(move: AliasMove) -> dict[str, Any]:
    """One entry of an alias's history."""
    return asdict(move) | {"at": iso(move.at)}


RESULT_KEYS = {
    "evaluation": "primary, rows, metrics and baseline (each metric: value, low, high, better); null without one",
    "gate": "passed, champion, checks; null without one",
    "version": "name, number, package, aliases; null if nothing was registered",
    "report": "digest of the HTML report; null without one",
}


def result_document(project: Project, info: RunInfo) -> dict[str, Any]:
    """What a run came to: the last evaluation, gate report, model version and report among its outputs."""
    evaluation = _last(project, info, "evaluation")
    gate = _last(project, info, "gate-report")
    version = _last(project, info, "model-version")
    report = last_output(info, "report")
    return {
        "evaluation": None
        if evaluation is None
        else {key: getattr(evaluation, key) for key in ("task", "primary", "rows", "level", "metrics", "baseline")},
        "gate": None
        if gate is None
        else {"passed": gate.passed, "champion": gate.champion, "checks": [dict(check) for check in gate.checks]},
        "version": None
        if version is None
        else {
            "name": version.name,
            "number": version.number,
            "package": version.package,
            "aliases": aliases_of(project, version.name, version.number),
        },
        "report": report.digest if report else None,
    }


def last_output(info: RunInfo, type_name: str) -> ArtifactRef | None:
    """The last artifact of that type that a run gave."""
    found = None
    for record in info.stages:
        for ref in record.outputs.values():
            if ref.type_name == type_name:
                found = ref
    return found


def aliases_of(project: Project, model: str, number: int) -> list[str]:
    """The aliases that name a version now."""
    return sorted(
        name for name, state in project.store_to_read.versions.aliases(model).items() if state.number == number
    )


def _last(project: Project, info: RunInfo, type_name: str) -> Any:
    ref = last_output(info, type_name)
    if ref is None:
        return None
    return project.store_to_read.artifacts.load(ref, project.plugins.artifacts.load(type_name))
