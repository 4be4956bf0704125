"""The card of a model version: what the store knows of where it comes from, how good it is, and who approved of it.

Nothing here is typed in by hand or guessed: what a version's run, package, log or history does not have is None.
"""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING, Any

from headrace.errors import DataError, NotFoundError, SpecError
from headrace.loop.live import moments
from headrace.project.feedback import as_document
from headrace.project.looping import model_of
from headrace.project.measuring import over_time
from headrace.types import GateReport

if TYPE_CHECKING:
    from headrace.project import Project
    from headrace.store.loops import LogEntry
    from headrace.types import PackageView, RunInfo, StageRecord

_ROLES = ("data", "train", "valid", "test")


def card_of(project: Project, ref: str) -> dict[str, Any]:
    """The card as a document. Raises as `Registry.resolve` does."""
    package = project.registry.resolve(ref)
    version = package.version
    row = project.store_to_read.versions.get(version.name, version.number)
    run = _run(project, row.run_id if row is not None else None)
    log = project.store_to_read.loops.entries(project.spec.name) if version.name == model_of(project) else []
    about = package.manifest.get("about", {})
    return {
        "name": version.name,
        "number": version.number,
        "package": version.package,
        "model_digest": package.manifest.get("model_digest"),
        "aliases": sorted(
            info for v in project.registry.versions(version.name) if v.number == version.number for info in v.aliases
        ),
        "created": row.created if row is not None else None,
        "registered_by": row.who if row is not None else None,
        "task": about.get("task"),
        "target": about.get("target"),
        "data": _data(project, run),
        "metrics": _part(package, "metrics.json"),
        "live": _live(project, version.name, version.number),
        "features": _features(package),
        "profile": _profile(package),
        "gate": _gate(project, run),
        "decision": _decision(log, version.number, version.package),
        "approvals": _approvals(project, log, version.name, version.number),
        "lineage": _lineage(run),
        "environment": _environment(run),
        "files": {name: dict(file) for name, file in sorted(package.manifest["files"].items())},
    }


def _part(package: PackageView, name: str) -> Any:
    return json.loads(package.read(name)) if name in package.manifest["files"] else None


def _run(project: Project, run: str | None) -> RunInfo | None:
    if run is None:
        return None
    try:
        return project.store_to_read.runs.get(run)
    except NotFoundError:
        return None


def _stage(run: RunInfo, kind: str) -> StageRecord | None:
    return next((record for record in run.stages if record.stage.kind == kind), None)


# --- data -------------------------------------------------------------------------------------------------------------


def _data(project: Project, run: RunInfo | None) -> dict[str, Any] | None:
    """Sources with their hashes, and each dataset of the run: digest, rows, columns, first and last time."""
    if run is None:
        return None
    sources: list[dict[str, Any]] = []
    for record in run.stages:
        external: Any = record.fingerprint.get("external")
        files = external.get("files", ()) if isinstance(external, dict) else ()
        sources += [{"stage": record.stage.name, "path": str(path), "sha256": str(digest)} for path, digest in files]
    configs: list[Any] = [record.fingerprint.get("config") for record in run.stages]
    named = [config["time_column"] for config in configs if isinstance(config, dict) and config.get("time_column")]
    time = str(named[0]) if named else None
    found = {
        name: ref.digest
        for record in run.stages
        for name, ref in record.outputs.items()
        if ref.type_name == "dataset" and name in _ROLES
    }
    sets = {name: _dataset(project, digest, time) for name, digest in found.items()}
    return {"sources": sources, "time_column": time, "datasets": sets}


def _dataset(project: Project, digest: str, time: str | None) -> dict[str, Any]:
    """What the store has of it; rows and period are None where it was removed to make room."""
    from headrace.compute.dataset import Dataset

    document: dict[str, Any] = {"digest": digest, "rows": None, "columns": None, "first": None, "last": None}
    try:
        data = project.store_to_read.artifacts.load(digest, Dataset)
        document |= {"rows": data.num_rows, "columns": len(data.columns)}
        if time is not None and time in data.columns:
            when = moments(data.lazy().select(time).collect(), time)
            document |= {"first": _iso(when.min()), "last": _iso(when.max())}
    except (DataError, NotFoundError):
        return document
    return document


def _iso(value: Any) -> str | None:
    return value.isoformat() if isinstance(value, dt.datetime) else None


# --- quality ----------------------------------------------------------------------------------------------------------


def _live(project: Project, model: str, number: int) -> list[dict[str, Any]] | None:
    """Metrics over time of live rows; None where the project has none, or they cannot be read."""
    try:
        found = [one for one in over_time(project, "month") if (one.model, one.version) == (model, str(number))]
    except (DataError, SpecError):
        return None
    return list(as_document(found)["periods"]) or None


def _features(package: PackageView) -> dict[str, Any] | None:
    """What goes in and what the plan makes of it."""
    signature, plan = _part(package, "signature.json"), _part(package, "plan.json")
    if signature is None or plan is None:
        return None
    from headrace.compute.plan.feature_plan import FeaturePlan

    read = FeaturePlan.from_document(plan)
    return {
        "inputs": signature["inputs"],
        "outputs": list(read.outputs),
        "python": signature.get("python", []),
        "classes": list(read.class_names),
    }


def _profile(package: PackageView) -> dict[str, Any] | None:
    """The reference that live rows are compared with."""
    from headrace.compute.profile import Profile

    if "profile.bin" not in package.manifest["files"]:
        return None
    found = Profile.from_bytes(package.read("profile.bin"))
    return {"rows": found.rows, "columns": dict(found.columns), "fingerprint": found.fingerprint}


# --- decisions --------------------------------------------------------------------------------------------------------


def _gate(project: Project, run: RunInfo | None) -> dict[str, Any] | None:
    record = _stage(run, "gate") if run is not None else None
    ref = next((ref for ref in record.outputs.values() if ref.type_name == "gate-report"), None) if record else None
    if ref is None:
        return None
    try:
        report = project.store_to_read.artifacts.load(ref.digest, GateReport)
    except NotFoundError:
        return {"digest": ref.digest, "passed": None, "champion": None, "checks": None}
    return {
        "digest": ref.digest,
        "passed": report.passed,
        "champion": report.champion,
        "checks": [dict(check) for check in report.checks],
    }


def _decision(log: list[LogEntry], number: int, package: str) -> dict[str, Any] | None:
    """Why the loop made it, and what became of it there."""
    cycle = next(
        (
            entry.body["cycle"]
            for entry in log
            if entry.kind == "trained" and (entry.body.get("version"), entry.body.get("package")) == (number, package)
        ),
        None,
    )
    if cycle is None:
        return None
    mine = [entry for entry in log if entry.body.get("cycle") == cycle]
    decided = next((entry for entry in mine if entry.kind == "decided"), None)
    steps = [{"seq": e.seq, "at": e.at, "kind": e.kind, "why": str(e.body.get("why", ""))} for e in mine]
    return {
        "cycle": cycle,
        "reasons": list(decided.body["reasons"]) if decided is not None else None,
        "rows": decided.body["data"].get("rows") if decided is not None else None,
        "steps": steps,
    }


def _approvals(project: Project, log: list[LogEntry], model: str, number: int) -> list[dict[str, Any]]:
    """Who approved of it or said no, and who gave it an alias or took it: oldest first."""
    found = [
        {"at": e.at, "what": e.kind, "who": e.who, "why": str(e.body.get("reason", "")), "gate": None}
        for e in log
        if e.kind in ("approved", "rejected") and e.body.get("version") == number
    ]
    for move in reversed(project.registry.history(model)):
        if number in (move.version, move.previous):
            to = f"{move.alias}: version {move.previous or 'none'} to {move.version or 'none'}"
            found.append({"at": move.at, "what": to, "who": move.who, "why": move.why, "gate": move.gate})
    return found


# --- where it comes from ----------------------------------------------------------------------------------------------


def _lineage(run: RunInfo | None) -> dict[str, Any] | None:
    if run is None:
        return None
    return {
        "run": run.id,
        "trigger": run.trigger,
        "started": run.started,
        "stages": [
            {
                "stage": record.stage.name,
                "kind": record.stage.kind,
                "use": record.stage.use,
                "outcome": record.outcome,
                "inputs": {name: ref.digest for name, ref in record.inputs.items()},
                "outputs": {name: ref.digest for name, ref in record.outputs.items()},
            }
            for record in run.stages
        ],
    }


def _environment(run: RunInfo | None) -> dict[str, Any] | None:
    if run is None or not run.provenance:
        return None
    locked = {name for r in run.stages if isinstance(lock := r.fingerprint.get("lock"), dict) for name in lock}
    found: Any = run.provenance.get("distributions") or {}
    used = {name: version for name, version in found.items() if name in locked or name == "headrace"}
    facts = {key: run.provenance.get(key) for key in ("python", "abi", "platform", "machine", "cpus", "who", "git")}
    seeds = {r.fingerprint["seed"] for r in run.stages if r.fingerprint.get("seed") is not None}
    return {**facts, "seed": min(seeds, default=None), "distributions": used}  # type: ignore[type-var]  # integers
