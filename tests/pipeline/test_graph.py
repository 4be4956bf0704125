"""Wiring: where each input comes from, and what is said when that is not clear."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from pydantic import BaseModel, ConfigDict, Field

from headrace import Dataset, Model, Params, StageContext
from headrace.errors import ConfigError, GraphError, UnknownNameError
from headrace.hooks.catalog import StageCatalog, StageEntry
from headrace.hooks.contract import describe
from headrace.pipeline.graph import Edge, Graph, build
from headrace.pipeline.spec import Spec, StageSpec, parse


class Config(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    target: str = Field("t", description="the label")
    leaves: int = Field(31, description="leaves", gt=1)


class _Base:
    Config = Config

    def __init__(self, config: Config) -> None:
        self.config = config


class Source(_Base):
    def run(self, ctx: StageContext) -> Dataset: ...


class Parts(NamedTuple):
    train: Dataset
    valid: Dataset


class Splitter(_Base):
    def run(self, ctx: StageContext, data: Dataset) -> Parts: ...


class Enrich(_Base):
    def run(self, ctx: StageContext, data: Dataset) -> Dataset: ...


class Train(_Base):
    def run(self, ctx: StageContext, train: Dataset, params: Params | None = None) -> Model: ...


class Tune(_Base):
    def run(self, ctx: StageContext, train: Dataset) -> Params: ...


class Look(_Base):
    def run(self, ctx: StageContext, frame: Dataset) -> Params: ...


CLASSES = {c.__name__.lower(): c for c in (Source, Splitter, Enrich, Train, Tune, Look)}


def graph(**stages: dict[str, Any]) -> Graph:
    document = {"project": {"name": "p", "target": "label"}}
    for name, table in stages.items():
        document[name] = {"kind": "k", **table}

    return graph_of(parse(document, path=Path("headrace.toml")))


def graph_of(spec: Spec) -> Graph:
    def resolve(stage: StageSpec) -> Any:
        entry = StageEntry(stage.kind, stage.use, f"tests:{stage.use}", "tests", "1")
        return entry, CLASSES[stage.use], describe(CLASSES[stage.use])

    return build(spec, resolve)


def test_by_name_then_by_nearest() -> None:
    made = graph(a={"use": "source"}, b={"use": "enrich"}, c={"use": "splitter"}, d={"use": "train"})
    assert made["b"].inputs == {"data": Edge("a", "dataset")}
    assert made["c"].inputs == {"data": Edge("b", "data")}
    assert made["d"].inputs == {"train": Edge("c", "train")}


def test_a_transform_in_between_is_taken() -> None:
    made = graph(
        a={"use": "source"},
        b={"use": "splitter"},
        e={"use": "enrich", "inputs": {"data": "b.train"}},
        d={"use": "train"},
    )
    assert made["d"].inputs == {"train": Edge("b", "train")}, "the name wins over the nearest"


def test_an_optional_input_is_wired_only_where_there_is_one() -> None:
    without = graph(a={"use": "source"}, b={"use": "splitter"}, d={"use": "train"})
    assert "params" not in without["d"].inputs
    with_ = graph(a={"use": "source"}, b={"use": "splitter"}, t={"use": "tune"}, d={"use": "train"})
    assert with_["d"].inputs["params"] == Edge("t", "params")


def test_an_ambiguous_input_lists_the_candidates() -> None:
    with pytest.raises(GraphError, match=r"several fit: a\.dataset, b\.train, b\.valid"):
        graph(a={"use": "source"}, b={"use": "splitter"}, l={"use": "look"})


def test_a_missing_input_says_what_is_missing() -> None:
    with pytest.raises(GraphError, match=r"\[d\] needs 'train' \(a dataset\)"):
        graph(d={"use": "train"})


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({"train": "b"}, "gives 2 outputs"),
        ({"train": "b.vlaid"}, "valid"),
        ({"train": "zz.train"}, "not a stage"),
        ({"trian": "b.train"}, "no input 'trian'"),
        ({"params": "b.train"}, "wants a params"),
    ],
)
def test_stated_inputs_are_checked(inputs: dict[str, str], words: str) -> None:
    with pytest.raises(GraphError, match=words):
        graph(a={"use": "source"}, b={"use": "splitter"}, d={"use": "train", "inputs": inputs})


def test_a_cycle_is_named() -> None:
    with pytest.raises(GraphError, match=r"wait for each other: \[a\], \[b\]"):
        graph(
            a={"use": "enrich", "inputs": {"data": "b.data"}},
            b={"use": "enrich", "inputs": {"data": "a.data"}},
        )


def test_a_forward_reference_is_put_in_order() -> None:
    made = graph(b={"use": "enrich", "inputs": {"data": "a.dataset"}}, a={"use": "source"})
    assert [node.name for node in made.nodes] == ["a", "b"]


def test_after_is_an_arrow_without_data() -> None:
    made = graph(a={"use": "source"}, b={"use": "source", "after": ["a"]})
    assert made["b"].needs == {"a"}
    with pytest.raises(GraphError, match="not a stage"):
        graph(b={"use": "source", "after": ["zz"]})


def test_upstream_and_downstream() -> None:
    made = graph(a={"use": "source"}, b={"use": "splitter"}, d={"use": "train"}, x={"use": "source"})
    assert made.downstream("a") == {"a", "b", "d"}
    assert made.upstream("d") == {"a", "b", "d"}
    assert made.downstream("x") == {"x"}


def test_shared_keys_reach_configs_that_have_them() -> None:
    made = graph(a={"use": "source"}, b={"use": "source", "target": "own"})
    assert made["a"].config.model_dump()["target"] == "label"
    assert made["b"].config.model_dump()["target"] == "own"


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"leafs": 3}, "no key 'leafs'(.|\n)*'leaves'(.|\n)*plugins show k:source"),
        ({"leaves": 1}, "leaves(.|\n)*greater than 1(.|\n)*found 1"),
        ({"leaves": "many"}, "valid integer"),
    ],
)
def test_a_wrong_config_names_the_key(table: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        graph(a={"use": "source", **table})


def test_an_unknown_implementation_is_at_its_line() -> None:
    text = '[project]\nname = "p"\n[train]\nretries = 1\nuse = "lightgmb"\n[env.big.train]\nuse = "lightgbmm"\n'

    def place(**options: Any) -> str | None:
        spec = parse(tomllib.loads(text), path=Path("headrace.toml"), text=text, **options)
        catalog = StageCatalog({("train", "lightgbm"): [StageEntry("train", "lightgbm", "a:B", "tests", "1")]})
        with pytest.raises(UnknownNameError, match="there is no implementation") as caught:
            build(spec, lambda stage: catalog.entry(stage.kind, stage.use))  # type: ignore[arg-type,return-value]
        return caught.value.place

    assert place() == "headrace.toml:5"
    assert place(env="big") == "headrace.toml:7"
    assert place(overrides=["train.use=lgbm"]) == "--set train.use=lgbm"


def test_a_wrong_shared_key_is_at_its_line() -> None:
    text = '[project]\nname = "p"\ntarget = 3\n[train]\nuse = "source"\n'
    with pytest.raises(ConfigError, match="key 'target'") as caught:
        graph_of(parse(tomllib.loads(text), path=Path("headrace.toml"), text=text))
    assert caught.value.place == "headrace.toml:3"


# --- what one stage asks of those that take its outputs ---------------------------------------------------------------


class AskingConfig(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    model_kind: str | None = Field(None, json_schema_extra={"asked_of": "features_for"})


class Asking(_Base):
    Config = AskingConfig

    def run(self, ctx: StageContext) -> Dataset: ...


class Answering(_Base):
    @staticmethod
    def features_for(config: Config) -> str:
        return "trees" if config.leaves > 31 else "linear"

    def run(self, ctx: StageContext, dataset: Dataset) -> Model: ...


CLASSES |= {"asking": Asking, "answering": Answering}


def test_a_key_that_the_spec_leaves_out_is_answered_by_who_takes_the_output() -> None:
    assert graph(a={"use": "asking"}, b={"use": "answering"})["a"].config.model_kind == "linear"
    assert graph(a={"use": "asking"}, b={"use": "answering", "leaves": 60})["a"].config.model_kind == "trees"
    said = graph(a={"use": "asking", "model_kind": "mine"}, b={"use": "answering"})
    assert said["a"].config.model_kind == "mine"


def test_without_an_answer_or_with_two_the_default_stands() -> None:
    assert graph(a={"use": "asking"}, b={"use": "enrich"})["a"].config.model_kind is None
    two = graph(a={"use": "asking"}, b={"use": "answering"}, c={"use": "answering", "leaves": 60})
    assert two["a"].config.model_kind is None
    same = graph(a={"use": "asking"}, b={"use": "answering"}, c={"use": "answering", "leaves": 5})
    assert same["a"].config.model_kind == "linear"
