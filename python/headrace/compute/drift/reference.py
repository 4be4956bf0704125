"""A reference to compare live rows with: of a model package, or of any profile."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from headrace.compute.drift.columns import compare
from headrace.compute.drift.report import ColumnDrift, DriftReport, SegmentDrift
from headrace.compute.drift.segments import by_segment
from headrace.compute.inference import Predictor
from headrace.compute.profile import Profile, Window
from headrace.errors import DataError, RegistryError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import polars as pl

    from headrace.compute.plan.feature_plan import FeaturePlan
    from headrace.types import PackageView, TransformSource

INPUTS, SCORES = "profile.bin", "scores.bin"
LEAST = 0.01  # of the greatest importance: what the model hardly uses still has an order among itself
_ROWS_AT_ONCE = 200_000
_ORDER = {"drift": 0, "not enough data": 1, "no drift": 2}


@dataclass(frozen=True)
class Windows:
    """Rows counted on the bins of a reference: the raw inputs, and what the model says of them."""

    inputs: Window
    scores: Window | None = None

    @property
    def rows(self) -> int:
        """How many rows were counted."""
        return self.inputs.rows


@dataclass(frozen=True)
class Reference:
    """What live rows are compared with.

    `inputs` and `scores` are profiles; a reference without `predictor` has no scores. `importance` is a weight a
    column, 1 for the most important. `about` goes into every report.
    """

    inputs: Profile
    scores: Profile | None = None
    predictor: Predictor | None = None
    importance: Mapping[str, float] | None = None
    about: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def fit(
        cls,
        predictor: Predictor,
        train: pl.DataFrame,
        test: pl.DataFrame,
        *,
        segments: str | None = None,
        threads: int | None = None,
    ) -> Reference:
        """The plan's raw inputs in the training rows, and what the model says of the test rows.

        The up to 32 most frequent values of the column `segments` have counts of their own. It is one that the plan
        reads, since live rows need not have others; whole numbers are read as categories then. `DataError` for another.

        Scores of the training rows are of no use: the model has seen the answers there, so it is surer than it will
        ever be again, and rows like those of training would look as if they had drifted.
        """
        wanted = list(predictor.plan.inputs)
        for name in wanted:
            if name not in train.columns:
                raise DataError(
                    "the training rows lack a column that the plan reads",
                    place=f"column {name!r}",
                    hint="Pass the rows that the plan was fitted on.",
                )
        kinds: dict[str, Literal["category"]] = {}
        if segments is not None:
            if segments not in wanted:
                raise DataError(
                    "the model does not read the column of the segments, so live rows need not have it",
                    place=f"column {segments!r}",
                    hint=f"It reads {', '.join(wanted[:20])}.",
                )
            if train.schema[segments].is_integer():
                kinds[segments] = "category"
        inputs = Profile.fit(train[wanted], kinds=kinds, segments=segments, threads=threads)
        scores = Profile.fit(scored(predictor, test), kinds=_kinds(predictor), threads=threads)
        return cls(inputs, scores, predictor)

    def files(self) -> dict[str, bytes]:
        """What a package keeps of it, to be read again by `of_package`."""
        found = {INPUTS: self.inputs.to_bytes()}
        return found if self.scores is None else found | {SCORES: self.scores.to_bytes()}

    @classmethod
    def of_package(
        cls,
        package: PackageView,
        *,
        scores: bool = True,
        predict: bool = True,
        transforms: TransformSource | None = None,
        threads: int = 1,
    ) -> Reference:
        """The reference that a package has. Raises `RegistryError` where it has none.

        Without `predict` it is for windows that were counted elsewhere: it has scores, and no predictor.
        """
        place = f"{package.version.name}@{package.version.number}"
        kept = package.manifest["files"]
        if INPUTS not in kept:
            raise RegistryError(
                "this version has no reference profile",
                place=place,
                hint="Register the model again with `profile = true` in the stage [register].",
            )
        with_scores = scores and SCORES in kept
        predictor = None
        if with_scores and predict:
            predictor = Predictor.from_package(package, threads=threads, transforms=transforms)
        about = {"model": package.version.name, "version": package.version.number, "package": package.version.package}
        return cls(
            inputs=Profile.from_bytes(package.read(INPUTS)),
            scores=Profile.from_bytes(package.read(SCORES)) if with_scores else None,
            predictor=predictor,
            importance=_weights(json.loads(package.read("metrics.json")).get("importance") or {}),
            about=about,
        )

    def counted(self, frame: pl.DataFrame | Iterable[pl.DataFrame], *, threads: int | None = None) -> Windows:
        """The rows of a frame, or of its batches, on the bins.

        `DataError` that names a column which is missing or of another type.
        """
        import polars as pl

        windows = Windows(self.inputs.window(), None if self.scores is None else self.scores.window())
        for one in [frame] if isinstance(frame, pl.DataFrame) else frame:
            names = [name for name in self.inputs.columns if name in one.columns]
            for start in range(0, max(one.height, 1), _ROWS_AT_ONCE):
                part = one.slice(start, _ROWS_AT_ONCE)
                windows.inputs.update(part[names], threads=threads)
                if windows.scores is not None and self.predictor is not None and part.height:
                    windows.scores.update(scored(self.predictor, part), threads=threads)
        return windows

    def compare(
        self,
        windows: Windows,
        *,
        delta: float | Mapping[str, float] = 0.1,
        alpha: float = 0.05,
        columns: Sequence[str] | None = None,
        threads: int | None = None,
    ) -> DriftReport:
        """One report. Inputs and scores are two questions, each with a false discovery rate of its own.

        `columns`: only these. Default: all, but of dates and moments only weekday and hour: see `moving`. Raises
        `DataError` for one that the reference does not have.
        """
        columns = columns or None
        options: dict[str, Any] = {"delta": delta, "alpha": alpha, "threads": threads}
        scores = () if self.scores is None or windows.scores is None else tuple(self.scores.columns)
        found: list[ColumnDrift] = []
        inputs = columns and [name for name in columns if name not in scores]
        if inputs is None or inputs:
            without = self.moving if columns is None else ()
            report = compare(self.inputs, windows.inputs, columns=inputs, without=without, **options)
            found += report.columns
        chosen = columns and [name for name in columns if name in scores]
        if self.scores is not None and windows.scores is not None and (chosen is None or chosen):
            report = compare(self.scores, windows.scores, columns=chosen, **options)
            found += report.columns
        return DriftReport(self._ranked(found, scores), report.settings, self.about)

    def by_segment(
        self,
        windows: Windows,
        *,
        delta: float | Mapping[str, float] = 0.1,
        alpha: float = 0.05,
        columns: Sequence[str] | None = None,
        threads: int | None = None,
    ) -> tuple[SegmentDrift, ...]:
        """The inputs within each segment of the reference, for `DriftReport.segments`; nothing where it has none.

        All are one question with one false discovery rate: see `by_segment` of `headrace.drift`.
        """
        by = self.inputs.segmented_by
        chosen = columns and [name for name in columns if name in self.inputs.columns and name != by]
        if by is None or (columns and not chosen):
            return ()
        found = by_segment(
            self.inputs,
            windows.inputs,
            by,
            alpha=alpha,
            columns=chosen or None,
            without=() if columns else self.moving,
            delta=delta,
            threads=threads,
        )
        return tuple(
            replace(one, report=replace(one.report, columns=self._ranked(one.report.columns, ()), about=self.about))
            for one in found
        )

    def _ranked(self, found: Iterable[ColumnDrift], scores: Sequence[str]) -> tuple[ColumnDrift, ...]:
        weights = self.importance
        if weights:
            found = [replace(c, importance=1.0 if c.name in scores else _weight_of(c.name, weights)) for c in found]
        ordered = sorted(
            found, key=lambda c: (_ORDER[c.verdict], -c.effect.size * c.importance if c.effect.size > 0 else 0.0)
        )
        return tuple(replace(column, rank=rank) for rank, column in enumerate(ordered, 1))

    @property
    def moving(self) -> tuple[str, ...]:
        """Columns of dates and moments. They move on with time whatever happens, so that is no drift."""
        return tuple(name for name, kind in self.inputs.columns.items() if kind in ("date", "datetime"))


def scored(predictor: Predictor, frame: pl.DataFrame) -> pl.DataFrame:
    """What the model says of rows, as columns to watch: the prediction, and probabilities that follow from no other.

    A name that an input has as well gets ` (model)` after it.
    """
    found = predictor.predict(frame)
    if len(predictor.plan.classes) == 2:
        found = found.drop(found.columns[1])
    inputs = predictor.plan.inputs
    return found.rename({name: _scored_name(name, inputs) for name in found.columns})


def score_columns(plan: FeaturePlan) -> list[tuple[int, str]]:
    """Which outputs of a predictor `scored` keeps, by position, and what it calls them."""
    names = ["prediction", *(f"probability_{name}" for name in plan.class_names)]
    found = [(index, _scored_name(name, plan.inputs)) for index, name in enumerate(names)]
    return found[:1] + found[2:] if len(plan.classes) == 2 else found


def _kinds(predictor: Predictor) -> dict[str, Literal["category"]]:
    """Labels are categories, also where they are numbers."""
    if not predictor.plan.classes or not all(isinstance(label, int | str) for label in predictor.plan.classes):
        return {}
    return {_scored_name("prediction", predictor.plan.inputs): "category"}


def _weight_of(column: str, weights: Mapping[str, float]) -> float:
    """The weight of a column, or of the column that it is a part of: `departed (hour)`."""
    name = column if column in weights else column.rpartition(" (")[0]
    return weights.get(name, LEAST)


def _scored_name(name: str, inputs: Mapping[str, str]) -> str:
    return f"{name} (model)" if name in inputs else name


def _weights(importance: Mapping[str, float]) -> dict[str, float]:
    """Importance in proportion to the greatest one, not below `LEAST`."""
    most = max(importance.values(), default=0.0)
    if not most > 0:
        return {}
    return {name: max(value / most, LEAST) for name, value in importance.items()}
