"""The cache: which artifacts a stage gave for a key, and one execution at a time for each key."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from headrace.store.locks import holding, never
from headrace.store.objects import checked_digest
from headrace.types import ArtifactRef

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from headrace.store.database import Database


# One row for the key itself, so that a stage without outputs differs from one that is not known.
_LOOK_UP = """
SELECT o.name, a.digest, a.type_name, a.size, a.collected
FROM cache AS c LEFT JOIN cache_outputs AS o ON o.key = c.key LEFT JOIN artifacts AS a ON a.digest = o.digest
WHERE c.key = :key ORDER BY o.name
"""


class Cache:
    """The cache of a store. `Runs.commit_stage` fills it. Keys are 64 hexadecimal digits."""

    def __init__(self, database: Database, root: Path) -> None:
        self._database = database
        self._root = root

    def lookup(self, key: str) -> Mapping[str, ArtifactRef] | None:
        """What is known under a key: output name -> artifact, by name; None if nothing is. The caller verifies them."""
        with self._database.read() as connection:
            rows = connection.rows(_LOOK_UP, key=checked_digest(key))
        if not rows or any(row.collected is not None for row in rows):
            return None
        return {row.name: ArtifactRef(row.digest, row.type_name, row.size) for row in rows if row.name is not None}

    def forget(self, key: str) -> None:
        """Know nothing under a key any more. The artifacts stay."""
        checked_digest(key)
        with self._database.write() as connection:
            connection.run("DELETE FROM cache_outputs WHERE key = :key", {"key": key})
            connection.run("DELETE FROM cache WHERE key = :key", {"key": key})

    @contextmanager
    def claim(self, key: str, check: Callable[[], None] = never) -> Iterator[None]:
        """The right to execute what `key` stands for. Waits while another process or thread has it.

        Look the key up again inside: the one before may have made it. The claim ends with the block or with the death
        of the process. `check` is called about twenty times a second while waiting; what it raises ends the wait.
        """
        self._database.require_writable()
        with holding(self._root / "locks" / f"claim-{checked_digest(key)}.lock", check):
            yield
