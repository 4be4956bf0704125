"""What was served, as rows: live windows, which servers count, and labels, which come in later.

A window is one row for each server, version and period, which only grows: to write the same counts again changes
nothing, and an older state never replaces a newer one. Labels are only ever added; of several for one row the last
one counts.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from headrace.store.database import Database

_KEEP = """
INSERT INTO live_windows (model, version, start, seconds, server, rows, inputs, scores, written)
VALUES (:model, :version, :start, :seconds, :server, :rows, :inputs, :scores, :written)
ON CONFLICT (model, version, start, seconds, server) DO UPDATE
SET rows = excluded.rows, inputs = excluded.inputs, scores = excluded.scores, written = excluded.written
WHERE excluded.rows > live_windows.rows
"""
_WINDOWS = """
SELECT * FROM live_windows
WHERE model = :model AND start + seconds > :since AND start < :until
ORDER BY start, version, server
"""
_FILE = "SELECT 1 AS there FROM label_files WHERE sha256 = :sha256"
_NUMBER = "SELECT coalesce(max(number), 0) + 1 AS number FROM label_files"
_ADD_FILE = "INSERT INTO label_files (sha256, number, at, labels) VALUES (:sha256, :number, :at, :labels)"
_ADD_LABEL = """
INSERT INTO labels (request_id, row, known, position, label, source)
VALUES (:request_id, :row, :known, :position, :label, :source) ON CONFLICT DO NOTHING
"""
_LABELS = "SELECT * FROM labels ORDER BY request_id, row, known, position, label"
_PER_FILE = 2**31
"""Rows of a file, at most, so that all of one file come after all of the one before; there is room for 2^32 files."""


@dataclass(frozen=True)
class KeptWindow:
    """Rows of a version and a period that one server counted, up to now.

    `start` is in seconds since 1970 in UTC. `inputs` and `scores` are `Window.to_bytes`, to be read with the profiles
    in the version's package; `scores` is empty where it has none.
    """

    model: str
    version: str
    start: int
    seconds: int
    server: str
    rows: int
    inputs: bytes
    scores: bytes


@dataclass(frozen=True)
class Label:
    """What turned out to be true of a row: row `row` of the request `request_id`.

    `label` is JSON. `known` is when it became known, in seconds since 1970, or None: when the file came in.
    """

    request_id: str
    row: int
    label: str
    known: float | None = None


class Live:
    """Live windows and labels of a store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def keep(self, windows: Iterable[KeptWindow]) -> None:
        """Write windows, each with all the rows of its server and period so far."""
        now = time.time()
        rows = [{**vars(window), "written": now} for window in windows]
        if rows:
            with self._database.write() as connection:
                connection.run(_KEEP, rows)

    def windows(self, model: str, *, since: float = 0.0, until: float = 2.0**53) -> list[KeptWindow]:
        """Windows of all versions of a model whose periods lie at least partly between two times, in order of time."""
        with self._database.read() as connection:
            rows = connection.rows(_WINDOWS, model=model, since=since, until=until)
        names = KeptWindow.__dataclass_fields__
        return [KeptWindow(**{name: getattr(row, name) for name in names}) for row in rows]

    def tell(self, sha256: str, labels: Sequence[Label]) -> int | None:
        """Add the labels of a file, all or none; how many. None where the file was there before, to the byte.

        Among labels without a time those of a later file count, and in a file the later ones.
        """
        with self._database.write() as connection:
            if connection.rows(_FILE, sha256=sha256):
                return None
            now = time.time()
            (found,) = connection.rows(_NUMBER)
            base = int(found.number) * _PER_FILE
            rows = [
                {
                    "request_id": one.request_id,
                    "row": one.row,
                    # A label without a time follows all that were known at the same moment.
                    "known": now if one.known is None else one.known,
                    "position": base + position if one.known is None else 0,
                    "label": one.label,
                    "source": sha256,
                }
                for position, one in enumerate(labels)
            ]
            connection.run(_ADD_FILE, {"sha256": sha256, "number": found.number, "at": now, "labels": len(rows)})
            if rows:
                connection.run(_ADD_LABEL, rows)
        return len(rows)

    def labels(self, *, history: bool = False) -> list[Label]:
        """The label that counts of each row, or with `history` all that there ever were, the last one last."""
        with self._database.read() as connection:
            rows = connection.rows(_LABELS)
        found = [Label(row.request_id, row.row, row.label, row.known) for row in rows]
        return found if history else list({(one.request_id, one.row): one for one in found}.values())
