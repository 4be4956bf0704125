"""Target encoding against scikit-learn's, and that it does not leak."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import PredefinedSplit
from sklearn.preprocessing import TargetEncoder

from compute import plan_reference as reference
from headrace import FeaturePlan
from headrace.compute.plan.encoding import Labels, fold_of_rows

quick = settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow], deadline=None)
smooths = st.sampled_from(["auto", 0.0, 1.0, 20.5])
KINDS = {"binary": "binary", "multiclass": "multiclass", "regression": "continuous"}


@st.composite
def frames(draw: st.DrawFn) -> tuple[pl.DataFrame, str]:
    task = draw(st.sampled_from(sorted(KINDS)))
    n = draw(st.integers(6, 40))
    keys = draw(st.lists(st.sampled_from(["a", "b", "c", "d", None]), min_size=n, max_size=n))
    some = {"binary": [False, True], "multiclass": ["p", "q", "r"]}
    labels = st.sampled_from(some[task]) if task in some else st.floats(-100, 100, width=16)
    y = draw(st.lists(labels, min_size=n, max_size=n))
    y[:3] = [some[task][i % len(some[task])] for i in range(3)] if task in some else [0.0, 1.5, 2.5]
    return pl.DataFrame({"s": pl.Series(keys, dtype=pl.String), "y": y}), task


def config(smooth: Any = "auto", **more: Any) -> dict[str, Any]:
    return {"columns": {"s": {"treat_as": "target", "smooth": smooth}}, **more}


def peer(frame: pl.DataFrame, task: str, smooth: Any, **more: Any) -> tuple[TargetEncoder, np.ndarray, np.ndarray]:
    encoder = TargetEncoder(smooth=smooth, target_type=KINDS[task], categories="auto", **more)
    return encoder, np.array(frame["s"].to_list(), dtype=object).reshape(-1, 1), frame["y"].to_numpy()


def near(found: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(found, expected, rtol=3e-7, atol=1e-6)


@quick
@given(frames(), smooths)
def test_the_encoding_is_that_of_scikit_learn(case, smooth):
    frame, task = case
    plan = FeaturePlan.fit(frame, target="y", task=task, config=config(smooth))
    names, expected = reference.run(plan.document, frame)
    assert np.array_equal(plan.matrix(frame).view(np.uint32), expected.view(np.uint32))
    assert list(plan.outputs) == names
    assert names == (["s.target"] if task != "multiclass" else [f"s.target.{label}" for label in plan.classes])
    encoder, keys, y = peer(frame, task, smooth)
    near(plan.matrix(frame), encoder.fit(keys, y).transform(keys))
    other = pl.DataFrame({"s": ["never"]})
    near(plan.matrix(other), encoder.transform(np.array([["never"]], dtype=object)))


@quick
@given(frames(), smooths, st.integers(0, 3))
def test_training_rows_have_what_scikit_learn_gives_with_the_same_folds(case, smooth, seed):
    frame, task = case
    plan, found = FeaturePlan.fit_transform(frame, target="y", task=task, config=config(smooth, folds=3), seed=seed)
    folds = fold_of_rows(Labels.of(plan.encode_target(frame), plan._plan.target), 3, seed)
    encoder, keys, y = peer(frame, task, smooth, cv=PredefinedSplit(folds))
    near(found.to_numpy(), encoder.fit_transform(keys, y))
    assert plan == FeaturePlan.fit(frame, target="y", task=task, config=config(smooth, folds=3))
    again = FeaturePlan.fit_transform(frame, target="y", task=task, config=config(smooth, folds=3), seed=seed)
    assert again[1].equals(found)


def test_folds_hold_each_class_evenly_and_depend_on_the_seed():
    values = np.array([0.0] * 50 + [1.0] * 10)
    folds = fold_of_rows(Labels(values, "binary", 2), 5, seed=3)
    for fold in range(5):
        assert (values[folds == fold] == 1).sum() == 2
        assert (values[folds == fold] == 0).sum() == 10
    assert not np.array_equal(folds, fold_of_rows(Labels(values, "binary", 2), 5, seed=4))


def test_noise_of_many_values_does_not_leak():
    rng = np.random.default_rng(0)
    frame = pl.DataFrame({"s": rng.integers(0, 900, 2000).astype(str), "y": rng.random(2000) < 0.5})
    plan, crossed = FeaturePlan.fit_transform(frame, target="y", task="binary", config=config(), seed=1)
    naive = roc_auc_score(frame["y"], plan.matrix(frame)[:, 0])
    honest = roc_auc_score(frame["y"], crossed["s.target"])
    assert naive > 0.75  # each row finds its own target in the mean of its value
    assert honest == pytest.approx(0.5, abs=0.04)


def test_other_features_are_those_of_transform():
    rng = np.random.default_rng(0)
    frame = pl.DataFrame(
        {"s": rng.choice(list("abc"), 200), "x": rng.normal(size=200), "c": rng.choice(list("uv"), 200)}
    ).with_columns(y=rng.random(200) < 0.4)
    plan, made = FeaturePlan.fit_transform(
        frame, target="y", task="binary", config=config() | {"crosses": [{"columns": ["s", "c"], "treat_as": "target"}]}
    )
    plain = plan.transform(frame)
    assert made.columns == plain.columns == ["s.target", "x", "c", "s:c.target"]
    assert made.select("x", "c").equals(plain.select("x", "c"))
    for name in ("s.target", "s:c.target"):
        assert not made[name].equals(plain[name])
        assert made[name].dtype == pl.Float32


def test_scaled_encodings_are_scaled_alike_in_training_and_serving():
    rng = np.random.default_rng(0)
    frame = pl.DataFrame({"s": rng.choice(list("abcdef"), 600), "y": rng.normal(size=600)})
    plan, made = FeaturePlan.fit_transform(
        frame, target="y", task="regression", config=config() | {"model_kind": "linear", "folds": 2}
    )
    scaling = plan.document["steps"][0]["scaling"][0]
    raw = FeaturePlan.fit_transform(frame, target="y", task="regression", config=config() | {"folds": 2})[1]
    near(made["s.target"].to_numpy(), (raw["s.target"].to_numpy() - scaling["center"]) / scaling["scale"])


def test_rare_values_share_the_mean_in_training_too():
    frame = pl.DataFrame({"s": ["a"] * 20 + ["b"] * 20 + ["r1", "r2"], "y": [True, False] * 21})
    columns = {"s": {"treat_as": "target", "min_category_count": 2}}
    plan, made = FeaturePlan.fit_transform(frame, target="y", task="binary", config={"columns": columns, "folds": 2})
    assert "2 rare values count as unseen" in plan.choices[0]["reason"]
    assert plan.matrix(frame)[-1, 0] == 0.5
    assert abs(made["s.target"][-1] - 0.5) < 0.03
