"""The store and the registry against a model of them in plain dicts, through every order of calls Hypothesis finds.

Besides the calls themselves: other processes (a second handle), crashes (a handle dropped without a word), garbage
collection, damage, and clocks that jump.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from headrace.errors import AliasConflictError, FencedError, RegistryError
from headrace.registry import Registry
from headrace.store import RunHandle, Store, schema
from headrace.types import ArtifactRef, ModelVersion, Params, StageInfo, StageRecord

SMALL = st.integers(0, 5)
KEYS = st.integers(0, 3).map(lambda n: f"{n:064x}")


def artifact(n: int) -> Params:
    """Even ones live in the database, odd ones in a file."""
    return Params({"n": n, "filling": "x" * (70_000 if n % 2 else 3)})


class Machine(RuleBasedStateMachine):
    """One store, looked at through two handles."""

    url: ClassVar[Any] = None

    @initialize()
    def make(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="hr-machine-"))
        self.address = type(self).url() if type(self).url else None
        self.stores = [self.open(), self.open()]
        self.offset = 0.0
        self.real_time = time.time
        # The model.
        self.refs: dict[int, ArtifactRef] = {}
        self.committed: set[int] = set()  # rows are there, unless collected
        self.collected: set[int] = set()
        self.drafts: list[set[int]] = [set(), set()]  # saved through a handle, and no row yet
        self.runs: dict[str, dict[str, Any]] = {}  # id -> status, owner, handle, stages: name -> numbers
        self.order: list[str] = []
        self.cache: dict[str, list[int]] = {}
        self.versions: dict[tuple[int, int], ModelVersion] = {}
        self.packages: set[int] = set()
        self.alias: int | None = None
        self.stack: list[int] = []
        self.history: list[tuple[int, int | None]] = []

    def open(self) -> Store:
        return Store.open(self.folder / "store", url=self.address)

    def teardown(self) -> None:
        if hasattr(self, "stores"):
            for store in self.stores:
                store.close()
            shutil.rmtree(self.folder)

    def flushed(self, who: int) -> None:
        """A handle writes the rows of everything that it was given to save."""
        self.committed |= self.drafts[who]
        self.collected -= self.drafts[who]
        self.drafts[who].clear()

    # --- runs -------------------------------------------------------------------------------------------------------

    @rule(owner=st.integers(0, 1))
    def begin(self, owner: int) -> None:
        handle = self.stores[owner].runs.create("p", "manual", {})
        self.runs[handle.id] = {"status": "running", "owner": owner, "handle": handle, "stages": {}}
        self.order.append(handle.id)

    def pick(self, index: int) -> tuple[str, dict[str, Any]] | None:
        return (
            (self.order[index % len(self.order)], self.runs[self.order[index % len(self.order)]])
            if self.order
            else None
        )

    @rule(
        index=SMALL,
        name=st.sampled_from("abcd"),
        numbers=st.lists(SMALL, max_size=3, unique=True),
        key=KEYS | st.none(),
    )
    def commit(self, index: int, name: str, numbers: list[int], key: str | None) -> None:
        picked = self.pick(index)
        if picked is None or name in picked[1]["stages"]:
            return
        _run_id, run = picked
        store = self.stores[run["owner"]]
        refs = {}
        for n in numbers:
            refs[f"o{n}"] = store.artifacts.save(artifact(n))
            assert self.refs.setdefault(n, refs[f"o{n}"]) == refs[f"o{n}"], "the same content, another name"
            self.drafts[run["owner"]].add(n)
        stage = StageInfo(name, "k", "u", "d", "1", {})
        record = StageRecord(stage, "executed", "", key, 0.0, 1.0, 1, {}, refs, {"n": float(len(numbers))})
        try:
            store.runs.commit_stage(run["handle"], record, cache_key=key)
        except FencedError:
            assert run["status"] != "running"
            return
        assert run["status"] == "running"
        run["stages"][name] = numbers
        self.drafts[run["owner"]] -= set(numbers)
        self.committed |= set(numbers)
        self.collected -= set(numbers)
        if key is not None:
            self.cache[key] = numbers

    @rule(index=SMALL, status=st.sampled_from(["succeeded", "failed"]))
    def finish(self, index: int, status: Any) -> None:
        picked = self.pick(index)
        if picked is None:
            return
        _run_id, run = picked
        try:
            self.stores[run["owner"]].runs.finish(run["handle"], status)
        except FencedError:
            assert run["status"] != "running"
        else:
            assert run["status"] == "running"
            run["status"] = status

    @rule(index=SMALL)
    def wrong_epoch(self, index: int) -> None:
        picked = self.pick(index)
        if picked is not None:
            with pytest.raises(FencedError):
                self.stores[0].runs.heartbeat(RunHandle(picked[0], 99))

    @rule(who=st.integers(0, 1))
    def reap(self, who: int) -> None:
        dead = {run_id for run_id, run in self.runs.items() if run["status"] == "dying"}
        assert set(self.stores[who].runs.reap()) == dead
        for run_id in dead:
            self.runs[run_id]["status"] = "crashed"

    # --- what happens to processes ---------------------------------------------------------------------------------

    def lose_runs(self, who: int) -> None:
        for run in self.runs.values():
            if run["owner"] == who and run["status"] == "running":
                run["status"] = "dying"

    @rule(who=st.integers(0, 1))
    def crash(self, who: int) -> None:
        """The process dies: locks go, drafts are lost, files that it was writing stay."""
        store = self.stores[who]
        store.artifacts._drafts.clear()
        self.drafts[who].clear()
        store.runs.close()
        store.objects._session = None
        store.database.close()
        self.lose_runs(who)
        self.stores[who] = self.open()

    @rule(who=st.integers(0, 1))
    def reopen(self, who: int) -> None:
        self.stores[who].close()
        self.flushed(who)
        self.lose_runs(who)
        self.stores[who] = self.open()

    @rule(seconds=st.sampled_from([-86_400.0, 86_400.0]))
    def clock_jumps(self, seconds: float) -> None:
        """Leases run out or reach into the future; whoever is alive stays so."""
        with self.stores[0].database.write() as connection:
            connection.execute(schema.runs.update().values(lease_until=schema.runs.c.lease_until + seconds))

    # --- artifacts and cache ----------------------------------------------------------------------------------------

    @rule(n=SMALL, who=st.integers(0, 1))
    def save_alone(self, n: int, who: int) -> None:
        ref = self.stores[who].artifacts.save(artifact(n))
        assert self.refs.setdefault(n, ref) == ref
        assert self.stores[who].artifacts.verify(ref.digest)
        self.drafts[who].add(n)
        self.stores[who].artifacts.flush()
        self.flushed(who)

    @rule(n=SMALL, flip=st.booleans())
    def damage(self, n: int, flip: bool) -> None:
        """A file is lost or changed; the artifact is noticed to be damaged, saved again, and whole."""
        if n % 2 == 0 or n not in self.committed:
            return
        store, ref = self.stores[0], self.refs[n]
        store.artifacts.flush()
        self.flushed(0)
        sha256 = store.artifacts.info(ref.digest).parts["document"].sha256
        path = store.root / "objects" / sha256[:2] / sha256[2:]
        if flip:
            path.chmod(0o644)
            path.write_bytes(path.read_bytes()[:-1] + b"!")
        else:
            path.unlink()
        assert not self.stores[1].artifacts.verify(ref.digest)
        assert not store.fsck().ok
        assert store.artifacts.save(artifact(n)) == ref
        store.artifacts.flush()
        assert self.stores[1].artifacts.verify(ref.digest)

    @rule(key=KEYS)
    def forget(self, key: str) -> None:
        self.stores[0].cache.forget(key)
        self.cache.pop(key, None)

    @rule(keep=st.integers(0, 2), who=st.integers(0, 1))
    def collect(self, keep: int, who: int) -> None:
        for each, store in enumerate(self.stores):
            store.artifacts.flush()
            self.flushed(each)
        for run in self.runs.values():
            if run["status"] == "dying":
                run["status"] = "crashed"
        running = [run for run in self.runs.values() if run["status"] == "running"]
        report = self.stores[who].gc(dry_run=False, grace=0, keep=keep)
        gone = {n for n, ref in self.refs.items() if ref.digest in report.artifacts}
        kept_runs = [self.runs[run_id] for run_id in self.order[len(self.order) - keep :]] + running
        needed = {n for run in kept_runs for numbers in run["stages"].values() for n in numbers}
        assert not gone & needed
        if running:
            assert not gone & {n for numbers in self.cache.values() for n in numbers}
        else:
            assert gone == self.committed - needed
        self.committed -= gone
        self.collected |= gone
        self.cache = {key: numbers for key, numbers in self.cache.items() if not gone & set(numbers)}

    # --- registry ---------------------------------------------------------------------------------------------------

    @rule(n=SMALL, who=st.integers(0, 1))
    def register(self, n: int, who: int) -> None:
        registry = Registry(self.stores[who], who=str(who))
        version = registry.register("m", {"f": b"%d" % n}, about={}, model_digest=f"{n:064x}")
        if n in self.packages:
            assert self.versions[n, 0] == version
        else:
            self.packages.add(n)
            self.versions[n, 0] = version
            assert version.number == len(self.packages)

    @precondition(lambda self: self.packages)
    @rule(number=st.integers(1, 6), expected=st.integers(1, 6) | st.none(), who=st.integers(0, 1))
    def move(self, number: int, expected: int | None, who: int) -> None:
        version = next((v for v in self.versions.values() if v.number == number), None)
        if version is None:
            return
        registry = Registry(self.stores[who], who=str(who))
        try:
            registry.move_alias(version, "champion", expected=expected, why="")
        except AliasConflictError:
            assert self.alias not in (expected, number)
            return
        if self.alias != number:
            assert self.alias == expected
            self.history.append((number, self.alias))
            self.stack.append(number)
            self.alias = number

    @precondition(lambda self: self.alias is not None)
    @rule(who=st.integers(0, 1))
    def rollback(self, who: int) -> None:
        registry = Registry(self.stores[who], who=str(who))
        if len(self.stack) < 2:
            with pytest.raises(RegistryError):
                registry.rollback("m", why="")
            return
        move = registry.rollback("m", why="")
        left = self.stack.pop()
        assert (move.version, move.previous) == (self.stack[-1], left)
        self.history.append((self.stack[-1], left))
        self.alias = self.stack[-1]

    # --- what always holds ------------------------------------------------------------------------------------------

    @invariant()
    def agrees_with_the_model(self) -> None:
        if not hasattr(self, "stores"):
            return
        store = self.stores[1]
        store.artifacts.flush()
        self.flushed(1)
        infos = store.runs.list(limit=None)
        assert [info.id for info in infos] == self.order[::-1]
        for info in infos:
            run = self.runs[info.id]
            assert info.status == ("crashed" if run["status"] == "dying" else run["status"])
            found = {s.stage.name: {n: ref for n, ref in s.outputs.items()} for s in info.stages}  # noqa: C416
            assert found == {name: {f"o{n}": self.refs[n] for n in ns} for name, ns in run["stages"].items()}
        for n, ref in self.refs.items():
            if n in self.committed:
                assert store.artifacts.load(ref, Params) == artifact(n)
            elif n in self.collected:
                assert not store.artifacts.verify(ref.digest)
        for key in (f"{n:064x}" for n in range(4)):
            expected = {f"o{n}": self.refs[n] for n in self.cache[key]} if key in self.cache else None
            assert store.cache.lookup(key) == expected
        registry = Registry(store, who="judge")
        champion = registry.champion("m")
        assert (champion.version.number if champion else None) == self.alias
        assert [(m.version, m.previous) for m in reversed(registry.history("m"))] == self.history
        for (n, _), version in self.versions.items():
            assert registry.get("m", version.number).read("f") == b"%d" % n
        report = store.fsck()
        assert report.ok, report
        assert set(report.crashed) == {run_id for run_id, run in self.runs.items() if run["status"] == "dying"}


SETTINGS = settings(
    max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True
)


@pytest.mark.slow
def test_sqlite() -> None:
    from hypothesis.stateful import run_state_machine_as_test

    run_state_machine_as_test(Machine, settings=SETTINGS)


@pytest.mark.slow
@pytest.mark.system
def test_postgresql(postgresql: Any) -> None:
    from hypothesis.stateful import run_state_machine_as_test

    machine = type("PostgreSQLMachine", (Machine,), {"url": staticmethod(postgresql.database)})
    run_state_machine_as_test(machine, settings=settings(SETTINGS, max_examples=10))
