"""The published measure of what states cost: time to converge, regressed on occupancy.

Reported for comparison only. Over a fixed length the share of the last state is the time of the
switch, so that R² near 1 says no more than that; a model that knows this share alone stands beside.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import f as f_distribution

from wingbeat.errors import RequestError
from wingbeat.typing import Array

if TYPE_CHECKING:
    from wingbeat.analyses.states.fitted import FittedStates


@dataclass(frozen=True)
class OccupancyFit:
    """A linear regression of the time to converge on the share of steps in each state.

    Attributes:
        r2: share of the variance that it explains; NaN where it is not defined.
        p: of Fisher's test that it explains none.
        coefficients: (K,), of occupancy about its mean, the shortest solution: shares sum to 1.
        r2_last: R² of the share of the last state alone.
        detours: optional states with a positive coefficient where p < 0.05, the published rule.
    """

    r2: float
    p: float
    coefficients: Array
    r2_last: float
    detours: tuple[int, ...]


def occupancy_fit(fitted: FittedStates, converged: Array) -> OccupancyFit:
    """Return the published regression; runs that did not converge are left out of it.

    Args:
        fitted: states of R runs.
        converged: (R,): the step at which each run converged; infinite for one that did not.

    Returns:
        NaN where fewer runs converged than states + 2, or all at the same step.

    Raises:
        RequestError: not one time for each run.

    Source: arXiv 2308.09543, section 3.3; how it treats the sum of 1 is not stated.
    """
    times = np.asarray(converged, dtype=np.float64)
    if times.shape != (len(fitted.paths),):
        raise RequestError(f"converged has shape {times.shape}: give one step for each run")
    there = np.isfinite(times)
    x, y = fitted.occupancy[there], times[there]
    if len(y) < fitted.model.count + 2 or np.ptp(y) == 0:
        nothing = np.full(fitted.model.count, np.nan)
        return OccupancyFit(np.nan, np.nan, nothing, np.nan, ())
    coefficients, r2, rank = _regression(x, y)
    last = np.bincount(fitted.paths[:, -1]).argmax()
    _, r2_last, _ = _regression(x[:, [last]], y)
    free = len(y) - rank - 1
    p = float(f_distribution.sf(r2 / rank / ((1 - r2) / free), rank, free)) if r2 < 1 else 0.0
    found = tuple(k for k in fitted.optional if p < 0.05 and coefficients[k] > 0)
    return OccupancyFit(r2, p, coefficients, r2_last, found)


def _regression(x: Array, y: Array) -> tuple[Array, float, int]:
    """Return coefficients about the means, R² and the number of independent columns."""
    x, y = x - x.mean(axis=0), y - y.mean()
    coefficients, _, rank, _ = np.linalg.lstsq(x, y, rcond=1e-9)
    rest = y - x @ coefficients
    return (
        np.asarray(coefficients, np.float64),
        float(1 - (rest @ rest) / (y @ y)),
        max(1, int(rank)),
    )
