"""Writing into parts of tensors: groups are neither lost nor made up.

Expected groups are what the function allows, by hand; what is found without the numerical check
must be a symmetry already.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from wingbeat.symmetry import align, permutation_spec
from wingbeat.symmetry.export import exported
from wingbeat.symmetry.in_place import without_writes


class Net(nn.Module):
    """Layers a and b (3 → 6), o (6 → 2), and the function that the case names."""

    def __init__(self, sizes: tuple[int, int, int] = (6, 6, 6)) -> None:
        super().__init__()
        torch.manual_seed(0)
        a, b, o = sizes
        self.a, self.b, self.o = nn.Linear(3, a), nn.Linear(3, b), nn.Linear(o, 2)
        self.h, self.gain = nn.Linear(6, 6), nn.Parameter(torch.randn(2))


class Recurrent(Net):
    def forward(self, x: Tensor) -> Tensor:
        out, h = x.new_zeros(*x.shape[:2], 6), x.new_zeros(x.shape[0], 6)
        for t in range(x.shape[1]):
            h = torch.tanh(self.a(x[:, t]) + self.h(h))
            out[:, t] = h
        return self.o(out)


class Emptied(Net):
    def forward(self, x: Tensor) -> Tensor:
        out = x.new_empty(*x.shape[:2], 6)
        for t in range(x.shape[1]):
            out[:, t, :] = self.a(x[:, t]).relu()
        return self.o(out)


class Halves(Net):
    def __init__(self) -> None:
        super().__init__((4, 5, 9))

    def forward(self, x: Tensor) -> Tensor:
        out = x.new_zeros(*x.shape[:2], 9)
        out[..., :4], out[..., 4:] = self.a(x).relu(), self.b(x).tanh()
        return self.o(out)


class Doubled(Net):
    def forward(self, x: Tensor) -> Tensor:
        h = self.a(x).relu()
        h[..., :2] *= 2.0
        return self.o(h)


class FirstIsOne(Net):
    def forward(self, x: Tensor) -> Tensor:
        h = self.a(x).relu()
        h[..., 0] = 1.0
        return self.o(h)


class Added(Net):
    def forward(self, x: Tensor) -> Tensor:
        h = self.a(x)
        h += self.b(x)
        return self.o(h.relu_())


class ThroughView(Net):
    def forward(self, x: Tensor) -> Tensor:
        h = self.a(x).relu()
        h.view(*x.shape[:2], 3, 2).mul_(self.gain)
        return self.o(h)


class Rows(Net):
    def forward(self, x: Tensor) -> Tensor:
        out = x.new_zeros(*x.shape[:2], 6)
        out[torch.tensor([1, 0, 3, 2])] = self.a(x).relu()
        return self.o(out)


class Columns(Net):
    def forward(self, x: Tensor) -> Tensor:
        out = x.new_zeros(*x.shape[:2], 6)
        out[:, :, torch.tensor([1, 0, 3, 2, 5, 4])] = self.a(x).relu()
        return self.o(out)


class MaskedRows(Net):
    def forward(self, x: Tensor) -> Tensor:
        h = self.a(x).relu()
        h[x[..., 0] > 0] = 0.5
        return self.o(h)


class MaskedScores(Net):
    def forward(self, x: Tensor) -> Tensor:
        scores = self.a(x) @ self.b(x).transpose(-1, -2)
        scores[:, torch.ones(5, 5, dtype=torch.bool).triu(1)] = float("-inf")
        return self.o(scores.softmax(-1) @ self.h(self.a(x)))


# Function → sizes of the groups that it has.
CASES: dict[type[Net], list[int]] = {
    Recurrent: [6],
    Emptied: [6],
    Halves: [4, 5],
    Doubled: [2, 4],
    FirstIsOne: [5],
    Added: [6],
    ThroughView: [2, 3],  # pairs, and which pair comes first
    Rows: [6],
    Columns: [],  # six units in a fixed order: no rule for it, and none is made up
    MaskedRows: [6],
    MaskedScores: [6, 6],  # a and b share one, h has another
}
X = torch.randn(4, 5, 3, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("kind", CASES, ids=lambda kind: kind.__name__)
def test_groups(kind):
    model = kind()
    spec = permutation_spec(model, X)
    assert [group.size for group in spec.groups] == CASES[kind]
    assert spec.largest_gap < 1e-12
    assert not any("numerical check" in axis.reason for axis in spec.blocked)


@pytest.mark.parametrize("kind", CASES, ids=lambda kind: kind.__name__)
def test_what_is_found_without_the_check_is_a_symmetry(kind):
    model = kind().double()
    spec = permutation_spec(model, X.double(), check=False)
    moved = spec.random(3).apply(model.state_dict())
    out = torch.func.functional_call(model, moved, (X.double(),))
    torch.testing.assert_close(out, model(X.double()), rtol=1e-12, atol=1e-12)


def test_a_permuted_copy_is_recovered_also_by_activations():
    model = Recurrent()
    spec = permutation_spec(model, X)
    hidden = spec.random(1)
    moved = hidden.apply(model.state_dict())
    assert align(model, moved, spec) == hidden.inverse()
    assert align(model, moved, spec, "activations", batches=[X]) == hidden.inverse()


def test_a_graph_that_writes_to_no_view_is_left_as_it_is():
    program = exported(Added(), X, None)
    assert without_writes(program) is program


def test_what_cannot_be_rewritten_is_fixed(monkeypatch):
    """No group is made up where torch cannot rewrite the graph."""

    def fails(*_, **__):
        raise RuntimeError("no")

    monkeypatch.setattr(torch.export.ExportedProgram, "run_decompositions", fails)
    for kind in (Recurrent, Halves, Doubled):
        model = kind().double()
        spec = permutation_spec(model, X.double(), check=False)
        moved = spec.random(3).apply(model.state_dict())
        out = torch.func.functional_call(model, moved, (X.double(),))
        torch.testing.assert_close(out, model(X.double()), rtol=1e-12, atol=1e-12)
