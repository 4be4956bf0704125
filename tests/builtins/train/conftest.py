"""Data for the trainers: small, with numbers, categories, dates and missing values."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

import numpy as np
import polars as pl
import pytest

from headrace import Dataset, FeaturePlan


class Prepared:
    """A plan and the two feature frames, as the features stage gives them."""

    def __init__(self, task: str, n: int = 300, *, seed: int = 0, names: dict[str, str] | None = None) -> None:
        self.raw, self.raw_valid = (table(task, size, seed + i, names) for i, size in enumerate((n, max(n // 3, 4))))
        self.plan = FeaturePlan.fit(self.raw, target="y", task=task)
        self.train, self.valid = (self.features(raw) for raw in (self.raw, self.raw_valid))

    def features(self, raw: pl.DataFrame) -> Dataset:
        return Dataset.from_frame(self.plan.transform(raw).with_columns(self.plan.encode_target(raw)))

    @property
    def matrix(self) -> np.ndarray:
        return self.plan.matrix(self.raw)


def table(task: str, n: int, seed: int, names: dict[str, str] | None = None) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    x, u = rng.normal(size=n), rng.normal(size=n)
    shop = rng.choice(["north", "south", "east", "west", "mid"], n)
    signal = 2 * x + 1.5 * (shop == "north") + rng.normal(size=n) * 0.4
    y = {
        "binary": signal > 0.3,
        "multiclass": np.where(signal > 1, "high", np.where(signal < -1, "low", "mid")),
        "regression": signal * 10 + 100,
    }[task]
    frame = pl.DataFrame(
        {
            "x": x,
            "u": [None if v > 1.2 else v for v in u.tolist()],
            "shop": [None if i % 23 == 7 else v for i, v in enumerate(shop.tolist())],
            "day": [dt.date(2023, 1, 1) + dt.timedelta(days=int(d)) for d in rng.integers(0, 700, n)],
            "y": y.tolist(),
        }
    )
    return frame.rename(names or {})


@pytest.fixture(scope="session")
def prepared() -> Callable[..., Prepared]:
    made: dict[str, Prepared] = {}

    def get(task: str, **options: object) -> Prepared:
        key = f"{task} {options}"
        if key not in made:
            made[key] = Prepared(task, **options)
        return made[key]

    return get


@pytest.fixture
def ctx(make_context):
    """On one thread: OpenMP's threads wait for each other by spinning, which a busy machine pays for."""
    return make_context(threads=1)
