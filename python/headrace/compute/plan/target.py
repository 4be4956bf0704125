"""The column to predict: which task it asks for, its classes, labels to indices and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, get_args

from headrace.compute.plan.document import Target
from headrace.compute.plan.types import family, polars_type, type_name
from headrace.errors import ConfigError, DataError
from headrace.types import TASKS, Task

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import polars as pl

_MOST_INFERRED_CLASSES: Final = 100
_MOST_NUMERIC_CLASSES: Final = 20


def infer_task(series: pl.Series) -> Task:
    """The task that a target column asks for, from its type and values.

    Booleans, and anything with exactly two values: binary. Text with more: multiclass. Integers (and floats that are
    all whole, because a null turns integers into floats): multiclass if they look like labels, that is, at most 20
    values, all between 0 and twice their number, and on average at least ten rows each; else regression. Other floats
    and decimals: regression.

    Raises
    ------
    DataError
        The column is empty, has no value at all, is constant, or cannot be a target (dates, lists, text that differs in
        nearly every row).

    """
    import polars as pl

    place = f"column {series.name!r}"
    kind = family(type_name(series.dtype))
    _check_possible(series, place)
    values = series.filter(_labelled(series)).alias("target")
    if values.is_empty():
        raise DataError(f"the target has no value in any of {len(series)} rows", place=place, hint=_OTHER_TARGET)
    distinct = values.n_unique()
    if distinct == 1:
        raise DataError(
            f"the target is {values[0]!r} in every row that has one, so there is nothing to learn",
            place=place,
            hint=_OTHER_TARGET,
        )
    if kind == "boolean" or (distinct == 2 and (kind != "float" or _whole(values))):
        return "binary"
    if kind == "string":
        if distinct > _MOST_INFERRED_CLASSES and distinct * 10 > len(values):
            raise DataError(
                f"the target is text with {distinct} different values in {len(values)} rows, which are not classes",
                place=place,
                hint=_OTHER_TARGET,
            )
        return "multiclass"
    if kind == "float" and not _whole(values):
        return "regression"
    low, high = values.cast(pl.Float64).min(), values.cast(pl.Float64).max()
    labels = (
        distinct <= _MOST_NUMERIC_CLASSES
        and float(low) >= 0  # type: ignore[arg-type]  # numbers, and not empty
        and float(high) <= 2 * distinct  # type: ignore[arg-type]
        and len(values) >= 10 * distinct
    )
    return "multiclass" if labels else "regression"


_OTHER_TARGET: Final = "Choose another target column."


def fit_target(series: pl.Series, task: Task) -> Target:
    """Classes of a target without missing labels, or for regression a check that it holds finite numbers."""
    import polars as pl

    place = f"column {series.name!r}"
    if task not in TASKS:
        raise ConfigError(f"the task {task!r} is unknown", hint=f"One of {', '.join(get_args(Task))}.")
    _check_possible(series, place)
    unlabelled = (~_labelled(series)).arg_true()
    if len(unlabelled):
        raise DataError(
            f"the target is missing in {len(unlabelled)} of {len(series)} rows",
            place=f"{place}, row {unlabelled[0]}",
            hint='Drop these rows, or set `missing_target = "drop"` in [features].',
        )
    kind = family(type_name(series.dtype))
    about: dict[str, Any] = {"name": series.name, "type": type_name(series.dtype), "task": task}
    if task == "regression":
        if kind not in ("integer", "float"):
            raise DataError(
                f"the target holds {type_name(series.dtype)}, regression needs numbers",
                place=place,
                hint='Set `task = "binary"` or `"multiclass"`, or choose another target.',
            )
        target = Target(**about, classes=())
        values = encode_target(series, target)
        if values.n_unique() == 1:
            raise DataError(f"the target is {values[0]!r} in every row", place=place, hint=_OTHER_TARGET)
        return target
    about["dictionary"] = isinstance(series.dtype, pl.Categorical | pl.Enum)
    if isinstance(series.dtype, pl.Enum):
        about["categories"] = tuple(series.dtype.categories.to_list())
    plain = _plain(series)
    classes = tuple(sorted(plain.unique().to_list()))
    if len(classes) < 2 or (task == "binary" and len(classes) > 2):
        found = f"{len(classes)} different value{'s' * (len(classes) != 1)} ({', '.join(map(repr, classes[:5]))})"
        wanted = "two" if task == "binary" else "at least two"
        hint = 'Set `task = "multiclass"`.' if kind == "string" else 'Set `task = "multiclass"` or `"regression"`.'
        raise DataError(
            f"the target has {found}, a {task} task needs {wanted}",
            place=place,
            hint=hint if len(classes) > 2 else "Choose another target, or look at how the rows were selected.",
        )
    return Target(**about, classes=classes)


def labelled(frame: pl.DataFrame, target: str) -> pl.DataFrame:
    """The rows whose target is neither null nor NaN."""
    keep = _labelled(frame.get_column(target))
    return frame if keep.all() else frame.filter(keep)


def encode_target(series: pl.Series, target: Target, *, strict: bool = True) -> pl.Series:
    """Labels to class indices (Int32), or for regression numbers as Float64.

    A missing label, one that is no class of training, or a number that is not finite is a `DataError` that names the
    row; with `strict=False` it becomes null.
    """
    import polars as pl

    expected, found = family(target.type), family(type_name(series.dtype))
    numeric = {"integer", "float"}
    if found not in ("null", expected) and not {expected, found} <= numeric:
        raise DataError(
            f"the target holds {type_name(series.dtype)}, and held {target.type} in training",
            place=f"column {target.name!r}",
            hint="Read or cast the column with the type that it had in training.",
        )
    if not target.classes:
        values = series.alias("target").cast(pl.Float64)
        codes = pl.select(pl.when(values.is_finite()).then(values)).to_series().alias("target")
        expectation = "a finite number"
    else:
        codes = _codes(series, target).alias("target")
        shown = ", ".join(map(repr, target.classes[:8])) + (", ..." if len(target.classes) > 8 else "")
        expectation = f"one of the {len(target.classes)} classes of training: {shown}"
    if strict and codes.null_count():
        row = int(codes.is_null().arg_true()[0])
        raise DataError(
            f"the target is {series[row]!r}, expected {expectation}",
            place=f"column {target.name!r}, row {row}",
            hint="Drop or correct these rows.",
        )
    return codes.alias(target.name)


def decode_labels(indices: npt.NDArray[np.intp], target: Target, name: str) -> pl.Series:
    """Class indices back to labels in the target's own type."""
    import polars as pl

    dtype: Any = polars_type(target.type)
    if target.categories is not None:
        dtype = pl.Enum(list(target.categories))
    elif target.dictionary:
        dtype = pl.Categorical
    return pl.Series(name, target.classes).cast(dtype).gather(indices)


def class_text(value: object) -> str:
    """A class as part of a column name: booleans as `true` and `false`, everything else as Python writes it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _check_possible(series: pl.Series, place: str) -> None:
    if series.is_empty():
        hint = "Look at the stages before this one: which of them leaves no rows?"
        raise DataError("there are no rows, so there is no target to learn from", place=place, hint=hint)
    if family(type_name(series.dtype)) == "null":
        raise DataError(f"the target has no value in any of {len(series)} rows", place=place, hint=_OTHER_TARGET)
    if family(type_name(series.dtype)) not in ("integer", "float", "boolean", "string"):
        raise DataError(
            f"a column of type {type_name(series.dtype)} cannot be a target; numbers, booleans and text can",
            place=place,
            hint=_OTHER_TARGET,
        )


def _labelled(series: pl.Series) -> pl.Series:
    series = series.alias("target")  # polars takes some names of columns for patterns, also of a series
    present = series.is_not_null()
    return present & series.is_not_nan().fill_null(value=False) if series.dtype.is_float() else present


def _whole(values: pl.Series) -> bool:
    import polars as pl

    numbers = values.cast(pl.Float64)
    return bool((numbers.is_finite() & (numbers == numbers.floor())).all())


def _plain(series: pl.Series) -> pl.Series:
    """Categories as text, decimals as float64: values that JSON has."""
    import polars as pl

    series = series.alias("target")
    if isinstance(series.dtype, pl.Categorical | pl.Enum):
        return series.cast(pl.String)
    return series.cast(pl.Float64) if isinstance(series.dtype, pl.Decimal) else series


def _codes(series: pl.Series, target: Target) -> pl.Series:
    import polars as pl

    plain = _plain(series)
    if family(target.type) in ("integer", "float") and plain.dtype != pl.Null:
        both_whole = plain.dtype.is_integer() and family(target.type) == "integer"
        dtype: Any = pl.Int128 if both_whole else pl.Float64
        plain = plain.cast(dtype)
        known = pl.Series(target.classes).cast(dtype)
    else:
        known = pl.Series(target.classes)
    indices = pl.Series(range(len(target.classes)), dtype=pl.Int32)
    return plain.replace_strict(known, indices, default=None, return_dtype=pl.Int32)
