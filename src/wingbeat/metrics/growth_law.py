"""Which law the distance between two runs grows by: exponential, a power of time, or saturating.

A run tells apart what fits it from what foretells it: every law is fitted on a part of the points
and scored on the others. The others are blocks in time, not points drawn at random, since errors
of neighbouring points are alike: a point between two that were fitted is foretold by any law that
bends enough. Points are spread evenly over the logarithm of time, so that each of the blocks covers
as many doublings of it and the first and the last are foretold beyond what was seen.

Source: linear dynamics make distances exponential, which arXiv 2506.13234 finds wrong for training
and leaves open why. Scores are logarithmic ones (Good, "Rational Decisions", 1952), of a Student
density of the errors in the logarithm of the distance, whose size is estimated.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import least_squares
from scipy.stats import t as student

from wingbeat.arguments import as_float64
from wingbeat.errors import TOO_FEW_POINTS, RequestError, nearest
from wingbeat.typing import Array

Law = Literal["none", "exponential", "power", "saturating"]
LAWS: Final[tuple[Law, ...]] = get_args(Law)
"""d = d₀; d₀ exp(λ t); d₀ (1 + t/τ)^α; d∞ / (1 + c exp(−λ t)), with d₀ = d∞ / (1 + c)."""
FEWEST: Final = 16
"""Points below which nothing is said: two a block, and each law has up to three parameters."""
MOST: Final = 40
"""Points that are taken, at most; more of a run are too near to each other to be news."""
BLOCKS: Final = 8
_FLOOR: Final = 1e-4
"""Smallest error of a logarithm: distances of single floats are hardly known better."""
_TAIL: Final = 4
"""Degrees of freedom of the predictive density. What is foretold beyond the points that were fitted
is off by more than these were; under a normal's tails one such block would decide alone."""
_STARTS: Final = 16
"""Starts of each nonlinear parameter, evenly in its logarithm; the best one is refined."""


@dataclass(frozen=True)
class Fit:
    """A law with its parameters.

    Attributes:
        law: which.
        parameters: "start" (d₀, unit of the distance) and, by law, "rate" (λ, 1 / unit of time),
            "power" (α), "scale" (τ, unit of time), "end" (d∞, unit of the distance).
        error: standard deviation of what is left of the logarithm of the distance.
        freedom: points less parameters.
    """

    law: Law
    parameters: dict[str, float]
    error: float
    freedom: int
    _theta: Array = field(repr=False, compare=False)

    def __call__(self, times: ArrayLike) -> Array:
        """Return the distances that the law has at some times since the nudge."""
        return np.exp(_curve(self.law, self._theta, as_float64(times, "times")))

    def score(self, times: Array, logs: Array) -> Array:
        """Return the logarithm of the predictive density of each point, in nats."""
        left = logs - _curve(self.law, self._theta, times)
        return np.asarray(student.logpdf(left, min(_TAIL, self.freedom), scale=self.error))


@dataclass(frozen=True)
class GrowthLaw:
    """How well each law foretells a run's distance.

    Attributes:
        blocks: held-out log-likelihood of a point in nats by law, the mean over each block of
            time; higher is better.
        fits: each law fitted to all points.
        points: how many were taken.
        reason: why there is nothing; "" if there is.
    """

    blocks: dict[Law, Array]
    fits: dict[Law, Fit]
    points: int
    reason: str = ""

    @property
    def best(self) -> Law | None:
        """The simplest law that is not clearly worse than the one with the highest score.

        Clearly: by more than the standard error of the difference over the blocks. The exponential
        is a limit of both laws with three parameters, which therefore foretell exponential growth
        as well as it does, but for chance. None where there is no score.
        """
        top = max(LAWS, key=lambda law: self.scores.get(law, -np.inf))
        for law in self.scores:
            apart = self.blocks[top] - self.blocks[law]
            if law == top or apart.mean() <= apart.std(ddof=1) / np.sqrt(len(apart)):
                simple = law in ("none", "exponential")
                return law if simple else top
        return None

    @property
    def scores(self) -> dict[Law, float]:
        """Held-out log-likelihood of a point in nats, the mean over the blocks, by law."""
        return {law: float(found.mean()) for law, found in self.blocks.items()}

    def lead(self, law: Law, other: Law) -> float:
        """Return by how many nats a point one law foretells better than another; NaN without."""
        if not self.blocks:
            return float("nan")
        return self.scores[law] - self.scores[other]


def growth_law(times: ArrayLike, distances: ArrayLike) -> GrowthLaw:
    """Return how well each law of growth foretells a distance, and its fit.

    Args:
        times: (N,) since the nudge, from 0 on and rising, of any unit.
        distances: (N,) at these times, of any unit.

    Returns:
        Scores and fits; none with ``too_few_points`` where fewer than 16 distances are finite and
        above 0.

    Raises:
        RequestError: shapes that differ, or times that do not rise from 0 or later.

    Example:
        >>> t = np.arange(0.0, 400.0, 10.0)
        >>> noise = 1 + 0.02 * np.sin(12.9898 * t)
        >>> growth_law(t, noise * 5 / (1 + 99 * np.exp(-0.04 * t))).best
        'saturating'
        >>> growth_law(t, noise * 0.1 * np.exp(0.04 * t)).best
        'exponential'
    """
    x, d = as_float64(times, "times"), as_float64(distances, "distances")
    if x.ndim != 1 or x.shape != d.shape:
        raise RequestError(f"times and distances have shapes {x.shape} and {d.shape}; give (N,)")
    if len(x) and not (x[0] >= 0 and (np.diff(x) > 0).all()):
        raise RequestError("times do not rise from 0 or later: sort them, and leave none in twice")
    kept = np.isfinite(d) & (d > 0)
    x, y = _thinned(x[kept], np.log(d[kept]))
    if len(x) < FEWEST:
        return GrowthLaw({}, {}, len(x), TOO_FEW_POINTS)
    blocks = {law: _held_out(law, x, y) for law in LAWS}
    return GrowthLaw(blocks, {law: fit_law(law, x, y) for law in LAWS}, len(x))


def fit_law(law: Law, times: Array, logs: Array) -> Fit:
    """Return a law fitted by least squares to the logarithms of distances.

    Args:
        law: one of `LAWS`.
        times: (N,) since the nudge.
        logs: (N,), natural logarithms of the distances.

    Raises:
        RequestError: an unknown law, or no more points than it has parameters.
    """
    if law not in LAWS:
        raise RequestError(f"law is {law!r}: {nearest(law, LAWS)}")
    if len(times) <= (count := _parameters(law)):
        raise RequestError(f"{len(times)} points: law {law!r} needs more than {count}")
    theta = _fitted(law, times, logs)
    left = logs - _curve(law, theta, times)
    freedom = len(times) - len(theta)
    error = max(_FLOOR, float(np.sqrt(left @ left / freedom)))
    return Fit(law, _named(law, theta), error, freedom, theta)


def _parameters(law: Law) -> int:
    return {"none": 1, "exponential": 2}.get(law, 3)


def _held_out(law: Law, x: Array, y: Array) -> Array:
    """Return the mean score of the points of each block, foretold from the other blocks."""
    found = []
    for block in np.array_split(np.arange(len(x)), BLOCKS):
        seen = np.ones(len(x), dtype=bool)
        seen[block] = False
        found.append(fit_law(law, x[seen], y[seen]).score(x[block], y[block]).mean())
    return np.array(found)


def _thinned(x: Array, y: Array) -> tuple[Array, Array]:
    """Return at most so many points, evenly over the logarithm of time."""
    if len(x) <= FEWEST:
        return x, y
    first = x[1] - x[0]
    wanted = np.geomspace(first, x[-1] - x[0] + first, MOST) - first + x[0]
    places = np.unique(np.abs(x[:, None] - wanted).argmin(axis=0))
    if len(places) < FEWEST:  # of few points all are needed
        return x, y
    return x[places], y[places]


def _curve(law: Law, theta: Array, x: Array) -> Array:
    """Return the logarithm of the distance that a law has at some times."""
    if law == "none":
        return np.full(x.shape, theta[0])
    if law == "exponential":
        return np.asarray(theta[0] + theta[1] * x)
    if law == "power":
        return np.asarray(theta[0] + theta[1] * np.log1p(x * np.exp(-theta[2])))
    return np.asarray(theta[0] - np.logaddexp(0.0, theta[2] - np.exp(theta[1]) * x))


def _fitted(law: Law, x: Array, y: Array) -> Array:
    if law == "none":
        return np.array([y.mean()])
    if law == "exponential":
        return _straight(x, y)
    gap, span = float(np.diff(x).min()), float(x[-1])
    if law == "power":
        scales = np.linspace(np.log(gap / 10), np.log(10 * span), _STARTS)
        starts = np.array([[*_straight(np.log1p(x * np.exp(-s)), y), s] for s in scales])
        low, high = [-np.inf, -np.inf, scales[0]], [np.inf, np.inf, scales[-1]]
    else:
        rates = np.linspace(np.log(0.01 / span), np.log(10 / gap), _STARTS)
        folds = np.linspace(-4.0, 30.0, _STARTS)  # ln c: grown by 2 % to 1e13 times
        starts = np.array([[0.0, r, c] for r in rates for c in folds])
        starts[:, 0] = (y - np.array([_curve(law, s, x) for s in starts])).mean(axis=1)
        low, high = [-np.inf, rates[0], folds[0]], [np.inf, rates[-1], folds[-1]]
    left = np.array([y - _curve(law, s, x) for s in starts])
    start = np.clip(starts[int((left**2).sum(axis=1).argmin())], low, high)

    def errors(theta: Array) -> Array:
        return _curve(law, theta, x) - y

    found = least_squares(errors, start, bounds=(low, high))
    return np.asarray(found.x)


def _straight(x: Array, y: Array) -> Array:
    """Return height at 0 and slope of the line through some points."""
    away = x - x.mean()
    slope = float(away @ y / (away @ away))
    return np.array([y.mean() - slope * x.mean(), slope])


def _named(law: Law, theta: Array) -> dict[str, float]:
    start = float(np.exp(_curve(law, theta, np.zeros(1))[0]))
    if law == "none":
        return {"start": start}
    if law == "exponential":
        return {"start": start, "rate": float(theta[1])}
    if law == "power":
        return {"start": start, "power": float(theta[1]), "scale": float(np.exp(theta[2]))}
    return {"start": start, "rate": float(np.exp(theta[1])), "end": float(np.exp(theta[0]))}
