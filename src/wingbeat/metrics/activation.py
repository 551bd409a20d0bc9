"""Which units are on for which samples: how many have switched, and how they divide the samples."""

from __future__ import annotations

from dataclasses import dataclass
from math import nan
from typing import TYPE_CHECKING

import numpy as np

from wingbeat.errors import RequestError

if TYPE_CHECKING:
    from numpy.typing import NDArray


def flips(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    """Return the share of (sample, unit) whose bit differs between two activation patterns.

    Args:
        first: bits (samples, units), true where the pre-activation is above 0.
        second: the same of the same samples and units, at another step or of another replica.

    Returns:
        In [0, 1], no unit: 0 = the same pattern, 1 = every bit has changed, 1/2 on average for
        unrelated units. NaN without a bit. For isotropic inputs and no bias it is the angle between
        the weight vectors divided by π.

    Raises:
        RequestError: the shapes differ.

    Source: Hamming distance of ReLU patterns, Fort et al., arXiv 2010.15110; the neuron partition
    of arXiv 2206.02139 is made of the same bits.

    >>> flips(np.array([[True, False]]), np.array([[True, True]]))
    0.5
    """
    if first.shape != second.shape:
        raise RequestError(
            f"bits have shapes {first.shape} and {second.shape}: give the same samples and units"
        )
    return float(np.mean(first != second)) if first.size else nan


@dataclass(frozen=True)
class Partition:
    """Shares of a layer's units by what they do on the samples; they add up to 1.

    Attributes:
        dead: off on every sample.
        always_on: on on every sample, hence linear.
        split: on for some samples only.
        one_class: on for samples of one class only; NaN without labels.
    """

    dead: float
    always_on: float
    split: float
    one_class: float = nan


def partition(bits: NDArray[np.bool_], labels: NDArray[np.int64] | None = None) -> Partition:
    """Return how a layer's units divide the samples.

    Args:
        bits: (samples, units), true where the pre-activation is above 0.
        labels: class of each sample; without them ``one_class`` is NaN.

    Raises:
        RequestError: no matrix, or labels of another length.

    Source: the neuron partition of arXiv 2206.02139, in shares.

    >>> partition(np.array([[True, False, True], [True, False, False]]))
    Partition(dead=0.3333333333333333, always_on=0.3333333333333333, split=0.3333333333333333, \
one_class=nan)
    """
    if bits.ndim != 2:
        raise RequestError(f"bits have shape {bits.shape}: give (samples, units)")
    if not bits.size:
        return Partition(nan, nan, nan)
    on = bits.mean(axis=0)
    own = nan if labels is None else float(np.mean(_of_one_class(bits, labels)))
    dead, always = on == 0, on == 1
    return Partition(float(dead.mean()), float(always.mean()), float((~dead & ~always).mean()), own)


def _of_one_class(bits: NDArray[np.bool_], labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    if len(labels) != len(bits):
        raise RequestError(f"{len(labels)} labels for {len(bits)} samples: give one a sample")
    seen = np.array([bits[labels == c].any(axis=0) for c in np.unique(labels)])
    return np.asarray(seen.sum(axis=0) == 1)
