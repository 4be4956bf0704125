from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from headrace import Dataset
from headrace.errors import PluginError
from headrace.hooks.catalog import StageEntry
from headrace.hooks.contract import describe
from headrace.hooks.reference import config_keys, stage_reference


class Limit(BaseModel):
    low: float = Field(0.0, description="the lowest")
    high: float | None = Field(None, description="the highest")


class Tree(BaseModel):
    """Contains itself."""

    children: list[Tree] = Field(default_factory=list, description="more of them")


class Circle(BaseModel):
    shape: Literal["circle"] = Field(description="Which shape.")
    size: float = Field(1.0, description="The radius.")


class Square(BaseModel):
    shape: Literal["square"] = Field(description="Which shape.")
    size: float = Field(2.0, description="The side.")
    turned: bool = Field(False, description="By 45 degrees.")


class Drawing(BaseModel):
    shapes: list[Annotated[Circle | Square, Field(discriminator="shape")]] = Field(description="What is drawn.")


def test_alternatives_of_a_table_are_told_together():
    shown = [(key.name, key.type, key.default_text, key.meaning) for key in config_keys(Drawing)]
    assert shown == [
        ("shapes", "array of table", "required", "What is drawn."),
        ("shapes[].shape", '"circle" | "square"', "required", "Which shape."),
        ("shapes[].size", "float", "computed", "The radius. The side."),
        ("shapes[].turned", "boolean", "false", "By 45 degrees."),
    ]


class Everything(BaseModel):
    path: str = Field(description="where\nit is")
    rows: int = Field(10, ge=1, lt=100, description="how many")
    share: float | None = Field(None, gt=0, le=1, description="a share")
    mode: Literal["a", "b"] = Field("a", description="which")
    either: Literal["auto"] | list[str] = Field("auto", description="auto, or names")
    names: list[str] = Field(default_factory=lambda: ["x"], description="names")
    flags: dict[str, bool] = Field(default_factory=dict, description="flags")
    limit: Limit = Field(Limit(), description="one limit")
    limits: list[Limit] = Field(default_factory=list, description="many")
    by_name: dict[str, Limit] = Field(default_factory=dict, description="by name")
    tree: Tree | None = Field(None, description="a tree")
    target: str = Field("y", description="the target")
    other: int = Field(3, alias="else", description="called otherwise in the file")
    code: Annotated[str, Field(pattern="^[a-z]+$")] = Field("x", description="a code")
    free: Any = Field(None, description="anything")
    mute: int = 0


def test_every_key_in_the_words_of_the_file():
    keys = {key.name: key for key in config_keys(Everything, shared=("target",))}
    shown = {name: (key.type, key.default_text) for name, key in keys.items()}
    assert shown == {
        "path": ("string", "required"),
        "rows": ("integer >= 1, < 100", "10"),
        "share": ("float > 0, <= 1", "not set"),
        "mode": ('"a" | "b"', '"a"'),
        "either": ('"auto" | array of string', '"auto"'),
        "names": ("array of string", '["x"]'),
        "flags": ("table of boolean", "{}"),
        "limit": ("table", '{"low": 0.0}'),
        "limit.low": ("float", "0.0"),
        "limit.high": ("float", "not set"),
        "limits": ("array of table", "[]"),
        "limits[].low": ("float", "0.0"),
        "limits[].high": ("float", "not set"),
        "by_name": ("table of table", "{}"),
        "by_name.NAME.low": ("float", "0.0"),
        "by_name.NAME.high": ("float", "not set"),
        "tree": ("table", "not set"),
        "tree.children": ("array of table", "computed"),
        "target": ("string", "as in [project]"),
        "else": ("integer", "3"),
        "code": ("string matching ^[a-z]+$", '"x"'),
        "free": ("any", "not set"),
        "mute": ("integer", "0"),
    }
    assert keys["path"].meaning == "where it is"
    assert keys["mute"].meaning == ""
    assert keys["limits[].high"].meaning == "the highest"


def test_a_type_that_no_file_can_hold():
    class Strange(BaseModel):
        model_config = {"arbitrary_types_allowed": True}
        thing: Dataset

    with pytest.raises(PluginError, match="a file cannot hold") as caught:
        config_keys(Strange)
    assert caught.value.hint


def test_the_reference_of_a_stage():
    class Stage:
        """Does it.

        At length.
        """

        class Config(BaseModel):
            n: int = Field(1, description="n")

        def run(self, ctx, data: Dataset, other: Dataset | None = None) -> Dataset: ...

    entry = StageEntry("enrich", "it", "m:C", "headrace-it", "1.0")
    found = stage_reference(entry, Stage, describe(Stage))
    assert found.about == "Does it.\n\nAt length."
    assert [(p.name, p.type_name, p.optional) for p in found.inputs] == [
        ("data", "dataset", False),
        ("other", "dataset", True),
    ]
    assert [(p.name, p.type_name) for p in found.outputs] == [("data", "dataset")]
    assert [k.name for k in found.config] == ["n"]
    assert (found.distribution, found.version, found.deterministic) == ("headrace-it", "1.0", True)
