"""Intervals that keep to what their quantity can be: shares, correlations, barriers.

Student's interval of a mean knows no limits. Near one of them values are skewed, and it does two
things wrong at once: it reaches beyond the limit, and on the other side it is too short. Formed on
the logarithm of the distances to the limits it does neither. How often such intervals cover is
measured by ``python -m benchmarks.limits`` (docs/intervals.md).

Sources: Fisher, Metron 1 (1921), for correlations (his z is half the logit of −1 to 1); Oehlert,
The American Statistician 46 (1992), for carrying an error over to another scale (delta method).
"""

from __future__ import annotations

from math import inf, isfinite, log
from typing import TYPE_CHECKING, Final

import numpy as np

from wingbeat.errors import NO_VARIATION, RequestError
from wingbeat.stats import Estimate

if TYPE_CHECKING:
    from wingbeat.typing import Array

Range = tuple[float, float]
"""Least and largest value that a quantity can have; the largest may be infinite."""
SHARE: Final[Range] = (0.0, 1.0)
"""Shares and accuracies."""
CORRELATION: Final[Range] = (-1.0, 1.0)
DIFFERENCE: Final[Range] = (-1.0, 1.0)
"""One share or accuracy less another."""
AT_LEAST_0: Final[Range] = (0.0, inf)
"""Barriers, distances, losses, counts."""
_ROUNDING: Final = 1e-9
"""By so much of 1 a number may lie outside: a correlation of 1 + 2e-16 is 1."""


def kept(found: Estimate, within: Range | None) -> Estimate:
    """Return an estimate with its interval formed anew inside the range of its quantity.

    The half of the interval is carried over to the logit of the range, ln((x − low) ÷ (high − x)),
    or to ln(x − low) where there is no largest value, and its ends are carried back. The value
    stays.

    Args:
        found: with Student's interval, value ± half.
        within: the range; None leaves all as it is.

    Returns:
        An interval inside the range. None (``no_variation``) where the value lies on a limit: then
        nothing tells how far off the next one would be.

    Raises:
        RequestError: the value lies outside the range.

    Example:
        >>> share = kept(Estimate(0.795, 0.459, 1.131), SHARE)
        >>> round(share.low, 3), round(share.high, 3)
        (0.33, 0.968)
        >>> kept(Estimate(0.795, 0.459, 1.131), None).high
        1.131
    """
    if within is None or not isfinite(found.value):
        return found
    value = float(inside(np.array([found.value]), within)[0])
    if not isfinite(found.low) or not isfinite(found.high):
        return found
    low, high = within
    if not low < value < high:
        return Estimate(value, interval_reason=NO_VARIATION)
    half = max(found.high - found.value, found.value - found.low) * slope(value, within)
    place = scaled(value, within)
    first, last = (_back(place + way * half, within) for way in (-1.0, 1.0))
    return Estimate(value, min(first, value), max(last, value))


def inside(values: Array, within: Range | None) -> Array:
    """Return values with what rounding put outside a range on its limit.

    Raises:
        RequestError: one lies outside by more than rounding.

    >>> inside(np.array([0.5, 1.0 + 1e-15]), SHARE).tolist()
    [0.5, 1.0]
    """
    if within is None:
        return values
    low, high = within
    known = values[np.isfinite(values)]
    if ((known < low - _ROUNDING) | (known > high + _ROUNDING)).any():
        worst = known[np.argmax(np.maximum(low - known, known - high))]
        raise RequestError(
            f"{worst:g} of a quantity that is declared to lie from {low:g} to {high:g}: declare "
            "the range that it has"
        )
    return np.clip(values, low, high)


def scaled(value: float, within: Range | None) -> float:
    """Return a value on the scale on which intervals of its range are even.

    >>> scaled(0.5, SHARE), scaled(1.0, AT_LEAST_0), scaled(3.0, None)
    (0.0, 0.0, 3.0)
    """
    if within is None:
        return value
    low, high = within
    if not low < value < high:
        return -inf if value <= low else inf
    return log(value - low) - (log(high - value) if isfinite(high) else 0.0)


def slope(value: float, within: Range | None) -> float:
    """Return by how much that scale changes where the value does, inside its range.

    >>> slope(0.5, SHARE), slope(4.0, AT_LEAST_0), slope(3.0, None)
    (4.0, 0.25, 1.0)
    """
    if within is None:
        return 1.0
    low, high = within
    return 1.0 / (value - low) + (1.0 / (high - value) if isfinite(high) else 0.0)


def check_bound(bound: float, within: Range | None) -> None:
    """Refuse a bound that no value of a range can pass: every interval would decide.

    Raises:
        RequestError: it lies on a limit or outside.

    >>> check_bound(0.5, SHARE)
    """
    if within is not None and not within[0] < bound < within[1]:
        raise RequestError(
            f"bound {bound:g} of a quantity from {within[0]:g} to {within[1]:g}: use one between "
            "them, or an interval lies on its one side whatever was measured"
        )


def _back(place: float, within: Range) -> float:
    """Return the value at a place of the scale."""
    low, high = within
    with np.errstate(over="ignore"):
        if not isfinite(high):
            return low + float(np.exp(place))
        return low + (high - low) / (1.0 + float(np.exp(-place)))
