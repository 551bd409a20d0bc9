"""Buffers that are constant when the specification is made, and are not in a trained state."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from wingbeat.symmetry import align, permutation_spec


class HandNorm(nn.Module):
    """Batch norm as people write it: statistics are plain buffers, updated in training."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.gamma, self.beta = nn.Parameter(torch.ones(size)), nn.Parameter(torch.zeros(size))
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("var", torch.ones(size))

    def forward(self, x: Tensor) -> Tensor:
        mean, var = self.mean, self.var
        if self.training:
            mean, var = x.mean(0), x.var(0)
            with torch.no_grad():
                self.mean.lerp_(mean, 0.1)
                self.var.lerp_(var, 0.1)
        return (x - mean) / (var + 1e-5).sqrt() * self.gamma + self.beta


class FrozenNorm(nn.Module):
    """All four tensors are buffers, as in torchvision's detection models."""

    def __init__(self, size: int) -> None:
        super().__init__()
        for name, value in (("weight", 1.0), ("bias", 0.0), ("mean", 0.0), ("var", 1.0)):
            self.register_buffer(name, torch.full((size,), value))

    def forward(self, x: Tensor) -> Tensor:
        scale = self.weight * (self.var + 1e-5).rsqrt()
        return x * scale + (self.bias - self.mean * scale)


class Gain(nn.Module):
    """One buffer with an axis of its own in front, as a running maximum of activations has."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("gain", torch.ones(1, size))

    def forward(self, x: Tensor) -> Tensor:
        return x / self.gain


def net(norm: type[nn.Module], seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Linear(3, 16), norm(16), nn.ReLU(), nn.Linear(16, 8), norm(8), nn.ReLU(),
        nn.Linear(8, 2),
    ).double()  # fmt: skip


def trained(model: nn.Module, seed: int) -> dict[str, Tensor]:
    """A state whose buffers vary, as those of a trained model do."""
    generator = torch.Generator().manual_seed(seed)
    return {
        n: t + torch.rand(t.shape, generator=generator).to(t)
        for n, t in model.state_dict().items()
    }  # fmt: skip


@pytest.mark.parametrize("norm", [HandNorm, FrozenNorm, Gain])
def test_buffers_move_with_their_group(norm):
    model, x = net(norm), torch.randn(64, 3, dtype=torch.float64)
    spec = permutation_spec(model.eval(), x)
    assert [group.shape for group in spec.groups] == [(16,), (8,)]
    assert spec.largest_gap < 1e-12
    members = {name for group in spec.groups for name, _ in group.members}
    assert members == set(model.state_dict()) - {"6.bias"}
    state = trained(model, 1)
    before = torch.func.functional_call(model, state, (x,))
    after = torch.func.functional_call(model, spec.random(3).apply(state), (x,))
    torch.testing.assert_close(after, before, rtol=1e-12, atol=1e-12)
    assert align(state, spec.random(5).apply(state), spec) == spec.random(5).inverse()


def test_statistics_learnt_after_the_specification_was_made():
    """The case of the report: specification of a fresh model, accuracy of an aligned one."""
    fresh = net(HandNorm)
    x = 3.0 + 2.0 * torch.randn(256, 3, dtype=torch.float64)
    spec = permutation_spec(fresh.eval(), x)
    model = net(HandNorm, seed=1).train()
    for _ in range(20):
        model(x)
    assert model[1].mean.std() > 0.1
    state = {n: t.clone() for n, t in model.eval().state_dict().items()}
    want = model(x)
    model.load_state_dict(spec.random(2).apply(state))
    torch.testing.assert_close(model(x), want, rtol=1e-12, atol=1e-12)


def test_a_buffer_that_varies_is_fixed_along_that_axis_alone():
    class Rows(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Linear(3, 5), nn.Linear(5, 2)
            self.register_buffer("scale", torch.arange(1.0, 5.0)[:, None].expand(4, 5).clone())

        def forward(self, x: Tensor) -> Tensor:
            return self.two((self.one(x) * self.scale).relu())

    spec = permutation_spec(Rows(), torch.ones(4, 3))
    assert [group.members[-1] for group in spec.groups] == [("scale", 1)]
    assert ("scale", 0, "buffer scale") in {(b.parameter, b.axis, b.reason) for b in spec.blocked}


def test_a_group_of_buffers_alone_does_not_count():
    class Aside(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one = nn.Linear(3, 2)
            self.register_buffer("unit", torch.ones(7))

        def forward(self, x: Tensor) -> Tensor:
            return self.one(x) * self.unit.sum()

    assert permutation_spec(Aside(), torch.ones(2, 3)).groups == ()


def test_a_mask_with_infinities_is_checked():
    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Linear(3, 5), nn.Linear(5, 2)
            mask = torch.full((4, 4), float("-inf")).triu(1)
            self.register_buffer("mask", mask)

        def forward(self, x: Tensor) -> Tensor:
            hidden = self.one(x).relu()
            weights = (hidden @ hidden.transpose(-1, -2) + self.mask).softmax(-1)
            return self.two(weights @ hidden)

    spec = permutation_spec(Masked(), torch.randn(2, 4, 3))
    assert [group.shape for group in spec.groups] == [(5,)]
    assert spec.largest_gap < 1e-12
