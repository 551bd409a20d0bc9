"""Batches of several shapes: each has a recording, unless there are too many of them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import wingbeat as wb
from wingbeat.execution.request import make_request
from wingbeat.replicas.drivers.lockstep import Lockstep
from wingbeat.replicas.drivers.selection import DriverSelector
from wingbeat.task.batches import Batches
from wingbeat.task.step import TrainingStep


def lengths(many: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Return 24 sequences of up to so many lengths."""
    g = torch.Generator().manual_seed(0)
    return [(torch.randn(3 + i % many, 2, generator=g), torch.tensor(i % 2)) for i in range(24)]


def padded(samples: list[Any]) -> Any:
    x = nn.utils.rnn.pad_sequence([s[0] for s in samples], batch_first=True)
    return x, torch.stack([s[1] for s in samples])


def task(many: int, **more: Any) -> wb.Task:
    return wb.Task(
        model=lambda: nn.Linear(2, 2),
        loss=lambda model, batch: nn.functional.cross_entropy(model(batch[0]).mean(1), batch[1]),
        data=lengths(many),
        collate=padded,
        sampler=[[i, i] for i in range(24)],
        optimizer=lambda params: torch.optim.SGD(params, lr=0.1),
        steps=24,
        **more,
    )


def selector(made: wb.Task) -> tuple[DriverSelector, TrainingStep]:
    request = make_request(
        made, wb.Gaussian(0.01), replicas=3, record_every=None, metrics=None,
        dtype=torch.float32, device="cpu",
    )  # fmt: skip
    step = TrainingStep(made, request.dtype, request.device)
    batches = Batches(made, request.dtype, request.device)
    return DriverSelector(step, batches, request.stack_schedule(), made.steps), step


@pytest.mark.parametrize("many", [1, 4, 12])
def test_the_time_to_record_all_shapes_is_counted(many: int) -> None:
    chooser, step = selector(task(many))
    driver = Lockstep(step)
    driver.build_seconds = 5.0
    driver.signatures = {"one"}
    expected = 0.0 if many == 1 else 1000 * 5.0 * many / 24
    assert chooser._recording(driver) == pytest.approx(expected, abs=1e-3)


def test_each_shape_has_its_recording_in_lock_step() -> None:
    found = wb.run(task(3), replicas=2, driver="lockstep", metrics=["l2"], progress=False)
    loop = wb.run(task(3), replicas=2, driver="loop", metrics=["l2"], progress=False)
    assert found.noise_floor == loop.noise_floor == 0.0
    torch.testing.assert_close(
        torch.as_tensor(found.trajectory.losses), torch.as_tensor(loop.trajectory.losses)
    )


def test_stacks_are_filled_by_what_batches_may_hold() -> None:
    chooser, _ = selector(task(3))
    assert chooser.batches.rows() == (2,)
    assert chooser.copies._even() == (32 << min(3, (torch.get_num_threads() - 1).bit_length())) // 2
