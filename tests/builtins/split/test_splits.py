from __future__ import annotations

import datetime as dt
import hashlib
import subprocess
import sys
from fractions import Fraction

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from headrace import Dataset
from headrace.builtins.split import chance
from headrace.builtins.split.group import GroupSplit, GroupSplitConfig, fill
from headrace.builtins.split.leakage import _auc
from headrace.builtins.split.random import RandomSplit, RandomSplitConfig
from headrace.builtins.split.time import TimeSplit, TimeSplitConfig
from headrace.errors import DataError

MASK = 2**64 - 1
NAIVE = dt.datetime
quiet = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def random_split(ctx, frame, **config):
    return RandomSplit(RandomSplitConfig(**config)).run(ctx, Dataset.from_frame(frame))


def time_split(ctx, frame, **config):
    return TimeSplit(TimeSplitConfig(time_column="t", **config)).run(ctx, Dataset.from_frame(frame))


def group_split(ctx, frame, **config):
    return GroupSplit(GroupSplitConfig(**config)).run(ctx, Dataset.from_frame(frame))


def ids(part) -> list[int]:
    return part.frame()["i"].to_list()


def table(rows: int, **columns) -> pl.DataFrame:
    return pl.DataFrame({"i": range(rows), **columns})


# --- chance against its definition ------------------------------------------------------------------------------------


def splitmix_oracle(rows: int, seed: int, purpose: str) -> list[int]:
    state = int.from_bytes(hashlib.sha256(f"headrace split 1\n{purpose}\n{seed}".encode()).digest()[:8], "big")
    out = []
    for _ in range(rows):
        state = (state + 0x9E3779B97F4A7C15) & MASK
        z = state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        out.append(z ^ (z >> 31))
    return out


@given(st.integers(0, 50), st.integers(-(2**40), 2**40), st.text(max_size=5))
def test_by_position_is_splitmix64(rows, seed, purpose):
    assert chance.by_position(rows, seed, purpose).tolist() == splitmix_oracle(rows, seed, purpose)


def test_known_numbers_do_not_change():
    # Written down once: a change of these would move every row of every project.
    assert chance.by_position(3, 0, "random").tolist() == splitmix_oracle(3, 0, "random")
    assert chance.by_position(2, 7, "random").tolist() == [11513986564663560077, 12652420939301191105]
    assert chance.by_key(pl.DataFrame({"k": ["a"]}), ["k"], 7).tolist() == [4882196100305988136]
    frame = pl.DataFrame({"a": [1, None, 3], "b": ["x", "y", None]})
    assert chance.by_key(frame, ["a", "b"], 0).tolist() == [
        key_oracle([("i", "1"), ("s", "x")], 0),
        key_oracle([("n", ""), ("s", "y")], 0),
        key_oracle([("i", "3"), ("n", "")], 0),
    ]


def key_oracle(values: list[tuple[str, str]], seed: int) -> int:
    data = f"headrace split key 1\n{seed}\n".encode()
    for tag, text in values:
        data += tag.encode() + len(text.encode()).to_bytes(8, "big") + text.encode()
    return int.from_bytes(hashlib.sha256(data).digest()[:8], "big")


def test_a_key_is_the_same_as_integer_and_as_float_and_in_any_zone():
    one = chance.by_key(pl.DataFrame({"k": [1, 2]}), ["k"], 3)
    assert one.tolist() == chance.by_key(pl.DataFrame({"k": [1.0, 2.0, None]}), ["k"], 3)[:2].tolist()
    moment = pl.Series("k", [dt.datetime(2020, 1, 1, 12, tzinfo=dt.UTC)])
    away = moment.dt.convert_time_zone("Asia/Tokyo").to_frame()
    assert chance.by_key(moment.to_frame(), ["k"], 0).tolist() == chance.by_key(away, ["k"], 0).tolist()
    with pytest.raises(DataError, match="key cannot be made"):
        chance.by_key(pl.DataFrame({"k": [[1]]}), ["k"], 0)


@given(st.integers(1, 500), st.tuples(st.integers(1, 20), st.integers(1, 20), st.integers(1, 20)))
def test_counts_divide_without_rest(rows, weights):
    shares = [w / sum(weights) for w in weights]
    made = chance.counts(rows, shares)
    assert sum(made) == rows
    assert all(made) or rows < 3
    assert made[0] >= 1
    if all(rows * s >= 1 for s in shares):
        assert all(abs(m - rows * s) < 1 + 1e-9 for m, s in zip(made, shares, strict=True))


@given(st.lists(st.integers(0, MASK), min_size=1), st.fractions(0, 1))
def test_below_is_a_share_of_all_numbers(numbers, share):
    found = chance.below(np.array(numbers, dtype=np.uint64), float(share)).tolist()
    assert found == [n < Fraction(float(share)) * 2**64 // 1 for n in numbers]


# --- random ---------------------------------------------------------------------------------------------------------


@quiet
@given(rows=st.integers(6, 200), seed=st.integers(0, 5), valid=st.floats(0.05, 0.4), test=st.floats(0.05, 0.4))
def test_random_parts_are_a_partition_of_the_asked_sizes_in_order(make_context, rows, seed, valid, test):
    ctx = make_context(seed=seed)
    made = random_split(ctx, table(rows), valid=valid, test=test)
    parts = [ids(made.train), ids(made.valid), ids(made.test)]
    assert sorted(i for part in parts for i in part) == list(range(rows))
    assert all(part == sorted(part) and part for part in parts)
    for part, share in zip(parts, (1 - valid - test, valid, test), strict=True):
        assert abs(len(part) - share * rows) <= 2
    again = random_split(ctx, table(rows), valid=valid, test=test)
    assert [ids(again.train), ids(again.valid), ids(again.test)] == parts


def test_another_seed_another_split(make_context):
    splits = {tuple(ids(random_split(make_context(seed=s), table(50)).test)) for s in range(5)}
    assert len(splits) == 5


@quiet
@given(
    sizes=st.lists(st.integers(1, 60), min_size=2, max_size=5),
    seed=st.integers(0, 3),
)
def test_stratified_parts_keep_the_shares_of_classes(make_context, sizes, seed):
    y = [f"c{k}" for k, size in enumerate(sizes) for _ in range(size)]
    if len(y) < 6 or (len(sizes) == 2 and min(sizes) < 3):
        return
    task = "binary" if len(sizes) == 2 else "multiclass"
    ctx = make_context(seed=seed)
    if not any(size >= 3 for size in sizes):
        return
    made = random_split(ctx, table(len(y), y=y), target="y", task=task)
    for k, size in enumerate(sizes):
        found = [part.frame().filter(pl.col("y") == f"c{k}").height for part in (made.train, made.valid, made.test)]
        assert sum(found) == size
        assert found[0] >= 1
        if size >= 3:
            assert all(found)
        if size >= 10:
            assert abs(found[2] - 0.2 * size) < 1.01


def test_imbalanced_and_small(ctx):
    y = [1] * 4 + [0] * 16
    made = random_split(ctx, table(20, y=y), target="y", task="binary")
    assert all(set(part.frame()["y"]) == {0, 1} for part in made[:3])
    assert made.split.rows == {"train": 12, "valid": 4, "test": 4, "without_target": 0, "left_out": 0}
    with pytest.raises(DataError, match="class 1 of 'y' has no row in valid") as caught:
        random_split(ctx, table(20, y=[1, 1] + [0] * 18), target="y", task="binary")
    assert "more rows" in caught.value.hint
    made = random_split(ctx, table(20, y=["rare"] + ["a", "b"] * 9 + ["a"]), target="y", task="multiclass")
    assert [f["expectation"] for f in made.split.findings] == ["class-missing"]
    assert "'rare'" in made.split.findings[0]["message"]
    assert "rare" in made.train.frame()["y"].to_list()


@quiet
@given(n=st.integers(30, 120), more=st.integers(1, 60), seed=st.integers(0, 3))
def test_with_a_key_added_rows_move_none(make_context, n, more, seed):
    ctx = make_context(seed=seed)
    before = table(n, k=[f"key{i % 40}" for i in range(n)])
    after = table(n + more, k=[f"key{i % 40}" for i in range(n + more)])
    config = {"key": ("k",), "valid": 0.3, "test": 0.3}
    first, second = random_split(ctx, before, **config), random_split(ctx, after, **config)
    for name in ("train", "valid", "test"):
        assert [i for i in ids(getattr(second, name)) if i < n] == ids(getattr(first, name))
    keys = [set(part.frame()["k"]) for part in second[:3]]
    assert len(set.union(*keys)) == sum(map(len, keys))


def test_shares_by_key_are_about_right(ctx):
    made = random_split(ctx, table(20_000), key=("i",), valid=0.15, test=0.2)
    assert abs(made.test.num_rows - 4000) < 4 * (20_000 * 0.2 * 0.8) ** 0.5
    assert abs(made.valid.num_rows - 3000) < 4 * (20_000 * 0.15 * 0.85) ** 0.5


def test_configs_that_cannot_be():
    with pytest.raises(ValidationError, match="nothing to train on"):
        RandomSplitConfig(valid=0.5, test=0.5)
    with pytest.raises(ValidationError, match="exclude each other"):
        RandomSplitConfig(key=("a",), stratify=True)
    with pytest.raises(ValidationError, match="go together"):
        TimeSplitConfig(valid_from="2020-01-01")


# --- the target -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "task", "message"),
    [
        ([None] * 20, "binary", "no value in any row"),
        ([float("nan")] * 20, "regression", "no value in any row"),
        (["a"] * 20, "binary", "is 'a' in every row"),
        ([3.0] * 20, "regression", "is 3.0 in every row"),
        (["a"] * 19 + [None], "binary", "is 'a' in every row"),
        (["a", "b", "c", "d"] * 5, "binary", "has 4 values"),
        (["a", "b"] * 10, "regression", "regression needs a number"),
        ([1.0, float("inf")] * 10, "regression", "infinite in row 1"),
        ([i + 0.5 for i in range(200)], "multiclass", "look like no classes"),
        ([f"v{i}" for i in range(1200)], "multiclass", "1200 different values"),
        (["a", "b", "a"], "binary", "3 rows with a target are too few"),
    ],
)
def test_bad_targets(ctx, values, task, message):
    with pytest.raises(DataError, match=message) as caught:
        random_split(ctx, table(len(values), y=values), target="y", task=task)
    assert caught.value.hint
    if "rows" not in message:
        assert caught.value.place == "column 'y'"


def test_a_target_that_is_absent(ctx):
    with pytest.raises(DataError, match="no such column") as caught:
        random_split(ctx, table(20, delayed=[0, 1] * 10), target="delay", task="binary")
    assert "'delayed'" in caught.value.hint


def test_rows_without_a_target(ctx):
    frame = table(21, y=[0, 1, None] * 7)
    made = random_split(ctx, frame, target="y", task="binary")
    assert made.split.rows["without_target"] == 7
    assert any("7 of 21 rows have no target" in line for line in ctx.logs)
    assert sum(made.split.rows[k] for k in ("train", "valid", "test")) == 14
    with pytest.raises(DataError, match=r"missing in 7 rows .counted from 0: 2, 5, 8, 11, 14"):
        random_split(ctx, frame, target="y", task="binary", null_target="fail")


def test_odd_names(ctx):
    for name in ('a "quoted"\nname', "^x$", "*", "🦊"):
        frame = table(400).with_columns(pl.Series(name, ["p", "q"] * 200), pl.Series("^g.*$", list(range(200)) * 2))
        made = random_split(ctx, frame, target=name, task="binary", groups=("^g.*$",))
        assert made.train.columns == ("i", name, "^g.*$")
        group_split(ctx, frame, target=name, task="binary", by=("^g.*$",))
        random_split(ctx, frame, target=name, task="binary", key=("^g.*$",))


# --- time -----------------------------------------------------------------------------------------------------------

days = st.lists(st.integers(0, 40), min_size=12, max_size=120).filter(lambda d: len(set(d)) >= 3)


@quiet
@given(
    offsets=days, valid=st.floats(0.05, 0.4), test=st.floats(0.05, 0.4), kind=st.sampled_from(["date", "time", "int"])
)
def test_time_parts_do_not_overlap_and_ties_stay_together(ctx, offsets, valid, test, kind):
    start = {"date": dt.date(2020, 1, 1), "time": NAIVE(2020, 1, 1), "int": 0}[kind]
    times = [start + (o if kind == "int" else dt.timedelta(days=o)) for o in offsets]
    made = time_split(ctx, table(len(times), t=times), valid=valid, test=test)
    parts = [part.frame() for part in made[:3]]
    assert sorted(i for part in parts for i in part["i"]) == list(range(len(times)))
    assert all(part["i"].is_sorted() and part.height for part in parts)
    assert parts[0]["t"].max() < parts[1]["t"].min()
    assert parts[1]["t"].max() < parts[2]["t"].min()
    assert not [f for f in made.split.findings if f["expectation"] == "future-in-training"]
    # Nearest to the shares: no other boundary for the test part, validation's given, comes closer.
    asked = len(times) * (1 - test)
    before = parts[0].height + parts[1].height
    others = [sum(t < moment for t in times) for moment in set(times) if moment > parts[1]["t"].min()]
    assert abs(before - asked) == min(abs(other - asked) for other in others)


def test_moments_and_gap(ctx):
    times = [dt.date(2020, 1, 1) + dt.timedelta(days=i) for i in range(100)]
    config = {"valid_from": "2020-02-01", "test_from": "2020-03-01", "gap": "3d"}
    made = time_split(ctx, table(100, t=times), **config)
    assert made.train.frame()["t"].max() == dt.date(2020, 1, 28)
    assert made.valid.frame()["t"].min() == dt.date(2020, 2, 1)
    assert made.valid.frame()["t"].max() == dt.date(2020, 2, 26)
    assert made.test.frame()["t"].min() == dt.date(2020, 3, 1)
    assert made.split.rows["left_out"] == 6
    assert "validation from 2020-02-01, test from 2020-03-01, gap 3d" in made.split.method


def test_moments_in_zones(ctx):
    naive = [NAIVE(2020, 1, 1) + dt.timedelta(hours=i) for i in range(100)]
    frame = table(100, t=naive)
    berlin = frame.with_columns(pl.col("t").dt.replace_time_zone("Europe/Berlin"))
    for unit in ("ms", "us", "ns"):
        made = time_split(
            ctx,
            frame.with_columns(pl.col("t").dt.cast_time_unit(unit)),
            valid_from="2020-01-02",
            test_from="2020-01-03T12:00:00",
        )
        assert made.valid.frame()["i"][0] == 24
        assert made.test.frame()["i"][0] == 60
    made = time_split(ctx, berlin, valid_from="2020-01-02", test_from="2020-01-03T11:00:00Z")
    assert made.valid.frame()["i"][0] == 24  # a moment without a zone is in the column's zone
    assert made.test.frame()["i"][0] == 60
    made = time_split(ctx, frame, valid=0.2, test=0.2, gap="90m")
    assert made.split.rows["left_out"] == 2


@pytest.mark.parametrize(
    ("times", "config", "message"),
    [
        ([None, 1, 2, 3, 4, 5, 6, None], {}, "no value in 2 rows .counted from 0: 0, 7"),
        ([float("nan"), 1, 2, 3, 4, 5, 6], {}, "no value in 1 rows"),
        (["2020-01-01"] * 8, {}, "is String, for instance '2020-01-01'"),
        ([1, 1, 1, 2, 2, 2, 2], {}, "has 2 different values"),
        (list(range(20)), {"gap": "3d"}, "the time column has numbers"),
        (list(range(20)), {"gap": "soon"}, "`gap` is 'soon'"),
        (list(range(20)), {"gap": 50}, "the train part would have no rows"),
        (list(range(20)), {"valid_from": 9, "test_from": 5}, "not before"),
        (list(range(20)), {"valid_from": "monday", "test_from": 5}, "has numbers"),
        ([dt.date(2020, 1, 1 + i) for i in range(20)], {"valid_from": "x", "test_from": "y"}, "no date or time"),
        ([dt.date(2020, 1, 1 + i) for i in range(20)], {"gap": 3}, "without a unit"),
        (
            [dt.date(2020, 1, 1 + i) for i in range(20)],
            {"valid_from": "2021-01-01", "test_from": "2021-02-01"},
            "valid part",
        ),
    ],
)
def test_bad_times(ctx, times, config, message):
    with pytest.raises(DataError, match=message) as caught:
        time_split(ctx, pl.DataFrame({"i": range(len(times)), "t": times}, strict=False), **config)
    assert caught.value.hint


def test_a_class_that_training_never_sees(ctx):
    frame = table(30, t=list(range(30)), y=["a", "b"] * 12 + ["new"] * 6)
    with pytest.raises(DataError, match="class 'new' of 'y' has no row in train") as caught:
        time_split(ctx, frame, target="y", task="multiclass")
    assert "`t` is from 0 to 29" in caught.value.hint


def test_time_needs_a_time_column(ctx):
    with pytest.raises(DataError, match="needs a time column"):
        TimeSplit(TimeSplitConfig()).run(ctx, Dataset.from_frame(table(20)))


# --- group ----------------------------------------------------------------------------------------------------------


@quiet
@given(groups=st.lists(st.integers(0, 12), min_size=10, max_size=150), seed=st.integers(0, 3))
def test_groups_stay_together(make_context, groups, seed):
    if len(set(groups)) < 3:
        return
    ctx = make_context(seed=seed)
    made = group_split(ctx, table(len(groups), g=groups), by=("g",))
    values = [set(part.frame()["g"]) for part in made[:3]]
    assert all(values)
    assert len(set.union(*values)) == sum(map(len, values))
    assert sum(part.num_rows for part in made[:3]) == len(groups)
    assert not [f for f in made.split.findings if f["expectation"] == "shared-group"]


@given(st.lists(st.integers(1, 5), min_size=50, max_size=100))
def test_many_small_groups_meet_the_shares(sizes):
    shares = (0.65, 0.15, 0.2)
    parts = fill(sizes, shares)
    for p, share in enumerate(shares):
        assert abs(sum(s for s, q in zip(sizes, parts, strict=True) if q == p) - share * sum(sizes)) <= 2 * max(sizes)


def test_stable_groups_do_not_move(ctx):
    before = table(400, g=[i % 100 for i in range(400)])
    after = table(800, g=[i % 200 for i in range(800)])
    first, second = (group_split(ctx, frame, by=("g",), stable=True) for frame in (before, after))
    for a, b in zip(first[:3], second[:3], strict=True):
        assert set(a.frame()["g"]) == {g for g in b.frame()["g"] if g < 100}


def test_bad_groups(ctx):
    with pytest.raises(DataError, match=r"2 rows have no 'g' .counted from 0: 1, 3"):
        group_split(ctx, table(8, g=["a", None, "b", None, "c", "d", "e", "f"]), by=("g",))
    with pytest.raises(DataError, match="2 groups by g are too few"):
        group_split(ctx, table(8, g=["a", "b"] * 4), by=("g",))
    with pytest.raises(DataError, match="needs columns"):
        group_split(ctx, table(8))
    made = group_split(ctx, table(8, g=list("abcdefgh")), id_columns=("g",))
    assert made.split.method.startswith("by group (g)")


# --- leakage --------------------------------------------------------------------------------------------------------

RNG = np.random.default_rng(0)
N = 2000
BINARY = RNG.integers(0, 2, N)
NUMBER = RNG.normal(size=N)


def leaks(ctx, frame, **config) -> dict[str | None, str]:
    made = random_split(ctx, frame, target="y", **config)
    return {f["column"]: f["expectation"] for f in made.split.findings}


@pytest.mark.parametrize(
    ("column", "leaky"),
    [
        (BINARY * 2.0 - 5, True),
        (np.where(BINARY == 1, "yes", "no"), True),
        (BINARY + RNG.normal(size=N) * 0.1, True),
        ([None if b else 1.5 for b in BINARY], True),  # is missing exactly when the target is 1
        (BINARY == 1, True),
        (BINARY + RNG.normal(size=N), False),
        (RNG.normal(size=N), False),
        (np.array([f"id{i}" for i in range(N)]), False),  # every value another
        (RNG.permutation(N), False),
        (np.array([f"g{i // 2}" for i in range(N)]), False),
        (np.zeros(N), False),
        (np.array([f"{b}-{i % 50}" for i, b in enumerate(BINARY)]), True),  # the label inside a code
    ],
)
def test_a_column_that_knows_a_binary_target(ctx, column, leaky):
    frame = table(N, y=BINARY, x=column).drop("i")
    assert (leaks(ctx, frame, task="binary").get("x") == "target-leak") == leaky


@pytest.mark.parametrize(
    ("column", "leaky"),
    [
        (NUMBER * 3 + 1, True),
        (np.exp(NUMBER), True),
        (NUMBER + RNG.normal(size=N), False),
        (RNG.normal(size=N), False),
        (np.array([f"id{i}" for i in range(N)]), False),
    ],
)
def test_a_column_that_knows_a_number(ctx, column, leaky):
    found = leaks(ctx, table(N, y=NUMBER, x=column).drop("i"), task="regression", leak_score=0.95)
    assert (found.get("x") == "target-leak") == leaky


def test_a_column_that_knows_one_of_several_classes(ctx):
    y = RNG.integers(0, 4, N)
    noise = np.where(RNG.random(N) < 0.3, RNG.integers(0, 4, N), y)
    frame = table(N, y=y, code=np.array(list("abcd"))[y], noise=noise).drop("i")
    assert leaks(ctx, frame, task="multiclass").get("code") == "target-leak"
    assert leaks(ctx, frame, task="multiclass").get("noise") != "target-leak"


def test_a_rare_class_is_sampled(ctx):
    y = (np.arange(30_000) % 300 == 0).astype(int)
    frame = table(30_000, y=y, leak=y + RNG.normal(size=30_000) * 0.05, x=RNG.normal(size=30_000)).drop("i")
    assert leaks(ctx, frame, task="binary", leak_sample=1000) == {"leak": "target-leak"}


def test_few_rows_say_nothing(ctx):
    frame = table(30, y=[0, 1] * 15, x=[0, 1] * 15).drop("i")
    assert "target-leak" not in leaks(ctx, frame, task="binary").values()
    assert any("too few rows to tell" in line for line in ctx.logs)


def test_policies(ctx):
    frame = table(N, y=BINARY, x=BINARY)
    with pytest.raises(DataError, match=r"'x' alone predicts 'y' .AUC 1.000") as caught:
        random_split(ctx, frame, target="y", task="binary", leakage="fail")
    assert "leak_ignore" in caught.value.hint
    assert not random_split(ctx, frame, target="y", task="binary", leakage="off").split.findings
    assert not leaks(ctx, frame, task="binary", leak_ignore=("x",))
    assert leaks(ctx, frame, task="binary") == {"x": "target-leak"}
    assert any(line.startswith("warning: 'x' alone") for line in ctx.logs)
    with pytest.raises(DataError, match="`leak_ignore` names 'z'"):
        leaks(ctx, frame, task="binary", leak_ignore=("z",))


def test_the_same_row_on_both_sides(ctx):
    frame = pl.DataFrame({"a": list(range(50)) * 2, "b": ["x", None] * 50, "y": [0, 1] * 50})
    made = random_split(ctx, frame, target="y", task="binary")
    found = {f["message"].split()[3]: f["failed_rows"] for f in made.split.findings if f["expectation"] == "same-row"}
    train = set(made.train.frame().drop("y").rows())
    for name in ("valid", "test"):
        expected = sum(row in train for row in getattr(made, name).frame().drop("y").rows())
        assert found.get(name, 0) == expected
        assert expected


def test_the_future_in_training_and_shared_groups(ctx):
    frame = table(60, t=list(range(60)), customer=[i % 7 for i in range(60)])
    made = random_split(ctx, frame, time_column="t", id_columns=("customer",))
    kinds = [f["expectation"] for f in made.split.findings]
    assert "future-in-training" in kinds
    assert kinds.count("shared-group") == 2
    first = made.test.frame()["t"].min()
    expected = sum(t > first for t in made.train.frame()["t"])
    assert next(f for f in made.split.findings if f["expectation"] == "future-in-training")["failed_rows"] == expected


@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=2).filter(
        lambda rows: len({positive for positive, _ in rows}) == 2
    )
)
def test_auc_against_all_pairs(rows):
    ones = [s for p, s in rows if p]
    zeros = [s for p, s in rows if not p]
    pairs = [1.0 if a > b else 0.5 if a == b else 0.0 for a in ones for b in zeros]
    found = _auc(np.array([p for p, _ in rows]), np.array([float(s) for _, s in rows]))
    assert found == pytest.approx(sum(pairs) / len(pairs))


def test_five_thousand_columns(ctx):
    columns = {f"c{i}": RNG.normal(size=300) for i in range(5000)}
    y = RNG.integers(0, 2, 300)
    made = random_split(ctx, pl.DataFrame({**columns, "y": y, "leak": y}), target="y", task="binary")
    assert "leak" in [f["column"] for f in made.split.findings]
    assert len(made.split.findings) == 1


def test_reports_and_parts_can_be_kept(ctx, roundtrip):
    made = random_split(ctx, table(200, y=[0, 1] * 100, x=[0, 1] * 100), target="y", task="binary")
    assert roundtrip(made.split) == made.split
    assert roundtrip(made.train).frame().equals(made.train.frame())


def test_a_stage_that_is_stopped_stops(make_context):
    from headrace.errors import CancelledError

    with pytest.raises(CancelledError):
        random_split(make_context(cancel_after=1), table(50))


def test_the_stages_are_light_to_import():
    names = "headrace.builtins.split.random, headrace.builtins.split.time, headrace.builtins.split.group"
    code = (
        f"import sys, {names}; heavy = {{'polars', 'numpy', 'pyarrow'}} & set(sys.modules); "
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
