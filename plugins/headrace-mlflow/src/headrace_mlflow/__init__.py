"""Mirrors headrace runs, models and aliases to an MLflow server."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from headrace import hookimpl

if TYPE_CHECKING:
    from headrace import AliasMove, ArtifactSource, DriftReport, PackageView, RunInfo, StageInfo, StageRecord
    from headrace_mlflow.mirror import Mirror

__all__ = ["MlflowPlugin", "plugin"]


class MlflowPlugin:
    """The hooks. Each asks for the mirror anew: there is none unless `MLFLOW_TRACKING_URI` names a server."""

    @staticmethod
    def _mirror() -> Mirror | None:
        uri = os.environ.get("MLFLOW_TRACKING_URI")
        if not uri:
            return None
        from headrace_mlflow.mirror import Mirror

        return Mirror(uri)

    @hookimpl
    def before_run(self, run: RunInfo) -> None:
        if (mirror := self._mirror()) is not None:
            mirror.begin(run)

    @hookimpl
    def after_stage(self, run: RunInfo, record: StageRecord, artifacts: ArtifactSource) -> None:
        if (mirror := self._mirror()) is not None:
            mirror.stage(run, record, artifacts)

    @hookimpl
    def on_stage_error(self, run: RunInfo, record: StageRecord) -> None:
        if (mirror := self._mirror()) is not None:
            mirror.failure(run, record)

    @hookimpl
    def after_run(self, run: RunInfo) -> None:
        if (mirror := self._mirror()) is not None:
            mirror.end(run)

    @hookimpl
    def after_version_registered(self, package: PackageView) -> None:
        if (mirror := self._mirror()) is not None:
            mirror.version(package)

    @hookimpl
    def after_alias_moved(self, move: AliasMove) -> None:
        if (mirror := self._mirror()) is not None:
            mirror.alias(move)

    @hookimpl
    def on_drift(self, report: DriftReport, run: RunInfo | None, stage: StageInfo | None) -> None:
        if (mirror := self._mirror()) is not None:
            mirror.drift(report, run, stage)


plugin = MlflowPlugin()
