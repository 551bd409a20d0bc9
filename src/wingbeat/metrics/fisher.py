"""How far apart two solutions are in the information that the data give about each weight."""

from __future__ import annotations

from math import nan
from typing import TYPE_CHECKING, Final

import numpy as np

from wingbeat.arguments import as_float64, points_of, real_number, whole_number
from wingbeat.errors import RequestError
from wingbeat.metrics.blocks import BLOCK_NUMBERS
from wingbeat.typing import Array

if TYPE_CHECKING:
    from wingbeat.arguments import Points

_MOST: Final = 2**53  # whole numbers up to which float64 is exact


def fisher_precision(fisher: Points, samples: int, prior: float = 1.0) -> Array:
    """Return the precision of each weight's Gaussian approximation: samples · F + prior.

    Args:
        fisher: diagonal Fisher information per sample ``(..., P)``, ≥ 0.
        samples: training samples that the solution has seen, at least 1.
        prior: precision of the Gaussian prior of each weight, > 0: it decides about weights of
            which the data say nothing.

    Returns:
        ``(..., P)``, unit 1/weight², > 0.

    Raises:
        RequestError: an argument out of range.

    Source: the Laplace approximation, MacKay (1992), with diagonal Fisher information as in
    Kirkpatrick et al., arXiv 1612.00796.

    >>> fisher_precision(np.array([0.0, 0.5]), samples=10)
    array([1., 6.])
    """
    samples = whole_number(samples, "samples", 1, _MOST)
    prior = real_number(prior, "prior", "give a positive precision, such as 1.0")
    if not prior > 0:
        raise RequestError(f"prior is {prior!r}; give a positive precision, such as 1.0")
    information = as_float64(fisher, "fisher")
    if (information < 0).any():
        raise RequestError("Fisher information is negative; it is a mean of squares")
    return samples * information + prior


def gaussian_kl(mean_a: Points, precision_a: Points, mean_b: Points, precision_b: Points) -> Array:
    """Return KL(N(a) ‖ N(b)) between Gaussians with diagonal precision.

    ½ Σ (λ_b/λ_a − 1 − ln(λ_b/λ_a) + λ_b (a − b)²), summed over the weights in blocks.

    Args:
        mean_a: ``(..., P)``, the first solution's weights; leading axes broadcast.
        precision_a: ``(..., P)``, > 0, as from `fisher_precision`.
        mean_b: ``(..., P)``.
        precision_b: ``(..., P)``.

    Returns:
        ``(...)`` in nats, ≥ 0, 0 = the same Gaussian (exactly); not symmetric. NaN where a
        number is not finite or a precision is not positive.

    Raises:
        RequestError: different numbers of weights.

    Source: the closed form for Gaussians, for example Bishop (2006), exercise 2.13.

    >>> one = np.ones(2)
    >>> float(gaussian_kl(np.zeros(2), one, np.array([3.0, 4.0]), one))
    12.5
    """
    names = ("mean_a", "precision_a", "mean_b", "precision_b")
    asked = zip((mean_a, precision_a, mean_b, precision_b), names, strict=True)
    given = [points_of(value, name) for value, name in asked]
    sizes = {tuple(x.shape)[-1:] for x in given}
    if len(sizes) > 1 or () in sizes:
        shapes = ", ".join(str(tuple(x.shape)) for x in given)
        raise RequestError(f"means and precisions have shapes {shapes}; give (..., P) each")
    lead = _lead([tuple(x.shape)[:-1] for x in given])
    size = given[0].shape[-1]
    width = max(1, BLOCK_NUMBERS // max(1, int(np.prod(lead))))
    total = np.zeros(lead)
    for start in range(0, size, width):
        total = total + _block(*(as_float64(x[..., start : start + width]) for x in given))
    return np.asarray(total)


def _lead(shapes: list[tuple[int, ...]]) -> tuple[int, ...]:
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        raise RequestError(
            f"means and precisions have leading axes {shapes}; give some that broadcast"
        ) from None


def _block(mean_a: Array, precision_a: Array, mean_b: Array, precision_b: Array) -> Array:
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        ratio = precision_b / precision_a
        excess = ratio - 1.0
        # log1p for ratios near 1, whose logarithm nearly cancels the excess.
        logs = np.where(np.abs(excess) < 0.5, np.log1p(excess), np.log(ratio))
        each = excess - logs + precision_b * (mean_a - mean_b) ** 2
        bad = ~((precision_a > 0) & (precision_b > 0) & np.isfinite(each))
    return np.asarray(0.5 * np.where(bad, nan, each).sum(axis=-1))
