"""fsck finds every kind of damage, mends what is safe, and finds nothing where there is none."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest

from headrace.errors import RegistryError, StoreError
from headrace.registry import Registry
from headrace.store import Store, schema
from headrace.store.fsck import FsckReport
from headrace.types import Params, StageRecord

Record = Callable[..., StageRecord]
KEY = "a" * 64


def big(n: int) -> Params:
    return Params({"n": n, "filling": "x" * 70_000})


def filled(store: Store, record: Record) -> tuple[str, str]:
    """One run with a small and a large output and a registered version; returns the digests of the outputs."""
    handle = store.runs.create("p", "manual", {})
    refs = {"small": store.artifacts.save(Params({})), "large": store.artifacts.save(big(1))}
    store.runs.commit_stage(handle, record("s", {}, refs), cache_key=KEY)
    registry = Registry(store, who="somebody")
    registry.move_alias(
        registry.register("m", {"f": b"x", "g": b"y"}, about={}, model_digest="0" * 64),
        "champion",
        expected=None,
        why="",
    )
    store.runs.finish(handle, "succeeded")
    return refs["small"].digest, refs["large"].digest


def sha_of(store: Store, digest: str) -> str:
    return store.artifacts.info(digest).parts["document"].sha256


def harmless(report: FsckReport) -> bool:
    return report.ok and not (report.missing or report.corrupt or report.dangling or report.crashed)


def test_healthy(store: Store, record: Record) -> None:
    assert store.fsck() == FsckReport(objects=0, bytes=0, artifacts=0, versions=0)
    filled(store, record)
    report = store.fsck()
    assert (report.objects, report.artifacts, report.versions) == (3, 2, 1)
    assert report.bytes == sum(blob.size for blob in store.objects.names())
    assert harmless(report)
    assert report.orphans == 0
    json.dumps(asdict(report))


@pytest.mark.parametrize("how", ["missing", "corrupt"])
@pytest.mark.parametrize("repair", [False, True])
def test_damaged_object(
    store: Store,
    record: Record,
    *,
    how: str,
    repair: bool,
    damage: Callable[[Store, str], None],
    object_file: Callable[[Store, str], Path],
) -> None:
    _, digest = filled(store, record)
    sha256 = sha_of(store, digest)
    if how == "corrupt":
        damage(store, sha256)
    else:
        object_file(store, sha256).unlink()
    report = store.fsck(repair=repair)
    (finding,) = getattr(report, how)
    assert sha256 in finding.what
    assert digest in finding.place
    assert finding.mended is repair
    assert report.ok is repair
    assert not object_file(store, sha256).exists()
    if repair:
        assert store.cache.lookup(KEY) is None
        assert not store.artifacts.verify(digest)
        assert harmless(store.fsck())
    else:
        assert len(store.fsck().missing) == 1, "what is in quarantine is missing"
    assert store.artifacts.save(big(1)).digest == digest
    assert harmless(store.fsck())
    assert store.artifacts.verify(digest)


def test_damaged_row(root: Path, record: Record) -> None:
    with Store.open(root) as store:
        small, _ = filled(store, record)
        with store.database.write() as connection:
            connection.execute(schema.parts.update().where(schema.parts.c.digest == small).values(inline=b"[]"))
        report = store.fsck()
        assert [finding.place for finding in report.corrupt] == [f"artifact {small}"]
        assert store.fsck(repair=True).ok
        assert harmless(store.fsck())


@pytest.mark.parametrize("repair", [False, True])
def test_damaged_package_is_for_a_person(
    store: Store, record: Record, damage: Callable[[Store, str], None], repair: bool
) -> None:
    filled(store, record)
    registry = Registry(store, who="somebody")
    damage(store, registry.get("m", 1).manifest["files"]["f"]["sha256"])
    report = store.fsck(repair=repair)
    (finding,) = report.corrupt
    assert "package" in finding.place
    assert finding.detail == "file f"
    assert not finding.mended
    assert not report.ok
    with pytest.raises(RegistryError, match="missing from the store or damaged"):
        registry.get("m", 1)
    store.objects.put_bytes(b"x")  # from a copy
    assert harmless(store.fsck())
    assert registry.get("m", 1).read("f") == b"x"


def test_alias_that_contradicts_its_history(store: Store, record: Record) -> None:
    filled(store, record)
    with store.database.write() as connection:
        connection.execute(schema.aliases.update().values(rev=7))
    (finding,) = store.fsck(repair=True).dangling
    assert finding.place == "m@champion"
    assert not finding.mended


def test_dead_process_is_tidied_up_after(root: Path, record: Record) -> None:
    code = """
import os, signal, sys
from pathlib import Path
from headrace.store import Store
store = Store.open(Path(sys.argv[1]))
store.runs.create("p", "manual", {})
claim = store.cache.claim("a" * 64)
claim.__enter__()
os.link = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
store.objects.put_bytes(b"x")
"""
    assert subprocess.run([sys.executable, "-c", code, root], check=False).returncode == -9
    with Store.open(root) as store:
        mine = store.runs.create("p", "manual", {})
        store.objects.put_bytes(b"y")
        for repair in (False, True):
            report = store.fsck(repair=repair)
            assert report.ok
            assert len(report.crashed) == 1
            assert sorted(finding.what for finding in report.stale) == ["lock", "lock", "temporary"]
            assert all(finding.mended is repair for finding in report.stale)
        assert store.fsck().stale == ()
        assert store.fsck().crashed == ()
        assert store.runs.get(mine.id).status == "running"
        store.objects.put_bytes(b"still works")
        store.runs.finish(mine, "succeeded")
    assert not list((root / "tmp").iterdir())
    assert not list((root / "locks").iterdir())


def test_orphans_are_counted_and_left(store: Store, record: Record) -> None:
    filled(store, record)
    store.objects.put_bytes(b"nobody's")
    report = store.fsck(repair=True)
    assert harmless(report)
    assert (report.orphans, report.orphan_bytes) == (1, 8)


def test_unreadable_pages_are_reported(root: Path, record: Record) -> None:
    with Store.open(root) as store:
        filled(store, record)
        for n in range(40):
            store.artifacts.save(Params({"n": n}))
    path = root / "headrace.db"
    data = bytearray(path.read_bytes())
    # An index page in the middle: rows are still readable, and the index no longer matches them.
    page = data.rindex(b"ix_parts_sha256") // 4096
    assert page >= 0
    end = len(data) // 4096 - 2
    data[end * 4096 + 3000 : end * 4096 + 3050] = b"\xff" * 50
    path.write_bytes(data)
    with Store.open(root) as store:
        try:
            report = store.fsck()
        except StoreError:
            return  # too damaged to be read, and said so
        assert not report.ok


def test_what_was_collected_meanwhile_is_not_missing(
    open_store: Callable[..., Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Written after the files were listed, and collected after the rows were read."""
    store, other = open_store(), open_store()
    real = store.objects.has

    def has(sha256: str, size: int) -> bool:
        other.gc(dry_run=False, grace=0, keep=0)
        return real(sha256, size)

    monkeypatch.setattr("headrace.store.fsck._check_objects", lambda _: other.artifacts.save(big(1)))
    monkeypatch.setattr("headrace.store.fsck._check_artifacts", flushing(other))
    monkeypatch.setattr(store.objects, "has", has)
    assert harmless(store.fsck())
    assert list(store.objects.names()) == []


def flushing(other: Store) -> Callable[..., object]:
    from headrace.store import fsck

    real = fsck._check_artifacts

    def check(state: object) -> object:
        other.artifacts.flush()
        return real(state)  # type: ignore[arg-type]

    return check
