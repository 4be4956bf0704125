from __future__ import annotations

import re

import lightgbm
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace import errors
from headrace.builtins.lightgbm.text import Missing, Objective, parse

MISSING = {"None": Missing.NONE, "Zero": Missing.ZERO, "NaN": Missing.NAN}


@pytest.fixture(scope="module")
def binary(train):
    return train("binary", rounds=3)


def refused(model_text: str) -> errors.ModelFormatError:
    with pytest.raises(errors.ModelFormatError) as caught:
        parse(model_text)
    assert "line" in str(caught.value)
    return caught.value


def resized(model_text: str) -> str:
    """The text with `tree_sizes` that fit its trees, so that a damage inside a tree is what is found."""
    sizes = [len(tree) for tree in re.findall(r"Tree=.*?\n\n\n", model_text, re.DOTALL)]
    return re.sub("tree_sizes=.*", "tree_sizes=" + " ".join(map(str, sizes)), model_text)


def changed(model_text: str, key: str, edit, *, tree: bool = True) -> str:
    """`edit` applied to the value of the first line of that key."""
    edited = re.sub(rf"(?m)^{key}=(.*)$", lambda m: f"{key}={edit(m[1])}", model_text, count=1)
    assert edited != model_text
    return resized(edited) if tree else edited


@pytest.mark.parametrize(
    ("objective", "params"),
    [
        ("binary", {}),
        ("multiclass", {"zero_as_missing": True}),
        ("regression", {"use_missing": False}),
        ("poisson", {"boosting": "dart"}),
    ],
)
def test_reads_what_lightgbm_itself_reads(train, objective, params):
    model_text = train(objective, **params)
    model = parse(model_text)
    oracle = lightgbm.Booster(model_str=model_text).dump_model()
    assert model.num_class == oracle["num_class"]
    assert model.num_tree_per_iteration == oracle["num_tree_per_iteration"]
    assert list(model.feature_names) == oracle["feature_names"]
    assert model.average_output == oracle["average_output"]
    assert len(model.trees) == len(oracle["tree_info"])
    categorical = 0
    for tree, info in zip(model.trees, oracle["tree_info"], strict=True):
        assert tree.num_leaves == info["num_leaves"]
        assert tree.shrinkage == info["shrinkage"]
        pending = [info["tree_structure"]] if tree.num_leaves > 1 else []
        while pending:
            node = pending.pop()
            if "leaf_index" in node:
                assert tree.leaf_value[node["leaf_index"]] == node["leaf_value"]
                continue
            i = node["split_index"]
            assert tree.split_feature[i] == node["split_feature"]
            assert tree.default_left[i] == node["default_left"]
            assert tree.missing[i] == MISSING[node["missing_type"]]
            assert tree.categorical[i] == (node["decision_type"] == "==")
            if tree.categorical[i]:
                categorical += 1
                assert "||".join(map(str, tree.categories(i))) == node["threshold"]
            else:
                assert tree.threshold[i] == node["threshold"]
            for child, side in ((tree.left_child[i], "left_child"), (tree.right_child[i], "right_child")):
                at = node[side]
                assert child == at["split_index"] if child >= 0 else ~child == at["leaf_index"]
            pending += [node["left_child"], node["right_child"]]
    assert categorical > 0


@pytest.mark.parametrize(
    ("objective", "params", "expected"),
    [
        ("binary", {"sigmoid": 2.5}, Objective("binary", 2.5)),
        ("multiclassova", {"sigmoid": 0.5}, Objective("multiclassova", 0.5)),
        ("multiclass", {}, Objective("multiclass")),
        ("regression", {"reg_sqrt": True}, Objective("regression", sqrt=True)),
        ("tweedie", {}, Objective("tweedie")),
    ],
)
def test_reads_the_objective(train, objective, params, expected):
    assert parse(train(objective, 1, **params)).objective == expected


def test_reads_forests_losses_of_ones_own_and_parameters(train, table):
    forest = parse(train("regression", boosting="rf", bagging_freq=1, bagging_fraction=0.5))
    assert forest.average_output
    assert forest.parameters["boosting"] == "rf"
    data = lightgbm.Dataset(table, np.arange(len(table), dtype=float))
    own = lightgbm.train({"objective": lambda p, d: (p - d.get_label(), np.ones_like(p)), "verbose": -1}, data, 2)
    assert parse(own.model_to_string()).objective is None


def test_names_may_hold_equals_signs_and_unicode_separators(table):
    # str.splitlines would break the line at three of these, and partition at "=" would take two for one.
    names = ["a=1", "a=2", "b\u2028c", "d\x0be", "f\x85g", "🙂", "Tree=0"]
    data = lightgbm.Dataset(table, table[:, 2] > 0, feature_name=names)
    model_text = lightgbm.train({"objective": "binary", "verbose": -1}, data, 3).model_to_string()
    assert len(parse(model_text).feature_names) == 7
    assert parse(model_text).feature_names[:2] == ("a=1", "a=2")


def test_reads_a_constant_model_and_one_without_trees(table):
    data = lightgbm.Dataset(table, np.full(len(table), 3.25))
    constant = parse(lightgbm.train({"objective": "regression", "verbose": -1}, data, 3).model_to_string())
    assert [tree.leaf_value.tolist() for tree in constant.trees] == [[3.25]]
    untrained = lightgbm.Booster({"objective": "binary", "verbose": -1}, lightgbm.Dataset(table, table[:, 2] > 0))
    assert parse(untrained.model_to_string()).trees == ()


def put(key, at, word, *, tree=True):
    """Puts `word` in place of one in the first line of that key."""

    def edit(value):
        found = value.split(" ")
        found[at] = word
        return " ".join(found)

    return lambda text: changed(text, key, edit, tree=tree)


def swap(old, new):
    return lambda text: text.replace(old, new, 1)


def swap_in_tree(old, new):
    return lambda text: resized(text.replace(old, new, 1))


DEEP = "pandas_categorical:" + "[" * 10**6
DAMAGES = {
    "wrong format": ("version", swap("version=v4", "version=v3")),
    "not a model": ("structure", swap("tree", "forest")),
    "windows line ends": ("structure", lambda t: t.replace("\n", "\r\n")),
    "key twice in the header": ("num_class", swap("num_class=1\n", "num_class=1\nnum_class=2\n")),
    "key twice in a tree": ("shrinkage", swap_in_tree("shrinkage=", "shrinkage=9\nshrinkage=")),
    "key missing in the header": ("num_class", swap("num_class=1\n", "")),
    "key missing in a tree": ("leaf_value", lambda t: resized(re.sub("leaf_value=.*\n", "", t, count=1))),
    "unknown key": ("colour", swap("num_class=1\n", "num_class=1\ncolour=red\n")),
    "line without a value": ("num_class", swap("num_class=1", "num_class")),
    "average_output with a value": ("average_output", swap("label_index", "average_output=1\nlabel_index")),
    "no classes": ("num_class", swap("num_class=1", "num_class=0")),
    "number with an underscore": ("max_feature_idx", swap("max_feature_idx=6", "max_feature_idx=0_6")),
    "number in other digits": ("max_feature_idx", swap("max_feature_idx=6", "max_feature_idx=\u0666")),
    "number of 5000 digits": ("num_class", swap("num_class=1", "num_class=" + "1" * 5000)),
    "fewer names than features": ("feature_names", swap("feature_names=Column_0 ", "feature_names=")),
    "a name twice": ("feature_names", put("feature_names", 0, "Column_1")),
    "an empty name": ("feature_names", put("feature_names", 0, "")),
    "fewer infos than features": ("feature_infos", lambda t: changed(t, "feature_infos", lambda v: v.split(" ", 1)[1])),
    "an odd info": ("feature_infos", put("feature_infos", 0, "[1;2]")),
    "constraints of wrong length": ("monotone", swap("label_index", "monotone_constraints=1 0\nlabel_index")),
    "sigmoid 0": ("objective", swap("sigmoid:1", "sigmoid:0")),
    "unknown option": ("objective", swap("sigmoid:1", "slope:1")),
    "option missing": ("objective", swap("binary sigmoid:1", "binary")),
    "option twice": ("objective", swap("sigmoid:1", "sigmoid:1 sigmoid:2")),
    "option of another objective": ("objective", swap("binary sigmoid:1", "regression sigmoid:1")),
    "classes that disagree": ("objective", swap("binary sigmoid:1", "multiclass num_class:3")),
    "tree size too large": ("Tree=0", put("tree_sizes", 0, "99999", tree=False)),
    "tree size too small": ("Tree=1", put("tree_sizes", 1, "7", tree=False)),
    "fewer sizes than trees": (
        "structure",
        lambda t: changed(t, "tree_sizes", lambda v: v.rpartition(" ")[0], tree=False),
    ),
    "trees do not fill an iteration": ("tree_sizes", swap("num_tree_per_iteration=1", "num_tree_per_iteration=2")),
    "trees out of order": ("structure", swap("Tree=1", "Tree=2")),
    "more leaves than values": ("expected 9", put("num_leaves", 0, "10")),
    "a billion leaves": ("expected 1999999999", put("num_leaves", 0, "2000000000")),
    "no leaves": ("num_leaves", put("num_leaves", 0, "0")),
    "feature out of range": ("split_feature", put("split_feature", 0, "7")),
    "negative feature": ("split_feature", put("split_feature", 0, "-1")),
    "threshold not a number": ("threshold", put("threshold", 0, "1,5")),
    "threshold nan": ("threshold", put("threshold", 0, "nan")),
    "two spaces": ("threshold", lambda t: changed(t, "threshold", lambda v: v.replace(" ", "  ", 1))),
    "leaf inf": ("leaf_value", put("leaf_value", 0, "inf")),
    "leaf too large for a double": ("leaf_value", put("leaf_value", 0, "1e999")),
    "unknown missing type": ("decision_type", put("decision_type", 0, "14")),
    "child out of range": ("left_child", put("left_child", 0, "8")),
    "leaf out of range": ("right_child", put("right_child", -1, "-10")),
    "root is a child": ("cycle", put("left_child", 0, "0")),
    "a cycle": ("cycle", put("right_child", -1, "1")),
    "a leaf with two parents": ("parents of leaf", put("right_child", -1, "-1")),
    "sets without splits": ("threshold", lambda t: changed(t, "decision_type", lambda v: re.sub(r"\d+", "2", v))),
    "sets without num_cat": ("num_cat", put("num_cat", 0, "0")),
    "boundaries descend": ("cat_boundaries", put("cat_boundaries", 0, "1")),
    "words missing": ("cat_boundaries", lambda t: changed(t, "cat_threshold", lambda v: v.rpartition(" ")[0])),
    "word too large": ("cat_threshold", put("cat_threshold", -1, str(2**32))),
    "empty set": ("cat_threshold", put("cat_threshold", -1, "0")),
    "linear key in a plain tree": ("leaf_const", swap_in_tree("shrinkage=", "leaf_const=1\nshrinkage=")),
    "importance of no feature": ("feature_importances", swap("feature_importances:\n", "feature_importances:\nx=1\n")),
    "parameter twice": ("parameters", swap("parameters:\n", "parameters:\n[boosting: dart]\n")),
    "parameter without brackets": ("parameters", swap("[boosting: gbdt]", "boosting: gbdt")),
    "something after the end": ("end", lambda t: t + "\nTree=9"),
    "categories not JSON": ("pandas_categorical", swap("pandas_categorical:null", "pandas_categorical:nul")),
    "categories too deep": ("pandas_categorical", swap("pandas_categorical:null", DEEP)),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_refuses(binary, damage):
    place, edit = DAMAGES[damage]
    damaged = edit(binary)
    assert damaged != binary
    assert place in str(refused(damaged))


def test_a_message_names_line_key_finding_and_way_out(binary):
    error = refused(put("left_child", 0, "8")(binary))
    line = 1 + binary.split("\n").index(next(text for text in binary.split("\n") if text.startswith("left_child=")))
    assert error.place == f"LightGBM model text, line {line}, key 'left_child'"
    assert error.message == "Found 8, expected numbers from -9 to 7."
    assert "Booster.save_model" in error.hint


def test_a_text_cut_short_is_refused_or_still_the_whole_model(binary):
    whole = parse(binary)
    lines = binary.split("\n")
    enough = 0
    for end in range(len(lines)):
        try:
            model = parse("\n".join(lines[:end]))
        except errors.ModelFormatError:
            continue
        enough += 1
        assert [t.leaf_value.tolist() for t in model.trees] == [t.leaf_value.tolist() for t in whole.trees]
    # Cut after the importances or after the parameters: nothing that predicts is lost.
    assert enough <= 5


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_changed_character_is_refused_or_read_never_a_crash(binary, data):
    at = data.draw(st.integers(0, binary.index("parameters:")))
    character = data.draw(st.sampled_from("0123456789-.e=\n \x00inaf[]:é"))
    try:
        model = parse(binary[:at] + character + binary[at + 1 :])
    except errors.ModelFormatError:
        return
    assert all(np.isfinite(tree.leaf_value).all() for tree in model.trees)
