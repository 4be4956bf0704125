"""What every transform must do, as tests: `transform_conformance` makes the class that pytest collects."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from headrace.errors import HeadraceError
from headrace.hooks.manager import PluginManager
from headrace.hooks.reference import config_keys
from headrace.hooks.transforms import Transforms, check_transform
from headrace.testing.fresh import check_light, check_quick, fail

if TYPE_CHECKING:
    from collections.abc import Mapping

    import polars as pl
    from pydantic import BaseModel

    from headrace.types import BoundTransform

_UNKNOWN_KEY = "no_such_key_of_any_transform"


@dataclass(frozen=True)
class TransformSubject:
    """The transform under test, and what it is tested with."""

    name: str
    config: Mapping[str, Any]
    rows: Any

    @cached_property
    def manager(self) -> PluginManager:
        return PluginManager.discover()

    @cached_property
    def source(self) -> Transforms:
        return Transforms(lambda: self.manager.transforms, lambda _module: "")

    @cached_property
    def bound(self) -> BoundTransform:
        return self.source.bind(self.name, self.config)

    @cached_property
    def config_model(self) -> type[BaseModel]:
        return check_transform(self.source.find(self.name)[1])

    @cached_property
    def frame(self) -> pl.DataFrame:
        import polars as pl

        from headrace.compute.plan.transforms import read_columns

        whole = pl.DataFrame(self.rows)
        return whole.select(read_columns(self.bound, whole.columns))

    def given(self, frame: pl.DataFrame) -> pl.DataFrame:
        from headrace.compute.plan.transforms import given_by

        return given_by(self.bound, frame)


def transform_conformance(
    name: str, *, rows: Any, config: Mapping[str, Any] | None = None
) -> type[TransformConformance]:
    """A pytest class that checks the transform `name` of an installed plugin. Assign it to a name like `TestHolidays`.

    Parameters
    ----------
    name
        Under what the transform is registered.
    rows
        Rows to try it with: a dict of columns, or any frame that speaks Arrow. Good ones have nulls, extremes and
        repeated values, in an order that is not sorted.
    config
        A working config, as `config` of its table in `[[features.transforms]]` would say it.

    """
    subject = TransformSubject(name, dict(config or {}), rows)
    return type("TransformConformance", (TransformConformance,), {"subject": subject})


class TransformConformance:
    """The checks of a transform. Made by `transform_conformance`."""

    subject: ClassVar[TransformSubject]

    def test_is_registered_once_and_keeps_the_contract(self) -> None:
        """`use = "name"` finds it, nobody else claims the name, and it has `Config`, `reads` and `transform`."""
        try:
            entry, _ = self.subject.source.find(self.subject.name)
            self.subject.bound  # noqa: B018  # makes it
        except HeadraceError as error:
            fail(str(error), "Is it installed (`pip install -e .`) and registered? See `headrace plugins doctor`.")
        for problem in self.subject.manager.problems:
            if problem.distribution == entry.distribution and problem.phase != "observer":
                fail(f"{problem.distribution}: {problem.message}", "See `headrace plugins doctor`.")

    def test_is_light_and_quick_to_import(self) -> None:
        """Serving imports it at start; polars is at hand when `transform` is called."""
        entry, _ = self.subject.source.find(self.subject.name)
        plugins = [p for p in self.subject.manager.plugins if p.distribution == entry.distribution]
        modules = [*(p.target.partition(":")[0] for p in plugins), entry.target.partition(":")[0]]
        check_light(modules)
        check_quick(modules)

    def test_says_what_each_key_means_and_refuses_others(self) -> None:
        """As for stages: a typing error in a config is an error, and a config cannot change."""
        from pydantic import ValidationError

        model = self.subject.config_model
        for key in config_keys(model):
            if not key.meaning:
                fail(
                    f"the config key {key.name!r} has no description",
                    'Write it as `Field(..., description="...")`.',
                )
        if not model.model_config.get("frozen"):
            fail("the Config can be changed", 'Set `model_config = ConfigDict(extra="forbid", frozen=True)`.')
        try:
            model.model_validate({**self.subject.config, _UNKNOWN_KEY: 1})
        except ValidationError:
            return
        fail("the Config takes unknown keys", 'Set `model_config = ConfigDict(extra="forbid", frozen=True)`.')

    def test_gives_new_columns_for_the_same_rows(self) -> None:
        """Names that it was not given, types that a plan knows, one row for each; and leaves its input alone."""
        before = self.subject.frame.clone()
        self.subject.given(self.subject.frame)
        if not self.subject.frame.equals(before):
            fail("it changes the frame that it is given", "Work on a copy: polars' expressions make one.")

    def test_gives_the_same_row_by_row(self) -> None:
        """In training it sees a table, in serving perhaps one row: the values must be the same."""
        import polars as pl

        whole = self.subject.given(self.subject.frame)
        parts = [self.subject.given(self.subject.frame[at : at + 1]) for at in range(self.subject.frame.height)]
        for at, part in enumerate(parts):
            if part.schema != whole.schema:
                fail(f"row {at} alone gives {part.schema}, all rows {whole.schema}", "Cast to fixed types.")
        if parts and not pl.concat(parts).equals(whole, null_equal=True):
            fail(
                "rows one at a time give other values than all at once",
                "Compute from the row and the config alone; means, ranks and vocabularies belong into the plan.",
            )

    def test_gives_the_same_again_and_in_any_order(self) -> None:
        """Nothing is kept from one call to the next."""
        frame = self.subject.frame
        first = self.subject.given(frame)
        turned = self.subject.given(frame.reverse()).reverse()
        if not first.equals(self.subject.given(frame), null_equal=True):
            fail("it gives other values the second time", "Take no randomness, no clock, no state.")
        if not first.equals(turned, null_equal=True):
            fail("it gives other values when the rows are in another order", "Compute row by row.")

    def test_a_table_without_rows_has_the_same_types(self) -> None:
        """A batch may be empty."""
        whole, empty = self.subject.given(self.subject.frame), self.subject.given(self.subject.frame.clear())
        if empty.schema != whole.schema:
            fail(f"without rows it gives {empty.schema}, with rows {whole.schema}", "Cast to fixed types.")

    def test_a_row_of_nulls_is_no_accident(self) -> None:
        """Missing values come in serving even where training had none; an error of headrace is an answer, too."""
        frame = self.subject.frame
        try:
            self.subject.given(frame.clear(1))
        except HeadraceError as error:
            if not error.hint:
                fail(f"for missing values it says {error.message!r} without a way out", "Give the error a `hint`.")
