"""Execute again what led to a model version, and say whether the result is equal.

Every stage between the recorded data and the version is executed anew from its *recorded* inputs, one by one, and the
cache is not asked. So a difference is found at the stage where it arises, and does not hide behind those downstream of
it. Stages without inputs (they read the outside world) and those that act on the world are not repeated: what they gave
is the record. A stage that looks at the registry sees it as it was then.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from headrace.errors import HeadraceError, NotFoundError, RegistryError
from headrace.hooks.contract import describe
from headrace.pipeline.keys import differences
from headrace.runtime.call import execute, load_target, use_project_code
from headrace.runtime.context import Context
from headrace.runtime.lock import python_abi
from headrace.types import AliasMove, ArtifactRef, Model, ModelVersion, PackageView, StageRecord

if TYPE_CHECKING:
    from headrace.project import Project
    from headrace.registry import Registry
    from headrace.runtime.runner import Listener

Verdict = Literal["identical", "within tolerance", "different", "failed", "not repeated"]
_ACTING_KINDS = frozenset(("register", "deploy", "notify", "report"))


@dataclass(frozen=True)
class StageReproduction:
    """One stage: its verdict; `largest` is the largest absolute difference between numbers, where there are any."""

    stage: str
    verdict: Verdict
    detail: str
    largest: float | None = None


@dataclass(frozen=True)
class Reproduction:
    """The whole: `equal` is whether every repeated stage is identical or within `tolerance`.

    `changed` lists what is not as it was when the version was made: code, versions of distributions, Python.
    """

    ref: str
    run_id: str
    tolerance: float
    equal: bool
    stages: tuple[StageReproduction, ...]
    changed: tuple[str, ...]


def reproduce(project: Project, ref: str, *, tolerance: float, listener: Listener) -> Reproduction:
    """Repeat the run that registered `ref`. Raises `NotFoundError` if the store does not know that run."""
    package = project.registry.resolve(ref)
    run_id = package.manifest.get("run")
    if not run_id:
        msg = f"{ref} was not registered by a run, so there is nothing to repeat"
        raise NotFoundError(msg)
    info = project.store.runs.get(str(run_id))
    use_project_code(project.spec.project_dir)
    changed: list[str] = []
    results = []
    for record in info.stages:
        if record.outcome not in ("executed", "cached"):
            continue
        if not record.inputs or record.stage.kind in _ACTING_KINDS:
            results.append(StageReproduction(record.stage.name, "not repeated", _why_not(record)))
            continue
        changed += _changes(project, record)
        results.append(_repeat(project, record, tolerance, listener))
    equal = all(r.verdict in ("identical", "within tolerance", "not repeated") for r in results)
    return Reproduction(ref, info.id, tolerance, equal, tuple(results), tuple(dict.fromkeys(changed)))


def _why_not(record: StageRecord) -> str:
    return "it reads from outside; its record is the input" if not record.inputs else "it acts on the world"


def _repeat(project: Project, record: StageRecord, tolerance: float, listener: Listener) -> StageReproduction:
    name = record.stage.name
    try:
        implementation = _implementation(project, record)
        contract = describe(implementation)
        with tempfile.TemporaryDirectory(prefix="headrace-reproduce-") as scratch:
            context = Context(
                seed=int(record.fingerprint.get("seed", project.spec.seed)),  # type: ignore[arg-type]
                threads=project.spec.threads or 1,
                project=project.spec.name,
                project_dir=project.spec.project_dir,
                run_id="reproduce",
                stage=name,
                workdir=Path(scratch),
                registry=_RegistryThen(project.registry, record.started),
                inputs=record.inputs,
                emit=listener,
                transforms=project.transforms,
            )
            config = contract.config.model_validate(record.stage.config)
            outputs = execute(implementation, contract, config, context, project.store)
    except HeadraceError as error:
        return StageReproduction(name, "failed", str(error))
    except Exception as error:  # noqa: BLE001  # whatever a stage raises is its result here
        return StageReproduction(name, "failed", f"{type(error).__name__}: {error}")
    return _compare(project, name, record.outputs, outputs, tolerance)


@dataclass(frozen=True)
class _RegistryThen:
    """The registry as it was at a moment (seconds since the epoch), for stages that ask who was champion. Read only."""

    registry: Registry
    at: float

    def champion(self, model: str, *, besides: str | None = None) -> PackageView | None:
        for move in self._moves(model, "champion"):
            package = self.registry.get(model, move.version) if move.version is not None else None
            if package is None or package.manifest["model_digest"] != besides:
                return package
        return None

    def package(self, model: str, alias: str) -> PackageView | None:
        number = self.aliased(model, alias)
        return None if number is None else self.registry.get(model, number)

    def aliased(self, model: str, alias: str) -> int | None:
        return next((move.version for move in self._moves(model, alias)), None)

    def register(self, model: str, *_: object, **__: object) -> ModelVersion:
        raise RegistryError(f"a repetition registers nothing, also not {model!r}")

    def move_alias(self, version: ModelVersion, alias: str, **_: object) -> None:
        raise RegistryError(f"a repetition moves no alias, also not {alias!r} to version {version.number}")

    def _moves(self, model: str, alias: str) -> list[AliasMove]:
        """The moves of the alias before the moment, newest first."""
        return [move for move in self.registry.history(model, alias) if move.at < self.at]


def _implementation(project: Project, record: StageRecord) -> type:
    if ":" in record.stage.use:
        return load_target(record.stage.use)
    catalog = project.plugins.stages
    return catalog.load(catalog.entry(record.stage.kind, record.stage.use))


def _changes(project: Project, record: StageRecord) -> list[str]:
    """What differs between the recorded fingerprint and today's, apart from config, inputs and the outside."""
    from headrace.runtime.lock import Environment
    from headrace.runtime.source import SourceIndex

    implementation = _implementation(project, record)
    closure = SourceIndex((project.spec.project_dir,)).closure(implementation.__module__)
    lock = {"python": python_abi(), **Environment().versions_of(closure.imports)}
    today = dict(record.fingerprint) | {"source": dict(closure.modules), "lock": lock}
    return [f"{record.stage.name}: {text}" for text in differences(dict(record.fingerprint), today)]


def _compare(
    project: Project,
    stage: str,
    recorded: Mapping[str, ArtifactRef],
    made: Mapping[str, ArtifactRef],
    tolerance: float,
) -> StageReproduction:
    unequal = [name for name in recorded if made[name].digest != recorded[name].digest]
    if not unequal:
        return StageReproduction(stage, "identical", "every output has the digest that was recorded", 0.0)
    largest = 0.0
    for name in unequal:
        found = _largest_difference(_values(project, recorded[name]), _values(project, made[name]))
        if found is None:
            return StageReproduction(stage, "different", f"output {name!r} differs in more than numbers")
        largest = max(largest, found)
    verdict: Verdict = "within tolerance" if largest <= tolerance else "different"
    return StageReproduction(stage, verdict, f"{', '.join(unequal)}: largest difference {largest:.3g}", largest)


def _values(project: Project, ref: ArtifactRef) -> Any:
    """An artifact as JSON-like values and frames, for comparison."""
    artifact = project.artifacts.load(ref)
    collected: dict[str, Any] = {}
    artifact.save(_Collector(collected))
    if isinstance(artifact, Model):
        # Model bytes differ in the last digit of a leaf as well as in substance; the recorded numbers decide.
        collected.pop("model.onnx", None)
        native = collected.pop("model.lightgbm", b"")
        collected["native"] = [_number(word) for word in native.decode().replace("=", " ").split()]
    return collected


def _number(word: str) -> Any:
    try:
        return float(word)
    except ValueError:
        return word


class _Collector:
    """An `ArtifactWriter` that keeps values in a dict."""

    def __init__(self, into: dict[str, Any]) -> None:
        self._into = into

    def json(self, name: str, value: Any) -> None:
        self._into[name] = value

    def bytes(self, name: str, data: bytes, *, format: str) -> None:  # noqa: A002, ARG002  # the protocol's names
        self._into[name] = data

    def frame(self, name: str, frame: Any) -> None:
        import polars as pl

        self._into[name] = pl.DataFrame(frame)

    def files(self, name: str, references: Any) -> None:
        self._into[name] = [vars(reference) for reference in references]


def _largest_difference(old: Any, new: Any) -> float | None:
    """Largest absolute difference of numbers in two values of the same shape; None where they differ otherwise."""
    if isinstance(old, bool) or isinstance(new, bool) or old is None or new is None:
        return 0.0 if old is new else None
    if isinstance(old, int | float) and isinstance(new, int | float):
        same = old == new or (old != old and new != new)  # noqa: PLR0124  # both NaN
        return 0.0 if same else abs(float(old) - float(new))
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        return _largest([_largest_difference(old[k], new[k]) for k in old]) if old.keys() == new.keys() else None
    if isinstance(old, list | tuple) and isinstance(new, list | tuple):
        pairs = zip(old, new, strict=False)
        return _largest([_largest_difference(a, b) for a, b in pairs]) if len(old) == len(new) else None
    if hasattr(old, "columns") and hasattr(new, "columns"):
        return _frame_difference(old, new)
    return 0.0 if old == new else None


def _largest(found: list[float | None]) -> float | None:
    return None if any(f is None for f in found) else max((f for f in found if f is not None), default=0.0)


def _frame_difference(old: Any, new: Any) -> float | None:
    if old.schema != new.schema or old.height != new.height:
        return None
    largest = 0.0
    for name, dtype in old.schema.items():
        if dtype.is_float():
            if not (old[name].is_null() == new[name].is_null()).all():
                return None
            largest = max(largest, float((old[name] - new[name]).abs().fill_nan(0.0).max() or 0.0))
        elif not old[name].equals(new[name]):
            return None
    return largest
