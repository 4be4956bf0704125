"""The kit for transforms: a healthy one passes, and each way of being wrong fails the check about it."""

from __future__ import annotations

import inspect
import itertools

import pytest

from headrace.testing import transform_conformance

TRANSFORM = '''
from pydantic import BaseModel, ConfigDict, Field
# imports

class Weekend:
    """Whether a day is a Saturday or Sunday."""

    class Config(BaseModel):
        model_config = ConfigDict(extra="forbid", frozen=True)
        column: str = Field(description="The date.")

    def __init__(self, config):
        self.config = config

    @property
    def reads(self):
        return (self.config.column,)

    def transform(self, frame):
        import polars as pl
        day = pl.col(self.config.column)
        return frame.select((day.cast(pl.Int64) % 7 > 4).alias("weekend"))
'''
PLUGIN = """
from headrace import hookimpl

@hookimpl
def headrace_transforms(registry):
    registry.add("weekend", "{module}:Weekend")
"""
NUMBERS = itertools.count()
GIVES = '(day.cast(pl.Int64) % 7 > 4).alias("weekend")'
CASES = {
    "heavy import": (("# imports", "import polars"), "test_is_light_and_quick_to_import", "imports polars"),
    "no description": (('= Field(description="The date.")', ""), "test_says_what_each_key_means", "no description"),
    "can change": ((", frozen=True", ""), "test_says_what_each_key_means", "can be changed"),
    "unknown keys": (('extra="forbid", ', ""), "test_says_what_each_key_means", "takes unknown keys"),
    "a mean": ((GIVES, '(day > day.mean()).alias("weekend")'), "test_gives_the_same_row_by_row", "row"),
    "not new": ((GIVES, "day"), "test_gives_new_columns", "which it was given"),
    "fewer rows": (("frame.select(", "frame.unique().select("), "test_gives_new_columns", "rows for"),
    "a list": ((GIVES, 'pl.concat_list(day).alias("weekend")'), "test_gives_new_columns", "as list"),
    "it raises": ((GIVES, "pl.col('nothing')"), "test_gives_new_columns", "ColumnNotFoundError"),
    "the order": ((GIVES, 'day.shift(1).alias("weekend")'), "test_gives_the_same_again_and_in_any_order", "order"),
    "types by rows": (
        ("return frame", "return frame.select(weekend=1.5) if frame.height == 1 else frame"),
        "test_gives_the_same_row_by_row",
        "types",
    ),
}


def kit(site, *edits):
    text = TRANSFORM
    for old, new in edits:
        assert old in text, old
        text = text.replace(old, new)
    module = f"weekend_{next(NUMBERS)}"
    site.install(
        module.replace("_", "-"),
        plugins={"p": f"{module}_plugin"},
        files={f"{module}_plugin.py": PLUGIN.format(module=module), f"{module}.py": text},
    )
    rows = {"number": [3, None, 12, 7, 7, 5], "other": list("abcdef")}
    return transform_conformance("weekend", config={"column": "number"}, rows=rows)


def run(conformance):
    """Each check by name, and what it said."""
    said = {}
    for name, check in inspect.getmembers(conformance(), inspect.ismethod):
        if name.startswith("test_"):
            try:
                check()
            except Exception as error:  # noqa: BLE001  # any failure of a check
                said[name] = str(error)
    return said


def test_a_healthy_transform_passes_everything(site):
    assert run(kit(site)) == {}


@pytest.mark.parametrize(("edit", "check", "says"), CASES.values(), ids=list(CASES))
def test_each_way_of_being_wrong_fails_its_check(site, edit, check, says):
    said = run(kit(site, edit))
    (name,) = [name for name in said if name.startswith(check)]
    assert says in said[name]
