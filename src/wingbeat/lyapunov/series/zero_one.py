"""The 0–1 test: chaotic or regular, from one series and without phase space."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from wingbeat.errors import CONSTANT, DIVERGED, TOO_FEW_POINTS, RequestError
from wingbeat.typing import Array

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


FEWEST_POINTS = 100


@dataclass(frozen=True)
class ZeroOne:
    """Outcome of the 0–1 test.

    Attributes:
        k: median of K over the frequencies, in [−1, 1]; near 0 = regular, near 1 = chaotic.
        each: ``(C,)``, K of each frequency.
        frequencies: ``(C,)``, in (π/5, 4π/5).
        reason: empty where ``k`` is defined.
    """

    k: float
    each: Array
    frequencies: Array
    reason: str = ""

    @property
    def chaotic(self) -> bool:
        """Whether k exceeds one half; False where it is undefined."""
        return self.k > 0.5


def zero_one(series: ArrayLike, *, frequencies: int = 100, seed: int = 0) -> ZeroOne:
    """Test a scalar series for chaos.

    The series drives a walk in the plane, p_n = Σ x_j cos jc and q_n = Σ x_j sin jc. Its mean
    square displacement, less its oscillating part E[x]² (1 − cos nc)/(1 − cos c), grows
    linearly for chaos and is bounded otherwise; K is its correlation with n up to a tenth of
    the length. Frequencies are drawn from (π/5, 4π/5), where resonances are rare.

    Measurement noise and a series sampled too finely spoil the test; so does a trend.

    Args:
        series: ``(N,)``, at least 100 values; a thousand or more are advisable.
        frequencies: how many random frequencies.
        seed: of the frequencies.

    Raises:
        RequestError: for another shape.

    Source: Gottwald and Melbourne, The 0–1 test for chaos: a review (2016); On the
    implementation of the 0–1 test for chaos, SIAM J. Applied Dynamical Systems 8 (2009).

    >>> x = [0.3]
    >>> for _ in range(1999):
    ...     x.append(4 * x[-1] * (1 - x[-1]))
    >>> zero_one(x).chaotic
    True
    """
    values = np.asarray(series, dtype=np.float64)
    if values.ndim != 1:
        raise RequestError(f"the series has shape {values.shape}; give one axis")
    if frequencies < 1:
        raise RequestError(f"frequencies is {frequencies}; give at least 1")
    drawn = np.random.Generator(np.random.PCG64(seed)).uniform(
        np.pi / 5, 4 * np.pi / 5, frequencies
    )
    reason = _reason(values)
    if reason:
        return ZeroOne(np.nan, np.full(frequencies, np.nan), drawn, reason)
    each = np.array([_growth(values, c) for c in drawn])
    return ZeroOne(float(np.median(each)), each, drawn)


def _reason(values: Array) -> str:
    if values.size < FEWEST_POINTS:
        return TOO_FEW_POINTS
    if not np.isfinite(values).all():
        return DIVERGED
    return CONSTANT if np.ptp(values) == 0.0 else ""


def _growth(values: Array, c: float) -> float:
    """Return the correlation of the corrected mean square displacement with n."""
    index = np.arange(1, values.size + 1)
    walk = np.cumsum(values * np.exp(1j * c * index))
    lags = np.arange(1, values.size // 10 + 1)
    displacement = _mean_square(walk, lags)
    swing = values.mean() ** 2 * (1 - np.cos(lags * c)) / (1 - np.cos(c))
    rest = displacement - swing
    if np.ptp(rest) == 0.0:
        return 0.0
    return float(np.corrcoef(lags, rest)[0, 1])


def _mean_square(walk: NDArray[np.complex128], lags: NDArray[np.int64]) -> Array:
    """Return mean |w_{j+n} − w_j|² over the same j for all lags, by a Fourier transform."""
    walk = walk - walk.mean()  # keeps the squares small; displacements do not change
    count = walk.size - lags[-1]
    length = 1 << (2 * walk.size - 1).bit_length()
    head = np.fft.fft(walk[:count], length)
    crossed = np.fft.ifft(np.fft.fft(walk, length) * head.conj())[lags].real
    squares = np.concatenate(([0.0], np.cumsum(np.abs(walk) ** 2)))
    found: Array = (squares[lags + count] - squares[lags] + squares[count] - 2 * crossed) / count
    return found
