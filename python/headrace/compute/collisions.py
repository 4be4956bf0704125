"""What features share a column of a hashed matrix, as values that can be shown and kept."""

from __future__ import annotations

import html
import json
import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


@dataclass(frozen=True, slots=True)
class HashedFeature:
    """A feature and where it went.

    `value` is the category, or the token; None if the feature is a number. `bucket` is its column of the matrix, `sign`
    what its values are multiplied by, and `count` in how many places of the frame it stands.
    """

    column: str
    value: str | None
    bucket: int
    sign: int
    count: int

    @property
    def name(self) -> str:
        """What is hashed by scikit-learn: `column=value`, or the name of a number's column."""
        return self.column if self.value is None else f"{self.column}={self.value}"


@dataclass(frozen=True, slots=True)
class CollisionReport:
    """How full a hashed matrix is, and what meets in it.

    Parameters
    ----------
    n_features
        Columns of the matrix.
    rows, values, features
        Rows of the frame; values that are hashed (one for each feature of each row); distinct features.
    load
        Distinct features for each column.
    occupied, expected_occupied
        Columns with at least one feature; how many a random hash would give.
    colliding, expected_colliding
        Features that share their column with another; how many a random hash would give.
    shared_mass
        Share of the values that stand in a column that is shared.
    collision_mass
        Share of the values that are taken for another feature's: those in a shared column that are not of its most
        frequent feature.
    share, suggested_n_features
        The smallest power of two of columns with which `collision_mass` of this frame is at most `share`; None if there
        is none below 2^31.
    worst
        Pairs of features of one column, those first whose rarer one is most frequent.

    """

    n_features: int
    rows: int
    values: int
    features: int
    load: float
    occupied: int
    expected_occupied: float
    colliding: int
    expected_colliding: float
    shared_mass: float
    collision_mass: float
    share: float
    suggested_n_features: int | None
    worst: tuple[tuple[HashedFeature, HashedFeature], ...]

    @classmethod
    def of(
        cls,
        *,
        n_features: int,
        rows: int,
        values: int,
        features: int,
        occupied: int,
        colliding: int,
        shared_values: int,
        confused_values: int,
        share: float,
        suggested_n_features: int | None,
        worst: tuple[tuple[HashedFeature, HashedFeature], ...],
    ) -> Self:
        """The report of these counts."""
        return cls(
            n_features=n_features,
            rows=rows,
            values=values,
            features=features,
            load=features / n_features,
            occupied=occupied,
            expected_occupied=n_features * _some_hit(features, n_features),
            colliding=colliding,
            expected_colliding=features * _some_hit(features - 1, n_features),
            shared_mass=shared_values / values if values else 0.0,
            collision_mass=confused_values / values if values else 0.0,
            share=share,
            suggested_n_features=suggested_n_features,
            worst=worst,
        )

    def to_json(self) -> str:
        """As JSON, with the fields' names."""
        return json.dumps(asdict(self), ensure_ascii=False)

    def __str__(self) -> str:
        lines = [f"{label}: {text}" for label, text in self._lines()]
        lines += [
            f"  column {first.bucket}: {first.name!r} ({first.count}) and {second.name!r} ({second.count})"
            for first, second in self.worst
        ]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        worst = _table(
            ("column", "feature", "count", "sign", "meets", "count", "sign"),
            ((a.bucket, a.name, a.count, f"{a.sign:+d}", b.name, b.count, f"{b.sign:+d}") for a, b in self.worst),
        )
        return _table(("collisions", ""), self._lines()) + (worst if self.worst else "")

    def _lines(self) -> list[tuple[str, str]]:
        suggested = "none" if self.suggested_n_features is None else f"{self.suggested_n_features:,}"
        return [
            ("columns", f"{self.n_features:,}"),
            ("features", f"{self.features:,} in {self.values:,} values of {self.rows:,} rows"),
            ("load", f"{self.load:.4g} features a column"),
            ("occupied columns", f"{self.occupied:,} (expected {self.expected_occupied:,.1f})"),
            ("features that share a column", f"{self.colliding:,} (expected {self.expected_colliding:,.1f})"),
            ("values in shared columns", f"{self.shared_mass:.3%}"),
            ("values taken for another feature", f"{self.collision_mass:.3%}"),
            (f"columns for at most {self.share:.3g} of them", suggested),
        ]


@dataclass(frozen=True, slots=True)
class InverseMap:
    """The most frequent features of each column of a hashed matrix; the most frequent first."""

    n_features: int
    buckets: dict[int, tuple[HashedFeature, ...]]

    @classmethod
    def of(cls, n_features: int, features: Sequence[HashedFeature]) -> Self:
        """Of features in the order in which they are to stand."""
        buckets: dict[int, list[HashedFeature]] = {}
        for feature in features:
            buckets.setdefault(feature.bucket, []).append(feature)
        return cls(n_features, {bucket: tuple(buckets[bucket]) for bucket in sorted(buckets)})

    def __getitem__(self, bucket: int) -> tuple[HashedFeature, ...]:
        """The features of a column; none if it has none that were kept."""
        if not 0 <= bucket < self.n_features:
            raise IndexError(f"column {bucket} of {self.n_features}")
        return self.buckets.get(bucket, ())

    def names(self) -> dict[int, str]:
        """A name for each column: its features, with a minus sign before those of negative sign."""
        return {
            bucket: " | ".join(f"{'-' if feature.sign < 0 else ''}{feature.name}" for feature in features)
            for bucket, features in self.buckets.items()
        }

    def to_json(self) -> str:
        """As JSON: `{"n_features": ..., "buckets": {"17": [{"column": ..., "value": ..., ...}]}}`."""
        return json.dumps(asdict(self), ensure_ascii=False)

    def _repr_html_(self) -> str:
        rows = [
            (feature.bucket, feature.name, f"{feature.sign:+d}", feature.count)
            for features in self.buckets.values()
            for feature in features
        ]
        rows.sort(key=lambda row: -int(row[3]))
        return _table(("column", "feature", "sign", "count"), rows[:50])


def _some_hit(throws: int, places: int) -> float:
    """How likely at least one of `throws` random throws hits one of `places` places."""
    if places == 1:
        return float(throws > 0)
    return -math.expm1(max(throws, 0) * math.log1p(-1 / places))


def _table(head: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    def line(cells: Iterable[Any], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(str(cell))}</{tag}>" for cell in cells) + "</tr>"

    return "<table>" + line(head, "th") + "".join(line(row, "td") for row in rows) + "</table>"
