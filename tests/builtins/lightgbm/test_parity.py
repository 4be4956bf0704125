from __future__ import annotations

import json

import lightgbm
import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper

from headrace import errors
from headrace.builtins.lightgbm.adversary import adversarial_rows
from headrace.builtins.lightgbm.decisions import nan_goes_left
from headrace.builtins.lightgbm.export import export
from headrace.builtins.lightgbm.parity import check
from headrace.builtins.lightgbm.text import parse


@pytest.fixture(scope="module", params=["plain", "zero missing", "no missing"])
def exported(request, train):
    params = {"plain": {}, "zero missing": {"zero_as_missing": True}, "no missing": {"use_missing": False}}
    model_text = train("binary", rounds=4, **params[request.param])
    return model_text, export(model_text)


@pytest.fixture(scope="module")
def regression(train):
    return train("regression")


class Tampered:
    """An exported model whose attributes and constants can be changed."""

    def __init__(self, onnx_bytes: bytes) -> None:
        self.proto = onnx.load_from_string(onnx_bytes)
        (ensemble,) = (node for node in self.proto.graph.node if node.op_type == "TreeEnsemble")
        self.attributes = {attribute.name: attribute for attribute in ensemble.attribute}

    def tensor(self, name: str, edit) -> bytes:
        values = numpy_helper.to_array(self.attributes[name].t).copy()
        edit(values)
        self.attributes[name].t.CopyFrom(numpy_helper.from_array(values))
        return self.proto.SerializeToString()

    def ints(self, name: str, edit) -> bytes:
        edit(self.attributes[name].ints)
        return self.proto.SerializeToString()

    def constant(self, name: str, edit) -> bytes:
        (held,) = (constant for constant in self.proto.graph.initializer if constant.name == name)
        values = numpy_helper.to_array(held).copy()
        edit(values)
        held.CopyFrom(numpy_helper.from_array(values, name))
        return self.proto.SerializeToString()

    def numeric_nodes(self) -> list[int]:
        return np.flatnonzero(numpy_helper.to_array(self.attributes["nodes_modes"].t) == 0).tolist()


def refused(model_text: str, onnx_bytes: bytes, **options) -> errors.ParityError:
    with pytest.raises(errors.ParityError) as caught:
        check(model_text, onnx_bytes, **options)
    return caught.value


@pytest.mark.parametrize("objective", ["binary", "multiclass", "multiclassova", "poisson", "lambdarank"])
def test_a_faithful_export_passes(train, table, objective):
    model_text = train(objective)
    report = check(model_text, export(model_text), rows=table)
    assert report.rows == report.adversarial_rows + report.given_rows
    assert report.given_rows == len(table)
    assert report.splits == report.splits_probed == sum(tree.num_leaves - 1 for tree in parse(model_text).trees)
    assert report.leaf_mismatches == 0
    assert report.max_abs_raw <= report.raw_bound < 1e-11
    assert report.max_rel_output < 1e-7 < report.tolerance
    assert json.loads(json.dumps(report.to_json(), allow_nan=False)) == report.to_json()


def test_bytes_with_the_raw_score_as_an_output_pass_too(train):
    model_text = train("binary")
    assert check(model_text, export(model_text, raw=True)).leaf_mismatches == 0


def test_models_without_splits_pass(write, hand_tree):
    for trees in ([], [hand_tree([], [], [], [], [], [0.5])]):
        model_text = write(trees, features=2)
        assert check(model_text, export(model_text)).splits == 0


def test_every_threshold_one_step_up_or_down_is_found(exported):
    model_text, onnx_bytes = exported
    for node in Tampered(onnx_bytes).numeric_nodes():
        for end in (np.inf, -np.inf):

            def step(splits, node=node, end=end):
                splits[node] = np.nextafter(np.float32(splits[node]), np.float32(end))

            assert "wrong leaf" in str(refused(model_text, Tampered(onnx_bytes).tensor("nodes_splits", step)))


def missing_reaches(tree) -> list[bool]:
    """Whether a row exists that has a missing value where a split asks. Each feature's ways above must lead there."""
    ways = nan_goes_left(tree)
    path: dict[int, list[tuple[int, bool]]] = {0: []}
    for node in range(tree.num_leaves - 1):
        for child, side in ((tree.left_child[node], True), (tree.right_child[node], False)):
            path[int(child)] = [*path[node], (node, side)]
    same = tree.split_feature
    return [
        all(ways[above] == side for above, side in path[node] if same[above] == same[node])
        for node in range(tree.num_leaves - 1)
    ]


def test_every_wrong_way_for_missing_values_is_found(exported):
    model_text, onnx_bytes = exported
    reached = [found for tree in parse(model_text).trees for found in missing_reaches(tree)]
    numeric = Tampered(onnx_bytes).numeric_nodes()
    assert sum(reached[node] for node in numeric) > 8
    for node in numeric:

        def turn(ways, node=node):
            ways[node] = 1 - ways[node]

        turned = Tampered(onnx_bytes).ints("nodes_missing_value_tracks_true", turn)
        if reached[node]:
            refused(model_text, turned)
        else:
            check(model_text, turned)


def test_a_wrong_code_of_a_category_is_found(train):
    model_text = train("binary", rounds=4, max_cat_to_onehot=1)
    onnx_bytes = export(model_text)
    sets = parse(model_text).trees[0]
    node = int(np.flatnonzero(sets.categorical)[0])
    name = next(c.name for c in Tampered(onnx_bytes).proto.graph.initializer if c.name.endswith("_table"))

    def forget(codes):
        codes[sets.categories(node)[0]] = 0

    refused(model_text, Tampered(onnx_bytes).constant(name, forget))


def test_a_lost_member_of_a_set_is_found(train):
    model_text = train("regression", rounds=2)
    onnx_bytes = export(model_text)

    def lose(members):
        members[0] = 15 if members[0] != 15 else 14

    refused(model_text, Tampered(onnx_bytes).tensor("membership_values", lose))


def test_every_leaf_off_by_far_less_than_the_tolerance_is_found(exported):
    # Sums of exported leaves are exact: what differs at all, differs.
    model_text, onnx_bytes = exported
    for leaf in range(parse(model_text).trees[0].num_leaves):

        def nudge(weights, leaf=leaf):
            weights[leaf] += 2.0**-45

        assert "wrong leaf" in str(refused(model_text, Tampered(onnx_bytes).tensor("leaf_weights", nudge)))


def test_a_wrong_transformation_is_found(train):
    model_text = train("binary", sigmoid=2.0)

    def flatten(scale):
        scale[:] /= 2

    error = refused(model_text, Tampered(export(model_text)).constant("scale", flatten))
    assert "wrong leaf" not in str(error)
    assert "tolerance 1e-06" in str(error)


def test_nan_never_passes(write, hand_tree):
    model_text = write([hand_tree([0], [0.5], [10], [~0], [~1], [1.0, 2.0])], objective="binary sigmoid:1")

    def spoil(scale):
        scale[:] = np.nan

    assert "nan" in refused(model_text, Tampered(export(model_text)).constant("scale", spoil)).message


def test_another_model_is_found(train):
    assert (
        "differ"
        in refused(
            train("regression"), export(train("regression", seed=2, bagging_fraction=0.5, bagging_freq=1))
        ).message
    )


def test_an_error_describes_the_worst_row_and_the_split_it_is_aimed_at(write, hand_tree):
    tree = hand_tree([1], [37.5], [10], [~0], [~1], [1.0, 2.0])
    model_text = write([tree], features=2)

    def lift(splits):
        splits[0] = np.nextafter(np.float32(37.5), np.float32(100))

    error = refused(model_text, Tampered(export(model_text)).tensor("nodes_splits", lift))
    assert "aimed at tree 0, node 0: feature 'f1' = 37.5000038" in error.place
    assert "1.0" in error.message
    assert "2.0" in error.message
    assert "Do not deploy" in error.hint


def test_given_rows_count(write, hand_tree):
    # No adversarial row is allowed, so only the given one can find the fault.
    model_text = write([hand_tree([0], [0.5], [10], [~0], [~1], [1.0, 2.0])])

    def lift(splits):
        splits[0] = 2.0

    wrong = Tampered(export(model_text)).tensor("nodes_splits", lift)
    assert check(model_text, wrong, max_rows=0, rows=[[0.1], [3.0]]).rows == 2
    assert "given row 1 (f0=1.0)" in refused(model_text, wrong, max_rows=0, rows=[[0.1], [1.0]]).place


def test_a_tolerance_below_float32_is_missed(train, table):
    model_text = train("regression")
    assert "tolerance 1e-12" in refused(model_text, export(model_text), tolerance=1e-12, rows=table).message


def test_infinite_outputs_agree(write, hand_tree):
    model_text = write([hand_tree([0], [0.5], [10], [~0], [~1], [-800.0, 800.0])], objective="poisson")
    assert check(model_text, export(model_text)).max_abs_output == 0


@pytest.mark.parametrize("rows", [[1.0, 2.0], [[1.0, 2.0]], np.zeros((3, 0))])
def test_rows_of_another_shape_are_refused(write, hand_tree, rows):
    model_text = write([hand_tree([], [], [], [], [], [0.5])])
    with pytest.raises(errors.DataError, match="each of 1 features"):
        check(model_text, export(model_text), rows=rows)


def test_what_is_not_our_model_is_refused(write, hand_tree):
    leaf = hand_tree([], [], [], [], [], [0.5])
    model_text = write([leaf])
    for onnx_bytes in (
        b"",
        b"not a model",
        export(write([leaf], features=2)),
        export(write([leaf], objective="binary sigmoid:1")),
    ):
        with pytest.raises(errors.ModelFormatError):
            check(model_text, onnx_bytes)
    broken = Tampered(export(model_text))
    broken.proto.graph.node[0].op_type = "Cost"
    with pytest.raises(errors.ModelFormatError, match="ONNX Runtime"):
        check(model_text, broken.proto.SerializeToString())


def test_damaged_text_never_reaches_lightgbm(monkeypatch, write, hand_tree):
    model_text = write([hand_tree([], [], [], [], [], [0.5])])
    onnx_bytes = export(model_text)
    monkeypatch.setattr(lightgbm, "Booster", lambda **_: pytest.fail("the native parser saw it"))
    with pytest.raises(errors.ModelFormatError):
        check(model_text.replace("num_leaves=1", "num_leaves=9"), onnx_bytes)


# --- the rows ------------------------------------------------------------------------------------------------------


def test_rows_reach_both_sides_of_every_split(train):
    model_text = train("regression", rounds=5, num_leaves=30, min_data_in_leaf=2)
    model = parse(model_text)
    made = adversarial_rows(model, limit=50_000)
    reached = lightgbm.Booster(model_str=model_text).predict(made.rows, pred_leaf=True).astype(int)
    for index, tree in enumerate(model.trees):
        below: dict[int, set[int]] = {}
        for node in reversed(range(tree.num_leaves - 1)):
            for child in (int(tree.left_child[node]), int(tree.right_child[node])):
                below[child] = (
                    {~child} if child < 0 else below[int(tree.left_child[child])] | below[int(tree.right_child[child])]
                )
        for node in range(tree.num_leaves - 1):
            aimed = set(reached[(made.aims == (index, node)).all(axis=1), index].tolist())
            assert aimed & below[int(tree.left_child[node])]
            assert aimed & below[int(tree.right_child[node])]


@settings(max_examples=20, deadline=None)
@given(limit=st.integers(0, 3000))
def test_a_limit_is_kept_and_said(regression, limit):
    model = parse(regression)
    made = adversarial_rows(model, limit=limit)
    assert len(made.rows) == len(made.aims) <= limit
    assert made.splits_probed <= made.splits
    np.testing.assert_array_equal(made.rows, adversarial_rows(model, limit=limit).rows)


def test_rows_hold_everything_odd(train):
    rows = adversarial_rows(parse(train("regression")), limit=50_000).rows
    assert np.isnan(rows).all(axis=1).any()
    for value in (0.0, np.inf, -np.inf, np.float32(1e-35), -np.float32(1e-35), np.finfo(np.float32).max):
        assert (rows == value).any(axis=0).all()
    assert (np.signbit(rows) & (rows == 0)).any()
    assert (rows[:, :2] != np.trunc(rows[:, :2])).any(axis=0).all()  # fractions of categories
    assert (rows[:, :2] < -1).any(axis=0).all()
