"""The log of a loop: appended, chained, checked; one writer at a time."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from headrace.errors import FencedError, StoreError
from headrace.store import Store

HOLD = """
import sys, time
from pathlib import Path
from headrace.store import Store
store = Store.open(Path(sys.argv[1]), url=sys.argv[2] or None)
lease = store.loops.take("p")
store.loops.append("p", "begun", {"n": 1}, at=1.0, who="other", lease=lease)
print("held", flush=True)
sys.stdin.read()
"""


def test_entries_come_back_in_order_and_the_chain_is_what_the_docs_say(open_store: Callable[..., Store]) -> None:
    with open_store() as store:
        first = store.loops.append("p", "a", {"x": 0.1, "é": [1, None]}, at=12.5, who="ü")
        second = store.loops.append("p", "b", {}, at=13.0, who="")
        store.loops.append("other", "a", {}, at=0.0, who="")
        found = store.loops.entries("p")
        assert [(e.seq, e.kind, e.at, e.body) for e in found] == [
            (1, "a", 12.5, {"x": 0.1, "é": [1, None]}),
            (2, "b", 13.0, {}),
        ]
        assert store.loops.entries("p", after=1) == [second]
        before = "0" * 64
        for entry in found:
            said = {"at": entry.at, "body": entry.body, "kind": entry.kind, "project": "p", "seq": entry.seq}
            text = json.dumps(said | {"who": entry.who}, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
            before = hashlib.sha256((before + text).encode()).hexdigest()
            assert entry.hash == before
        assert first.hash != second.hash
        assert store.loops.verify("p").head == before
        assert store.loops.verify("nobody").entries == 0


def tamper(store: Store, *statements: str) -> None:
    with store.database.write() as connection:
        for trigger in ("loop_log_no_update", "loop_log_no_delete"):
            connection.core.exec_driver_sql(f"DROP TRIGGER IF EXISTS {trigger}")
        for statement in statements:
            connection.core.exec_driver_sql(statement)


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("UPDATE loop_log SET body = '{\"n\":9}' WHERE seq = 2", "entry 2 .* not what was written"),
        ("UPDATE loop_log SET at = at + 1 WHERE seq = 1", "entry 1"),
        ("UPDATE loop_log SET who = 'nobody' WHERE seq = 3", "entry 3"),
        ("UPDATE loop_log SET kind = 'x' WHERE seq = 2", "entry 2"),
        ("UPDATE loop_log SET hash = '00' WHERE seq = 3", "entry 3"),
        ("UPDATE loop_log SET body = 'no JSON' WHERE seq = 2", "entry 2 .* not what was written"),
        ("UPDATE loop_log SET body = '{ \"n\":1}' WHERE seq = 2", "entry 2 .* not what was written"),
        ('UPDATE loop_log SET body = \'{"n":0,"n":1}\' WHERE seq = 2', "entry 2 .* not what was written"),
        ("UPDATE loop_log SET at = 'soon' WHERE seq = 2", "entry 2 .* not what was written"),
        ("UPDATE loop_log SET seq = CASE seq WHEN 2 THEN 30 ELSE seq END", "entry 2 is missing"),
        ("UPDATE loops SET head = '00'", "ends with entry 3"),
        ("DELETE FROM loop_log WHERE seq = 2", "entry 2 is missing"),
        ("DELETE FROM loop_log WHERE seq = 1", "entry 1 is missing"),
        ("DELETE FROM loop_log", "ends with entry 0, and 3 were written"),
        ("DELETE FROM loop_log WHERE seq = 3", "ends with entry 2, and 3 were written"),
    ],
)
def test_what_was_changed_shows(root: Path, statement: str, words: str) -> None:
    with Store.open(root) as store:
        for n in range(3):
            store.loops.append("p", "k", {"n": n}, at=float(n), who="me")
        assert store.loops.verify("p").problems == ()
        tamper(store, statement)
        problem, guards = store.loops.verify("p").problems
        assert re.search(words, problem)
        assert "loop_log_no_delete, loop_log_no_update is gone" in guards


def test_entries_that_changed_places_show(root: Path) -> None:
    with Store.open(root) as store:
        for n in range(4):
            store.loops.append("p", "k", {"n": n}, at=float(n), who="me")
        swap = "UPDATE loop_log SET seq = {} WHERE seq = {}"
        tamper(store, swap.format(99, 2), swap.format(2, 3), swap.format(3, 99))
        problem = store.loops.verify("p").problems[0]
        assert problem.startswith("entry 2 (k) is not what was written")
        assert problem.endswith("entry 3 stood here")


def test_a_log_that_was_cut_off_with_its_head_or_written_anew_is_only_told_by_a_head_that_was_kept(root: Path) -> None:
    with Store.open(root) as store:
        heads = [store.loops.append("p", "k", {"n": n}, at=float(n), who="me").hash for n in range(3)]
        guards = store.database
        with guards.read() as connection:
            made = connection.rows("SELECT sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'loop_log'")
        cut = f"UPDATE loops SET last_seq = 2, head = '{heads[1]}'"  # noqa: S608  # a hash of ours
        tamper(store, "DELETE FROM loop_log WHERE seq = 3", cut, *(row.sql for row in made))
        assert store.loops.verify("p").problems == ()
        assert [entry.hash for entry in store.loops.entries("p")] == heads[:2]


def test_the_database_itself_refuses_to_change_an_entry(open_store: Callable[..., Store]) -> None:
    with open_store() as store:
        store.loops.append("p", "k", {}, at=0.0, who="me")
        for statement in ("UPDATE loop_log SET kind = 'x'", "DELETE FROM loop_log"):
            with pytest.raises(StoreError, match="append-only"), store.database.write() as connection:
                connection.core.exec_driver_sql(statement)
        assert store.loops.verify("p").problems == ()


def test_one_loop_at_a_time(open_store: Callable[..., Store]) -> None:
    with open_store() as store, open_store() as other:
        lease = store.loops.take("p")
        assert lease is not None
        assert other.loops.take("p") is None
        assert store.loops.working("p") is not None
        elsewhere = other.loops.take("q")
        assert elsewhere is not None
        elsewhere.release()
        lease.release()
        again = other.loops.take("p")
        assert again is not None
        assert again.epoch == lease.epoch + 1
        with pytest.raises(FencedError, match="no longer the loop"):
            store.loops.append("p", "late", {}, at=0.0, who="zombie", lease=lease)
        other.loops.append("p", "fine", {}, at=0.0, who="me", lease=again)
        again.release()
        assert store.loops.working("p") is None
        assert [entry.kind for entry in store.loops.entries("p")] == ["fine"]


def test_who_was_overtaken_is_refused_though_its_lock_is_held(open_store: Callable[..., Store]) -> None:
    """As on another machine that shares the database and declared this one dead."""
    with open_store() as store:
        lease = store.loops.take("p")
        assert lease is not None
        with store.database.write() as connection:
            connection.run("UPDATE loops SET epoch = :epoch", {"epoch": 7})
        with pytest.raises(FencedError):
            store.loops.append("p", "late", {}, at=0.0, who="zombie", lease=lease)
        with pytest.raises(FencedError):
            store.loops.renew(lease)
        lease.release()
        assert store.loops.entries("p") == []


def test_a_killed_loop_is_followed_at_once(open_store: Callable[..., Store], root: Path, url: str | None) -> None:
    with open_store() as store:
        with subprocess.Popen(
            [sys.executable, "-c", HOLD, str(root), url or ""], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == b"held\n"
            assert store.loops.take("p") is None
            os.kill(child.pid, signal.SIGKILL)
        lease = store.loops.take("p")
        assert lease is not None
        assert lease.epoch == 2
        lease.release()
        assert [entry.who for entry in store.loops.entries("p")] == ["other"]


def test_two_hosts_wait_for_the_lease(open_store: Callable[..., Store], monkeypatch: pytest.MonkeyPatch) -> None:
    with open_store() as store:
        with store.database.write() as connection:
            now = store.database.now(connection)
            row = {"project": "p", "head": "0" * 64, "until": now + 30}
            connection.run(
                "INSERT INTO loops (project, last_seq, head, epoch, host, lease_until) "
                "VALUES (:project, 0, :head, 4, 'elsewhere', :until)",
                row,
            )
        assert store.loops.take("p") is None
        with store.database.write() as connection:
            connection.run("UPDATE loops SET lease_until = :past", {"past": now - 1})
        lease = store.loops.take("p")
        assert lease is not None
        assert lease.epoch == 5
        lease.release()
