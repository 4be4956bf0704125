"""What the tests of the built-in stages share: a `StageContext` and a registry that live in memory.

Fixtures, so that nothing has to be imported from here:

- `ctx`: a fresh context with seed 0, two threads, `tmp_path/"project"` as the project's folder.
- `make_context(**changes)`: one with other values (`seed=7`, `project_dir=...`, `registry=...`).
- `roundtrip(artifact)`: saves an artifact's parts as the store would (canonical JSON without NaN, Parquet, bytes) and
  loads them again, so that a test proves that what a stage gives can be kept.

What a stage said is on the context: `ctx.logs`, `ctx.metrics` (name -> list of (step, value)), `ctx.steps` (done,
total); `ctx.cancel_after = n` makes the n-th `check_cancelled()` raise.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from headrace.errors import AliasConflictError, CancelledError
from headrace.hooks.transforms import NoTransforms
from headrace.types import JSON, ArtifactRef, FileReference, ModelVersion, SupportsArrowStream

PART_NAME = re.compile(r"[a-z0-9_]+(\.[a-z0-9]+)?")


@dataclass(frozen=True)
class FakePackage:
    """A registered package whose files are in memory."""

    version: ModelVersion
    manifest: Mapping[str, Any]
    files: Mapping[str, bytes]

    def read(self, name: str) -> bytes:
        return self.files[name]


class FakeRegistry:
    """`RegistryView` in memory: same package, same version; aliases move by compare-and-swap."""

    def __init__(self) -> None:
        self.packages: dict[str, list[FakePackage]] = {}
        self.aliases: dict[tuple[str, str], int] = {}
        self.moves: list[dict[str, Any]] = []

    def champion(self, model: str, *, besides: str | None = None) -> FakePackage | None:
        held = [m["version"] for m in self.moves if (m["model"], m["alias"]) == (model, "champion")]
        for number in reversed(held):
            package = self.packages[model][number - 1]
            if besides is None or package.manifest["model_digest"] != besides:
                return package
        return None

    def package(self, model: str, alias: str) -> FakePackage | None:
        number = self.aliased(model, alias)
        return None if number is None else self.packages[model][number - 1]

    def aliased(self, model: str, alias: str) -> int | None:
        return self.aliases.get((model, alias))

    def register(
        self, model: str, files: Mapping[str, bytes], *, about: Mapping[str, JSON], model_digest: str
    ) -> ModelVersion:
        sums = {
            name: {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
            for name, data in sorted(files.items())
        }
        body = {"format": 1, "name": model, "files": sums, "about": dict(about), "model_digest": model_digest}
        digest = hashlib.sha256(json.dumps(body, sort_keys=True, allow_nan=False).encode()).hexdigest()
        known = self.packages.setdefault(model, [])
        for package in known:
            if package.version.package == digest:
                return package.version
        version = ModelVersion(name=model, number=len(known) + 1, package=digest)
        known.append(FakePackage(version, {**body, "created": 0.0, "run": "fake"}, dict(files)))
        return version

    def move_alias(
        self, version: ModelVersion, alias: str, *, expected: int | None, why: str, gate: str | None = None
    ) -> None:
        at = self.aliases.get((version.name, alias))
        if at != expected:
            raise AliasConflictError(f"the alias '{alias}' of '{version.name}' is at {at}, expected {expected}")
        self.aliases[version.name, alias] = version.number
        self.moves.append(
            {"model": version.name, "alias": alias, "version": version.number, "previous": at, "why": why, "gate": gate}
        )


@dataclass
class FakeContext:
    """`StageContext` that remembers what it was told."""

    project_dir: Path
    workdir: Path
    seed: int = 0
    threads: int = 2
    project: str = "test"
    run_id: str = "r-test"
    stage: str = "stage"
    registry: Any = field(default_factory=FakeRegistry)
    transforms: Any = field(default_factory=NoTransforms)
    inputs: Mapping[str, ArtifactRef] = field(default_factory=dict)
    logs: list[str] = field(default_factory=list)
    metrics: dict[str, list[tuple[int | None, float]]] = field(default_factory=dict)
    steps: list[tuple[float, float | None]] = field(default_factory=list)
    cancel_after: int | None = None
    checks: int = 0

    def log(self, message: str) -> None:
        assert isinstance(message, str)
        self.logs.append(message)

    def progress(self, done: float, total: float | None = None) -> None:
        self.steps.append((done, total))

    def metric(self, name: str, value: float, *, step: int | None = None) -> None:
        self.metrics.setdefault(name, []).append((step, float(value)))

    def check_cancelled(self) -> None:
        self.checks += 1
        if self.cancel_after is not None and self.checks >= self.cancel_after:
            raise CancelledError("the run was interrupted")


class MemoryParts:
    """`ArtifactWriter` and `ArtifactReader` in one: keeps parts in the form in which a store would keep them."""

    def __init__(self) -> None:
        self.parts: dict[str, tuple[str, bytes]] = {}

    def _put(self, name: str, kind: str, data: bytes) -> None:
        assert PART_NAME.fullmatch(name), f"part name {name!r}"
        assert name not in self.parts, f"part {name!r} written twice"
        self.parts[name] = (kind, data)

    def _get(self, name: str, kind: str) -> bytes:
        found, data = self.parts[name]
        assert found == kind, f"part {name!r} is {found}, read as {kind}"
        return data

    def has(self, name: str) -> bool:
        return name in self.parts

    # writing and reading share their names in the two protocols, told apart by the number of arguments

    def json(self, name: str, *value: JSON) -> Any:
        if not value:
            return json.loads(self._get(name, "json"))
        text = json.dumps(value[0], sort_keys=True, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
        return self._put(name, "json", text.encode())

    def bytes(self, name: str, *data: Any, format: str = "binary") -> Any:
        if not data:
            return self._get(name, "bytes")
        assert format in {"onnx", "lightgbm", "html", "svg", "text", "binary"}
        return self._put(name, "bytes", data[0])

    def frame(self, name: str, *frame: SupportsArrowStream) -> Any:
        import polars as pl

        if not frame:
            return pl.read_parquet(io.BytesIO(self._get(name, "frame")))
        buffer = io.BytesIO()
        pl.DataFrame(frame[0]).write_parquet(buffer)
        return self._put(name, "frame", buffer.getvalue())

    def files(self, name: str, *references: Sequence[FileReference]) -> Any:
        if not references:
            return tuple(FileReference(**entry) for entry in json.loads(self._get(name, "files")))
        entries = [{"path": r.path, "sha256": r.sha256, "size": r.size} for r in references[0]]
        return self._put(name, "files", json.dumps(entries).encode())


@pytest.fixture
def make_context(tmp_path: Path) -> Callable[..., FakeContext]:
    def make(**changes: Any) -> FakeContext:
        values = {"project_dir": tmp_path / "project", "workdir": tmp_path / "work", **changes}
        values["project_dir"].mkdir(parents=True, exist_ok=True)
        values["workdir"].mkdir(parents=True, exist_ok=True)
        return FakeContext(**values)

    return make


@pytest.fixture
def ctx(make_context: Callable[..., FakeContext]) -> FakeContext:
    return make_context()


@pytest.fixture
def roundtrip() -> Callable[[Any], Any]:
    def pass_through(artifact: Any) -> Any:
        parts = MemoryParts()
        artifact.save(parts)
        return type(artifact).load(parts)

    return pass_through


def linear_onnx(weights: Any, bias: Any, kind: str) -> bytes:
    """An ONNX model as `headrace.Model` describes it: `kind` of features @ weights + bias; NaN features count as 0.

    `kind`: "softmax" (weights [F, K]) or "identity" (weights [F, 1]).
    """
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    weights, bias = np.asarray(weights, dtype=np.float32), np.asarray(bias, dtype=np.float32)
    width, outputs = weights.shape
    constants = {"weights": weights, "bias": bias, "zero": np.zeros(1, np.float32)}
    nodes = [
        helper.make_node("IsNaN", ["features"], ["missing"]),
        helper.make_node("Where", ["missing", "zero", "features"], ["filled"]),
        helper.make_node("MatMul", ["filled", "weights"], ["product"]),
        helper.make_node("Add", ["product", "bias"], ["sum"]),
    ]
    if kind == "softmax":
        nodes.append(helper.make_node("Softmax", ["sum"], ["probabilities"], axis=1))
        output = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["rows", outputs])
    else:
        constants["axis"] = np.array([1], dtype=np.int64)
        nodes.append(helper.make_node("Squeeze", ["sum", "axis"], ["prediction"]))
        output = helper.make_tensor_value_info("prediction", TensorProto.FLOAT, ["rows"])
    graph = helper.make_graph(
        nodes,
        "linear",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["rows", width])],
        [output],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return model.SerializeToString()


@pytest.fixture
def linear_model() -> Callable[..., Any]:
    """`linear_model(plan, {"x": 2.0, ...}, bias=..., **fields)`: a `headrace.Model` whose score is known by heart.

    Weights by output of the plan, 0 for the others: a number for binary (log odds of the second class) and
    regression, a list of K for multiclass.
    """

    def make(plan: Any, weights: Mapping[str, Any], *, bias: Any = 0.0, **fields: Any) -> Any:
        import numpy as np

        from headrace import Model

        width = max(1, len(plan.classes))
        matrix = np.zeros((len(plan.outputs), width))
        offset = np.zeros(width)
        for at, name in enumerate(plan.outputs):
            value = weights.get(name, 0.0)
            matrix[at] = [0.0, value] if plan.task == "binary" else value
        offset[:] = [0.0, bias] if plan.task == "binary" else bias
        about = {"parity": {}, "importance": {}, "info": {}, **fields}
        onnx = linear_onnx(matrix, offset, "softmax" if plan.classes else "identity")
        return Model(
            task=plan.task, target=plan.target, features=plan.outputs, classes=tuple(plan.classes), onnx=onnx, **about
        )

    return make
