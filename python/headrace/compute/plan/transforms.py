"""Columns that Python code computes before the steps of a plan, and the checks that keep them alike wherever they run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from headrace.compute.plan.types import family, type_name
from headrace.errors import DataError, HeadraceError, PluginError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl

    from headrace.types import BoundTransform

_TRIED_ROWS: Final = 16
_ROW_BY_ROW: Final = (
    "A transform must give for a row what it gives for that row alone: compute from the row and the config only, and "
    "leave what needs the whole column (means, vocabularies, ranks) to the plan's own steps."
)


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
    from headrace.compute.plan.nearest import did_you_mean

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
