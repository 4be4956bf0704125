"""What the parts of fitting share: the settings, the target, the names that are taken, a column on its way."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from headrace.compute.plan.document import Choice, Scaling
from headrace.compute.plan.statistics import imputation, scaling

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import numpy as np
    import numpy.typing as npt
    import polars as pl

    from headrace.compute.plan.config import ColumnConfig, FeatureConfig, Impute, ModelKind, Scale
    from headrace.compute.plan.document import Decision, Step, Target
    from headrace.compute.plan.encoding import Encoded, Labels
    from headrace.compute.plan.types import Family


class Names:
    """Gives out output names: a column's own name to what it passes through, else a name that is not taken."""

    def __init__(self, taken: Iterable[str]) -> None:
        self._taken = set(taken)

    def derived(self, name: str, outputs: Callable[[str], Iterable[str]] = lambda name: (name,)) -> str:
        """`name`, or with `~2`, `~3`, ... behind it: one of which no output is taken. They are taken then."""
        made, again = name, 2
        while not self._taken.isdisjoint(outputs(made)):
            made, again = f"{name}~{again}", again + 1
        self._taken.update(outputs(made))
        return made


@dataclass(frozen=True)
class Shared:
    """What is the same for all columns."""

    config: FeatureConfig
    model: ModelKind
    target: Target
    labels: Labels
    names: Names
    encoded: list[Encoded] = field(default_factory=list)

    def finish(
        self, values: npt.NDArray[np.float64], impute: Impute | float | None, scale: Scale | None
    ) -> tuple[float | None, Scaling | None]:
        """What stands for a missing quantity, and the scaling, by default what suits the model."""
        import numpy as np

        linear = self.model == "linear"
        filler = imputation(values, impute if impute is not None else "median" if linear else "none")
        filled = values if filler is None else np.where(np.isnan(values), filler, values)
        return filler, scaling(filled, scale or ("standard" if linear else "none"))


@dataclass
class Subject:
    """A column, or several as one, on the way to steps.

    `forced`: a person said by name what it is, so it is not dropped for being dull. `chosen`: a person said what it is,
    be it by a pattern. `series` does not have the column's name: polars takes `^a$` and `*` for patterns, also as the
    name of a series.
    """

    name: str
    reads: tuple[str, ...]
    series: pl.Series
    family: Family
    config: ColumnConfig
    shared: Shared
    forced: bool = False
    steps: list[Step] = field(default_factory=list)

    @property
    def chosen(self) -> bool:
        """Whether `auto` is not asked what it is."""
        return self.config.treat_as is not None

    @property
    def linear(self) -> bool:
        """Whether the features are for a linear model."""
        return self.shared.model == "linear"

    def derived(self, ending: str, outputs: Callable[[str], Iterable[str]] = lambda name: (name,)) -> str:
        """A free name for an output."""
        return self.shared.names.derived(f"{self.name}{ending}", outputs)

    def dropped(self, reason: str) -> Choice:
        """It becomes nothing."""
        self.steps.clear()
        return Choice(column=self.name, decision="dropped", reason=reason)

    def kept(self, decision: Decision, notes: list[str]) -> Choice:
        """It becomes what its steps give."""
        if missing := self.series.null_count():
            notes.append(f"{missing} missing")
        if self.chosen:
            notes.append("as named in `columns`" if len(self.reads) == 1 else "as named in `crosses`")
        outputs = tuple(name for step in self.steps for name in step.gives)
        return Choice(column=self.name, decision=decision, reason="; ".join(notes), outputs=outputs)


def dull(values: npt.NDArray[np.float32] | npt.NDArray[np.float64]) -> str | None:
    """Why a column of numbers can teach nothing, or None. One value and some missing do teach something."""
    import numpy as np

    missing = np.isnan(values)
    if missing.all():
        return "no value in any row"
    if not missing.any() and (values == values[0]).all():
        return f"constant ({values[0]:g})"
    return None


def short(text: str) -> str:
    """A text for a message."""
    return repr(text if len(text) <= 40 else f"{text[:37]}...")
