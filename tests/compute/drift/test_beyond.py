"""Rows outside the reference's range, and categories it does not have among many columns."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import scipy.stats

import headrace


def compared(x: np.ndarray, y: np.ndarray) -> headrace.DriftReport:
    reference = headrace.Profile.fit(pl.DataFrame({"v": x}))
    window = reference.window()
    window.update(pl.DataFrame({"v": y}))
    return headrace.compare(reference, window)


RANDOM = np.random.default_rng(4)
PAIRS = {
    "two constants": (np.full(1000, 0.1), np.full(1000, 5.0)),
    "atoms": (np.tile([0.0, 1.0], 500), np.tile([0.0, 2.0], 500)),
    "wider": (RANDOM.normal(size=1000), 1000 * RANDOM.normal(size=1000)),
    "moved": (RANDOM.normal(size=1000), 100 + RANDOM.normal(size=1000)),
    "below": (RANDOM.normal(size=1000), -50 + RANDOM.normal(size=300)),
}


@pytest.mark.parametrize("name", PAIRS)
def test_distances_are_within_their_bounds_outside_the_range_of_the_reference(name: str) -> None:
    x, y = PAIRS[name]
    found = compared(x, y)["v"].statistics
    for statistic, expected in (
        ("wasserstein", scipy.stats.wasserstein_distance(x, y)),
        ("energy", scipy.stats.energy_distance(x, y)),
    ):
        one = found[statistic]
        assert abs(one.statistic - expected) <= one.bound + 1e-3 * expected, (statistic, one, expected)


def test_unseen_categories_are_found_among_many_columns() -> None:
    rows = 5000
    known = RANDOM.choice(list("abc"), rows)
    live = np.where(np.arange(rows) < rows * 9 // 100, "new", RANDOM.choice(list("abc"), rows))
    quiet = {f"q{i}": known for i in range(250)}
    reference = headrace.Profile.fit(pl.DataFrame({**quiet, "u": known}))
    window = reference.window()
    window.update(pl.DataFrame({**quiet, "u": live}))
    report = headrace.compare(reference, window)
    assert report["u"].verdict == "drift"
    assert [column.name for column in report.columns if column.verdict == "drift"] == ["u"]
