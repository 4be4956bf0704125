"""The garbage collector takes what nothing needs, and nothing else."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest

from headrace.errors import ArtifactError, StoreError
from headrace.registry import Registry
from headrace.store import Store, schema
from headrace.types import ArtifactRef, Params, StageRecord

Record = Callable[..., StageRecord]
KEY = "a" * 64


def big(n: int) -> Params:
    """An artifact whose part is an object."""
    return Params({"n": n, "filling": "x" * 70_000})


def run(store: Store, record: Record, *numbers: int, key: str | None = None) -> list[ArtifactRef]:
    handle = store.runs.create("p", "manual", {})
    refs = [store.artifacts.save(big(n)) for n in numbers]
    store.runs.commit_stage(handle, record("s", {}, {f"o{i}": ref for i, ref in enumerate(refs)}), cache_key=key)
    store.runs.finish(handle, "succeeded")
    return refs


def test_outputs_of_the_last_runs_stay(store: Store, record: Record) -> None:
    runs = [run(store, record, n, n + 1) for n in range(5)]  # each shares one with the next
    report = store.gc(dry_run=True, grace=0, keep=2)
    assert set(report.artifacts) == {ref.digest for ref in runs[0] + runs[1] + runs[2]} - {runs[3][0].digest}
    assert all(store.artifacts.verify(ref.digest) for refs in runs for ref in refs)
    done = store.gc(dry_run=False, grace=0, keep=2)
    assert asdict(done) == asdict(report) | {"dry_run": False}
    assert done.objects == 3
    assert done.bytes == sum(ref.size for ref in (runs[0][0], runs[1][0], runs[2][0]))
    assert done.kept_objects == 3
    for refs, kept in ((runs[0], False), (runs[1], False), (runs[3], True), (runs[4], True)):
        assert [store.artifacts.verify(ref.digest) for ref in refs] == [kept, kept]
    assert store.fsck().ok
    assert store.gc(dry_run=False, grace=0, keep=2).objects == 0


def test_record_of_what_was_collected_stays(store: Store, record: Record) -> None:
    (ref,) = run(store, record, 1, key=KEY)
    run(store, record, 2)
    assert store.cache.lookup(KEY) == {"o0": ref}
    store.gc(dry_run=False, grace=0, keep=1)
    assert store.cache.lookup(KEY) is None
    info = store.artifacts.info(ref.digest)
    assert info.collected is not None
    assert info.parts == {}
    with pytest.raises(ArtifactError, match="garbage collector"):
        store.artifacts.load(ref, Params)
    assert store.runs.list()[1].stages[0].outputs == {"o0": ref}
    assert store.lineage.producers(ref.digest)
    assert run(store, record, 1, key=KEY) == [ref]
    assert store.artifacts.verify(ref.digest)
    assert store.artifacts.info(ref.digest).collected is None
    assert store.cache.lookup(KEY) == {"o0": ref}


def test_grace(store: Store, record: Record) -> None:
    refs = run(store, record, 1)
    run(store, record, 2)
    assert store.gc(dry_run=False, grace=3600, keep=0).artifacts == ()
    with store.database.write() as connection:
        old = time.time() - 7200
        connection.execute(
            schema.artifacts.update().where(schema.artifacts.c.digest == refs[0].digest).values(touched=old)
        )
    report = store.gc(dry_run=False, grace=3600, keep=0)
    assert report.artifacts == (refs[0].digest,)
    assert report.objects == 0, "its file is younger than the grace"
    assert store.gc(dry_run=False, grace=0, keep=0).objects == 2


def test_saving_again_renews_the_grace(store: Store, record: Record) -> None:
    run(store, record, 1)
    with store.database.write() as connection:
        connection.execute(schema.artifacts.update().values(touched=0.0))
    store.artifacts.save(big(1))
    assert store.gc(dry_run=False, grace=3600, keep=0).artifacts == ()


@pytest.mark.parametrize("options", [{"grace": -1.0}, {"keep": -1}])
def test_nonsense(store: Store, options: dict[str, float]) -> None:
    with pytest.raises(StoreError, match="cannot be negative"):
        store.gc(**options)


def test_packages_stay_for_ever(store: Store, record: Record) -> None:
    registry = Registry(store, who="somebody")
    version = registry.register("m", {"model.onnx": b"x" * 100}, about={}, model_digest="0" * 64)
    registry.register("m", {"model.onnx": b"y" * 100}, about={}, model_digest="1" * 64)
    orphan = store.objects.put_bytes(b"nobody's")
    report = store.gc(dry_run=False, grace=0, keep=0)
    assert report.objects == 1
    assert not store.objects.has(orphan.sha256, orphan.size)
    assert registry.get("m", version.number).read("model.onnx") == b"x" * 100
    assert store.fsck().ok


def test_runs_that_registered_a_version_stay_reproducible(store: Store, record: Record) -> None:
    handle = store.runs.create("p", "manual", {})
    data, model = store.artifacts.save(big(1)), store.artifacts.save(big(2))
    store.runs.commit_stage(handle, record("train", {"data": data}, {"model": model}), cache_key=None)
    registry = Registry(store, who="somebody")
    registry.set_run(handle.id)
    registry.register("m", {"model.onnx": b"x"}, about={}, model_digest=model.digest)
    store.runs.finish(handle, "succeeded")
    run(store, record, 3)
    store.gc(dry_run=False, grace=0, keep=0)
    assert store.artifacts.verify(data.digest)
    assert store.artifacts.verify(model.digest)


def test_run_under_way_loses_nothing(open_store: Callable[..., Store], record: Record) -> None:
    store, other = open_store(), open_store()
    (cached,) = run(store, record, 1, key=KEY)
    handle = store.runs.create("p", "manual", {})
    committed, draft = store.artifacts.save(big(2)), store.artifacts.save(big(3))
    store.runs.commit_stage(handle, record("a", {}, {"x": committed}), cache_key=None)
    for collector in (other, store):
        report = collector.gc(dry_run=False, grace=0, keep=0)
        assert report.artifacts == ()
        assert report.objects == 0
        assert "under way" in report.notes[0]
    store.runs.commit_stage(handle, record("b", {"x": committed}, {"y": draft, "z": cached}), cache_key=None)
    store.runs.finish(handle, "succeeded")
    assert store.fsck().ok
    assert len(store.gc(dry_run=False, grace=0, keep=0).artifacts) == 3


def test_dead_run_protects_nothing(open_store: Callable[..., Store], record: Record) -> None:
    with open_store() as store:
        handle = store.runs.create("p", "manual", {})
        ref = store.artifacts.save(big(1))
        store.runs.commit_stage(handle, record("a", {}, {"x": ref}), cache_key=None)
    assert open_store().gc(dry_run=False, grace=0, keep=0).artifacts == (ref.digest,)


def test_object_that_two_artifacts_share(store: Store, record: Record) -> None:
    """Params and the same document as another type: one object, two rows."""

    class Other(Params):
        type_name = "other"

    handle = store.runs.create("p", "manual", {})
    first = store.artifacts.save(big(1))
    store.runs.commit_stage(handle, record("a", {}, {"x": first}), cache_key=None)
    store.runs.finish(handle, "succeeded")
    handle = store.runs.create("p", "manual", {})
    second = store.artifacts.save(Other(big(1).values))
    store.runs.commit_stage(handle, record("a", {}, {"x": second}), cache_key=None)
    store.runs.finish(handle, "succeeded")
    assert len(list(store.objects.names())) == 1
    report = store.gc(dry_run=False, grace=0, keep=1)
    assert report.artifacts == (first.digest,)
    assert report.objects == 0
    assert store.artifacts.verify(second.digest)


# --- at the same time ----------------------------------------------------------------------------------------------


def collected_between(store: Store, other: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let another process collect everything at the worst moment: after the objects were put or found to be there,
    before the transaction that refers to them begins."""
    real = store.database.write
    once = [True]

    def write() -> object:
        if once:
            once.clear()
            other.gc(dry_run=False, grace=0, keep=0)
        return real()

    monkeypatch.setattr(store.database, "write", write)


@pytest.mark.parametrize("known", [False, True])
def test_object_collected_just_before_its_row_is_made_again(
    open_store: Callable[..., Store], monkeypatch: pytest.MonkeyPatch, record: Record, known: bool
) -> None:
    store, other = open_store(), open_store()
    if known:
        run(store, record, 1)
    ref = store.artifacts.save(big(1))
    collected_between(store, other, monkeypatch)
    store.artifacts.flush()
    assert store.artifacts.verify(ref.digest)
    assert other.fsck().ok
    with open_store() as third:
        assert third.artifacts.verify(ref.digest)


def test_orphan_that_comes_into_use_while_it_is_collected(
    open_store: Callable[..., Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, collector = open_store(), open_store()
    data = store.artifacts.save(big(1))
    store.artifacts.flush()
    blob = next(store.objects.names())
    with store.database.write() as connection:  # an object without a row, as a crash may leave it
        connection.execute(schema.parts.delete())
        connection.execute(schema.artifacts.delete())
    real = collector.objects.names

    def names() -> object:
        yield from list(real())
        store.artifacts.save(big(1))
        store.artifacts.flush()

    monkeypatch.setattr(collector.objects, "names", names)
    report = collector.gc(dry_run=False, grace=0, keep=0)
    assert report.objects == 0
    assert store.objects.has(blob.sha256, blob.size)
    assert store.artifacts.verify(data.digest)


def test_row_collected_just_before_while_the_object_stays(
    open_store: Callable[..., Store], monkeypatch: pytest.MonkeyPatch, record: Record
) -> None:
    """As where another artifact, or a package, has the same bytes."""
    store, other = open_store(), open_store()
    (ref,) = run(store, record, 1)
    registry = Registry(other, who="somebody")
    data = store.objects.read(store.artifacts.info(ref.digest).parts["document"].sha256)
    registry.register("m", {"same-bytes": data}, about={}, model_digest="0" * 64)
    assert store.artifacts.save(big(1)) == ref
    collected_between(store, other, monkeypatch)
    store.artifacts.flush()
    assert other.artifacts.verify(ref.digest)


def test_package_collected_just_before_it_is_registered(
    open_store: Callable[..., Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, other = open_store(), open_store()
    collected_between(store, other, monkeypatch)
    registry = Registry(store, who="somebody")
    registry.register("m", {"model.onnx": b"x"}, about={}, model_digest="0" * 64)
    assert registry.get("m", 1).read("model.onnx") == b"x"


def test_something_that_removes_every_object(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    real = store.database.write

    def write() -> object:
        for blob in list(store.objects.names()):
            store.objects.delete(blob.sha256)
        return real()

    ref = store.artifacts.save(big(1))
    with monkeypatch.context() as patch:
        patch.setattr(store.database, "write", write)
        with pytest.raises(StoreError, match="vanish"):
            store.artifacts.flush()
    store.artifacts.flush()
    assert store.artifacts.verify(ref.digest)


@pytest.mark.slow
def test_collector_among_eight_writers_that_use_the_same_things_again(
    open_store: Callable[..., Store], record: Record
) -> None:
    """Threads with stores of their own save a handful of artifacts over and over; a collector without grace or memory
    runs all the time. Whatever was committed is whole at that moment, and nothing ever dangles."""
    stores = [open_store() for _ in range(8)]
    collector = open_store()
    done = threading.Event()
    errors: list[BaseException] = []
    collected: list[int] = []

    def write(store: Store, seed: int) -> None:
        try:
            for i in range(12):
                handle = store.runs.create("p", "manual", {})
                refs = {f"o{n}": store.artifacts.save(big((seed + i + n) % 5)) for n in range(2)}
                store.runs.commit_stage(handle, record("s", {}, refs), cache_key=f"{(seed + i) % 3:064x}")
                for ref in refs.values():
                    assert store.artifacts.load(ref, Params).values["filling"]
                if (seed + i) % 2:
                    registry = Registry(store, who=str(seed))
                    registry.register("m", {"f": b"%d" % ((seed + i) % 4)}, about={}, model_digest="0" * 64)
                store.runs.finish(handle, "succeeded")
        except BaseException as error:  # noqa: BLE001  # shown below
            errors.append(error)

    def collect() -> None:
        try:
            while not done.is_set():
                collected.append(collector.gc(dry_run=False, grace=0, keep=0).objects)
        except BaseException as error:  # noqa: BLE001  # shown below
            errors.append(error)

    threads = [threading.Thread(target=write, args=(store, n)) for n, store in enumerate(stores)]
    gatherer = threading.Thread(target=collect)
    for thread in [gatherer, *threads]:
        thread.start()
    for thread in threads:
        thread.join()
    done.set()
    gatherer.join()
    assert not errors, errors
    report = collector.fsck()
    assert report.ok, report
    assert report.versions == 2
    collector.gc(dry_run=False, grace=0, keep=0)
    assert len(list(collector.objects.names())) == 2


def test_killed_between_rows_and_files(
    open_store: Callable[..., Store], monkeypatch: pytest.MonkeyPatch, record: Record, root: Path
) -> None:
    """The rows are gone and the files are not: orphans, which the next collection takes."""
    with open_store() as store:
        run(store, record, 1, 2)

        def die(_: str) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(store.objects, "delete", die)
        with pytest.raises(KeyboardInterrupt):
            store.gc(dry_run=False, grace=0, keep=0)
    with open_store() as store:
        report = store.fsck()
        assert report.ok
        assert report.orphans == 2
        assert store.gc(dry_run=False, grace=0, keep=0).objects == 2
        assert store.fsck().orphans == 0
