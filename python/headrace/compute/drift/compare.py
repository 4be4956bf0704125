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


def compare_counts(columns: Sequence[CountedColumn], **options: Any) -> DriftReport:
    """As `compare`, for counts that are there already. Options are those of `compare`."""
    asked = _Asked(**options)
    return asked.report(_core.drift_compare([_counted(column) for column in columns], asked.as_dict()))


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
        unknown = sorted(set(importance) - {answer["name"] for answer in answers})
        if unknown:
            raise DataError(
                "there is an importance for the column, but no such column",
                place=f"column '{unknown[0]}'",
                hint="Check its spelling, or leave it out.",
            )
        columns = [_column(answer, importance.get(answer["name"], 1.0)) for answer in answers]
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
