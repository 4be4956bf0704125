from __future__ import annotations

import logging
import re
import subprocess
import sys
import threading

import pytest

from headrace import hookimpl
from headrace.errors import PluginConflictError, PluginError, StageError, UnknownNameError
from headrace.hooks import discovery
from headrace.hooks.manager import PluginManager

GOOD = """
from headrace import hookimpl

@hookimpl
def headrace_stages(registry):
    registry.add("train", "xgboost", "headrace_good.train:XGBoostTrainer")

@hookimpl
def headrace_artifacts(registry):
    registry.add("picture", "headrace_good.picture:Picture")
"""

REGISTERS = "from headrace import hookimpl\n@hookimpl\ndef headrace_stages(registry):\n"
DECLARES = "from headrace import hookimpl\n@hookimpl\ndef headrace_artifacts(registry):\n"


def mine(manager, name):
    (found,) = [p for p in manager.problems if p.distribution == name]
    return found


def status(manager, name):
    (found,) = [p.status for p in manager.plugins if p.distribution == name]
    return found


def test_a_plugin_registers_stages_and_artifacts_without_their_modules(site):
    site.install("headrace-good", "1.2", plugins={"good": "headrace_good"}, files={"headrace_good/__init__.py": GOOD})
    manager = PluginManager.discover()
    entry = manager.stages.entry("train", "xgboost")
    assert (entry.distribution, entry.version) == ("headrace-good", "1.2")
    assert entry.target == "headrace_good.train:XGBoostTrainer"
    assert "picture" in manager.artifacts.names()
    assert [p for p in manager.problems if p.distribution == "headrace-good"] == []
    (plugin,) = [p for p in manager.plugins if p.distribution == "headrace-good"]
    assert plugin.hooks == ("headrace_artifacts", "headrace_stages")
    assert "headrace_good" in sys.modules
    assert "headrace_good.train" not in sys.modules


def test_the_builtins_come_through_the_same_door():
    manager = PluginManager.discover()
    assert manager.plugins[0].distribution == "headrace"
    assert manager.plugins[0].entry_point == "builtins"
    assert manager.stages.entry("train", "lightgbm").distribution == "headrace"
    assert "dataset" in manager.artifacts.names()


def test_two_managers_share_nothing(site):
    site.install("headrace-good", plugins={"good": "headrace_good"}, files={"headrace_good/__init__.py": GOOD})
    first, second = PluginManager.discover(disabled=["headrace-good"]), PluginManager.discover()
    with pytest.raises(UnknownNameError):
        first.stages.entry("train", "xgboost")
    assert second.stages.entry("train", "xgboost")


@pytest.mark.parametrize("written", ["headrace-bad", "Headrace_Bad", "headrace.bad"])
def test_a_disabled_plugin_is_not_even_imported(site, written):
    site.install("headrace-bad", plugins={"bad": "headrace_bad"}, files={"headrace_bad.py": "1/0"})
    manager = PluginManager.discover(disabled=[written])
    assert status(manager, "headrace-bad") == "disabled"
    assert "headrace_bad" not in sys.modules
    assert manager.problems == ()


BROKEN = {
    "raises": ("raise RuntimeError('no licence')", "import", "RuntimeError: no licence"),
    "syntax": ("def f(:\n", "import", "SyntaxError"),
    "exits": ("import sys\nsys.exit(3)", "import", "tried to end the process (exit 3)"),
    "missing": ("import no_such_dependency", "import", "No module named 'no_such_dependency'"),
    "panics": ("class Panic(BaseException): pass\nraise Panic('rust')", "import", "Panic: rust"),
    "empty": ("", "registration", "implements no hook"),
    "unknown hook": (
        "from headrace import hookimpl\n@hookimpl\ndef before_runs(run): pass",
        "registration",
        "no hook `before_runs`. Did you mean 'before_run'",
    ),
    "signature": (
        "from headrace import hookimpl\n@hookimpl\ndef before_run(run, colour): pass",
        "registration",
        "colour",
    ),
    "wrapper": (
        "from headrace import hookimpl\n@hookimpl(wrapper=True)\ndef before_run(run):\n    return (yield)",
        "registration",
        "is a wrapper",
    ),
    "twice": (
        REGISTERS + "    registry.add('train', 'x', 'm:C')\n    registry.add('train', 'x', 'm:D')",
        "registration",
        "train:x is registered twice",
    ),
    "bad name": (
        REGISTERS + "    registry.add('train', 'Ünïcode', 'm:C')",
        "registration",
        "cannot be the name of a stage",
    ),
    "bad target": (
        REGISTERS + "    registry.add('train', 'x', 'm.C')",
        "registration",
        'Write "package.module:ClassName"',
    ),
    "bad artifact": (
        DECLARES + "    registry.add(3, 'm:C')",
        "registration",
        "cannot be the name of an artifact type",
    ),
    "raises while registering": (
        REGISTERS + "    registry.add('train', 'x', 'm:C')\n    raise KeyError('gone')",
        "registration",
        "KeyError: 'gone'",
    ),
    "exits while registering": (
        REGISTERS + "    raise SystemExit",
        "registration",
        "tried to end the process",
    ),
    "wrong call": (
        REGISTERS + "    registry.register('x')",
        "registration",
        "AttributeError",
    ),
}


@pytest.mark.parametrize(("source", "phase", "says"), BROKEN.values(), ids=BROKEN)
def test_a_broken_plugin_is_reported_and_breaks_nothing_else(site, source, phase, says):
    site.install("headrace-bad", "0.3", plugins={"bad": "headrace_bad"}, files={"headrace_bad.py": source})
    site.install("headrace-good", plugins={"good": "headrace_good"}, files={"headrace_good/__init__.py": GOOD})
    manager = PluginManager.discover()
    assert status(manager, "headrace-bad") == "broken"
    problem = mine(manager, "headrace-bad")
    assert (problem.phase, problem.entry_point) == (phase, "bad")
    assert says in problem.message
    assert "\n" not in problem.message
    assert "Traceback" in problem.traceback
    assert manager.stages.entry("train", "xgboost")
    assert manager.stages.entry("train", "lightgbm")
    # All of a broken plugin is out: its stages, and its hooks.
    with pytest.raises(UnknownNameError, match="broken") as caught:
        manager.stages.entry("train", "x")
    assert "headrace-bad" in caught.value.hint
    manager.observe("before_run", run=None)
    assert [p for p in manager.problems if p.phase == "observer"] == []


def test_an_entry_point_that_names_nothing(site):
    site.install("headrace-bad", plugins={"bad": "headrace_bad:missing"}, files={"headrace_bad.py": ""})
    assert "has no attribute 'missing'" in mine(PluginManager.discover(), "headrace-bad").message


def test_ctrl_c_during_discovery_is_the_persons(site):
    site.install("headrace-bad", plugins={"bad": "headrace_bad"}, files={"headrace_bad.py": "raise KeyboardInterrupt"})
    with pytest.raises(KeyboardInterrupt):
        PluginManager.discover()


def test_one_module_under_two_entry_points(site):
    site.install(
        "headrace-good", plugins={"a": "headrace_good", "b": "headrace_good"}, files={"headrace_good.py": GOOD}
    )
    manager = PluginManager.discover()
    assert mine(manager, "headrace-good").entry_point == "b"
    assert manager.stages.entry("train", "xgboost")


def test_an_unknown_hook_may_be_optional(site):
    source = """
    from headrace import hookimpl

    @hookimpl
    def before_run(run): pass

    @hookimpl(optionalhook=True)
    def after_the_end_of_time(run): pass
    """
    site.install("headrace-new", plugins={"new": "headrace_new"}, files={"headrace_new.py": source})
    manager = PluginManager.discover()
    assert [p for p in manager.problems if p.distribution == "headrace-new"] == []
    (plugin,) = [p for p in manager.plugins if p.distribution == "headrace-new"]
    assert plugin.hooks == ("before_run",)


def test_a_name_that_two_distributions_claim_is_an_error_that_names_both(site):
    claim = REGISTERS + "    registry.add('train', 'lightgbm', '{}:C')"
    for name in ("mine", "yours"):
        source = claim.format(f"{name}_x").replace("lightgbm", "forest")
        site.install(name, "1.0", plugins={"p": f"{name}_p"}, files={f"{name}_p.py": source})
    site.install("takes-ours", "9.9", plugins={"p": "ours_p"}, files={"ours_p.py": claim.format("ours_x")})
    manager = PluginManager.discover()
    with pytest.raises(
        PluginConflictError, match=r"train:forest is registered by mine 1\.0 .* and yours 1\.0"
    ) as caught:
        manager.stages.entry("train", "forest")
    assert "disabled" in caught.value.hint
    with pytest.raises(PluginConflictError, match=r"headrace .* and takes-ours 9\.9"):
        manager.stages.entry("train", "lightgbm")
    assert ("train", "forest") not in {(e.kind, e.name) for e in manager.stages.entries()}
    assert {p.phase for p in manager.problems} == {"conflict"}
    assert {p.distribution for p in manager.problems} == {"yours", "takes-ours"}
    # The way out works.
    assert PluginManager.discover(disabled=["yours"]).stages.entry("train", "forest").distribution == "mine"


def test_an_artifact_type_that_two_distributions_claim(site):
    claim = DECLARES + "    registry.add('dataset', 'x:C')"
    site.install("thief", "1.0", plugins={"p": "thief"}, files={"thief.py": claim})
    manager = PluginManager.discover()
    with pytest.raises(PluginConflictError, match="thief"):
        manager.artifacts.load("dataset")
    assert "dataset" not in manager.artifacts.names()


def test_unknown_names_come_with_the_nearest():
    stages = PluginManager.discover().stages
    with pytest.raises(UnknownNameError, match="no implementation 'lightbgm' of 'train'") as caught:
        stages.entry("train", "lightbgm")
    assert caught.value.hint == "Did you mean 'lightgbm'?"
    with pytest.raises(UnknownNameError, match="no stage kind 'trian'") as caught:
        stages.entry("trian", "lightgbm")
    assert "'train'" in caught.value.hint
    with pytest.raises(UnknownNameError, match="'lightgbm' is no implementation of 'split', but of 'train'") as caught:
        stages.entry("split", "lightgbm")
    assert "'group', 'random' or 'time'" in caught.value.hint
    with pytest.raises(UnknownNameError, match="no artifact type 'datset'") as caught:
        PluginManager.discover().artifacts.load("datset")
    assert "'dataset'" in caught.value.hint


def test_an_artifact_type_must_be_registered_under_its_own_name(site):
    claim = DECLARES + "    registry.add('table', 'headrace:Dataset')"
    site.install("misnomer", plugins={"p": "misnomer"}, files={"misnomer.py": claim})
    with pytest.raises(PluginError, match="registered as 'table', but its type_name is 'dataset'"):
        PluginManager.discover().artifacts.load("table")


def test_without_an_installed_headrace_discovery_says_so(monkeypatch):
    monkeypatch.setattr("headrace.hooks.manager.entry_points", lambda: ([], []))
    with pytest.raises(PluginError, match="headrace is not installed") as caught:
        PluginManager.discover()
    assert "pip install" in caught.value.hint
    assert PluginManager.discover(disabled=["headrace"]).stages.entries() == ()


class Recorder:
    def __init__(self, name, calls, raises=None):
        self.name, self.calls, self.raises = name, calls, raises
        self.__name__ = name

    @hookimpl
    def before_run(self, run):
        self.calls.append((self.name, run))
        if self.raises:
            raise self.raises


def test_an_observer_that_raises_stops_nobody_else_and_is_reported(caplog):
    calls = []
    plugins = [Recorder("one", calls), Recorder("two", calls, ValueError("oh\nno")), Recorder("three", calls)]
    manager = PluginManager.discover(extra=plugins)
    with caplog.at_level(logging.DEBUG, "headrace.plugins"):
        manager.observe("before_run", run="r1")
        manager.observe("before_run", run="r2")
    assert calls == [(name, run) for run in ("r1", "r2") for name in ("three", "two", "one")]
    warnings = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert warnings == ["plugin two: its hook `before_run` raised ValueError: oh no"] * 2
    (problem,) = manager.problems
    assert (problem.distribution, problem.phase) == ("two", "observer")
    assert "ValueError" in problem.traceback


@pytest.mark.parametrize("raises", [SystemExit(1), GeneratorExit(), BaseException("panic")])
def test_not_even_sys_exit_leaves_an_observer(raises):
    calls = []
    manager = PluginManager.discover(extra=[Recorder("one", calls), Recorder("bad", calls, raises)])
    manager.observe("before_run", run=None)
    assert [name for name, _ in calls] == ["bad", "one"]


def test_what_a_plugin_says_does_not_steer_a_terminal(caplog, site):
    class Loud:
        @hookimpl
        def before_run(self, run):
            raise ValueError("\x1b[2J gone \x9b1m\r\x07")

        @hookimpl
        def provide_cached(self, stage, key):
            raise ValueError("\x1b[31m red")

    site.install("loud", plugins={"b": "loud_plugin"}, files={"loud_plugin.py": 'raise OSError("\\x1b[2J")'})
    site.install("exits", plugins={"b": "exits_plugin"}, files={"exits_plugin.py": 'raise SystemExit("\\x1b[2J")'})
    manager = PluginManager.discover(extra=[Loud()])
    with caplog.at_level(logging.DEBUG, "headrace.plugins"):
        manager.observe("before_run", run=None)
    with pytest.raises(PluginError, match=r"\\x1b\[31m red") as caught:
        manager.provide("provide_cached", stage=None, key="k")
    logged = [logging.Formatter().format(record) for record in caplog.records]
    assert any("\\x1b[2J gone \\x9b1m" in text for text in logged)
    said = [*logged, str(caught.value)]
    said += [text for problem in manager.problems for text in (problem.message, problem.traceback)]
    assert len(manager.problems) == 3
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", "".join(said))


def test_ctrl_c_leaves_an_observer():
    manager = PluginManager.discover(extra=[Recorder("bad", [], KeyboardInterrupt())])
    with pytest.raises(KeyboardInterrupt):
        manager.observe("before_run", run=None)


def test_observers_are_given_the_arguments_that_they_ask_for():
    seen = []

    class Picky:
        @hookimpl
        def on_stage_error(self, error, record):
            seen.append((error, record))

    PluginManager.discover(extra=[Picky()]).observe("on_stage_error", run=1, record=2, error=3)
    assert seen == [(3, 2)]


def test_observers_from_many_threads():
    calls = []
    manager = PluginManager.discover(extra=[Recorder("bad", calls, ValueError("x")), Recorder("good", calls)])
    threads = [threading.Thread(target=manager.observe, args=("before_run",), kwargs={"run": i}) for i in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 40
    assert len(manager.problems) == 1


class Provider:
    def __init__(self, name, answer):
        self.__name__, self.answer, self.asked = name, answer, 0

    @hookimpl
    def provide_cached(self, stage, key):
        self.asked += 1
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer


def test_the_first_answer_that_is_not_none_is_taken():
    last, first = Provider("last", {"a": 1}), Provider("first", None)
    never = Provider("never", {"b": 2})
    manager = PluginManager.discover(extra=[never, last, first])
    assert manager.provide("provide_cached", stage=None, key="k") == {"a": 1}
    assert (never.asked, last.asked, first.asked) == (0, 1, 1)
    assert PluginManager.discover().provide("provide_cached", stage=None, key="k") is None


def test_an_empty_answer_is_an_answer():
    assert PluginManager.discover(extra=[Provider("p", {})]).provide("provide_cached", stage=None, key="k") == {}


def test_a_provider_that_raises_fails_by_name():
    manager = PluginManager.discover(extra=[Provider("remote", OSError("unreachable"))])
    with pytest.raises(PluginError, match="`provide_cached` raised OSError: unreachable") as caught:
        manager.provide("provide_cached", stage=None, key="k")
    assert caught.value.place == "plugin remote"
    assert isinstance(caught.value.__cause__, OSError)
    with pytest.raises(StageError):
        PluginManager.discover(extra=[Provider("p", StageError("no"))]).provide("provide_cached", stage=None, key="k")


def test_tryfirst_is_honoured():
    order = []

    class A:
        @hookimpl(tryfirst=True)
        def before_run(self):
            order.append("a")

    class B:
        @hookimpl
        def before_run(self):
            order.append("b")

    PluginManager.discover(extra=[A(), B()]).observe("before_run", run=None)
    assert order == ["a", "b"]


def test_a_projects_own_module_is_a_plugin_by_name(site):
    site.install("p", files={"own_hooks.py": GOOD, "own_bad.py": "1/0"})
    manager = PluginManager.discover(extra=["own_hooks", "own_bad"])
    assert manager.stages.entry("train", "xgboost").distribution == "own_hooks"
    assert mine(manager, "own_bad").message == "ZeroDivisionError: division by zero"


def test_discovery_costs_less_than_importing_the_standard_library_that_reads_metadata():
    """Budget: 30 ms beyond pluggy, as a ratio so that a busy machine does not matter: 30 ms is about 1.3 times what
    `import importlib.metadata, typing, dataclasses, inspect, traceback, logging` takes here, in the same process.
    """
    code = """
import time
begin = time.perf_counter()
import importlib.metadata, typing, dataclasses, inspect, traceback, logging
list(importlib.metadata.distributions())
yardstick = time.perf_counter() - begin
import pluggy
import headrace
begin = time.perf_counter()
from headrace.hooks.manager import PluginManager
PluginManager.discover()
print((time.perf_counter() - begin) / yardstick)
"""
    ratios = [
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
        for _ in range(3)
    ]
    assert min(ratios) < 1.0


def test_entry_points_are_read_once(monkeypatch):
    reads = []
    real = discovery.entry_points
    monkeypatch.setattr("headrace.hooks.manager.entry_points", lambda: reads.append(1) or real())
    manager = PluginManager.discover()
    for _ in range(3):
        manager.observe("before_run", run=None)
        manager.stages.entries()
    assert reads == [1]
