"""Every step of format 2 against the reference implementation, over made documents."""

from __future__ import annotations

import datetime as dt
import math
from decimal import Decimal
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from compute import plan_reference as reference
from headrace import FeaturePlan
from headrace.compute.plan.document import PlanDocument, fingerprint
from headrace.errors import ModelFormatError

SCHEMA: dict[str, tuple[str, Any]] = {
    "f": ("float64", pl.Float64),
    "g": ("float32", pl.Float32),
    "i": ("int64", pl.Int64),
    "u": ("uint8", pl.UInt8),
    "m": ("decimal[12,3]", pl.Decimal(12, 3)),
    "b": ("boolean", pl.Boolean),
    "s": ("string", pl.String),
    "t": ("string", pl.String),
    "d": ("date", pl.Date),
    "n": ("datetime[us]", pl.Datetime("us")),
    "e": ("datetime[ms]", pl.Datetime("ms")),
    "z": ("datetime[ns, Europe/Berlin]", pl.Datetime("ns", "Europe/Berlin")),
    "y": ("datetime[us, UTC]", pl.Datetime("us", "UTC")),
    "c": ("time", pl.Time),
    "l": ("duration[ms]", pl.Duration("ms")),
}
TARGET = {"name": "label", "type": "boolean", "task": "binary", "classes": [False, True], "dictionary": False,
          "categories": None}  # fmt: skip

words = st.one_of(
    st.sampled_from(["", "a", "b", "A", "é", "e\u0301", "🦆", "a\\u", "x\x1fy", "\\", 'q"\n', "1", "1.0", "true",
                     "the quick brown fox", "Ça va, ça va?"]),
    st.text(max_size=4),
)  # fmt: skip
moments = st.datetimes(min_value=dt.datetime(1700, 1, 1), max_value=dt.datetime(2098, 1, 1))  # noqa: DTZ001
VALUES: dict[str, st.SearchStrategy] = {
    "f": st.floats() | st.sampled_from([1e39, -1e39, 16777217.0, 5e-324, -0.0, 1.0, 1e21, 1e-7]),
    "g": st.floats(width=32),
    "i": st.integers(-(2**63), 2**63 - 1) | st.integers(-3, 3),
    "u": st.integers(0, 255),
    "m": st.decimals(-999, 999, places=3, allow_nan=False).map(lambda value: value.quantize(Decimal("0.001"))),
    "b": st.booleans(),
    "s": words,
    "t": words,
    "d": st.dates(min_value=dt.date(1, 1, 1)),
    "n": moments,
    "e": moments.map(lambda when: when.replace(microsecond=when.microsecond // 1000 * 1000)),
    "z": moments.map(lambda when: when.replace(tzinfo=dt.UTC)),
    "y": moments.map(lambda when: when.replace(tzinfo=dt.UTC)),
    "c": st.times(),
    "l": st.integers(-(2**40), 2**40).map(lambda count: dt.timedelta(milliseconds=count)),
}
rows = st.lists(
    st.fixed_dictionaries({name: st.none() | values for name, values in VALUES.items()}), min_size=1, max_size=12
)
# A constant of minus zero is zero, because canonical JSON has one zero; `test_plan_execution` looks at it.
finite = st.floats(allow_nan=False, allow_infinity=False, width=32).map(lambda value: value + 0.0) | st.integers(-5, 5)
imputes = st.none() | finite
scalings = st.none() | st.fixed_dictionaries(
    {"center": finite, "scale": st.floats(1e-3, 1e6, allow_nan=False) | st.just(2)}
)
keyed = st.sampled_from([name for name in SCHEMA if name != "l"])
crosses = st.lists(keyed, min_size=1, max_size=3, unique=True)
numeric = st.sampled_from(["f", "g", "i", "u", "m"])


def pairs_of_times() -> st.SearchStrategy[list[str]]:
    naive, zoned = st.sampled_from(["d", "n", "e"]), st.sampled_from(["z", "y"])
    return st.one_of(st.tuples(naive, naive), st.tuples(zoned, zoned), st.just(("c", "c"))).map(list)


def parts() -> st.SearchStrategy[dict[str, Any]]:
    calendar = ["year", "quarter", "month", "week", "day", "day_of_year", "day_of_week", "days"]
    clock = ["hour", "minute", "second"]
    return st.one_of(
        st.fixed_dictionaries({"input": st.just("d"), "part": st.sampled_from(calendar), "time_zone": st.none()}),
        st.fixed_dictionaries({"input": st.just("c"), "part": st.sampled_from(clock), "time_zone": st.none()}),
        st.fixed_dictionaries(
            {"input": st.sampled_from("ne"), "part": st.sampled_from(calendar + clock), "time_zone": st.none()}
        ),
        st.fixed_dictionaries(
            {
                "input": st.sampled_from("zy"),
                "part": st.sampled_from(calendar + clock),
                "time_zone": st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kathmandu"]),
            }
        ),
    )


@st.composite
def plans(draw: st.DrawFn, data: list[dict[str, Any]]) -> dict[str, Any]:
    """A document with a step of each kind, whose tables hold some keys of the data."""

    def texts(names: list[str]) -> list[str]:
        frame = to_frame(data)
        raw = {name: reference.physical(frame[name], SCHEMA[name][0]) for name in names}
        keys = {reference.key_of([(raw[n][i], SCHEMA[n][0]) for n in names]) for i in range(len(data))} - {None}
        return sorted({*draw(st.lists(st.sampled_from([*sorted(keys), "never"]), unique=True)), "other"})

    def distinct(strategy: st.SearchStrategy) -> Any:
        return draw(strategy)

    steps: list[dict[str, Any]] = []
    for name in ("f", "g", "i", "u", "m"):
        low, high = sorted([draw(finite), draw(finite)])
        clip = draw(st.sampled_from([None, [low, high], [None, high], [low, None]]))
        steps.append({"op": "number", "input": name, "output": name, "impute": draw(imputes), "clip": clip,
                      "indicator": draw(st.sampled_from([None, f"{name}.missing"])), "log": draw(st.booleans()),
                      "scaling": draw(scalings)})  # fmt: skip
    steps.append({"op": "boolean", "input": "b", "output": "b", "impute": draw(imputes)})
    edges = sorted(set(draw(st.lists(finite, max_size=4))))
    steps.append({"op": "bins", "input": distinct(numeric), "output": "bins", "edges": edges, "impute": draw(imputes),
                  "scaling": draw(scalings)})  # fmt: skip
    names = draw(crosses)
    vocabulary = texts(names)
    steps.append({"op": "category", "inputs": names, "output": "category", "vocabulary": vocabulary,
                  "missing": len(vocabulary), "unseen": len(vocabulary) + 1})  # fmt: skip
    names = draw(crosses)
    steps.append({"op": "one_hot", "inputs": names, "output": "hot", "vocabulary": texts(names)})
    names = draw(crosses)
    counts = [[text, draw(st.integers(1, 9))] for text in texts(names)]
    steps.append({"op": "frequency", "inputs": names, "output": "share", "counts": counts, "rows": 9,
                  "impute": draw(imputes), "scaling": draw(scalings)})  # fmt: skip
    names = draw(crosses)
    encodings = [[text, [draw(finite), draw(finite)]] for text in texts(names)]
    scaled = draw(st.none() | st.lists(scalings.filter(bool), min_size=2, max_size=2))
    steps.append({"op": "target", "inputs": names, "outputs": ["mean.a", "mean.b"], "encodings": encodings,
                  "missing": [draw(finite), 0.5], "unseen": [0.25, draw(finite)], "scaling": scaled})  # fmt: skip
    prefix = draw(words)
    steps.append({"op": "bucket", "inputs": draw(crosses), "output": "bucket", "prefix": prefix,
                  "buckets": draw(st.integers(1, 2**24))})  # fmt: skip
    steps.append({"op": "hash", "inputs": draw(crosses), "output": "hash", "prefix": prefix,
                  "size": draw(st.integers(1, 9)), "signed": draw(st.booleans())})  # fmt: skip
    least, greatest = sorted([draw(st.integers(1, 3)), draw(st.integers(1, 3))])
    steps.append({"op": "text", "input": draw(st.sampled_from("st")), "output": "words",
                  "size": draw(st.integers(1, 9)), "analyzer": draw(st.sampled_from(["word", "char", "char_wb"])),
                  "ngrams": [least, greatest], "lowercase": draw(st.booleans()),
                  "strip_accents": draw(st.sampled_from([None, "ascii", "unicode"])),
                  "stop_words": draw(st.sampled_from([[], ["the", "va"], ["quick", "ça"]])),
                  "signed": draw(st.booleans()), "norm": draw(st.sampled_from([None, "l1", "l2"])),
                  "binary": draw(st.booleans())})  # fmt: skip
    steps.append({"op": "time_part", "output": "part", **draw(parts()), "impute": draw(imputes),
                  "scaling": draw(scalings)})  # fmt: skip
    steps.append({"op": "time_cycle", "input": "n", "output": "wave", "part": "month", "time_zone": None, "wave": "sin",
                  "first": 1, "table": [float(np.float32(math.sin(i))) for i in range(12)],
                  "impute": draw(imputes)})  # fmt: skip
    steps.append({"op": "seconds", "input": "l", "output": "l", "impute": draw(imputes), "scaling": draw(scalings)})
    steps.append({"op": "difference", "inputs": draw(pairs_of_times()), "output": "between", "impute": draw(imputes),
                  "scaling": draw(scalings)})  # fmt: skip
    return document(steps)


def document(steps: list[dict[str, Any]]) -> dict[str, Any]:
    inputs = [{"name": name, "type": type_, "nullable": True} for name, (type_, _) in SCHEMA.items()]
    made = {"format": 2, "inputs": inputs, "transforms": [], "steps": steps, "target": TARGET, "choices": [],
            "config": {}}  # fmt: skip
    return {**made, "fingerprint": fingerprint(PlanDocument.model_validate_json(_json(made)).as_json())}


def _json(made: dict[str, Any]) -> str:
    import json

    return json.dumps({**made, "fingerprint": ""})


def to_frame(data: list[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame({n: pl.Series([row[n] for row in data], dtype=dtype) for n, (_, dtype) in SCHEMA.items()})


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], deadline=None)
@given(st.data())
def test_each_step_gives_the_bits_of_the_reference(data):
    made = data.draw(rows)
    plan = FeaturePlan.from_document(data.draw(plans(made)))
    frame = to_frame(made)
    names, expected = reference.run(plan.document, frame)
    assert plan.outputs == tuple(names)
    found = plan.matrix(frame)
    for index, name in enumerate(names):
        assert found[:, index].view(np.uint32).tolist() == expected[:, index].view(np.uint32).tolist(), name


@settings(max_examples=300)
@given(st.floats(0, allow_nan=False, allow_infinity=False))
def test_the_logarithm_of_the_reference_is_one(x):
    assert reference.log1p(x) == pytest.approx(math.log1p(x), rel=3e-16)


def test_categories_are_codes_and_buckets():
    bucket = {"op": "bucket", "inputs": ["s", "d"], "output": "k", "prefix": "", "buckets": 8}
    category = {"op": "category", "inputs": ["u"], "output": "u", "vocabulary": ["1"], "missing": 1, "unseen": 2}
    boolean = {"op": "boolean", "input": "b", "output": "b", "impute": None}
    plan = FeaturePlan.from_document(document([bucket, category, boolean]))
    assert plan.categorical == ("k", "u")
    assert plan.sources == {"k": ("s", "d"), "u": ("u",), "b": ("b",)}
    assert plan.provenance("k") == bucket


@pytest.mark.parametrize(
    ("step", "words_"),
    [
        ({"op": "bins", "input": "f", "output": "x", "edges": [1.0, 1.0]}, "ascend"),
        ({"op": "number", "input": "f", "output": "x", "scaling": {"center": 0, "scale": 0}}, "scale"),
        ({"op": "bucket", "inputs": ["s"], "output": "x", "prefix": "", "buckets": 0}, "buckets"),
        ({"op": "bucket", "inputs": ["s"], "output": "x", "prefix": "", "buckets": 2**24 + 1}, "buckets"),
        ({"op": "hash", "inputs": ["s"], "output": "x", "prefix": "", "size": 0, "signed": True}, "size"),
        ({"op": "category", "inputs": [], "output": "x", "vocabulary": [], "missing": 0, "unseen": 1}, "inputs"),
        ({"op": "target", "inputs": ["s"], "outputs": ["x"], "encodings": [["a", [1.0, 2.0]]], "missing": [0.0],
          "unseen": [0.0]}, "one number an output"),
        ({"op": "target", "inputs": ["s"], "outputs": ["x"], "encodings": [["a", [1.0]], ["a", [2.0]]],
          "missing": [0.0], "unseen": [0.0]}, "twice"),
        ({"op": "frequency", "inputs": ["s"], "output": "x", "counts": [["a", 1], ["a", 1]], "rows": 2}, "twice"),
        ({"op": "number", "input": "f", "output": "x", "indicator": "x"}, "'x' is there twice"),
    ],
)  # fmt: skip
def test_a_step_that_contradicts_itself_is_refused(step, words_):
    made = {"format": 2, "inputs": [{"name": name, "type": SCHEMA[name][0], "nullable": True} for name in "fs"],
            "transforms": [], "steps": [step], "target": TARGET, "fingerprint": "0" * 64}  # fmt: skip
    with pytest.raises(ModelFormatError, match="not a valid feature plan") as caught:
        FeaturePlan.from_document(made)
    assert words_ in str(caught.value)
