"""Columns that Python code computes before the steps of a plan, and the checks that keep them alike everywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from headrace.compute.plan.document import Column, Transform
from headrace.compute.plan.nearest import did_you_mean
from headrace.compute.plan.read import column_of, read_column
from headrace.compute.plan.types import family, polars_type, type_name
from headrace.errors import ConfigError, DataError, HeadraceError, PluginError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import polars as pl

    from headrace.compute.plan.config import TransformConfig
    from headrace.types import BoundTransform, TransformSource

_TRIED_ROWS: Final = 16
_OTHER_VERSION: Final = "Install the version that the plan was fitted with, or fit it again."
_ROW_BY_ROW: Final = (
    "A transform must give for a row what it gives for that row alone: compute from the row and the config only, and "
    "leave what needs the whole column (means, vocabularies, ranks) to the plan's own steps."
)


def fit_transforms(
    frame: pl.DataFrame, wanted: Sequence[TransformConfig], source: TransformSource, *, target: str
) -> tuple[pl.DataFrame, tuple[Transform, ...], tuple[BoundTransform, ...]]:
    """The frame with what the transforms give, what a plan says of them, and what executes them.

    Raises
    ------
    ConfigError
        A transform reads the target, or gives a column that the frame has already.
    DataError
        A column that it reads is not there, or it does not work row by row.
    PluginError
        It cannot be had, raised, or gave something that no plan can use.

    """
    documents: list[Transform] = []
    bound: list[BoundTransform] = []
    for at, about in enumerate(wanted):
        transform = source.bind(about.use, about.config)
        place = f"[[features.transforms]] number {at + 1}"
        names = read_columns(transform, frame.columns)
        if target in names:
            raise ConfigError(
                f"{transform.label} reads the target {target!r}, which nobody knows when the model predicts",
                place=place,
                hint="Name other columns in its config.",
            )
        reads = tuple(about_column(name, frame[name]) for name in names)
        given = given_by(transform, _as_declared(frame, reads))
        check_row_by_row(transform, _as_declared(frame, reads), given)
        taken = [name for name in given.columns if name in frame.columns]
        if taken:
            raise ConfigError(
                f"{transform.label} gives the column {taken[0]!r}, and there is one already",
                place=place,
                hint="Have it give another name, or drop the column before.",
            )
        gives = tuple(about_column(name, given[name]) for name in given.columns)
        documents.append(
            Transform(
                use=transform.use,
                distribution=transform.distribution,
                version=transform.version,
                source=transform.source,
                config=dict(transform.config),
                reads=reads,
                gives=gives,
            )
        )
        bound.append(transform)
        frame = frame.hstack(given)
    return frame, tuple(documents), tuple(bound)


def with_columns_given(
    frame: pl.DataFrame, documents: Sequence[Transform], bound: Sequence[BoundTransform]
) -> pl.DataFrame:
    """The frame with what the transforms of a fitted plan give, in the types that they had in training.

    Raises
    ------
    DataError
        A column that one reads is missing or has a wrong type.
    PluginError
        One raised, or gave other columns than in training.

    """
    for about, transform in zip(documents, bound, strict=True):
        given = given_by(transform, _as_declared(frame, about.reads))
        found = {name: type_name(dtype) for name, dtype in given.schema.items()}
        wanted = {column.name: column.type for column in about.gives}
        if found != wanted:
            _refuse(transform, f"it gave {found}, and {wanted} in training", _OTHER_VERSION)
        frame = frame.drop([name for name in found if name in frame.columns]).hstack(given)
    return frame


def raw_inputs(read: Iterable[Column], transforms: Sequence[Transform]) -> tuple[Column, ...]:
    """The columns that a frame must have: those that steps read, and that transforms read, less those given."""
    given = {column.name for transform in transforms for column in transform.gives}
    wanted = [*read, *(column for transform in transforms for column in transform.reads)]
    found: dict[str, Column] = {}
    for column in wanted:
        if column.name not in given:
            found.setdefault(column.name, column)
    return tuple(found.values())


def sources_of(name: str, transforms: Sequence[Transform]) -> tuple[str, ...]:
    """The raw columns behind a column that a step reads: itself, or what the transform that gives it reads."""
    for transform in transforms:
        if any(column.name == name for column in transform.gives):
            return tuple(
                dict.fromkeys(raw for column in transform.reads for raw in sources_of(column.name, transforms))
            )
    return (name,)


def about_column(name: str, series: pl.Series) -> Column:
    """Name, type, and whether a value is missing."""
    series = series.alias("value")  # polars takes some names for patterns, also of a series
    missing = bool(series.null_count()) or (series.dtype.is_float() and bool(series.is_nan().any()))
    return Column(name=name, type=type_name(series.dtype), nullable=missing)


def _as_declared(frame: pl.DataFrame, columns: Sequence[Column]) -> pl.DataFrame:
    """The columns in exactly the types that they had in training, so that Python sees the same wherever it runs."""
    import polars as pl

    found: dict[str, pl.Series] = {}
    for column in columns:
        read = read_column(column_of(frame, column.name).alias("value"), column)
        try:
            found[column.name] = read.cast(polars_type(column.type))
        except (pl.exceptions.PolarsError, KeyError) as error:
            raise DataError(
                f"holds values that are no {column.type}: {error}",
                place=f"column {column.name!r}",
                hint="Read or cast the column with the type that it had in training.",
            ) from error
    return pl.DataFrame(found)


def given_by(transform: BoundTransform, frame: pl.DataFrame) -> pl.DataFrame:
    """The new columns, checked. `frame` has the columns that the transform reads, and no others.

    Raises
    ------
    PluginError
        The transform raised, or gave something else than new columns of known types for the same rows.

    """
    import polars as pl

    try:
        found = transform.code.transform(frame)
    except HeadraceError:
        raise
    except Exception as error:
        raise PluginError(
            f"it raised {type(error).__name__}: {error}",
            place=transform.label,
            hint="Its author should raise `errors.DataError` for rows that it cannot take; `--traceback` shows where.",
        ) from error
    if not isinstance(found, pl.DataFrame):
        _refuse(transform, f"it gave {type(found).__name__}", "Return a polars DataFrame of the new columns.")
    if found.height != frame.height:
        _refuse(transform, f"it gave {found.height} rows for {frame.height}", "Return one row for each, in order.")
    taken = [name for name in found.columns if name in frame.columns]
    if taken:
        _refuse(transform, f"it gave {taken[0]!r}, which it was given", "Return new columns only, by new names.")
    if not found.width:
        _refuse(transform, "it gave no columns", "Return at least one.")
    for name, dtype in found.schema.items():
        if family(type_name(dtype)) in ("other", "null"):
            _refuse(
                transform,
                f"it gave {name!r} as {type_name(dtype)}",
                "Give numbers, booleans, text, dates or times; cast what polars could not tell (a null column).",
            )
    return found


def check_row_by_row(transform: BoundTransform, frame: pl.DataFrame, whole: pl.DataFrame) -> None:
    """Try some rows one at a time. `whole` is what the transform gave for all rows of `frame`.

    Raises
    ------
    DataError
        A row alone gives other values or types than the same row among others; the message names both.

    """
    count = min(_TRIED_ROWS, frame.height)
    for at in (index * frame.height // count for index in range(count)):
        alone = given_by(transform, frame[at : at + 1])
        among = whole[at : at + 1]
        if alone.schema != among.schema:
            names = [name for name in among.columns if alone.schema.get(name) != among.schema[name]] or alone.columns
            _differs(transform, at, names[0], alone.schema.get(names[0]), among.schema.get(names[0]))
        for name in among.columns:
            if not alone[name].equals(among[name], null_equal=True, check_names=False):
                _differs(transform, at, name, alone[name][0], among[name][0])


def _differs(transform: BoundTransform, row: int, name: str, alone: Any, among: Any) -> None:
    raise DataError(
        f"row {row} alone gives {name!r} = {alone!r}, and among the others {among!r}",
        place=transform.label,
        hint=_ROW_BY_ROW,
    )


def _refuse(transform: BoundTransform, what: str, hint: str) -> None:
    raise PluginError(what, place=transform.label, hint=hint)


def read_columns(transform: BoundTransform, available: Sequence[str]) -> tuple[str, ...]:
    """The names that the transform reads; `PluginError` where it does not say, `DataError` where one is not there."""
    names = transform.code.reads
    if isinstance(names, str) or not all(isinstance(name, str) for name in names) or not names:
        _refuse(transform, f"its `reads` is {names!r}", "Return the names of the columns that it needs, as a tuple.")
    for name in names:
        if name not in available:
            raise DataError(
                f"there is no column {name!r}, which it reads",
                place=transform.label,
                hint=did_you_mean(name, list(available)),
            )
    return tuple(dict.fromkeys(names))
