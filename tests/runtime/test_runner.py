"""Runs: what is executed, what is taken from the cache, what becomes of failures."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from headrace import hookimpl
from headrace.errors import CancelledError, SpecError
from headrace.runtime.context import Event

if TYPE_CHECKING:
    from chain_project import Chain


def outcomes(run) -> dict[str, str]:
    return {record.stage.name: record.outcome for record in run}


def test_a_chain_runs_and_the_second_run_executes_nothing(chain: Chain) -> None:
    with chain.project() as project:
        run = project.run()
        assert outcomes(run) == {"start": "executed", "two": "executed", "three": "executed"}
        assert run["three"].value == 12
        assert chain.ran() == ["start", "two", "three"]
        again = project.run()
        assert outcomes(again) == {"start": "cached", "two": "cached", "three": "cached"}
        assert again["three"].value == 12
        assert chain.ran() == []
    with chain.project() as project:
        assert set(outcomes(project.run()).values()) == {"cached"}


def test_an_edit_three_imports_away_runs_what_depends_on_it(chain: Chain) -> None:
    with chain.project() as project:
        project.run()
    chain.ran()
    chain.edit("deepest", "sum(numbers)", "sum(numbers) + 100")
    with chain.project() as project:
        run = project.run()
        assert run["three"].value == 212
        assert "source of" in run.record("two").why
        assert "deepest changed" in run.record("two").why
    # `start` is in the same module as the others, so it runs again; it gives what it gave before.
    assert chain.ran() == ["start", "two", "three"]


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        ("deepest", "# the sum", "# another remark"),
        ("unused", "NOTHING = 0", "NOTHING = 1"),
        ("maths", "\n\n\n", "\n\n"),
    ],
)
def test_comments_and_unused_files_run_nothing(chain: Chain, module: str, old: str, new: str) -> None:
    with chain.project() as project:
        project.run()
    chain.ran()
    chain.edit(module, old, new)
    with chain.project() as project:
        project.run()
    assert chain.ran() == []


def test_a_changed_config_runs_the_stage_and_what_follows(chain: Chain) -> None:
    with chain.project() as project:
        project.run()
    chain.ran()
    with chain.project(overrides=["two.by=5"]) as project:
        run = project.run()
        assert run["three"].value == 16
        assert run.record("two").why == "config by changed: 1 -> 5"
        assert run.record("three").why == "input 'number' changed"
    assert chain.ran() == ["two", "three"]


def test_equal_output_stops_the_ripple(chain: Chain) -> None:
    chain.spec(
        '[project]\nname="c"\n[start]\nkind="step"\nuse="{package}.steps:Start"\nfile="n.txt"\n'
        '[odd]\nkind="step"\nuse="{package}.steps:Parity"\n[last]\nkind="step"\nuse="{package}.steps:Add"\n'
    )
    (chain.folder / "n.txt").write_text("7")
    with chain.project() as project:
        project.run()
        chain.ran()
        (chain.folder / "n.txt").write_text("9")
        run = project.run()
        assert chain.ran() == ["start", "odd"]
        assert outcomes(run)["last"] == "cached"
        assert run.record("start").why == "what it reads from outside changed"


def test_a_source_that_changes_while_it_is_read_is_an_error(chain: Chain) -> None:
    chain.spec('[project]\nname="c"\n[start]\nkind="step"\nuse="{package}.steps:Start"\nfile="n.txt"\n')
    (chain.folder / "n.txt").write_text("7")

    def meddle(event: Event) -> None:
        if event.kind == "log":
            (chain.folder / "n.txt").write_text("8")

    with chain.project() as project:
        run = project.run(listener=meddle)
        assert "changed while it ran" in str(run.record("start").error)
        assert project.run().succeeded


def test_force_runs_in_any_case(chain: Chain) -> None:
    with chain.project() as project:
        project.run()
        chain.ran()
        run = project.run(force=["two"])
        assert run.record("two").why == "forced"
        assert chain.ran() == ["two"]
        with pytest.raises(SpecError, match="no stage 'tow'"):
            project.run(force=["tow"])


def test_a_deleted_or_damaged_object_is_made_again(chain: Chain) -> None:
    kept = 'to.json("value", self.value); to.bytes("big", str(self.value).encode(), format="binary")'
    chain.edit("steps", 'to.json("value", self.value)', kept)
    with chain.project() as project:
        project.run()
        chain.ran()
        ref = project.runs(1)[0].stages[1].outputs["number"]
        digest = project.store.artifacts.info(ref.digest).parts["big"].sha256
        path = project.store.objects.open_path(digest)
        path.unlink()
        run = project.run()
        assert "two" in chain.ran()
        assert run.succeeded
        path.chmod(0o644)
        path.write_bytes(b"y")
        run = project.run()
        assert "two" in chain.ran()
        assert set(outcomes(project.run()).values()) == {"cached"}


def test_a_failure_names_the_stage_and_skips_what_follows(chain: Chain) -> None:
    with chain.project(overrides=["two.fail=9"]) as project:
        run = project.run()
        assert not run.succeeded
        assert outcomes(run) == {"start": "executed", "two": "failed", "three": "skipped"}
        assert "ValueError: try 0" in str(run.record("two").error)
        assert run.record("three").why == "two did not succeed"
    with chain.project() as project:
        assert outcomes(project.run()) == {"start": "cached", "two": "executed", "three": "executed"}


@pytest.mark.parametrize("isolation", ["thread", "process"])
def test_a_stage_that_ends_the_process_has_failed(chain: Chain, isolation: str) -> None:
    chain.edit("steps", 'raise ValueError(f"try {done}")', "raise SystemExit(0)")
    with chain.project(overrides=["two.fail=1", f'two.isolation="{isolation}"']) as project:
        run = project.run()
        assert outcomes(run) == {"start": "executed", "two": "failed", "three": "skipped"}
        assert "tried to end the process (exit 0)" in str(run.record("two").error)
        assert project.run().succeeded


def test_retries_are_counted_and_told(chain: Chain) -> None:
    told: list[Event] = []
    with chain.project(overrides=["two.fail=2", "two.retries=2"]) as project:
        run = project.run(listener=told.append)
        assert run.succeeded
        assert run.record("two").attempts == 3
    assert [e.data["attempt"] for e in told if e.kind == "retry"] == [1, 2]


def test_a_stage_that_says_so_is_never_cached(chain: Chain) -> None:
    chain.spec(
        '[project]\nname="c"\n[start]\nkind="step"\nuse="{package}.steps:Start"\n'
        '[dice]\nkind="step"\nuse="{package}.steps:Dice"\n[last]\nkind="step"\nuse="{package}.steps:Add"\n'
    )
    with chain.project() as project:
        project.run()
        chain.ran()
        run = project.run()
        assert chain.ran() == ["dice"]
        assert run.record("dice").why == "it says that it is not deterministic"


def test_a_wrong_output_type_is_an_error(chain: Chain) -> None:
    chain.spec(
        '[project]\nname="c"\n[start]\nkind="step"\nuse="{package}.steps:Start"\n'
        '[liar]\nkind="step"\nuse="{package}.steps:Liar"\n'
    )
    with chain.project() as project:
        run = project.run()
        assert "output 'number' is a int, and is annotated as Number" in str(run.record("liar").error)


def test_a_process_gives_the_same(chain: Chain) -> None:
    with chain.project() as project:
        inside = project.run()["three"]
    with chain.project(overrides=['two.isolation="process"']) as project:
        run = project.run(force=["two"])
        assert run.record("two").outcome == "executed"
        assert run["three"].value == inside.value
        assert run.record("two").metrics == {"score": 0.5}


def test_errors_cross_the_process_border(chain: Chain) -> None:
    with chain.project(overrides=['two.isolation="process"', "two.fail=9"]) as project:
        assert "ValueError: try 0" in str(project.run().record("two").error)


def test_a_timeout_ends_the_stage(chain: Chain) -> None:
    with chain.project(overrides=["two.timeout=1.5", "two.sleep=60"]) as project:
        run = project.run()
        assert "timeout of 1.5 s" in str(run.record("two").error)
        assert run.record("two").ended - run.record("two").started < 20


FORK = (
    '[project]\nname="c"\n[start]\nkind="step"\nuse="{package}.steps:Start"\n'
    '[left]\nkind="step"\nuse="{package}.steps:Add"\ninputs={number="start"}\nsleep=1.0\n'
    '[right]\nkind="step"\nuse="{package}.steps:Add"\ninputs={number="start"}\nsleep=1.0\n'
)


def test_independent_branches_run_side_by_side(chain: Chain) -> None:
    chain.spec(FORK)
    with chain.project() as project:
        run = project.run(jobs=2)
        left, right = run.record("left"), run.record("right")
        assert max(left.started, right.started) < min(left.ended, right.ended)


def test_one_job_runs_one_after_the_other(chain: Chain) -> None:
    chain.spec(FORK.replace("sleep=1.0", "sleep=0.05"))
    with chain.project() as project:
        run = project.run(jobs=1)
        assert run.record("left").ended <= run.record("right").started


def test_two_identical_runs_at_once_execute_each_stage_once(chain: Chain) -> None:
    chain.spec(FORK.replace("sleep=1.0", "sleep=0.4"))
    results: list[str] = []

    def work() -> None:
        with chain.project() as project:
            results.append(project.run().raise_on_failure().info.status)

    threads = [threading.Thread(target=work) for _ in range(3)]
    with chain.project() as project:
        project.graph  # noqa: B018  # import the steps once, before the threads do
        project.store  # noqa: B018  # and make the store
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == ["succeeded"] * 3
    ran = chain.ran()
    assert sorted(ran) in (["left", "start"], ["right", "start"]), "left and right share a key"


def test_cancelling_keeps_what_had_ended(chain: Chain) -> None:
    cancelled = threading.Event()

    def stop(event: Event) -> None:
        if event.stage == "two" and event.kind == "log":
            cancelled.set()

    with chain.project(overrides=["two.sleep=60"]) as project:
        with pytest.raises(CancelledError):
            project.run(listener=stop, cancelled=cancelled)
        info = project.runs(1)[0]
        assert info.status == "cancelled"
    with chain.project() as project:
        assert outcomes(project.run())["start"] == "cached"


SCRIPT = """
import sys
import headrace
with headrace.Project(sys.argv[1], overrides=sys.argv[2:]) as project:
    run = project.run(listener=lambda e: print(e.stage, e.kind, flush=True))
    print(run["three"].value)
"""


def started(chain: Chain, *overrides: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(chain.folder), *overrides], stdout=subprocess.PIPE, text=True
    )


def test_kill_9_leaves_a_crashed_run_and_the_next_goes_on(chain: Chain) -> None:
    process = started(chain, "two.sleep=60")
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("two log"):
            break
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    chain.ran()
    with chain.project() as project:
        assert project.runs(1)[0].status == "crashed"
        run = project.run()
        assert outcomes(run) == {"start": "cached", "two": "executed", "three": "executed"}
        assert project.runs(2)[1].status == "crashed"


class Watcher:
    """Writes down what it is told, and raises where it is asked to."""

    def __init__(self, raising: bool = False) -> None:
        self.told: list[str] = []
        self.raising = raising

    def _tell(self, word: str) -> None:
        self.told.append(word)
        if self.raising:
            raise RuntimeError(word)

    @hookimpl
    def before_run(self, run) -> None:
        self._tell(f"before {run.project}")

    @hookimpl
    def after_run(self, run) -> None:
        self._tell(f"after {run.status} {len(run.stages)}")

    @hookimpl
    def before_stage(self, stage) -> None:
        self._tell(f"before {stage.name}")

    @hookimpl
    def after_stage(self, record) -> None:
        self._tell(f"{record.outcome} {record.stage.name}")

    @hookimpl
    def on_stage_error(self, record, error) -> None:
        self._tell(f"error {record.stage.name} {type(error).__name__}")


@pytest.mark.parametrize("raising", [False, True])
def test_observers_are_told_and_cannot_harm(chain: Chain, raising: bool) -> None:
    from headrace.hooks.manager import PluginManager

    watcher = Watcher(raising)
    with chain.project(overrides=["three.fail=1"]) as project:
        project.__dict__["plugins"] = PluginManager.discover(extra=[watcher])
        project.run()
    assert watcher.told == [
        "before chain",
        "before start",
        "executed start",
        "before two",
        "executed two",
        "before three",
        "error three StageError",
        "after failed 3",
    ]


class Elsewhere:
    """Answers a stage from somewhere else."""

    def __init__(self, outputs) -> None:
        self.outputs = outputs

    @hookimpl
    def provide_execution(self, stage):
        return self.outputs if stage.name == "two" else None


def test_a_plugin_can_execute_a_stage(chain: Chain) -> None:
    from headrace.hooks.manager import PluginManager

    with chain.project() as project:
        outputs = project.run().record("three").outputs
        project.__dict__["plugins"] = PluginManager.discover(extra=[Elsewhere(outputs)])
        chain.ran()
        run = project.run(force=["two"])
        assert run["two"].value == 12
        assert chain.ran() == ["three"]


def test_provenance_is_recorded(chain: Chain) -> None:
    subprocess.run(["git", "init", "-q", chain.folder], check=True)
    config = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run(["git", "-C", chain.folder, "add", "headrace.toml"], check=True)
    subprocess.run(["git", "-C", chain.folder, *config, "commit", "-qm", "x"], check=True)
    with (chain.folder / "headrace.toml").open("a") as spec:
        spec.write("# changed\n")
    with chain.project() as project:
        about = project.run().info.provenance
    assert len(about["git"]["commit"]) == 40
    assert about["git"]["dirty"]
    assert "+# changed" in about["git"]["diff"]
    assert about["distributions"]["pydantic"]


def test_a_path_with_a_space_and_more(tmp_path: Path, chain: Chain) -> None:
    other = tmp_path / "a b 'c' é"
    other.mkdir()
    for name in (chain.package, "headrace.toml"):
        (chain.folder / name).rename(other / name)
    chain.folder = other
    with chain.project(overrides=['two.isolation="process"']) as project:
        assert project.run()["three"].value == 12
