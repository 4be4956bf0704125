"""Time as the loop sees it: the machine's, or a simulated one."""

from __future__ import annotations

import datetime as dt
import time
from dataclasses import dataclass
from typing import Protocol


class Clock(Protocol):
    """What the loop asks for the time."""

    def now(self) -> float:
        """Seconds since the epoch."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> float:
        """`time.time()`."""
        return time.time()


@dataclass
class SimulatedClock:
    """A clock that somebody sets; `at` in seconds since the epoch."""

    at: float

    def now(self) -> float:
        """What it was set to."""
        return self.at


def moment(at: float) -> dt.datetime:
    """Seconds since the epoch as an aware datetime in UTC."""
    return dt.datetime.fromtimestamp(at, dt.UTC)
