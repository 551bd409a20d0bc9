"""Models with an operation that has no float64: mixtures of experts by grouped products."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from wingbeat.symmetry import align, permutation_spec
from wingbeat.symmetry.check import COARSE, Float64, evaluate, tolerance
from wingbeat.symmetry.on_state import broken_groups

OFFSETS = torch.tensor([2, 5, 8], dtype=torch.int32)


class Experts(nn.Module):
    """Three experts on eight rows that are sorted by expert."""

    def __init__(self, seed: int = 0, dtype: torch.dtype = torch.bfloat16) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.up = nn.Parameter(torch.randn(3, 8, 16, generator=generator).to(dtype))
        self.down = nn.Parameter(torch.randn(3, 16, 8, generator=generator).to(dtype))
        self.register_buffer("keep", torch.ones(16, dtype=torch.int64))

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch._grouped_mm(x, self.up, offs=OFFSETS).relu() * self.keep.to(x.dtype)
        return torch._grouped_mm(hidden, self.down, offs=OFFSETS)


X = torch.randn(8, 8, generator=torch.Generator().manual_seed(1)).bfloat16()


def by_hand(state: dict[str, Tensor], x: Tensor) -> Tensor:
    """The same experts, one product after the other in float64."""
    begin, rows = 0, []
    for expert, end in enumerate(OFFSETS.tolist()):
        hidden = (x[begin:end].double() @ state["up"][expert].double()).relu()
        rows.append(hidden @ state["down"][expert].double())
        begin = end
    return torch.cat(rows)


def test_the_model_is_checked_in_float32_instead_of_not_at_all():
    """Was: RuntimeError, "Expected mat_a to be Float32 ..., got Double"."""
    model = Experts()
    spec = permutation_spec(model, X)
    assert [(g.size, g.members[:2]) for g in spec.groups] == [(16, (("up", 2), ("down", 1)))]
    assert 0.0 < spec.largest_gap < 1e-5
    moved = spec.random(1).apply(model.state_dict())
    torch.testing.assert_close(by_hand(moved, X), by_hand(model.state_dict(), X))
    assert align(model, moved, spec) == spec.random(1).inverse()


def test_only_the_operation_that_insists_is_narrow():
    (out,) = evaluate(Experts(), Experts().state_dict(), X)
    assert out.dtype == torch.float32
    torch.testing.assert_close(
        out, by_hand(Experts().state_dict(), X).float(), rtol=1e-5, atol=1e-4
    )
    assert tolerance([out]) == COARSE
    with Float64() as mode:
        wide = torch.ones(2) / 3
    assert (wide.dtype, mode.insisted) == (torch.float64, [])


def test_what_is_no_symmetry_shows_in_float32_too():
    spec = permutation_spec(Experts(), X)
    state = Experts(seed=2).state_dict()
    state["keep"] = torch.arange(16) % 2
    assert broken_groups(spec, state, spec.random(1)) == ("up:2",)
    state["keep"] = torch.ones(16, dtype=torch.int64)
    assert broken_groups(spec, state, spec.random(1)) == ()


def test_other_errors_are_not_hidden():
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"), Float64():
        torch.ones(2, 3) @ torch.ones(2, 3)
