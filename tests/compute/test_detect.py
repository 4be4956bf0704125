"""Change detectors: what they find, against their definitions; how they are fed; how they go on elsewhere."""

from __future__ import annotations

import hashlib
import math
import subprocess
import sys
import threading
from itertools import pairwise

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import detector_oracles as oracles
from headrace import drift
from headrace.errors import DataError

MAKERS = {
    "adwin": lambda: drift.ADWIN(0.05),
    "adwin river": lambda: drift.ADWIN(0.2, semantics="river", clock=3),
    "page-hinkley": lambda: drift.PageHinkley(3),
    "page-hinkley river": lambda: drift.PageHinkley(3, semantics="river"),
    "cusum": lambda: drift.CUSUM(warm_up=5),
    "cusum known": lambda: drift.CUSUM(0, 1, threshold=2),
    "ddm": drift.DDM,
    "ddm river": lambda: drift.DDM(semantics="river", warm_up=3),
    "kswin": lambda: drift.KSWIN(0.2, window_size=20, stat_size=5),
    "kswin river": lambda: drift.KSWIN(0.2, window_size=20, stat_size=5, semantics="river", seed=3),
}
each_detector = pytest.mark.parametrize("make", MAKERS.values(), ids=list(MAKERS))


def stream(make, seed: int, rows: int, *, step: float = 2.0) -> np.ndarray:
    """Normal values whose mean moves halfway; zeros and ones whose rate does, for DDM."""
    chance = np.random.default_rng(seed)
    half = np.arange(rows) >= rows // 2
    if isinstance(make(), drift.DDM):
        return (chance.random(rows) < np.where(half, 0.6, 0.1)).astype(np.float64)
    return chance.normal(size=rows) + step * half


# --- what they find ---------------------------------------------------------------------------------------------------

levels = st.lists(st.tuples(st.integers(1, 40), st.sampled_from([0.0, 1.0, -3.0, 20.0])), min_size=1, max_size=4)


@st.composite
def walks(draw, scale=1.0):
    """Values around levels that change; the noise is drawn from a seed."""
    parts = draw(levels)
    chance = np.random.default_rng(draw(st.integers(0, 2**32)))
    return np.concatenate([level + scale * chance.normal(size=rows) for rows, level in parts])


@given(walks(), st.sampled_from([0.001, 0.05, 0.5]), st.integers(2, 7), st.integers(1, 5))
@settings(deadline=None, max_examples=60)
def test_adwin_is_the_papers(values, delta, max_buckets, clock):
    oracle = oracles.Adwin(delta=delta, max_buckets=max_buckets, clock=clock)
    expected = [position for position, value in enumerate(values) if oracle.update(value)]
    assume(not oracle.close)
    ours = drift.ADWIN(delta, max_buckets=max_buckets, clock=clock)
    assert ours.update(values).tolist() == expected
    window = oracle.values()
    assert (ours.width, ours.n_buckets) == (len(window), len(oracle.buckets()))
    assert ours.estimation == pytest.approx(np.mean(window), abs=1e-9)
    assert ours.variance == pytest.approx(np.var(window), rel=1e-6, abs=1e-9)


@given(
    walks(), st.sampled_from([0.0, 0.005, 0.3]), st.sampled_from([1.0, 5.0]), st.sampled_from(["up", "down", "both"])
)
@settings(deadline=None, max_examples=60)
def test_page_hinkley_is_the_papers(values, delta, threshold, direction):
    ours = drift.PageHinkley(threshold, delta=delta, direction=direction)
    expected = oracles.page_hinkley(values, delta=delta, threshold=threshold, direction=direction)
    assert ours.update(values).tolist() == expected


@given(
    walks(),
    st.sampled_from([(None, None), (0.0, 1.0), (1.0, None), (None, 2.0)]),
    st.sampled_from(["up", "down", "both"]),
    st.integers(2, 30),
)
@settings(deadline=None, max_examples=60)
def test_cusum_is_the_largest_sum_of_the_last_values(values, known, direction, warm_up):
    target, scale = known
    options = {"slack": 0.5, "threshold": 4.0, "warm_up": warm_up, "direction": direction}
    ours = drift.CUSUM(target, scale, **options)
    assert ours.update(values).tolist() == oracles.cusum(values, target=target, scale=scale, **options)


def test_cusum_warms_up_until_two_values_differ():
    ours = drift.CUSUM(warm_up=3)
    assert ours.update(np.r_[np.full(50, 7.0), 8.0, 7.0, 7.0]).size == 0
    assert ours.estimation == pytest.approx(7 + 1 / 51)
    assert ours.update([20.0, 20.0]).tolist() == [53]


@given(
    st.lists(st.tuples(st.integers(1, 60), st.sampled_from([0.0, 0.1, 0.5, 1.0])), max_size=4), st.integers(0, 2**32)
)
@settings(deadline=None)
def test_ddm_is_the_papers(parts, seed):
    chance = np.random.default_rng(seed)
    answers = np.concatenate([chance.random(rows) < rate for rows, rate in parts] or [np.zeros(0, bool)])
    expected, warnings = oracles.ddm(answers.astype(int).tolist())
    ours = drift.DDM()
    found, lengths = [], []
    for answer in answers:
        found += ours.update(bool(answer)).tolist()
        lengths.append(ours.warning)
    assert (found, lengths) == (expected, warnings)


@given(walks(), st.sampled_from([(20, 5), (12, 6), (60, 2)]), st.integers(0, 2**64 - 1), st.sampled_from([0.3, 0.02]))
@settings(deadline=None, max_examples=30)
def test_kswin_is_the_papers(values, sizes, seed, alpha):
    window_size, stat_size = sizes
    options = {"alpha": alpha, "window_size": window_size, "stat_size": stat_size, "seed": seed}
    assert drift.KSWIN(**options).update(np.round(values, 1)).tolist() == oracles.kswin(np.round(values, 1), **options)


def test_cusum_has_the_run_lengths_of_the_textbook():
    """Montgomery, "Introduction to Statistical Quality Control", table of ARLs for k = 0.5, h = 5, two sides."""
    chance = np.random.default_rng(7)
    for shift, expected in [(0.0, 465), (0.5, 38.0), (1.0, 10.4), (2.0, 4.01)]:
        ours = drift.CUSUM(0, 1)
        alarms = 3000
        rows = int(expected * alarms)
        ours.update(chance.normal(size=rows) + shift)
        # Run lengths vary about as much as they are long.
        assert rows / ours.n_detections == pytest.approx(expected, rel=4 / math.sqrt(alarms))


def test_adwin_cuts_less_often_than_delta_says_where_nothing_changes():
    chance = np.random.default_rng(8)
    for delta in (0.3, 0.05):
        ours = drift.ADWIN(delta)
        ours.update(chance.normal(size=20_000))
        assert ours.n_detections <= delta * 20_000


@pytest.mark.parametrize(
    "make",
    [
        drift.ADWIN,
        lambda: drift.ADWIN(semantics="river"),
        lambda: drift.PageHinkley(delta=0.3),
        lambda: drift.PageHinkley(delta=0.3, semantics="river"),
        lambda: drift.CUSUM(0, 1, threshold=12),
        lambda: drift.DDM(drift_threshold=5),
        lambda: drift.KSWIN(1e-6),
        lambda: drift.KSWIN(1e-6, semantics="river"),
    ],
)
def test_a_change_is_found_and_nothing_before_it(make):
    found = make().update(stream(make, 5, 4000))
    assert found.size
    assert 2000 <= found[0] < 2150


# --- how the stream is cut does not matter ----------------------------------------------------------------------------


@each_detector
@given(seed=st.integers(0, 2**32), rows=st.integers(0, 300), cuts=st.lists(st.integers(0, 300), max_size=5))
@settings(deadline=None, max_examples=25)
def test_updates_can_be_cut_anywhere(make, seed, rows, cuts):
    values = stream(make, seed, rows)
    whole, parts = make(), make()
    expected = whole.update(values)
    ends = sorted({0, rows, *(min(cut, rows) for cut in cuts)})
    found = [parts.update(values[start:end]) for start, end in pairwise(ends)]
    assert np.concatenate([np.zeros(0, np.int64), *found]).tolist() == expected.tolist()
    assert parts.to_bytes() == whole.to_bytes()
    assert (parts.n_seen, parts.n_detections) == (rows, len(expected))


@each_detector
@given(seed=st.integers(0, 2**32), rows=st.integers(0, 200), cut=st.integers(0, 200))
@settings(deadline=None, max_examples=25)
def test_another_process_can_go_on(make, seed, rows, cut):
    values = stream(make, seed, rows)
    here = make()
    here.update(values[:cut])
    there = type(here).from_bytes(here.to_bytes())
    assert there.to_bytes() == here.to_bytes()
    assert there.update(values[cut:]).tolist() == here.update(values[cut:]).tolist()
    assert there.to_bytes() == here.to_bytes()
    assert (there.options, there.estimation, there.width) == (here.options, here.estimation, here.width)
    assert there.detections.tolist() == here.detections.tolist()


@each_detector
def test_single_values_are_a_column_of_one(make):
    values = stream(make, 3, 200)
    whole, single = make(), make()
    expected = whole.update(values).tolist()
    assert [found for value in values for found in single.update(float(value)).tolist()] == expected
    assert single.to_bytes() == whole.to_bytes()


@each_detector
def test_reset_is_as_new(make):
    ours = make()
    ours.update(stream(make, 3, 500))
    ours.reset()
    assert ours.to_bytes() == make().to_bytes()
    assert (ours.n_seen, ours.n_detections, ours.detections.tolist(), ours.width) == (0, 0, [], 0)


def test_the_last_detections_are_kept_and_all_are_counted():
    ours = drift.PageHinkley(0.5)
    found = ours.update(np.random.default_rng(0).normal(size=5000))
    assert len(found) == ours.n_detections > 256
    assert ours.detections.tolist() == found[-256:].tolist()
    assert ours.detections.dtype == found.dtype == np.int64


# --- what they read ---------------------------------------------------------------------------------------------------

WHOLE = [0, 1, 0, 0, 1, 1, 0] * 40


def columns(values: list[int]):
    """The same numbers as every kind of column."""
    for name in (
        "float16",
        "float32",
        "float64",
        "int8",
        "int16",
        "int32",
        "int64",
        "uint8",
        "uint16",
        "uint32",
        "uint64",
    ):
        yield f"numpy {name}", np.array(values, dtype=name)
        yield f"pyarrow {name}", pa.array(np.array(values, dtype=name))
    yield "numpy bool", np.array(values, dtype=bool)
    yield "pyarrow bool", pa.array(values).cast(pa.bool_())
    yield "pyarrow bool slice", pa.array([1, 0, 1, *values, 1]).cast(pa.bool_()).slice(3, len(values))
    yield "pyarrow slice", pa.array([9.5, *values, 9.5]).slice(1, len(values))
    yield "pyarrow chunks", pa.chunked_array([values[:5], [], values[5:]])
    yield "polars", pl.Series("x", values)
    yield (
        "polars bool chunks",
        pl.concat([pl.Series(values[:9]), pl.Series(values[9:])], rechunk=False).cast(pl.Boolean),
    )
    yield "polars frame of one column", pl.DataFrame({"x": values})
    yield "list", values
    yield "list of bool", [bool(value) for value in values]
    yield "big-endian", np.array(values, dtype=">f8")
    yield "every second", np.repeat(np.array(values, dtype=np.float64), 2)[::2]
    yield "reversed", np.array(values[::-1], dtype=np.int32)[::-1]
    yield (
        "not aligned",
        np.frombuffer(b"x" + np.array(values, dtype=np.float64).tobytes(), np.uint8)[1:].view(np.float64),
    )
    yield "read-only", np.frombuffer(np.array(values, dtype=np.float64).tobytes())


@pytest.mark.parametrize("make", [drift.DDM, lambda: drift.PageHinkley(2.0)], ids=["ddm", "page-hinkley"])
@pytest.mark.parametrize(("column"), [pytest.param(column, id=name) for name, column in columns(WHOLE)])
def test_every_column_of_numbers_reads_the_same(make, column):
    plain = make()
    expected = plain.update(np.array(WHOLE, dtype=np.float64))
    ours = make()
    assert ours.update(column).tolist() == expected.tolist()
    assert ours.to_bytes() == plain.to_bytes()


@each_detector
@pytest.mark.parametrize("column", [[], np.zeros(0), pa.array([], pa.int8()), pl.Series([], dtype=pl.Null)], ids=str)
def test_no_rows_change_nothing(make, column):
    ours = make()
    before = ours.to_bytes()
    assert ours.update(column).tolist() == []
    assert ours.to_bytes() == before


@each_detector
@pytest.mark.parametrize(
    ("column", "row", "found"),
    [
        (np.r_[np.zeros(1500), np.nan], 1500, "NaN"),
        ([0.0, math.inf], 1, "inf"),
        ([1.0, 1.0, -math.inf], 2, "-inf"),
        ([0, 1, 1e101], 2, "100000000"),
        (pa.array([0, 1, None, 1]), 2, "null"),
        (pa.chunked_array([[0.0] * 5, [0.0, None]]), 6, "null"),
        (pa.array([None, 0, 1, None]).slice(1), 2, "null"),
        (pl.Series([1.0, float("nan")]), 1, "NaN"),
        (pl.Series([True, None]), 1, "null"),
        (pa.nulls(3), 0, "null"),
        ([0.0, None], 1, "NaN"),
        (math.nan, 0, "NaN"),
    ],
)
def test_a_value_that_cannot_be_is_named_and_nothing_is_read(make, column, row, found):
    ours = make()
    ours.update([1.0, 0.0])
    before = ours.to_bytes()
    with pytest.raises(DataError, match=f"row {row}: the value is {found}") as caught:
        ours.update(column)
    assert caught.value.place == f"row {row}"
    assert caught.value.hint
    assert ours.to_bytes() == before


def test_ddm_reads_zeros_and_ones_only():
    for column in ([0, 1, 2], [0.0, 1.0, 0.5], pa.array([0, 1, -1])):
        with pytest.raises(DataError, match=r"row 2: the value is .*, expected 0 or 1"):
            drift.DDM().update(column)


@each_detector
def test_missing_rows_can_be_passed_over_and_keep_their_places(make):
    values = stream(make, 11, 3000)
    gaps = np.random.default_rng(1).random(3000) < 0.3
    plain = make()
    places = np.flatnonzero(~gaps)
    expected = places[plain.update(values[~gaps])].tolist()
    assert expected
    for column in (
        np.where(gaps, np.nan, values),
        pa.array(values, mask=gaps),
        pl.Series(values).set(pl.Series(gaps), None),
        pa.chunked_array([pa.array(values[:7], mask=gaps[:7]), pa.array(values[7:], mask=gaps[7:])]),
    ):
        ours = make()
        assert ours.update(column, missing="skip").tolist() == expected
        assert (ours.n_seen, ours.width, ours.estimation) == (3000, plain.width, plain.estimation)
    ours = make()
    assert ours.update(pa.nulls(3), missing="skip").tolist() == []
    assert ours.n_seen == 3
    with pytest.raises(DataError, match="row 1: the value is inf"):
        ours.update([math.nan, math.inf], missing="skip")


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (["a"], "type <U1"),
        ("text", "type <U4"),
        (None, "type NoneType|NaN"),
        (object(), "type object"),
        ({1: 2}, "type dict"),
        ([1, "a"], "type <U"),
        ([0.5, object()], "row 1: the value is of type object"),
        ([[1.0], [2.0]], "2 dimensions"),
        ([[1.0], [2.0, 3.0]], "no column of numbers|inhomogeneous"),
        (np.zeros((2, 2)), "2 dimensions"),
        (np.array([1j]), "type complex128"),
        (np.array(["2020-01-01"], dtype="M8[D]"), "type datetime64"),
        (10**400, "the value is 1000"),
        (pa.array(["a"]), "Arrow type Utf8"),
        (pl.Series(["a"]), "Arrow type"),
        (pl.DataFrame({"a": [1], "b": [2]}), "2 columns"),
        (pa.array([{"a": 1, "b": 2}]), "2 columns"),
        (pa.array([1], pa.timestamp("s")), "Arrow type Timestamp"),
    ],
)
def test_what_is_no_column_of_numbers_is_refused(column, message):
    ours = drift.ADWIN()
    before = ours.to_bytes()
    with pytest.raises(DataError, match=message):
        ours.update(column)
    assert ours.to_bytes() == before


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: drift.ADWIN(0), "delta is 0, expected above 0 and below 1"),
        (lambda: drift.ADWIN(math.nan), "delta is NaN"),
        (lambda: drift.ADWIN(clock=0), "clock is 0, expected from 1"),
        (lambda: drift.ADWIN(clock=-1), "clock is -1"),
        (lambda: drift.ADWIN(clock=2**70), "clock is 1180591620717411303424"),
        (lambda: drift.ADWIN(clock=1.5), "clock is 1.5, expected a whole number"),
        (lambda: drift.ADWIN(max_buckets=1), "max_buckets is 1"),
        (lambda: drift.ADWIN(min_window=0), "min_window is 0"),
        (lambda: drift.ADWIN(semantics="moa"), "semantics is 'moa', expected 'paper' or 'river'"),
        (lambda: drift.PageHinkley(0), "threshold is 0"),
        (lambda: drift.PageHinkley(delta=-1), "delta is -1"),
        (lambda: drift.PageHinkley(forgetting=1.5), "forgetting is 1.5"),
        (lambda: drift.PageHinkley(direction="sideways"), "direction is 'sideways'"),
        (lambda: drift.PageHinkley("much"), "threshold is 'much', expected a number"),
        (lambda: drift.CUSUM(scale=0), "scale is 0"),
        (lambda: drift.CUSUM(target=math.inf), "target is inf"),
        (lambda: drift.CUSUM(warm_up=1), "warm_up is 1"),
        (lambda: drift.DDM(drift_threshold=0), "drift_threshold is 0"),
        (lambda: drift.KSWIN(1.0), "alpha is 1"),
        (lambda: drift.KSWIN(window_size=10), "window_size is 10, expected at least twice stat_size"),
        (lambda: drift.KSWIN(stat_size=10**9, window_size=2 * 10**9), "stat_size is 1000000000"),
        (lambda: drift.KSWIN(seed=-1), "seed is -1"),
        (lambda: drift.ADWIN().update([1.0], missing="drop"), "missing is 'drop'"),
    ],
)
def test_options_that_cannot_be_are_refused(make, message):
    with pytest.raises(DataError, match=message):
        make()


def test_values_at_the_ends_of_what_is_taken_leave_numbers():
    for make in MAKERS.values():
        if not isinstance(make(), drift.DDM):
            ours = make()
            ours.update([1e100, -1e100, 5e-324, -0.0, 0.0] * 200)
            assert math.isfinite(ours.estimation)
            assert type(ours).from_bytes(ours.to_bytes()).to_bytes() == ours.to_bytes()


def test_options_are_shown_and_make_the_same_again():
    for make in MAKERS.values():
        ours = make()
        assert type(ours)(**ours.options).to_bytes() == ours.to_bytes()
        assert repr(ours).startswith(f"{type(ours).__name__}(")


# --- state ------------------------------------------------------------------------------------------------------------


def signed(body: bytes) -> bytes:
    return body + hashlib.sha256(body).digest()[:8]


@each_detector
def test_bytes_that_were_changed_are_refused(make):
    ours = make()
    ours.update(stream(make, 1, 100))
    state = ours.to_bytes()
    for length in (0, 3, 6, 14, len(state) - 1):
        with pytest.raises(DataError, match="not the state of a detector"):
            type(ours).from_bytes(state[:length])
    for place in range(0, len(state), 7):
        changed = bytearray(state)
        changed[place] ^= 0x10
        with pytest.raises(DataError, match="not the state of a detector"):
            type(ours).from_bytes(bytes(changed))
    newer = signed(state[:4] + b"\x02" + state[5:-8])
    with pytest.raises(DataError, match="format has version 2, and this version of headrace reads 1"):
        type(ours).from_bytes(newer)
    with pytest.raises(DataError, match="1 bytes follow their end"):
        type(ours).from_bytes(signed(state[:-8] + b"\x00"))


@each_detector
@given(data=st.data())
@settings(deadline=None, max_examples=60)
def test_bytes_that_were_forged_are_refused_or_a_detector(make, data):
    ours = make()
    ours.update(stream(make, 1, 60))
    body = bytearray(ours.to_bytes()[:-8])
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(6, len(body) - 1))
        body[place : place + 1] = data.draw(st.binary(max_size=3))
        if len(body) < 8:
            return
    try:
        forged = type(ours).from_bytes(signed(bytes(body)))
    except DataError:
        return
    forged.update(stream(make, 2, 100))
    forged.to_bytes()


def test_the_state_of_another_detector_is_refused():
    with pytest.raises(DataError, match=r"state of KSWIN, expected ADWIN") as caught:
        drift.ADWIN.from_bytes(drift.KSWIN().to_bytes())
    assert "KSWIN.from_bytes" in caught.value.hint


# --- memory and threads -----------------------------------------------------------------------------------------------


@each_detector
@pytest.mark.parametrize("rows", [200_000, pytest.param(10_000_000, marks=pytest.mark.slow)])
def test_the_state_stays_small(make, rows):
    ours = make()
    if "KSWIN" in repr(ours) or ours.options.get("clock") == 1:
        rows //= 10
    chance = np.random.default_rng(0)
    for start in range(0, rows, 1_000_000):
        part = min(1_000_000, rows - start)
        if isinstance(ours, drift.DDM):
            ours.update(chance.random(part) < 0.2)
        else:
            ours.update(chance.random(part))
    assert ours.n_seen == rows
    assert len(ours.to_bytes()) < 8_000
    if isinstance(ours, drift.ADWIN):
        # Rows of 5 buckets, and one row more than it takes to hold the window.
        assert ours.n_buckets <= 5 * (math.log2(max(ours.width, 2)) + 1)


MEMORY = """
import resource, sys
import numpy as np, pyarrow as pa
from headrace import drift
values = {values}
drift.PageHinkley().update(values[:10])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
drift.PageHinkley(1e9).update(values)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="kilobytes here, bytes elsewhere")
@pytest.mark.parametrize(
    "values",
    ["np.zeros(5_000_000) + 1", "pa.array(np.zeros(5_000_000) + 1)", "pa.array(np.ones(5_000_000, np.int64)).slice(3)"],
)
def test_columns_are_read_where_they_lie(values):
    """40 MB that are not copied."""
    done = subprocess.run(
        [sys.executable, "-c", MEMORY.format(values=values)], check=True, capture_output=True, text=True
    )
    assert int(done.stdout) < 8_000


def test_other_threads_run_meanwhile():
    values = np.random.default_rng(0).normal(size=300_000)
    ours = drift.ADWIN()
    thread = threading.Thread(target=ours.update, args=(values,))
    turns = 0
    thread.start()
    while thread.is_alive():
        turns += 1
    assert turns > 1000


def test_a_detector_serves_one_thread_at_a_time():
    ours = drift.PageHinkley()
    values = np.random.default_rng(0).normal(size=10_000)
    threads = [threading.Thread(target=lambda: [ours.update(values) for _ in range(20)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ours.n_seen == 4 * 20 * 10_000
