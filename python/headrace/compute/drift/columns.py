"""Whole frames: every column, one verdict each."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from headrace import _core
from headrace.compute.drift.report import ColumnDrift, DriftPart, DriftReport, Statistic
from headrace.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headrace.compute.profile import Profile, Window
    from headrace.types import SupportsArrowStream

Correction = Literal["bh", "by"]


@dataclass(frozen=True, slots=True)
class CountedColumn:
    """Two rows of counts on the same bins, from wherever: a database, a log, another tool.

    Attributes
    ----------
    name
        Of the column.
    reference, live
        Counts, as many as there are `categories`, or one more than there are `edges`.
    categories
        Names of nominal ones. What is not in the reference by its making is counted in `unseen` instead.
    edges
        Ascending inner edges of ordered ones; the outer bins are open, so no distance in the unit of the values is
        said.
    null, nan, unseen
        Rows without a value, of the reference and live; live rows of categories that the reference does not have.
    """

    name: str
    reference: Sequence[int]
    live: Sequence[int]
    categories: Sequence[str] | None = None
    edges: Sequence[float] | None = None
    null: tuple[int, int] = (0, 0)
    nan: tuple[int, int] = (0, 0)
    unseen: int = field(default=0)


def compare(
    reference: Profile | SupportsArrowStream,
    live: Window | Profile | SupportsArrowStream,
    *,
    delta: float | Mapping[str, float] = 0.1,
    delta_rate: float = 0.02,
    alpha: float = 0.05,
    power: float = 0.8,
    importance: Mapping[str, float] | None = None,
    correction: Correction = "bh",
    segment: str | None = None,
    columns: Sequence[str] | None = None,
    without: Sequence[str] = (),
    new_columns: Literal["error", "ignore"] = "error",
    draws: int = 199,
    threads: int | None = None,
) -> DriftReport:
    """Has anything changed that matters? Every column, with one verdict.

    A column drifted if the lower confidence bound of its change lies above what matters, at a false discovery rate of
    `alpha` over all columns; it did not if the upper bound lies below; else there are not enough data. So fifty rows
    alarm on nothing, and neither does a million.

    Parameters
    ----------
    reference
        A profile, or a frame that one is fitted on.
    live
        A window of that profile, or a frame that is counted on its bins. A profile on the same bins stands for its own
        rows.
    delta
        Changes up to this size do not matter: a share of rows, 0 to 1. Of ordered columns it is the Kolmogorov-Smirnov
        distance (at no threshold do the shares of rows below it differ by more), of nominal ones the total variation
        (the share of rows that would have to change category), of embeddings the maximum mean discrepancy. A mapping
        gives it by column; others have 0.1.
    delta_rate
        The same for the rates of null, NaN, and unseen categories.
    alpha
        False discovery rate, level of every test, and of every one-sided confidence bound.
    power
        With what probability a change of the stated detectable size is seen.
    importance
        Weights of columns in the ranking, 1 where nothing is said. What is derived from a column (`departed (hour)`)
        has the column's.
    correction
        `"bh"`: Benjamini-Hochberg, for columns that are independent or rise together. `"by"`: Benjamini-Yekutieli,
        whatever they have to do with each other, at the price of power.
    segment
        Compare this segment of the profile only.
    columns
        Only these, with what is derived from them; the false discovery rate is over them.
    without
        Not these: names as the report has them, so that `departed` leaves `departed (hour)` in.
    new_columns
        What to do about columns of a frame that the reference does not have.
    draws
        Draws from "nothing changed" for statistics whose distribution has no formula. No verdict rests on them.
    threads
        At most so many columns at once; default: as many as the process may use. The report does not depend on it.

    Returns
    -------
    DriftReport
        First the columns that drifted, then the undecided, each by size times importance.

    Raises
    ------
    DataError
        A column is missing, new or has another type; the window is of another reference; a setting cannot be meant.

    """
    from headrace.compute.profile import Profile, Window

    asked = _Asked(delta, delta_rate, alpha, power, importance, correction, draws, threads)
    first = reference if isinstance(reference, Profile) else Profile.fit(reference, threads=threads)
    if isinstance(live, Window):
        window = live
    elif isinstance(live, Profile):
        window = live.as_window()
    else:
        window = first.window()
        window.update(live, new_columns=new_columns, threads=threads)
    number = None if segment is None else first._segment(segment)  # noqa: SLF001  # the same room
    for name in columns or ():
        if name not in first.columns:
            raise DataError(
                "the reference has no such column",
                place=f"column '{name}'",
                hint=f"It has {', '.join(list(first.columns)[:20])}.",
            )
    wanted = None if columns is None else list(columns)
    answers = _core.drift_compare(
        first._core,  # noqa: SLF001
        window._core,  # noqa: SLF001
        asked.as_dict(),
        segment=number,
        columns=wanted,
        without=list(without),
    )
    return asked.report(answers)


def compare_counts(columns: Sequence[CountedColumn], **options: Any) -> DriftReport:
    """As `compare`, for counts that are there already. Options are those of `compare`."""
    asked = _Asked(**options)
    return asked.report(_core.drift_compare_counts([_counted(column) for column in columns], asked.as_dict()))


@dataclass(frozen=True)
class _Asked:
    delta: float | Mapping[str, float] = 0.1
    delta_rate: float = 0.02
    alpha: float = 0.05
    power: float = 0.8
    importance: Mapping[str, float] | None = None
    correction: Correction = "bh"
    draws: int = 199
    threads: int | None = None

    def __post_init__(self) -> None:
        if self.correction not in ("bh", "by"):
            raise DataError(f'correction is {self.correction!r}, expected "bh" or "by"')
        if self.threads is not None and self.threads < 1:
            raise DataError(f"threads is {self.threads}, expected at least 1", hint="Leave it out to use all.")
        for name, weight in (self.importance or {}).items():
            if not 0 <= weight < float("inf"):
                raise DataError(f"its importance is {weight}, expected a number from 0 on", place=f"column '{name}'")

    def as_dict(self) -> dict[str, Any]:
        own = isinstance(self.delta, Mapping)
        return {
            "delta": 0.1 if own else self.delta,
            "deltas": dict(self.delta) if isinstance(self.delta, Mapping) else {},
            "delta_rate": self.delta_rate,
            "alpha": self.alpha,
            "power": self.power,
            "draws": self.draws,
            "any_dependence": self.correction == "by",
            "threads": self.threads or len(os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else [0]),
        }

    def report(self, answers: list[dict[str, Any]]) -> DriftReport:
        importance = self.importance or {}
        names = {name for answer in answers for name in (answer["name"], _source(answer["name"]))}
        unknown = sorted(set(importance) - names)
        if unknown:
            raise DataError(
                "there is an importance for the column, but no such column",
                place=f"column '{unknown[0]}'",
                hint="Check its spelling, or leave it out.",
            )
        weights = [importance.get(name, importance.get(_source(name), 1.0)) for name in (a["name"] for a in answers)]
        columns = [_column(answer, weight) for answer, weight in zip(answers, weights, strict=True)]
        order = {"drift": 0, "not enough data": 1, "no drift": 2}
        columns.sort(key=lambda column: (order[column.verdict], -_weight(column)))
        ranked = tuple(_ranked(column, rank) for rank, column in enumerate(columns, 1))
        settings = {
            "delta": dict(self.delta) if isinstance(self.delta, Mapping) else self.delta,
            "delta_rate": self.delta_rate,
            "alpha": self.alpha,
            "power": self.power,
            "draws": self.draws,
            "correction": self.correction,
        }
        return DriftReport(ranked, settings)


def _source(name: str) -> str:
    """The column that another is derived from: `departed` of `departed (hour)`."""
    return name.rpartition(" (")[0] if name.endswith(")") else name


def _weight(column: ColumnDrift) -> float:
    size = column.effect.size
    return 0.0 if math.isnan(size) else size * column.importance


def _ranked(column: ColumnDrift, rank: int) -> ColumnDrift:
    from dataclasses import replace

    return replace(column, rank=rank)


def _column(answer: Mapping[str, Any], importance: float) -> ColumnDrift:
    parts = {part["name"]: DriftPart(**part) for part in answer["parts"]}
    rows, values = tuple(answer["rows"]), tuple(answer["values"])
    statistics = {}
    for one in answer["measures"]:
        n, m = rows if one["name"] in ("null_rate", "nan_rate") else values
        statistics[one["name"]] = Statistic(
            name=one["name"],
            statistic=one["value"],
            pvalue=one["pvalue"],
            low=one["low"],
            high=one["high"],
            bound=one["bound"],
            detectable=one["detectable"],
            n=n,
            m=m,
            method=one["method"],
        )
    return ColumnDrift(
        name=answer["name"],
        kind=answer["kind"],
        verdict=answer["verdict"],
        effect=parts[answer["leading"]],
        pvalue=answer["pvalue"],
        pvalue_delta=answer["pvalue_delta"],
        pvalue_adjusted=answer["pvalue_adjusted"],
        importance=importance,
        rank=0,
        rows=rows,
        values=values,
        statistics=statistics,
        parts=parts,
    )


def _counted(column: CountedColumn) -> dict[str, Any]:
    place = f"column '{column.name}'"
    reference, live = [int(count) for count in column.reference], [int(count) for count in column.live]
    bins: list[tuple[str, float, float, str]]
    if (column.edges is None) == (column.categories is None):
        raise DataError("it needs either edges or categories", place=place)
    if column.edges is not None:
        edges = [float(edge) for edge in column.edges]
        if any(not a < b for a, b in itertools.pairwise(edges)):
            raise DataError("its edges do not ascend", place=place)
        ends = [float("-inf"), *edges, float("inf")]
        bins = [("interval", a, b, "") for a, b in itertools.pairwise(ends)]
    else:
        names = () if column.categories is None else column.categories
        bins = [("category", 0.0, 0.0, str(name)) for name in names]
        bins.append(("unseen", 0.0, 0.0, ""))
        reference, live = [*reference, 0], [*live, int(column.unseen)]
    if not len(reference) == len(live) == len(bins):
        raise DataError("it has more or fewer counts than bins", place=place)
    if min([*reference, *live, *column.null, *column.nan], default=0) < 0:
        raise DataError("it has a count below 0", place=place)
    return {
        "name": column.name,
        "ordered": column.edges is not None,
        "bins": bins,
        "reference": reference,
        "live": live,
        "null": column.null,
        "nan": column.nan,
        "pos_inf": (0, 0),
        "neg_inf": (0, 0),
        "moments": ((0.0, 0.0, 0.0), (0.0, 0.0, 0.0)),
    }
