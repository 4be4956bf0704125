"""Cache keys: different things never share an encoding, equal things always do."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.pipeline.keys import Fingerprint, canonical, differences, digest

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


def tagged(value: object) -> str:
    """The oracle: a rendering in which types show and mappings are ordered."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(k)}:{tagged(v)}" for k, v in sorted(value.items())) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(tagged, value)) + "]"
    if isinstance(value, float):
        return f"float:{value.hex()}"
    return f"{type(value).__name__}:{value!r}"


@given(json_values, json_values)
def test_encodings_are_equal_exactly_when_values_are(a: object, b: object) -> None:
    assert (canonical(a) == canonical(b)) == (tagged(a) == tagged(b))


@given(st.lists(st.text(), min_size=2, max_size=2))
def test_fields_do_not_run_together(parts: list[str]) -> None:
    joined = ["".join(parts), ""]
    assert (canonical(parts) == canonical(joined)) == (parts == joined)


@pytest.mark.parametrize(
    ("a", "b"),
    [(1, "1"), (1, 1.0), (1, True), (0, False), (0, None), (0.0, -0.0), ([], {}), (["ab", "c"], ["a", "bc"])],
)
def test_known_confusions_differ(a: object, b: object) -> None:
    assert canonical(a) != canonical(b)


def test_mapping_order_does_not_count() -> None:
    assert digest("d", {"a": 1, "b": [1, 2]}) == digest("d", {"b": [1, 2], "a": 1})


def test_domains_are_separate() -> None:
    assert digest("one", 1) != digest("other", 1)


def test_what_is_not_json_is_refused() -> None:
    with pytest.raises(TypeError, match="set has no canonical encoding"):
        canonical({"a": {1, 2}})
    with pytest.raises(TypeError):
        canonical(b"bytes")


def test_nan_has_one_encoding() -> None:
    assert canonical(math.nan) == canonical(float("nan"))


def test_the_encoding_is_frozen() -> None:
    """A store outlives a process: this value may change only together with `SCHEMA`."""
    assert digest("headrace/test", {"b": [1, "1", 1.5, None, True], "a": {"é": "\n"}}) == (
        "c986947e2d59af23fe04f96b16d4145d551d6ddbf618bfe2cb2f2e516373f9ac"
    )


BASE = Fingerprint(
    kind="train",
    use="lightgbm",
    distribution="headrace",
    version="1",
    config={"rate": 0.1, "leaves": 31},
    source={"pkg.mod": "aa"},
    lock={"python": "cpython-311", "lightgbm": "4.7"},
    seed=0,
)
INPUTS = [("train", "dataset", "d1"), ("valid", "dataset", "d2")]


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "tune"},
        {"use": "xgboost"},
        {"distribution": "other"},
        {"version": "2"},
        {"config": {"rate": 0.1, "leaves": 63}},
        {"source": {"pkg.mod": "ab"}},
        {"source": {"pkg.mod": "aa", "pkg.more": "cc"}},
        {"lock": {"python": "cpython-312", "lightgbm": "4.7"}},
        {"seed": 1},
        {"external": "token"},
    ],
)
def test_each_part_is_in_the_key(change: dict[str, object]) -> None:
    changed = Fingerprint(**(vars(BASE) | change))  # type: ignore[arg-type]
    assert changed.key(INPUTS) != BASE.key(INPUTS)
    assert differences(BASE.components(INPUTS), changed.components(INPUTS))


def test_inputs_are_in_the_key_by_name_type_content_and_order() -> None:
    keys = {
        BASE.key(INPUTS),
        BASE.key(INPUTS[::-1]),
        BASE.key(INPUTS[:1]),
        BASE.key([("train", "dataset", "d9"), INPUTS[1]]),
        BASE.key([("train", "model", "d1"), INPUTS[1]]),
    }
    assert len(keys) == 5


def test_differences_are_told_in_words() -> None:
    changed = Fingerprint(**(vars(BASE) | {"config": {"rate": 0.2, "leaves": 31}, "source": {"pkg.mod": "zz"}}))
    assert differences(BASE.components(INPUTS), changed.components([INPUTS[0], ("valid", "dataset", "d3")])) == [
        "config rate changed: 0.1 -> 0.2",
        "source of pkg.mod changed",
        "input 'valid' changed",
    ]
    assert differences(BASE.components(INPUTS), BASE.components(INPUTS)) == []
