"""Columns that Python gives a plan: checked when it is fitted, the same wherever it runs, refused where they differ."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import polars as pl
import pytest

from headrace import FeaturePlan
from headrace.errors import ConfigError, DataError, HeadraceError, PluginError, UnknownNameError
from headrace.types import BoundTransform


class Squared:
    """By default the square of x; `how` may be replaced to misbehave."""

    def __init__(self, config):
        self.config = config

    @property
    def reads(self):
        return tuple(self.config.get("reads", ("x",)))

    def transform(self, frame):
        return self.config["how"](frame)


def squared(frame):
    return frame.select((pl.col("x").cast(pl.Float64) ** 2).alias("x squared"))


@dataclass
class Source:
    """Transforms by name, without plugins."""

    how: dict = field(default_factory=lambda: {"squared": squared})
    version: str = "1.0"
    reads: tuple[str, ...] = ("x",)

    def bind(self, use, config):
        if use not in self.how:
            raise UnknownNameError(f"there is no transform {use!r}", hint="Install it.")
        code = Squared({"how": self.how[use], "reads": self.reads})
        return BoundTransform(use, "squares", self.version, "", dict(config), code)


FRAME = pl.DataFrame(
    {
        "x": [1, 2, None, 4, 5, 6] * 5,
        "c": ["a", "b", "c", None, "a", "b"] * 5,
        "y": [True, False, False, True, True, False] * 5,
    }
)


def fit(source=None, frame=FRAME, **config):
    config = {"transforms": [{"use": "squared"}], **config}
    return FeaturePlan.fit(frame, target="y", task="binary", config=config, transforms=source or Source())


def test_a_given_column_becomes_a_feature_like_any_other():
    plan = fit()
    assert plan.outputs == ("x", "c", "x squared")
    assert list(plan.inputs) == ["x", "c"]
    assert plan.sources == {"x": ("x",), "c": ("c",), "x squared": ("x",)}
    (about,) = plan.transforms
    assert (about["use"], about["distribution"], about["version"]) == ("squared", "squares", "1.0")
    assert about["reads"] == [{"name": "x", "type": "int64", "nullable": True}]
    assert about["gives"] == [{"name": "x squared", "type": "float64", "nullable": True}]
    matrix = plan.matrix(FRAME.drop("y"))
    assert np.array_equal(matrix[:, 2], FRAME["x"].cast(pl.Float32).to_numpy() ** 2, equal_nan=True)


def test_a_column_that_only_a_transform_reads_is_an_input():
    plan = fit(exclude=["x"])
    assert plan.outputs == ("c", "x squared")
    assert list(plan.inputs) == ["c", "x"]
    with pytest.raises(DataError, match="'x'"):
        plan.matrix(FRAME.drop("x"))


def test_a_transform_reads_what_one_before_it_gave():
    source = Source({"squared": squared, "plus": lambda f: f.select((pl.col("x squared") + 1).alias("plus"))})
    source.bind = lambda use, config, bind=source.bind: _reading(
        bind(use, config), "x" if use == "squared" else "x squared"
    )
    plan = fit(source, transforms=[{"use": "squared"}, {"use": "plus"}])
    assert list(plan.inputs) == ["x", "c"]
    assert plan.sources["plus"] == ("x",)
    assert plan.matrix(FRAME)[1].tolist() == [2.0, 1.0, 4.0, 5.0]


def _reading(bound, name):
    bound.code.config["reads"] = (name,)
    return bound


def test_a_plan_from_its_document_must_be_bound_and_is_the_same_then():
    plan = fit()
    again = FeaturePlan.from_document(plan.document)
    assert again == plan
    with pytest.raises(ConfigError, match="squared of squares"):
        again.matrix(FRAME)
    assert np.array_equal(again.bind(Source()).matrix(FRAME), plan.matrix(FRAME), equal_nan=True)


def test_the_transform_sees_the_types_of_training():
    """A null made integers of x floats on the way, text became a categorical: in Python they are as they were."""
    seen = []

    def remember(frame):
        seen.append(dict(frame.schema))
        return squared(frame)

    plan = fit(Source({"squared": remember}))
    plan.matrix(FRAME.with_columns(pl.col("x").cast(pl.Float32)))
    assert {str(schema) for schema in seen} == {str({"x": pl.Int64})}


def test_a_row_alone_and_among_others_is_the_same():
    plan = fit()
    whole = plan.matrix(FRAME)
    for row in range(6):
        assert np.array_equal(plan.matrix(FRAME[row : row + 1]), whole[row : row + 1], equal_nan=True)


BAD = {
    "looks at other rows": (
        lambda f: f.select((pl.col("x") - pl.col("x").mean()).alias("d")),
        DataError,
        "alone gives",
    ),
    "fewer rows": (lambda f: squared(f).head(1), PluginError, "1 rows for 30"),
    "no frame": (lambda f: f["x"], PluginError, "it gave Series"),
    "an old name": (lambda f: f, PluginError, "which it was given"),
    "a taken name": (lambda f: f.select(pl.col("x").alias("c")), ConfigError, "there is one already"),
    "a list": (lambda f: f.select(pl.concat_list("x").alias("l")), PluginError, "as list"),
    "raises": (lambda _: 1 / 0, PluginError, "ZeroDivisionError"),
    "no columns": (lambda f: f.select([]), PluginError, "0 rows|no columns"),
}


@pytest.mark.parametrize(("how", "error", "says"), BAD.values(), ids=list(BAD))
def test_what_a_transform_must_not_do(how, error, says):
    with pytest.raises(error, match=says) as caught:
        fit(Source({"squared": how}))
    assert caught.value.hint
    assert caught.value.place


def test_the_target_is_not_to_be_read():
    with pytest.raises(ConfigError, match="the target"):
        fit(Source(reads=("x", "y")))


def test_a_column_that_is_not_there_is_named_with_the_nearest():
    with pytest.raises(DataError, match="'xx'") as caught:
        fit(Source(reads=("xx",)))
    assert "'x'" in caught.value.hint


def test_without_a_place_to_look():
    with pytest.raises(ConfigError, match="where to find it"):
        FeaturePlan.fit(FRAME, target="y", task="binary", config={"transforms": [{"use": "squared"}]})


def test_another_version_that_gives_other_types_is_refused():
    other = Source({"squared": lambda f: f.select((pl.col("x") ** 2).cast(pl.Int32).alias("x squared"))}, "2.0")
    plan = FeaturePlan.from_document(fit().document).bind(other)
    with pytest.raises(PluginError, match="in training") as caught:
        plan.matrix(FRAME)
    assert "2.0" in str(caught.value)


def test_one_that_is_not_installed_is_named_with_where_it_came_from():
    plan = FeaturePlan.from_document(fit().document)
    with pytest.raises(HeadraceError, match="no transform 'squared'") as caught:
        plan.bind(Source({}))
    assert "squares 1.0" in caught.value.hint


def test_a_changed_version_config_or_source_is_another_plan():
    assert fit(Source(version="2.0")).fingerprint != fit().fingerprint
    assert fit(transforms=[{"use": "squared", "config": {"a": 1}}]).fingerprint != fit().fingerprint
