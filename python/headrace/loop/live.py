"""Live rows and their labels: late, partial, corrected, delivered twice; and nothing counted twice."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Protocol

from headrace.errors import DataError

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import polars as pl

    from headrace.loop.policy import Columns, LivePolicy

_LABEL, _KEY, _ORDER, _WHEN = "__label", "__key", "__order", "__when"


class LiveSource(Protocol):
    """What came in since, with labels where they are known. A prediction log can be another one."""

    def stamp(self) -> str:
        """A text that changes when something came in; cheap."""

    def frame(self, until: dt.datetime) -> pl.DataFrame:
        """Every row up to `until`, once, in the order of time; the target is null where it was not known by then."""


class Live:
    """Implements `headrace.hooks.triggers.LiveRows` over a source. Reads once for each moment asked about."""

    def __init__(self, source: LiveSource, columns: Columns) -> None:
        self.time_column = columns.time
        self.target = columns.target
        self._source = source
        self._read: tuple[tuple[str, dt.datetime], pl.DataFrame] | None = None

    def stamp(self) -> str:
        """As the source's."""
        return self._source.stamp()

    def rows(self, start: dt.datetime | None, end: dt.datetime) -> pl.DataFrame:
        """See `LiveRows.rows`."""
        asked = (self._source.stamp(), end)
        if self._read is None or self._read[0] != asked:
            self._read = (asked, self._source.frame(end))
        frame = self._read[1]
        return frame if start is None else frame.filter(moments(frame, self.time_column) > start)

    def labelled(self, start: dt.datetime | None, end: dt.datetime) -> pl.DataFrame:
        """Those of `rows` whose label is known."""
        frame = self.rows(start, end)
        return frame.filter(frame[self.target].is_not_null())


class FileRows:
    """Live rows in files.

    `locate` gives the files of a glob, sorted; `read` the rows of one. Files of equal content count once. With an
    identifier, of several rows of one identifier the last delivered counts, and so of several labels (by `label_time`,
    then by delivery). Without one, rows are as they are.
    """

    def __init__(
        self,
        policy: LivePolicy,
        columns: Columns,
        *,
        locate: Callable[[str], Sequence[Path]],
        read: Callable[[Path], pl.DataFrame],
    ) -> None:
        self._policy = policy
        self._columns = columns
        self._locate = locate
        self._read = read
        self._kept: dict[str, tuple[str, pl.DataFrame, str]] = {}

    def stamp(self) -> str:
        """Names, sizes and times of the files."""
        files = [
            self._looks(path) for glob in (*self._policy.rows, *self._policy.labels) for path in self._locate(glob)
        ]
        return hashlib.sha256("\n".join(files).encode()).hexdigest()[:16]

    def frame(self, until: dt.datetime) -> pl.DataFrame:
        """See `LiveSource.frame`. Raises `DataError` that names the file that lacks a column."""
        import polars as pl

        columns = self._columns
        rows = self._all(self._policy.rows, (columns.time, *([columns.id] if columns.id else [])))
        if rows is None:
            return pl.DataFrame({columns.time: [], columns.target: []})
        if columns.target not in rows.columns:
            rows = rows.with_columns(pl.lit(None).alias(columns.target))
        labels = self._labels(until)
        return joined(rows, labels, columns, until)

    def _labels(self, until: dt.datetime) -> pl.DataFrame | None:
        columns, when = self._columns, self._policy.label_time
        if not self._policy.labels or columns.id is None:
            return None
        needed = (columns.id, columns.target, *([when] if when else []))
        labels = self._all(self._policy.labels, needed)
        return None if labels is None else settled(labels, columns, when, until)

    def _all(self, globs: Sequence[str], needed: Sequence[str]) -> pl.DataFrame | None:
        import polars as pl

        frames: dict[str, pl.DataFrame] = {}
        for glob in globs:
            for path in self._locate(glob):
                frame, digest = self._file(path)
                for name in needed:
                    if name not in frame.columns:
                        raise DataError(
                            f"there is no column {name!r}",
                            place=str(path),
                            hint=f"It has {', '.join(frame.columns[:20])}. See [loop.live] of headrace.toml.",
                        )
                if frame.height:
                    frames.pop(digest, None)  # delivered again: it counts where it came last
                    frames[digest] = frame
        if not frames:
            return None
        parts = list(frames.values())
        times = [name for name in needed if name in (self._columns.time, self._policy.label_time)]
        for name in times:
            if len({part.schema[name] for part in parts}) > 1:  # with a zone here, and without there
                parts = [part.with_columns(moments(part, name)) for part in parts]
        try:
            return pl.concat(parts, how="diagonal_relaxed")
        except pl.exceptions.PolarsError as error:
            raise DataError(
                f"these files cannot be one table: {error}",
                place=", ".join(globs),
                hint="A column must have the same type in each file.",
            ) from error

    def _file(self, path: Path) -> tuple[pl.DataFrame, str]:
        looks = self._looks(path)
        kept = self._kept.get(str(path))
        if kept is None or kept[0] != looks:
            with path.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
            kept = self._kept[str(path)] = (looks, self._read(path), digest)
        return kept[1], kept[2]

    @staticmethod
    def _looks(path: Path) -> str:
        try:
            found = path.stat()
        except OSError as error:
            hint = "A file that is written in place, or taken away, is looked at again."
            raise DataError(f"it cannot be looked at: {error.strerror}", place=str(path), hint=hint) from error
        return f"{path} {found.st_size} {found.st_mtime_ns} {found.st_ino}"


def settled(labels: pl.DataFrame, columns: Columns, when: str | None, until: dt.datetime) -> pl.DataFrame:
    """One label an identifier: the last that was known by `until`. A label that is null says nothing."""
    import polars as pl

    labels = labels.filter(labels[columns.target].is_not_null()).with_row_index(_ORDER)
    order = [_ORDER]
    if when is not None:
        labels = labels.with_columns(moments(labels, when).alias(_WHEN))
        labels = labels.filter(pl.col(_WHEN) <= until)
        order = [_WHEN, _ORDER]
    labels = labels.sort(order).unique(subset=columns.id, keep="last", maintain_order=True)
    return labels.select(columns.id, pl.col(columns.target).alias(_LABEL))


def joined(rows: pl.DataFrame, labels: pl.DataFrame | None, columns: Columns, until: dt.datetime) -> pl.DataFrame:
    """Rows with their labels, each once, up to `until`, in the order of time; ties in the order of delivery."""
    import polars as pl

    if columns.id is not None:
        rows = rows.unique(subset=columns.id, keep="last", maintain_order=True)
    if labels is not None and columns.id is not None:
        target = pl.col(columns.target)
        rows, labels = _keyed(rows, columns.id), _keyed(labels, columns.id).drop(columns.id)
        rows = rows.join(labels, on=_KEY, how="left", maintain_order="left").drop(_KEY)
        rows = rows.with_columns(pl.coalesce(_LABEL, target).alias(columns.target)).drop(_LABEL)
    rows = rows.with_columns(moments(rows, columns.time).alias(_WHEN)).filter(pl.col(_WHEN) <= until)
    return rows.sort(_WHEN, maintain_order=True).drop(_WHEN)


def _keyed(frame: pl.DataFrame, name: str) -> pl.DataFrame:
    """With the identifier as text: of the same one a CSV file may make a number, and a Parquet file text."""
    from headrace.loop.alike import as_names

    return frame.with_columns(as_names(frame[name]).alias(_KEY))


def moments(frame: pl.DataFrame, name: str) -> pl.Series:
    """A column of dates or times as moments in UTC; without a zone they are UTC. `DataError` for anything else."""
    import polars as pl

    series = frame[name]
    if series.dtype == pl.Null or not frame.height:
        return pl.Series(name, [None] * frame.height, dtype=pl.Datetime("us", "UTC"))
    if series.dtype == pl.Date:
        series = series.cast(pl.Datetime("us"))
    if not isinstance(series.dtype, pl.Datetime):
        raise DataError(
            f"the loop orders rows by time, and {name!r} is {series.dtype}",
            place=f"column {name!r}",
            hint="Give dates or times; for CSV, `date_formats` of [ingest] says how they are written.",
        )
    zone: Any = series.dtype.time_zone
    series = series.dt.replace_time_zone("UTC") if zone is None else series.dt.convert_time_zone("UTC")
    return series.cast(pl.Datetime("us", "UTC"))
