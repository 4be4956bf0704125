"""`register:package`: makes the model package, gives it a version, and moves the alias that the gate allows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from headrace import (
    ArtifactRef,
    Dataset,
    Evaluation,
    FeaturePlan,
    GateReport,
    Model,
    ModelVersion,
    RegistryView,
    StageContext,
    drift,
    errors,
)


class PackageRegister:
    """Registers the model with all that is needed to serve and to judge it.

    The package has the ONNX model, the feature plan, the signature, golden rows, the metrics, a model card, the
    LightGBM text where there is one, and a reference profile: how the raw inputs were distributed in training, and the
    model's scores in the test part. Nothing in it depends on the time or the run, so the same model from the same data
    is the same version. If the gate passed, the alias `champion` moves to it, provided that it still names the version
    that the gate compared with; else the alias `challenger` does.
    """

    class Config(BaseModel):
        """Settings of `register:package`."""

        model_config = ConfigDict(extra="forbid", frozen=True)

        model: str | None = Field(default=None, description="Name in the registry. Default: the project's name.")
        promote: bool = Field(
            default=True,
            description="Whether to make the version champion when the gate passed; false: a person promotes it.",
        )
        challenger: str | None = Field(
            default="challenger", description="Alias of the latest version that did not become champion; null: none."
        )
        golden_rows: int = Field(
            default=16,
            ge=1,
            le=1000,
            description="Rows of the test part that are kept with what they gave, to be replayed when the package is "
            "loaded; rows with extreme and missing values are added.",
        )
        profile: bool = Field(
            default=True,
            description="Whether the package has a reference profile of the training rows and of the model's scores, "
            "so that drift from them can be seen; at most 64 KB a column, mostly far less.",
        )
        segments: str | None = Field(
            default=None,
            description="A column that the model reads, of categories: its up to 32 most frequent values get counts of "
            "their own in the reference profile, so that drift within each can be seen. Whole numbers are categories "
            "then. Null: no segments.",
        )

    def __init__(self, config: Config) -> None:
        self.config = config

    def external(
        self,
        project_dir: Path,  # noqa: ARG002  # the contract's name
        registry: RegistryView,
        inputs: Mapping[str, ArtifactRef],
    ) -> Any:
        """Whether this model is champion and its package can no longer be read, so that it must be made again."""
        if self.config.model is None:
            raise errors.ConfigError("the model has no name", hint='Set `model = "..."`, or [project] name.')
        try:
            package = registry.champion(self.config.model)
            if package is not None and package.manifest["model_digest"] == inputs["model"].digest:
                for name in package.manifest["files"]:
                    package.read(name)
        except (errors.StoreError, errors.RegistryError) as error:
            return {"damaged": error.message}
        return None

    def run(  # noqa: PLR0917  # inputs come by name
        self,
        ctx: StageContext,
        model: Model,
        plan: FeaturePlan,
        train: Dataset,
        test: Dataset,
        evaluation: Evaluation,
        gate: GateReport,
    ) -> ModelVersion:
        """Make the package, register it, move an alias.

        Raises
        ------
        DataError
            The column of `segments` is none that the model reads, or has no categories.
        AliasConflictError
            The champion is no longer the version that the gate compared with.

        """
        from headrace import Predictor
        from headrace.builtins.register.files import package_files

        name = self.config.model or ctx.project
        predictor = Predictor(plan, model, threads=ctx.threads)
        files = package_files(
            name,
            predictor,
            evaluation,
            rows=test.frame(),
            golden_rows=self.config.golden_rows,
            trained_on=train.num_rows,
        )
        if self.config.profile:
            files |= drift.Reference.fit(
                predictor, train.frame(), test.frame(), segments=self.config.segments, threads=ctx.threads
            ).files()
        primary = evaluation.metrics[evaluation.primary]
        about: dict[str, Any] = {
            "task": model.task,
            "target": model.target,
            "primary": {"metric": evaluation.primary, "value": primary["value"]},
            "plan": plan.fingerprint,
            "inputs": {key: ref.digest for key, ref in sorted(ctx.inputs.items()) if key in {"train", "test"}},
        }
        digest = ctx.inputs["model"].digest if "model" in ctx.inputs else ""
        version = ctx.registry.register(name, files, about=about, model_digest=digest)
        size = sum(len(data) for data in files.values())
        ctx.log(f"{name} version {version.number}: {len(files)} files, {size:,} bytes")
        self._move(ctx, version, gate)
        return version

    def _move(self, ctx: StageContext, version: ModelVersion, gate: GateReport) -> None:
        report = ctx.inputs["gate"].digest if "gate" in ctx.inputs else None
        champion = ctx.registry.aliased(version.name, "champion")
        if champion == version.number:
            ctx.log(f"version {version.number} is the champion already")
            return
        if gate.passed and self.config.promote:
            expected = champion if self._is_same_model(ctx, version.name) else gate.champion
            ctx.registry.move_alias(version, "champion", expected=expected, why=_why(gate), gate=report)
            ctx.log(f"version {version.number} is the champion now")
            return
        alias = self.config.challenger
        if alias is None:
            return
        held = ctx.registry.aliased(version.name, alias)
        if held != version.number:
            ctx.registry.move_alias(version, alias, expected=held, why=_why(gate), gate=report)
        then = "a person may promote it" if gate.passed else "it did not pass the gate"
        ctx.log(f"version {version.number} is the {alias}: {then}")

    def _is_same_model(self, ctx: StageContext, name: str) -> bool:
        """Whether the champion is this very model in another package, measured anew: the gate looked past it."""
        if "model" not in ctx.inputs:
            return False
        package = ctx.registry.champion(name)
        return package is not None and package.manifest["model_digest"] == ctx.inputs["model"].digest


def _why(gate: GateReport) -> str:
    """The reason that goes into the alias's history: what failed, or else what was compared."""
    failed = [str(entry["message"]) for entry in gate.checks if entry["passed"] is not True]
    if failed:
        return "The gate failed. " + " ".join(failed[:3])
    said = [
        str(entry["message"]) for entry in gate.checks if entry["name"] in {"champion", "beats the trivial predictor"}
    ]
    return "The gate passed. " + " ".join(said)
