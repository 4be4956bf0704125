"""scikit-learn's own tests of `HashingVectorizer`, run against ours.

Each function of its test module that names the class, or takes a vectorizer as a parameter, runs with our class in the
module's place. Those about other vectorizers only are not taken; those left out are named with the reason.
"""

from __future__ import annotations

import inspect
import itertools

import pytest

import headrace

theirs = pytest.importorskip("sklearn.feature_extraction.tests.test_text")

# Nothing is left out today. A name here says: this test of scikit-learn's does not hold for ours, because ...
LEFT_OUT: dict[str, str] = {}
MAKES_ITS_OWN = {
    name
    for name, function in inspect.getmembers(theirs, inspect.isfunction)
    if name.startswith("test_") and "HashingVectorizer" in inspect.getsource(function)
}


theirs_class = theirs.HashingVectorizer


def ours(value):
    """A parameter of their test, with our class for theirs."""
    if value is theirs_class:
        return headrace.HashingVectorizer
    if isinstance(value, theirs_class):
        return headrace.HashingVectorizer(**value.get_params())
    return value


def single(row):
    return row[0] if isinstance(row, tuple) and len(row) == 1 else row


def cases():
    for name in sorted(MAKES_ITS_OWN):
        function = getattr(theirs, name)
        marks = [mark for mark in getattr(function, "pytestmark", []) if mark.name == "parametrize"]
        tables = []
        for mark in marks:
            names = mark.args[0]
            names = [each.strip() for each in names.split(",")] if isinstance(names, str) else list(names)
            values = [row.values if hasattr(row, "marks") else row for row in mark.args[1]]
            rows = [dict(zip(names, row, strict=True)) if len(names) > 1 else {names[0]: single(row)} for row in values]
            tables.append(rows)
        for number, combination in enumerate(itertools.product(*tables)):
            arguments = {key: value for row in combination for key, value in row.items()}
            takes = [value for value in arguments.values() if inspect.isclass(value) or hasattr(value, "get_params")]
            if takes and not any(ours(value) is not value for value in takes):
                continue  # of another vectorizer
            yield pytest.param(name, {key: ours(value) for key, value in arguments.items()}, id=f"{name}-{number}")


@pytest.mark.parametrize(("name", "arguments"), list(cases()))
def test_of_sklearn(name, arguments, monkeypatch, request):
    if name in LEFT_OUT:
        pytest.skip(LEFT_OUT[name])
    monkeypatch.setattr(theirs, "HashingVectorizer", headrace.HashingVectorizer)
    function = getattr(theirs, name)
    fixtures = {
        key: request.getfixturevalue(key) for key in inspect.signature(function).parameters if key not in arguments
    }
    function(**arguments, **fixtures)


def test_the_functions_are_found():
    assert len(MAKES_ITS_OWN) >= 10
    assert set(LEFT_OUT) <= MAKES_ITS_OWN
    assert "test_hashing_vectorizer" in MAKES_ITS_OWN
