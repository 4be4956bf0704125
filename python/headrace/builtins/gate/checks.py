"""The checks of a gate, each in plain words. A value that is missing or not a number never passes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from headrace import Evaluation, metrics

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SHOWN = 5


def check(name: str, passed: bool, *, found: Any, required: Any, message: str) -> dict[str, Any]:
    """One entry of `GateReport.checks`."""
    return {"name": name, "passed": bool(passed), "found": found, "required": required, "message": message}


def is_number(value: Any) -> bool:
    """Whether a value can be held against a limit: NaN, infinities, nulls, booleans and texts cannot."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def holds(name: str, value: Any, floor: float) -> bool:
    """Whether a metric is at least as good as a floor; for metrics where lower is better, the floor is a ceiling."""
    if not is_number(value):
        return False
    better = metrics.METRICS[name].better
    found = float(value)
    return found >= floor if better == "higher" else (abs(found) if better == "zero" else found) <= floor


def side(name: str) -> str:
    """The words between a metric and its floor."""
    return {"higher": "at least", "lower": "at most", "zero": "within"}[metrics.METRICS[name].better]


_ROUNDING = 1e-6
"""Relative to a value: differences below it are those of numbers with 24 bits."""


def against_baseline(evaluation: Evaluation, demand: str) -> dict[str, Any]:
    """Whether the model is better than the trivial predictor, surely (the whole interval) or on average."""
    name = evaluation.primary
    title = metrics.METRICS[name].title
    measured: Mapping[str, Any] = evaluation.baseline.get(name, {})
    ours, theirs = evaluation.metrics.get(name, {}), measured.get("value")
    found = measured.get("gain_low" if demand == "surely" else "gain")
    label = "beats the trivial predictor"
    if found is None or not is_number(found):
        why = ours.get("reason") or measured.get("reason") or "it has no value"
        message = f"{title} cannot be compared with the trivial predictor: {why}."
        return check(label, False, found=None, required="> 0", message=message)
    # A model that has learnt nothing says the same, give or take the rounding of its numbers: that is not better.
    passed = found > _ROUNDING * abs(float(theirs or 0.0))
    said = f"{title} is {number(ours.get('value'))}, against {number(theirs)} of the trivial predictor"
    if demand == "surely":
        told = (
            f"surely better, by at least {number(found)}" if passed else f"not surely better ({number(found)} at worst)"
        )
    else:
        told = f"better by {number(found)}" if passed else "not better"
    return check(label, passed, found=found, required="> 0", message=f"{said}: {told}.")


def floor(evaluation: Evaluation, name: str, required: float) -> dict[str, Any]:
    """A metric on all test rows against its floor."""
    measured = evaluation.metrics.get(name, {})
    value = measured.get("value")
    passed = holds(name, value, required)
    title = metrics.METRICS[name].title
    if value is None:
        message = f"{title} has no value: {measured.get('reason', 'it was not measured')}."
    else:
        message = f"{title} is {number(value)}; required is {side(name)} {number(required)}."
    return check(f"floor of {name}", passed, found=value, required=f"{side(name)} {number(required)}", message=message)


def slice_floor(evaluation: Evaluation, name: str, required: float) -> dict[str, Any]:
    """A metric on each slice against its floor."""
    title = metrics.METRICS[name].title
    wanted = f"{side(name)} {number(required)} in every slice"
    label = f"slice floor of {name}"
    if not evaluation.slices:
        message = f"No slices were measured, so {title} cannot be held to {number(required)} in each."
        return check(label, False, found=None, required=wanted, message=message)
    failing = []
    for part in evaluation.slices:
        measured: Mapping[str, Any] = part["metrics"].get(name, {})  # type: ignore[union-attr,assignment]
        value = measured.get("value")
        if not holds(name, value, required):
            text = f"{number(value)}" if value is not None else f"no value, {measured.get('reason', 'not measured')}"
            failing.append(f"{part['column']} = {part['value']} ({part['rows']} rows): {text}")
    if not failing:
        message = f"{title} is {side(name)} {number(required)} in all {len(evaluation.slices)} slices."
    else:
        more = f"; and {len(failing) - SHOWN} more" if len(failing) > SHOWN else ""
        few = "; ".join(failing[:SHOWN])
        count = f"{len(failing)} of {len(evaluation.slices)} slices"
        message = f"{title} should be {side(name)} {number(required)}, and is not in {count}: {few}{more}."
    return check(label, not failing, found=len(failing), required=wanted, message=message)


def budget(name: str, what: str, value: Any, limit: float, unit: str) -> dict[str, Any]:
    """A size, time or difference against its limit."""
    if not is_number(value):
        message = f"{what} is not known, so the limit of {number(limit)}{unit} cannot be kept."
        return check(name, False, found=None, required=f"<= {number(limit)}{unit}", message=message)
    message = f"{what} is {number(value)}{unit}; allowed is {number(limit)}{unit}."
    return check(name, value <= limit, found=value, required=f"<= {number(limit)}{unit}", message=message)


def verdict(checks: Sequence[Mapping[str, Any]]) -> bool:
    """Every check must have passed, and there must be one."""
    return bool(checks) and all(entry["passed"] is True for entry in checks)


def number(value: Any) -> str:
    """A number as a person reads it."""
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) and math.isfinite(value) else "none"
