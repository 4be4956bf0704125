"""Profiles of files, and what changed between a reference and live rows, outside of any run."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from headrace.errors import DataError, SpecError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import polars as pl

    from headrace.compute.dataset import Dataset
    from headrace.compute.drift import DriftReport
    from headrace.compute.drift.reference import Reference, Windows
    from headrace.compute.drift.windows import PeriodDrift
    from headrace.compute.profile import Profile, Window
    from headrace.project import Project


_PROFILE, _WINDOW = b"headraceP", b"headraceW"


@dataclass(frozen=True)
class Source:
    """Where files are read as a project reads them, where there is one, and where registered models are."""

    project_dir: str = "."
    env: str | None = None
    stated: str | None = None

    @contextmanager
    def project(self) -> Iterator[Project]:
        """The project. Raises `SpecError` where there is none."""
        from headrace.project import Project

        with Project(self.project_dir, env=self.env) as project:
            yield project

    def read(self, path: Path, expected: Mapping[str, str] | None = None) -> Dataset:
        """The rows of a data file, which stay there: they are read in batches, by `_at`.

        `expected`: types of columns, for text, which does not say its types.
        """
        folder = Path(self.project_dir)
        if folder.is_file() or (folder / "headrace.toml").is_file() or self.env is not None:
            from headrace.project.reading import read_file

            with self.project() as project:
                return read_file(project, path, expected=expected, stated=self.stated, streamed=True)
        from headrace.builtins.ingest.csv_types import CsvDialect
        from headrace.builtins.ingest.locate import SourceFile
        from headrace.builtins.ingest.reading import Wanted, read_files

        if not path.is_file():
            raise DataError("there is no such file", place=str(path), hint="Name a data file or a profile.")
        wanted = Wanted(format=self.stated, copy_limit=0)
        files = [SourceFile(path, str(path))]
        data = read_files(files, wanted, lambda _note: None)
        from headrace.project.reading import differing_types, is_text

        differing = differing_types(data, expected) if expected and is_text(path) else {}
        if not differing:
            return data
        return read_files(files, replace(wanted, dialect=CsvDialect(types=differing)), lambda _note: None)


@dataclass(frozen=True)
class Options:
    """What to look at, and how closely; as in `Reference.compare`."""

    columns: Sequence[str] | None = None
    segments: str | None = None
    delta: float = 0.1
    alpha: float = 0.05
    time_column: str | None = None
    period: Literal["day", "week", "month"] | None = None
    segment: str | None = None

    @property
    def comparing(self) -> dict[str, Any]:
        """The arguments of `Reference.compare`."""
        return {"delta": self.delta, "alpha": self.alpha, "columns": self.columns}


@dataclass(frozen=True)
class Found:
    """A comparison: the report about all live rows and within segments, one a period, and the counts behind it."""

    reference: Reference
    windows: Windows
    report: DriftReport
    periods: Sequence[PeriodDrift]

    def counts(self) -> pl.DataFrame:
        """`Profile.counts` of all columns, those of the scores among them."""
        import polars as pl

        found = [self.reference.inputs.counts(self.windows.inputs)]
        if self.reference.scores is not None and self.windows.scores is not None:
            found.append(self.reference.scores.counts(self.windows.scores))
        return pl.concat(found, how="vertical_relaxed")

    def kinds(self) -> dict[str, str]:
        """What each column is read as."""
        scores = self.reference.scores.columns if self.reference.scores is not None else {}
        return {**self.reference.inputs.columns, **scores}


def profile_file(source: Source, path: Path, options: Options, say: Callable[[str], None]) -> Profile:
    """The profile of a data file. Without `columns`, identifiers and what has no profile are left out, and said.

    The file is read in batches, twice: once to choose bins, once to count on them. Without `columns` it is read once
    more before, its columns of texts and whole numbers only, as far as it takes to know which are identifiers. Memory
    is bounded by the batch, not by the rows.
    """
    from headrace.compute.dataset import streamed
    from headrace.compute.profile import Profile

    data = source.read(path)
    with _at(path):
        chosen = _chosen(data, options, str(path), say)
        # A column of segments need not be one that is profiled; one that is not there is for `fit` to say.
        wanted = {*chosen, options.segments} & {*data.columns}
        with streamed(data, [name for name in data.columns if name in wanted]) as opened:
            return Profile.fit(opened, columns=chosen, segments=options.segments)


def window_of_file(source: Source, path: Path, on: Path) -> Window:
    """A data file, in batches, counted on the bins of the profile in another file."""
    from headrace.compute.drift.reference import Reference

    reference = Reference(_profile(on.read_bytes(), on))
    data = source.read(path, _expected(reference))
    with _at(path):
        return reference.counted(_batches(reference, data, Options())).inputs


def compare_sources(source: Source, ref: str, live: Path, options: Options, say: Callable[[str], None]) -> Found:
    """Compare `live` (a data file, a window, a profile on the same bins) with `ref` (a data file, a profile, a model).

    Data files are read in batches, so memory does not grow with their rows: the live one once, a reference twice, as by
    `profile_file`. Raises `DataError`, `ModelFormatError`, `NotFoundError`, `RegistryError`; messages name the file.
    """
    if options.period is not None and options.time_column is None:
        raise SpecError("a period needs a column to cut the rows by", hint="Pass --time-column COLUMN.")
    reference = _reference(source, ref, options, say)
    if options.segment is not None:
        from headrace.compute.drift.segments import check_segments

        check_segments(reference.inputs, options.segment)
    head = _head(live)
    periods: Sequence[PeriodDrift] = ()
    if head in (_PROFILE, _WINDOW):
        if options.period is not None:
            raise DataError("counts cannot be cut by time", place=str(live), hint="Pass the data file.")
        windows = _counts(reference, live, head)
    else:
        data = source.read(live, _expected(reference))
        known = {*reference.inputs.columns, options.time_column}
        new = [name for name in data.columns if name not in known]
        if new and options.columns is None:
            say(f"{live}: not in the reference's profile, so not compared: {', '.join(new)}")
        windows, periods = _counted(reference, data, live, options)
    if reference.moving and options.columns is None:
        say(f"{', '.join(reference.moving)}: moves on with time, so only weekday and hour are compared")
    say(f"comparing {windows.rows:,} rows with {reference.inputs.rows:,}")
    report = reference.compare(windows, **options.comparing)
    return Found(
        reference, windows, replace(report, segments=reference.by_segment(windows, **options.comparing)), periods
    )


def tell(source: Source, report: DriftReport) -> None:
    """Fire `on_drift` for a registered model's drift."""
    with source.project() as project:
        project.plugins.observe("on_drift", report=report, run=None, stage=None)


def _reference(source: Source, ref: str, options: Options, say: Callable[[str], None]) -> Reference:
    from headrace.compute.drift.reference import Reference

    path = Path(ref)
    if path.is_file():
        head = _head(path)
        if head == _WINDOW:
            raise DataError(
                "this is a window, which has no bins of its own", place=ref, hint="Name its profile as the reference."
            )
        inputs = _profile(path.read_bytes(), path) if head == _PROFILE else None
        if inputs is None:
            say(f"{ref}: fitting the reference")
            columns = options.columns
            if columns is not None and options.segment is not None:
                columns = [*columns, *({options.segment} - set(columns))]
            inputs = profile_file(source, path, replace(options, columns=columns, segments=options.segment), say)
        return Reference(inputs, about={"reference": ref})
    if path.exists() or "/" in ref or path.suffix.lower() in _DATA:
        raise DataError(
            "there is no such file" if not path.exists() else "this is no ordinary file",
            place=ref,
            hint="Name a data file, a profile, or a registered model such as flights@champion.",
        )
    with source.project() as project:
        package = project.registry.resolve(ref)
        return Reference.of_package(package, transforms=project.transforms)


_DATA = frozenset(
    {".parquet", ".pq", ".csv", ".tsv", ".ndjson", ".jsonl", ".json", ".arrow", ".ipc", ".feather", ".gz"}
)


def _counts(reference: Reference, live: Path, head: bytes) -> Windows:
    from headrace.compute.drift.reference import Windows
    from headrace.compute.profile import Window

    data = live.read_bytes()
    with _at(live):
        if head == _WINDOW:
            return Windows(Window.from_bytes(data, reference.inputs))
        profile = _profile(data, live)
        if profile.fingerprint != reference.inputs.fingerprint:
            raise DataError(
                "this profile has bins of its own, so its counts say nothing beside the reference's",
                hint="Count the rows on the reference's bins: headrace profile DATA --on REF -o WINDOW.",
            )
        return Windows(profile.as_window())


def _counted(
    reference: Reference, data: Dataset, live: Path, options: Options
) -> tuple[Windows, Sequence[PeriodDrift]]:
    with _at(live):
        batches = _batches(reference, data, options)
        if options.period is None or options.time_column is None:
            return reference.counted(batches), ()
        from headrace.compute.drift.windows import over_time

        windows, over = over_time(reference, batches, options.time_column, options.period, **options.comparing)
        return windows, over.periods


def _batches(reference: Reference, data: Dataset, options: Options) -> Iterator[pl.DataFrame]:
    """Of live rows, the columns that are looked at; all where a model predicts them, whose transforms read others."""
    known = {*reference.inputs.columns, reference.inputs.segmented_by, options.time_column}
    wanted = [name for name in data.columns if name in known]
    return data.batches(columns=wanted if wanted and reference.predictor is None else None)


def _profile(data: bytes, path: Path) -> Profile:
    from headrace.compute.profile import Profile

    with _at(path):
        return Profile.from_bytes(data)


def _expected(reference: Reference) -> dict[str, str]:
    """Types of columns as `read_file` wants them, where the kind of the profile says one."""
    if reference.predictor is not None:
        return dict(reference.predictor.plan.inputs)
    types = {"category": "string", "text": "string", "number": "float64", "date": "date", "boolean": "boolean"}
    return {name: types[kind] for name, kind in reference.inputs.columns.items() if kind in types}


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(len(_PROFILE))
    except OSError as error:
        raise DataError(
            f"cannot be read: {error.strerror}", place=str(path), hint="Name a data file, a profile or a window."
        ) from error


def _chosen(data: Dataset, options: Options, place: str, say: Callable[[str], None]) -> list[str]:
    if options.columns is not None:
        for name in options.columns:
            if name not in data.columns:
                raise DataError(
                    f"there is no column {name!r}", place=place, hint=f"There is {', '.join(data.columns[:20])}."
                )
        return list(options.columns)
    from headrace.project.identifiers import unfit

    reasons = unfit(data)
    if options.time_column in data.columns:
        reasons[str(options.time_column)] = "it is the time"
    chosen = [name for name in data.columns if name not in reasons]
    for name in data.columns:
        if name in reasons:
            say(f"{place}: left out {name}: {reasons[name]}")
    if not chosen:
        raise DataError("there is no column to profile", place=place, hint="Name some: --columns a,b.")
    return chosen


@contextmanager
def _at(path: Path) -> Iterator[None]:
    """Errors name the file as well; those of reading its rows are among them."""
    from headrace.builtins.ingest.locate import SourceFile
    from headrace.builtins.ingest.polars_errors import polars_errors

    try:
        with polars_errors(SourceFile(path, str(path))):
            yield
    except DataError as error:
        if error.place is None or str(path) not in error.place:
            error.place = f"{path}, {error.place}" if error.place else str(path)
        raise
