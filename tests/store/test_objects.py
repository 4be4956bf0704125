"""Objects: what goes in comes out, and what was changed does not."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import ArtifactError, CorruptObjectError, NotFoundError, StoreError
from headrace.store.folder import make_folders
from headrace.store.objects import Objects, checked_digest


@pytest.fixture
def objects(tmp_path: Path) -> Objects:
    make_folders(tmp_path / "store")
    return Objects(tmp_path / "store")


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def only_temporary_files(objects: Objects) -> list[Path]:
    return [path for path in (objects.root / "tmp").rglob("*") if path.is_file() and path.suffix != ".lock"]


def file_of(objects: Objects, digest: str) -> Path:
    return objects.folder / digest[:2] / digest[2:]


def overwrite(path: Path, position: int, value: bytes) -> None:
    """As a careless user or program would."""
    path.chmod(0o644)
    with path.open("r+b") as stream:
        stream.seek(position)
        stream.write(value)
    path.chmod(0o444)


@pytest.mark.parametrize("data", [b"", b"x", bytes(range(256)) * 5000])
def test_bytes_come_back(objects: Objects, data: bytes) -> None:
    blob = objects.put_bytes(data)
    assert (blob.sha256, blob.size) == (sha(data), len(data))
    assert objects.read(blob.sha256) == data
    assert objects.open_path(blob.sha256).read_bytes() == data
    assert objects.verify(blob.sha256, len(data))
    assert objects.put_bytes(data) == blob
    assert list(objects.names()) == [blob]
    assert not only_temporary_files(objects)


def test_file_is_copied_not_linked(objects: Objects, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"before")
    blob = objects.put_file(path)
    path.write_bytes(b"after!")
    assert objects.read(blob.sha256) == b"before"


def test_objects_are_read_only(objects: Objects) -> None:
    path = objects.open_path(objects.put_bytes(b"x").sha256)
    assert stat.S_IMODE(path.stat().st_mode) == 0o444


@pytest.mark.parametrize("position", [0, 500, 999])
def test_flipped_byte_is_found_by_every_reader(objects: Objects, position: int) -> None:
    for reader in ("read", "open_path", "verify"):
        data = os.urandom(1000)
        blob = objects.put_bytes(data)
        overwrite(file_of(objects, blob.sha256), position, bytes([data[position] ^ 1]))
        if reader == "verify":
            assert not objects.verify(blob.sha256, blob.size)
        else:
            with pytest.raises(CorruptObjectError) as caught:
                getattr(objects, reader)(blob.sha256)
            assert "quarantine" in caught.value.message
        assert not file_of(objects, blob.sha256).exists()
        assert any(path.name.startswith(blob.sha256) for path in objects.quarantine.iterdir())
        with pytest.raises(NotFoundError):
            objects.read(blob.sha256)
        assert objects.put_bytes(data) == blob
        assert objects.read(blob.sha256) == data


@pytest.mark.parametrize("data", [b"", b"short", b"longer than before"])
def test_truncated_or_grown_object_is_damaged(objects: Objects, data: bytes) -> None:
    blob = objects.put_bytes(b"as it was")
    path = file_of(objects, blob.sha256)
    path.chmod(0o644)
    path.write_bytes(data)
    assert not objects.verify(blob.sha256, blob.size)


def test_putting_over_a_damaged_object_mends_it(objects: Objects) -> None:
    blob = objects.put_bytes(b"good")
    overwrite(file_of(objects, blob.sha256), 0, b"B")
    assert objects.put_bytes(b"good") == blob
    assert objects.read(blob.sha256) == b"good"
    assert len(list(objects.quarantine.iterdir())) == 1


def test_read_only_store_leaves_a_damaged_object_where_it_is(objects: Objects) -> None:
    blob = objects.put_bytes(b"good")
    overwrite(file_of(objects, blob.sha256), 0, b"B")
    looking = Objects(objects.root, read_only=True)
    assert not looking.verify(blob.sha256, blob.size)
    with pytest.raises(CorruptObjectError, match="read-only"):
        looking.read(blob.sha256)
    assert file_of(objects, blob.sha256).exists()
    with pytest.raises(StoreError, match="read-only"):
        looking.put_bytes(b"new")


PATHS = [
    "",
    "..",
    "../" * 30 + "etc/passwd",
    "/etc/passwd",
    "a" * 63,
    "a" * 65,
    "A" * 64,
    "g" * 64,
    "a" * 63 + "\n",
    "a" * 64 + "\n",
    "%2e%2e%2f" + "a" * 55,
    "..\\" + "a" * 61,
    "a" * 31 + "\x00" + "a" * 32,
    "\uff41" * 64,
    "\u0661" * 64,
    "a;b" + "a" * 61,
]


@pytest.mark.parametrize("name", PATHS)
def test_no_name_but_a_digest_becomes_a_path(objects: Objects, name: str) -> None:
    for call in (
        objects.read,
        objects.open_path,
        objects.stamp,
        objects.delete,
        lambda n: objects.verify(n, 1),
        lambda n: objects.has(n, 1),
    ):
        with pytest.raises(ArtifactError, match="not a digest"):
            call(name)


@given(st.text())
def test_only_digests_pass(text: str) -> None:
    if len(text) == 64 and set(text) <= set("0123456789abcdef"):
        assert checked_digest(text) == text
    else:
        with pytest.raises(ArtifactError):
            checked_digest(text)


def test_digest_must_be_a_string() -> None:
    with pytest.raises(ArtifactError):
        checked_digest(b"a" * 64)  # type: ignore[arg-type]


def test_threads_putting_the_same_bytes(objects: Objects) -> None:
    barrier = threading.Barrier(8)
    found: list[object] = []

    def put() -> None:
        barrier.wait()
        found.extend(objects.put_bytes(b"same %d" % i) for i in range(50))

    threads = [threading.Thread(target=put) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 400
    assert len(set(found)) == 50
    assert len(list(objects.names())) == 50
    assert not only_temporary_files(objects)


def test_stamp_changes_with_any_write(objects: Objects) -> None:
    """What the accelerator of `Artifacts.verify` rests on: a write shows, even if mtime and size are put back."""
    blob = objects.put_bytes(b"x" * 100)
    path = file_of(objects, blob.sha256)
    os.utime(path, ns=(10**18, 10**18))
    before = objects.stamp(blob.sha256)
    assert before is not None
    while True:  # the clock of a file system has a coarse hand; wait for it to move
        overwrite(path, 5, b"y")
        os.utime(path, ns=(10**18, 10**18))
        if objects.stamp(blob.sha256) != before:
            break
    assert path.stat().st_size == 100


def test_fresh_stamp_is_not_settled(objects: Objects) -> None:
    blob = objects.put_bytes(b"x")
    stamp = objects.stamp(blob.sha256)
    assert stamp is not None
    assert not objects.settled(stamp)
    size, modified, changed, inode = stamp.split(":")
    old = 3_000_000_000
    assert objects.settled(f"{size}:{int(modified) - old}:{int(changed) - old}:{inode}")
    assert not objects.settled(f"{size}:{int(modified) - old}:{changed}:{inode}")


FAILURES = {
    "fsync": errno.EIO,
    "link": errno.ENOSPC,
    "open": errno.EROFS,
    "fchmod": errno.EPERM,
    "unlink": errno.EIO,
}


@pytest.mark.parametrize("function", ["fsync", "link", "open", "fchmod"])
def test_failing_write_says_so_and_leaves_nothing(
    objects: Objects, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    """Fails each call of each function once, until a put goes through."""
    objects.put_bytes(b"warm up")
    real = getattr(os, function)
    for failing in range(1, 20):
        calls = 0

        def fake(*arguments: object, **options: object) -> object:
            nonlocal calls
            calls += 1
            if calls == failing:  # noqa: B023  # called in this round only
                raise OSError(FAILURES[function], os.strerror(FAILURES[function]))
            return real(*arguments, **options)

        data = b"%s %d" % (function.encode(), failing)
        monkeypatch.setattr(os, function, fake)
        error = None
        try:
            objects.put_bytes(data)
        except StoreError as raised:
            error = raised
        finally:
            monkeypatch.setattr(os, function, real)
        if error is None:
            assert calls < failing
            assert objects.read(sha(data)) == data
            break
        assert os.strerror(FAILURES[function]) in error.message
        assert error.place
        assert error.hint
        assert not only_temporary_files(objects)
        # Either it is not there, or it is there whole: the name is given last.
        assert objects.put_bytes(data).sha256 == sha(data)
        assert objects.read(sha(data)) == data
    else:
        pytest.fail("the put never went through")
    assert failing > 1


def test_file_system_without_hard_links(objects: Objects, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    blob = objects.put_bytes(b"x")
    assert objects.read(blob.sha256) == b"x"
    assert not only_temporary_files(objects)


def test_order_of_writing(objects: Objects, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bytes are flushed before they get their name, and the name is flushed before put returns."""
    calls: list[tuple[str, str]] = []
    objects.put_bytes(b"warm up")
    blob_path = file_of(objects, sha(b"x"))
    real_fsync, real_link = os.fsync, os.link

    def fsync(descriptor: int) -> None:
        calls.append(("fsync", str(Path(f"/proc/self/fd/{descriptor}").readlink())))
        real_fsync(descriptor)

    def link(source: Path, target: Path) -> None:
        calls.append(("link", str(target)))
        real_link(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "link", link)
    objects.put_bytes(b"x")
    kinds = [kind for kind, _ in calls]
    assert kinds == ["fsync", "link", "fsync"]
    assert calls[0][1].startswith(str(objects.root / "tmp"))
    assert calls[1][1] == str(blob_path)
    assert calls[2][1] == str(blob_path.parent)


def test_killed_in_the_middle_of_a_put(objects: Objects) -> None:
    """Killed before the name is given: no object. The temporary file is found by its free lock."""
    code = """
import os, signal, sys
from pathlib import Path
from headrace.store.objects import Objects
os.link = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
Objects(Path(sys.argv[1])).put_bytes(b"never")
"""
    done = subprocess.run([sys.executable, "-c", code, objects.root], check=False)
    assert done.returncode == -9
    assert list(objects.names()) == []
    assert len(only_temporary_files(objects)) == 1
