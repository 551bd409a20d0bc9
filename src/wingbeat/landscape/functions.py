"""What all models of a stack predict, and how the predictions differ and combine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from wingbeat.determinism import evaluation
from wingbeat.errors import NO_PREDICTIONS, RequestError
from wingbeat.landscape.activation_memory import activation_bytes
from wingbeat.metrics.disagreement import pairwise_disagreement
from wingbeat.metrics.divergence import js, kl, logit_correlation
from wingbeat.metrics.ensemble import Combine, Diversity, Ensemble, diversity, ensemble
from wingbeat.task.predictions import class_labels, class_scores
from wingbeat.typing import Array

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor, nn

    from wingbeat.landscape.models import Models
    from wingbeat.landscape.probe import Probe
    from wingbeat.task.data import Batch


@dataclass(frozen=True)
class Functions:
    """Predictions of N models on the same samples.

    Attributes:
        labels: names of the models.
        scores: logits (N, samples, classes), float64.
        right: the right classes (samples,), or None where the task has none.
    """

    labels: tuple[str, ...]
    scores: Array
    right: NDArray[np.int64] | None

    def churn(self) -> Array:
        """Return the share of samples on which two models predict different classes, (N, N)."""
        return pairwise_disagreement(self.scores)

    def kl(self) -> Array:
        """Return KL(row ‖ column) of the predictions in nats, (N, N)."""
        return self._pairs(kl)

    def js(self) -> Array:
        """Return the Jensen–Shannon divergence in nats, in [0, ln 2], (N, N), symmetric."""
        return self._pairs(js)

    def logit_correlation(self) -> Array:
        """Return the correlation of the logits, (N, N), symmetric."""
        return self._pairs(logit_correlation)

    def ensemble(
        self, members: Sequence[int] | None = None, combine: Combine = "probability"
    ) -> Ensemble:
        """Return the ensemble of some models (None: of all) beside its members."""
        chosen = range(len(self.labels)) if members is None else members
        return ensemble(self.scores[list(chosen)], self._right(), combine)

    def diversity(self, base: int = 0) -> Diversity:
        """Return every model's accuracy and its disagreement with one of them, (N,)."""
        return diversity(self.scores[base], self.scores, self._right())

    def _pairs(self, measure: Any) -> Array:
        # One row at a time: all pairs at once would hold N² times the predictions.
        return np.stack([measure(row, self.scores) for row in self.scores])

    def _right(self) -> NDArray[np.int64]:
        if self.right is None:
            raise RequestError(
                f"the task gives no right classes ({NO_PREDICTIONS}): set Task.targets"
            )
        return self.right


def functions(probe: Probe, models: Models, data: str | None = None) -> Functions:
    """Return the predictions of all models on one of the probe's sets of data.

    The models are taken as they are, with their own running statistics.

    Args:
        probe: on which data, and within which memory.
        models: N of them, finite.
        data: name of the set; by default "test" where there is one, else the first.

    Raises:
        RequestError: unknown data, weights that are not finite, or a task without class scores.
    """
    name = data or ("test" if "test" in probe.data else next(iter(probe.data)))
    if name not in probe.data:
        raise RequestError(f"no data {name!r}: known are {', '.join(probe.data)}")
    models.require_finite()
    portions = probe.data[name]

    def predicted(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Return the scores of one model, and the right classes where they are known."""
        scores = class_scores(probe.task, model, batch)
        if scores is None:
            raise RequestError(
                "the task gives no class scores to compare: set Task.predict to a function "
                "(model, batch) -> scores of shape (batch, classes)"
            )
        labels = class_labels(probe.task, batch, scores)
        return {"scores": scores} | ({} if labels is None else {"labels": labels})

    chunk = _chunk(probe, models, predicted, portions.batches[0])
    parts = [_predicted(probe, models, predicted, batch, chunk) for batch in portions.batches]
    scores = torch.cat([p["scores"] for p in parts], dim=1).double().cpu().numpy()
    right = None
    if "labels" in parts[0]:
        right = torch.cat([p["labels"][0] for p in parts]).long().cpu().numpy()
    return Functions(models.labels, scores, right)


def _chunk(probe: Probe, models: Models, function: Any, batch: Batch) -> int:
    if not probe.stacked:
        return 1
    weights = models.params.shape[1] * models.params.element_size()
    one = weights + activation_bytes(probe.step, models, function, batch)
    return max(1, probe.memory // max(1, one))


def _predicted(
    probe: Probe, models: Models, function: Any, batch: Batch, chunk: int
) -> dict[str, Tensor]:
    device, parts = probe.step.device, []
    with evaluation():
        for start in range(0, len(models), chunk):
            rows = slice(start, start + chunk)
            buffers = {k: b[rows].to(device) for k, b in models.buffers.items()}
            parts.append(probe.apply(function, models.params[rows].to(device), buffers, batch))
    return {key: torch.cat([p[key] for p in parts]) for key in parts[0]}
