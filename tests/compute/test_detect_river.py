"""In river's semantics every detection is where river's is: river itself is asked, and river's own test vectors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace import drift

theirs = pytest.importorskip("river.drift", reason="river is not installed: pip install --group bench")


def river(detector, values) -> list[int]:
    found = []
    for position, value in enumerate(values):
        detector.update(value)
        if detector.drift_detected:
            found.append(position)
    return found


@st.composite
def streams(draw):
    """Levels with noise, rounded or not: ties and exact zeros matter as much as normal values do."""
    chance = np.random.default_rng(draw(st.integers(0, 2**32)))
    parts = draw(
        st.lists(
            st.tuples(
                st.integers(1, 400), st.sampled_from([0.0, 1.0, -2.0, 30.0, 1e6]), st.sampled_from([0.0, 0.1, 1.0])
            ),
            min_size=1,
            max_size=4,
        )
    )
    values = np.concatenate([level + scale * chance.normal(size=rows) for rows, level, scale in parts])
    return np.round(values) if draw(st.booleans()) else values


@given(
    streams(),
    st.fixed_dictionaries(
        {
            "delta": st.sampled_from([0.002, 0.1, 0.9]),
            "clock": st.sampled_from([1, 3, 32]),
            "max_buckets": st.integers(2, 8),
            "grace_period": st.integers(0, 30),
        }
    ),
    st.integers(1, 10),
)
@settings(deadline=None, max_examples=150)
def test_adwin(values, options, min_window):
    detector = theirs.ADWIN(**options, min_window_length=min_window)
    ours = drift.ADWIN(**options, min_window=min_window, semantics="river")
    for position, value in enumerate(values.tolist()):
        detector.update(value)
        found = ours.update(value).tolist()
        assert found == ([position] if detector.drift_detected else [])
        assert (ours.width, ours.estimation) == (detector.width, detector.estimation)


@given(
    streams(),
    st.fixed_dictionaries(
        {
            "min_instances": st.integers(1, 50),
            "delta": st.sampled_from([0.0, 0.005, 0.5]),
            "threshold": st.sampled_from([0.5, 5.0, 50.0]),
        }
    ),
    st.sampled_from([0.9999, 0.9, 1.0, 0.0]),
    st.sampled_from(["up", "down", "both"]),
)
@settings(deadline=None, max_examples=150)
def test_page_hinkley(values, options, forgetting, direction):
    ours = drift.PageHinkley(**options, forgetting=forgetting, direction=direction, semantics="river")
    detector = theirs.PageHinkley(**options, alpha=forgetting, mode=direction)
    assert ours.update(values).tolist() == river(detector, values.tolist())


@given(
    st.lists(st.tuples(st.integers(1, 200), st.sampled_from([0.0, 0.02, 0.3, 0.9, 1.0])), min_size=1, max_size=4),
    st.integers(0, 2**32),
    st.integers(0, 40),
    st.sampled_from([1.0, 2.0]),
    st.sampled_from([1.0, 3.0]),
)
@settings(deadline=None, max_examples=150)
def test_ddm(parts, seed, warm_up, warning, threshold):
    chance = np.random.default_rng(seed)
    answers = np.concatenate([chance.random(rows) < rate for rows, rate in parts])
    detector = theirs.binary.DDM(warm_up, warning, threshold)
    ours = drift.DDM(warm_up=warm_up, warning_threshold=warning, drift_threshold=threshold, semantics="river")
    for position, answer in enumerate(answers.tolist()):
        detector.update(answer)
        found = ours.update(answer).tolist()
        assert found == ([position] if detector.drift_detected else [])
        assert (ours.warning > 0) == detector.warning_detected


@pytest.mark.parametrize(
    ("alpha", "window_size", "stat_size"), [(0.005, 100, 30), (0.2, 20, 4), (0.05, 60, 30), (0.3, 200, 5), (0.5, 6, 3)]
)
@given(streams(), st.sampled_from([0, 1, 42, 2**32 - 1, 2**32, 2**64 - 1]))
@settings(deadline=None, max_examples=4)
def test_kswin(alpha, window_size, stat_size, values, seed):
    """Down to the draws: they are those of CPython."""
    values = values[:400]
    detector = theirs.KSWIN(alpha, window_size, stat_size, seed)
    ours = drift.KSWIN(alpha, window_size=window_size, stat_size=stat_size, semantics="river", seed=seed)
    assert ours.update(values).tolist() == river(detector, values.tolist())


# --- river's test vectors ---------------------------------------------------------------------------------------------


def levels() -> np.ndarray:
    old = np.random.RandomState(12345)
    return np.concatenate([old.randint(2, size=1000), old.randint(8, size=1000)])


def rates() -> np.ndarray:
    old = np.random.RandomState(12345)
    return np.concatenate([[old.binomial(1, rate) for _ in range(1000)] for rate in (0.2, 0.8)])


def waves() -> np.ndarray:
    old = np.random.RandomState(12345)
    return np.concatenate([old.normal(level, 0.1, 500) > 0 for level in (0.0, 0.25, 0.0, 0.25)])


@pytest.mark.parametrize(
    ("make", "values", "expected"),
    [
        # Before river 0.22 it was 1055: the loop left out the newest bucket of each row (river#1539).
        (lambda: drift.ADWIN(semantics="river"), levels, [1023]),
        (lambda: drift.PageHinkley(semantics="river", direction="up"), waves, [588, 1681]),
        (lambda: drift.PageHinkley(semantics="river", direction="down"), waves, [1172]),
        (lambda: drift.PageHinkley(semantics="river"), waves, [588, 1097, 1585]),
        (lambda: drift.DDM(semantics="river"), rates, [1049]),
        (lambda: drift.KSWIN(1e-4, window_size=200, stat_size=100, semantics="river", seed=42), levels, [1042]),
    ],
    ids=["adwin", "page-hinkley up", "page-hinkley down", "page-hinkley", "ddm", "kswin"],
)
def test_vectors(make, values, expected):
    assert make().update(values()).tolist() == expected


def test_the_old_vector_is_that_of_the_bucket_left_out():
    """What is said of it above is so: the definition, with that bucket left out, gives the old vector."""
    from detector_oracles import Adwin

    values = levels()[:1100].astype(float)
    for skip_last, expected in [(False, 1023), (True, 1055)]:
        oracle = Adwin(clock=32, min_window=5, grace_period=10, keep=False, skip_last=skip_last)
        assert next(position for position, value in enumerate(values) if oracle.update(value)) == expected
