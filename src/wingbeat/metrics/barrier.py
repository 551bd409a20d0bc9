"""How far a quantity rises on the line between two models, by three published conventions."""

from __future__ import annotations

from math import nan
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, get_args

import numpy as np

from wingbeat.arguments import as_float64, one_of, whole_number
from wingbeat.errors import RequestError
from wingbeat.typing import Array

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from wingbeat.arguments import Points


Convention = Literal["line", "mean", "argmax_raw"]
CONVENTIONS: Final = get_args(Convention)
POINTS: Final = 25
"""Points of a line unless another odd number is asked for, the two models included."""

_MOST: Final = 1_000_001  # points of a line: a million evaluations of a model


class Barrier(NamedTuple):
    """A barrier and where it lies.

    Fields:
        value: ``(...)``, in units of the quantity.
        alpha: ``(...)``, in [0, 1]: the α of the maximum, the first one among equals.
    """

    value: Array
    alpha: Array


def alpha_grid(points: int = POINTS) -> Array:
    """Return evenly spaced α from 0 to 1 whose mirror images add up to exactly 1.

    The symmetry to the last bit makes a barrier independent of which model comes first.

    Args:
        points: an odd number of at least 3, so that ½ is among them. On a double well thirty
            points find .24941 of the true .25.

    Returns:
        ``(points,)``, ascending.

    Raises:
        RequestError: an even number, or fewer than 3.

    >>> alpha_grid(5)
    array([0.  , 0.25, 0.5 , 0.75, 1.  ])
    """
    points = whole_number(points, "points", 1, _MOST, "use an odd number of at least 3")
    if points < 3 or points % 2 == 0:
        raise RequestError(
            f"points is {points!r}; use an odd number of at least 3, so that α = ½ is among them"
        )
    grid = np.arange(points) / (points - 1)
    half = points // 2
    grid[:half] = 1.0 - grid[:half:-1]  # exact, since both lie in [½, 1]
    return np.asarray(grid)


def barrier(alphas: ArrayLike, values: Points, convention: Convention = "line") -> Barrier:
    """Return the height of the barrier between the two ends of curves over α.

    Args:
        alphas: ``(A,)``, ascending from 0 to 1, an odd number of at least 3.
        values: ``(..., A)``, a loss or an error rate (lower is better) along the line.
        convention: "line" is the largest excess over the straight line between the two ends,
            the definition of Entezari et al. and of this package; at least 0. "mean" is the
            maximum less the mean of the two ends (Frankle et al.); at least half the difference
            of the ends. "argmax_raw" is the excess over the line where the raw value is largest
            (the code of the Butterfly Effect paper): at most the first, 0 if an end is highest.

    Returns:
        The barrier and its α, each ``(...)``. 0 = no barrier, exactly 0 for a constant curve.
        Both NaN where a value is not finite.

    Raises:
        RequestError: α not ascending, without 0 or 1, of even number, or of another length than
            the values; an unknown convention.

    Source: Entezari et al., arXiv 2110.06296, definition 1 ("line"); Frankle et al., arXiv
    1912.05671, section 2 ("mean"); Altıntaş et al., arXiv 2506.13234 ("argmax_raw").

    >>> alphas = alpha_grid(101)
    >>> curve = alphas + 0.5 * np.sin(np.pi * alphas)
    >>> [round(float(barrier(alphas, curve, c).value), 3) for c in ("line", "mean", "argmax_raw")]
    [0.5, 0.605, 0.385]
    """
    one_of(convention, "convention", CONVENTIONS)
    grid, curve = check_alphas(alphas), as_float64(values, "values")
    if curve.ndim == 0 or curve.shape[-1] != grid.size:
        raise RequestError(
            f"values have shape {curve.shape}; give (..., {grid.size}), one for each α"
        )
    finite = np.asarray(np.isfinite(curve).all(axis=-1))
    curve = np.where(finite[..., None], curve, 0.0)
    excess = curve - chord(grid, curve)
    if convention == "mean":
        excess = curve - (0.5 * curve[..., :1] + 0.5 * curve[..., -1:])
    place = np.argmax(curve if convention == "argmax_raw" else excess, axis=-1)
    height = np.take_along_axis(excess, place[..., None], axis=-1)[..., 0]
    return Barrier(np.where(finite, height, nan), np.where(finite, grid[place], nan))


def check_alphas(alphas: ArrayLike) -> Array:
    """Return α as float64 if they can carry a barrier.

    Raises:
        RequestError: they are not one axis, ascend from 0 to 1, or are even in number.

    >>> check_alphas([0, 0.5, 1])
    array([0. , 0.5, 1. ])
    """
    grid = as_float64(alphas, "alphas")
    if grid.ndim != 1 or grid.size < 3 or grid.size % 2 == 0:
        raise RequestError(
            f"alphas have shape {grid.shape}; give an odd number of at least 3, so that the "
            "middle of the line is among them, as alpha_grid(25) does"
        )
    if grid[0] != 0.0 or grid[-1] != 1.0:
        raise RequestError(
            f"alphas run from {float(grid[0])!r} to {float(grid[-1])!r}; they must begin at 0 "
            "and end at 1, where the two models are: without them there is no line to compare with"
        )
    if not (np.diff(grid) > 0.0).all():
        raise RequestError(f"alphas must ascend without repeats, got {grid.tolist()}")
    return grid


def chord(alphas: Array, curve: Array) -> Array:
    """Return the straight line between the ends of curves, ``(..., A)``.

    Counted from the nearer end, so that it is exact there and for equal ends, and does not
    depend on the direction.

    >>> chord(np.array([0.0, 0.5, 1.0]), np.array([1.0, 9.0, 3.0]))
    array([1., 2., 3.])
    """
    first, last = curve[..., :1], curve[..., -1:]
    from_first = first + alphas * (last - first)
    from_last = last + (1.0 - alphas) * (first - last)
    middle = 0.5 * first + 0.5 * last
    line = np.where(alphas < 0.5, from_first, from_last)
    return np.asarray(np.where(alphas == 0.5, middle, line))
