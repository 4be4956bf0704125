"""The Python face of the server in the Rust core: what it is given to start with."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace import _core
from headrace.compute import golden
from headrace.compute.drift.reference import INPUTS, SCORES, score_columns
from headrace.compute.inference import refuse_external_data
from headrace.compute.plan.feature_plan import FeaturePlan
from headrace.compute.plan.types import family
from headrace.errors import ModelFormatError, ServingError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from headrace.types import PackageView

ServedVersion = _core.ServedVersion
"""A version in the core, ready to be routed to."""

_INSTALL = "pip install -U 'onnxruntime>=1.23'"
_LIBRARIES = ("libonnxruntime.so*", "libonnxruntime*.dylib")
_NO_REFERENCES: dict[str, Any] = {"profile": None, "scores_profile": None, "score_columns": []}
_DATATYPES = {"boolean": "BOOL", "integer": "INT64", "float": "FP64", "duration": "FP64"}


def start(options: Mapping[str, Any]) -> _core.Server:
    """A server that listens, and has nothing to offer yet.

    Raises `ServingError` where ONNX Runtime cannot be used, or the address cannot be listened on.
    """
    return _core.Server(library=str(runtime_library()), options=options)


def permissions() -> list[tuple[str, str, str]]:
    """Every way into a server, as (method, path, permission): `open`, or the scope that a token must have.

    `{model}` and `{version}` in a path stand for names. The method of a call is `gRPC`.
    """
    return _core.Server.permissions()


def load_graph(server: _core.Server, onnx: bytes, *, name: str, version: str) -> ServedVersion:
    """A plain ONNX model: its own inputs in, its own outputs out.

    Raises `ModelFormatError` where it is no ONNX model, keeps weights in other files, or has inputs or outputs that
    cannot be served.
    """
    refuse_external_data(onnx)
    return server.load(name=name, version=version, onnx=onnx, package=None)


def load_package(server: _core.Server, package: PackageView) -> ServedVersion:
    """A model package: raw columns in, the prediction and the probability of each class out.

    The golden rows are replayed: their features here, their scores in the server's own sessions.

    Raises
    ------
    ModelFormatError
        A part of the package is damaged, or its golden rows do not give what they gave.
    ServingError
        The package has columns that only Python can compute.

    """
    from importlib.metadata import version

    plan = FeaturePlan.from_document(_json(package, "plan.json"))
    if plan.transforms:
        names = ", ".join(str(transform["use"]) for transform in plan.transforms)
        raise ServingError(
            f"the package has columns that only Python can compute ({names}), which the server cannot do yet",
            place=f"{package.version.name}@{package.version.number}",
            hint="Predict with `headrace predict`, or train a model without them.",
        )
    onnx = package.read("model.onnx")
    refuse_external_data(onnx)
    expected = golden.replay_features(plan, _json(package, "golden.json"), runtime=version("onnxruntime"))
    parts = {
        "plan": json.dumps(plan.document, allow_nan=False),
        "inputs": [(column, _DATATYPES.get(family(type_), "BYTES")) for column, type_ in plan.inputs.items()],
        **_classes(plan),
        "class_names": list(plan.class_names),
        "features": expected.features.ravel().tolist(),
        "scores": expected.scores.ravel().tolist(),
        "rows": len(expected.features),
        "tolerance": expected.tolerance,
        "score_names": list(expected.names),
        **_references(package, plan),
    }
    name, number = package.version.name, str(package.version.number)
    return server.load(name=name, version=number, onnx=onnx, package=parts)


def runtime_library() -> Path:
    """ONNX Runtime's shared library inside the installed wheel, which is found without importing it.

    Raises `ServingError` where there is none: not installed, or a wheel older than those that bring one.
    """
    spec = importlib.util.find_spec("onnxruntime")
    folders = [Path(folder) / "capi" for folder in (spec.submodule_search_locations or ())] if spec else []
    if not folders:
        raise ServingError("the package onnxruntime is not installed", place="onnxruntime", hint=_INSTALL)
    found = [path for folder in folders for pattern in _LIBRARIES for path in sorted(folder.glob(pattern))]
    if not found:
        raise ServingError(
            f"the installed onnxruntime has no shared library in {folders[0]}", place="onnxruntime", hint=_INSTALL
        )
    return found[0]


def _references(package: PackageView, plan: FeaturePlan) -> dict[str, Any]:
    """What live rows are counted against, where the package has it."""
    kept = package.manifest["files"]
    if INPUTS not in kept:
        return _NO_REFERENCES
    scores = package.read(SCORES) if SCORES in kept else None
    return {"profile": package.read(INPUTS), "scores_profile": scores, "score_columns": score_columns(plan)}


def _classes(plan: FeaturePlan) -> dict[str, Any]:
    """The labels as the server answers them; of mixed types, as text."""
    if not plan.classes:
        return {"class_kind": None, "classes": None}
    for kind, type_ in (("bool", bool), ("int", int), ("float", float), ("str", str)):
        if all(type(label) is type_ for label in plan.classes):
            return {"class_kind": kind, "classes": list(plan.classes)}
    return {"class_kind": "str", "classes": list(plan.class_names)}


def _json(package: PackageView, name: str) -> dict[str, Any]:
    try:
        document = json.loads(package.read(name))
    except ValueError as error:
        raise ModelFormatError(f"not JSON: {error}", place=name, hint="Register the model again.") from error
    if not isinstance(document, dict):
        raise ModelFormatError("expected a JSON object", place=name, hint="Register the model again.")
    return document
