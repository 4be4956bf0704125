"""What a headrace project does is found again on a real MLflow server."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient

from headrace import Project

DATA = "x,colour,y\n" + "".join(
    f"{i % 17},{'red' if i % 3 else 'blue'},{'yes' if (i % 17) > 8 else 'no'}\n" for i in range(400)
)
SPEC = """
[project]
name = "{name}"
target = "y"
task = "binary"

[ingest]
use = "files"
path = "data.csv"

[split]
use = "random"

[features]
use = "plan"

[train]
use = "lightgbm"
n_estimators = 5

[evaluate]
use = "holdout"
replicates = 50

[gate]
use = "champion"

[register]
use = "package"

[report]
use = "html"
"""


def project(folder: Path, name: str, **options: object) -> Project:
    folder.mkdir(exist_ok=True)
    (folder / "data.csv").write_text(DATA)
    (folder / "headrace.toml").write_text(SPEC.format(name=name))
    return Project(folder, **options)  # type: ignore[arg-type]


def test_a_run_is_mirrored(tmp_path: Path, tracking: str) -> None:
    with project(tmp_path / "p", "mirrored") as made:
        run = made.run().raise_on_failure()
        evaluation = run["evaluate"]
    client = MlflowClient(tracking)
    experiment = client.get_experiment_by_name("mirrored")
    assert experiment is not None
    (found,) = client.search_runs([experiment.experiment_id])
    assert found.info.status == "FINISHED"
    assert found.data.tags["headrace.run_id"] == run.id
    assert found.data.params["train.n_estimators"] == "5"
    assert found.data.params["ingest.path"] == "data.csv"
    for name, metric in evaluation.metrics.items():
        if metric["value"] is not None:
            assert found.data.metrics[f"evaluate.{name}"] == pytest.approx(metric["value"])
    assert abs(found.info.end_time - run.info.ended * 1000) <= 1
    names = {a.path for a in client.list_artifacts(found.info.run_id, "evaluate")}
    assert names == {"evaluate/evaluation.json"}
    (page,) = client.list_artifacts(found.info.run_id, "report")
    assert page.path.endswith(".html")
    kept = client.download_artifacts(found.info.run_id, "evaluate/evaluation.json", str(tmp_path))
    assert json.loads(Path(kept).read_text())["primary"] == evaluation.primary


def test_versions_and_aliases_follow(tmp_path: Path, tracking: str) -> None:
    client = MlflowClient(tracking)
    with project(tmp_path / "p", "followed") as first:
        first.run().raise_on_failure()
    version = client.get_model_version_by_alias("followed", "champion")
    assert version.tags["headrace.version"] == "1"
    files = {a.path.rpartition("/")[2] for a in client.list_artifacts(version.run_id, "package-1")}
    assert {"model.onnx", "plan.json", "signature.json"} <= files
    with project(tmp_path / "p", "followed", overrides=["train.n_estimators=6"]) as second:
        second.run().raise_on_failure()
        second.registry.promote("followed@2", why="by hand")
        assert client.get_model_version_by_alias("followed", "champion").tags["headrace.version"] == "2"
        second.registry.rollback("followed", why="worse")
    champion = client.get_model_version_by_alias("followed", "champion")
    assert champion.tags["headrace.version"] == "1"
    assert champion.tags["headrace.champion.why"] == "worse"


LIVE = """
[live]
kind = "ingest"
use = "files"
path = "live.csv"

[monitor]
use = "drift"
after = ["register"]
"""


def test_drift_is_mirrored(tmp_path: Path, tracking: str) -> None:
    """In a run: its report, a metric a column, a tag. Outside of one: a tag of the version."""
    folder = tmp_path / "p"
    folder.mkdir()
    (folder / "live.csv").write_text("x,colour,y\n" + "".join(f"{i % 17 + 40},red,no\n" for i in range(400)))
    client = MlflowClient(tracking)
    with project(folder, "drifting") as made:
        (folder / "headrace.toml").write_text(SPEC.format(name="drifting") + LIVE)
    with Project(folder) as made:
        run = made.run().raise_on_failure()
        report = run["monitor", "drift"]
    assert "x" in report.drifted
    (found,) = client.search_runs([client.get_experiment_by_name("drifting").experiment_id])
    assert found.data.tags["headrace.drift"] == ", ".join(report.drifted)
    assert found.data.metrics["monitor.drift.x"] == pytest.approx(report["x"].effect.size)
    kept = client.download_artifacts(found.info.run_id, "monitor/drift.json", str(tmp_path))
    assert json.loads(Path(kept).read_text()) == report.to_dict()
    version = client.get_model_version_by_alias("drifting", "champion")
    assert version.tags["headrace.drift"] == ", ".join(report.drifted)

    client.delete_model_version_tag("drifting", version.version, "headrace.drift")
    ours = made_outside(folder)
    version = client.get_model_version_by_alias("drifting", "champion")
    assert version.tags["headrace.drift"] == ", ".join(ours)


def made_outside(folder: Path) -> list[str]:
    command = [Path(sys.executable).with_name("headrace"), "drift", "drifting@champion", "live.csv", "--json"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return [column["name"] for column in json.loads(done.stdout)["columns"] if column["verdict"] == "drift"]


def test_a_failed_stage_is_mirrored(tmp_path: Path, tracking: str) -> None:
    with project(tmp_path / "p", "failing", overrides=['split.use="time"', 'split.time_column="colour"']) as made:
        assert not made.run().succeeded
    client = MlflowClient(tracking)
    (found,) = client.search_runs([client.get_experiment_by_name("failing").experiment_id])
    assert found.info.status == "FAILED"
    assert found.data.tags["headrace.stage.split"] == "failed"
    assert [a.path for a in client.list_artifacts(found.info.run_id, "split")] == ["split/error.txt"]


def test_a_cached_run_is_mirrored_too(tmp_path: Path, tracking: str) -> None:
    with project(tmp_path / "p", "again") as made:
        made.run().raise_on_failure()
        made.run().raise_on_failure()
    client = MlflowClient(tracking)
    runs = client.search_runs([client.get_experiment_by_name("again").experiment_id])
    assert sorted(r.data.tags["headrace.stage.train"] for r in runs) == ["cached", "executed"]


def test_a_server_that_is_down_harms_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "2")
    with project(tmp_path / "p", "alone") as made, caplog.at_level(logging.WARNING, "headrace.plugins"):
        assert made.run().succeeded
    assert any("headrace-mlflow" in message for message in caplog.messages)


def test_without_a_server_nothing_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    from headrace_mlflow import plugin

    assert plugin._mirror() is None
