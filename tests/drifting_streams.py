"""Streams with a change at a known row, as the papers define them, and how detectors do on them.

SEA: Street and Kim 2001, "A streaming ensemble algorithm": three features on [0, 10], the label is whether the first
two sum to at most a threshold, and a tenth of the labels is turned over. Friedman: Friedman 1991, "Multivariate
adaptive regression splines", with the drifts of Ikonomovska, Gama and Dzeroski 2011, "Learning model trees from
evolving data streams": LEA (local, expanding, abrupt), GRA (global, recurring, abrupt), GSG (global, slow, gradual).

What is watched is the error of a model that is the first concept itself, which is where a good learner would end: 0 or
1 on SEA, the absolute error on Friedman (for DDM: whether that is above 2, as one in twenty-two is before the change).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

BEFORE, AFTER = 2000, 2000


def sea(chance: np.random.Generator, rows: int, change: int, *, first: float = 8.0, then: float = 9.5) -> np.ndarray:
    x = chance.uniform(0, 10, (rows, 3))
    both = x[:, 0] + x[:, 1]
    threshold = np.where(np.arange(rows) < change, first, then)
    label = (both <= threshold) ^ (chance.random(rows) < 0.1)
    return (label != (both <= first)).astype(np.float64)


def _concept(x: np.ndarray, order: tuple[int, int, int, int, int] = (0, 1, 2, 3, 4)) -> np.ndarray:
    a, b, c, d, e = (x[:, index] for index in order)
    return 10 * np.sin(np.pi * a * b) + 20 * (c - 0.5) ** 2 + 10 * d + 5 * e


def friedman(chance: np.random.Generator, rows: int, change: int, kind: str) -> np.ndarray:
    x = chance.uniform(0, 1, (rows, 10))
    y = _concept(x)
    new = np.arange(rows) >= change
    if kind == "gra":
        y = np.where(new, _concept(x, (3, 5, 1, 0, 2)), y)
    elif kind == "gsg":
        # In the transition, a row is of either concept, one as likely as the other.
        new &= (np.arange(rows) >= change + 1000) | (chance.random(rows) < 0.5)
        y = np.where(new, _concept(x, (3, 4, 1, 0, 2)), y)
    else:
        low = (x[:, 1] < 0.3) & (x[:, 2] < 0.3) & (x[:, 3] > 0.7) & (x[:, 4] < 0.3)
        high = (x[:, 1] > 0.7) & (x[:, 2] > 0.7) & (x[:, 3] < 0.3) & (x[:, 4] > 0.7)
        in_low = 10 * x[:, 0] * x[:, 1] + 20 * (x[:, 2] - 0.5) + 10 * x[:, 3] + 5 * x[:, 4]
        in_high = 10 * np.cos(x[:, 0] * x[:, 1]) + 20 * (x[:, 2] - 0.5) + np.exp(x[:, 3]) + 5 * x[:, 4] ** 2
        y = np.where(new & low, in_low, np.where(new & high, in_high, y))
    return np.abs(y + chance.normal(size=rows) - _concept(x))


STREAMS: dict[str, Callable[[np.random.Generator, int, int], np.ndarray]] = {
    "SEA": sea,
    "Friedman GRA": lambda chance, rows, change: friedman(chance, rows, change, "gra"),
    "Friedman GSG": lambda chance, rows, change: friedman(chance, rows, change, "gsg"),
    "Friedman LEA": lambda chance, rows, change: friedman(chance, rows, change, "lea"),
}


def errors(stream: np.ndarray) -> np.ndarray:
    """As DDM reads it."""
    return stream if np.isin(stream, (0.0, 1.0)).all() else (stream > 2).astype(np.float64)


# --- dummies ----------------------------------------------------------------------------------------------------------


class AlwaysFire:
    """Detects a change at every row: what a detector is to be better than."""

    def update(self, values: np.ndarray) -> np.ndarray:
        return np.arange(len(values))


class Random:
    """Detects a change at one row in a thousand, whatever it holds."""

    def __init__(self, seed: int) -> None:
        self.chance = np.random.default_rng(seed)

    def update(self, values: np.ndarray) -> np.ndarray:
        return np.flatnonzero(self.chance.random(len(values)) < 0.001)


# --- how they do ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Score:
    """How a detector did on one kind of stream.

    `arl0`: rows for each alarm where nothing changes; infinite where there was none. `early`: share of trials with an
    alarm before the change. `found`: share whose first alarm is after it. `delay`: median rows from the change to that.
    """

    arl0: float
    early: float
    found: float
    delay: float


def score(make: Callable[[int], object], stream: str, *, trials: int, stable_rows: int, binary: bool = False) -> Score:
    generate = STREAMS[stream]
    read = errors if binary else np.asarray
    stable = generate(np.random.default_rng(0), stable_rows, stable_rows)
    alarms = len(make(0).update(read(stable)))
    early, delays = 0, []
    for trial in range(1, trials + 1):
        rows = generate(np.random.default_rng(trial), BEFORE + AFTER, BEFORE)
        found = make(trial).update(read(rows))
        if len(found) and found[0] < BEFORE:
            early += 1
        elif len(found):
            delays.append(int(found[0]) - BEFORE)
    return Score(
        arl0=stable_rows / alarms if alarms else float("inf"),
        early=early / trials,
        found=len(delays) / trials,
        delay=float(np.median(delays)) if delays else float("nan"),
    )


def detectors() -> dict[str, tuple[Callable[[int], object], bool]]:
    """Name -> how to make it from a seed, and whether it reads zeros and ones."""
    from headrace.compute.detect import ADWIN, CUSUM, DDM, KSWIN, PageHinkley

    return {
        "ADWIN": (lambda _: ADWIN(), False),
        "ADWIN, clock 32": (lambda _: ADWIN(clock=32), False),
        "ADWIN, river": (lambda _: ADWIN(semantics="river"), False),
        "Page-Hinkley": (lambda _: PageHinkley(), False),
        "Page-Hinkley, river": (lambda _: PageHinkley(semantics="river"), False),
        "CUSUM": (lambda _: CUSUM(), False),
        "CUSUM, h 12, warm-up 1000": (lambda _: CUSUM(threshold=12, warm_up=1000), False),
        "DDM": (lambda _: DDM(), True),
        "DDM, river": (lambda _: DDM(semantics="river"), True),
        "KSWIN": (lambda seed: KSWIN(seed=seed), False),
        "KSWIN, river": (lambda seed: KSWIN(semantics="river", seed=seed), False),
        "always fires": (lambda _: AlwaysFire(), False),
        "random, 1 in 1000": (Random, False),
    }
