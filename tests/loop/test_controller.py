"""What the loop decides and does, step by step; and that it is the same wherever the process died."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from headrace import Fired
from headrace.builtins.trigger.new_data import NewDataTrigger
from headrace.builtins.trigger.performance import PerformanceTrigger
from headrace.errors import FencedError
from headrace.loop.data import found_again, keep, kept
from headrace.loop.state import fold
from headrace.store import Store
from loop_bench import Tide
from loop_project import DAY, START, World, rows

Tides = Callable[..., Any]


def performance() -> dict[str, Any]:
    return {"performance": PerformanceTrigger(PerformanceTrigger.Config())}


class Always:
    def check(self, ctx: Any) -> Fired:
        return Fired("always")


class Broken:
    def check(self, ctx: Any) -> Fired:
        raise ZeroDivisionError("oh")


def live_through(tide: Any, once: Callable[[], object]) -> None:
    """The world turns over on day 10, and back on day 31: a retraining is promoted, and then taken back."""
    tide.triggers = performance()
    tide.at(0)
    once()
    tide.source.add(rows(1, range(10), 20))
    tide.at(10)
    once()
    tide.source.add(rows(2, range(10, 26), 20, flip=True))
    tide.at(26)
    once()
    tide.source.add(rows(3, range(26, 31), 20))
    tide.at(31)
    once()
    tide.at(32)
    once()


PATH = [
    *("begun", "decided", "trained", "promoting", "promoted", "ended"),
    *("decided", "trained", "promoting", "promoted", "rolling back", "rolled back"),
]


def test_from_the_first_model_to_a_roll_back(tide: Tides) -> None:
    found = tide()
    live_through(found, found.once)
    log = found.log()
    assert [entry.kind for entry in log] == PATH
    assert found.champions() == [(None, 1), (1, 2), (2, 1)]
    first, second = (entry.body for entry in log if entry.kind == "decided")
    assert [reason["trigger"] for reason in first["reasons"]] == ["first"]
    assert [reason["trigger"] for reason in second["reasons"]] == ["performance"]
    assert second["reasons"][0]["evidence"]["value"] > second["reasons"][0]["evidence"]["bound"]
    back = log[-1].body
    assert (back["from"], back["to"]) == (2, 1)
    assert "surely worse" in back["why"]
    with Store.open(found.root) as store:
        assert store.loops.verify("tide").problems == ()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, packages: dict[bool, dict[str, Any]]) -> Tide:
    """The history of a loop that nobody killed."""
    found = Tide(tmp_path_factory.mktemp("whole") / "store", packages)
    live_through(found, found.once)
    return found


class Killed(BaseException):
    """The process dies here."""


class Dying:
    """The log of a process that dies before or after it writes entry number `when`."""

    def __init__(self, loops: Any, when: int, *, after: bool) -> None:
        self._loops = loops
        self._when = when
        self._after = after

    def append(self, *args: Any, **kwargs: Any) -> Any:
        number = len(self._loops.entries("tide")) + 1
        if number == self._when and not self._after:
            raise Killed
        entry = self._loops.append(*args, **kwargs)
        if number == self._when:
            raise Killed
        return entry

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loops, name)


@pytest.mark.parametrize("after", [False, True], ids=["before it is written", "after it was written"])
@pytest.mark.parametrize("when", range(1, len(PATH) + 1))
def test_killed_at_any_entry_it_ends_in_the_same_history(tide: Tides, whole: Any, when: int, after: bool) -> None:
    killed = tide()
    deaths = 0

    def once() -> None:
        nonlocal deaths
        try:
            with Store.open(killed.root) as store:
                lease = store.loops.take("tide")
                assert lease is not None
                try:
                    killed.open(store, loops=Dying(store.loops, when, after=after), lease=lease).once()
                finally:
                    lease.release()
        except Killed:
            deaths += 1
            killed.once()

    live_through(killed, once)
    assert deaths == 1
    assert [(e.seq, e.kind, e.at, e.body) for e in killed.log()] == [(e.seq, e.kind, e.at, e.body) for e in whole.log()]
    assert killed.champions() == whole.champions()
    assert list((killed.root / "loop").iterdir()) == []


def test_rows_of_past_runs_are_removed_and_those_that_a_decision_waits_for_are_not(tide: Tides) -> None:
    found = tide()
    folder = found.root / "loop"
    folder.mkdir()
    (folder / f"{'0' * 64}.parquet").write_bytes(b"kept for a decision that was never written")
    with Store.open(found.root) as store, pytest.raises(Killed):
        found.open(store, loops=Dying(store.loops, 2, after=True)).once()
    needed = found.log()[-1].body["data"]["file"]
    assert (folder / f"{needed}.parquet").is_file()
    (folder / "notes.txt").write_text("not ours")
    assert "trained" in found.once()
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]


def test_the_loops_of_two_projects_in_one_store_keep_their_own_rows(tmp_path: Path) -> None:
    worlds = {name: World(tmp_path / name, triggers="") for name in ("tide", "ebb")}
    for name, world in worlds.items():
        path = world.folder / "headrace.toml"
        text = path.read_text().replace('name = "tide"', f'name = "{name}"')
        path.write_text(f'{text}\n[store]\npath = "{tmp_path / "store"}"\n')
    with worlds["ebb"].loop() as ebb:
        while (entry := ebb._step()) is not None and entry.kind != "decided":
            continue
    assert entry is not None
    assert "promoted" in worlds["tide"].once()  # it removes what is over of its own
    assert "trained" in worlds["ebb"].once()


def test_rows_that_were_kept_before_each_project_had_a_folder_are_found(tmp_path: Path) -> None:
    digest, _ = keep(rows(0, range(1), 3), tmp_path / "loop")
    assert found_again(tmp_path / "loop" / "tide", digest) == kept(tmp_path / "loop", digest)
    keep(rows(0, range(1), 3), tmp_path / "loop" / "tide")
    assert found_again(tmp_path / "loop" / "tide", digest) == kept(tmp_path / "loop" / "tide", digest)
    assert found_again(tmp_path / "loop" / "tide", "0" * 64).parent == tmp_path / "loop" / "tide"


def test_who_was_overtaken_removes_no_rows(tide: Tides) -> None:
    found = tide()
    with Store.open(found.root) as store:
        lease = store.loops.take("tide")
        old = found.open(store, lease=lease)
        old.once()
        lease.release()
        new = store.loops.take("tide")
        kept = found.root / "loop" / f"{'1' * 64}.parquet"
        kept.write_bytes(b"of the one that took over")
        with pytest.raises(FencedError):
            old.once()
        assert kept.is_file()
        new.release()


def test_nothing_happens_twice(tide: Tides) -> None:
    found = tide()
    live_through(found, found.once)
    before = found.log()
    assert found.once() == []
    assert found.log() == before


def test_a_storm_of_triggers_is_one_run(tide: Tides) -> None:
    found = tide(min_rows=0)
    found.triggers = {f"t{n}": Always() for n in range(5)}
    found.say("requested", reason="me")
    found.say("requested", reason="me too")
    assert found.once().count("decided") == 1
    (decided,) = (entry.body for entry in found.log() if entry.kind == "decided")
    triggers = [reason["trigger"] for reason in decided["reasons"]]
    assert triggers == ["t0", "t1", "t2", "t3", "t4", "manual", "manual", "first"]
    assert decided["requests"] == [1, 2]
    assert found.kinds()[-1] == "held"
    assert found.once() == []


def test_cooldown_budget_and_labels_hold_a_run_and_say_so_once(tide: Tides) -> None:
    found = tide(budget=2, min_rows=50)
    found.triggers = {"always": Always()}
    assert found.once()[-1] == "held"
    assert found.log()[-1].body["rule"] == "cooldown"
    assert found.once() == []
    found.at(1.5)
    assert found.once() == ["held"]
    assert found.log()[-1].body["rule"] == "labels"
    found.source.add(rows(1, range(2), 40))
    assert found.once()[:2] == ["decided", "trained"]
    found.source.add(rows(1, range(2, 4), 40))
    found.at(4)
    assert found.once() == ["held"]
    assert found.log()[-1].body["rule"] == "budget"
    assert found.log()[-1].body["until"] == START.timestamp() + 7 * DAY
    found.at(7.5)
    assert "decided" in found.once()


def test_a_person_need_not_wait_for_the_cooldown(tide: Tides) -> None:
    found = tide()
    found.once()
    found.say("requested", reason="the fares are new")
    assert found.once() == ["decided", "trained", "ended"]
    assert found.log()[-1].body["outcome"] == "kept"
    assert "already" in found.log()[-1].body["why"]


def test_the_kill_switch_stops_everything_and_resume_goes_on_where_it_was(tide: Tides) -> None:
    found = tide()
    found.say("paused", reason="the feed is broken")
    live_through(found, found.once)
    assert [entry.kind for entry in found.log()] == ["paused", "begun"]
    found.say("resumed")
    assert found.once()[0] == "decided"


def test_a_dry_run_only_says(tide: Tides) -> None:
    found = tide(dry_run=True)
    assert found.once() == ["begun", "held"]
    assert found.once() == []
    assert found.champions() == []


def test_waiting_for_a_person(tide: Tides) -> None:
    found = tide(promote="wait")
    assert found.once()[-1] == "waiting"
    assert found.once() == []
    assert found.champions() == []
    found.say("approved", version=1)
    assert found.once() == ["promoting", "promoted", "ended"]
    assert found.champions() == [(None, 1)]


def test_a_person_says_no(tide: Tides) -> None:
    found = tide(promote="wait", min_rows=0)
    found.once()
    found.say("rejected", version=1)
    assert found.once() == ["ended"]
    assert found.champions() == []
    found.say("requested")
    assert found.once()[-1] == "waiting"  # it is the same version again, but of another run
    assert [e.body["outcome"] for e in found.log() if e.kind == "ended"] == ["rejected"]


def test_a_new_run_takes_the_place_of_one_that_waits(tide: Tides) -> None:
    found = tide(promote="wait", min_rows=0)
    assert found.once()[-1] == "waiting"
    found.say("requested")
    assert found.once() == ["ended", "decided", "trained", "waiting"]
    assert found.log()[-4].body["outcome"] == "superseded"


def test_a_model_that_does_not_pass_the_gate_is_not_promoted(tide: Tides) -> None:
    found = tide()
    found.once()
    found.options = {"passed": False}
    found.say("requested")
    assert found.once() == ["decided", "trained", "ended"]
    found.options = {"status": "failed"}
    found.say("requested")
    assert found.once() == ["decided", "trained", "ended"]
    assert [e.body["outcome"] for e in found.log() if e.kind == "ended"] == ["promoted", "kept", "failed"]
    assert found.champions() == [(None, 1)]


def test_somebody_else_moves_the_alias_meanwhile(tide: Tides) -> None:
    found = tide()
    live_through(found, found.once)  # versions 1 and 2 exist
    found.source.add(rows(5, range(31, 50), 40, flip=True))
    found.at(50)
    with Store.open(found.root) as store:
        controller = found.open(store)
        while (entry := controller._step()) is not None and entry.kind != "promoting":
            continue
        assert entry is not None
        controller.place.registry.promote("tide@2", why="by hand")
        controller.place.registry.promote("tide@1", why="by hand")
        controller.place.registry.promote("tide@2", why="by hand")
    found.once()
    assert found.champions()[-1] == (1, 2)


def test_a_trigger_that_raises_is_written_down_once_and_stops_nobody(tide: Tides) -> None:
    found = tide(min_rows=0)
    found.once()
    found.at(2)
    found.triggers = {"broken": Broken()}
    assert found.once() == ["problem"]
    assert found.log()[-1].body == {
        "key": "broken: ZeroDivisionError: oh",
        "trigger": "broken",
        "error": "ZeroDivisionError: oh",
    }
    assert found.once() == []
    found.triggers = {"broken": Broken(), "always": Always()}
    assert found.once()[0] == "decided"


def test_a_clock_that_was_set_back_repeats_nothing(tide: Tides) -> None:
    found = tide()
    found.triggers = {"always": Always()}
    found.at(5)
    assert "promoted" in found.once()
    found.source.add(rows(1, range(40), 20))
    for day in (4.9, 0, -365):
        found.at(day)
        assert "decided" not in found.once()
    times = [entry.at for entry in found.log()]
    assert times == sorted(times)
    found.at(6.5)
    assert "decided" in found.once()


def test_new_data_is_told_by_labels_that_came_in_and_by_files_that_changed(tide: Tides) -> None:
    found = tide(min_rows=0)
    found.triggers = {"new": NewDataTrigger(NewDataTrigger.Config(rows=100))}
    found.once()
    found.at(2)
    found.source.add(rows(1, range(2), 40))
    assert found.once() == []
    found.source.add(rows(1, range(2), 40))  # delivered twice: nothing new
    assert found.once() == []
    found.source.add(rows(2, range(2), 10))
    assert found.once()[0] == "decided"
    found.at(4)
    found.options = {"fingerprint": "two"}
    assert found.once()[0] == "decided"
    assert found.log()[-3].body["reasons"][0]["why"] == "the input files of the project changed"


def test_who_was_overtaken_writes_and_moves_nothing(tide: Tides) -> None:
    found = tide()
    with Store.open(found.root) as store:
        lease = store.loops.take("tide")
        controller = found.open(store, lease=lease)
        controller._write("begun", {})
        while (entry := controller._step()) is not None and entry.kind != "promoting":
            continue
        with store.database.write() as connection:
            connection.run("UPDATE loops SET epoch = :epoch", {"epoch": 99})
        with pytest.raises(FencedError):
            controller.once()
        lease.release()
    assert found.champions() == []
    assert found.once() == ["promoted", "ended"]


def test_what_is_quiet_is_not_read_again(tide: Tides) -> None:
    found = tide()
    found.triggers = performance()
    with Store.open(found.root) as store:
        controller = found.open(store)
        controller.look()
        found.source.add(rows(1, range(3), 40))
        found.at(3)
        controller.look()
        found.clock.at += 60
        controller.look()
        reads = found.source.reads
        for _ in range(5):
            found.clock.at += 60
            assert controller.look() == []
        assert found.source.reads == reads
        found.source.add(rows(2, range(3, 4), 40))
        controller.look()
        assert found.source.reads > reads


def test_what_comes_in_during_a_look_is_looked_at_next(tide: Tides) -> None:
    found = tide(min_rows=0)
    found.once()

    class Meanwhile:
        """Somebody asks for a run while the loop looks whether there is anything to do."""

        asked = False

        def check(self, ctx: Any) -> None:
            if not self.asked:
                self.asked = True
                found.say("requested")

    found.triggers = {"meanwhile": Meanwhile()}
    with Store.open(found.root) as store:
        controller = found.open(store)
        assert controller.look() == []
        assert [entry.kind for entry in controller.look()][:1] == ["decided"]


def test_live_rows_that_cannot_be_used_are_written_down_once_and_the_loop_lives_on(tide: Tides) -> None:
    found = tide(min_rows=0)
    found.once()
    found.source.all = rows(1, range(3), 40).drop("y")
    found.at(3)
    found.say("requested")
    assert found.once() == ["problem"]
    assert "no column 'y'" in found.log()[-1].body["error"]
    assert found.once() == []
    found.source.all = rows(1, range(3), 40)
    assert found.once()[:2] == ["decided", "trained"]


def test_the_state_is_the_same_whether_it_is_folded_at_once_or_in_pieces(tide: Tides) -> None:
    found = tide()
    live_through(found, found.once)
    log = found.log()
    for cut in range(len(log)):
        assert fold(log[cut:], fold(log[:cut])) == fold(log)
