"""The kit finds what it is for: a healthy stage passes, and each way of being wrong fails the check about it."""

from __future__ import annotations

import inspect
import itertools
import os
import re

import pytest

from headrace.testing import Refusal, run_stage, stage_conformance
from headrace.testing import fresh as fresh_module
from headrace.testing.stage import StageConformance

STAGE = '''
"""A stage for the tests of the kit."""
from headrace import Dataset, StageContext, errors
from pydantic import BaseModel, ConfigDict, Field
# imports

class Doubler:
    """Doubles a column."""

    class Config(BaseModel):
        model_config = ConfigDict(extra="forbid", frozen=True)
        column: str = Field(description="which column")
        # fields

    def __init__(self, config: Config) -> None:
        self.config = config

    # methods

    def run(self, ctx: StageContext, data: Dataset) -> Dataset:
        frame = data.frame()
        if self.config.column not in frame.columns:
            raise errors.DataError(f"no column {self.config.column!r}", place="stage", hint="Name another.")
        # before
        doubled = (frame[self.config.column] * 2).alias("doubled")
        result = Dataset.from_frame(frame.with_columns(doubled))
        # after
        return result
'''
PLUGIN = """
from headrace import hookimpl

@hookimpl
def headrace_stages(registry):
    registry.add("enrich", "doubler", "{module}:Doubler")
"""
NUMBERS = itertools.count()


class Kit:
    """The kit, applied to a variant of the stage."""

    def __init__(self, site, tmp_path):
        self.site, self.tmp_path = site, tmp_path

    def stage(self, *edits, plugin=PLUGIN):
        """Install the stage with `(what, by)` replacements; give the conformance class."""
        text = STAGE
        for old, new in edits:
            assert old in text, old
            text = text.replace(old, new)
        number = next(NUMBERS)
        self.module = f"kit_{number}_stage"
        self.site.install(
            f"kit-{number}",
            plugins={"p": f"kit_{number}_plugin"},
            files={f"kit_{number}_plugin.py": plugin.format(module=self.module), f"{self.module}.py": text},
        )
        return stage_conformance(
            "enrich",
            "doubler",
            config={"column": "x"},
            inputs={"data": {"x": [1.0, None, 3.0], "y": ["a", "b", None]}},
            refuses=[Refusal("nope", config={"column": "nope"})],
        )

    def run(self, conformance, *only):
        """Each check by name and how it ended: None, or what it said."""
        results = {}
        for name, check in inspect.getmembers(conformance(), inspect.ismethod):
            if not name.startswith("test_") or (only and name not in only):
                continue
            folder = self.tmp_path / f"trial-{next(NUMBERS)}"
            folder.mkdir()
            try:
                check(*[folder] * ("tmp_path" in inspect.signature(check).parameters))
            except AssertionError as error:
                results[name] = str(error)
            except pytest.skip.Exception as skipped:
                results[name] = f"skipped: {skipped}"
            else:
                results[name] = None
        return results


@pytest.fixture
def kit(site, tmp_path):
    return Kit(site, tmp_path)


def test_a_healthy_stage_passes_everything(kit):
    results = kit.run(kit.stage())
    assert len(results) == len([name for name in dir(StageConformance) if name.startswith("test_")])
    assert {name: said for name, said in results.items() if said} == {
        "test_external_state_is_json": "skipped: the stage reads nothing besides its inputs"
    }


CASES = {
    "wrong annotation": (
        [("-> Dataset:", "-> int:")],
        "test_keeps_the_contract",
        "it returns int",
    ),
    "heavy import": ([("# imports", "import polars")], "test_is_light_to_import", "imports .*polars"),
    "heavy import, hidden": (
        [("# imports", "from headrace.compute import hashing, inference\nimport sqlalchemy")],
        "test_is_light_to_import",
        "sqlalchemy",
    ),
    "no docstring": ([('    """Doubles a column."""\n', "")], "test_says_what_it_does", "no docstring"),
    "no description": (
        [("# fields", "factor: float = 2.0")],
        "test_says_what_it_does",
        "'factor' has no description",
    ),
    "unknown keys": ([('extra="forbid", ', "")], "test_refuses_unknown_keys", "takes unknown keys"),
    "not frozen": ([(", frozen=True", "")], "test_config_cannot_be_changed", "can be changed"),
    "not json": (
        [("# fields", 'ratio: float = Field(float("nan"), description="a ratio")')],
        "test_config_survives_json",
        "cannot be written as JSON",
    ),
    "changes its input": (
        [("# before", 'frame.insert_column(0, frame["x"].alias("new"))')],
        "test_leaves_its_inputs_alone",
        "changes its input 'data'",
    ),
    "random": (
        [("* 2)", "* 2 + __import__('random').random())")],
        "test_gives_the_same_again",
        "another one when the stage is run a second time",
    ),
    "threads": (
        [("* 2)", "* ctx.threads)")],
        "test_gives_the_same_on_another_number_of_threads",
        "run on one thread instead of four",
    ),
    "hash seed": (
        [("# before", "order = list({c: hash(c) for c in frame.columns}.values())"), ("* 2)", "* order[0])")],
        "test_works_in_a_worker_process",
        "another one when the stage is run in another process",
    ),
    "external is not json": (
        [("# methods", "def external(self, project_dir): return {1, 2}")],
        "test_external_state_is_json",
        "does not return JSON",
    ),
    "external never the same": (
        [("# methods", "def external(self, project_dir): return __import__('time').time_ns()")],
        "test_external_state_is_json",
        "something else each time",
    ),
    "bare exception": (
        [('raise errors.DataError(f"no column {self.config.column!r}", place="stage", hint="Name another.")', "pass")],
        "test_refuses_what_it_must_refuse",
        "raises ColumnNotFoundError",
    ),
    "bare exception for another table": (
        [('raise errors.DataError(f"no column {self.config.column!r}", place="stage", hint="Name another.")', "pass")],
        "test_a_table_with_other_columns_is_no_accident",
        "raises ColumnNotFoundError",
    ),
    "bare exception without rows": (
        [("# before", "1 / frame.height")],
        "test_a_table_without_rows_is_no_accident",
        "raises ZeroDivisionError",
    ),
    "bare exception for nulls": (
        [("# before", 'frame["x"].max() + 1')],
        "test_a_table_full_of_nulls_is_no_accident",
        "raises TypeError",
    ),
    "no hint": (
        [(', hint="Name another."', "")],
        "test_refuses_what_it_must_refuse",
        "without a way out",
    ),
    "does not name it": (
        [("no column {self.config.column!r}", "no such column")],
        "test_refuses_what_it_must_refuse",
        "must mention 'nope'",
    ),
    "accepts it": (
        [
            ("# before", ""),
            (
                "if self.config.column not in frame.columns:",
                "if self.config.column not in frame.columns:\n            return data\n        if False:",
            ),
        ],
        "test_refuses_what_it_must_refuse",
        "the stage accepts",
    ),
    "works only here": (
        [("# before", f"import os; os.getppid() == {os.getppid()} or [][1]")],
        "test_works_in_a_worker_process",
        None,
    ),
}


@pytest.mark.parametrize(("edits", "check", "says"), CASES.values(), ids=CASES)
def test_what_is_wrong_with_a_stage_fails_its_check(kit, edits, check, says):
    conformance = kit.stage(*edits)
    (name,) = [name for name in dir(conformance) if name.startswith(check)]
    if says is None:
        with pytest.raises(Exception, match="IndexError"):
            kit.run(conformance, name)
        return
    said = kit.run(conformance, name)[name]
    assert said is not None, "the check passed"
    assert re.search(says, said), said
    assert "\n  " in said, "no way out"


def test_output_that_is_lost_in_the_store(kit):
    lossy = """
    import random
    class Lossy:
        type_name = "lossy"
        def save(self, to): to.json("n", random.random())
        @classmethod
        def load(cls, source): return cls()
    """
    edits = [("# imports", inspect.cleandoc(lossy)), ("-> Dataset:", "-> Lossy:"), ("return result", "return Lossy()")]
    said = kit.run(kit.stage(*edits), "test_gives_what_it_is_annotated_to_give")
    assert "another one after it was saved and loaded" in said["test_gives_what_it_is_annotated_to_give"]


def test_a_stage_that_lies_about_its_output(kit):
    from headrace.errors import StageError

    with pytest.raises(StageError, match="annotated as Dataset"):
        kit.run(kit.stage(("return result", "return 3")), "test_gives_what_it_is_annotated_to_give")


def test_a_stage_that_says_it_is_not_deterministic_is_not_compared(kit):
    conformance = kit.stage(("# methods", "deterministic = False"), ("* 2)", "* 2 + __import__('random').random())"))
    results = kit.run(
        conformance,
        "test_gives_the_same_again",
        "test_gives_the_same_on_another_number_of_threads",
        "test_works_in_a_worker_process",
    )
    assert [said and said.split(":")[0] for said in results.values()] == ["skipped", "skipped", None]


def test_not_registered(kit):
    conformance = kit.stage(plugin="from headrace import hookimpl\n@hookimpl\ndef before_run(run): pass")
    said = kit.run(conformance, "test_is_registered_once_and_can_be_imported")
    assert "pip install -e ." in said["test_is_registered_once_and_can_be_imported"]


def test_registered_by_a_broken_plugin(kit):
    said = kit.run(kit.stage(plugin="1/0"), "test_is_registered_once_and_can_be_imported")
    assert "ZeroDivisionError" in said["test_is_registered_once_and_can_be_imported"]


def test_registered_twice(kit, site):
    conformance = kit.stage()
    kit.stage()
    said = kit.run(conformance, "test_is_registered_once_and_can_be_imported")
    assert "is registered by kit-" in said["test_is_registered_once_and_can_be_imported"]


def test_a_heavy_plugin_module_is_found_too(kit):
    said = kit.run(kit.stage(plugin="import numpy\n" + PLUGIN), "test_is_light_to_import")
    assert re.search("importing 'kit_.*_plugin' imports numpy", said["test_is_light_to_import"])


def test_a_slow_import(kit, monkeypatch):
    monkeypatch.setattr(fresh_module, "RATIO", 0.0)
    said = kit.run(kit.stage(), "test_is_quick_to_import")
    assert "times as long as headrace's own names" in said["test_is_quick_to_import"]


def test_inputs_that_do_not_fit(kit):
    kit.stage()
    for inputs, says in [
        ({}, r"the test gives \[\]"),
        ({"data": {"x": [1.0]}, "more": {"x": [1]}}, r"Take \['more'\] out"),
        ({"data": 3}, "neither an artifact nor a table"),
    ]:
        conformance = stage_conformance("enrich", "doubler", config={"column": "x"}, inputs=inputs)
        said = kit.run(conformance, "test_gives_the_same_again")["test_gives_the_same_again"]
        assert re.search(says, said), said


def test_a_config_that_is_not_valid(kit):
    kit.stage()
    conformance = stage_conformance("enrich", "doubler", config={"colunm": "x"})
    said = kit.run(conformance, "test_config_survives_json")
    assert "config of the test is not valid" in said["test_config_survives_json"]


def test_inputs_may_be_made_when_they_are_needed(kit):
    made = []

    def make():
        made.append(1)
        return {"data": {"x": [1.0]}}

    kit.stage()
    conformance = stage_conformance("enrich", "doubler", config={"column": "x"}, inputs=make)
    assert made == []
    results = kit.run(conformance, "test_gives_the_same_again", "test_leaves_its_inputs_alone")
    assert set(results.values()) == {None}
    assert made == [1]


def test_two_conformance_classes_do_not_share_their_stage(kit):
    first = kit.stage()
    second = stage_conformance("enrich", "other")
    assert first.subject.name == "doubler"
    assert second.subject.name == "other"


def test_run_stage_gives_the_outputs(kit):
    kit.stage()
    stage = __import__(kit.module).Doubler
    outputs = run_stage(stage, config={"column": "x"}, inputs={"data": {"x": [1.0, 2.0]}})
    assert list(outputs) == ["data"]
    assert outputs["data"].frame()["doubled"].to_list() == [2.0, 4.0]


def test_run_stage_raises_what_the_stage_raises(kit):
    from headrace.errors import DataError

    kit.stage()
    with pytest.raises(DataError, match="no column 'y'"):
        run_stage(__import__(kit.module).Doubler, config={"column": "y"}, inputs={"data": {"x": [1.0]}})
