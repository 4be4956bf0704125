"""`FeatureHasher`: scikit-learn's, in Rust, for dicts and for frames."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Literal, Self

from headrace import _core
from headrace.compute.collisions import CollisionReport, HashedFeature, InverseMap
from headrace.compute.estimator import Estimator
from headrace.compute.mixed import naming_column
from headrace.compute.sparse import csr
from headrace.errors import ConfigError, DataError, DataTypeError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from headrace.types import SupportsArrowStream

Mode = Literal["sklearn", "spark", "keyed"]
Output = Literal["sparse", "dense", "buckets"]
_DEFAULT_COLUMNS = {"spark": 2**18}
_GREATEST_COLUMNS = 2**31 - 1
_GREATEST_DENSE = 4096
_KEY_BYTES = 16
_CHOICES = {
    "input_type": ("dict", "pair", "string"),
    "mode": ("sklearn", "spark", "keyed"),
    "output": ("sparse", "dense", "buckets"),
}


class HashKey:
    """A secret of 16 bytes that no text shows: neither `repr`, nor what is made of it (`get_params`, logs, tracebacks).

    Make one with `HashKey(secrets.token_bytes(16))` and keep the bytes where secrets are kept. Pickle and `deepcopy`
    take it along, since scikit-learn's workers need it; a pickle of the estimator is as secret as the key.
    """

    __slots__ = ("_bytes",)

    def __init__(self, key: bytes) -> None:
        if not isinstance(key, (bytes, bytearray)) or len(key) != _KEY_BYTES:
            found = f"{len(key)} bytes" if isinstance(key, (bytes, bytearray)) else f"a {type(key).__name__}"
            raise ConfigError(f"the key is {found}, expected {_KEY_BYTES} bytes", hint="secrets.token_bytes(16)")
        self._bytes = bytes(key)

    def reveal(self) -> bytes:
        """The bytes."""
        return self._bytes

    def __eq__(self, other: object) -> bool:
        return isinstance(other, HashKey) and self._bytes == other._bytes

    def __hash__(self) -> int:
        return hash(self._bytes)

    def __repr__(self) -> str:
        return "HashKey(...)"


class FeatureHasher(Estimator):
    """Named values to a sparse matrix of hashed features: scikit-learn's `FeatureHasher`, bit for bit, in Rust.

    The first four parameters, the methods and the output are those of `sklearn.feature_extraction.FeatureHasher` (1.9):
    columns, signs, zeros of cancelled values, order and types. It stands in for it in `Pipeline`, `ColumnTransformer`
    and `clone`, and imports scikit-learn for none of that. Beyond it:

    *Frames.* Anything two-dimensional with `__arrow_c_stream__` or `__arrow_c_array__` (polars, pyarrow, pandas,
    DuckDB) is read where it lies, and means what its rows as dicts mean:

    ==============================  =================================================================================
    string, categorical, enum       the feature `column=value`, 1
    integer, float, decimal         the feature `column`, its value; zero is not hashed, NaN is kept
    boolean                         the feature `column`, 1 if true
    date, time, datetime            the feature `column=2013-01-31` (ISO 8601; UTC with a `Z` if it has a zone), 1
    list                            each item a value of its own
    null                            as if it were not there
    null as an item of a list       `DataError` with the column's name and the row
    anything else                   `DataError` with the column's name
    ==============================  =================================================================================

    The index of a pandas frame is no column, and NaN in a column of pandas is null, as pandas itself hands it over.

    With `input_type="pair"` a frame means the same. With `"string"` its columns hold tokens: strings, bytes or lists of
    these; the names of the columns do not matter. A single column (a Series) is iterated over, as scikit-learn does.

    *Order of sums.* Values of one row that fall on one column are added in the order in which they come. scikit-learn
    leaves that order to an unstable sort in rows of more than 16 values: only there, and only if three or more values
    that are not whole meet in one column, the last digit may differ.

    *Errors* are those of `headrace.errors` and name row and feature: a `DataTypeError` is a `TypeError`, and a
    `DataError` a `ValueError`, as scikit-learn raises them. An empty iterable of strings is a `DataError`, too
    (scikit-learn lets a `StopIteration` out), and so is a number beyond a float (there an `OverflowError`); a sample
    that is no dict is a `DataTypeError` (there an `AttributeError`).

    Parameters
    ----------
    n_features
        Number of columns, 1 to 2^31 - 1. None: 2^20, or 2^18 with `mode="spark"`.
    input_type
        What a sample is: `"dict"`, `"pair"` (an iterable of names and values) or `"string"` (an iterable of names).
    dtype
        numpy's type of the values; `float` is float64. Others than float64 and float32 are slow.
    alternate_sign
        Whether the hash's sign is the value's. Without it, features that meet add up.
    mode
        `"sklearn"`; `"spark"`: the `FeatureHasher` of Spark 3 (seed 42, non-negative modulo, no signs, booleans as
        `column=true`, zeros kept, `None` as if it were not there); `"keyed"`: SipHash-2-4 under `key`, for values that
        somebody may choose to make them collide.
    output
        `"sparse"`; `"dense"`: float32, with at most 4096 columns; `"buckets"` (frames only): an int32 for each column
        of the frame, every one of them taken as a category, and -1 for null, which is how LightGBM takes categories.
    categorical
        Names of columns whose numbers and booleans are categories: the feature `column=1`. Written as everywhere in
        headrace (`1`, `0.5`, `true`), in Spark's mode as Java 19 writes them (`1.0`). Of a frame each must be there.
    key
        16 bytes, or a `HashKey`, which it becomes: shown nowhere. For `mode="keyed"` only.
    threads
        At most so many threads for frames; None: as many as the process may use. The output does not depend on it.

    Raises
    ------
    ConfigError
        By `fit` and `transform`: a parameter has a value that it cannot have.
    DataError
        By `transform`: there are no rows, a frame has no columns, one of another type or one twice, text that is not
        UTF-8 or dates beyond the calendar, or the result has more than 2^31 - 1 values.

    """

    def __init__(
        self,
        n_features: int | None = None,
        *,
        input_type: str = "dict",
        dtype: Any = float,
        alternate_sign: bool = True,
        mode: Mode = "sklearn",
        output: Output = "sparse",
        categorical: Collection[str] = (),
        key: bytes | HashKey | None = None,
        threads: int | None = None,
    ) -> None:
        # The one default that depends on another parameter; scikit-learn's users read a number here.
        columns = _DEFAULT_COLUMNS.get(mode, 2**20) if isinstance(mode, str) else 2**20
        self.n_features = columns if n_features is None else n_features
        self.input_type = input_type
        self.dtype = dtype
        self.alternate_sign = alternate_sign
        self.mode = mode
        self.output = output
        self.categorical = categorical
        self.key = key
        self.threads = threads

    @property
    def key(self) -> HashKey | None:
        """The secret of `mode="keyed"`; bytes become a `HashKey`."""
        return self._key

    @key.setter
    def key(self, key: bytes | HashKey | None) -> None:
        self._key = HashKey(key) if isinstance(key, (bytes, bytearray)) else key

    # --- scikit-learn's methods --------------------------------------------------------------------------------------

    def fit(self, X: Any = None, y: Any = None) -> Self:  # noqa: N803, ARG002  # scikit-learn's names
        """Check the parameters; nothing is learnt from `X`."""
        self._hasher()
        return self

    def transform(self, raw_X: Iterable[Any] | SupportsArrowStream) -> Any:  # noqa: N803
        """The rows of features.

        Parameters
        ----------
        raw_X
            An iterable of samples, or a frame (see above). A stream is consumed; the interpreter is free while a frame
            is hashed.

        Returns
        -------
        scipy.sparse.csr_matrix
            Shape (rows, `n_features`), on memory that Rust has filled: 32-bit indices, ascending in each row. Or a
            `csr_array`, if scikit-learn is set so. Or a numpy array, as `output` says.

        """
        with naming_column(raw_X):
            return self._transform(raw_X)

    def _transform(self, raw_X: Any) -> Any:  # noqa: N803
        hasher = self._hasher()
        tokens = self.input_type == "string"
        frame: Any = raw_X if _is_frame(raw_X) else None
        if self.output == "buckets":
            if frame is None:
                raise DataError("output 'buckets' needs a frame, whose columns it has", hint="Make one of the dicts.")
            return _not_empty(hasher.buckets(frame))
        if self.output == "dense" and frame is not None:
            return _not_empty(hasher.dense(frame, tokens=tokens))
        dtype = _dtype("float32" if self.output == "dense" else self.dtype)
        single, native = dtype == "float32", dtype in ("float32", "float64")
        if frame is None:
            samples = _iterated(raw_X)
            if tokens:
                rows = hasher.tokens(samples, single=single, merge=native)
            else:
                rows = hasher.named(samples, pairs=self.input_type == "pair", single=single, merge=native)
        elif native:
            rows = hasher.sparse(frame, tokens=tokens, single=single)
        else:
            rows = hasher.entries(frame, tokens=tokens)
        if len(rows[2]) == 1:
            raise _empty()
        matrix = csr(rows, self.n_features) if native else _converted(rows, self.n_features, self.dtype)
        return matrix.toarray() if self.output == "dense" else matrix

    def fit_transform(self, X: Any, y: Any = None, **fit_params: Any) -> Any:  # noqa: N803, ARG002
        """`fit`, then `transform`."""
        return self.fit(X).transform(X)

    def __sklearn_tags__(self) -> Any:
        """Takes dicts or strings, and needs no fit."""
        tags = super().__sklearn_tags__()
        tags.input_tags.string = self.input_type == "string"
        tags.input_tags.dict = self.input_type == "dict"
        return tags

    # --- what a frame's features come to -----------------------------------------------------------------------------

    def collision_report(self, frame: SupportsArrowStream, *, pairs: int = 10, share: float = 0.01) -> CollisionReport:
        """Which of a frame's features share a column, and how many columns would do.

        Parameters
        ----------
        frame
            Counted whole; memory follows the number of distinct features.
        pairs
            At most so many of the worst pairs are named.
        share
            The share of values that may be confused with another feature's, for `suggested_n_features`.

        """
        _positive("pairs", pairs, least=0)
        if not isinstance(share, Real) or not 0 <= share <= 1:
            raise ConfigError(f"share is {share!r}, expected a number from 0 to 1")
        census = self._census(frame)
        rows, values, features, occupied, colliding, shared, confused = census.load()
        return CollisionReport.of(
            n_features=int(self.n_features),
            rows=rows,
            values=values,
            features=features,
            occupied=occupied,
            colliding=colliding,
            shared_values=shared,
            confused_values=confused,
            share=float(share),
            suggested_n_features=census.suggested(float(share)),
            worst=tuple((_shown(first), _shown(second)) for first, second in census.worst(pairs)),
        )

    def inverse_map(self, frame: SupportsArrowStream, *, top: int = 3, limit: int = 100_000) -> InverseMap:
        """The features that stand behind the columns of the result: the most frequent ones in `frame`.

        Parameters
        ----------
        frame
            Counted whole; memory follows the number of distinct features.
        top
            At most so many features a column.
        limit
            At most so many features in all, the most frequent ones.

        """
        _positive("top", top, least=1)
        _positive("limit", limit, least=1)
        found = self._census(frame).inverse(top, limit)
        return InverseMap.of(int(self.n_features), tuple(_shown(feature) for feature in found))

    # --- inside ------------------------------------------------------------------------------------------------------

    def _census(self, frame: SupportsArrowStream) -> _core.FeatureCensus:
        if not _is_frame(frame):
            raise DataError(
                f"expected a frame, found a {type(frame).__name__}",
                hint="Make a frame of the dicts, for instance with polars.DataFrame(rows).",
            )
        with naming_column(frame):
            tokens, categories = self.input_type == "string", self.output == "buckets"
            return self._hasher().census(frame, tokens=tokens, categories=categories)

    def _hasher(self) -> _core.FeatureHasher:
        """The hasher that the parameters describe, or what is wrong with them."""
        for name, choices in _CHOICES.items():
            if not isinstance(getattr(self, name), str) or getattr(self, name) not in choices:
                raise _invalid(name, getattr(self, name), f"one of {', '.join(map(repr, choices))}")
        if not isinstance(self.n_features, Integral) or isinstance(self.n_features, bool):
            raise _invalid("n_features", self.n_features, "an integer")
        if not 1 <= self.n_features <= _GREATEST_COLUMNS:
            raise _invalid("n_features", self.n_features, f"1 to {_GREATEST_COLUMNS}")
        if not isinstance(self.alternate_sign, bool) and type(self.alternate_sign).__name__ not in ("bool", "bool_"):
            raise _invalid("alternate_sign", self.alternate_sign, "True or False")
        categorical = self.categorical
        listed = isinstance(categorical, Iterable) and not isinstance(categorical, str)
        if not listed or not all(isinstance(name, str) for name in categorical):
            raise _invalid("categorical", categorical, "a list of names of columns")
        if not isinstance(self.key, HashKey if self.mode == "keyed" else type(None)):
            # Whatever it is, it may be the secret.
            raise ConfigError(
                f"the parameter key of FeatureHasher is a {type(self.key).__name__} with mode={self.mode!r}",
                hint="Give 16 bytes with mode='keyed', and none otherwise.",
            )
        threads: Any = self.threads
        if threads is not None and (not isinstance(threads, Integral) or isinstance(threads, bool) or threads < 1):
            raise _invalid("threads", self.threads, "None or a number from 1")
        if self.output == "dense" and self.n_features > _GREATEST_DENSE:
            raise _invalid("n_features", self.n_features, f"at most {_GREATEST_DENSE} with output='dense'")
        if self.output == "buckets" and self.input_type == "string":
            raise _invalid("output", self.output, "'sparse' or 'dense' with input_type='string'")
        return _core.FeatureHasher(
            columns=int(self.n_features),
            mode=self.mode,
            key=self.key.reveal() if isinstance(self.key, HashKey) else None,
            signed=bool(self.alternate_sign),
            categorical=list(categorical),
            threads=None if threads is None else min(int(threads), sys.maxsize),
        )


def _is_frame(data: Any) -> bool:
    """Whether it hands itself over through Arrow and is not a single column, which scikit-learn iterates over."""
    if len(getattr(data, "shape", ())) == 1:
        return False
    return hasattr(data, "__arrow_c_stream__") or hasattr(data, "__arrow_c_array__")


def _iterated(samples: Any) -> Iterator[Any]:
    if hasattr(samples, "collect_schema"):
        raise DataTypeError(
            "the samples are a LazyFrame, expected an iterable or a frame", hint="Call `collect()` on it first."
        )
    try:
        return iter(samples)
    except TypeError as error:
        raise DataTypeError(
            f"the samples are of type {type(samples).__name__}, expected an iterable or a frame",
            hint="Pass a list of rows, or a frame (polars, pyarrow, pandas, DuckDB).",
        ) from error


def _dtype(dtype: Any) -> str:
    import numpy as np

    try:
        found = np.dtype(dtype)
    except TypeError as error:
        raise _invalid("dtype", dtype, "a numpy type") from error
    if found.kind not in "biufc" or found.name == "float16":
        raise _invalid("dtype", dtype, "a type of numbers that scipy.sparse has")
    return found.name if found.isnative else ""


def _converted(rows: tuple[Any, Any, Any], columns: int, dtype: Any) -> Any:
    """Entries that are not added up yet: converted one by one and then added, as scikit-learn does."""
    import sys

    import numpy as np
    from scipy.sparse import csr_array, csr_matrix

    data, indices, indptr = rows
    values = np.empty(len(data), dtype)
    for place, value in enumerate(data.tolist()):
        try:
            values[place] = value
        except (ValueError, OverflowError) as error:
            row = int(np.searchsorted(indptr, place, side="right")) - 1
            raise DataError(
                f"the value {value!r} cannot be {np.dtype(dtype).name}: {error}",
                place=f"row {row}",
                hint="Take a dtype that has room for it, such as float.",
            ) from error
    matrix = csr_array((values, indices, indptr), dtype=dtype, shape=(len(indptr) - 1, int(columns)))
    matrix.sum_duplicates()
    sklearn = sys.modules.get("sklearn")
    wanted = sklearn.get_config().get("sparse_interface") if sklearn is not None else None
    return matrix if wanted == "sparray" else csr_matrix(matrix)


def _not_empty(array: Any) -> Any:
    if array.shape[0] == 0:
        raise _empty()
    return array


def _empty() -> DataError:
    return DataError("Cannot vectorize empty sequence.", hint="Pass at least one row.")


def _shown(feature: tuple[str, str | None, int, bool, int]) -> HashedFeature:
    column, value, bucket, negative, count = feature
    return HashedFeature(column=column, value=value, bucket=bucket, sign=-1 if negative else 1, count=count)


def _positive(name: str, value: Any, *, least: int) -> None:
    if not isinstance(value, Integral) or value < least:
        raise ConfigError(f"{name} is {value!r}, expected an integer from {least}")


def _invalid(name: str, value: Any, expected: str) -> ConfigError:
    return ConfigError(f"the parameter {name} of FeatureHasher is {value!r}, expected {expected}")
