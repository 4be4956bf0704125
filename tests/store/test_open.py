"""Opening a store: making it, refusing what is not one, and many at once."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from headrace.errors import NotFoundError, StoreError, StoreFormatError
from headrace.store import Store, folder, schema
from headrace.types import Params


def test_import_and_open_are_light(root: Path) -> None:
    """SQLAlchemy comes with `open`, Alembic and PostgreSQL's dialect only where they are needed."""
    code = """
import sys
from pathlib import Path
import headrace.store, headrace.registry
from headrace.store import Store
from headrace.registry import Registry
assert not {"sqlalchemy", "polars", "pyarrow", "numpy", "alembic", "sqlite3"} & set(sys.modules), sys.modules.keys()
for _ in range(2):
    with Store.open(Path(sys.argv[1])) as store:
        store.runs.list()
assert not {"polars", "pyarrow", "numpy", "alembic", "psycopg"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code, root], check=True)


def test_made_once(open_store: Callable[..., Store], root: Path) -> None:
    with open_store() as store:
        ref = store.artifacts.save(Params({}))
    identity = folder.read_identity(root)
    assert identity is not None
    assert identity.format == folder.FORMAT
    assert (root / ".gitignore").read_text().endswith("*\n")
    with open_store(create=False) as store:
        assert store.artifacts.verify(ref.digest)
        assert repr(store) == f"Store({str(root)!r})"
    assert folder.read_identity(root) == identity


def test_where_there_is_none(open_store: Callable[..., Store], root: Path) -> None:
    for options in ({"create": False}, {"read_only": True}):
        with pytest.raises(NotFoundError, match="no store here"):
            open_store(**options)
    assert not root.exists()


@pytest.mark.parametrize("text", ["", "1", "{}", "[]", '{"format": "x", "id": "y"}', "\x00\xff", "null"])
def test_format_file_of_something_else(root: Path, text: str) -> None:
    root.mkdir()
    (root / "format").write_text(text)
    with pytest.raises(StoreFormatError, match="not the format file"):
        Store.open(root)


def test_newer_layout_is_refused(open_store: Callable[..., Store], root: Path) -> None:
    open_store().close()
    (root / "format").write_text(json.dumps({"format": 2, "id": "x"}))
    with pytest.raises(StoreFormatError, match="format 2") as caught:
        open_store()
    assert "upgrade" in str(caught.value.hint)


@pytest.mark.parametrize("revision", ["9000", "9999", None])
def test_newer_database_is_refused(open_store: Callable[..., Store], revision: str | None) -> None:
    with open_store() as store, store.database.write() as connection:
        connection.execute(schema.alembic_version.delete())
        if revision is not None:
            connection.execute(schema.alembic_version.insert().values(version_num=revision))
    for read_only in (False, True):
        with pytest.raises(StoreFormatError, match="this headrace knows"):
            open_store(read_only=read_only)


def test_folder_of_something_else_is_left_alone(open_store: Callable[..., Store], root: Path) -> None:
    root.mkdir()
    (root / "thesis.tex").write_text("\\end")
    with pytest.raises(StoreFormatError, match="thesis"):
        open_store()
    assert [path.name for path in root.iterdir()] == ["thesis.tex"]


def test_file_where_the_folder_should_be(open_store: Callable[..., Store], root: Path) -> None:
    root.write_text("x")
    with pytest.raises(StoreError) as caught:
        open_store()
    assert str(root) in str(caught.value)


def test_database_that_is_gone(root: Path) -> None:
    Store.open(root).close()
    (root / "headrace.db").unlink()
    with pytest.raises(StoreError, match="database is gone"):
        Store.open(root)


@pytest.mark.parametrize("data", [b"not a database at all, not at all" * 100, b"SQLite format 3\x00" + b"x" * 5000])
def test_database_that_is_damaged(root: Path, data: bytes) -> None:
    Store.open(root).close()
    (root / "headrace.db").write_bytes(data)
    for read_only in (False, True):
        with pytest.raises(StoreError, match="cannot be used") as caught:
            Store.open(root, read_only=read_only)
        assert "restore a copy" in str(caught.value.hint)


def test_database_of_another_store_is_refused(tmp_path: Path, postgresql: object) -> None:
    url = postgresql.database()  # type: ignore[attr-defined]
    Store.open(tmp_path / "one", url=url).close()
    with pytest.raises(StoreError, match="belongs to another folder") as caught:
        Store.open(tmp_path / "two", url=url)
    assert str(tmp_path / "one") in caught.value.message
    Store.open(tmp_path / "two", url=postgresql.database()).close()  # type: ignore[attr-defined]
    with pytest.raises(StoreError, match="belongs to another folder"):
        Store.open(tmp_path / "two", url=url)


@pytest.mark.parametrize("url", ["sqlite:///x.db", "mysql://x/y"])
def test_other_databases_are_refused(root: Path, url: str) -> None:
    with pytest.raises(StoreError, match="only PostgreSQL"):
        Store.open(root, url=url)


def test_url_that_is_none(root: Path) -> None:
    with pytest.raises(StoreError, match="cannot be read"):
        Store.open(root, url="nonsense")


def test_password_is_never_shown(root: Path) -> None:
    with pytest.raises(StoreError) as caught:
        Store.open(root, url="postgresql://someone:hunter2@127.0.0.1:1/x")
    assert "hunter2" not in str(caught.value)
    assert "***" in str(caught.value)


def test_read_only(open_store: Callable[..., Store], root: Path) -> None:
    with open_store() as store:
        ref = store.artifacts.save(Params({"n": 1}))
        handle = store.runs.create("p", "manual", {})
        store.runs.finish(handle, "succeeded")
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    with open_store(read_only=True) as store:
        assert store.artifacts.load(ref, Params) == Params({"n": 1})
        assert store.runs.get("latest").id == handle.id
        assert store.artifacts.verify(ref.digest)
        for act in (
            lambda: store.runs.create("p", "manual", {}),
            lambda: store.artifacts.save(Params({"n": "x" * 100_000})),
            lambda: store.cache.forget("a" * 64),
            lambda: store.gc(dry_run=False),
            lambda: store.fsck(repair=True),
        ):
            with pytest.raises(StoreError, match="read-only"):
                act()
        assert store.fsck().ok
        store.gc(dry_run=True)
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before


MOUNTS = """\
22 21 0:5 / /mnt/team rw - nfs4 server:/x rw
23 21 0:6 / /mnt/win\\040dows rw,relatime - cifs //server/x rw
24 22 0:7 / /mnt/team/local rw - xfs /dev/sdb rw
25 21 0:8 / /home rw - fuse.sshfs host: rw
26 21 0:9 / /over rw - nfs4 server:/y rw
21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
27 21 0:10 / /over rw - xfs /dev/sdc rw
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/srv/project", None),
        ("/mnt/teammate", None),
        ("/mnt/team/local/p", None),
        ("/over/p", None),
        ("/mnt/team/p", "nfs4"),
        ("/mnt/team", "nfs4"),
        ("/mnt/win dows/p", "cifs"),
        ("/home/a", "fuse.sshfs"),
    ],
)
def test_network_file_systems_are_refused(path: str, kind: str | None) -> None:
    if kind is None:
        folder.refuse_remote(Path(path), MOUNTS)
        return
    with pytest.raises(StoreError, match=f"network file system \\({kind}") as caught:
        folder.refuse_remote(Path(path), MOUNTS)
    assert "[store] path" in str(caught.value.hint)
    assert "[store] url" in str(caught.value.hint)


def test_this_machines_mounts_can_be_read(tmp_path: Path) -> None:
    folder.refuse_remote(tmp_path)


OPEN = """
import sys
from pathlib import Path
from headrace.store import Store
from headrace.types import Params
sys.stdin.read(1)
with Store.open(Path(sys.argv[1]), url=sys.argv[2] or None) as store:
    print(store.artifacts.save(Params({"n": 1})).digest)
"""


def test_eight_processes_make_the_same_store(root: Path, url: str | None) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", OPEN, root, url or ""], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(8)
    ]
    for process in processes:
        process.stdin.write("x")
        process.stdin.flush()
    digests = {process.communicate()[0].strip() for process in processes}
    assert [process.returncode for process in processes] == [0] * 8
    assert len(digests) == 1
    with Store.open(root, url=url) as store:
        assert store.artifacts.verify(digests.pop())
        assert store.fsck().ok


@pytest.mark.parametrize("moment", ["headrace.store.folder.write_identity", "headrace.store.versioning.prepare"])
def test_making_that_was_cut_short_is_completed(
    open_store: Callable[..., Store], root: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(moment, die)
        with pytest.raises(KeyboardInterrupt):
            open_store()
    with pytest.raises(NotFoundError):
        open_store(create=False)
    with open_store() as store:
        ref = store.artifacts.save(Params({}))
    assert open_store(create=False).artifacts.verify(ref.digest)


def test_pragmas(root: Path) -> None:
    """Durability rests on these; a change of them is a decision."""
    import sqlite3

    with Store.open(root) as store, store.database.read() as connection:
        found = {
            name: connection.core.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys", "recursive_triggers", "busy_timeout")
        }
    journal = "wal" if sqlite3.sqlite_version_info >= (3, 51, 3) else "persist"
    assert found == {
        "journal_mode": journal,
        "synchronous": 2,
        "foreign_keys": 1,
        "recursive_triggers": 1,
        "busy_timeout": 60_000,
    }


def test_a_store_that_was_copied_works(root: Path, tmp_path: Path) -> None:
    import shutil

    with Store.open(root) as store:
        ref = store.artifacts.save(Params({"n": "x" * 100_000}))
        handle = store.runs.create("p", "manual", {})
        shutil.copytree(root, tmp_path / "copy")  # in the middle of a run, between transactions
        store.runs.finish(handle, "succeeded")
    with Store.open(tmp_path / "copy") as copy:
        copy.artifacts.save(Params({"n": "x" * 100_000}))
        assert copy.artifacts.verify(ref.digest)
        assert copy.runs.get(handle.id).status == "crashed"
        assert copy.fsck().ok


def test_path_with_odd_characters(tmp_path: Path) -> None:
    root = tmp_path / "a b" / "c?d#e%20" / 'f"é\U0001f600'
    with Store.open(root) as store:
        ref = store.artifacts.save(Params({"n": "x" * 100_000}))
    with Store.open(root) as store:
        assert store.artifacts.verify(ref.digest)
    assert {path.name for path in root.iterdir()} >= {"headrace.db", "format", "objects"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere; test_chaos.py mounts a read-only file system")
def test_folder_without_permission(root: Path) -> None:
    root.parent.chmod(0o555)
    try:
        with pytest.raises(StoreError, match="Permission denied"):
            Store.open(root)
    finally:
        root.parent.chmod(0o755)


_KILLED_IN_A_WRITE = """
import os, signal, sys
from pathlib import Path
from headrace.store import Store

with Store.open(Path(sys.argv[1])) as store, store.database.write() as connection:
    connection.run("PRAGMA cache_size=1", {})  # so that pages reach the file before the transaction ends
    connection.run("UPDATE alembic_version SET version_num = 'half-written'", {})
    connection.run("CREATE TABLE much (text TEXT)", {})
    connection.run("INSERT INTO much VALUES (:text)", [{"text": "x" * 3000} for _ in range(200)])
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def killed_in_a_write(root: Path) -> Path:
    """A store whose last writer died by kill -9 with half of its transaction in the file."""
    with Store.open(root) as store:
        store.artifacts.save(Params({}))
    died = subprocess.run([sys.executable, "-c", _KILLED_IN_A_WRITE, root], check=False)
    assert died.returncode == -signal.SIGKILL
    return root


def test_who_only_reads_after_kill_9_in_the_middle_of_a_write(killed_in_a_write: Path) -> None:
    """What was begun is undone by whoever comes first, and be it a server that only looks."""
    root = killed_in_a_write
    for _ in range(2):
        with Store.open(root, create=False, read_only=True) as store, store.database.read() as connection:
            assert store.read_only
            assert not connection.rows("SELECT name FROM sqlite_schema WHERE name = 'much'")
            assert connection.rows("SELECT version_num FROM alembic_version")[0].version_num != "half-written"
            assert connection.rows("PRAGMA integrity_check")[0].integrity_check == "ok"


def test_who_has_been_reading_goes_on_after_a_writer_was_killed(root: Path) -> None:
    Store.open(root).close()
    with Store.open(root, read_only=True) as store:
        assert store.runs.list() == []
        died = subprocess.run([sys.executable, "-c", _KILLED_IN_A_WRITE, root], check=False)
        assert died.returncode == -signal.SIGKILL
        assert store.runs.list() == []


def test_who_may_not_write_is_told_who_can_undo_it(killed_in_a_write: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if sqlite3.sqlite_version_info >= (3, 51, 3):
        pytest.skip("with a write-ahead log there is nothing to undo")
    monkeypatch.setattr("headrace.store.sqlite.os.access", lambda *_: False)
    with pytest.raises(StoreError, match="killed in the middle of a write") as caught:
        Store.open(killed_in_a_write, read_only=True)
    assert "headrace store fsck" in str(caught.value.hint)
