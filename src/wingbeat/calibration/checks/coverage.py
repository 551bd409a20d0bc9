"""Intervals of the convergence ratio on a map that is neutral: the truth is 1."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from wingbeat.calibration.check import ClosedForm, Placement, check
from wingbeat.metrics import gram, spread_ratio
from wingbeat.stats import VERDICT_LEVEL, verdict

if TYPE_CHECKING:
    from collections.abc import Iterator

TRIALS: Final = 1000
_LESS_AND_MORE: Final = 0.02 + 3 * 0.007
"""Intervals cover .93 to .97 (docs/intervals.md); three errors of 1,000 trials beside it."""
_FALSE: Final = 0.03


@check(
    "coverage",
    "how often intervals hold a true ratio of 1, and how often a verdict is false",
    "docs/intervals.md",
)
def coverage(_: Placement) -> Iterator[ClosedForm]:
    """Compare the coverage of 95 % and the share of false verdicts, at 5 and 10 copies.

    Intervals are computed in float64 on the CPU whatever a run's own device and type.
    """
    rng = np.random.default_rng(0)
    gains = np.exp(0.7 * rng.normal(size=20))
    gains *= np.sqrt(20 / (gains**2).sum())
    for replicas in (5, 10):
        held, false = _shares(replicas, gains, rng)
        name, why = f"neutral map, {replicas} copies", f"{TRIALS} draws"
        yield ClosedForm(f"{name}: intervals that hold 1", 0.95, held, _LESS_AND_MORE, why)
        yield ClosedForm(f"{name}: false verdicts", 0.0, false, _FALSE, "at most 3 %")


def _shares(replicas: int, gains: np.ndarray, rng: np.random.Generator) -> tuple[float, float]:
    held, false = 0, 0
    for _ in range(TRIALS):
        first = rng.normal(size=(replicas, len(gains)))
        pair = [(gram(first), gram(first * gains))]
        found = spread_ratio(pair)
        held += found.low <= 1.0 <= found.high
        false += verdict(spread_ratio(pair, level=VERDICT_LEVEL)) != "undetermined"
    return held / TRIALS, false / TRIALS
