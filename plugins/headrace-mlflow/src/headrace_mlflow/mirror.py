"""Writes to MLflow. Keeps no state: a run is found again by its tag, so that a mirror survives a restart."""

from __future__ import annotations

import json
import math
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run, RunTag
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from headrace import (
    AliasMove,
    ArtifactSource,
    DriftReport,
    Evaluation,
    GateReport,
    PackageView,
    Report,
    RunInfo,
    SplitReport,
    StageInfo,
    StageRecord,
    ValidationReport,
)

RUN_TAG = "headrace.run_id"
VERSION_TAG = "headrace.version"
DRIFT_TAG = "headrace.drift"
PARAM_LIMIT = 6000  # characters of a value that MLflow 3 keeps
PARAMS_AT_ONCE = 100
METRICS_AT_ONCE = 1000
_STATUS = {
    "running": "RUNNING",
    "succeeded": "FINISHED",
    "failed": "FAILED",
    "cancelled": "KILLED",
    "crashed": "KILLED",
}
T = TypeVar("T")
_DOCUMENTS = (Evaluation, GateReport, ValidationReport, SplitReport)


class Mirror:
    """One server. Raises `MlflowException` when it does not answer; the runtime logs that and goes on."""

    def __init__(self, uri: str) -> None:
        self._client = MlflowClient(tracking_uri=uri, registry_uri=uri)

    # --- runs -------------------------------------------------------------------------------------------------------

    def begin(self, run: RunInfo) -> Run:
        git: Any = run.provenance.get("git") or {}
        tags = {RUN_TAG: run.id, "headrace.trigger": run.trigger}
        if git.get("commit"):
            tags |= {"mlflow.source.git.commit": git["commit"], "headrace.git.dirty": str(git["dirty"]).lower()}
        if run.provenance.get("who"):
            tags["mlflow.user"] = str(run.provenance["who"])
        return self._client.create_run(
            self._experiment(run.project), start_time=_milliseconds(run.started), tags=tags, run_name=run.id
        )

    def stage(self, run: RunInfo, record: StageRecord, artifacts: ArtifactSource) -> None:
        mirrored = self._run(run)
        name, at = record.stage.name, _milliseconds(record.ended)
        params = [Param(key, value[:PARAM_LIMIT]) for key, value in _flat(name, record.stage.config)]
        tags = [RunTag(f"headrace.stage.{name}", record.outcome)]
        metrics = [_metric(name, key, value, at) for key, value in record.metrics.items()]
        metrics.append(Metric(f"{name}.seconds", record.ended - record.started, at, 0))
        for output, ref in record.outputs.items():
            if ref.type_name in _mirrored_types():
                artifact = artifacts.load(ref)
                if isinstance(artifact, Evaluation):
                    metrics += [_metric(name, key, m["value"], at) for key, m in _defined(artifact.metrics)]
                self._keep(mirrored, name, output, artifact)
        for some in _portions(params, PARAMS_AT_ONCE):
            self._client.log_batch(mirrored.info.run_id, params=some)
        for some_metrics in _portions(metrics, METRICS_AT_ONCE):
            self._client.log_batch(mirrored.info.run_id, metrics=some_metrics)
        self._client.log_batch(mirrored.info.run_id, tags=tags)

    def failure(self, run: RunInfo, record: StageRecord) -> None:
        mirrored = self._run(run)
        self._client.set_tag(mirrored.info.run_id, f"headrace.stage.{record.stage.name}", "failed")
        self._client.log_text(mirrored.info.run_id, record.error or "", f"{record.stage.name}/error.txt")

    def end(self, run: RunInfo) -> None:
        ended = _milliseconds(run.ended) if run.ended is not None else None
        self._client.set_terminated(self._run(run).info.run_id, _STATUS[run.status], ended)

    # --- models -----------------------------------------------------------------------------------------------------

    def version(self, package: PackageView) -> None:
        version = package.version
        self._ensure_model(version.name)
        tags = {VERSION_TAG: str(version.number), "headrace.package": version.package}
        run_id = package.manifest.get("run")
        mirrored = self._find(str(run_id)) if run_id else None
        source = f"headrace:{version.package}"
        if mirrored is not None:
            folder = f"package-{version.number}"
            with tempfile.TemporaryDirectory() as scratch:
                for name in package.manifest["files"]:
                    (Path(scratch) / name).write_bytes(package.read(name))
                self._client.log_artifacts(mirrored.info.run_id, scratch, folder)
            source = f"{mirrored.info.artifact_uri}/{folder}"
        self._client.create_model_version(
            version.name, source, run_id=mirrored.info.run_id if mirrored else None, tags=tags
        )

    def alias(self, move: AliasMove) -> None:
        if move.version is None:
            self._client.delete_registered_model_alias(move.model, move.alias)
            return
        self._ensure_model(move.model)
        found = self._version(move.model, str(move.version))
        if found is None:
            msg = (
                f"version {move.version} of {move.model} is not mirrored, so its alias {move.alias!r} cannot be either"
            )
            raise LookupError(msg)
        self._client.set_registered_model_alias(move.model, move.alias, found.version)
        self._client.set_model_version_tag(move.model, found.version, f"headrace.{move.alias}.why", move.why)

    # --- drift ------------------------------------------------------------------------------------------------------

    def drift(self, report: DriftReport, run: RunInfo | None, stage: StageInfo | None) -> None:
        """Into the run that saw it; and to the version that it is about, as a tag, so that it is seen there too."""
        names = ", ".join(report.drifted)[:PARAM_LIMIT]
        if run is not None:
            mirrored, folder = self._run(run).info.run_id, stage.name if stage is not None else "drift"
            text = json.dumps(report.to_dict(), indent=2, ensure_ascii=False)
            self._client.log_text(mirrored, text, f"{folder}/drift.json")
            self._client.set_tag(mirrored, DRIFT_TAG, names)
            now = _milliseconds(time.time())
            sizes = {_param_name(column.name): column.effect.size for column in report if column.verdict == "drift"}
            metrics = [
                Metric(f"{folder}.drift.{name}", size, now, 0) for name, size in sizes.items() if math.isfinite(size)
            ]
            for some in _portions(metrics, METRICS_AT_ONCE):
                self._client.log_batch(mirrored, metrics=some)
        model, number = report.about.get("model"), report.about.get("version")
        if model is not None and (found := self._version(str(model), str(number))) is not None:
            self._client.set_model_version_tag(found.name, found.version, DRIFT_TAG, names)

    # --- finding ----------------------------------------------------------------------------------------------------

    def _run(self, run: RunInfo) -> Run:
        """The mirrored run, begun now if the server was not there when the run began."""
        return self._find(run.id) or self.begin(run)

    def _find(self, run_id: str) -> Run | None:
        experiments = [e.experiment_id for e in self._client.search_experiments()]
        found = self._client.search_runs(experiments, f"tags.`{RUN_TAG}` = {_quoted(run_id)}", max_results=1)
        return found[0] if found else None

    def _version(self, model: str, number: str) -> ModelVersion | None:
        versions = self._client.search_model_versions(f"name = {_quoted(model)}")
        return next((found for found in versions if found.tags.get(VERSION_TAG) == number), None)

    def _experiment(self, name: str) -> str:
        found = self._client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        try:
            return str(self._client.create_experiment(name))
        except MlflowException:  # another run made it in between
            found = self._client.get_experiment_by_name(name)
            if found is None:
                raise
            return str(found.experiment_id)

    def _ensure_model(self, name: str) -> None:
        try:
            self._client.get_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            self._client.create_registered_model(name)

    def _keep(self, run: Run, stage: str, output: str, artifact: object) -> None:
        if isinstance(artifact, Report):
            self._client.log_text(run.info.run_id, artifact.html, f"{stage}/{output}.html")
        elif isinstance(artifact, _DOCUMENTS):
            text = json.dumps(vars(artifact), indent=2, ensure_ascii=False, default=list)
            self._client.log_text(run.info.run_id, text, f"{stage}/{output}.json")


def _portions(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (items[at : at + size] for at in range(0, len(items), size))


def _mirrored_types() -> frozenset[str]:
    return frozenset(type_.type_name for type_ in (*_DOCUMENTS, Report))


def _metric(stage: str, key: str, value: Any, at: int) -> Metric:
    name, _, step = key.partition("@")
    return Metric(f"{stage}.{name}", float(value), at, int(step) if step else 0)


def _defined(metrics: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    return ((key, metric) for key, metric in metrics.items() if metric.get("value") is not None)


def _flat(prefix: str, value: Any) -> Iterator[tuple[str, str]]:
    """A config as `stage.key.inner` -> text. Lists stay JSON."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat(f"{prefix}.{_param_name(str(key))}", inner)
    else:
        yield prefix, value if isinstance(value, str) else json.dumps(value, default=str)


def _param_name(key: str) -> str:
    """MLflow allows letters, digits, `_-. :/` in names."""
    return "".join(c if c.isalnum() or c in "_-. :/" else "_" for c in key)


def _quoted(text: str) -> str:
    """A string literal of MLflow's filter language. Names of headrace hold no quotes; anything else is refused."""
    if "'" in text or "\\" in text:
        msg = f"{text!r} cannot be searched for"
        raise ValueError(msg)
    return f"'{text}'"


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)
