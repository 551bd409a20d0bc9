"""Groups on another device than the processor, on which the numbers of an update are made.

One number may lie elsewhere than the tensors that it is multiplied with, several may not. The
device "meta" holds torch to that as a card would.
"""

from __future__ import annotations

import pytest
import torch

from wingbeat.replicas.drivers import groups
from wingbeat.replicas.drivers.groups import Groups
from wingbeat.tracing import trace


def updated(weights: torch.Tensor, rate: torch.Tensor) -> list[torch.Tensor]:
    return [weights - rate * weights, weights.sum(1)]


@pytest.fixture(autouse=True)
def _without_pinned_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups, "sent", lambda tensor, device: tensor.to(device))


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_numbers_of_several_groups_go_where_their_state_is(device: str) -> None:
    leaves = [torch.ones(3, 5, device=device), torch.tensor(0.1, dtype=torch.float64)]
    together = Groups(trace(updated, *leaves), leaves, count=2)
    rates = torch.tensor([0.1, 0.2], dtype=torch.float64)
    weights, sums = together([torch.ones(2, 3, 5, device=device)], [rates], [0, 0])
    assert (weights.shape, weights.dtype, weights.device.type) == ((2, 3, 5), torch.float32, device)
    assert sums.shape == (2, 3)
    if device == "cpu":
        assert torch.allclose(weights[:, 0, 0], torch.tensor([0.9, 0.8]))
