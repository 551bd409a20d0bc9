"""A replica whose loss is not finite is recorded, and leaves the others as they were."""

from __future__ import annotations

import math
from typing import Any

import cases
import pytest
import torch
from driving import flat
from torch import Tensor, nn

import wingbeat as wb

HUGE = wb.Direction({"0.weight": torch.ones(10, 4)}, 1e30, name="huge", at=2)
GAUSSIAN = wb.Gaussian(0.01)


def run(task: Any, perturbations: list[Any], driver: str) -> wb.Result:
    return wb.run(task, perturbations, replicas=2, driver=driver, record_every=1, progress=False)  # type: ignore[arg-type]


def linear() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 10), nn.ReLU(), nn.Linear(10, 1))


def steep(model: nn.Module, batch: Any) -> Tensor:
    """A loss that overflows once the weights are large."""
    return cases.squared(model, batch) + torch.exp(model[0].weight.square().sum() - 50)  # type: ignore[index]


@pytest.mark.parametrize(("driver", "clip"), [("loop", None), ("loop", 0.5), ("lockstep", 0.5)])
def test_the_others_keep_their_bits(driver: str, clip: float | None) -> None:
    task = cases.task("mlp", "adam", model=linear, steps=8, clip_norm=clip)
    alone = run(task, [GAUSSIAN], driver).trajectory
    result = run(task, [GAUSSIAN, HUGE], driver)
    beside = result.trajectory
    assert set(beside.diverged()) == {"huge#1", "huge#2"}
    for label, step in beside.diverged().items():
        losses = beside.losses[:, beside.labels.index(label)]
        assert all(math.isfinite(x) for x in losses[2:step])
        assert not math.isfinite(losses[step])
    for step in alone.steps:
        kept = flat(beside.at(step))[: len(alone.labels)]
        assert torch.equal(kept, flat(alone.at(step)))
    assert result.noise_floor == 0.0
    assert alone.diverged() == {}


def test_a_loss_that_overflows_later_is_recorded_at_its_step() -> None:
    task = cases.task("mlp", model=linear, loss=steep, steps=5)
    nudge = wb.Direction({"0.weight": torch.ones(10, 4)}, 2.0, name="steep", at=1)
    for driver in ("loop", "lockstep"):
        result = run(task, [nudge], driver)
        found = result.trajectory.diverged()
        assert set(found) == {"steep#1", "steep#2"}
        assert all(step >= 1 for step in found.values())
        rows = result.table[(result.table.metric == "l2") & (result.table.layer == "")]
        bad = rows[rows.a.str.startswith("steep") | rows.b.str.startswith("steep")]
        assert "diverged" in set(bad.reason)


def test_a_model_that_is_nan_from_the_start_is_refused() -> None:
    task = cases.task("mlp", loss=lambda model, batch: cases.squared(model, batch) * math.nan)
    with pytest.raises(wb.RequestError, match="before any update"):
        run(task, [GAUSSIAN], "auto")
