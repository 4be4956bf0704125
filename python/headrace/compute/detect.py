"""Online change detectors: ADWIN, Page-Hinkley, CUSUM, DDM and KSWIN, over arrays, in Rust.

Public as `headrace.drift.ADWIN` and so on. Each reads a stream of numbers once, in order, in bounded memory, and says
at which positions something changed. They test again and again and correct for it little or not at all, so a detection
is a hint where to look, not evidence: `docs/how-to/detectors.md` shows how often each cries wolf.
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from headrace import _core
from headrace.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    from headrace.types import SupportsArrowStream

    Semantics = Literal["paper", "river"]
    Direction = Literal["up", "down", "both"]

__all__ = ["ADWIN", "CUSUM", "DDM", "KSWIN", "PageHinkley"]


class _Detector:
    """What the five share."""

    _inner: _core.Detector
    _method: ClassVar[str]

    def update(
        self, values: float | ArrayLike | SupportsArrowStream, *, missing: Literal["error", "skip"] = "error"
    ) -> NDArray[np.int64]:
        """Read the next values of the stream.

        What is found does not depend on how the stream is cut: `update(a)` and then `update(b)` leave the detector in
        the same state, bit for bit, as one update with both.

        Parameters
        ----------
        values
            One number, or a column of floats, integers or booleans: a numpy array of one dimension, a polars or pandas
            series, a pyarrow array, a list. Contiguous arrays and Arrow columns are read where they lie, without the
            interpreter, and other threads run meanwhile. Integers beyond 2^53 are rounded to float64.
        missing
            What becomes of null and NaN: `"error"`, or `"skip"`, which passes over them; positions count them all the
            same. Infinite values, and values beyond 1e100 in magnitude, whose squares would soon overflow, are always
            an error.

        Returns
        -------
        ndarray of int64
            Positions at which a change was detected, in order; the first value that the detector ever saw is 0.

        Raises
        ------
        DataError
            A value cannot be taken (the message names its row in `values`), or `values` is no column of numbers. The
            detector is as it was: not even the rows before were read.

        """
        if missing not in ("error", "skip"):
            raise DataError(f"missing is {missing!r}, expected 'error' or 'skip'")
        skip = missing == "skip"
        if isinstance(values, (float, int)):
            return self._inner.update_one(_number("the value", values), skip)
        is_arrow = hasattr(values, "__arrow_c_stream__") or hasattr(values, "__arrow_c_array__")
        column: Any = values if is_arrow else _array(values)
        return self._inner.update(column, skip)

    @property
    def detections(self) -> NDArray[np.int64]:
        """Positions of the last 256 detections, in order. There may have been more: `n_detections`."""
        return self._inner.last

    @property
    def n_detections(self) -> int:
        """How many changes were detected."""
        return self._inner.found

    @property
    def n_seen(self) -> int:
        """How many values were given, skipped ones included: the position of the next."""
        return self._inner.seen

    @property
    def options(self) -> dict[str, Any]:
        """The options in force, by name."""
        return self._inner.options()[1]

    def to_bytes(self) -> bytes:
        """Write the state down, so that another process can go on: `from_bytes`.

        Equal options and equal values give equal bytes, on every machine. Bounded, whatever the stream: a few hundred
        bytes for most, O(max_buckets log n) for ADWIN, the window for KSWIN.
        """
        return self._inner.to_bytes()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Go on from what `to_bytes` wrote.

        Raises
        ------
        DataError
            The bytes are not the state of such a detector, were changed, or have a format that this version of headrace
            does not read.

        """
        core = _core.Detector.from_bytes(data)
        method = core.options()[0]
        if method != cls._method:
            raise DataError(
                f"the bytes are the state of {method}, expected {cls._method}", hint=f"Use {method}.from_bytes."
            )
        return cls._of(core)

    def reset(self) -> None:
        """Forget everything: as new, with the same options."""
        self._inner = self._inner.fresh()

    @classmethod
    def _of(cls, core: _core.Detector) -> Self:
        made = cls.__new__(cls)
        made._inner = core  # noqa: SLF001  # its own
        return made

    def __repr__(self) -> str:
        options = ", ".join(f"{name}={value!r}" for name, value in self.options.items())
        return f"{type(self).__name__}({options})"


class ADWIN(_Detector):
    """ADWIN: a window that grows while its mean is stable, and drops its older part where that has another mean.

    Bifet and Gavaldà (2007), ADWIN2. Whenever some cut of the window into an older and a newer part has means that
    differ by more than the paper's bound, the oldest bucket is dropped and the position is a detection.

    Parameters
    ----------
    delta
        Confidence: at a check, a bound on the probability to cut a window without change.
    semantics
        `"paper"`: every cut is tried at every value, and what remains after a cut is the window, so that one change
        may be detected at several positions in a row while the old values leave. `"river"`: as river 0.26.1, detection
        by detection: a check every 32nd value, parts of at least 5 values, none in a window of up to 10, the
        bound with n - 4 for n, and the window empties after a detection.
    clock
        Try the cuts at every so manieth value; default 1 (paper) or 32 (river). 32 costs a tenth of 1.
    max_buckets
        Buckets of one size in the histogram that stands for the window, the paper's M.
    min_window
        Fewest values on either side of a cut; default 1 (paper) or 5 (river).
    grace_period
        No check while the window has at most so many values; default 0 (paper) or 10 (river).

    Raises
    ------
    DataError
        An option is outside what it can be.

    """

    _method = "ADWIN"

    def __init__(
        self,
        delta: float = 0.002,
        *,
        semantics: Semantics = "paper",
        clock: int | None = None,
        max_buckets: int = 5,
        min_window: int | None = None,
        grace_period: int | None = None,
    ) -> None:
        self._inner = _core.Detector.adwin(
            semantics,
            _number("delta", delta),
            _count_or_none("clock", clock),
            _count("max_buckets", max_buckets),
            _count_or_none("min_window", min_window),
            _count_or_none("grace_period", grace_period),
        )

    @property
    def estimation(self) -> float:
        """Mean of the window; 0 while it is empty."""
        return self._inner.estimation

    @property
    def width(self) -> int:
        """Number of values in the window."""
        return int(self._inner.width)

    @property
    def variance(self) -> float:
        """Variance of the window (divided by n)."""
        window = self._inner.window
        return window[0] if window else 0.0

    @property
    def n_buckets(self) -> int:
        """Buckets that stand for the window: at most `max_buckets` of each power of two."""
        window = self._inner.window
        return window[1] if window else 0


class PageHinkley(_Detector):
    """Page-Hinkley: the sum of what lies above the running mean, against its lowest point so far.

    Page (1954), in the form of Mouss et al. (2004). After a detection everything begins anew with the next value.

    Parameters
    ----------
    threshold
        Sum at which a change is detected (λ), in units of the values.
    delta
        Change of the mean that is not worth a detection, in units of the values.
    semantics
        `"paper"`: the sum keeps everything. `"river"`: as river 0.26.1: it fades, and nothing is detected before the
        30th value.
    forgetting
        What remains of the sum from one value to the next; default 1 (paper) or 0.9999 (river).
    min_instances
        Nothing is detected before so many values; default 1 (paper) or 30 (river).
    direction
        Whether the mean is watched for rising, falling or both.

    Raises
    ------
    DataError
        An option is outside what it can be.

    """

    _method = "PageHinkley"

    def __init__(
        self,
        threshold: float = 50.0,
        *,
        delta: float = 0.005,
        semantics: Semantics = "paper",
        forgetting: float | None = None,
        min_instances: int | None = None,
        direction: Direction = "both",
    ) -> None:
        self._inner = _core.Detector.page_hinkley(
            semantics,
            _number("delta", delta),
            _number("threshold", threshold),
            _number_or_none("forgetting", forgetting),
            _count_or_none("min_instances", min_instances),
            direction,
        )

    @property
    def estimation(self) -> float:
        """Mean of the values since the last beginning; 0 before the first."""
        return self._inner.estimation

    @property
    def width(self) -> int:
        """Number of values since the last beginning."""
        return int(self._inner.width)


class CUSUM(_Detector):
    """CUSUM: sums of standardised deviations from a target, which stop at 0.

    Page (1954), as two one-sided charts in the tabular form of Montgomery's "Introduction to Statistical Quality
    Control". With a known target and scale and the default slack and threshold, normal values without change raise an
    alarm every 465 values on average, and a shift by one scale is found after 10; an estimated target raises it sooner.
    After a detection everything begins anew with the next value.

    Parameters
    ----------
    target
        What the values are expected to be; not given: the mean of the first `warm_up`.
    scale
        Their standard deviation; not given: that of the first `warm_up` (divided by n - 1).
    slack
        Deviation that is not counted (k), in scales: half the shift that is to be found.
    threshold
        Sum at which a change is detected (h), in scales.
    warm_up
        Values to estimate from; nothing is detected among them. While all of them are equal, it goes on.
    direction
        Whether rising, falling or both is looked for.

    Raises
    ------
    DataError
        An option is outside what it can be.

    """

    _method = "CUSUM"

    def __init__(
        self,
        target: float | None = None,
        scale: float | None = None,
        *,
        slack: float = 0.5,
        threshold: float = 5.0,
        warm_up: int = 100,
        direction: Direction = "both",
    ) -> None:
        self._inner = _core.Detector.cusum(
            _number_or_none("target", target),
            _number_or_none("scale", scale),
            _number("slack", slack),
            _number("threshold", threshold),
            _count("warm_up", warm_up),
            direction,
        )

    @property
    def estimation(self) -> float:
        """The target: as given, or as estimated so far."""
        return self._inner.estimation

    @property
    def width(self) -> int:
        """Number of values since the last beginning."""
        return int(self._inner.width)


class DDM(_Detector):
    """DDM: a learner's error rate against the lowest it has had.

    Gama et al. (2004). The values are 1 (or true) for a wrong answer and 0 for a right one. After a detection
    everything begins anew with the next answer.

    Parameters
    ----------
    warm_up
        Answers before which nothing is decided.
    warning_threshold, drift_threshold
        Standard deviations above the lowest error rate at which there is a warning, and a detection.
    semantics
        `"paper"`: at the threshold, and above the minimum itself, which a faultless learner would else be at.
        `"river"`: above the threshold, as river 0.26.1.

    Raises
    ------
    DataError
        An option is outside what it can be.

    """

    _method = "DDM"

    def __init__(
        self,
        *,
        warm_up: int = 30,
        warning_threshold: float = 2.0,
        drift_threshold: float = 3.0,
        semantics: Semantics = "paper",
    ) -> None:
        self._inner = _core.Detector.ddm(
            semantics,
            _count("warm_up", warm_up),
            _number("warning_threshold", warning_threshold),
            _number("drift_threshold", drift_threshold),
        )

    @property
    def estimation(self) -> float:
        """Error rate since the last beginning; 0 before the first answer."""
        return self._inner.estimation

    @property
    def width(self) -> int:
        """Number of answers since the last beginning."""
        return int(self._inner.width)

    @property
    def warning(self) -> int:
        """For how many answers, the last included, the error rate has been in the warning zone; 0 outside of it.

        The paper learns the new concept from these answers.
        """
        return self._inner.warning or 0


class KSWIN(_Detector):
    """KSWIN: the newest values against some of the older ones, by the Kolmogorov-Smirnov statistic, at every value.

    Raab, Heusinger and Schleif (2020). It tests at every value without correction: at the defaults, expect a false
    alarm every few hundred values.

    Parameters
    ----------
    alpha
        Level of one test.
    window_size
        Values in the window (n).
    stat_size
        Values on either side of the test (r): the newest r, and r drawn at random from the other n - r.
    semantics
        `"paper"`: detects where the statistic is above sqrt(-ln(alpha) / r), and keeps the newest r as the window.
        `"river"`: as river 0.26.1: where the exact p-value is at most alpha and the statistic above 0.1; the window
        empties and the draws begin anew after a detection.
    seed
        Where the draws begin. In river's semantics they are those of `random.Random(seed)`; in the paper's, of
        SplitMix64.

    Raises
    ------
    DataError
        An option is outside what it can be.

    """

    _method = "KSWIN"

    def __init__(
        self,
        alpha: float = 0.005,
        *,
        window_size: int = 100,
        stat_size: int = 30,
        semantics: Semantics = "paper",
        seed: int = 0,
    ) -> None:
        self._inner = _core.Detector.kswin(
            semantics,
            _number("alpha", alpha),
            _count("window_size", window_size),
            _count("stat_size", stat_size),
            _count("seed", seed),
        )

    @property
    def estimation(self) -> float:
        """Mean of the window; 0 while it is empty."""
        return self._inner.estimation

    @property
    def width(self) -> int:
        """Number of values in the window."""
        return int(self._inner.width)


def _array(values: Any) -> NDArray[Any]:
    """Anything else as an array that Rust reads in place: one dimension, contiguous, aligned, native numbers."""
    import numpy as np

    try:
        found = np.asarray(values)
    except (TypeError, ValueError) as error:
        raise DataError(f"{type(values).__name__} is no column of numbers: {error}") from error
    if found.ndim == 0:
        found = found.reshape(1)
    if found.ndim != 1:
        raise DataError(f"the values have {found.ndim} dimensions, expected 1", hint="Feed one column to one detector.")
    if found.dtype == object:
        # None among numbers: nulls, if they are told by a type that has them
        return _array_of_objects(found)
    if found.dtype.kind not in "fiub" or found.dtype.itemsize > 8:
        raise DataError(f"the values are of type {found.dtype}, expected floats, integers or booleans")
    native = found.dtype.newbyteorder("=")
    if native == np.float16:
        native = np.dtype(np.float32)
    return np.require(found, native, ["C_CONTIGUOUS", "ALIGNED"])


def _array_of_objects(values: NDArray[Any]) -> NDArray[Any]:
    import numpy as np

    for row, value in enumerate(values):
        if value is not None and not isinstance(value, (float, int, np.number, np.bool_)):
            raise DataError(f"the value is of type {type(value).__name__}, expected a number", place=f"row {row}")
    return np.array([np.nan if value is None else float(value) for value in values], dtype=np.float64)


def _number(name: str, value: float) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise DataError(f"{name} is {value!r}, expected a number") from None


def _number_or_none(name: str, value: float | None) -> float | None:
    return None if value is None else _number(name, value)


def _count(name: str, value: int) -> int:
    try:
        count = operator.index(value)
    except TypeError:
        raise DataError(f"{name} is {value!r}, expected a whole number") from None
    if not 0 <= count < 2**64:
        raise DataError(f"{name} is {count}, expected a whole number from 0 to 2^64 - 1")
    return count


def _count_or_none(name: str, value: int | None) -> int | None:
    return None if value is None else _count(name, value)
