"""Values of base seeds and what becomes of them: ratios, rates and their intervals.

The base seed is the unit of resampling: a number is first computed within each seed, and its
interval is Student's over seeds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import numpy as np
import pandas as pd

from wingbeat.errors import BELOW_NOISE_FLOOR
from wingbeat.stats import Estimate
from wingbeat.study.finished import first_reason
from wingbeat.typing import Array

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


Definition = Literal["full", "projected", "legacy"]
DEFINITIONS: Final[dict[Definition, str]] = {
    "full": "convergence_ratio",
    "projected": "convergence_ratio_projected",
    "legacy": "legacy_ratio",
}
"""Column of the ratio of spreads under each definition."""
DEFINITION_NAMES: Final[dict[Definition, str]] = {
    "full": "full space",
    "projected": "projected",
    "legacy": "as deep-lyapunov 0.1.2",
}
FEWEST_SEEDS: Final = 3
"""Base seeds below which there is no interval over seeds."""


def exponential(logs: Estimate) -> Estimate:
    """Return the estimate of exp(x) from that of x; intervals keep their coverage.

    >>> exponential(Estimate(0.0, 0.0, 0.0)).high
    1.0
    """
    low, value, high = (float(np.exp(x)) for x in (logs.low, logs.value, logs.high))
    return Estimate(value, low, high, logs.reason, logs.interval_reason)


def log_ratios(rows: pd.DataFrame, definition: Definition) -> Array:
    """Return ln(final ÷ initial spread) of each condition; NaN where it is undefined."""
    values = rows[DEFINITIONS[definition]].to_numpy(dtype=np.float64)
    return logarithms(values)


def logarithms(values: ArrayLike) -> Array:
    """Return logarithms, NaN where there is none.

    >>> logarithms([1.0, 0.0, -1.0]).tolist()
    [0.0, nan, nan]
    """
    numbers = np.asarray(values, dtype=np.float64)
    return np.asarray(np.log(np.where(numbers > 0, numbers, np.nan)))


def rates(rows: pd.DataFrame, definition: Definition) -> Array:
    """Return ln ratio ÷ epochs of each condition, 1/epoch.

    deep-lyapunov takes its exponent from the projected spread, not from its own ratio.
    """
    used: Definition = "projected" if definition == "legacy" else definition
    return np.asarray(log_ratios(rows, used) / rows["epochs"].to_numpy(dtype=np.float64))


def why_undefined(rows: pd.DataFrame, definition: Definition) -> str:
    """Return the reason why a ratio does not exist in one of the conditions."""
    return first_reason(rows, DEFINITIONS[definition]) or BELOW_NOISE_FLOOR
