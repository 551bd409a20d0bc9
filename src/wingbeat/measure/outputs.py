"""What the replicas compute: evaluation loss, predictions, accuracy, the task's own metrics."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.func import vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from wingbeat.determinism import seeded
from wingbeat.errors import RequestError
from wingbeat.measure.metric import METRICS
from wingbeat.task.batches import eval_batches, placer
from wingbeat.task.predictions import class_labels, loss_and_scores
from wingbeat.trajectory.trajectory import perturbed
from wingbeat.typing import Array

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from numpy.typing import NDArray
    from torch import Tensor, nn

    from wingbeat.measure.accumulate import Accumulator
    from wingbeat.replicas.snapshot import Snapshot
    from wingbeat.task.data import Batch
    from wingbeat.task.step import TrainingStep


_SCORES, _LABELS = "class scores", "right classes"


@dataclass(frozen=True)
class Outputs:
    """What E replicas give on the evaluation data at one step.

    Attributes:
        scalars: means over samples, (E,), by metric name.
        predictions: arg max class (E, samples), −1 where a score is not finite; None where the
            task gives no class scores.
        labels: right classes (samples,); None where the task gives none.
        totals: by metric, what its accumulator made of the class scores; empty where the task
            gives none.
    """

    scalars: dict[str, Array] = field(default_factory=dict)
    predictions: NDArray[np.int64] | None = None
    labels: NDArray[np.int64] | None = None
    totals: dict[str, Accumulator] = field(default_factory=dict)

    def disagreement(self) -> Array | None:
        """Return the share of samples on which each replica differs from the reference, (E,)."""
        if self.predictions is None:
            return None
        share = (self.predictions != self.predictions[0]).mean(axis=1)
        bad = np.asarray((self.predictions < 0).any(axis=1))
        return np.where(bad | bad[0], np.nan, share)


class Evaluator:
    """Evaluates all replicas of a snapshot on the task's evaluation data.

    Args:
        step: the task's pure step.
        stacked: run all replicas in one vectorised call; one by one otherwise.
        chunk: largest number of replicas in one call.
        wanted: the metrics asked for: some accumulate the class scores.
    """

    def __init__(
        self,
        step: TrainingStep,
        *,
        stacked: bool,
        chunk: int = 0,
        wanted: Collection[str] = (),
    ) -> None:
        self.step, self.task = step, step.task
        self.stacked, self.chunk = stacked, chunk
        self.accumulate = _accumulators(wanted, self.task.eval_metrics)
        if self.task.eval_data is None:
            msg = "a metric was asked for that needs evaluation data: set Task.eval_data"
            raise RequestError(msg)

    def __call__(self, snapshot: Snapshot) -> Outputs:
        """Return the outputs of every replica of a snapshot."""
        count = len(snapshot.labels)
        size = count if self.chunk == 0 else max(1, self.chunk)
        params, buffers = self.step.layout.flatten(snapshot.params), snapshot.buffers
        if size >= count:  # sent to the device once, not once a batch
            params, buffers = self._sent(params, buffers)
        place = placer(self.step.dtype, self.step.device)
        data = eval_batches(self.task.eval_data, self.task.eval_batch_size, place)
        rows, right = [], []
        groups = perturbed(snapshot.labels)
        totals = {name: make(groups) for name, make in self.accumulate.items()}
        scored = False
        with torch.no_grad():
            for batch, weight in data:
                parts = [
                    self._part(params[a : a + size], _cut(buffers, a, a + size), batch)
                    for a in range(0, count, size)
                ]
                row = {k: torch.cat([p[k] for p in parts]) for k in parts[0]}
                labels = row.pop(_LABELS, None)
                scored |= _add(totals, row.pop(_SCORES, None), labels)
                rows.append((row, weight))
                right += [] if labels is None else [labels[0].long().cpu().numpy()]
        known = np.concatenate(right) if right else None
        return replace(_joined(rows), totals=totals if scored else {}, labels=known)

    def _sent(self, params: Tensor, buffers: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        device = self.step.device
        return params.to(device), {k: b.to(device) for k, b in buffers.items()}

    def _part(self, params: Tensor, buffers: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        params, buffers = self._sent(params, buffers)

        def single(p: Tensor, b: dict[str, Tensor]) -> dict[str, Tensor]:
            result: dict[str, Tensor] = self.step.evaluate(self._measured, p, b, batch)
            return result

        with seeded(0), sdpa_kernel(SDPBackend.MATH):
            if self.stacked:
                try:
                    return dict(vmap(single, randomness="same")(params, buffers))
                except RuntimeError:  # as by .item() in a metric of the user's
                    self.stacked = False
            rows = [single(p, {k: b[i] for k, b in buffers.items()}) for i, p in enumerate(params)]
            return {k: torch.stack([row[k] for row in rows]) for k in rows[0]}

    def _measured(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Return everything about one replica and batch as tensors."""
        loss, scores = loss_and_scores(self.task, model, batch)
        found = {"eval_loss": loss}
        for name, function in self.task.eval_metrics.items():
            found[name] = function(model, batch)
        if scores is not None:
            finite = torch.isfinite(scores).all(-1)
            found["predictions"] = torch.where(finite, scores.argmax(-1), -1)
            labels = class_labels(self.task, batch, scores)
            if self.accumulate:
                found[_SCORES] = scores
            if labels is not None:
                found[_LABELS] = labels
                right = (found["predictions"] == labels).to(scores.dtype).mean()
                found["accuracy"] = torch.where(finite.all(), right, torch.nan)
        return found


def _cut(buffers: dict[str, Tensor], a: int, b: int) -> dict[str, Tensor]:
    return {name: t[a:b] for name, t in buffers.items()}


def _accumulators(
    wanted: Collection[str], own: Collection[str]
) -> dict[str, Callable[[Mapping[str, list[int]]], Accumulator]]:
    """Return what makes the accumulator of each metric that has one."""
    found = {name: METRICS.find(name).accumulate for name in wanted if name not in own}
    return {name: make for name, make in found.items() if make is not None}


def _add(totals: Mapping[str, Accumulator], scores: Tensor | None, labels: Tensor | None) -> bool:
    """Add a batch to every total; tells whether it had class scores."""
    if scores is None:
        return False
    right = None if labels is None else labels[0].long().cpu().numpy()
    every = scores.double().cpu().numpy()
    for total in totals.values():
        total.add(every, right)
    return True


def _joined(rows: list[tuple[dict[str, Tensor], int]]) -> Outputs:
    total = sum(weight for _, weight in rows)
    names = [k for k in rows[0][0] if k != "predictions"]
    scalars = {
        name: sum(r[name].double().cpu().numpy() * (weight / total) for r, weight in rows)
        for name in names
    }
    predictions = None
    if "predictions" in rows[0][0]:
        predictions = torch.cat([r["predictions"].cpu() for r, _ in rows], dim=1).numpy()
    return Outputs(scalars, predictions)  # type: ignore[arg-type]
