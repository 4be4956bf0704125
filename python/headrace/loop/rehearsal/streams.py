"""The worlds of a rehearsal: rows by day, what their target really is, and what is said of it.

SEA: Street and Kim 2001, three features on [0, 10], whether the first two sum to at most a threshold, a tenth turned
over; the other rule is the opposite. Friedman: Friedman 1991 with ten features on [0, 1]; the other rule is that of
Ikonomovska, Gama and Dzeroski 2011 (global, abrupt: other features in the same formula).
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from headrace.errors import DataError
from headrace.loop.policy import DAY

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

    from headrace.loop.policy import Columns
    from headrace.loop.rehearsal.policy import Fault, RehearsePolicy

START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
ID, AT = "row", "at"
_TRUE, _KNOWN, _DOWN = "__true", "__known", "__down"
_SEA_THRESHOLD = 8.0


class Stream(Protocol):
    """Draws rows."""

    target: str

    def features(self, chance: np.random.Generator, rows: int) -> pl.DataFrame:
        """Rows without their target."""

    def truth(self, chance: np.random.Generator, frame: pl.DataFrame, other: NDArray[np.bool_]) -> pl.Series:
        """The target of rows, by the other rule where `other` says so."""


class Sea:
    """See the module."""

    target = "low"

    def features(self, chance: np.random.Generator, rows: int) -> pl.DataFrame:
        """See `Stream`."""
        import polars as pl

        x = chance.uniform(0, 10, (rows, 3))
        return pl.DataFrame({f"x{i}": x[:, i] for i in range(3)})

    def truth(self, chance: np.random.Generator, frame: pl.DataFrame, other: NDArray[np.bool_]) -> pl.Series:
        """See `Stream`."""
        import polars as pl

        low = (frame["x0"] + frame["x1"]).to_numpy() <= _SEA_THRESHOLD
        return pl.Series(self.target, (low ^ other ^ (chance.random(frame.height) < 0.1)).astype("int64"))


class Friedman:
    """See the module."""

    target = "y"

    def features(self, chance: np.random.Generator, rows: int) -> pl.DataFrame:
        """See `Stream`."""
        import polars as pl

        x = chance.uniform(0, 1, (rows, 10))
        return pl.DataFrame({f"x{i}": x[:, i] for i in range(10)})

    def truth(self, chance: np.random.Generator, frame: pl.DataFrame, other: NDArray[np.bool_]) -> pl.Series:
        """See `Stream`."""
        import numpy as np
        import polars as pl

        x = frame.select(f"x{i}" for i in range(10)).to_numpy()

        def rule(a: int, b: int, c: int, d: int, e: int) -> Any:
            curve = 10 * np.sin(np.pi * x[:, a] * x[:, b]) + 20 * (x[:, c] - 0.5) ** 2
            return curve + 10 * x[:, d] + 5 * x[:, e]

        y = np.where(other, rule(3, 5, 1, 0, 2), rule(0, 1, 2, 3, 4))
        return pl.Series(self.target, y + chance.normal(size=frame.height))


class Own:
    """Rows of the project, drawn with replacement. The other rule: the next class, or the number mirrored."""

    def __init__(self, base: pl.DataFrame, columns: Columns) -> None:
        self.target = columns.target
        self._base = base.filter(base[columns.target].is_not_null())
        self._drop = [columns.time, *([columns.id] if columns.id else [])]
        if not self._base.height:
            raise DataError("the project has no rows with a target, from which a world could be drawn")

    def features(self, chance: np.random.Generator, rows: int) -> pl.DataFrame:
        """See `Stream`; the target is still there, for `truth`."""
        drawn = chance.integers(0, self._base.height, rows)
        return self._base[drawn].drop(*[name for name in self._drop if name in self._base.columns])

    def truth(self, chance: np.random.Generator, frame: pl.DataFrame, other: NDArray[np.bool_]) -> pl.Series:  # noqa: ARG002  # the protocol's
        """See `Stream`."""
        import polars as pl

        known = frame[self.target]
        if known.dtype.is_float():
            mean: Any = known.mean()
            turned = pl.Series(2 * mean - known)
        else:
            classes = self._base[self.target].unique().sort().to_list()
            turned = known.replace_strict(classes, [*classes[1:], classes[0]], return_dtype=known.dtype)
        both = pl.DataFrame({"known": known, "turned": turned, "other": pl.Series(other)})
        return both.select(pl.when("other").then("turned").otherwise("known").alias(self.target)).to_series()


@dataclass(frozen=True)
class World:
    """All rows that there will be: what is known at which moment, and what is true. Implements `LiveSource`."""

    rows: pl.DataFrame
    columns: Columns

    def stamp(self) -> str:
        """See `LiveSource.stamp`: everything is there from the first, only time goes on."""
        return "simulated"

    def frame(self, until: dt.datetime) -> pl.DataFrame:
        """See `LiveSource.frame`."""
        import polars as pl

        target = self.columns.target
        seen = self.rows.filter((pl.col(self.columns.time) <= until) & (pl.col(self.columns.time) > START))
        known = pl.when(pl.col(_KNOWN) <= until).then(target).alias(target)
        return seen.filter(~pl.col(_DOWN)).with_columns(known).drop(_TRUE, _KNOWN, _DOWN)

    def base(self) -> pl.DataFrame:
        """The rows before the first day, with their labels."""
        import polars as pl

        return self.rows.filter(pl.col(self.columns.time) <= START).drop(_TRUE, _KNOWN, _DOWN)

    def between(self, start: dt.datetime, end: dt.datetime) -> pl.DataFrame:
        """The rows of a time that were answered, with what is true of them."""
        import polars as pl

        when = pl.col(self.columns.time)
        rows = self.rows.filter((when > start) & (when <= end) & ~pl.col(_DOWN))
        return rows.with_columns(pl.col(_TRUE).alias(self.columns.target)).drop(_TRUE, _KNOWN, _DOWN)

    @property
    def unanswered(self) -> int:
        """How many rows came while the server was down."""
        return int(self.rows[_DOWN].sum())


def make_world(stream: Stream, policy: RehearsePolicy, columns: Columns) -> World:
    """Draw the rows of all days, with the faults of the policy."""
    import numpy as np
    import polars as pl

    chance = np.random.default_rng([policy.seed, 20])
    count = (policy.history + policy.days) * policy.rows
    days = -policy.history + (np.arange(count) + 1) / policy.rows
    frame = stream.features(chance, count)
    # The target follows the features as they were drawn, so a shift of them changes what is asked, not what is right.
    state = chance.bit_generator.state
    true = stream.truth(chance, frame, _covered(policy.faults, "concept drift", days))
    chance.bit_generator.state = state
    wrong = _covered(policy.faults, "concept drift", days) ^ _covered(policy.faults, "wrong labels", days)
    said = stream.truth(chance, frame, wrong)
    features = [name for name in frame.columns if name != stream.target]
    for fault in policy.faults:
        covered = _covered([fault], fault.kind, days)
        if fault.kind in ("covariate drift", "unit change"):
            frame = _changed(frame, fault, covered, features)
        elif fault.kind == "broken batch":
            intact = pl.Series(~covered)
            frame = frame.with_columns(pl.when(intact).then(pl.col(name)).alias(name) for name in features)
    delay = np.full(count, policy.label_delay)
    for fault in policy.faults:
        if fault.kind == "late labels":
            delay += _covered([fault], fault.kind, days) * fault.much * DAY
    at = pl.Series([START + dt.timedelta(days=float(day)) for day in days], dtype=pl.Datetime("us", "UTC"))
    known = at + pl.Series(delay * 1e6).cast(pl.Duration("us"))
    frame = frame.drop(stream.target, strict=False)
    added = [at.alias(columns.time), said, true.alias(_TRUE), known.alias(_KNOWN)]
    added.append(pl.Series(_DOWN, _covered(policy.faults, "server down", days)))
    if columns.id is not None:
        added.append(pl.Series(columns.id, [f"r{n}" for n in range(count)]))
    return World(frame.with_columns(added), columns)


def _covered(faults: Sequence[Fault], kind: str, days: NDArray[np.float64]) -> NDArray[np.bool_]:
    import numpy as np

    covered = np.zeros(len(days), dtype=bool)
    for fault in faults:
        if fault.kind == kind:
            end = np.inf if fault.until is None else fault.until
            covered |= (days >= fault.day) & (days < end)
    return covered


def _changed(frame: pl.DataFrame, fault: Fault, covered: NDArray[np.bool_], features: Sequence[str]) -> pl.DataFrame:
    """A column of numbers, shifted or in another unit where it is covered."""
    import numpy as np
    import polars as pl

    numbers = [name for name in features if frame[name].dtype.is_numeric()]
    name = fault.column or next((name for name in numbers if frame[name].dtype.is_float()), None)
    if name is None or name not in numbers:
        what = (
            f"the rows have no column of numbers {name!r}" if name else "no column of numbers (floats) can be changed"
        )
        raise DataError(
            what,
            place=f"[[rehearse.faults]] {fault.kind!r}: column",
            hint=f"Set `column` of the fault to one of {', '.join(numbers) or 'none: leave the fault out'}.",
        )
    column = frame[name]
    if fault.kind == "unit change":
        changed = column.cast(pl.Float64) * pl.Series(np.where(covered, fault.much, 1.0))
    else:
        spread = float(np.nanstd(column.cast(pl.Float64).to_numpy()))
        changed = column.cast(pl.Float64) + pl.Series(np.where(covered, fault.much * spread, 0.0))
    if column.dtype.is_integer():
        changed = changed.round()
    return frame.with_columns(changed.cast(column.dtype).alias(name))
