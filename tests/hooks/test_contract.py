from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple, Optional

import pytest
from pydantic import BaseModel

from headrace import Dataset, Evaluation, FeaturePlan, GateReport, Model, Params, StageContext, ValidationReport
from headrace.errors import PluginError
from headrace.hooks.contract import ENGINE_KEYS, describe
from headrace.types import _Document


class Settings(BaseModel):
    alpha: float = 1.0


@dataclass(frozen=True)
class OddReport(_Document):
    type_name: ClassVar[str] = "odd-report"
    n: int


class Parts(NamedTuple):
    data: Dataset
    validation: ValidationReport


def stage(run, **attributes):
    return type("S", (), {"Config": Settings, "run": run, "__module__": __name__, **attributes})


def test_a_whole_contract():
    class Trainer:
        class Config(BaseModel):
            depth: int = 3

        deterministic = False

        def run(self, ctx: StageContext, plan: FeaturePlan, data: Dataset, params: Params | None = None) -> Model: ...

        def external(self, project_dir: Path): ...

    contract = describe(Trainer)
    assert contract.config is Trainer.Config
    assert list(contract.inputs) == ["plan", "data", "params"]
    assert [s.type_name for s in contract.inputs.values()] == ["feature-plan", "dataset", "params"]
    assert [s.type for s in contract.inputs.values()] == [FeaturePlan, Dataset, Params]
    assert [s.optional for s in contract.inputs.values()] == [False, False, True]
    assert contract.outputs == {"model": Model}
    assert contract.single
    assert contract.has_external
    assert not contract.external_takes_registry
    assert not contract.deterministic


def test_a_single_output_is_called_like_the_input_that_it_transforms():
    def one(self, ctx, evaluation: Evaluation, rows: Dataset, other: Dataset) -> Dataset: ...
    def two(self, ctx, rows: Dataset) -> OddReport: ...
    def three(self, ctx) -> Dataset: ...

    assert list(describe(stage(one)).outputs) == ["rows"]
    assert list(describe(stage(two)).outputs) == ["odd_report"]
    assert list(describe(stage(three)).outputs) == ["dataset"]


def test_named_outputs():
    def run(self, ctx, data: Dataset) -> Parts: ...

    contract = describe(stage(run))
    assert contract.outputs == {"data": Dataset, "validation": ValidationReport}
    assert not contract.single


def test_optional_in_the_old_spelling():
    def run(self, ctx, params: Optional[Params] = None) -> Dataset: ...  # noqa: UP045

    assert describe(stage(run)).inputs["params"].optional


def test_keyword_only_inputs():
    def run(self, ctx, *, data: Dataset) -> Dataset: ...

    assert list(describe(stage(run)).inputs) == ["data"]


def test_external_with_the_registry():
    def run(self, ctx, data: Dataset) -> Dataset: ...
    def external(self, project_dir, registry, inputs): ...

    contract = describe(stage(run, external=external))
    assert contract.has_external
    assert contract.external_takes_registry


def no_return(self, ctx, data: Dataset): ...
def no_annotation(self, ctx, data) -> Dataset: ...
def no_ctx(self) -> Dataset: ...
def variadic(self, ctx, *data: Dataset) -> Dataset: ...
def keywords(self, ctx, **data: Dataset) -> Dataset: ...
def positional(self, ctx, data: Dataset, /) -> Dataset: ...
def not_artifact(self, ctx, n: int) -> Dataset: ...
def union(self, ctx, data: Dataset | Model) -> Dataset: ...
def half_a(self, ctx, params: Params | None) -> Dataset: ...
def half_b(self, ctx, params: Params = None) -> Dataset: ...
def wrong_return(self, ctx) -> int: ...
def none_return(self, ctx) -> None: ...
def tuple_return(self, ctx) -> tuple[Dataset, Model]: ...
def unresolved(self, ctx, data: Nowhere) -> Dataset: ...  # noqa: F821


class Mixed(NamedTuple):
    data: Dataset
    count: int


class Nothing(NamedTuple):
    pass


def mixed_return(self, ctx) -> Mixed: ...
def empty_return(self, ctx) -> Nothing: ...


@pytest.mark.parametrize(
    ("run", "says"),
    [
        (no_return, "no return annotation"),
        (no_annotation, "the input 'data' has no annotation"),
        (no_ctx, "takes 1 parameters"),
        (variadic, r"'\*data' cannot be connected"),
        (keywords, r"'\*\*data' cannot be connected"),
        (positional, "cannot be connected"),
        (not_artifact, "the input 'n' is annotated int"),
        (union, "the input 'data' is annotated"),
        (half_a, "'params' is half optional"),
        (half_b, "'params' is half optional"),
        (wrong_return, "returns int"),
        (none_return, "returns NoneType"),
        (tuple_return, "neither an artifact type nor a NamedTuple"),
        (unresolved, "name 'Nowhere' is not defined"),
        (mixed_return, "the output 'count' is annotated int"),
        (empty_return, "Nothing has no fields"),
        (3, "needs a method `run"),
        (None, "needs a method `run"),
    ],
)
def test_what_is_wrong_with_run(run, says):
    with pytest.raises(PluginError, match=says) as caught:
        describe(stage(run))
    assert caught.value.place.startswith(f"{__name__}:S")
    assert caught.value.hint


def fine(self, ctx, data: Dataset) -> GateReport: ...


@pytest.mark.parametrize(
    ("attributes", "says"),
    [
        ({"Config": None}, "class attribute `Config`"),
        ({"Config": dict}, "found dict"),
        ({"Config": Settings()}, "class attribute `Config`"),
        ({"external": 3}, "`external` must be a method"),
        ({"external": lambda self, where: None}, "`external` must be a method"),
        ({"external": lambda self, project_dir, registry: None}, "`external` must be a method"),
        ({"deterministic": "yes"}, "`deterministic` must be True or False"),
    ],
)
def test_what_is_wrong_beside_run(attributes, says):
    with pytest.raises(PluginError, match=says) as caught:
        describe(stage(fine, **attributes))
    assert caught.value.hint


@pytest.mark.parametrize("key", sorted(ENGINE_KEYS))
def test_no_config_field_hides_a_key_of_the_engine(key):
    clash = type("Config", (BaseModel,), {"__annotations__": {key: int}, "__module__": __name__})
    with pytest.raises(PluginError, match=f"field '{key}'"):
        describe(stage(fine, Config=clash))


def test_a_missing_run_and_a_missing_config():
    with pytest.raises(PluginError, match="Config"):
        describe(type("S", (), {}))
    with pytest.raises(PluginError, match="run"):
        describe(type("S", (), {"Config": Settings}))
