"""What the three splits share: the words of their configs, the target's health, the three parts and the report."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from headrace import Dataset, SplitReport, StageContext, Task
from headrace.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

PARTS = ("train", "valid", "test")
FEWEST_ROWS = 6


class Split(NamedTuple):
    """What a `split` stage gives."""

    train: Dataset
    valid: Dataset
    test: Dataset
    split: SplitReport


class SplitConfig(BaseModel):
    """What every split asks for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    target: str | None = Field(default=None, description="The column to predict. Default: the project's.")
    task: Task | None = Field(default=None, description="What is to be predicted. Default: the project's.")
    time_column: str | None = Field(default=None, description="When a row happened. Default: the project's.")
    id_columns: tuple[str, ...] = Field(
        default=(),
        description="Columns that say which thing a row is about, and are no features. Default: the project's.",
    )
    null_target: Literal["drop", "fail"] = Field(
        default="drop", description="Rows without a target: leave them out and say so, or refuse."
    )
    leakage: Literal["warn", "fail", "off"] = Field(
        default="warn", description="What to do when knowledge leaks from one part into another, or from the target."
    )
    leak_score: float = Field(
        default=0.98,
        gt=0.5,
        le=1.0,
        description="A column that alone predicts the target this well leaks it: AUC (binary), R2 (regression), share "
        "of the errors of guessing the commonest class that it avoids (multiclass).",
    )
    leak_sample: int = Field(default=20_000, ge=100, description="Rows of the training part that this is tried on.")
    leak_ignore: tuple[str, ...] = Field(
        default=(),
        description="Columns that the leakage check leaves alone, because you know why they predict so well.",
    )
    groups: tuple[str, ...] = Field(
        default=(),
        description="Columns whose values should not be in two parts; the leakage check says where they are.",
    )


@dataclass(frozen=True)
class Labelled:
    """The rows that have a target: the frame, what was left out, and the classes (`None` for regression)."""

    frame: pl.DataFrame
    dropped: int
    classes: tuple[Any, ...] | None
    task: Task | None


def plain(frame: pl.DataFrame, name: str) -> pl.Series:
    """The column under another name: polars takes a Series that is called `^x$` or `*` for a pattern."""
    return frame.get_column(name).alias("values")


def column_of(frame: pl.DataFrame, name: str, role: str) -> pl.Series:
    """The column as by `plain`, or a `DataError` with the nearest names. `role` is the config key that named it."""
    if name not in frame.columns:
        near = difflib.get_close_matches(name, frame.columns, 3)
        shown = ", ".join(map(repr, near or frame.columns[:10]))
        raise DataError(
            f"`{role}` is {name!r}, and the data has no such column",
            place=f"column {name!r}",
            hint=f"Did you mean {shown}?" if near else f"It has {shown}{', ...' if frame.width > 10 else ''}.",
        )
    return plain(frame, name)


def labelled(data: Dataset, config: SplitConfig, ctx: StageContext) -> Labelled:
    """Check the target and leave out the rows that have none.

    Raises `DataError` for a target that is absent, has no value, has one value only, or does not fit the task, and for
    fewer than `FEWEST_ROWS` rows.
    """
    frame = data.frame()
    if config.target is None:
        _enough(frame.height, "")
        return Labelled(frame, 0, None, config.task)
    target = column_of(frame, config.target, "target")
    missing = target.is_null()
    if target.dtype.is_float():
        missing |= target.is_nan().fill_null(value=True)
    dropped = int(missing.sum())
    place = f"column {config.target!r}"
    if dropped == frame.height:
        raise DataError(f"the target {config.target!r} has no value in any row", place=place, hint="Check the data.")
    if dropped:
        rows = ", ".join(str(i) for i in missing.arg_true().head(5))
        if config.null_target == "fail":
            raise DataError(
                f"the target {config.target!r} is missing in {dropped} rows (counted from 0: {rows}, ...)",
                place=place,
                hint='Fill them, or set `null_target = "drop"` to leave these rows out.',
            )
        ctx.log(f"{dropped} of {frame.height} rows have no target and are left out")
        frame = frame.filter(~missing)
        target = plain(frame, config.target)
    values = target.n_unique()
    if values == 1:
        raise DataError(
            f"the target {config.target!r} is {target[0]!r} in every row: there is nothing to predict",
            place=place,
            hint="Check the data, or name another target.",
        )
    _enough(frame.height, " with a target")
    return Labelled(frame, dropped, _classes(target, config, values), config.task)


def _enough(rows: int, what: str) -> None:
    if rows < FEWEST_ROWS:
        raise DataError(
            f"{rows} rows{what} are too few to train, choose and test with",
            hint=f"Bring at least {FEWEST_ROWS} rows, and many more for a result that means something.",
        )


def _classes(target: pl.Series, config: SplitConfig, values: int) -> tuple[Any, ...] | None:
    """The classes in a stable order, or None where the target is a number to be estimated."""
    place = f"column {config.target!r}"
    if config.task == "regression":
        if not target.dtype.is_numeric():
            raise DataError(
                f"the target {config.target!r} is {target.dtype}, and regression needs a number",
                place=place,
                hint='Set `task = "binary"` or `"multiclass"`, or name another target.',
            )
        if target.dtype.is_float() and target.is_infinite().any():
            row = target.is_infinite().arg_true()[0]
            raise DataError(
                f"the target {config.target!r} is infinite in row {row}", place=place, hint="Mend the data."
            )
        return None
    if config.task is None and target.dtype.is_numeric() and (target.dtype.is_float() or values > 20):
        return None
    if config.task == "binary" and values != 2:
        few = ", ".join(repr(value) for value in target.unique(maintain_order=True).head(5))
        raise DataError(
            f"the target {config.target!r} has {values} values ({few}, ...), and a binary task needs two",
            place=place,
            hint='Set `task = "multiclass"` or `"regression"`.',
        )
    if config.task == "multiclass" and values > 1000:
        raise DataError(
            f"the target {config.target!r} has {values} different values, too many for classes",
            place=place,
            hint='Set `task = "regression"`, or name another target.',
        )
    if target.dtype.is_float() and values > 100:
        raise DataError(
            f"the target {config.target!r} has {values} different numbers, which look like no classes",
            place=place,
            hint='Set `task = "regression"`.',
        )
    return tuple(sorted(target.unique().to_list(), key=lambda value: (str(type(value)), value)))


def class_codes(labels: Labelled, target: str) -> np.ndarray:
    """The class of each row as its index in `labels.classes`: int64 [rows]."""
    import polars as pl

    column = plain(labels.frame, target)
    order = pl.DataFrame({"value": pl.Series(labels.classes or (), dtype=column.dtype, strict=False)}).with_row_index(
        "i"
    )
    found = pl.DataFrame({"value": column}).join(order, on="value", how="left", maintain_order="left")
    return found.get_column("i").cast(pl.Int64).to_numpy()


def finish(
    labels: Labelled, part: np.ndarray, config: SplitConfig, ctx: StageContext, *, method: str, advice: str
) -> Split:
    """The three parts (rows in their order), checked, with the report.

    `part` [rows] is 0, 1, 2 for train, valid, test and -1 for rows in none. `advice` is the way out if a part is empty
    or lacks a class.
    """
    import polars as pl

    from headrace.builtins.split.leakage import find_leaks

    frames = [labels.frame.filter(pl.Series(part == i)) for i in range(3)]
    for name, frame in zip(PARTS, frames, strict=True):
        if frame.height == 0:
            raise DataError(f"the {name} part would have no rows", hint=advice)
    findings = _missing_classes(labels, frames, config, advice)
    ctx.check_cancelled()
    if config.leakage != "off":
        leaks = find_leaks(dict(zip(PARTS, frames, strict=True)), labels, config, ctx)
        findings += leaks
        if leaks and config.leakage == "fail":
            raise DataError(
                "knowledge leaks: " + "; ".join(str(finding["message"]) for finding in leaks),
                hint="Mend the data or the split; name columns that are fine in `leak_ignore`, or set "
                '`leakage = "warn"`.',
            )
    for finding in findings:
        ctx.log(f"warning: {finding['message']}")
    rows = {name: frame.height for name, frame in zip(PARTS, frames, strict=True)}
    rows |= {"without_target": labels.dropped, "left_out": int((part < 0).sum())}
    ctx.log(", ".join(f"{name} {rows[name]}" for name in PARTS) + f" rows ({method})")
    report = SplitReport(method=method, rows=rows, findings=findings)
    train, valid, test = (Dataset.from_frame(frame) for frame in frames)
    return Split(train=train, valid=valid, test=test, split=report)


def _missing_classes(
    labels: Labelled, frames: Sequence[pl.DataFrame], config: SplitConfig, advice: str
) -> list[dict[str, Any]]:
    """A class that training never sees, or that a binary task cannot be judged without, is an error; else a finding."""
    if labels.classes is None or config.target is None:
        return []
    present = [set(plain(frame, config.target).unique().to_list()) for frame in frames]
    findings = []
    for value in labels.classes:
        absent = [name for name, found in zip(PARTS, present, strict=True) if value not in found]
        if not absent:
            continue
        text = f"the class {value!r} of {config.target!r} has no row in {' and '.join(absent)}"
        if "train" in absent or len(labels.classes) == 2:
            raise DataError(text, place=f"column {config.target!r}", hint=advice)
        findings.append(finding("class-missing", config.target, 0, (), text))
    return findings


def finding(kind: str, column: str | None, rows: int, examples: Sequence[int], message: str) -> dict[str, Any]:
    """One entry of a report's findings."""
    return {
        "expectation": kind,
        "column": column,
        "policy": "warn",
        "failed_rows": rows,
        "examples": list(examples),
        "message": message,
    }
