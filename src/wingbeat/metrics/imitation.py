"""Locally elastic dynamics of class means: the rates that imitate a training."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from wingbeat.arguments import as_float64
from wingbeat.errors import RequestError
from wingbeat.typing import Array


class ElasticRates(NamedTuple):
    """Integrated rates of Ẋ_c = [α X_c + β Σ_{c'≠c} X_{c'}]/K.

    ``within``: A(t) = ∫α, (T,). ``between``: B(t) = ∫β, (T,). Both start at 0.
    """

    within: Array
    between: Array


def elastic_rates(means: Array) -> ElasticRates:
    """Return the integrated effects of a class on itself and on others that imitate class means.

    The model's mean over classes grows as exp((A + (K − 1)B)/K), deviations from it as
    exp((A − B)/K); hence with the growth r_m and r_d of their norms A = ln r_m + (K − 1) ln r_d and
    B = ln r_m − ln r_d.

    Args:
        means: (steps, K, units): the mean of the class's logits, or of other features, at each
            step; the first step is what growth is counted from.

    Returns:
        `ElasticRates`; classes separate where A − B goes on growing. NaN where a norm is 0.

    Raises:
        RequestError: fewer than two classes, or no three axes.

    Source: arXiv 2110.05960, its equations solved here by norms instead of element by element.

    >>> start = np.array([[2.0, 1.0], [1.0, 3.0]])
    >>> mean = start.mean(axis=0)
    >>> later = mean * np.exp(0.5) + (start - mean) * np.exp(1.0)
    >>> [round(float(x[1]), 12) for x in elastic_rates(np.stack([start, later]))]
    [1.5, -0.5]
    """
    means = as_float64(means, "means")
    if means.ndim != 3 or means.shape[1] < 2:
        raise RequestError(f"means have shape {means.shape}: give (steps, classes, units)")
    centre = means.mean(axis=1)
    common = np.linalg.norm(centre, axis=-1)
    apart = np.linalg.norm(means - centre[:, None], axis=(1, 2))
    with np.errstate(divide="ignore", invalid="ignore"):
        grown, parted = (np.log(x / x[0]) for x in (common, apart))
    classes = means.shape[1]
    return ElasticRates(grown + (classes - 1) * parted, grown - parted)
