"""What fitting learns, against scikit-learn."""

# ruff: noqa: DTZ001  # datetimes without a zone are among what is tested

from __future__ import annotations

import datetime as dt
import warnings
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS, HashingVectorizer
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, KBinsDiscretizer, OneHotEncoder, RobustScaler, StandardScaler

from compute import plan_reference as reference
from headrace import FeaturePlan
from headrace.errors import ConfigError

numbers = st.floats(-1e6, 1e6, width=32) | st.integers(-4, 4).map(float)
columns = st.lists(st.none() | numbers, min_size=2, max_size=40).filter(lambda c: any(v is not None for v in c))
quick = settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow], deadline=None)


def framed(values: list[Any], name: str = "x", dtype: Any = pl.Float64) -> pl.DataFrame:
    y = [i % 2 == 0 for i in range(len(values))]
    return pl.DataFrame({name: pl.Series(values, dtype=dtype), "y": y})


def fitted(frame: pl.DataFrame, task: str = "binary", **config: Any) -> FeaturePlan:
    plan = FeaturePlan.fit(frame, target="y", task=task, config=config)
    names, expected = reference.run(plan.document, frame)
    assert plan.outputs == tuple(names)
    assert np.array_equal(plan.matrix(frame).view(np.uint32), expected.view(np.uint32))
    return plan


def peer(pipeline: Any, values: list[Any]) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about bins that fall together
        return np.asarray(pipeline.fit_transform(np.array(values, dtype=np.float64).reshape(-1, 1)))


def near(found: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(found, expected, rtol=2e-6, atol=2e-6)


@quick
@given(columns, st.sampled_from(["median", "mean", "most_frequent"]), st.sampled_from(["standard", "robust", "none"]))
def test_numbers_are_imputed_and_scaled_like_a_pipeline_of_scikit_learn(values, impute, scale):
    scaler = {"standard": StandardScaler(), "robust": RobustScaler(), "none": None}[scale]
    expected = peer(make_pipeline(SimpleImputer(strategy=impute), scaler or FunctionTransformer()), values)
    own = {"treat_as": "number", "impute": impute, "scale": scale, "indicator": True}
    found = fitted(framed(values), columns={"x": own}).matrix(framed(values))
    near(found[:, 0], expected[:, 0])
    indicator = peer(MissingIndicator(features="all"), values)
    assert np.array_equal(found[:, 1], indicator[:, 0].astype(np.float32))


@quick
@given(columns, st.sampled_from(["standard", "robust"]))
def test_missing_numbers_do_not_count_in_scaling(values, scale):
    scaler = StandardScaler() if scale == "standard" else RobustScaler()
    found = fitted(framed(values), columns={"x": {"treat_as": "number", "scale": scale}}).matrix(framed(values))
    near(found[:, 0], peer(scaler, values)[:, 0])


def test_huge_and_infinite_numbers_have_a_scale():
    values = [1e300, -1e300, 3e300, float("inf"), 1.7e308, -1.7e308]
    plan = fitted(framed(values), columns={"x": {"treat_as": "number", "scale": "standard"}})
    scaling = plan.document["steps"][0]["scaling"]
    finite = np.array([v / 1e300 for v in values if v != float("inf")])
    assert scaling["center"] == pytest.approx(finite.mean() * 1e300, rel=1e-6)
    assert scaling["scale"] / 1e300 == pytest.approx(finite.std(), rel=1e-6)
    assert (
        fitted(framed([0.1] * 7), columns={"x": {"treat_as": "number", "scale": "standard"}}).document["steps"][0][
            "scaling"
        ]["scale"]
        == 1
    )


@quick
@given(st.lists(numbers, min_size=2, max_size=60), st.integers(2, 8))
def test_bins_are_those_of_scikit_learn(values, bins):
    values = [round(value, 3) for value in values]  # it takes edges closer than 1e-8 for one
    if len(set(values)) == 1:
        return
    discretizer = KBinsDiscretizer(bins, encode="ordinal", strategy="quantile", subsample=None)
    expected = peer(discretizer, values)
    found = fitted(framed(values), columns={"x": {"treat_as": "bins", "bins": bins}}).matrix(framed(values))
    assert found[:, 0].tolist() == expected[:, 0].tolist()


def test_bins_may_be_given():
    frame = framed([-1.0, 0.0, 5.0, 10.0, None])
    plan = fitted(frame, columns={"x": {"treat_as": "bins", "bins": [0, 10]}})
    assert plan.matrix(frame)[:4, 0].tolist() == [0, 1, 1, 2]
    assert plan.outputs == ("x.bins",)


def test_clip_and_logarithm():
    values = [float(v) for v in range(101)]
    by_share = fitted(framed(values), columns={"x": {"treat_as": "number", "clip_quantiles": [0.05, 0.9]}})
    assert by_share.document["steps"][0]["clip"] == [5.0, 90.0]
    assert "clipped to 5 .. 90" in by_share.choices[0]["reason"]
    one_end = fitted(framed([-5.0, 2.0, 7.0]), columns={"x": {"clip": [0, float("inf")], "log": True}})
    assert one_end.document["steps"][0]["clip"] == [0.0, None]
    near(one_end.matrix(framed([-5.0, 2.0, 7.0]))[:, 0], np.log1p([0, 2, 7]))
    assert FeaturePlan.from_document(one_end.document) == one_end


texts = st.lists(st.none() | st.sampled_from(["a", "b", "c", "é", ""]), min_size=2, max_size=30)


@quick
@given(texts)
def test_one_hot_is_that_of_scikit_learn(values):
    known = sorted({value for value in values if value is not None})
    if not known:
        return
    frame = framed(values, dtype=pl.String)
    plan = fitted(frame, columns={"x": {"treat_as": "one_hot"}})
    encoder = OneHotEncoder(categories=[known], handle_unknown="ignore", sparse_output=False)
    expected = encoder.fit_transform([[value] for value in values])
    found = plan.transform(frame)
    for index, text in enumerate(known):
        assert found[f"x={text}"].to_list() == expected[:, index].tolist()


@quick
@given(st.lists(st.tuples(st.sampled_from(["a", "b\x1f", "b", "\\"]), st.none() | st.integers(0, 3)), min_size=4,
                max_size=30), st.randoms(use_true_random=False))  # fmt: skip
def test_nothing_depends_on_the_order_of_the_rows(rows, random):
    frame = pl.DataFrame(rows, schema={"s": pl.String, "i": pl.Int64}, orient="row").with_columns(
        x=pl.Series([0.1 * index**3 for index in range(len(rows))]), y=pl.Series(range(len(rows))).cast(pl.Float64) / 7
    )
    kinds = ["category", "one_hot", "frequency", "target", "bucket", "hash"]
    config = {
        "model_kind": "linear",
        "columns": {"s": {"treat_as": "target"}, "i": {"treat_as": "category"}, "x": {"scale": "standard"}},
        "crosses": [{"columns": ["s", "i"], "treat_as": kind, "name": kind} for kind in kinds],
    }
    order = list(range(frame.height))
    random.shuffle(order)
    assert fitted(frame[order], "regression", **config) == fitted(frame, "regression", **config)


# --- selectors --------------------------------------------------------------------------------------------------------


def test_the_most_specific_selector_decides_each_key():
    frame = pl.DataFrame({"a_id": [1, 2, 3, 4], "b_id": [4, 5, 6, 9], "c": [1, 5, 2, 2], "y": [True, False] * 2})
    plan = fitted(
        frame,
        columns={
            "type:number": {"scale": "standard", "impute": "mean"},
            "type:integer": {"impute": 0},
            "regex:.*_id": {"scale": "none", "log": True},
            "b_id": {"log": False, "indicator": True},
        },
    )
    a, b, c = plan.document["steps"]
    assert (a["scaling"], a["log"], a["impute"], a["indicator"]) == (None, True, 0, None)
    assert (b["scaling"], b["log"], b["impute"], b["indicator"]) == (None, False, 0, "b_id.missing")
    assert c["scaling"]["center"] == 2.5
    again = FeaturePlan.fit(frame, target="y", task="binary", config=plan.document["config"])
    assert again == plan


def test_a_pattern_does_not_keep_what_teaches_nothing():
    frame = pl.DataFrame({"same": ["x"] * 40, "free": [f"{i} words {i}" for i in range(40)], "y": [True, False] * 20})
    config = {"columns": {"type:string": {"treat_as": "hash", "size": 4}}}
    choices = {c["column"]: c["decision"] for c in fitted(frame, **config).choices}
    assert choices == {"same": "dropped", "free": "hash", "y": "excluded"}
    config["columns"]["same"] = {"treat_as": "bucket"}
    assert "same.bucket" in fitted(frame, **config).outputs


# --- several columns --------------------------------------------------------------------------------------------------


def test_crosses_and_differences():
    days = [dt.date(2024, 1, d) for d in (1, 2, 3, 4)]
    frame = pl.DataFrame(
        {
            "from": ["a", "b", "a", None],
            "to": ["c", "c", "d", "c"],
            "left": [dt.datetime.combine(day, dt.time(1)) for day in days],
            "day": days,
            "y": [True, False, True, False],
        }
    )
    drop = {name: {"treat_as": "drop"} for name in ("from", "to", "left", "day")}
    plan = fitted(
        frame,
        columns=drop,
        crosses=[{"columns": ["from", "to"]}, {"columns": ["to", "day"], "treat_as": "one_hot", "name": "k"}],
        differences=[{"later": "left", "earlier": "day", "name": "late"}],
    )
    assert plan.inputs.keys() == {"from", "to", "day"}
    assert plan.outputs[0] == "from:to"
    assert plan.categorical == ("from:to",)
    assert plan.sources["from:to"] == ("from", "to")
    decisions = {c["column"]: c["decision"] for c in plan.choices}
    assert decisions["from:to"] == "category"
    assert decisions["late"] == "dropped"  # an hour, always
    dated = frame.with_columns(left=pl.Series([dt.datetime(2024, 1, 5, h) for h in range(4)]))
    plan = fitted(dated, columns=drop, differences=[{"later": "left", "earlier": "day"}])
    assert plan.transform(dated)["left-day"].to_list() == [(4 - i) * 86_400 + 3600 * i for i in range(4)]
    assert plan.provenance("left-day")["inputs"] == ["left", "day"]


# --- the model at hand ------------------------------------------------------------------------------------------------


def test_auto_for_a_linear_model():
    n = 60
    frame = pl.DataFrame(
        {
            "amount": [None if i % 6 == 0 else float(i) for i in range(n)],
            "noise": [None if i % 7 == 0 else float(i * i) for i in range(n)],
            "flag": [None if i % 9 == 0 else i % 3 == 0 for i in range(n)],
            "colour": [None if i % 8 == 0 else "rgb"[i % 3] for i in range(n)],
            "many": [f"w{i % 20}" for i in range(n)],
            "at": [None if i == 5 else dt.datetime(2024, 1 + i % 12, 1, i % 24) for i in range(n)],
            "took": [dt.timedelta(seconds=i) for i in range(n)],
            "y": [i % 2 == 0 for i in range(n)],
        }
    )
    plan = fitted(frame, model_kind="linear", max_categories=10)
    assert plan.model_kind == "linear"
    assert plan.categorical == ()
    assert [o for o in plan.outputs if not o.startswith(("at.", "colour="))] == [
        "amount", "amount.missing", "noise", "flag", "many.target", "took",
    ]  # fmt: skip
    assert {"colour=r", "colour=g", "colour=b"} <= set(plan.outputs)
    assert {"at.month", "at.month.sin", "at.hour.cos"} <= set(plan.outputs)
    nothing = pl.DataFrame({name: [None] for name in plan.inputs})
    assert np.isfinite(plan.matrix(nothing)).all()
    quantities = plan.transform(frame).select("amount", "noise", "many.target", "took", "at.month")
    for series in quantities.get_columns():
        assert abs(series.mean()) < 0.05 + (series.name == "at.month")
    trees = fitted(frame, max_categories=10)
    assert trees.model_kind == "trees"
    assert trees.categorical == ("colour",)
    assert "many.target" in trees.outputs
    assert all(step.get("scaling") is None for step in trees.document["steps"])


sentences = st.lists(
    st.sampled_from(["the", "The", "not", "fox", "über", "a", "whereafter", "isn't", "cannot", "THEM", "lazy"]),
    max_size=8,
).map(" ".join)


@quick
@given(
    st.lists(st.none() | sentences, min_size=2, max_size=8).filter(any),
    st.sampled_from(["english", [], ["fox", "the", "fox"]]),
    st.sampled_from([(1, 1), (1, 2), (2, 2)]),
    st.booleans(),
)
def test_text_without_stop_words_is_that_of_scikit_learn(values, stop_words, ngrams, lowercase):
    text = {"treat_as": "text", "size": 64, "stop_words": stop_words, "ngrams": ngrams, "lowercase": lowercase}
    frame = framed(values, dtype=pl.String)
    plan = fitted(frame, columns={"x": {**text, "signed": True}})
    theirs = HashingVectorizer(
        n_features=64, stop_words=stop_words or None, ngram_range=ngrams, lowercase=lowercase, dtype=np.float64
    )
    expected = theirs.transform([value or "" for value in values]).toarray().astype(np.float32)
    assert np.array_equal(plan.matrix(frame), expected)


def test_english_stop_words_are_written_into_the_plan():
    frame = framed(["the fox", "a hen"], dtype=pl.String)
    config = {"columns": {"x": {"treat_as": "text", "stop_words": "english"}}}
    document = FeaturePlan.fit(frame, target="y", task="binary", config=config).document
    assert document["steps"][0]["stop_words"] == sorted(ENGLISH_STOP_WORDS)
    assert document["format"] == 2
    with pytest.raises(ConfigError, match="stop_words"):
        FeaturePlan.fit(frame, target="y", task="binary", config={"columns": {"x": {"stop_words": "klingon"}}})
