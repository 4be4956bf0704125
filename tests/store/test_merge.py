"""Merging two stores."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from headrace.errors import NotFoundError, StoreError
from headrace.registry import Registry
from headrace.store import Store
from headrace.types import ArtifactRef, Params, StageRecord

Record = Callable[..., StageRecord]
KEYS = [f"{n:064x}" for n in range(9)]


def big(n: int) -> Params:
    return Params({"n": n, "filling": "x" * 70_000})


def run(store: Store, record: Record, n: int, key: str | None = None) -> ArtifactRef:
    handle = store.runs.create("p", "manual", {})
    ref = store.artifacts.save(big(n))
    store.runs.commit_stage(handle, record("s", {}, {"out": ref}, metrics={"auc": n / 7}), cache_key=key)
    store.runs.finish(handle, "succeeded")
    return ref


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "other") as store:
        yield store


def test_everything_comes_over(store: Store, other: Store, record: Record) -> None:
    mine, theirs, both = run(store, record, 1, KEYS[1]), run(other, record, 2, KEYS[2]), run(other, record, 3)
    run(store, record, 3)
    their_run = other.runs.list()[1]
    report = store.merge(other.root)
    assert (report.objects, report.artifacts, report.runs, report.cache_entries) == (1, 1, 2, 1)
    assert report.skipped == ()
    json.dumps(asdict(report))
    for ref in (mine, theirs, both):
        assert store.artifacts.verify(ref.digest)
    assert store.runs.get(their_run.id) == their_run
    assert store.cache.lookup(KEYS[1]) == {"out": mine}
    assert store.cache.lookup(KEYS[2]) == {"out": theirs}
    assert store.fsck().ok
    again = store.merge(other.root)
    assert (again.objects, again.artifacts, again.runs, again.cache_entries, again.versions) == (0, 0, 0, 0, ())


def test_order_of_runs_is_by_time(store: Store, other: Store, record: Record) -> None:
    for target in (store, other, store, other):
        run(target, record, 1)
    expected = sorted(store.runs.list() + other.runs.list(), key=lambda info: -info.started)
    store.merge(other.root)
    assert store.runs.list() == expected


def test_copy_by_merging_into_a_new_store(other: Store, store: Store, record: Record) -> None:
    registry = Registry(other, who="them")
    versions = [registry.register("m", {"f": b"%d" % n}, about={}, model_digest="0" * 64) for n in range(3)]
    registry.move_alias(versions[0], "champion", expected=None, why="a")
    registry.move_alias(versions[2], "champion", expected=1, why="b")
    report = store.merge(other.root)
    assert report.versions == (("m", 1, 1), ("m", 2, 2), ("m", 3, 3))
    mine = Registry(store, who="me")
    assert mine.history("m") == registry.history("m")
    assert mine.get("m", "champion").read("f") == b"2"
    assert mine.rollback("m", why="c").version == 1
    assert mine.register("m", {"f": b"new"}, about={}, model_digest="0" * 64).number == 4
    assert store.fsck().ok


def test_versions_of_a_model_that_both_have(other: Store, store: Store) -> None:
    ours, theirs = Registry(store, who="me"), Registry(other, who="them")
    for registry, names in ((ours, "ab"), (theirs, "bcd")):
        for name in names:
            version = registry.register("m", {"f": name.encode()}, about={}, model_digest="0" * 64)
            registry.promote(f"m@{version.number}", why="x")
    theirs.register("n", {"f": b"x"}, about={}, model_digest="0" * 64)
    report = store.merge(other.root)
    assert report.versions == (("m", 2, 3), ("m", 3, 4), ("n", 1, 1))
    assert any("aliases of m" in text for text in report.skipped)
    assert [ours.get("m", n).read("f") for n in (1, 2, 3, 4)] == [b"a", b"b", b"c", b"d"]
    assert ours.get("m", "champion").version.number == 2
    assert len(ours.history("m")) == 2
    assert ours.register("m", {"f": b"e"}, about={}, model_digest="0" * 64).number == 5
    assert store.fsck().ok


def test_what_is_damaged_there_does_not_come(
    other: Store, store: Store, record: Record, damage: Callable[[Store, str], None]
) -> None:
    good, bad = run(other, record, 1, KEYS[1]), run(other, record, 2, KEYS[2])
    registry = Registry(other, who="them")
    registry.register("m", {"f": b"whole"}, about={}, model_digest="0" * 64)
    registry.register("m", {"f": b"damaged"}, about={}, model_digest="0" * 64)
    damage(other, registry.get("m", 2).manifest["files"]["f"]["sha256"])
    damage(other, other.artifacts.info(bad.digest).parts["document"].sha256)
    report = store.merge(other.root)
    assert store.artifacts.verify(good.digest)
    assert not store.artifacts.verify(bad.digest)
    assert store.cache.lookup(KEYS[2]) is None
    assert store.runs.list()[0].stages[0].outputs == {"out": bad}
    assert [v.number for v in Registry(store, who="me").versions("m")] == [1]
    assert len(report.skipped) == 3
    assert store.fsck().ok
    assert list(other.objects.quarantine.iterdir()) == [], "the other store is only read"
    assert store.artifacts.save(big(2)) == bad
    assert store.artifacts.verify(bad.digest)


def test_what_was_collected_here_comes_back(other: Store, store: Store, record: Record) -> None:
    ref = run(store, record, 1)
    run(other, record, 1)
    run(store, record, 2)
    store.gc(dry_run=False, grace=0, keep=1)
    assert not store.artifacts.verify(ref.digest)
    store.merge(other.root)
    assert store.artifacts.verify(ref.digest)


def test_run_under_way_there_is_left_out(other: Store, store: Store, record: Record) -> None:
    handle = other.runs.create("p", "manual", {})
    ref = other.artifacts.save(big(1))
    other.runs.commit_stage(handle, record("s", {}, {"out": ref}), cache_key=KEYS[1])
    report = store.merge(other.root)
    assert report.runs == 0
    assert "under way" in report.skipped[0]
    assert store.cache.lookup(KEYS[1]) == {"out": ref}
    other.runs.close()
    assert store.merge(other.root).runs == 1
    assert store.runs.get(handle.id).status == "crashed"


def test_a_copy_that_went_its_own_way(root: Path, tmp_path: Path, record: Record) -> None:
    with Store.open(root) as store:
        run(store, record, 1, KEYS[1])
        shutil.copytree(root, tmp_path / "copy")
        run(store, record, 2, KEYS[2])
        with Store.open(tmp_path / "copy") as copy:
            run(copy, record, 3, KEYS[3])
        report = store.merge(tmp_path / "copy")
        assert (report.runs, report.artifacts, report.cache_entries) == (1, 1, 1)
        assert len(store.runs.list()) == 3
        assert store.fsck().ok


def test_refused(store: Store, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no store here"):
        store.merge(tmp_path / "nothing")
    if store.url is None:
        with pytest.raises(StoreError, match="with itself"):
            store.merge(store.root)


# --- logs of loops ----------------------------------------------------------------------------------------------------


def says(store: Store, *kinds: str, project: str = "p", who: str = "me") -> None:
    for kind in kinds:
        store.loops.append(project, kind, {"kind": kind}, at=1.0, who=who)


def test_the_log_of_a_loop_comes_over_whole_and_goes_on_here(store: Store, other: Store) -> None:
    says(store, "mine", project="another")
    says(other, "a", "b", "c")
    lease = other.loops.take("p")
    assert lease is not None
    try:
        report = store.merge(other.root)
    finally:
        lease.release()
    assert (report.logs, report.skipped) == (("p",), ())
    assert store.loops.entries("p") == other.loops.entries("p")
    assert store.loops.verify("p") == other.loops.verify("p")
    assert store.loops.working("p") is None
    says(store, "d")
    assert [entry.kind for entry in store.loops.entries("p")] == ["a", "b", "c", "d"]
    assert store.loops.verify("p").problems == ()
    assert [entry.kind for entry in store.loops.entries("another")] == ["mine"]
    again = store.merge(other.root)  # nothing of it is missing here
    assert (again.logs, again.skipped) == ((), ())
    assert len(store.loops.entries("p")) == 4


def test_a_log_comes_over_where_a_loop_waits_for_its_first_entry(store: Store, other: Store) -> None:
    says(other, "a")
    lease = store.loops.take("p")
    assert lease is not None
    try:
        assert store.merge(other.root).logs == ("p",)
        store.loops.append("p", "b", {}, at=2.0, who="me", lease=lease)
    finally:
        lease.release()
    assert store.loops.verify("p").problems == ()


def test_two_logs_that_went_apart_are_refused_aloud_and_the_rest_comes_over(
    store: Store, other: Store, record: Record
) -> None:
    says(store, "a", "b")
    says(other, "a", "c", "d")
    ref = run(other, record, 1)
    before = store.loops.entries("p")
    report = store.merge(other.root)
    (said,) = report.skipped
    assert said.startswith("the log of the loop of p: both have one, and they differ from entry 2 on")
    assert (report.logs, report.runs) == ((), 1)
    assert store.loops.entries("p") == before
    assert store.artifacts.verify(ref.digest)


def test_a_copy_that_went_on_is_refused_aloud(store: Store, other: Store) -> None:
    """Its promotions did not come over either: aliases of models that both have stay where they are."""
    says(store, "a")
    says(other, "a", "b")
    (said,) = store.merge(other.root).skipped
    assert "differ from entry 2 on" in said


def test_a_log_whose_chain_does_not_hold_is_refused_aloud(store: Store, other: Store) -> None:
    says(other, "a", "b")
    with other.database.write() as connection:
        connection.core.exec_driver_sql("DROP TRIGGER loop_log_no_update")
        connection.core.exec_driver_sql("UPDATE loop_log SET who = 'x' WHERE seq = 1")
    report = store.merge(other.root)
    assert report.logs == ()
    assert "its chain does not hold there (entry 1" in report.skipped[0]
    assert store.loops.entries("p") == []


def test_a_log_of_versions_with_other_numbers_here_is_refused_aloud(store: Store, other: Store) -> None:
    about = {"about": {}, "model_digest": "0" * 64}
    Registry(store, who="me").register("m", {"a": b"1"}, **about)
    theirs = Registry(other, who="me").register("m", {"a": b"2"}, **about)
    other.loops.append("p", "trained", {"version": theirs.number, "package": theirs.package}, at=1.0, who="me")
    report = store.merge(other.root)
    assert report.versions == (("m", 1, 2),)
    assert report.logs == ()
    assert "speaks of version 1, which has another number here" in report.skipped[0]
