"""Which columns are left out of a profile: the rule, by brute force, and what it costs."""

from __future__ import annotations

import random

import polars as pl
import pytest

from headrace import Dataset
from headrace.project import identifiers
from headrace.project.identifiers import unfit


def expected(series: pl.Series) -> bool:
    """The rule, of all values at once."""
    present = series.drop_nulls()
    return present.len() >= 50 and present.n_unique() >= 0.95 * present.len()


def column(share: float, rows: int, seed: int) -> list[int]:
    """Whole numbers of which so many are different."""
    chance = random.Random(seed)
    fresh = max(1, round(share * rows))
    values = [*range(fresh), *(chance.randrange(fresh) for _ in range(rows - fresh))]
    chance.shuffle(values)
    return values


@pytest.mark.parametrize("rows", [1, 49, 50, 400, 3000])
@pytest.mark.parametrize("cast", [pl.Int64, pl.UInt32, pl.String, pl.Categorical])
def test_up_to_65_536_different_values_the_rule_is_exact(rows, cast, monkeypatch):
    monkeypatch.setattr("headrace.compute.dataset._BATCH_ROWS", 170)
    shares = (0.001, 0.5, 0.93, 0.949, 0.95, 0.951, 0.97, 1.0)
    frame = pl.DataFrame({f"s{share}": column(share, rows, 3) for share in shares}).cast(pl.String).cast(cast)
    nulls = pl.when(pl.int_range(pl.len()) % 7 != 0).then(pl.all())
    for one in (frame, frame.with_columns(nulls), frame.sort("s0.5")):
        found = unfit(Dataset.from_frame(one))
        assert set(found) == {name for name in one.columns if expected(one[name])}


@pytest.mark.parametrize("share", [0.2, 0.9, 0.93, 0.97, 1.0])
def test_beyond_it_is_as_good_as_exact(share, monkeypatch):
    """32 times as many different values as are kept; and many rows of one value are no different values."""
    monkeypatch.setattr(identifiers, "KEPT", 4096)
    monkeypatch.setattr("headrace.compute.dataset._BATCH_ROWS", 20_000)
    values = pl.Series("x", column(share, 131_072, 5))
    frame = pl.DataFrame([values, values.scatter(list(range(30_000)), 7).alias("often seven")])
    found = unfit(Dataset.from_frame(frame))
    assert set(found) == {name for name in frame.columns if expected(frame[name])}


def test_reading_ends_when_no_column_can_be_an_identifier(monkeypatch):
    monkeypatch.setattr("headrace.compute.dataset._BATCH_ROWS", 1000)
    read = []
    batches = Dataset.batches

    def counted(self, *args, **options):
        for batch in batches(self, *args, **options):
            read.append(batch.shape)
            yield batch

    monkeypatch.setattr(Dataset, "batches", counted)
    few = pl.DataFrame({"few": [i % 9 for i in range(100_000)], "x": [0.5] * 100_000})
    assert unfit(Dataset.from_frame(few)) == {}
    assert len(read) <= 6
    assert {width for _, width in read} == {1}  # numbers with a point are never identifiers: they are not read
    read.clear()
    assert list(unfit(Dataset.from_frame(few.with_columns(key=pl.int_range(pl.len()))))) == ["key"]
    assert len(read) == 100


def test_what_has_no_profile_is_named_with_its_type():
    frame = pl.DataFrame({"a": [[1]], "b": [[0.5]], "c": [{"x": 1}], "d": [b"x"], "e": [True]})
    found = unfit(Dataset.from_frame(frame))
    assert list(found) == ["a", "c", "d"]
    assert found["a"] == "lists of Int64 have no profile"
