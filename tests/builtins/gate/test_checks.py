"""The words and the logic of single checks."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.builtins.gate.checks import budget, holds, number, verdict

NO_NUMBERS = [None, math.nan, math.inf, -math.inf, True, "1", [1.0]]


def test_only_true_is_passed_and_no_checks_are_no_verdict():
    assert verdict([{"passed": True}, {"passed": True}])
    for nothing in (False, None, 1, "true", math.nan):
        assert not verdict([{"passed": True}, {"passed": nothing}])
    assert not verdict([])


@given(st.floats(-10, 10), st.floats(-10, 10))
def test_a_floor_is_on_the_worse_side(value, floor):
    assert holds("roc_auc", value, floor) == (value >= floor)
    assert holds("log_loss", value, floor) == (value <= floor)
    assert holds("bias", value, floor) == (-floor <= value <= floor)


@pytest.mark.parametrize("nothing", NO_NUMBERS)
def test_what_is_no_number_holds_no_floor_and_no_budget(nothing):
    assert not holds("log_loss", nothing, 1e9)
    assert not holds("roc_auc", nothing, -1e9)
    assert budget("size", "The size", nothing, 1e9, " bytes")["passed"] is False
    assert number(nothing) == "none"


def test_a_budget_is_kept_up_to_the_limit():
    assert budget("size", "The size", 10, 10, " bytes")["passed"] is True
    over = budget("size", "The size", 1100, 1000, " bytes")
    assert over["passed"] is False
    assert over["message"] == "The size is 1,100 bytes; allowed is 1,000 bytes."
