"""Clocks that jump, deliveries that come twice, a server that is down, plugins that hang, a second loop: by name."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from headrace import Fired
from headrace.builtins.trigger.schedule import ScheduleTrigger
from headrace.loop.clock import moment
from headrace.store import Store
from loop_bench import Tide
from loop_project import World, rows

COMMAND = (sys.executable, "-m", "headrace.cli.main")


class Always:
    def check(self, ctx: Any) -> Fired:
        return Fired("always")


def loop(world: World, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, *words, "--project", str(world.folder)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env={**os.environ, **env})


def status(world: World, **env: str) -> dict[str, Any]:
    done = loop(world, "status", "--json", **env)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_clock_that_jumps_forward_a_year_is_one_run_not_52(tide: Callable[..., Tide]) -> None:
    found = tide(min_rows=0, watch={"length": "0s"})
    weekly = ScheduleTrigger(ScheduleTrigger.Config(cron="0 3 * * 1", timezone="UTC"))
    found.triggers = {"weekly": weekly}
    found.once()
    found.at(1)
    found.source.add(rows(1, range(350, 365), 20))
    found.at(365)
    assert found.once().count("decided") == 1
    for hours in (1, 2, 24):
        found.at(365 + hours / 24)
        assert "decided" not in found.once()
    assert found.kinds().count("decided") == 2
    found.at(372.5)
    assert found.once().count("decided") == 1  # and then it goes on week by week


def test_a_clock_that_jumps_forward_frees_the_budget_of_a_week_and_no_more(tide: Callable[..., Tide]) -> None:
    found = tide(min_rows=0, budget=3, cooldown="0s", watch={"length": "0s"})
    found.triggers = {"always": Always()}
    found.source.add(rows(1, range(350, 365), 20))
    found.at(0)
    for minute in range(6):
        found.at(minute / 1440)
        found.once()
    before = found.kinds().count("decided")
    assert before == 3
    found.at(365)
    for minute in range(6):
        found.at(365 + minute / 1440)
        found.once()
    assert found.kinds().count("decided") == before + 3


def test_a_clock_that_jumps_backward_uses_no_budget_up_and_gives_none_back(tide: Callable[..., Tide]) -> None:
    found = tide(min_rows=0, budget=3, cooldown="0s", watch={"length": "0s"})
    found.triggers = {"always": Always()}
    found.at(100)
    found.source.add(rows(1, range(90, 100), 20))
    for _ in range(6):
        found.once()
    decided = found.kinds().count("decided")
    assert decided == 3
    for day in (99, 50, -300):
        found.at(day)
        found.once()
    assert found.kinds().count("decided") == decided
    times = [entry.at for entry in found.log()]
    assert times == sorted(times)
    with Store.open(found.root) as store:
        assert store.loops.verify("tide").problems == ()
    found.at(107.5)
    assert "decided" in found.once()


def test_a_label_file_that_is_delivered_twice_starts_nothing_and_counts_once(tmp_path: Path) -> None:
    world = World(tmp_path, triggers="[loop.triggers.new_data]\nrows = 100\n")
    world.once()
    world.deliver(rows(1, range(1, 4), 20), "a")
    world.at(5)
    assert "decided" not in world.once()  # 60 labels
    shutil.copy(tmp_path / "labels" / "a.parquet", tmp_path / "labels" / "b.parquet")
    assert world.once() == []
    with world.loop() as controller:
        assert controller.live is not None
        assert controller.live.labelled(None, moment(world.clock.now())).height == 60


class Ready(BaseHTTPRequestHandler):
    """Says yes to whoever asks whether it is ready."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture
def server() -> Iterator[tuple[int, Callable[[], None]]]:
    """A port on which nobody answers until the function is called."""
    made = ThreadingHTTPServer(("127.0.0.1", 0), Ready, bind_and_activate=False)
    made.server_bind()  # bound and not listening: whoever comes is refused
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.05})

    def begin() -> None:
        made.server_activate()
        thread.start()

    yield made.server_port, begin
    if thread.is_alive():
        made.shutdown()
        thread.join()
    made.server_close()


def test_a_server_that_is_down_is_on_the_status_screen_until_it_answers_again(
    tmp_path: Path, server: tuple[int, Callable[[], None]]
) -> None:
    port, begin = server
    world = World(tmp_path, loop=f'server = "http://127.0.0.1:{port}"\ndry_run = true')
    assert loop(world, "loop", "--once").returncode == 0
    found = status(world)
    assert found["server"]["ok"] is False
    assert "does not answer" in found["server"]["why"]
    assert [one["what"] for one in found["incidents"]] == ["server"]
    shown = loop(world, "status").stdout
    assert f"127.0.0.1:{port}" in shown
    assert "does not answer" in shown
    begin()
    assert loop(world, "loop", "--once").returncode == 0
    found = status(world)
    assert (found["server"]["ok"], found["incidents"]) == (True, [])
    assert world.kinds().count("resolved") == 1


HANGS = """
import threading
import pydantic
import headrace

class Hangs:
    "Never comes back."

    class Config(pydantic.BaseModel):
        pass

    def __init__(self, config):
        pass

    def check(self, ctx):
        threading.Event().wait()

    def send(self, notice):
        threading.Event().wait()

@headrace.hookimpl
def headrace_triggers(registry):
    registry.add("stuck", "stuck:Hangs")

@headrace.hookimpl
def headrace_notifiers(registry):
    registry.add("stuck", "stuck:Hangs")
"""


@pytest.fixture
def hanging(tmp_path: Path) -> dict[str, str]:
    """What a process needs to find a stranger's distribution whose trigger and notifier hang for ever."""
    site = tmp_path / "site"
    info = site / "stuck-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "stuck.py").write_text(HANGS)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stuck\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[headrace]\nstuck = stuck\n")
    return {"PYTHONPATH": str(site)}


def test_a_trigger_and_a_notifier_that_hang_are_named_on_the_status_screen_and_the_loop_goes_on(
    tmp_path: Path, hanging: dict[str, str]
) -> None:
    tables = "[loop.triggers.stuck]\n\n[loop.notify.stuck]\ntimeout = 1\n"
    world = World(tmp_path / "project", loop='patience = "1s"', triggers=tables)
    spec = world.folder / "headrace.toml"
    spec.write_text(spec.read_text().replace('window = "sliding"\nlength = "60d"', ""))  # the machine's clock is ahead
    for _ in range(2):
        done = loop(world, "loop", "--once", **hanging)
        assert done.returncode == 0, done.stderr
    assert world.champions() == [(None, 1)]
    found = status(world, **hanging)
    assert {one["what"] for one in found["incidents"]} == {"stuck", "notifier stuck"}
    assert found["notifiers"][0]["waiting"] >= 1  # it is told again later, of everything
    shown = loop(world, "status", **hanging).stdout
    assert "hangs" in shown
    assert "did not come back within 1 s" in shown


@pytest.mark.e2e
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=["ends", "is killed"])
def test_of_two_loops_one_works_and_the_other_takes_over_when_the_first(tmp_path: Path, how: signal.Signals) -> None:
    world = World(tmp_path, loop='every = "1s"\ndry_run = true', triggers="")
    words = [*COMMAND, "loop", "--project", str(tmp_path)]
    first = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    second = None
    try:
        assert first.stdout is not None
        assert "began" in first.stdout.readline()
        second = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        first.send_signal(how)
        first.communicate(timeout=60)
        assert first.returncode == (0 if how == signal.SIGTERM else -signal.SIGKILL)
        assert loop(world, "loop", "trigger", "--reason", "over to you").returncode == 0
        assert second.stdout is not None
        assert "held" in second.stdout.readline()
        assert world.kinds().count("begun") == 1
    finally:
        for process in (first, second):
            if process is not None and process.poll() is None:
                process.send_signal(signal.SIGTERM)
                process.communicate(timeout=60)
