"""scikit-learn's own tests of `FeatureHasher`, run against ours.

Each function of its test module runs with our class in place of theirs, but for those about its private parts.
"""

from __future__ import annotations

import inspect
import itertools

import pytest

import headrace

theirs = pytest.importorskip("sklearn.feature_extraction.tests.test_feature_hasher")

LEFT_OUT = {
    "test_hashing_transform_seed": "calls the private Cython function itself, and no FeatureHasher",
}
FUNCTIONS = {
    name: function for name, function in inspect.getmembers(theirs, inspect.isfunction) if name.startswith("test_")
}


def cases():
    for name, function in FUNCTIONS.items():
        marks = [mark for mark in getattr(function, "pytestmark", []) if mark.name == "parametrize"]
        tables = [[{mark.args[0]: value} for value in mark.args[1]] for mark in marks]
        for number, rows in enumerate(itertools.product(*tables)):
            arguments = {key: value for row in rows for key, value in row.items()}
            yield pytest.param(name, arguments, id=f"{name}-{number}")


@pytest.mark.parametrize(("name", "arguments"), list(cases()))
def test_of_sklearn(name, arguments, monkeypatch):
    if name in LEFT_OUT:
        pytest.skip(LEFT_OUT[name])
    monkeypatch.setattr(theirs, "FeatureHasher", headrace.FeatureHasher)
    FUNCTIONS[name](**arguments)


def test_the_functions_are_found():
    assert len(FUNCTIONS) >= 12
    assert set(LEFT_OUT) <= set(FUNCTIONS)
    assert "FeatureHasher" not in inspect.getsource(FUNCTIONS["test_hashing_transform_seed"])
