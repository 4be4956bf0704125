"""Golden rows: a few raw rows with what they gave when a package was made, replayed when it is loaded.

A JSON object, format 1:

`inputs`
    `name` and `type` of the columns, as in the plan.
`rows`
    Raw rows: a list for each, in the order of `inputs`; null, or by type: a number; `"nan"`, `"inf"`, `"-inf"`; true or
    false; text; a decimal as text; days since 1970-01-01 for a date; the count of its unit since 1970-01-01 (UTC if
    zoned) for a datetime; nanoseconds since midnight for a time; the count of its unit for a duration. Floats are the
    shortest text that reads back as the same float64.
`features`
    The plan's outputs for each row. They must come out equal, bit for bit.
`scores`
    The model's outputs for each row, float32: equal within `tolerance` (absolute and relative; 0.0: bit for bit).
`made_with`
    The version of ONNX Runtime. Another version may compute a transcendental function differently, so with it the
    tolerance is at least 1e-6.
`plan`
    The fingerprint of the plan.

Besides rows of the data there are two that it may not have: one in which everything is missing, and one of extremes
and texts never seen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NoReturn

from headrace.compute.plan.document import Column
from headrace.compute.plan.read import column_of, read_column
from headrace.compute.plan.types import family, polars_type
from headrace.errors import DataError, ModelFormatError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import numpy.typing as npt
    import polars as pl

    from headrace.compute.inference import Predictor
    from headrace.compute.plan.feature_plan import FeaturePlan

FORMAT: Final = 1
_OTHER_RUNTIME: Final = 1e-6
_UNSEEN: Final = "never seen \U0001f986"


def make(predictor: Predictor, frame: pl.DataFrame, *, n: int = 16, tolerance: float | None = None) -> dict[str, Any]:
    """Golden rows: `n` rows of `frame`, evenly spread, and the two edge rows.

    `tolerance` is by default 0.0 for a model that has a native form (LightGBM, whose export adds up exactly), and 1e-5
    for others, whose matrix products may add up in another order on another processor.
    """
    import onnxruntime
    import polars as pl

    if frame.is_empty():
        raise DataError("golden rows need at least one row", hint="Pass rows that were not used in training.")
    columns = [Column(name=name, type=type_, nullable=True) for name, type_ in predictor.plan.inputs.items()]
    count = min(n, frame.height)
    picked = frame[[index * frame.height // count for index in range(count)]]
    # Dicts, because a list of series would rename a column whose name is empty.
    values = {c.name: read_column(column_of(picked, c.name).alias("value"), c) for c in columns}
    taken = pl.DataFrame({c.name: _declared(values[c.name], c) for c in columns})
    # A transform may rightly refuse rows that no data has, so with one the rows are the data's own.
    rows = taken if predictor.plan.transforms else pl.concat([taken, _edges(columns)])
    if tolerance is None:
        tolerance = 0.0 if predictor.model.native is not None else 1e-5
    return {
        "format": FORMAT,
        "plan": predictor.plan.fingerprint,
        "made_with": {"onnxruntime": onnxruntime.__version__},
        "tolerance": tolerance,
        "inputs": [{"name": c.name, "type": c.type} for c in columns],
        "rows": [list(row) for row in zip(*(_encoded(rows[c.name], c.type) for c in columns), strict=True)],
        "features": _numbers(predictor.plan.matrix(rows)),
        "scores": _numbers(predictor.scores(rows)),
    }


def replay(predictor: Predictor, golden: Mapping[str, Any]) -> None:
    """Compute golden rows again.

    Raises
    ------
    ModelFormatError
        They are of another plan, of a newer format, or damaged; or a row does not give what it gave, which names the
        row, the feature, both values, and the versions of the runtime.

    """
    import onnxruntime

    expected = replay_features(predictor.plan, golden, runtime=onnxruntime.__version__)
    note = (
        f" (made with ONNX Runtime {expected.made_with}, this is {onnxruntime.__version__}; tolerance "
        f"{expected.tolerance:g})"
    )
    _compare(
        _two_dimensional(predictor.scores_of(expected.features)),
        expected.scores,
        expected.tolerance,
        what="score",
        names=expected.names,
        note=note,
    )


@dataclass(frozen=True)
class Expected:
    """Golden rows whose features were computed again: what the model must make of them.

    `features` is float32 [rows, features], `scores` float64 [rows, classes], of regression [rows, 1]; `names` are those
    of the scores.
    """

    features: npt.NDArray[np.float32]
    scores: npt.NDArray[np.float64]
    tolerance: float
    names: tuple[str, ...]
    made_with: str


def replay_features(plan: FeaturePlan, golden: Mapping[str, Any], *, runtime: str) -> Expected:
    """The first half of `replay`, which needs no model. `runtime` is the version of ONNX Runtime that will score."""
    import numpy as np
    import polars as pl

    try:
        if golden["format"] > FORMAT:
            _refuse(
                f"they have format {golden['format']}, this headrace reads format {FORMAT}", hint="Upgrade headrace."
            )
        columns = {entry["name"]: entry["type"] for entry in golden["inputs"]}
        if golden["plan"] != plan.fingerprint or columns != plan.inputs:
            _refuse("they were made with another feature plan")
        rows = _decoded(golden["rows"], columns)
        features = _array(golden["features"], np.float32)
        scores = _array(golden["scores"], np.float64)
        tolerance, version = float(golden["tolerance"]), str(golden["made_with"]["onnxruntime"])
    except ModelFormatError:
        raise
    except (LookupError, TypeError, ValueError, ArithmeticError, pl.exceptions.PolarsError) as error:
        raise ModelFormatError(
            f"the golden rows are damaged: {type(error).__name__}: {error}", place="golden.json", hint=_AGAIN
        ) from error
    found = plan.matrix(rows)
    _compare(found, features, 0.0, what="feature", names=plan.outputs)
    if version != runtime:
        tolerance = max(tolerance, _OTHER_RUNTIME)
    names = plan.class_names or ("prediction",)
    return Expected(found, _two_dimensional(scores), tolerance, names, version)


_AGAIN: Final = "Do not use this package; register the model again."


def _refuse(what: str, *, hint: str = _AGAIN) -> NoReturn:
    raise ModelFormatError(f"the golden rows cannot be replayed: {what}", place="golden.json", hint=hint)


def _compare(
    found: npt.NDArray[Any],
    expected: npt.NDArray[Any],
    tolerance: float,
    *,
    what: str,
    names: tuple[str, ...],
    note: str = "",
) -> None:
    import numpy as np

    if found.shape != expected.shape:
        _refuse(f"they have {what}s of the shape {expected.shape}, computed were {found.shape}")
    with np.errstate(invalid="ignore"):
        near = np.abs(found - expected) <= tolerance * np.maximum(1.0, np.abs(expected))
    # Equal bits, so that -0.0 is not 0.0; the NaNs of both sides are the one that numpy writes.
    same = near if tolerance else found.view(f"u{found.itemsize}") == expected.view(f"u{expected.itemsize}")
    same |= (found == expected) & (tolerance > 0) | (np.isnan(found) & np.isnan(expected))
    if not same.all():
        row, column = (int(index) for index in np.argwhere(~same)[0])
        raise ModelFormatError(
            f"golden row {row} gives the {what} {names[column]!r} as {found[row, column].item()!r}, and gave "
            f"{expected[row, column].item()!r} when the package was made{note}",
            place="golden.json",
            hint=_AGAIN,
        )


def _two_dimensional(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return values.reshape(len(values), -1)


# --- JSON ----------------------------------------------------------------------------------------------------------


def _declared(series: pl.Series, column: Column) -> pl.Series:
    """In the type of the signature, where that loses nothing."""
    try:
        return series.cast(polars_type(column.type))
    except Exception as error:  # polars' errors for a cast that does not fit have several roots
        raise DataError(f"a value does not fit {column.type}: {error}", place=f"column {column.name!r}") from error


def _edges(columns: list[Column]) -> pl.DataFrame:
    import polars as pl

    return pl.DataFrame(
        {c.name: pl.Series(values=[None, _extreme(c.type)], dtype=polars_type(c.type), strict=True) for c in columns}
    )


def _extreme(type_: str) -> Any:
    import datetime as dt
    from decimal import Decimal

    kind = family(type_)
    if kind == "integer":
        bits = int(type_.removeprefix("u").removeprefix("int"))
        return 2**bits - 1 if type_.startswith("u") else -(2 ** (bits - 1))
    if kind == "float":
        return Decimal(-1) if type_.startswith("decimal") else math.inf
    return {
        "boolean": True,
        "string": _UNSEEN,
        "date": dt.date(1600, 2, 29),
        "datetime": dt.datetime(1969, 12, 31, 23, 59, 59, tzinfo=dt.UTC if "," in type_ else None),
        "time": dt.time(23, 59, 59),
        "duration": dt.timedelta(days=-1),
    }[kind]


def _encoded(series: pl.Series, type_: str) -> list[Any]:
    kind = family(type_)
    if kind in ("date", "datetime", "time", "duration"):
        return series.to_physical().to_list()
    if type_.startswith("decimal"):
        return [None if value is None else str(value) for value in series.to_list()]
    return [_number(value) if isinstance(value, float) else value for value in series.to_list()]


def _decoded(rows: list[list[Any]], columns: Mapping[str, str]) -> pl.DataFrame:
    import polars as pl

    if any(len(row) != len(columns) for row in rows):
        _refuse("a row has another number of values than there are inputs")
    return pl.DataFrame(
        {name: _series(type_, [row[index] for row in rows]) for index, (name, type_) in enumerate(columns.items())}
    )


def _series(type_: str, values: list[Any]) -> pl.Series:
    from decimal import Decimal

    import polars as pl

    dtype = polars_type(type_)
    kind = family(type_)
    if kind in ("date", "datetime", "time", "duration"):
        return pl.Series(values=values, dtype=pl.Int32 if kind == "date" else pl.Int64).cast(dtype)
    if type_.startswith("decimal"):
        return pl.Series(values=[None if value is None else Decimal(value) for value in values], dtype=dtype)
    if kind == "float":
        return pl.Series(values=[None if value is None else float(value) for value in values], dtype=dtype)
    return pl.Series(values=values, dtype=dtype, strict=True)


def _number(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)


def _numbers(values: npt.NDArray[Any]) -> list[list[float | str]]:
    return [[_number(float(value)) for value in row] for row in _two_dimensional(values)]


def _array(values: list[list[float | str]], dtype: type) -> npt.NDArray[Any]:
    import numpy as np

    made: npt.NDArray[np.float64] = np.array([[float(value) for value in row] for row in values], dtype=np.float64)
    return made.astype(dtype)
