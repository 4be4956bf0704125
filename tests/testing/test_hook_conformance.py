"""The kit for hooks: a healthy observer passes, and each way of being wrong fails the check that is about it."""

from __future__ import annotations

import inspect
import re

import pytest

from headrace.testing import hook_conformance

PLUGIN = """
from headrace import hookimpl
# imports

@hookimpl
def before_run(run): assert run.status == "running"

@hookimpl
def after_stage(run, record, artifacts): record.outputs["model"].digest

@hookimpl
def on_stage_error(run, record, error): str(error)

@hookimpl
def after_run(run):
    # after run
    assert run.ended is not None

@hookimpl
def after_version_registered(package): package.manifest["about"]

@hookimpl
def after_alias_moved(move): move.model.upper()

@hookimpl
def on_drift(report, run): assert report.drifted == (report.columns[0].name,)

@hookimpl
def provide_cached(stage, key): return None
"""


def run(conformance, *only):
    results = {}
    for name, check in inspect.getmembers(conformance(), inspect.ismethod):
        if name.startswith("test_") and (not only or name in only):
            try:
                check()
            except AssertionError as error:
                results[name] = str(error)
            else:
                results[name] = None
    return results


def install(site, *edits):
    text = PLUGIN
    for old, new in edits:
        assert old in text, old
        text = text.replace(old, new)
    site.install("hooked", plugins={"p": "hooked_plugin"}, files={"hooked_plugin.py": text})
    return hook_conformance("hooked")


def test_a_healthy_plugin_passes_everything(site):
    results = run(install(site))
    assert len(results) == 11
    assert set(results.values()) == {None}


@pytest.mark.parametrize(
    ("edits", "check", "says"),
    [
        ([("# imports", "import pandas")], "test_is_light_to_import", "imports numpy, pandas"),
        ([("def before_run(run)", "def before_run(ran)")], "test_is_installed_and_in_order", "ran"),
        ([("run.status ==", "run.state ==")], "test_observes_a_run_that_succeeds", "no attribute 'state'"),
        ([("str(error)", "error.missing")], "test_observes_a_run_that_fails", "no attribute 'missing'"),
        ([("on_drift(report, run): assert", "on_drift(report, run): run.id; assert")], "test_observes_drift", "'id'"),
        (
            [("# after run", "assert all(r.outcome == 'executed' for r in run.stages[1:])")],
            "test_observes_a_run_that_is_cancelled",
            "`after_run` raised AssertionError",
        ),
        ([('"about"', '"abuot"')], "test_observes_the_registry", "KeyError"),
        ([("move.model", "move.version")], "test_observes_the_registry", "AttributeError"),
        ([("# after run", "print('hello')")], "test_leaves_standard_output_alone", "prints 'hello"),
        (
            [("# after run", "import threading; assert threading.current_thread() is threading.main_thread()")],
            "test_observes_from_several_threads",
            "AssertionError",
        ),
        ([("return None", "return 3")], "test_providers_decline_or_answer", "`provide_cached` returns int"),
        ([("# after run", "import sys; sys.exit(1)")], "test_observes_a_run_that_succeeds", "SystemExit"),
    ],
)
def test_what_is_wrong_with_a_plugin_fails_its_check(site, edits, check, says):
    said = run(install(site, *edits), check)[check]
    assert said is not None, "the check passed"
    assert re.search(says, said), said
    assert "\n  " in said


def test_a_distribution_that_is_not_installed():
    said = run(hook_conformance("no-such-distribution"))
    assert all(text and "pip install -e ." in text for name, text in said.items() if "observes_a_run" in name)
    assert "no-such-distribution" in said["test_is_installed_and_in_order"]


def test_other_plugins_are_left_out(site):
    site.install("loud", plugins={"p": "loud"}, files={"loud.py": "raise RuntimeError"})
    assert run(install(site), "test_is_installed_and_in_order") == {"test_is_installed_and_in_order": None}
