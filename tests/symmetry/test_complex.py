"""Complex weights are refused by name: half of a distance would be silently lost."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import wingbeat as wb
from wingbeat.symmetry import aligned_distance, permutation_spec


class Rotating(nn.Module):
    """A real layer beside one of complex weights."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Linear(2, 3)
        self.turn = nn.Parameter(torch.ones(3, dtype=torch.complex64))

    def forward(self, x: Tensor) -> Tensor:
        return (self.enter(x) * self.turn).real


def test_a_model_with_complex_weights_has_no_specification() -> None:
    with pytest.raises(wb.RequestError, match="'turn' is complex"):
        permutation_spec(Rotating(), torch.zeros(1, 2))


def test_complex_states_are_neither_aligned_nor_compared() -> None:
    net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    spec = permutation_spec(net, torch.zeros(1, 2))
    state = net.state_dict()
    other = {**state, "0.bias": state["0.bias"] * 1j}
    with pytest.raises(wb.RequestError, match=r"'0\.bias' is complex"):
        wb.align(net, other, spec)
    with pytest.raises(wb.RequestError, match=r"'0\.bias' is complex"):
        aligned_distance(other, net, spec)
