from __future__ import annotations

import threading

import lightgbm
import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace import errors
from headrace.builtins.lightgbm import export as exporter
from headrace.builtins.lightgbm.adversary import adversarial_rows
from headrace.builtins.lightgbm.export import export
from headrace.builtins.lightgbm.graph import exact_leaves
from headrace.builtins.lightgbm.text import parse

EVERY_OBJECTIVE = [
    "binary", "multiclass", "multiclassova", "cross_entropy", "cross_entropy_lambda", "regression", "regression_l1",
    "huber", "fair", "quantile", "mape", "poisson", "gamma", "tweedie", "lambdarank", "rank_xendcg",
]  # fmt: skip
CLASSIFIERS = {"binary": 2, "multiclass": 3, "multiclassova": 3}
VARIANTS = {
    "plain": {},
    "no missing": {"use_missing": False},
    "zero missing": {"zero_as_missing": True},
    "forest": {"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.6},
    "dart": {"boosting": "dart"},
    "goss": {"data_sample_strategy": "goss"},
    "one-hot": {"max_cat_to_onehot": 100},
    "stumps": {"num_leaves": 2},
    "one tree": {"rounds": 1},
    "large": {"num_leaves": 80, "min_data_in_leaf": 1},
}


def session(onnx_bytes: bytes, threads: int = 1) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(onnx_bytes, options, providers=["CPUExecutionProvider"])


def run(onnx_bytes: bytes, rows: np.ndarray, threads: int = 1) -> list[np.ndarray]:
    return session(onnx_bytes, threads).run(None, {"features": rows})


def rows_for(model_text: str, table: np.ndarray) -> np.ndarray:
    return np.concatenate([table, adversarial_rows(parse(model_text), limit=6000).rows])


def assert_equals_lightgbm(model_text: str, rows: np.ndarray) -> None:
    """Outputs to float32's rounding, raw scores to double's. LightGBM is asked, not our reading of it."""
    output, raw = run(export(model_text, raw=True), rows)
    booster = lightgbm.Booster(model_str=model_text)
    expected = booster.predict(rows)
    if output.ndim == 2 and output.shape[1] == 2:
        expected = np.stack([1 - expected, expected], axis=1)
    with np.errstate(over="ignore"):
        np.testing.assert_allclose(output, expected.astype(np.float32), rtol=2e-7, atol=1e-12)
    expected_raw = booster.predict(rows, raw_score=True).reshape(raw.shape)
    np.testing.assert_allclose(raw, expected_raw, rtol=0, atol=exact_leaves(parse(model_text))[1])


@pytest.mark.parametrize("objective", EVERY_OBJECTIVE)
def test_every_objective_predicts_as_lightgbm(train, table, objective):
    model_text = train(objective)
    assert_equals_lightgbm(model_text, rows_for(model_text, table))


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("objective", ["binary", "multiclass", "regression"])
def test_every_way_to_train_predicts_as_lightgbm(train, table, objective, variant):
    model_text = train(objective, **VARIANTS[variant])
    assert_equals_lightgbm(model_text, rows_for(model_text, table))


@pytest.mark.parametrize(
    ("objective", "params"),
    [
        ("binary", {"sigmoid": 2.5}),
        ("multiclassova", {"sigmoid": 0.4}),
        ("multiclassova", {"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.6}),
        *((o, {"reg_sqrt": True}) for o in ("regression", "regression_l1", "huber", "fair", "quantile", "poisson")),
        ("tweedie", {"tweedie_variance_power": 1.2}),
        ("regression", {"learning_rate": 30.0}),
    ],
)  # fmt: skip
def test_parameters_of_objectives_count(train, table, objective, params):
    model_text = train(objective, **params)
    assert_equals_lightgbm(model_text, rows_for(model_text, table))


def test_many_categories_take_several_columns(train, table):
    random = np.random.default_rng(0)
    x = np.stack([random.integers(0, 800, 4000), random.integers(0, 30, 4000), random.normal(size=4000)], axis=1)
    y = random.normal(size=800)[x[:, 0].astype(int)] + random.normal(size=30)[x[:, 1].astype(int)] * x[:, 2]
    data = lightgbm.Dataset(x, y, categorical_feature=[0, 1])
    params = {"num_leaves": 31, "min_data_per_group": 2, "cat_smooth": 1, "verbose": -1, "num_threads": 2}
    model_text = lightgbm.train(params, data, 20).model_to_string()
    tables = [c for c in onnx.load_from_string(export(model_text)).graph.initializer if c.name.endswith("_table")]
    assert len(tables) == 2
    assert_equals_lightgbm(model_text, rows_for(model_text, x.astype(np.float32)))


def test_an_early_stopped_booster_is_exported_as_its_text_says(labelled):
    x, y = labelled[0][:, 2:], labelled[1]
    booster = lightgbm.train(
        {"verbose": -1, "num_threads": 2, "min_data_in_leaf": 5, "learning_rate": 0.5},
        lightgbm.Dataset(x[:300], y[:300]),
        50,
        valid_sets=[lightgbm.Dataset(x[300:], y[300:])],
        callbacks=[lightgbm.early_stopping(3, verbose=False)],
    )
    model_text = booster.model_to_string()
    assert 1 < booster.best_iteration < 47
    assert parse(model_text).num_iterations == booster.best_iteration
    assert_equals_lightgbm(model_text, rows_for(model_text, x))
    np.testing.assert_allclose(run(export(model_text), x)[0], booster.predict(x), rtol=1e-6)


@pytest.mark.parametrize("objective", ["regression", "binary sigmoid:1", "multiclass num_class:3"])
@pytest.mark.parametrize("trees", [0, 1, 2])
def test_trees_of_a_single_leaf_and_no_trees_at_all(write, hand_tree, objective, trees):
    # The exporter's format has no tree without a split, and a converter that forgets it loses the tree.
    outputs = 3 if "class" in objective else 1
    leaf = [hand_tree([], [], [], [], [], [0.25 * (k + 1)]) for k in range(trees * outputs)]
    model_text = write(leaf, objective=objective, features=2, outputs=outputs, classes=outputs)
    rows = np.array([[0, 1], [np.nan, np.inf], [-5, 2]], dtype=np.float32)
    assert_equals_lightgbm(model_text, rows)


def test_a_constant_target_and_a_missing_class(table):
    constant = lightgbm.train({"verbose": -1}, lightgbm.Dataset(table, np.full(len(table), 3.25)), 2).model_to_string()
    np.testing.assert_array_equal(run(export(constant), table)[0], np.full(len(table), np.float32(3.25)))
    params = {"objective": "multiclass", "num_class": 4, "verbose": -1, "num_threads": 2}
    labels = (table[:, 2] > 0).astype(int)
    without = lightgbm.train(params, lightgbm.Dataset(table, labels), 3).model_to_string()
    assert_equals_lightgbm(without, rows_for(without, table))


def test_a_loss_of_ones_own_gives_the_raw_score(table):
    data = lightgbm.Dataset(table, np.arange(len(table), dtype=float))
    own = lightgbm.train({"objective": lambda p, d: (p - d.get_label(), np.ones_like(p)), "verbose": -1}, data, 3)
    assert_equals_lightgbm(own.model_to_string(), table)


# --- random trees --------------------------------------------------------------------------------------------------

numbers = st.one_of(
    st.floats(-1e6, 1e6), st.floats(-1e-34, 1e-34), st.floats(allow_nan=False), st.integers(-3, 3).map(float)
)
category_sets = st.frozensets(st.integers(0, 70), min_size=1, max_size=20)


@st.composite
def trees(draw, hand_tree, features: int):
    """Any shape, any threshold, any mixture of missing types and categories, also on one and the same feature."""
    inner = draw(st.integers(0, 12))
    left, right = [0] * inner, [0] * inner
    free = []  # sides without a child yet
    for node in range(inner):
        if node:
            parent, side = free.pop(draw(st.integers(0, len(free) - 1)))
            (left, right)[side][parent] = node
        free += [(node, 0), (node, 1)]
    for leaf, (parent, side) in enumerate(free):
        (left, right)[side][parent] = ~leaf
    categorical = draw(st.lists(st.booleans(), min_size=inner, max_size=inner))
    return hand_tree(
        [draw(st.integers(0, features - 1)) for _ in range(inner)],
        [draw(category_sets) if c else draw(numbers) for c in categorical],
        [draw(st.sampled_from([0, 2, 4, 6, 8, 10])) + c for c in categorical],
        left,
        right,
        [draw(st.floats(-1e3, 1e3)) for _ in range(inner + 1)],
    )


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_any_trees_predict_as_lightgbm(write, hand_tree, data):
    outputs = data.draw(st.sampled_from([1, 1, 3]))
    made = data.draw(st.lists(trees(hand_tree, 3), min_size=1, max_size=4))
    objective = "multiclassova num_class:3 sigmoid:1" if outputs == 3 else "regression"
    model_text = write(made * outputs, objective=objective, features=3, outputs=outputs, classes=outputs)
    assert_equals_lightgbm(model_text, rows_for(model_text, np.zeros((1, 3), np.float32)))


# --- what is promised of the file ----------------------------------------------------------------------------------


@pytest.mark.parametrize("objective", EVERY_OBJECTIVE)
def test_one_output_of_the_promised_name_type_and_shape(train, table, objective):
    loaded = session(export(train(objective)))
    assert [(i.name, i.type, i.shape) for i in loaded.get_inputs()] == [("features", "tensor(float)", ["N", 7])]
    (output,) = loaded.get_outputs()
    shape = ["N", CLASSIFIERS[objective]] if objective in CLASSIFIERS else ["N"]
    name = "probabilities" if objective in CLASSIFIERS else "prediction"
    assert (output.name, output.type, output.shape) == (name, "tensor(float)", shape)
    for n in (0, 1, 2, 600):
        assert loaded.run(None, {"features": table[:n]})[0].shape == (n, *shape[1:])


@pytest.mark.parametrize(("objective", "outputs"), [("binary", 1), ("multiclass", 3)])
def test_the_raw_score_is_a_second_output_when_asked_for(train, objective, outputs):
    output = session(export(train(objective), raw=True)).get_outputs()[1]
    assert (output.name, output.type, output.shape) == ("raw_score", "tensor(double)", ["N", outputs])


@pytest.mark.parametrize("objective", ["binary", "multiclass", "multiclassova", "poisson", "cross_entropy_lambda"])
@pytest.mark.parametrize("threads", [1, 2])
def test_a_row_gets_the_same_bits_alone_and_in_a_batch(train, table, objective, threads):
    # More than 80 trees and 50 rows: the runtime's own thresholds for going parallel.
    exported = session(export(train(objective, rounds=90), raw=True), threads)
    together = exported.run(None, {"features": table})
    alone = [exported.run(None, {"features": row[None]}) for row in table[:200]]
    for position, batch in enumerate(together):
        np.testing.assert_array_equal(np.concatenate([single[position] for single in alone]), batch[:200])
    halves = [exported.run(None, {"features": half}) for half in (table[:77], table[77:])]
    for position, batch in enumerate(together):
        np.testing.assert_array_equal(np.concatenate([half[position] for half in halves]), batch)


def test_sums_are_exact_in_any_order(train):
    values, bound = exact_leaves(parse(train("regression", rounds=60, learning_rate=0.3)))
    largest = np.array([np.abs(v).max() for v in values])
    random = np.random.default_rng(0)
    assert len({float(np.add.accumulate(random.permutation(largest))[-1]) for _ in range(50)}) == 1
    # And fine: each of the 60 leaves of a sum is off by at most 2^-53 of it, and so is each of LightGBM's additions.
    assert 0 < bound < 60 * largest.sum() * 2.0**-51.9


def test_the_same_text_gives_the_same_bytes(train):
    model_text = train("multiclass")
    assert export(model_text) == export(model_text)


@pytest.mark.parametrize("variant", ["plain", "zero missing", "forest", "stumps"])
def test_is_valid_onnx_and_onnx_runtime_does_not_warn(train, table, capfd, variant):
    exported = export(train("binary", **VARIANTS[variant]))
    proto = onnx.load_from_string(exported)
    onnx.checker.check_model(proto, full_check=True)
    assert {o.domain: o.version for o in proto.opset_import} == {"": 21, "ai.onnx.ml": 5}
    assert proto.ir_version == 10
    capfd.readouterr()
    run(exported, table)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("variant", ["plain", "stumps", "large"])
def test_no_root_has_two_children_of_the_same_number(train, variant):
    # Node 5 and leaf 5 are different things, but not for ONNX Runtime 1.23: it would take the root for a leaf.
    proto = onnx.load_from_string(export(train("multiclass", **VARIANTS[variant])))
    (ensemble,) = (node for node in proto.graph.node if node.op_type == "TreeEnsemble")
    held = {attribute.name: list(attribute.ints) for attribute in ensemble.attribute if attribute.ints}
    for root in held["tree_roots"]:
        assert held["nodes_truenodeids"][root] != held["nodes_falsenodeids"][root]


def test_metadata_says_where_the_model_comes_from(train):
    proto = onnx.load_from_string(export(train("binary")))
    assert proto.producer_name == "headrace"
    names = '["Column_0", "Column_1", "Column_2", "Column_3", "Column_4", "Column_5", "Column_6"]'
    assert {p.key: p.value for p in proto.metadata_props} == {"objective": "binary", "feature_names": names}


@pytest.mark.parametrize("categorical", [False, True])
def test_a_deep_tree_loads_on_a_small_stack(write, hand_tree, categorical):
    # ONNX Runtime builds trees by recursion, and a server's threads have stacks of 2 MiB.
    n = 500
    random = np.random.default_rng(0)
    sets = [frozenset(random.integers(0, 300, 32).tolist()) for _ in range(n)]
    model_text = write([
        hand_tree([0] * n, sets if categorical else [*range(n)], [int(categorical)] * n, [~i for i in range(n)],
                  [*range(1, n), ~n], random.normal(size=n + 1))
    ])  # fmt: skip
    exported, found = export(model_text), []
    previous = threading.stack_size(2**21)
    try:
        thread = threading.Thread(target=lambda: found.extend(run(exported, np.zeros((1, 1), np.float32))))
        thread.start()
    finally:
        threading.stack_size(previous)
    thread.join()
    assert np.isfinite(found[0]).all()


# --- what is refused -----------------------------------------------------------------------------------------------


def refused(model_text: str) -> errors.ExportError:
    with pytest.raises(errors.ExportError) as caught:
        export(model_text)
    assert caught.value.hint
    return caught.value


def test_refuses_linear_trees(train):
    assert "linear_tree=false" in refused(train("regression", linear_tree=True)).hint


def test_refuses_an_objective_that_it_does_not_know(train):
    error = refused(train("regression").replace("objective=regression", "objective=median"))
    assert "'median'" in error.message
    assert "regression_l1" in error.message


def test_refuses_several_outputs_without_an_objective(train):
    assert "3 raw scores" in refused(train("multiclass").replace("objective=multiclass num_class:3\n", "")).message


def test_refuses_an_objective_that_does_not_fit_the_trees(train):
    model_text = train("multiclass").replace("objective=multiclass num_class:3", "objective=binary sigmoid:1")
    assert "needs 1 trees" in refused(model_text).message


def test_refuses_categories_too_large_for_a_table(write, hand_tree):
    model_text = write([hand_tree([0], [frozenset({2**23})], [1], [~0], [~1], [1.0, 2.0])])
    error = refused(model_text)
    assert "'f0'" in error.message
    assert str(2**23) in error.message


def test_refuses_leaves_that_do_not_add_up(write, hand_tree):
    leaf = hand_tree([], [], [], [], [], [1.5e308])
    assert "float64" in refused(write([leaf, leaf])).message


def test_damaged_text_is_a_format_error(train):
    with pytest.raises(errors.ModelFormatError, match="line 1"):
        export("")


def test_the_names_of_the_contract():
    assert (exporter.INPUT, exporter.PREDICTION, exporter.PROBABILITIES) == ("features", "prediction", "probabilities")
