"""The dimension of an attractor from its exponents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from wingbeat.errors import DIVERGED, TOO_FEW_EXPONENTS

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


@dataclass(frozen=True)
class Dimension:
    """A Kaplan–Yorke dimension, or the reason why there is none.

    Attributes:
        value: in [0, number of exponents]; 0 = every direction contracts.
        reason: empty where the value is defined.
    """

    value: float
    reason: str = ""


def kaplan_yorke(exponents: ArrayLike, *, complete: bool = True) -> Dimension:
    """Return j + (λ₁ + … + λⱼ) / |λⱼ₊₁|, with j the last index where the sum is not negative.

    Args:
        exponents: ``(k,)``, in any order.
        complete: whether these are all exponents of the map. If they are and their sum is not
            negative, volume does not shrink and the dimension is k.

    Returns:
        The dimension; undefined (``too_few_exponents``) if the sum of an incomplete spectrum
        has not become negative, and (``diverged``) if an exponent is NaN.

    Source: Kaplan and Yorke, Lecture Notes in Mathematics 730 (1979); Frederickson et al.,
    J. Differential Equations 49 (1983).

    >>> round(kaplan_yorke([0.9056, 0.0, -14.572]).value, 4)
    2.0621
    >>> kaplan_yorke([0.1, 0.0], complete=False)
    Dimension(value=nan, reason='too_few_exponents')
    """
    ordered = np.sort(np.asarray(exponents, dtype=np.float64))[::-1]
    if np.isnan(ordered).any():
        return Dimension(float("nan"), DIVERGED)
    sums = np.cumsum(ordered)
    reached = np.flatnonzero(sums < 0.0)
    if not reached.size:
        if complete:
            return Dimension(float(ordered.size))
        return Dimension(float("nan"), TOO_FEW_EXPONENTS)
    j = int(reached[0])
    above = float(sums[j - 1]) if j else 0.0
    return Dimension(j + above / abs(float(ordered[j])) if j else 0.0)
