"""headrace: MLOps level 2 in one `pip install`.

The public names, each imported on first use so that `import headrace` stays fast. Everything that is not listed in
`__all__`, or in the `__all__` of `headrace.drift`, `headrace.errors`, `headrace.metrics` and `headrace.testing`, is
private.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headrace.compute import drift as drift
    from headrace.compute import metrics as metrics
    from headrace.compute.collisions import CollisionReport as CollisionReport
    from headrace.compute.collisions import HashedFeature as HashedFeature
    from headrace.compute.collisions import InverseMap as InverseMap
    from headrace.compute.dataset import Dataset as Dataset
    from headrace.compute.drift.columns import compare as compare
    from headrace.compute.drift.report import DriftReport as DriftReport
    from headrace.compute.hasher import FeatureHasher as FeatureHasher
    from headrace.compute.hasher import HashKey as HashKey
    from headrace.compute.inference import Predictor as Predictor
    from headrace.compute.plan import FeaturePlan as FeaturePlan
    from headrace.compute.profile import Profile as Profile
    from headrace.compute.profile import Window as Window
    from headrace.compute.text import HashingVectorizer as HashingVectorizer
    from headrace.hooks.markers import hookimpl as hookimpl
    from headrace.hooks.triggers import Fired as Fired
    from headrace.hooks.triggers import Trigger as Trigger
    from headrace.hooks.triggers import TriggerContext as TriggerContext
    from headrace.project import Project as Project
    from headrace.serving import Server as Server
    from headrace.types import AliasMove as AliasMove
    from headrace.types import Artifact as Artifact
    from headrace.types import ArtifactReader as ArtifactReader
    from headrace.types import ArtifactRef as ArtifactRef
    from headrace.types import ArtifactSource as ArtifactSource
    from headrace.types import ArtifactWriter as ArtifactWriter
    from headrace.types import Evaluation as Evaluation
    from headrace.types import GateReport as GateReport
    from headrace.types import Model as Model
    from headrace.types import ModelVersion as ModelVersion
    from headrace.types import PackageView as PackageView
    from headrace.types import Params as Params
    from headrace.types import RegistryView as RegistryView
    from headrace.types import Report as Report
    from headrace.types import RunInfo as RunInfo
    from headrace.types import Skew as Skew
    from headrace.types import SplitReport as SplitReport
    from headrace.types import StageContext as StageContext
    from headrace.types import StageInfo as StageInfo
    from headrace.types import StageRecord as StageRecord
    from headrace.types import SupportsArrowStream as SupportsArrowStream
    from headrace.types import Task as Task
    from headrace.types import Transform as Transform
    from headrace.types import TransformSource as TransformSource
    from headrace.types import ValidationReport as ValidationReport

_WHERE = {
    "CollisionReport": "headrace.compute.collisions",
    "Dataset": "headrace.compute.dataset",
    "compare": "headrace.compute.drift.columns",
    "DriftReport": "headrace.compute.drift.report",
    "FeatureHasher": "headrace.compute.hasher",
    "FeaturePlan": "headrace.compute.plan",
    "HashKey": "headrace.compute.hasher",
    "HashedFeature": "headrace.compute.collisions",
    "HashingVectorizer": "headrace.compute.text",
    "InverseMap": "headrace.compute.collisions",
    "Predictor": "headrace.compute.inference",
    "Profile": "headrace.compute.profile",
    "Project": "headrace.project",
    "Server": "headrace.serving",
    "Window": "headrace.compute.profile",
    "hookimpl": "headrace.hooks.markers",
    **dict.fromkeys(("Fired", "Trigger", "TriggerContext"), "headrace.hooks.triggers"),
    **dict.fromkeys(
        (
            "AliasMove",
            "Artifact",
            "ArtifactReader",
            "ArtifactRef",
            "ArtifactSource",
            "ArtifactWriter",
            "Evaluation",
            "GateReport",
            "Model",
            "ModelVersion",
            "PackageView",
            "Params",
            "RegistryView",
            "Report",
            "RunInfo",
            "Skew",
            "SplitReport",
            "StageContext",
            "StageInfo",
            "StageRecord",
            "SupportsArrowStream",
            "Task",
            "Transform",
            "TransformSource",
            "ValidationReport",
        ),
        "headrace.types",
    ),
}

__all__ = sorted([*_WHERE, "__version__", "drift", "errors", "metrics"])  # noqa: PLE0605  # a list; ruff cannot see through sorted()


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        value = getattr(importlib.import_module(_WHERE[name]), name)
    elif name == "errors":
        value = importlib.import_module("headrace.errors")
    elif name == "drift":
        value = importlib.import_module("headrace.compute.drift")
    elif name == "metrics":
        value = importlib.import_module("headrace.compute.metrics")
    elif name == "__version__":
        from importlib.metadata import version

        value = version("headrace")
    else:
        msg = f"module 'headrace' has no attribute {name!r}"
        raise AttributeError(msg)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)
