"""Checking the loop's log: the chain, what the registry says beside it, a head that was kept, and who may write."""

from __future__ import annotations

import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.errors import ConfigError
from headrace.project.looping import model_of
from headrace.store.loops import ORIGIN

if TYPE_CHECKING:
    from headrace.project import Project

_BY_THE_LOOP = re.compile(r"Loop, cycle (\d+)\. ")
_HEAD = re.compile(r"[0-9a-f]{8,64}")


@dataclass(frozen=True)
class Audit:
    """`problems`: what is wrong with the log. `notes`: what is not wrong, and should be known."""

    entries: int
    head: str
    problems: tuple[str, ...]
    notes: tuple[str, ...]


def audit(project: Project, head: str | None = None) -> Audit:
    """Check the log of a project's loop. `ConfigError` for a `head` that is none."""
    if head is not None and _HEAD.fullmatch(head.lower()) is None:
        raise ConfigError(f"{head!r:.80} is no head", hint="Give at least 8 hexadecimal digits of a hash of the log.")
    store, name = project.store_to_read, project.spec.name
    found = store.loops.verify(name)
    problems = list(found.problems)
    entries = store.loops.entries(name) if not problems else []
    hashes = [ORIGIN, *(entry.hash for entry in entries)]
    if head is not None and not problems and not any(known.startswith(head.lower()) for known in hashes):
        problems.append(f"no entry has the hash {head}: the log was written anew, or cut off before it")
    if not problems:
        begun = {
            (int(entry.body["cycle"]), int(entry.body[key]), entry.kind == "rolling back")
            for entry in entries
            for key in (("to",) if entry.kind == "rolling back" else ("version",))
            if entry.kind in ("promoting", "rolling back", "promoted")
        }
        for move in reversed(project.registry.history(model_of(project))):
            match = _BY_THE_LOOP.match(move.why)
            back = move.action == "rollback"
            if match is not None and (int(match[1]), move.version or 0, back) not in begun:
                problems.append(
                    f"the loop made version {move.version} {move.alias} in its cycle {match[1]}, and the log does not "
                    "have that: it was written anew, or cut off"
                )
                break
    notes = []
    if not found.entries and not problems:
        notes.append("the log is empty: the loop has not begun")
    place = Path(store.database.place)
    if store.url is None and place.exists() and place.stat().st_mode & stat.S_IWOTH:
        notes.append(f"everybody may write to {place}: chmod o-w")
    return Audit(found.entries, found.head, tuple(problems), tuple(notes))
