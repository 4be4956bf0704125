"""The detectors as their papers say them, as simply as can be: values are kept, sums are made anew."""

from __future__ import annotations

import math
import random

import numpy as np


class Adwin:
    """Bifet and Gavaldà 2007. Buckets are lists of values; means and variances are exact sums of them.

    `close` counts cuts so near their bound that rounding could decide otherwise.
    """

    def __init__(
        self, *, delta=0.002, clock=1, max_buckets=5, min_window=1, grace_period=0, keep=True, skip_last=False
    ):
        self.delta, self.clock, self.max_buckets = delta, clock, max_buckets
        self.min_window, self.grace_period, self.keep, self.skip_last = min_window, grace_period, keep, skip_last
        self.close = 0
        self.clear()

    def clear(self):
        self.rows: list[list[list[float]]] = [[]]
        self.tick, self.fired = 0, False

    def buckets(self) -> list[list[float]]:
        """Oldest first."""
        return [bucket for row in reversed(self.rows) for bucket in row]

    def values(self) -> list[float]:
        return [value for bucket in self.buckets() for value in bucket]

    def update(self, value: float) -> bool:
        if self.fired and not self.keep:
            self.clear()
        self.rows[0].append([value])
        for index, row in enumerate(self.rows):
            if len(row) > self.max_buckets:
                if index + 1 == len(self.rows):
                    self.rows.append([])
                self.rows[index + 1].append(row[0] + row[1])
                del row[:2]
        self.tick += 1
        self.fired = False
        if self.tick % self.clock == 0 and len(self.values()) > self.grace_period:
            while self.cut():
                self.fired = True
                del self.rows[-1][0]
                while len(self.rows) > 1 and not self.rows[-1]:
                    self.rows.pop()
        return self.fired

    def cut(self) -> bool:
        values = self.values()
        n = len(values)
        if n < 2:
            return False
        variance = math.fsum((x - math.fsum(values) / n) ** 2 for x in values) / n
        log = math.log(2 * math.log(n) / self.delta)
        seen = 0
        for row in reversed(self.rows):
            for bucket in row[:-1] if self.skip_last else row:
                seen += len(bucket)
                n0, n1 = seen, n - seen
                if min(n0, n1) < self.min_window:
                    continue
                r = 1 / (n0 - self.min_window + 1) + 1 / (n1 - self.min_window + 1)
                bound = math.sqrt(2 * r * variance * log) + 2 / 3 * log * r
                apart = abs(math.fsum(values[:n0]) / n0 - math.fsum(values[n0:]) / n1)
                self.close += abs(apart - bound) < 1e-9 * (1 + apart)
                if apart > bound:
                    return True
        return False


def page_hinkley(values, *, delta=0.005, threshold=50.0, direction="both") -> list[int]:
    """Mouss et al. 2004, from the definition: the sums are made anew at each value."""
    found, begin = [], 0
    for end in range(len(values)):
        part = np.asarray(values[begin : end + 1])
        apart = part - np.cumsum(part) / np.arange(1, len(part) + 1)
        rise, fall = np.cumsum(apart - delta), np.cumsum(apart + delta)
        up = rise[-1] - rise.min() > threshold and direction != "down"
        down = fall.max() - fall[-1] > threshold and direction != "up"
        if up or down:
            found.append(end)
            begin = end + 1
    return found


def cusum(values, *, target=None, scale=None, slack=0.5, threshold=5.0, warm_up=100, direction="both") -> list[int]:
    """Page 1954 by the largest sum over the last values, which the recursion keeps."""
    found, begin, end = [], 0, 0
    while end < len(values):
        start, mean, deviation = begin, target, scale
        if target is None or scale is None:
            end = begin + warm_up
            while end <= len(values) and scale is None and np.ptp(values[begin:end]) == 0:
                end += 1
            if end > len(values):
                return found
            first = values[begin:end]
            mean = np.mean(first) if target is None else target
            deviation = np.std(first, ddof=1) if scale is None else scale
            start = end
        for end in range(start, len(values)):  # read after the loop
            z = (np.asarray(values[start : end + 1]) - mean) / deviation
            # Sums of the last 1, 2, 3 ... values.
            up = np.cumsum((z - slack)[::-1]).max() > threshold and direction != "down"
            down = np.cumsum((-z - slack)[::-1]).max() > threshold and direction != "up"
            if up or down:
                found.append(end)
                begin = end + 1
                break
        else:
            return found
        end = begin
    return found


def ddm(answers, *, warm_up=30, warning=2.0, drift=3.0) -> tuple[list[int], list[int]]:
    """Gama et al. 2004: detections, and for how long there is a warning at each answer."""
    found, warnings, begin, best, length = [], [], 0, None, 0
    for end in range(len(answers)):
        part = answers[begin : end + 1]
        n, p = len(part), sum(part) / len(part)
        s = math.sqrt(p * (1 - p) / n)
        if n > warm_up:
            if best is None or p + s <= sum(best):
                best = (p, s)
            above = p + s > sum(best)
            if above and p + s >= best[0] + drift * best[1]:
                found.append(end)
                begin, best, length = end + 1, None, 0
            else:
                length = length + 1 if above and p + s >= best[0] + warning * best[1] else 0
        warnings.append(length)
    return found, warnings


class SplitMix:
    """SplitMix64, with draws below a bound as `random.Random` makes them of bits."""

    def __init__(self, seed: int) -> None:
        self.state = seed

    def getrandbits(self, bits: int) -> int:
        self.state = (self.state + 0x9E3779B97F4A7C15) % 2**64
        mixed = (self.state ^ (self.state >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EB % 2**64
        return (mixed ^ (mixed >> 31)) >> (64 - bits)


class Draws(random.Random):
    """CPython's `sample`, on SplitMix64."""

    def __init__(self, seed: int) -> None:
        self.bits = SplitMix(seed)
        super().__init__()

    def getrandbits(self, bits: int) -> int:
        return self.bits.getrandbits(bits)


def kswin(values, *, alpha=0.005, window_size=100, stat_size=30, seed=0) -> list[int]:
    """Raab, Heusinger and Schleif 2020."""
    from scipy.stats import ks_2samp

    draws, window, found = Draws(seed), [], []
    for position, value in enumerate(values):
        window = [*window, value][-window_size:]
        if len(window) == window_size:
            chosen = draws.sample(range(window_size - stat_size), stat_size)
            newest = window[-stat_size:]
            distance = ks_2samp([window[index] for index in chosen], newest, method="asymp").statistic
            if distance > math.sqrt(-math.log(alpha) / stat_size):
                found.append(position)
                window = newest
    return found
