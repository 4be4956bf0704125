"""`headrace audit verify`, attacked by name, from the outside."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from headrace import Project
from headrace.cli.main import cli
from headrace.project.looping import controller_of, lease_of, say
from headrace.store.loops import ORIGIN
from loop_project import World

Attack = Callable[[sqlite3.Connection], object]


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose loop made a champion."""
    world = World(tmp_path_factory.mktemp("audit"), triggers="")
    with Project(world.folder) as project, lease_of(project) as lease:
        controller_of(project, lease=lease, clock=world.clock).once()
        say(project, "paused", {"reason": "x"})
        say(project, "resumed", {"reason": "x"})
    return world.folder


@pytest.fixture
def folder(lived: Path, tmp_path: Path) -> Path:
    import shutil

    return Path(shutil.copytree(lived, tmp_path / "copy"))


def database(folder: Path) -> Path:
    with Project(folder) as project:
        return Path(project.store_to_read.database.place)


def attack(folder: Path, *statements: str) -> None:
    """As somebody who can write to the file, and hides that the triggers were away."""
    connection = sqlite3.connect(database(folder))
    kept = [sql for (sql,) in connection.execute("SELECT sql FROM sqlite_master WHERE type = 'trigger'")]
    for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        connection.execute(f"DROP TRIGGER {name}")
    for statement in statements:
        connection.execute(statement)
    for sql in kept:
        connection.execute(sql)
    connection.commit()
    connection.close()


def verify(folder: Path, *more: str) -> tuple[int, dict[str, Any]]:
    done = CliRunner().invoke(cli, ["audit", "verify", "--project", str(folder), "--json", *more])
    return done.exit_code, json.loads(done.stdout) if done.stdout.startswith("{") else {"said": done.output}


def head(folder: Path) -> str:
    return str(verify(folder)[1]["head"])


def test_a_log_that_nobody_touched_holds(folder: Path) -> None:
    code, found = verify(folder)
    assert (code, found["ok"], found["problems"], found["notes"]) == (0, True, [], [])
    assert verify(folder, "--head", found["head"])[0] == 0
    assert verify(folder, "--head", found["head"][:12].upper())[0] == 0


@pytest.mark.parametrize(
    ("statements", "said"),
    [
        pytest.param(["UPDATE loop_log SET who = 'nobody' WHERE seq = 2"], "entry 2 (", id="edited line"),
        pytest.param(["DELETE FROM loop_log WHERE seq = 3"], "entry 3 is missing", id="removed line"),
        pytest.param(
            ["DELETE FROM loop_log WHERE seq = 3", "UPDATE loop_log SET seq = seq - 1 WHERE seq > 3"],
            "entry 3 (",
            id="removed line, the rest renumbered",
        ),
        pytest.param(["DELETE FROM loop_log WHERE seq > 4"], "the log ends with entry 4, and ", id="truncated tail"),
        pytest.param(
            [
                "UPDATE loop_log SET seq = 99 WHERE seq = 2",
                "UPDATE loop_log SET seq = 2 WHERE seq = 3",
                "UPDATE loop_log SET seq = 3 WHERE seq = 99",
            ],
            "stood here",
            id="reordered",
        ),
        pytest.param(["DELETE FROM loop_log"], "the log ends with entry 0, and ", id="emptied"),
        pytest.param(
            ["DELETE FROM loop_log", "DELETE FROM loops"], "the log does not have that", id="emptied with its head"
        ),
        pytest.param(
            [
                "DELETE FROM loop_log WHERE seq > 2",
                "UPDATE loops SET last_seq = 2, head = (SELECT hash FROM loop_log WHERE seq = 2)",
            ],
            "the log does not have that",
            id="truncated with its head",
        ),
    ],
)
def test_an_attack_shows(folder: Path, statements: list[str], said: str) -> None:
    attack(folder, *statements)
    code, found = verify(folder)
    assert code == 5
    assert not found["ok"]
    assert said in found["problems"][0]


def test_a_whole_chain_that_was_replaced_shows_by_a_head_that_was_kept(folder: Path) -> None:
    kept = head(folder)
    with Project(folder) as project:
        entries = project.store.loops.entries("tide")
    attack(folder, "DELETE FROM loop_log", f"UPDATE loops SET last_seq = 0, head = '{ORIGIN}'")  # noqa: S608
    with Project(folder) as project:
        for entry in entries:
            project.store.loops.append("tide", entry.kind, entry.body, at=entry.at, who="somebody else")
    assert verify(folder)[0] == 0
    code, found = verify(folder, "--head", kept)
    assert code == 5
    assert "written anew" in found["problems"][0]


def test_an_end_that_was_cut_off_with_its_head_shows_by_a_head_that_was_kept(folder: Path) -> None:
    kept = head(folder)
    last = "(SELECT max(seq) FROM loop_log)"
    attack(
        folder,
        f"DELETE FROM loop_log WHERE seq = {last}",  # noqa: S608
        f"UPDATE loops SET last_seq = {last}, head = (SELECT hash FROM loop_log WHERE seq = {last})",  # noqa: S608
    )
    assert verify(folder)[0] == 0
    assert verify(folder, "--head", kept)[0] == 5


def test_a_database_that_lets_its_log_be_changed_shows(folder: Path) -> None:
    connection = sqlite3.connect(database(folder))
    connection.execute("DROP TRIGGER loop_log_no_update")
    connection.close()
    code, found = verify(folder)
    assert code == 5
    assert "loop_log_no_update is gone" in found["problems"][0]


def test_a_database_that_everybody_may_write_to_is_said(folder: Path) -> None:
    database(folder).chmod(0o666)
    code, found = verify(folder)
    assert (code, found["ok"]) == (0, True)
    assert "everybody may write to" in found["notes"][0]


def test_an_empty_log_is_said(tmp_path: Path) -> None:
    world = World(tmp_path, triggers="")
    code, found = verify(world.folder)
    assert (code, found["entries"], found["notes"]) == (0, 0, ["the log is empty: the loop has not begun"])
    assert verify(world.folder, "--head", "1" * 64)[0] == 5
    assert verify(world.folder, "--head", ORIGIN)[0] == 0


@pytest.mark.parametrize("text", ["", "abc", "g" * 64, "0" * 65])
def test_a_head_that_is_none_is_refused(folder: Path, text: str) -> None:
    code, found = verify(folder, "--head", text)
    assert code not in (0, 5)
    assert "is no head" in found["said"]


def test_a_roll_back_that_was_cut_off_with_the_head_set_back_shows(folder: Path) -> None:
    """The cycle is in the log, as a promotion; that it went back is in the registry alone."""
    with Project(folder) as project:
        registry, first = project.registry, project.registry.resolve("tide@1")
        files = {name: first.read(name) for name in first.manifest["files"]}
        registry.register("tide", {**files, "note.txt": b"2"}, about=first.manifest["about"], model_digest="0" * 64)
        registry.promote("tide@2", why="by hand")
        registry.rollback("tide", why="Loop, cycle 1. it hurt")
    code, found = verify(folder)
    assert code == 5
    assert "the log does not have that" in found["problems"][0]
