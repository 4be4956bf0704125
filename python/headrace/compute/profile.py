"""`Profile` and `Window`: what a reference looked like, and what was counted on its bins since."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from headrace import _core
from headrace.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import polars as pl

    from headrace.types import ArtifactReader, ArtifactWriter, SupportsArrowStream

Kind = Literal["number", "boolean", "category", "text", "date", "datetime", "time", "duration", "embedding"]
"""What a column is read as."""


class Profile:
    """A reference: the bins that it froze, and how many of its rows are in each.

    Made by `fit`, or by `from_bytes`. `fingerprint` names the bins: windows can be compared with, and added to, others
    of the same fingerprint only. `rows` is how many rows the reference has, `columns` its columns with what each is
    read as, `segments` the values that have counts of their own.

    What is kept of a column: of numbers, dates, times and durations up to 256 quantile edges, the values that many rows
    have (atoms), the extremes, and counts of missing, NaN and infinite values; of moments in time weekday and hour (in
    UTC) as well; of categories the up to 512 most frequent, all others together, and a filter that knows which values
    were there; of texts their length, their number of words, and the up to 256 most frequent words; of lists of floats
    their norm and the mean of 256 random Fourier features; of all the number of different values (HyperLogLog, standard
    error 1.6 %). At most 64 KB a column.
    """

    __slots__ = ("_core",)
    type_name: ClassVar[str] = "profile"

    def __init__(self, core: _core.Profile) -> None:
        self._core = core

    def save(self, to: ArtifactWriter) -> None:
        """Keep it, as an artifact."""
        to.bytes("profile.bin", self.to_bytes(), format="binary")

    @classmethod
    def load(cls, source: ArtifactReader) -> Profile:
        """What `save` kept."""
        return cls.from_bytes(source.bytes("profile.bin"))

    @classmethod
    def fit(
        cls,
        frame: SupportsArrowStream | Callable[[], SupportsArrowStream],
        *,
        columns: Sequence[str] | None = None,
        kinds: Mapping[str, Kind] | None = None,
        weight: str | None = None,
        segments: str | None = None,
        pairs: Sequence[tuple[str, str]] = (),
        threads: int | None = None,
    ) -> Profile:
        """Choose bins for a reference, and count it on them.

        The reference is read twice. The profile, to the byte, depends on the rows and their order, not on chunks,
        slices, layouts or threads.

        Parameters
        ----------
        frame
            Anything with `__arrow_c_stream__` or `__arrow_c_array__` (polars, pyarrow, pandas, DuckDB). A frame's
            batches are kept in memory between the two readings. A function without arguments that opens a new stream of
            the same rows at each call is read batch by batch instead:
            `lambda: pyarrow.dataset.dataset(path).scanner().to_reader()`.
        columns
            The columns to profile; default: all but the weights.
        kinds
            What to read columns as, where their type does not say: `{"comment": "text", "store": "category"}`. Strings
            are categories by default. Integers and booleans can be categories too.
        weight
            The column of row weights, from 0 to 65,536; they are rounded to 2^-20, and so stay exact in all sums.
        segments
            A column of categories whose up to 32 most frequent values have counts of their own, on the bins of the
            whole.
        pairs
            Columns that are counted together, on up to 16 coarse bins of each.
        threads
            At most so many columns at once; default: as many as the process may use.

        Raises
        ------
        DataError
            A column has a type of which there is no profile, or cannot be what it is to be; vectors differ in length; a
            weight is missing or negative. The message names the column.

        """
        made = _core.Profile.fit(
            frame,
            columns=None if columns is None else list(columns),
            families=dict(kinds or {}),
            weight=weight,
            segments=segments,
            pairs=[(first, second) for first, second in pairs],
            threads=threads,
        )
        return cls(made)

    @classmethod
    def from_bytes(cls, data: bytes) -> Profile:
        """What `to_bytes` gave.

        Raises
        ------
        ModelFormatError
            The bytes are damaged, something else, or were written by a newer headrace.

        """
        return cls(_core.Profile.from_bytes(data))

    def to_bytes(self) -> bytes:
        """A versioned format with a checksum; equal profiles have equal bytes."""
        return self._core.to_bytes()

    def window(self) -> Window:
        """An empty window on the reference's bins."""
        return Window(self._core.window())

    def as_window(self) -> Window:
        """The reference's own rows, as a window: what a window is compared with, or a part is taken away from."""
        return Window(self._core.as_window())

    @property
    def rows(self) -> int:
        """How many rows the reference has."""
        return self._core.rows

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the bins, 64 hexadecimal digits."""
        return self._core.fingerprint

    @property
    def columns(self) -> dict[str, Kind | Literal["null"]]:
        """What each column is read as; `null` where the reference has no value at all and no type."""
        return {name: kind for name, kind, _, _ in self._core.columns()}  # type: ignore[misc]

    @property
    def segments(self) -> tuple[str, ...]:
        """The values that are segments of their own, most frequent first."""
        found = self._core.segments
        return tuple(found[1]) if found else ()

    @property
    def segmented_by(self) -> str | None:
        """The column whose values are the segments."""
        found = self._core.segments
        return found[0] if found else None

    def describe(self) -> pl.DataFrame:
        """One row a column.

        Returns
        -------
        DataFrame
            `column`, `kind`, `missing` (share of null rows), `distinct` (an estimate), `mean`, `std` (population),
            `min`, `max` (of the finite values; dates in days and moments in seconds since 1970), `top` (most frequent
            category), `unseen_error` (the probability that a category which the reference lacks is not recognised).

        """
        import polars as pl

        binned = {column["name"]: column for column in self._core.binned(self._core.as_window())}
        rows = [_described(name, kind, distinct, error, binned) for name, kind, distinct, error in self._core.columns()]
        schema = {
            "column": pl.String,
            "kind": pl.String,
            "missing": pl.Float64,
            "distinct": pl.Int64,
            "mean": pl.Float64,
            "std": pl.Float64,
            "min": pl.Float64,
            "max": pl.Float64,
            "top": pl.String,
            "unseen_error": pl.Float64,
        }
        return pl.DataFrame(rows, schema=schema, orient="row")

    def counts(self, window: Window | None = None, *, segment: str | None = None) -> pl.DataFrame:
        """The counts behind the statistics, one row a bin.

        Parameters
        ----------
        window
            Counts of this window stand in `live`; default: the reference's own.
        segment
            Of the rows of this segment only.

        Returns
        -------
        DataFrame
            `column` (with its part: `departed (hour)`), `bin` (`below`, `atom`, `interval`, `above`, `category`,
            `other`, `unseen`; `null`, `nan`, `inf`, `-inf`), `low`, `high`, `category`, `reference` and `live` (rows,
            or sums of weights).

        Raises
        ------
        DataError
            `window` is of another reference, or there is no such segment.

        """
        import polars as pl

        live = (window or self.as_window())._core  # noqa: SLF001  # the other half of this module
        number = None if segment is None else self._segment(segment)
        rows = []
        for column in self._core.binned(live, number):
            unit = column["unit"]
            for (kind, low, high, category), a, b in zip(
                column["bins"], column["reference"], column["live"], strict=True
            ):
                rows.append((column["name"], kind, low, high, category, a * unit, b * unit))
            special = column["special"] if column["ordered"] else {"null": column["special"]["null"]}
            rows += [(column["name"], kind, None, None, None, a * unit, b * unit) for kind, (a, b) in special.items()]
        number_type = pl.Float64 if self._core.weight else pl.UInt64
        schema: dict[str, Any] = {
            "column": pl.String,
            "bin": pl.String,
            "low": pl.Float64,
            "high": pl.Float64,
            "category": pl.String,
            "reference": pl.Float64,
            "live": pl.Float64,
        }
        frame = pl.DataFrame(rows, schema=schema, orient="row")
        return frame.with_columns(pl.col("reference", "live").cast(number_type))

    def _segment(self, name: str) -> int:
        known = self.segments
        if name not in known:
            raise DataError(
                f"there is no segment {name!r}",
                place="profile",
                hint=f"There are {', '.join(map(repr, known)) or 'none'}.",
            )
        return known.index(name)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Profile) and self._core == other._core

    def __hash__(self) -> int:
        return hash((self.fingerprint, self.rows))

    def __repr__(self) -> str:
        return f"Profile({self.rows} rows x {len(self._core.columns())} columns, bins {self.fingerprint[:8]})"

    def _repr_html_(self) -> str:
        table: str = self.describe()._repr_html_()
        return f"<p><b>{escape(repr(self))}</b></p>{table}"


class Window:
    """Rows counted on the bins of a reference: `reference.window()`.

    All that a window holds are integers. So `a + b` and `a - b` are exact: `(a + b) - b == a`, and a window that was
    counted in parts equals, to the byte, the one counted at once. Several threads may update the same window.
    """

    __slots__ = ("_core",)

    def __init__(self, core: _core.Window) -> None:
        self._core = core

    @classmethod
    def from_bytes(cls, data: bytes, reference: Profile) -> Window:
        """What `to_bytes` gave of a window of `reference`: bins are not stored with each window.

        Raises
        ------
        ModelFormatError
            The bytes are damaged, something else, or were written by a newer headrace.
        DataError
            The window is of another reference.

        """
        return cls(_core.Window.from_bytes(data, reference._core))  # noqa: SLF001  # the other half of this module

    def to_bytes(self) -> bytes:
        """A versioned format with a checksum; equal windows have equal bytes."""
        return self._core.to_bytes()

    @property
    def rows(self) -> int:
        """How many rows were counted."""
        return self._core.rows

    def update(
        self,
        frame: SupportsArrowStream,
        *,
        new_columns: Literal["error", "ignore"] = "error",
        threads: int | None = None,
    ) -> None:
        """Count the rows of a frame: all of them, or none if there is an error.

        Parameters
        ----------
        frame
            Anything with `__arrow_c_stream__` or `__arrow_c_array__`. It is read without a copy where it lies, one
            batch at a time, and the interpreter is released meanwhile. Types need not be the reference's own: int32 is
            as good as float64, a categorical as a string; a column of type Null has only nulls, which fit all.
        new_columns
            What to do about columns that the reference does not have.
        threads
            At most so many columns at once; default: as many as the process may use. Counts do not depend on it.

        Raises
        ------
        DataError
            A column is missing, new, there twice, or has a type that is not of its kind; a vector has another length; a
            weight is missing or negative. The message names the column.

        """
        self._core.update(frame, ignore_new=new_columns == "ignore", threads=threads)

    def __add__(self, other: Window) -> Window:
        """Both together; `DataError` if they are of different references."""
        if not isinstance(other, Window):
            return NotImplemented
        return Window(self._core + other._core)

    def __sub__(self, other: Window) -> Window:
        """The one without the other; `DataError` that names a column if the other was never added."""
        if not isinstance(other, Window):
            return NotImplemented
        return Window(self._core - other._core)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Window) and self._core == other._core

    __hash__ = None  # type: ignore[assignment]  # a window changes

    def __repr__(self) -> str:
        return f"Window({self.rows} rows)"


def _described(
    name: str, kind: str, distinct: float, error: float, binned: Mapping[str, Mapping[str, Any]]
) -> tuple[Any, ...]:
    column = next(binned[part] for part in (name, f"{name} (length)", f"{name} (norm)") if part in binned)
    nulls = column["special"]["null"][0]
    total = nulls + sum(column["reference"])
    total += sum(column["special"][other][0] for other in ("nan", "inf", "-inf"))
    missing = nulls / total if total else None
    n, mean, m2, low, high = column["moments"][0]
    numbers = (mean, (m2 / n) ** 0.5, low, high) if column["ordered"] and n else (None,) * 4
    best = max(zip(column["reference"], column["bins"], strict=True), key=lambda pair: pair[0])
    top = best[1][3] if not column["ordered"] and best[0] else None
    return (name, kind, missing, round(distinct), *numbers, top, error if kind in ("category", "text") else None)
