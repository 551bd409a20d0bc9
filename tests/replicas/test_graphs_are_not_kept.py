"""A CUDA graph holds memory of the device: it ends with its run, its recording is kept.

No card is needed: what would be captured is counted, and called as it is.
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import wingbeat as wb
from wingbeat.replicas.drivers import recorded
from wingbeat.replicas.drivers.lockstep import Lockstep
from wingbeat.replicas.drivers.recordings import RECORDINGS
from wingbeat.replicas.fork import stack
from wingbeat.task.step import TrainingStep

X = torch.randn(8, 3, generator=torch.Generator().manual_seed(1))
Y = (X.sum(1) > 0).long()


class Captured:
    """Stands for a captured step."""

    alive: ClassVar[weakref.WeakSet[Any]] = weakref.WeakSet()

    def __init__(self, program: Callable[..., Any], leaves: list[torch.Tensor]) -> None:
        self.program, self.static = program, [leaf.clone() for leaf in leaves]
        self.alive.add(self)

    def __call__(self, *leaves: torch.Tensor) -> list[torch.Tensor]:
        found: list[torch.Tensor] = self.program(*leaves)
        return found


@pytest.fixture
def captured(monkeypatch: pytest.MonkeyPatch) -> Iterator[weakref.WeakSet[Any]]:
    monkeypatch.setattr(recorded, "GraphedStep", Captured)
    Captured.alive.clear()
    RECORDINGS.clear()
    yield Captured.alive
    RECORDINGS.clear()


def loss_of(model: nn.Module, batch: Any) -> torch.Tensor:
    return F.cross_entropy(model(batch[0]), batch[1])


def net() -> nn.Module:
    return nn.Linear(3, 2)


def graphed() -> tuple[Lockstep, TrainingStep]:
    task = wb.Task(
        net, loss_of, (X, Y), lambda p: torch.optim.SGD(p, lr=0.1), batch_size=8, steps=2
    )
    step = TrainingStep(task, torch.float32, torch.device("cpu"))
    driver = Lockstep(step)
    driver.form = "graphed"  # a mode that a processor has not
    return driver, step


def advanced(driver: Lockstep, step: TrainingStep) -> torch.Tensor:
    after, _ = driver(stack([step.start(0)] * 2), (X, Y), 0)
    return after.params


def test_a_graph_ends_with_its_driver_and_its_recording_serves_the_next(captured: Any) -> None:
    driver, step = graphed()
    first = advanced(driver, step)
    assert len(captured) == 1
    del driver
    gc.collect()
    assert len(captured) == 0
    assert len(RECORDINGS._held) == 1
    driver, step = graphed()
    assert torch.equal(advanced(driver, step), first)
    assert len(captured) == 1, "the next run is not executed as a graph"
    assert len(RECORDINGS._held) == 1, "it was recorded again"
