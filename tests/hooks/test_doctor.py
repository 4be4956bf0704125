from __future__ import annotations

import pytest

from headrace.hooks.doctor import examine
from headrace.hooks.manager import PluginManager

PLUGIN = """
from headrace import hookimpl

@hookimpl
def headrace_stages(registry):
    registry.add("enrich", "it", "sick_stage:Stage")

@hookimpl
def headrace_artifacts(registry):
    registry.add("picture", "sick_stage:Picture")
"""
HEALTHY = """
from headrace import Dataset, StageContext
from pydantic import BaseModel, Field

class Picture:
    type_name = "picture"
    def save(self, to): ...
    @classmethod
    def load(cls, source): ...

class Stage:
    class Config(BaseModel):
        n: int = Field(1, description="n")
    def __init__(self, config): ...
    def run(self, ctx: StageContext, data: Dataset) -> Picture: ...
"""


def findings(site, stage, plugin=PLUGIN):
    site.install("sick", "2.0", plugins={"p": "sick_plugin"}, files={"sick_plugin.py": plugin, "sick_stage.py": stage})
    return [f for f in examine(PluginManager.discover()) if f.distribution == "sick"]


def test_nothing_is_said_of_a_healthy_plugin(site):
    assert findings(site, HEALTHY) == []


@pytest.mark.parametrize(
    ("stage", "level", "about", "says"),
    [
        ("import no_such_dependency\n" + HEALTHY, "error", "stage enrich:it", "'no_such_dependency' is not installed"),
        ("import sys; sys.exit(1)", "error", "stage enrich:it", "SystemExit"),
        (HEALTHY.replace("-> Picture", ""), "error", "stage enrich:it", "no return annotation"),
        (HEALTHY.replace("n: int", "retries: int"), "error", "stage enrich:it", "'retries'"),
        (HEALTHY.replace('"picture"', '"image"'), "error", "artifact type picture", "its type_name is 'image'"),
        (HEALTHY.replace(", description=", ", title="), "warning", "stage enrich:it", "what 'n' means"),
        (
            "from headrace.errors import MissingExtraError\nraise MissingExtraError('no x', hint='pip install x')",
            "note",
            "stage enrich:it",
            "no x",
        ),
    ],
)
def test_what_is_wrong_with_a_stage_or_an_artifact(site, stage, level, about, says):
    found = findings(site, stage)
    assert (level, about) in {(f.level, f.about) for f in found}
    (one,) = [f for f in found if f.about == about]
    assert says in one.message
    assert one.hint


def test_a_broken_plugin_is_an_error(site):
    (found,) = findings(site, "", plugin="1/0")
    assert (found.level, found.about) == ("error", "entry point p")
    assert "ZeroDivisionError" in found.traceback
    assert "disabled" in found.hint


def test_a_plugin_that_is_slow_to_import(site, monkeypatch):
    monkeypatch.setattr("headrace.hooks.doctor.SLOW_IMPORT_SECONDS", 0.0)
    (found,) = findings(site, HEALTHY)
    assert found.level == "warning"
    assert "at every start" in found.message


def test_disabled_plugins_are_left_alone(site):
    site.install("sick", plugins={"p": "sick_plugin"}, files={"sick_plugin.py": "1/0"})
    assert [f for f in examine(PluginManager.discover(disabled=["sick"])) if f.distribution == "sick"] == []
