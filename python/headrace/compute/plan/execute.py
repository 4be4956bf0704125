"""Runs the steps of a plan over a frame, in polars and numpy. Reads nothing but the document."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headrace.compute.plan.document import (
    BinsStep,
    BooleanStep,
    BucketStep,
    CategoryStep,
    DifferenceStep,
    FrequencyStep,
    HashStep,
    NumberStep,
    OneHotStep,
    SecondsStep,
    TargetStep,
    TimeCycleStep,
    TimePartStep,
)
from headrace.compute.plan.keys import cross_text, key_text
from headrace.compute.plan.read import column_of, read_column
from headrace.compute.plan.values import conditioned, difference, number, seconds, time_part
from headrace.errors import ModelFormatError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    import numpy.typing as npt
    import polars as pl

    from headrace.compute.plan.document import Column, PlanDocument, Scaling, Step

    _Values = npt.NDArray[np.float64] | npt.NDArray[np.float32]


def execute(plan: PlanDocument, frame: pl.DataFrame) -> npt.NDArray[np.float32]:
    """All outputs of a plan.

    Returns
    -------
    ndarray
        float32 [rows, outputs], column-major, rows in the order of the frame; every NaN is 0x7fc00000. A row's bits do
        not depend on other rows, nor on how the frame is chunked.

    Raises
    ------
    DataError
        A column is missing or of a type that is neither the plan's nor a declared cast of it.

    """
    import numpy as np

    given = (column for transform in plan.transforms for column in transform.gives)
    types = {column.name: column for column in (*plan.inputs, *given)}
    columns = {name: read_column(column_of(frame, name).alias("value"), column) for name, column in types.items()}
    out = np.empty((frame.height, len(plan.outputs)), dtype=np.float32, order="F")
    position = 0
    with np.errstate(over="ignore", invalid="ignore"):
        for step in plan.steps:
            values = _run(step, [columns[name] for name in step.reads], [types[name] for name in step.reads])
            out[:, position : position + len(step.gives)] = values.reshape(frame.height, len(step.gives))
            position += len(step.gives)
    out[np.isnan(out)] = np.nan
    return out


def _run(step: Step, columns: Sequence[pl.Series], types: Sequence[Column]) -> _Values:
    run = _OPERATIONS.get(type(step))
    if run is None:
        raise ModelFormatError(f"this headrace cannot execute a step {step.op!r}", place="feature plan")
    if "inputs" in type(step).model_fields and not isinstance(step, DifferenceStep):
        keys = cross_text([key_text(column, about.type) for column, about in zip(columns, types, strict=True)])
        return run(step, keys)
    return run(step, *columns)


def _number(step: NumberStep, series: pl.Series) -> _Values:
    import numpy as np

    plain = step.impute is None and step.clip is None and not step.log and step.scaling is None
    values: _Values = number(series) if plain else _scaled(conditioned(series, step), step.scaling)
    return values if step.indicator is None else np.column_stack([values, np.isnan(number(series))])


def _boolean(step: BooleanStep, series: pl.Series) -> _Values:
    return _filled(number(series).astype("f8"), step.impute)


def _bins(step: BinsStep, series: pl.Series) -> _Values:
    import numpy as np

    values = conditioned(series)
    found = np.searchsorted(np.array(step.edges), values, side="right").astype(np.float64)
    found[np.isnan(values)] = np.nan
    return _scaled(_filled(found, step.impute), step.scaling)


def _category(step: CategoryStep, keys: pl.Series) -> _Values:
    import numpy as np

    positions, known = _look_up(keys, step.vocabulary)
    codes = positions.astype(np.float32)
    codes[~known] = step.unseen
    codes[keys.is_null().to_numpy()] = step.missing
    return codes


def _one_hot(step: OneHotStep, keys: pl.Series) -> _Values:
    import numpy as np

    positions, known = _look_up(keys, step.vocabulary)
    made = np.zeros((len(keys), len(step.vocabulary)), dtype=np.float32)
    rows = np.flatnonzero(known)
    made[rows, positions[rows]] = 1
    return made


def _frequency(step: FrequencyStep, keys: pl.Series) -> _Values:
    import numpy as np

    positions, known = _look_up(keys, [text for text, _ in step.counts])
    shares = np.array([count for _, count in step.counts] or [0], dtype=np.float64) / step.rows
    found = np.where(known, shares[positions], 0.0)
    found[keys.is_null().to_numpy()] = np.nan
    return _scaled(_filled(found, step.impute), step.scaling)


def _target(step: TargetStep, keys: pl.Series) -> _Values:
    import numpy as np

    positions, known = _look_up(keys, [text for text, _ in step.encodings])
    table = np.array([numbers for _, numbers in step.encodings] or [step.unseen], dtype=np.float64)
    found = table[positions]
    found[~known] = step.unseen
    found[keys.is_null().to_numpy()] = step.missing
    for index, scaling in enumerate(step.scaling or ()):
        found[:, index] = _scaled(found[:, index], scaling)
    return found


def _bucket(step: BucketStep, keys: pl.Series) -> _Values:
    import numpy as np

    indices = np.abs(_hashes(keys, step.prefix)) % step.buckets
    indices[keys.is_null().to_numpy()] = step.buckets
    return indices.astype(np.float32)


def _hash(step: HashStep, keys: pl.Series) -> _Values:
    import numpy as np

    hashes = _hashes(keys, step.prefix)
    made = np.zeros((len(keys), step.size), dtype=np.float32)
    rows = np.flatnonzero(keys.is_not_null().to_numpy())
    made[rows, np.abs(hashes[rows]) % step.size] = np.where((hashes[rows] < 0) & step.signed, -1, 1)
    return made


def _hashes(keys: pl.Series, prefix: str) -> npt.NDArray[np.int64]:
    import polars as pl

    texts = keys.unique().drop_nulls()
    found = pl.Series([_murmur3((prefix + text).encode()) for text in texts.to_list()], dtype=pl.Int64)
    return keys.replace_strict(texts, found, default=0, return_dtype=pl.Int64).fill_null(0).to_numpy(writable=True)


def _murmur3(data: bytes) -> int:
    state, mask = 0, 0xFFFFFFFF
    for start in range(0, len(data), 4):
        block = data[start : start + 4]
        word = int.from_bytes(block, "little") * 0xCC9E2D51 & mask
        state ^= ((word << 15 | word >> 17) & mask) * 0x1B873593 & mask
        if len(block) == 4:
            state = ((state << 13 | state >> 19) & mask) * 5 + 0xE6546B64 & mask
    state ^= len(data)
    state = (state ^ state >> 16) * 0x85EBCA6B & mask
    state = (state ^ state >> 13) * 0xC2B2AE35 & mask
    state ^= state >> 16
    return state - 2**32 if state >= 2**31 else state


def _look_up(keys: pl.Series, vocabulary: Any) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.bool_]]:
    """Positions in the vocabulary, 0 where the text is null or not in it; and where it is in it."""
    import polars as pl

    codes = keys.cast(pl.Enum(vocabulary), strict=False).to_physical()
    return codes.fill_null(0).cast(pl.Int64).to_numpy(), codes.is_not_null().to_numpy()


def _time_part(step: TimePartStep, series: pl.Series) -> _Values:
    import polars as pl

    parts = time_part(series, step.part, step.time_zone)
    return _scaled(_filled(parts.cast(pl.Float64).to_numpy(writable=True), step.impute), step.scaling)


def _time_cycle(step: TimeCycleStep, series: pl.Series) -> _Values:
    import numpy as np
    import polars as pl

    parts = time_part(series, step.part, step.time_zone)
    table = np.array(step.table, dtype=np.float32)
    positions = parts.cast(pl.Int64).fill_null(step.first).to_numpy() - step.first
    found = table[positions].astype(np.float64)
    found[parts.is_null().to_numpy()] = np.nan
    return _filled(found, step.impute)


def _seconds(step: SecondsStep, series: pl.Series) -> _Values:
    return _scaled(_filled(seconds(series), step.impute), step.scaling)


def _difference(step: DifferenceStep, later: pl.Series, earlier: pl.Series) -> _Values:
    return _scaled(_filled(difference(later, earlier), step.impute), step.scaling)


def _filled(values: npt.NDArray[np.float64], impute: float | None) -> npt.NDArray[np.float64]:
    import numpy as np

    return values if impute is None else np.where(np.isnan(values), impute, values)


def _scaled(values: npt.NDArray[np.float64], scaling: Scaling | None) -> npt.NDArray[np.float64]:
    return values if scaling is None else (values - scaling.center) / scaling.scale


_OPERATIONS: Mapping[type, Callable[..., _Values]] = {
    NumberStep: _number,
    BooleanStep: _boolean,
    BinsStep: _bins,
    CategoryStep: _category,
    OneHotStep: _one_hot,
    FrequencyStep: _frequency,
    TargetStep: _target,
    BucketStep: _bucket,
    HashStep: _hash,
    TimePartStep: _time_part,
    TimeCycleStep: _time_cycle,
    SecondsStep: _seconds,
    DifferenceStep: _difference,
}
