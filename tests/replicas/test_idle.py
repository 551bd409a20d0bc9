"""Parameters without a gradient rest, as in a plain loop; the optimizer ages nothing of them."""

from __future__ import annotations

from typing import Any

import cases
import pytest
import torch
from driving import train
from test_handed_over import ROUNDING, by_hand, holds
from torch import Tensor, nn

import wingbeat as wb


class Sometimes(nn.Module):
    """Uses one of its two heads, by the sign of a sum over the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.heads = nn.ModuleList([nn.Linear(4, 1), nn.Linear(4, 1)])

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.heads[int(x.sum() > 0)](x)
        return out


OPTIMIZERS = sorted(set(cases.OPTIMIZERS))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("driver", ["loop", "traced", "object"])
def test_an_idle_layer_rests(optimizer: str, driver: str) -> None:
    task = cases.task("mlp", optimizer, model=cases.Unused, steps=12)
    expected, _, _ = by_hand(task, cases.OPTIMIZERS[optimizer])
    holds(task, expected, driver, ROUNDING)
    found = train(task, driver, perturbations=())
    for name in ("idle.weight", "idle.bias"):
        assert torch.equal(found[0].params[name], found[-1].params[name])


@pytest.mark.parametrize("optimizer", ["adamw", "momentum"])
def test_heads_used_now_and_then_count_their_own_steps(optimizer: str) -> None:
    make: Any = cases.OPTIMIZERS[optimizer]
    task = cases.task("mlp", optimizer, model=Sometimes, steps=12, batch_size=3)
    expected, _, _ = by_hand(task, make)
    result = wb.run(task, replicas=1, dtype=torch.float64, metrics=["l2"], progress=False)
    assert result.environment["driver"] == "loop"
    last = result.trajectory.at(12).params
    for name, value in expected.named_parameters():
        assert torch.equal(last[name][0], value.detach())
