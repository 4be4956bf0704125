"""Reads a data file for `headrace init`: as `ingest: files` will, with what a person says about it."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from headrace.errors import DataError, SpecError
from headrace.pipeline.spec import FILE_NAME, overridden, override_items, parse

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import polars as pl

    from headrace.builtins.ingest.files import FilesConfig
    from headrace.compute.dataset import Dataset

_MOST_CELLS: Final = 200_000_000
_STAGE: Final = "ingest"


@dataclass(frozen=True)
class Table:
    """`frame`: all of the rows, or of very large data every k-th; `rows`: how many there are.

    `reading` are the keys of `ingest: files` that it takes to read them so.
    """

    frame: pl.DataFrame
    rows: int
    reading: Mapping[str, Any] = field(default_factory=dict)


def read_table(data: str, overrides: Sequence[str] = ()) -> Table:
    """The rows of `data` as `ingest: files` reads them with `overrides`.

    `decimal_comma` is found out, if nothing is said about it: it is set if that makes numbers of what else were text.
    Raises `SpecError` for a wrong override, `DataError` for what cannot be read; its hint says what to pass.
    """
    from headrace.builtins.ingest.files import wanted
    from headrace.builtins.ingest.locate import locate
    from headrace.builtins.ingest.reading import read_files

    reading, config = _reading(data, overrides)
    how = wanted(config)
    try:
        files = locate(data, Path.cwd())
        dataset = read_files(files, how, _unheard)
    except DataError as error:
        raise DataError(error.message, place=error.place, hint=as_options(error.hint, config)) from error
    table = Table(_some(dataset), dataset.num_rows, reading)
    if "decimal_comma" in reading or not _with_commas(table.frame):
        return table
    try:
        again = read_files(files, replace(how, dialect=replace(how.dialect, decimal_comma=True)), _unheard)
    except DataError:  # only part of the numbers are written so; as text they can be read
        return table
    better = sum(dtype.is_float() for dtype in _some(again).dtypes) > sum(d.is_float() for d in table.frame.dtypes)
    return Table(_some(again), again.num_rows, {**reading, "decimal_comma": True}) if better else table


def as_options(hint: str | None, config: FilesConfig) -> str | None:
    """A hint that says to set a key of a spec, said for a person who has none yet: as an option of `headrace init`."""
    if hint is None:
        return None
    keys = "|".join(type(config).model_fields)

    def option(found: re.Match[str]) -> str:
        value = (found["value"] or "=...").lstrip(" =")
        words = shlex.quote(f"{_STAGE}.{found['key']}={value}")
        return f"pass `--set {words}`" if found["verb"] else f"`--set {words}`"

    with_value = rf"(?P<verb>set )?`(?P<key>{keys})(?P<value> = [^`]*)`"
    without = rf"(?P<verb>set )`(?P<key>{keys})(?P<value>)`"
    return re.sub(f"(?i:{without})", option, re.sub(f"(?i:{with_value})", option, hint))


def _reading(data: str, overrides: Sequence[str]) -> tuple[dict[str, Any], FilesConfig]:
    """The keys that `overrides` set, and the whole config with them."""
    from headrace.builtins.ingest.files import FilesIngest
    from headrace.hooks.contract import describe
    from headrace.pipeline.graph import validate_config

    document: dict[str, Any] = {"project": {"name": "new"}, _STAGE: {}}
    for item in override_items(overrides):
        if item.path[0] != _STAGE:
            raise SpecError(
                f"{'.'.join(item.path)!r} is not about reading",
                place=item.shown,
                hint=f"Only {_STAGE}.KEY=VALUE can be given here; edit the rest in the {FILE_NAME} that is written.",
            )
        if item.path[1] in ("path", "use", "kind"):
            raise SpecError(
                f"`{_STAGE}.{item.path[1]}` follows from the data",
                place=item.shown,
                hint="Give the data as --data FILE.",
            )
        document = overridden(document, item)
    base = {"project": {"name": "new"}, _STAGE: {"use": "files", "path": data}}
    spec = parse(base, path=Path(FILE_NAME), overrides=overrides)
    config = validate_config(spec, spec.stage(_STAGE), describe(FilesIngest))
    return dict(document[_STAGE]), cast("FilesConfig", config)


def _some(dataset: Dataset) -> pl.DataFrame:
    cells = dataset.num_rows * len(dataset.schema)
    if cells <= _MOST_CELLS:
        return dataset.frame()
    return dataset.lazy().gather_every(-(-cells // _MOST_CELLS)).collect(engine="streaming")


def _with_commas(frame: pl.DataFrame) -> bool:
    """Whether a column of text holds nothing but numbers that are written 1,5."""
    import polars as pl

    for series in frame.get_columns():
        if series.dtype == pl.String:
            present = series.alias("text").drop_nulls()
            if len(present) and present.str.contains(r"^\s*-?\d+(,\d+)?\s*$").all() and present.str.contains(",").any():
                return True
    return False


def _unheard(message: str) -> None:
    """What the reader notes, the run will say again."""
