"""`LiveWindow`: rows of a period that a server predicted and counted."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LiveWindow:
    """Rows of a version and a period, counted on the bins of the version's reference profile.

    `start` is the start of the period in seconds since 1970 in UTC, `seconds` its length. `server` and `part` name it:
    parts of one period, of one server or several, add up. `inputs` and `scores` are `Window.to_bytes`, to be read with
    the profiles of the package; `scores` is empty where the package has none.
    """

    model: str
    version: str
    start: int
    seconds: int
    server: str
    part: int
    rows: int
    inputs: bytes
    scores: bytes
