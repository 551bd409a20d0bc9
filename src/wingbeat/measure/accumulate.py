"""Class scores come in batches: what is added up over them, so that none of them is kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from wingbeat.typing import Array

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


class Accumulator(Protocol):
    """Adds up what one metric needs of the class scores of one recorded moment."""

    def add(self, scores: Array, targets: NDArray[np.int64] | None) -> None:
        """Add a batch.

        Args:
            scores: class scores of all replicas, (E, samples, classes), the reference first.
            targets: right classes, (samples,); None where the task does not tell them.
        """


@dataclass(frozen=True)
class BatchView:
    """What a metric that needs "outputs" is given of one batch of the evaluation data.

    Attributes:
        scores: class scores of all replicas, (E, samples, classes), the reference first, its
            unperturbed twin second.
        targets: right classes, (samples,); None where the task does not tell them.
    """

    scores: Array
    targets: NDArray[np.int64] | None


class MeanOverSamples:
    """The mean over all samples of what a function gives for each batch.

    Args:
        function: ``BatchView -> (E,)``, a mean over the samples of the batch.
    """

    def __init__(self, function: Callable[[BatchView], Any]) -> None:
        self.function, self.samples = function, 0
        self.total: Array = np.zeros(())

    def add(self, scores: Array, targets: NDArray[np.int64] | None) -> None:
        """Add a batch, weighted by its samples."""
        count = scores.shape[1]
        self.samples += count
        self.total = self.total + count * np.asarray(self.function(BatchView(scores, targets)))

    def value(self) -> Array:
        """Return the mean over all samples so far, (E,)."""
        return np.asarray(self.total / self.samples)
