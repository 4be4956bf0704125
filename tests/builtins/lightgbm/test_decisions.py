from __future__ import annotations

import lightgbm
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from headrace.builtins.lightgbm.decisions import ZERO, float32_threshold, goes_left, nan_goes_left
from headrace.builtins.lightgbm.text import parse

LEFT, RIGHT = 0, 1

# Where decisions change: around zero (its ends written as LightGBM writes them), at float32's ends, and plain numbers.
SPECIAL = [0.0, -0.0, float(ZERO), -float(ZERO), 1e-36, -1e-36, 1e-45, 1e300, -1e300, float("inf"), 0.1, 3.4e38]
thresholds = st.one_of(
    st.sampled_from(SPECIAL),
    st.floats(allow_nan=False),
    st.floats(width=32, allow_nan=False),
    st.floats(-1e-34, 1e-34),
)
sets = st.frozensets(st.integers(0, 100), min_size=1, max_size=12)


def values_around(*numbers: float) -> np.ndarray:
    """Each number as float32, three values to either side, and what is special."""
    special = [0.0, -0.0, 1e-45, -1e-45, np.nan, np.inf, -np.inf, 3.4028235e38, -3.4028235e38, ZERO, -ZERO]
    with np.errstate(over="ignore"):
        found = np.array([*numbers, *special], dtype=np.float32)
    around = [found]
    for end in (np.inf, -np.inf):
        near = found
        for _ in range(3):
            with np.errstate(over="ignore"):
                near = np.nextafter(near, np.float32(end))
            around.append(near)
    return np.concatenate(around)


def leaves(model_text: str, values: np.ndarray) -> np.ndarray:
    booster = lightgbm.Booster(model_str=model_text)
    return booster.predict(values[:, None], pred_leaf=True)[:, 0] == LEFT


def one_split(write, hand_tree, threshold, decision_type):
    return write([hand_tree([0], [threshold], [decision_type], [~LEFT], [~RIGHT], [1.0, 2.0])])


@pytest.mark.parametrize(
    "decision_type", [0, 2, 4, 6, 8, 10], ids=["none", "none left", "zero", "zero left", "nan", "nan left"]
)
@settings(max_examples=150, deadline=None)
@given(threshold=thresholds)
@example(threshold=-float(ZERO))
@example(threshold=float(ZERO))
def test_numeric_splits_decide_as_lightgbm(write, hand_tree, decision_type, threshold):
    model_text = one_split(write, hand_tree, threshold, decision_type)
    values = values_around(threshold)
    expected = leaves(model_text, values)
    tree = parse(model_text).trees[0]
    np.testing.assert_array_equal(goes_left(tree, 0, values), expected)
    np.testing.assert_array_equal(nan_goes_left(tree), expected[np.isnan(values)][:1])
    if decision_type not in (4, 6):  # where zero is missing the threshold alone does not decide
        finite = ~np.isnan(values)
        np.testing.assert_array_equal(values[finite] <= float32_threshold(tree.threshold)[0], expected[finite])


@pytest.mark.parametrize("decision_type", [1, 3, 9, 11])
@settings(max_examples=100, deadline=None)
@given(categories=sets, values=st.lists(st.floats(width=32), max_size=20))
def test_categorical_splits_decide_as_lightgbm(write, hand_tree, decision_type, categories, values):
    model_text = one_split(write, hand_tree, categories, decision_type)
    # -1 is no category but -0.99 is category 0; 2^31 does not fit into LightGBM's int.
    odd = [-0.5, -1.0, -2.0, 1e9, 2.0**31, -(2.0**31), 2.0**32, 1e30, *(c + 0.5 for c in categories)]
    values = values_around(*range(110), *odd, *values)
    tree = parse(model_text).trees[0]
    assert set(tree.categories(0)) == categories
    np.testing.assert_array_equal(goes_left(tree, 0, values), leaves(model_text, values))
    assert not nan_goes_left(tree)[0]


def test_rounding_down_is_what_makes_a_threshold_safe():
    threshold = np.array([0.1])
    nearest = threshold.astype(np.float32)
    assert nearest > threshold  # x = float32(0.1) is above 0.1, and would be found below
    assert float32_threshold(threshold) == np.nextafter(nearest, np.float32(0))
