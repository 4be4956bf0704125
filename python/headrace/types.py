"""The words of headrace as types: what stages get and give. Imports nothing of ours but errors, and nothing heavy.

Artifact types live here when they are plain values; those that compute live in `compute`: `Dataset` in
`compute.dataset`, `FeaturePlan` in `compute.plan`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, Self, runtime_checkable

if TYPE_CHECKING:
    from pathlib import Path

    import polars as pl

JSON = None | bool | int | float | str | Sequence["JSON"] | Mapping[str, "JSON"]
Task = Literal["binary", "multiclass", "regression"]
TASKS: tuple[Task, ...] = ("binary", "multiclass", "regression")


@runtime_checkable
class SupportsArrowStream(Protocol):
    """Any frame that can hand itself over as an Arrow C stream (polars, pyarrow, pandas, DuckDB, ...)."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...


# --- artifacts: how they are kept -----------------------------------------------------------------------------------


class ArtifactWriter(Protocol):
    """Takes the named parts of one artifact. A part's name is lower-case letters, digits, `_` and at most one dot."""

    def json(self, name: str, value: JSON) -> None:
        """Keep a JSON value, in canonical form. NaN and infinities are refused."""

    def bytes(self, name: str, data: bytes, *, format: str) -> None:  # noqa: A002  # the word that everybody expects
        """Keep bytes. `format` is one of `onnx`, `lightgbm`, `html`, `svg`, `text`, `binary`."""

    def frame(self, name: str, frame: SupportsArrowStream) -> None:
        """Keep a frame as Parquet; its identity is the hash of its logical content, not of the file."""

    def files(self, name: str, references: Sequence[FileReference]) -> None:
        """Keep references to files outside the store: path and content hash, not the bytes."""


class ArtifactReader(Protocol):
    """Gives back what an `ArtifactWriter` took. Each read verifies the bytes against their hash."""

    def json(self, name: str) -> Any: ...
    def bytes(self, name: str) -> bytes: ...
    def frame(self, name: str) -> pl.DataFrame: ...
    def files(self, name: str) -> tuple[FileReference, ...]: ...
    def has(self, name: str) -> bool: ...


@runtime_checkable
class Artifact(Protocol):
    """A typed, content-addressed, immutable value. `type_name` is unique and never changes meaning."""

    type_name: ClassVar[str]

    def save(self, to: ArtifactWriter) -> None: ...
    @classmethod
    def load(cls, source: ArtifactReader) -> Self: ...


class ArtifactSource(Protocol):
    """Gives artifacts to those who were told of them."""

    def load(self, ref: ArtifactRef) -> Artifact:
        """The artifact, as its own class. Raises `ArtifactError` if its type is not registered."""


@dataclass(frozen=True)
class FileReference:
    """A file that is an input but is not copied: `path`, SHA-256 of its bytes, size in bytes."""

    path: str
    sha256: str
    size: int


@dataclass(frozen=True)
class ArtifactRef:
    """Where an artifact is: its content digest (64 hex), its type, the bytes that it takes in the store."""

    digest: str
    type_name: str
    size: int


# --- artifacts: plain values ----------------------------------------------------------------------------------------


class _Document:
    """An artifact that is one JSON document: a frozen dataclass whose fields are JSON."""

    type_name: ClassVar[str]

    def save(self, to: ArtifactWriter) -> None:
        to.json("document", asdict(self))  # type: ignore[call-overload]  # subclasses are dataclasses

    @classmethod
    def load(cls, source: ArtifactReader) -> Self:
        return cls(**source.json("document"))


@dataclass(frozen=True)
class Params(_Document):
    """Hyperparameters found by a `tune` stage, for the `train` stage that follows it.

    `values` override the trainer's config key by key; `study` is what led to them (trials, best value, sampler).
    """

    type_name: ClassVar[str] = "params"
    values: Mapping[str, JSON]
    study: Mapping[str, JSON] = field(default_factory=dict)


@dataclass(frozen=True)
class ValidationReport(_Document):
    """What a `validate` stage found.

    `findings`: one entry an expectation that did not hold: `expectation`, `column`, `policy` (`fail`, `warn`,
    `quarantine`), `failed_rows` (count), `examples` (row numbers from 0, at most 10), `message`.
    """

    type_name: ClassVar[str] = "validation-report"
    rows: int
    quarantined_rows: int
    expectations: int
    findings: Sequence[Mapping[str, JSON]] = ()


@dataclass(frozen=True)
class SplitReport(_Document):
    """How the rows were divided, and what the leakage check found (`findings`, as in `ValidationReport`)."""

    type_name: ClassVar[str] = "split-report"
    method: str
    rows: Mapping[str, int]
    findings: Sequence[Mapping[str, JSON]] = ()


@dataclass(frozen=True)
class Model:
    """A trained model in its portable form.

    `onnx` takes one float32 input `features` [N, len(features)] and gives, for classification, one output
    `probabilities` float32 [N, len(classes)]; for regression, one output `prediction` float32 [N].
    `classes` are the label values in the order of the outputs (empty for regression). `native` is LightGBM text where
    the trainer has it. `parity` is the record of the comparison of both, `info` whatever the trainer adds (JSON).
    """

    type_name: ClassVar[str] = "model"
    task: Task
    target: str
    features: tuple[str, ...]
    classes: tuple[JSON, ...]
    onnx: bytes = field(repr=False)
    native: bytes | None = field(default=None, repr=False)
    parity: Mapping[str, JSON] = field(default_factory=dict)
    importance: Mapping[str, float] = field(default_factory=dict)
    info: Mapping[str, JSON] = field(default_factory=dict)

    def save(self, to: ArtifactWriter) -> None:
        about = {k: getattr(self, k) for k in ("task", "target", "features", "classes", "parity", "importance", "info")}
        to.json("about", about)
        to.bytes("model.onnx", self.onnx, format="onnx")
        if self.native is not None:
            to.bytes("model.lightgbm", self.native, format="lightgbm")

    @classmethod
    def load(cls, source: ArtifactReader) -> Self:
        about = source.json("about")
        about["features"] = tuple(about["features"])
        about["classes"] = tuple(about["classes"])
        native = source.bytes("model.lightgbm") if source.has("model.lightgbm") else None
        return cls(onnx=source.bytes("model.onnx"), native=native, **about)


@dataclass(frozen=True)
class Evaluation(_Document):
    """How good a model is on rows that it has not seen.

    `metrics`: name -> {`value`, `low`, `high`, `better` ("higher", "lower" or "zero")}, the interval by bootstrap at
    `level`; what cannot be told is None, and `reason` says why. `baseline`: the same of the trivial predictor, and
    `gain`, `gain_low`, `gain_high`: by how much the model is better than it. `slices`: one entry a slice: `column`,
    `value`, `rows`, `metrics`; the worst first.
    `curves`: points for plots (`roc`, `pr`, `calibration`, `confusion`, `residuals`), thinned to a few hundred.
    `importance`: input column -> permutation importance in units of the primary metric. `about`: how it was measured
    (threshold, replicates, what was drawn, `notes` for the reader).
    """

    type_name: ClassVar[str] = "evaluation"
    task: Task
    primary: str
    rows: int
    level: float
    metrics: Mapping[str, Mapping[str, JSON]]
    baseline: Mapping[str, Mapping[str, JSON]]
    slices: Sequence[Mapping[str, JSON]] = ()
    curves: Mapping[str, JSON] = field(default_factory=dict)
    importance: Mapping[str, float] = field(default_factory=dict)
    about: Mapping[str, JSON] = field(default_factory=dict)


@dataclass(frozen=True)
class GateReport(_Document):
    """Whether a challenger may replace the champion, and each check that led there.

    `checks`: `name`, `passed`, `found`, `required`, `message`. `champion` is the version that was compared against
    (`None` if there was none), so that promotion can insist that it is still the champion.
    """

    type_name: ClassVar[str] = "gate-report"
    passed: bool
    checks: Sequence[Mapping[str, JSON]]
    champion: int | None = None
    comparison: Mapping[str, JSON] = field(default_factory=dict)


@dataclass(frozen=True)
class ModelVersion(_Document):
    """A registered model package: `name`, `number` (1, 2, ...), the SHA-256 of its manifest."""

    type_name: ClassVar[str] = "model-version"
    name: str
    number: int
    package: str


@dataclass(frozen=True)
class Report:
    """A self-contained HTML page."""

    type_name: ClassVar[str] = "report"
    title: str
    html: str

    def save(self, to: ArtifactWriter) -> None:
        to.json("about", {"title": self.title})
        to.bytes("report.html", self.html.encode(), format="html")

    @classmethod
    def load(cls, source: ArtifactReader) -> Self:
        return cls(title=source.json("about")["title"], html=source.bytes("report.html").decode())

    def _repr_html_(self) -> str:
        return self.html


# --- stages ---------------------------------------------------------------------------------------------------------


class RegistryView(Protocol):
    """What a stage may see of, and do to, the registry."""

    def champion(self, model: str, *, besides: str | None = None) -> PackageView | None:
        """The version under the alias `champion`, or None.

        Where the champion's own model has the digest `besides`, the version that was champion before it: a model is
        never its own rival, and a run that is repeated sees the rival that it saw the first time.
        """

    def package(self, model: str, alias: str) -> PackageView | None:
        """The version under an alias, or None. Its files are checked first."""

    def aliased(self, model: str, alias: str) -> int | None:
        """The number of the version that an alias names now, or None: what `move_alias` wants as `expected`."""

    def register(
        self, model: str, files: Mapping[str, bytes], *, about: Mapping[str, JSON], model_digest: str
    ) -> ModelVersion:
        """Make a package of `files` and register it. The same package again gives the version that it already has."""

    def move_alias(
        self, version: ModelVersion, alias: str, *, expected: int | None, why: str, gate: str | None = None
    ) -> None:
        """Compare-and-swap: `expected` is the version number that the alias must still have (None: no such alias)."""


class PackageView(Protocol):
    """A registered model package, verified on opening."""

    @property
    def version(self) -> ModelVersion: ...
    @property
    def manifest(self) -> Mapping[str, Any]: ...
    def read(self, name: str) -> bytes: ...


class StageContext(Protocol):
    """What the runtime hands to a stage. `workdir` is kept until the stage has committed: a stage can resume in it."""

    seed: int
    threads: int
    project: str
    project_dir: Path
    run_id: str
    stage: str
    workdir: Path
    registry: RegistryView
    transforms: TransformSource
    inputs: Mapping[str, ArtifactRef]

    def log(self, message: str) -> None:
        """A line for the person who watches; kept in the run record."""

    def progress(self, done: float, total: float | None = None) -> None:
        """How far the stage is, in units of its own."""

    def metric(self, name: str, value: float, *, step: int | None = None) -> None:
        """Record a number of this run; with `step`, a point of a series."""

    def check_cancelled(self) -> None:
        """Raise `CancelledError` if the run is being stopped. Long loops call this."""


class Stage(Protocol):
    """One step of a pipeline. `Config` is a pydantic model; `run` is annotated with artifact types.

    Three methods are optional. `uses_transforms(self)` names the transforms that `run` binds by `ctx.transforms`; their
    source becomes part of the cache key. `external(self, project_dir)` returns JSON that stands for everything the
    stage reads besides its inputs and config (hashes of files, a watermark of a table); it is part of the cache key.
    With a parameter `registry` and `inputs` as well, `external(self, project_dir, registry, inputs)`, it may depend on
    the champion. A stage that cannot say so is never answered from the cache: `deterministic = False`.
    """

    Config: ClassVar[Any]

    def __init__(self, config: Any) -> None: ...


# --- transforms ------------------------------------------------------------------------------------------------------


class Transform(Protocol):
    """Columns that only Python can compute, made before the feature plan, alike in training and in serving.

    `Config` is a pydantic model. `reads` names the columns that it is given; `transform` gives new columns for the same
    rows, in the same order. It must work row by row: what it gives for a row depends on that row and the config alone,
    and whoever serves may hand over one row at a time. What it needs to know of the training data belongs into the
    config, or into a step of the plan.
    """

    Config: ClassVar[Any]

    def __init__(self, config: Any) -> None: ...

    @property
    def reads(self) -> Sequence[str]:
        """The names of the columns that `transform` is given."""

    def transform(self, frame: pl.DataFrame) -> pl.DataFrame:
        """New columns for the rows of `frame`: names that `frame` does not have, types that a plan knows."""


@dataclass(frozen=True)
class BoundTransform:
    """A transform that can be called, and whose it is.

    `config` is complete, with its defaults. `source` is the hash of the first-party source behind it, empty where it is
    installed, so that its version says it all.
    """

    use: str
    distribution: str
    version: str
    source: str
    config: Mapping[str, JSON]
    code: Transform = field(compare=False, repr=False)

    @property
    def label(self) -> str:
        """How messages call it."""
        return f"transform {self.use} of {self.distribution} {self.version}".rstrip()


class TransformSource(Protocol):
    """Where transforms are looked up by name."""

    def bind(self, use: str, config: Mapping[str, JSON]) -> BoundTransform:
        """The transform `use` with this config.

        Raises `UnknownNameError`, `PluginError` where it cannot be had, `ConfigError` where the config is wrong.
        """


# --- what observers are told ----------------------------------------------------------------------------------------


SkewReason = Literal["missing column", "missing value", "type", "format", "zone", "unseen", "outside", "value"]


@dataclass(frozen=True)
class OutputSkew:
    """An output of a feature plan that two rows give differently, as float32."""

    output: str
    training: float
    serving: float

    @property
    def difference(self) -> float:
        """Serving less training; NaN where one of them is."""
        return self.serving - self.training


@dataclass(frozen=True)
class ColumnSkew:
    """A column in which two rows differ.

    `reason` is the kind of difference, `detail` says it in a sentence. `refused`: the plan takes no row with the value
    of the serving row. `outputs`: those that the training row gives differently with the serving row's value in this
    column.
    """

    column: str
    reason: SkewReason
    detail: str
    outputs: tuple[OutputSkew, ...] = ()
    refused: bool = False


@dataclass(frozen=True)
class Skew:
    """How a serving row differs from the training row that it should be equal to: see `FeaturePlan.explain_skew`.

    `columns`: those that differ, in the order of the plan's inputs. `outputs`: those that differ between the rows as a
    whole; empty where the plan refuses one of them.
    """

    columns: tuple[ColumnSkew, ...]
    outputs: tuple[OutputSkew, ...]

    def __bool__(self) -> bool:
        """Whether there is a difference at all."""
        return bool(self.columns or self.outputs)

    def __str__(self) -> str:
        """A line for each column, and below it the outputs that it changes."""
        if not self:
            return "no skew: both rows mean the same to the plan"
        lines = []
        for column in self.columns:
            lines.append(f"{column.column!r}: {column.reason}: {column.detail}")
            lines += [f"    {o.output}: {o.training:g} -> {o.serving:g}" for o in column.outputs]
            if column.refused:
                lines.append("    the plan refuses such a row")
            elif not column.outputs:
                lines.append("    changes no feature")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        import html

        rows = "".join(
            f"<tr><td>{html.escape(c.column)}</td><td>{c.reason}</td><td>{html.escape(c.detail)}</td><td>"
            + "<br>".join(html.escape(f"{o.output}: {o.training:g} -> {o.serving:g}") for o in c.outputs)
            + "</td></tr>"
            for c in self.columns
        )
        head = "<tr><th>column</th><th>differs by</th><th>how</th><th>features</th></tr>"
        return f"<table><thead>{head}</thead><tbody>{rows}</tbody></table>"


@dataclass(frozen=True)
class StageInfo:
    """Which stage: its name in the spec, kind, implementation, and the distribution that the implementation is from."""

    name: str
    kind: str
    use: str
    distribution: str
    version: str
    config: Mapping[str, JSON]


Outcome = Literal["executed", "cached", "failed", "skipped", "cancelled"]


@dataclass(frozen=True)
class StageRecord:
    """What became of a stage in a run. Times in seconds since the epoch (UTC).

    `fingerprint` is what the cache key was made of, part by part, so that two runs can be compared in words.
    """

    stage: StageInfo
    outcome: Outcome
    why: str
    key: str | None
    started: float
    ended: float
    attempts: int
    inputs: Mapping[str, ArtifactRef]
    outputs: Mapping[str, ArtifactRef]
    metrics: Mapping[str, float] = field(default_factory=dict)
    error: str | None = None
    fingerprint: Mapping[str, JSON] = field(default_factory=dict)


RunStatus = Literal["running", "succeeded", "failed", "cancelled", "crashed"]


@dataclass(frozen=True)
class RunInfo:
    """One execution of a pipeline. `provenance`: git commit and dirty diff, environment lock, Python, platform."""

    id: str
    project: str
    status: RunStatus
    started: float
    ended: float | None
    trigger: str
    stages: tuple[StageRecord, ...] = ()
    provenance: Mapping[str, JSON] = field(default_factory=dict)


@dataclass(frozen=True)
class AliasMove:
    """One entry of an alias's append-only history."""

    model: str
    alias: str
    version: int | None
    previous: int | None
    who: str
    why: str
    gate: str | None
    run_id: str | None
    at: float
    action: str = "move"
    """"rollback", or "move" for any other."""
