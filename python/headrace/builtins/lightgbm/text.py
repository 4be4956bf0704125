"""LightGBM's model text, read strictly.

The text comes from `Booster.model_to_string` or `save_model` of LightGBM 4.6 or newer (format `v4`). LightGBM's own
parser trusts it: of two equal keys it takes the last, it jumps by the byte counts in `tree_sizes`, and a wrong count
has been a heap overflow (CVE-2024-43598). So every text passes through here before LightGBM's parser or the exporter
sees it, and what LightGBM would not have written is refused with its line and key.
"""

from __future__ import annotations

import enum
import json
import math
import re
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final, NamedTuple, NoReturn

import numpy as np
import numpy.typing as npt

from headrace import errors

__all__ = ["Missing", "Model", "Objective", "Tree", "parse"]

_INT: Final = r"-?[0-9]{1,15}"
_REAL: Final = r"-?(?:[0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?|inf|nan)"
_INTS: Final = re.compile(rf"{_INT}(?: {_INT})*")
_REALS: Final = re.compile(rf"{_REAL}(?: {_REAL})*")
_FEATURE_INFO: Final = re.compile(rf"none|\[{_REAL}:{_REAL}\]|{_INT}(?::{_INT})*")
_OPTION: Final = re.compile(rf"(?P<sqrt>sqrt)|num_class:(?P<num_class>{_INT})|sigmoid:(?P<sigmoid>{_REAL})")
_PARAMETER: Final = re.compile(r"\[([a-z0-9_]+): (.*)\]")

_HEADER: Final = frozenset(
    {
        "version",
        "num_class",
        "num_tree_per_iteration",
        "label_index",
        "max_feature_idx",
        "feature_names",
        "feature_infos",
        "tree_sizes",
    }
)
_HEADER_OPTIONAL: Final = frozenset({"objective", "average_output", "monotone_constraints"})
_TREE: Final = frozenset(
    {
        "num_leaves",
        "num_cat",
        "split_feature",
        "split_gain",
        "threshold",
        "decision_type",
        "left_child",
        "right_child",
        "leaf_value",
        "leaf_weight",
        "leaf_count",
        "internal_value",
        "internal_weight",
        "internal_count",
        "is_linear",
        "shrinkage",
    }
)
_TREE_CATEGORICAL: Final = frozenset({"cat_boundaries", "cat_threshold"})
_TREE_LINEAR: Final = frozenset({"leaf_const", "num_features", "leaf_features", "leaf_coeff"})
_OBJECTIVE_OPTIONS: Final = {
    "binary": {"sigmoid"},
    "multiclass": {"num_class"},
    "multiclassova": {"num_class", "sigmoid"},
}
_INT32: Final = 2**31 - 1

_Ints = npt.NDArray[np.int64]
_Reals = npt.NDArray[np.float64]
_Bools = npt.NDArray[np.bool_]


class Missing(enum.IntEnum):
    """What a numeric split does with missing values."""

    NONE = 0
    """NaN counts as 0."""
    ZERO = 1
    """NaN, and zeros too, go the default way."""
    NAN = 2
    """NaN goes the default way."""


@dataclass(frozen=True, slots=True)
class Objective:
    """What turns raw scores into predictions: `binary sigmoid:1`, `regression sqrt`, `multiclass num_class:3`."""

    name: str
    sigmoid: float = 1.0
    """Slope of the logistic function; of `binary` and `multiclassova`."""
    sqrt: bool = False
    """True when the model was fitted on sign(y) times the square root of |y| (`reg_sqrt`)."""


@dataclass(frozen=True, slots=True, eq=False)
class Tree:
    """One tree of n leaves as arrays over its n - 1 inner nodes; node 0 is the root.

    A child `c >= 0` is the inner node `c`, `c < 0` is the leaf `~c`. An inner node comes after its parent, and every
    node but the root has exactly one.
    """

    split_feature: _Ints
    threshold: _Reals
    """`x <= threshold` goes left. At a categorical split: the number of its set."""
    decision_type: _Ints
    left_child: _Ints
    right_child: _Ints
    leaf_value: _Reals
    """[n], shrinkage included."""
    cat_boundaries: _Ints
    """[sets + 1]. Set i is the bitset `cat_threshold[cat_boundaries[i]:cat_boundaries[i + 1]]`."""
    cat_threshold: _Ints
    """Words of 32 bits, lowest bit first."""
    shrinkage: float
    is_linear: bool
    """True when the leaves hold linear models; those are not read."""

    @property
    def num_leaves(self) -> int:
        return len(self.leaf_value)

    @property
    def categorical(self) -> _Bools:
        """[n - 1] Which splits are by category."""
        return np.asarray(self.decision_type & 1, dtype=np.bool_)

    @property
    def default_left(self) -> _Bools:
        """[n - 1] Whether the default way is to the left."""
        return np.asarray(self.decision_type & 2, dtype=np.bool_)

    @property
    def missing(self) -> _Ints:
        """[n - 1] A `Missing` for every split."""
        return np.right_shift(self.decision_type, 2)

    def categories(self, node: int) -> tuple[int, ...]:
        """The categories that go left at a categorical split, ascending, at least one."""
        first, last = self.cat_boundaries[int(self.threshold[node]) :][:2]
        words = self.cat_threshold[first:last].astype("<u4").view(np.uint8)
        return tuple(np.flatnonzero(np.unpackbits(words, bitorder="little")).tolist())


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """A whole model. Tree i adds to raw score `i % num_tree_per_iteration`."""

    num_class: int
    num_tree_per_iteration: int
    objective: Objective | None
    """None when the model was trained with a loss of the user's own."""
    average_output: bool
    """True for a random forest: predictions come from the mean over iterations, not from the sum."""
    feature_names: tuple[str, ...]
    feature_infos: tuple[str, ...]
    """For each feature `none` (constant), `[low:high]` (numeric) or `3:0:7` (categories, -1 for a missing one)."""
    trees: tuple[Tree, ...]
    parameters: Mapping[str, str]
    """The training parameters as LightGBM wrote them; empty when it did not."""

    @property
    def num_features(self) -> int:
        return len(self.feature_names)

    @property
    def num_iterations(self) -> int:
        return len(self.trees) // self.num_tree_per_iteration


def parse(model_text: str) -> Model:
    """Read a model text.

    Raises `errors.ModelFormatError`, naming line and key, for what LightGBM would not have written: an unknown, missing
    or repeated key, a list of the wrong length, something that is not a number, a child that does not exist or has two
    parents, a size that does not fit, a text that ends early.
    """
    return _Reader(model_text).model()


class _Entry(NamedTuple):
    """A line of the form `key=value`, or one that was meant to be."""

    number: int
    key: str
    value: str = ""


_Block = Mapping[str, _Entry]


def _refuse(at: _Entry, found: str, expected: str) -> NoReturn:
    raise errors.ModelFormatError(
        f"Found {found}, expected {expected}.",
        place=f"LightGBM model text, line {at.number}, {at.key}",
        hint="The text is damaged or not from LightGBM 4.6 or newer. Write it again with Booster.save_model.",
    )


class _Reader:
    """Goes through the lines once. Only the newline character ends one: names may hold Unicode's other separators."""

    def __init__(self, model_text: str) -> None:
        self.lines = model_text.split("\n")
        self.read = 0

    def model(self) -> Model:
        self.expect("tree")
        head = self.block(_HEADER, _HEADER_OPTIONAL)
        if head["version"].value != "v4":
            _refuse(head["version"], _short(head["version"].value), "v4")
        num_class = _int(head["num_class"], 1)
        per_iteration = _int(head["num_tree_per_iteration"], 1)
        num_features = _int(head["max_feature_idx"], 0, _INT32 - 1) + 1
        _int(head["label_index"], -1)
        if "monotone_constraints" in head:
            _ints(head["monotone_constraints"], num_features, -1, 1)
        names = _names(head["feature_names"], num_features)
        infos = _infos(head["feature_infos"], num_features)
        objective = _objective(head["objective"], num_class) if "objective" in head else None

        entry = head["tree_sizes"]
        sizes = _ints(entry, _count(entry), 1, 2**40).tolist()
        if len(sizes) % per_iteration:
            _refuse(entry, f"{len(sizes)} trees", f"a multiple of num_tree_per_iteration, {per_iteration}")
        trees = tuple(self.tree(index, size, num_features) for index, size in enumerate(sizes))
        self.expect("end of trees")
        self.expect("")
        self.importances(names)
        parameters = self.parameters()
        self.end()
        averaged = "average_output" in head
        return Model(num_class, per_iteration, objective, averaged, names, infos, trees, parameters)

    def tree(self, index: int, size: int, num_features: int) -> Tree:
        first = self.read
        self.expect(f"Tree={index}")
        found = self.block(_TREE, _TREE_CATEGORICAL | _TREE_LINEAR)
        self.expect("")
        # The native parser finds the next tree by this size.
        written = sum(len(line.encode()) + 1 for line in self.lines[first : self.read])
        if written != size:
            _refuse(_Entry(first + 1, f"Tree={index}"), f"{written} bytes", f"{size}, as 'tree_sizes' says")
        return _tree(found, num_features)

    def importances(self, names: tuple[str, ...]) -> None:
        self.expect("feature_importances:")
        known = set(names)
        while text := self.line():
            name, _, value = text.rpartition("=")  # a name may contain "="
            if name not in known or not re.fullmatch(_REAL, value):
                _refuse(_Entry(self.read, "feature_importances"), _short(text), "a feature and a number, each once")
            known.remove(name)

    def parameters(self) -> dict[str, str]:
        found: dict[str, str] = {}
        if self.rest().startswith("parameters:"):
            self.expect("parameters:")
            while text := self.line():
                match = _PARAMETER.fullmatch(text)
                if match is None or match[1] in found:
                    _refuse(_Entry(self.read, "parameters"), _short(text), "[name: value], each name once")
                found[match[1]] = match[2]
            self.expect("end of parameters")
            self.expect("")
        return found

    def end(self) -> None:
        """The categories of pandas columns, which the Python package appends, and nothing else."""
        if self.rest().startswith("pandas_categorical:"):
            try:
                json.loads(self.line().removeprefix("pandas_categorical:"))
            except (ValueError, RecursionError):
                _refuse(_Entry(self.read, "pandas_categorical"), "something else", "JSON")
        for number, text in enumerate(self.lines[self.read :], self.read + 1):
            if text:
                _refuse(_Entry(number, "end"), _short(text), "nothing more")

    # --- lines -----------------------------------------------------------------------------------------------------

    def rest(self) -> str:
        """The next line, without reading it; empty at the end."""
        return self.lines[self.read] if self.read < len(self.lines) else ""

    def line(self) -> str:
        if self.read == len(self.lines):
            _refuse(_Entry(self.read, "end"), "the end of the text", "more lines")
        self.read += 1
        return self.lines[self.read - 1]

    def expect(self, literal: str) -> None:
        if (found := self.line()) != literal:
            _refuse(_Entry(self.read, "structure"), _short(found), _short(literal))

    def block(self, required: AbstractSet[str], optional: AbstractSet[str]) -> _Block:
        """Lines of the form `key=value` up to an empty line, which is read too."""
        first = self.read + 1
        found: dict[str, _Entry] = {}
        while text := self.line():
            key, equals, value = text.partition("=")
            entry = _Entry(self.read, f"key {_short(key)}", value)
            if (equals == "=") == (key == "average_output"):
                _refuse(entry, _short(text), "key=value (average_output stands alone)")
            if key not in required and key not in optional:
                _refuse(entry, "an unknown key", f"one of {', '.join(sorted(required | optional))}")
            if key in found:
                _refuse(entry, f"the key a second time (first on line {found[key].number})", "each key once")
            found[key] = entry
        for key in sorted(required - found.keys()):
            _refuse(_Entry(first, f"key {key!r}"), "no such key in the block that starts here", "it")
        return found


# --- parts of the header -------------------------------------------------------------------------------------------


def _names(at: _Entry, count: int) -> tuple[str, ...]:
    names = tuple(at.value.split(" "))
    if len(names) != count or not all(names):
        _refuse(at, f"{len(names)} names", f"{count}, as 'max_feature_idx' says, and none empty")
    if len(set(names)) < count:
        _refuse(at, "a name twice", "each name once")
    return names


def _infos(at: _Entry, count: int) -> tuple[str, ...]:
    infos = tuple(at.value.split(" "))
    if len(infos) != count:
        _refuse(at, f"{len(infos)} entries", f"{count}, as 'max_feature_idx' says")
    for info in infos:
        if not _FEATURE_INFO.fullmatch(info):
            _refuse(at, _short(info), "none, [low:high] or category:category:...")
    return infos


def _objective(at: _Entry, num_class: int) -> Objective:
    name, *options = at.value.split(" ")
    values: dict[str, str] = {}
    for option in options:
        match = _OPTION.fullmatch(option)
        if match is None or match.lastgroup is None or match.lastgroup in values:
            _refuse(at, _short(option), "sqrt, num_class:N or sigmoid:X, each once")
        values[match.lastgroup] = match[match.lastgroup]
    if not name or values.keys() - {"sqrt"} != _OBJECTIVE_OPTIONS.get(name, set()):
        _refuse(at, _short(at.value), "a name, and sigmoid and num_class where the objective has them")
    sigmoid = float(values.get("sigmoid", "1"))
    if not 0.0 < sigmoid < math.inf:
        _refuse(at, f"sigmoid:{sigmoid:g}", "a number above 0")
    if int(values.get("num_class", num_class)) != num_class:
        _refuse(at, f"num_class:{values['num_class']}", f"{num_class}, as 'num_class' says")
    return Objective(name, sigmoid, "sqrt" in values)


# --- trees ---------------------------------------------------------------------------------------------------------


def _tree(found: _Block, num_features: int) -> Tree:
    leaves = _int(found["num_leaves"], 1)
    inner = leaves - 1
    num_cat = _int(found["num_cat"], 0)
    for key in _TREE_CATEGORICAL:
        if (key in found) != (num_cat > 0):
            _refuse(found.get(key, found["num_cat"]), f"num_cat={num_cat}", f"{key!r} only if it is above 0")
    is_linear = _int(found["is_linear"], 0, 1) == 1
    for key in _TREE_LINEAR & found.keys():
        if not is_linear:
            _refuse(found[key], "is_linear=0", "is_linear=1 beside this key")
    # Not needed to predict, but the native parser reads them.
    for key in ("split_gain", "internal_value", "internal_weight", "internal_count"):
        _reals(found[key], inner)
    _reals(found["leaf_weight"], leaves if inner else 0)
    _ints(found["leaf_count"], leaves, 0)

    tree = Tree(
        split_feature=_ints(found["split_feature"], inner, 0, num_features - 1),
        threshold=_reals(found["threshold"], inner),
        decision_type=_ints(found["decision_type"], inner, 0, 4 * Missing.NAN + 3),
        left_child=_ints(found["left_child"], inner, -leaves, inner - 1),
        right_child=_ints(found["right_child"], inner, -leaves, inner - 1),
        leaf_value=_reals(found["leaf_value"], leaves),
        cat_boundaries=_ints(found["cat_boundaries"], num_cat + 1, 0) if num_cat else _NO_INTS,
        cat_threshold=_ints(found["cat_threshold"], _count(found["cat_threshold"]), 0, 2**32 - 1)
        if num_cat
        else _NO_INTS,
        shrinkage=float(_reals(found["shrinkage"], 1)[0]),
        is_linear=is_linear,
    )
    if not np.isfinite(tree.leaf_value).all():
        _refuse(found["leaf_value"], "inf or nan", "finite numbers")
    _check_shape(tree, found)
    _check_thresholds(tree, found, num_cat)
    return tree


def _check_shape(tree: Tree, found: _Block) -> None:
    inner = tree.num_leaves - 1
    nodes = np.arange(inner)
    for key, children in (("left_child", tree.left_child), ("right_child", tree.right_child)):
        back = np.flatnonzero((children >= 0) & (children <= nodes))
        if len(back):
            _refuse(found[key], f"{children[back[0]]} at node {back[0]}, a cycle", "a child after its parent")
    # Leaves first, then nodes: ~leaf is the last of the former, the root the first of the latter.
    parents = np.bincount(np.concatenate([tree.left_child, tree.right_child]) + inner + 1, minlength=2 * inner + 1)
    expected = np.ones_like(parents)
    expected[inner + 1 if inner else 0] = 0
    wrong = np.flatnonzero(parents != expected) - inner - 1
    if len(wrong):
        name = f"leaf {~wrong[0]}" if wrong[0] < 0 else f"node {wrong[0]}"
        _refuse(found["right_child"], f"{parents[wrong[0] + inner + 1]} parents of {name}", "one, and none of node 0")


def _check_thresholds(tree: Tree, found: _Block, num_cat: int) -> None:
    if np.isnan(tree.threshold).any():
        _refuse(found["threshold"], "nan", "numbers")
    sets = np.sort(tree.threshold[tree.categorical])
    if not np.array_equal(sets, np.arange(num_cat)):
        _refuse(found["threshold"], f"{len(sets)} categorical splits", f"one for each of {num_cat} category sets")
    if num_cat:
        bounds = tree.cat_boundaries
        if bounds[0] != 0 or bounds[-1] != len(tree.cat_threshold) or (np.diff(bounds) < 1).any():
            words = len(tree.cat_threshold)
            _refuse(found["cat_boundaries"], "other bounds", f"ascending ones from 0 to the {words} words of the sets")
        if (tree.cat_threshold[bounds[1:] - 1] == 0).any():
            _refuse(found["cat_threshold"], "a set that ends with 0", "no word after that of the highest category")


# --- values --------------------------------------------------------------------------------------------------------

_NO_INTS: Final = np.zeros(0, dtype=np.int64)


def _count(at: _Entry) -> int:
    return at.value.count(" ") + 1 if at.value else 0


def _ints(at: _Entry, count: int, low: int, high: int = _INT32) -> _Ints:
    values = list(map(int, _words(at, count, _INTS, _INT)))
    if values and (min(values) < low or max(values) > high):
        _refuse(at, str(next(value for value in values if not low <= value <= high)), f"numbers from {low} to {high}")
    array = np.array(values, dtype=np.int64)
    array.flags.writeable = False
    return array


def _int(at: _Entry, low: int, high: int = _INT32) -> int:
    return int(_ints(at, 1, low, high)[0])


def _reals(at: _Entry, count: int) -> _Reals:
    array = np.array(list(map(float, _words(at, count, _REALS, _REAL))), dtype=np.float64)
    array.flags.writeable = False
    return array


def _words(at: _Entry, count: int, many: re.Pattern[str], one: str) -> list[str]:
    words = at.value.split(" ") if at.value else []
    if words and not many.fullmatch(at.value):
        _refuse(at, next(_short(word) for word in words if not re.fullmatch(one, word)), "numbers")
    if len(words) != count:
        _refuse(at, f"{len(words)} numbers", str(count))
    return words


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")
