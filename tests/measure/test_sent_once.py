"""Weights go to the device once a moment, not once for each batch of the evaluation data."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import wingbeat as wb
from wingbeat.measure.outputs import Evaluator
from wingbeat.replicas.snapshot import Snapshot
from wingbeat.task.step import TrainingStep

X, Y = torch.randn(12, 3, generator=torch.Generator().manual_seed(0)), torch.arange(12) % 2


class Counting(dict):  # type: ignore[type-arg]
    """Buffers that count how often all of them are read."""

    reads = 0

    def items(self) -> Any:
        self.reads += 1
        return super().items()


def loss_of(model: nn.Module, batch: Any) -> torch.Tensor:
    return nn.functional.cross_entropy(model(batch[0]), batch[1])


@pytest.mark.parametrize(("chunk", "reads"), [(0, 1), (3, 1), (2, 12)])
def test_one_call_for_all_replicas_sends_them_once(chunk: int, reads: int) -> None:
    """In parts, of which two batches never have both on the device, each batch sends its own."""
    task = wb.Task(
        lambda: nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)),
        loss_of,
        (X, Y),
        lambda p: torch.optim.SGD(p, lr=0.1),
        batch_size=4,
        steps=1,
        eval_data=(X, Y),
        eval_batch_size=2,
    )
    step = TrainingStep(task, torch.float32, torch.device("cpu"))
    start = step.start(0)
    rows = {k: torch.stack([t] * 3) for k, t in step.layout.unflatten(start.params).items()}
    buffers = Counting({k: torch.stack([t] * 3) for k, t in start.buffers.items()})
    labels = ("reference", "null", "gaussian-0.1@0#1")
    found = Evaluator(step, stacked=True, chunk=chunk)(
        Snapshot(0, labels, rows, buffers, torch.zeros(0, 3))
    )
    assert buffers.reads == reads
    assert found.scalars["eval_loss"].shape == (3,)
