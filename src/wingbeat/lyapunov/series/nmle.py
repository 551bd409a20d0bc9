"""The numerical maximum Lyapunov exponent (nMLE) of Danovski, Soriano and Lacasa.

Source: Danovski, Soriano and Lacasa, Dynamical stability and chaos in artificial neural network
trajectories along training, Frontiers in Complex Systems 2 (2024), arXiv 2404.05782, and the
authors' published code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from wingbeat.errors import NO_LINEAR_REGION, RequestError
from wingbeat.typing import Array

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


STARTS = tuple(range(0, 101, 5))
WIDTHS = tuple(range(30, 101, 5))
LEAST_R2 = 0.9
LEAST_SLOPE = 0.05


@dataclass(frozen=True)
class Nmle:
    """The estimate for one size of perturbation.

    Attributes:
        mean: mean slope over the accepted initialisations, 1/step; NaN if none is accepted.
        deviation: standard deviation of the slopes (ddof 0) over them; NaN if none is accepted.
        accepted: ``(inits,)``, which initialisations pass.
        slopes: ``(inits,)``, slope of the straightest window; NaN where no window has one.
        r2: ``(inits,)``, share of the variance explained there.
        windows: ``(inits, 2)``, first step and width of that window; −1 where there is none.
        reason: empty, or ``no_linear_region`` if none is accepted.
    """

    mean: float
    deviation: float
    accepted: NDArray[np.bool]
    slopes: Array
    r2: Array
    windows: NDArray[np.int64]
    reason: str = ""

    @property
    def share(self) -> float:
        """Share of the initialisations that are accepted, in [0, 1]."""
        return float(self.accepted.mean())


def l1_distance(a: ArrayLike, b: ArrayLike) -> Array:
    """Return Σ |a − b| over the last axis, in float64: the distance that the nMLE is made of.

    >>> float(l1_distance([1.0, 2.0], [0.5, 4.0]))
    2.5
    """
    apart = np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)
    found: Array = np.abs(apart).sum(axis=-1)
    return found


def nmle(
    distances: ArrayLike,
    *,
    starts: Sequence[int] = STARTS,
    widths: Sequence[int] = WIDTHS,
    least_r2: float = LEAST_R2,
    least_slope: float = LEAST_SLOPE,
) -> Nmle:
    """Return the nMLE of distance series, as published.

    For each initialisation: the arithmetic mean of the distances over its perturbations, then
    the logarithm; a least-squares line on every window [m, m + w); of all windows the one with
    the largest R² is kept, and its slope accepted if R² > 0.9 and the slope > 0.05.

    The rule chooses the most exponential stretch of each run and drops runs without growth: it
    does not average over time, lies above the renormalised exponent where chaos is transient
    (compare `benettin`, `spectrum`), is lowered by saturation at large perturbations, and can
    return nothing near or below 0. `share` belongs beside every value.

    Args:
        distances: ``(inits, perturbations, T)``, L1 distance at steps 0, 1, …; or
            ``(perturbations, T)`` for one initialisation.
        starts: m; windows that do not fit in T are left out.
        widths: w.
        least_r2: a window must explain more than this.
        least_slope: and rise by more than this per step.

    Raises:
        RequestError: for another shape or if no window fits.

    >>> growing = 1e-8 * np.exp(0.2 * np.arange(80))
    >>> round(nmle([[growing, growing]]).mean, 9)
    0.2
    """
    array = np.asarray(distances, dtype=np.float64)
    array = array[None] if array.ndim == 2 else array
    if array.ndim != 3:
        raise RequestError(
            f"distances have shape {array.shape}; give (inits, perturbations, steps)"
        )
    windows = [(m, w) for m in starts for w in widths if m + w <= array.shape[-1]]
    if not windows or min(widths) < 3:
        raise RequestError(
            f"no window of {min(widths)} or more points fits in {array.shape[-1]} steps"
        )
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(array.mean(axis=1))
    return _judged(*best_windows(logs, windows), least_r2, least_slope)


def best_windows(
    logs: Array, windows: Sequence[tuple[int, int]]
) -> tuple[Array, Array, NDArray[np.int64]]:
    """Return slope, R² and (start, width) of the straightest window of each series.

    Args:
        logs: ``(inits, T)``.
        windows: first step and width of each candidate; of equal R² the first is kept.

    Returns:
        ``(inits,)``, ``(inits,)``, ``(inits, 2)``; NaN and −1 where no window is finite.
    """
    slopes = np.full(len(logs), np.nan)
    best = np.full(len(logs), -np.inf)
    chosen = np.full((len(logs), 2), -1)
    for start, width in windows:
        slope, share = _lines(logs[:, start : start + width])
        better = share > best
        slopes[better], best[better] = slope[better], share[better]
        chosen[better] = (start, width)
    return slopes, np.where(np.isfinite(best), best, np.nan), chosen


def _lines(values: Array) -> tuple[Array, Array]:
    """Return slopes and R² ``(inits,)``; NaN where a series is not finite or does not vary."""
    time = np.arange(values.shape[1]) - (values.shape[1] - 1) / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        rise = values - values.mean(axis=1, keepdims=True)
        slope = rise @ time / (time @ time)
        rest = rise - slope[:, None] * time
        share = 1.0 - (rest**2).sum(axis=1) / (rise**2).sum(axis=1)
    return slope, share


def _judged(
    slopes: Array,
    r2: Array,
    windows: NDArray[np.int64],
    least_r2: float,
    least_slope: float,
) -> Nmle:
    accepted = (np.nan_to_num(r2) > least_r2) & (np.nan_to_num(slopes) > least_slope)
    if not accepted.any():
        return Nmle(np.nan, np.nan, accepted, slopes, r2, windows, NO_LINEAR_REGION)
    kept = slopes[accepted]
    return Nmle(float(kept.mean()), float(kept.std()), accepted, slopes, r2, windows)
