"""Operations with a rule of their own keep the groups that a reader of the model expects."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from wingbeat.symmetry import align, permutation_spec

EDGES = torch.tensor([[0, 1, 2, 3, 0], [1, 2, 3, 0, 2]])


class Net(nn.Module):
    """Two linear layers around one operation, and whatever other weights it needs."""

    def __init__(self, middle: Callable[[Net, Tensor], Tensor], out: int = 6) -> None:
        super().__init__()
        self.one, self.two, self.middle = nn.Linear(3, 6), nn.Linear(out, 2), middle
        self.bi = nn.Bilinear(6, 6, out)
        self.bag, self.rows = nn.EmbeddingBag(9, 6), nn.Parameter(torch.randn(5, 6))

    def forward(self, x: Tensor) -> Tensor:
        return self.two(self.middle(self, self.one(x).tanh()))


def scattered(_: Net, h: Tensor) -> Tensor:
    index = EDGES[1][:, None].expand(-1, h.shape[1])
    return torch.zeros_like(h).scatter_add(0, index, h[EDGES[0]])


@dataclass(frozen=True)
class Case:
    middle: Callable[[Net, Tensor], Tensor]
    sizes: tuple[int, ...]
    out: int = 6


CASES = {
    "max over rows": Case(lambda n, h: h.max(0, keepdim=True).values + h, (6,)),
    "min over rows": Case(lambda n, h: h - h.min(dim=0).values, (6,)),
    "largest unit": Case(lambda n, h: h + h.max(dim=1, keepdim=True).values, (6,)),
    "largest of all": Case(lambda n, h: h / h.abs().max(), (6,)),
    "of two": Case(lambda n, h: torch.max(h, 0.5 * h), (6,)),
    "which unit is largest": Case(lambda n, h: h * h.max(dim=1).indices[:, None], ()),
    "index_add": Case(
        lambda n, h: torch.zeros_like(h).index_add(0, EDGES[1], h[EDGES[0]]), (6,)),
    "index_add along the units": Case(
        lambda n, h: h.index_add(1, torch.tensor([0, 2]), h[:, 1:3]), ()),
    "scatter_add": Case(scattered, (6,)),
    "bilinear": Case(lambda n, h: n.bi(h, h), (6, 5), out=5),
    "cdist": Case(lambda n, h: torch.cdist(h, n.rows), (6, 5), out=5),
    "embedding_bag": Case(
        lambda n, h: h + n.bag(torch.tensor([[0, 1], [2, 3], [4, 5], [6, 7]])), (6,)),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_groups_function_and_recovery(name):
    torch.manual_seed(0)
    case = CASES[name]
    model, x = Net(case.middle, case.out).double(), torch.randn(4, 3).double()
    spec = permutation_spec(model, x)
    assert tuple(sorted(g.size for g in spec.groups)) == tuple(sorted(case.sizes))
    assert spec.largest_gap < 1e-12 or not case.sizes
    state = model.state_dict()
    for seed in (1, 2):
        moved = spec.random(seed).apply(state)
        got = torch.func.functional_call(model, moved, (x,))
        torch.testing.assert_close(got, model(x), rtol=1e-10, atol=1e-12)
        assert align(state, moved, spec) == spec.random(seed).inverse()


@pytest.mark.parametrize("norm", [parametrizations.spectral_norm, nn.utils.spectral_norm])
@pytest.mark.filterwarnings("ignore:.*spectral_norm")
def test_spectral_norm_moves_with_its_vectors(norm):
    """As a parametrization, and as the older hook."""
    torch.manual_seed(0)
    model = nn.Sequential(norm(nn.Linear(3, 8)), nn.ReLU(), norm(nn.Linear(8, 7)), nn.Tanh(),
                          nn.Linear(7, 2)).double()  # fmt: skip
    x = torch.randn(5, 3).double()
    spec = permutation_spec(model.eval(), x)
    assert [group.shape for group in spec.groups] == [(8,), (7,)]
    moved = spec.random(1).apply(model.state_dict())
    got = torch.func.functional_call(model, moved, (x,))
    torch.testing.assert_close(got, model(x), rtol=1e-10, atol=1e-12)
