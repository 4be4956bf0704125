"""What is learnt of numbers, without regard to the order of the rows."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Any, Final

from headrace.compute.plan.document import Scaling

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from headrace.compute.plan.config import Impute, Scale

    _Values = npt.NDArray[np.float64]

_LARGE: Final = 2.0**500
"""Squares of numbers below it, added up, stay finite."""


def imputation(values: _Values, how: Impute | float) -> float | None:
    """The number that stands for a missing one; None for `none`.

    From the finite values, as scikit-learn's SimpleImputer has it: the most frequent is the least one of several; 0
    where there is no value.
    """
    import numpy as np

    if how == "none":
        return None
    if not isinstance(how, str):
        return float(how)
    values = values[np.isfinite(values)]
    if not len(values):
        return 0.0
    if how == "mean":
        return _mean(values)
    if how == "median":
        return _finite(np.median(values))
    found, counts = np.unique(values, return_counts=True)
    return float(found[np.argmax(counts)])


def scaling(values: _Values, how: Scale) -> Scaling | None:
    """Centre and scale of the finite values, None for `none`.

    As scikit-learn's StandardScaler (deviation of the population) and RobustScaler (quartiles interpolated linearly):
    the scale of what does not vary is 1.
    """
    import numpy as np

    if how == "none":
        return None
    values = values[np.isfinite(values)]
    if not len(values):
        return Scaling(center=0.0, scale=1.0)
    if how == "robust":
        low, center, high = (_finite(value) for value in np.quantile(values, [0.25, 0.5, 0.75]))
        scale = _finite(high - low)
        return Scaling(center=center, scale=1.0 if scale < 10 * sys.float_info.epsilon else scale)
    center = _mean(values)
    unit = power(values)
    shrunk = values / unit
    variance = math.fsum(((shrunk - center / unit) ** 2).tolist()) / len(values)
    # Where rounding alone explains the variance, there is none.
    least = len(values) * sys.float_info.epsilon * variance
    least += (len(values) * (center / unit) * sys.float_info.epsilon) ** 2
    scale = _finite(math.sqrt(variance) * unit)
    return Scaling(center=center, scale=1.0 if variance <= least or scale == 0 else scale)


def quantiles(values: _Values, shares: tuple[float, float]) -> tuple[float, float]:
    """Two quantiles of the finite values, interpolated linearly; 0 where there is no value."""
    import numpy as np

    values = values[np.isfinite(values)]
    low, high = np.quantile(values, shares) if len(values) else (0.0, 0.0)
    return _finite(low), _finite(high)


def quantile_edges(values: _Values, bins: int) -> tuple[float, ...]:
    """The inner edges of bins with the same number of values, as scikit-learn's KBinsDiscretizer(quantile) has them.

    Equal edges become one, so there may be fewer bins.
    """
    import numpy as np

    values = values[np.isfinite(values)]
    if not len(values):
        return ()
    edges = np.percentile(values, np.linspace(0, 100, bins + 1), method="averaged_inverted_cdf")
    return tuple(np.unique(edges)[1:-1].tolist())


def _mean(values: _Values) -> float:
    unit = power(values)
    return _finite(math.fsum((values / unit).tolist()) / len(values) * unit)


def power(values: _Values) -> float:
    """1, or for numbers whose squares overflow a power of two by which they are divided. Not for none at all."""
    import numpy as np

    most = float(np.abs(values).max())
    return 1.0 if most < _LARGE else 2.0 ** (math.frexp(most)[1] - 1)


def _finite(value: Any) -> float:
    return max(-sys.float_info.max, min(sys.float_info.max, float(value)))
