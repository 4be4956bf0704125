"""The default stages, registered through the same door as a stranger's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace import hookimpl

if TYPE_CHECKING:
    from typing import Protocol

    class _Registry(Protocol):
        def add(self, kind: str, name: str, target: str) -> None: ...

    class _ArtifactRegistry(Protocol):
        def add(self, type_name: str, target: str) -> None: ...

    class _NotifierRegistry(Protocol):
        def add(self, name: str, target: str) -> None: ...

    class _TriggerRegistry(Protocol):
        def add(self, name: str, target: str) -> None: ...


@hookimpl
def headrace_stages(registry: _Registry) -> None:
    """The stages of the main job."""
    registry.add("ingest", "files", "headrace.builtins.ingest.files:FilesIngest")
    registry.add("ingest", "sql", "headrace.builtins.ingest.sql:SqlIngest")
    registry.add("validate", "expectations", "headrace.builtins.validate.expectations:ExpectationsValidator")
    registry.add("split", "random", "headrace.builtins.split.random:RandomSplit")
    registry.add("split", "time", "headrace.builtins.split.time:TimeSplit")
    registry.add("split", "group", "headrace.builtins.split.group:GroupSplit")
    registry.add("features", "plan", "headrace.builtins.features.plan:PlanFeatures")
    registry.add("tune", "optuna", "headrace.builtins.tune.optuna:OptunaTuner")
    registry.add("train", "lightgbm", "headrace.builtins.lightgbm.train:LightGBMTrainer")
    registry.add("train", "sklearn", "headrace.builtins.train.sklearn:SklearnTrainer")
    registry.add("evaluate", "holdout", "headrace.builtins.evaluate.holdout:HoldoutEvaluation")
    registry.add("gate", "champion", "headrace.builtins.gate.champion:ChampionGate")
    registry.add("register", "package", "headrace.builtins.register.package:PackageRegister")
    registry.add("monitor", "drift", "headrace.builtins.monitor.drift:DriftMonitor")
    registry.add("report", "html", "headrace.builtins.report.html:HtmlReport")


@hookimpl
def headrace_artifacts(registry: _ArtifactRegistry) -> None:
    """The types that they hand to one another."""
    registry.add("dataset", "headrace:Dataset")
    registry.add("feature-plan", "headrace:FeaturePlan")
    registry.add("params", "headrace:Params")
    registry.add("validation-report", "headrace:ValidationReport")
    registry.add("split-report", "headrace:SplitReport")
    registry.add("model", "headrace:Model")
    registry.add("evaluation", "headrace:Evaluation")
    registry.add("gate-report", "headrace:GateReport")
    registry.add("model-version", "headrace:ModelVersion")
    registry.add("report", "headrace:Report")
    registry.add("profile", "headrace:Profile")
    registry.add("drift-report", "headrace:DriftReport")
    registry.add("drift-windows", "headrace.compute.drift:DriftWindows")


@hookimpl
def headrace_triggers(registry: _TriggerRegistry) -> None:
    """What makes the loop train again."""
    registry.add("new_data", "headrace.builtins.trigger.new_data:NewDataTrigger")
    registry.add("schedule", "headrace.builtins.trigger.schedule:ScheduleTrigger")
    registry.add("drift", "headrace.builtins.trigger.drift:DriftTrigger")
    registry.add("performance", "headrace.builtins.trigger.performance:PerformanceTrigger")


@hookimpl
def headrace_notifiers(registry: _NotifierRegistry) -> None:
    """Who is told what the loop does."""
    registry.add("webhook", "headrace.builtins.notify.webhook:WebhookNotifier")
    registry.add("smtp", "headrace.builtins.notify.smtp:SmtpNotifier")
