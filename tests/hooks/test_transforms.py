"""Transforms by name: found, checked, bound, or a clear word why not."""

from __future__ import annotations

import pytest

from headrace.errors import ConfigError, PluginConflictError, PluginError, UnknownNameError
from headrace.hooks.doctor import examine
from headrace.hooks.manager import PluginManager
from headrace.hooks.transforms import NoTransforms, Transforms

PLUGIN = """
from headrace import hookimpl

@hookimpl
def headrace_transforms(registry):
    registry.add("doubled", "{module}:Doubled")
"""
TRANSFORM = '''
from pydantic import BaseModel, ConfigDict, Field

class Doubled:
    """Twice a number."""

    class Config(BaseModel):
        model_config = ConfigDict(extra="forbid", frozen=True)
        column: str = Field(description="which")
        by: float = Field(default=2.0, description="how many times")

    def __init__(self, config):
        self.config = config

    @property
    def reads(self):
        return (self.config.column,)

    def transform(self, frame):
        import polars as pl
        return frame.select((pl.col(self.config.column) * self.config.by).cast(pl.Float64).alias("doubled"))
'''


def transforms(site, source=TRANSFORM, module="twice", distribution="twice") -> Transforms:
    site.install(
        distribution,
        "1.0",
        plugins={"p": f"{module}_plugin"},
        files={f"{module}_plugin.py": PLUGIN.format(module=module), f"{module}.py": source},
    )
    manager = PluginManager.discover()
    return Transforms(lambda: manager.transforms, lambda name: f"source of {name}")


def test_a_transform_is_bound_with_its_whole_config_and_says_whose_it_is(site):
    bound = transforms(site).bind("doubled", {"column": "x"})
    assert (bound.use, bound.distribution, bound.version, bound.source) == (
        "doubled",
        "twice",
        "1.0",
        "source of twice",
    )
    assert bound.config == {"column": "x", "by": 2.0}
    assert bound.code.reads == ("x",)


def test_project_code_is_named_by_module_and_class(site):
    source = transforms(site, module="own")
    bound = source.bind("own:Doubled", {"column": "x"})
    assert (bound.use, bound.distribution, bound.version) == ("own:Doubled", "project", "")


@pytest.mark.parametrize(
    ("use", "config", "error", "says"),
    [
        ("doubles", {"column": "x"}, UnknownNameError, "'doubled'"),
        ("doubled", {"colum": "x", "column": "x"}, ConfigError, "'column'"),
        ("doubled", {}, ConfigError, "column"),
        ("doubled", {"column": "x", "by": "many"}, ConfigError, "by"),
        ("no_such_module:Doubled", {}, PluginError, "no_such_module"),
    ],
)
def test_what_cannot_be_bound(site, use, config, error, says):
    with pytest.raises(error) as caught:
        transforms(site).bind(use, config)
    assert says in f"{caught.value} {caught.value.hint}"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("class Config(BaseModel):", "class Config:"), "Config"),
        (("    def transform(", "    def change("), "transform(self, frame)"),
        (("    @property\n", ""), "reads"),
    ],
)
def test_a_class_that_is_no_transform_is_refused_and_the_doctor_says_so(site, change, says):
    source = transforms(site, TRANSFORM.replace(*change))
    with pytest.raises(PluginError, match="a transform needs") as caught:
        source.bind("doubled", {"column": "x"})
    assert says in str(caught.value)
    (found,) = [f for f in examine(PluginManager.discover()) if f.distribution == "twice"]
    assert (found.level, found.about) == ("error", "transform doubled")


def test_two_plugins_that_claim_a_name_are_both_named(site):
    transforms(site)
    source = transforms(site, module="again", distribution="again")
    with pytest.raises(PluginConflictError, match=r"twice 1\.0.* and again 1\.0|again 1\.0.* and twice 1\.0"):
        source.bind("doubled", {"column": "x"})


def test_where_there_are_none():
    with pytest.raises(UnknownNameError):
        NoTransforms().bind("doubled", {})
