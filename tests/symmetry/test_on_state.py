"""What is a symmetry of the model of the specification, and none of the weights to be aligned."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import wingbeat as wb
from wingbeat.errors import NOT_SYMMETRIC, RequestError
from wingbeat.symmetry import align, permutation_spec
from wingbeat.symmetry.on_state import broken_groups


class Masked(nn.Module):
    """Units that a mask of whole numbers may switch off, as one-shot pruning stores it."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.one, self.two, self.three = nn.Linear(3, 8), nn.Linear(8, 6), nn.Linear(6, 2)
        self.register_buffer("keep", torch.ones(8, dtype=torch.bool))

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.one(x).relu() * self.keep
        return self.three(self.two(hidden).relu())


def pruned(model: nn.Module) -> nn.Module:
    model.keep[::2] = False
    return model


X = torch.randn(16, 3, generator=torch.Generator().manual_seed(0))


def test_the_group_that_is_none_of_the_second_model_is_named():
    """Was: aligned silently, with another function."""
    a, b = Masked(1), pruned(Masked(2))
    spec = permutation_spec(a, X)
    assert [group.size for group in spec.groups] == [8, 6]
    moved = spec.random(1)
    assert broken_groups(spec, b.state_dict(), moved) == ("one.weight:0",)
    other = moved.apply(b.state_dict())
    out, same = (torch.func.functional_call(b, s, (X,)) for s in (other, b.state_dict()))
    assert float((out - same).detach().abs().max()) > 0.01  # it is another function indeed
    with pytest.raises(RequestError, match=r"groups \['one\.weight:0'\] changes what the second"):
        align(a, b, spec)


def test_a_specification_of_the_second_model_itself_fixes_the_group():
    a, b = pruned(Masked(1)), pruned(Masked(2))
    spec = permutation_spec(b, X)
    assert [group.size for group in spec.groups] == [6]
    found = align(a, b, spec)
    out = torch.func.functional_call(b, found.apply(b.state_dict()), (X,))
    torch.testing.assert_close(out, b(X))


def test_nothing_is_refused_that_is_a_symmetry():
    a, b = Masked(1), Masked(2)
    spec = permutation_spec(a, X)
    hidden = spec.random(3)
    assert align(b, hidden.apply(b.state_dict()), spec) == hidden.inverse()
    half = {n: t.half() if t.is_floating_point() else t for n, t in b.state_dict().items()}
    assert broken_groups(spec, half, hidden) == ()


def test_groups_that_break_it_only_together_are_all_named():
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two, self.three = nn.Linear(3, 5), nn.Linear(5, 5), nn.Linear(5, 2)
            self.register_buffer("gate", torch.ones(5, 5, dtype=torch.int64))

        def forward(self, x: Tensor) -> Tensor:
            first = self.one(x).relu()
            return self.three(torch.einsum("bi,bj,ij->bj", first, self.two(first), self.gate.to(x)))

    spec = permutation_spec(Tied(), X)
    state = Tied().state_dict()
    state["gate"] = torch.arange(25).reshape(5, 5) % 3
    assert len(broken_groups(spec, state, spec.random(1))) == len(spec.groups) == 2


def test_without_the_check_or_after_pickling_nothing_is_computed():
    b = pruned(Masked(2))
    for spec in (
        permutation_spec(Masked(1), X, check=False),
        pickle.loads(pickle.dumps(permutation_spec(Masked(1), X))),
    ):
        assert spec.compute is None
        assert broken_groups(spec, b.state_dict(), spec.random(1)) == ()


def test_in_a_run_the_replica_has_a_reason_instead_of_a_number():
    """The mask is set while the run trains: no distance after alignment is made up."""

    class Pruning(Masked):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("count", torch.zeros((), dtype=torch.int64))

        def forward(self, x: Tensor) -> Tensor:
            if self.training:
                self.count = self.count + 1
                self.keep = self.keep & ((torch.arange(8) != 3) | (self.count < 6))
            return super().forward(x)

    task = wb.Task(
        model=Pruning,
        loss=lambda model, batch: nn.functional.cross_entropy(model(batch[0]), batch[1]),
        data=(torch.randn(64, 3), torch.arange(64) % 2),
        optimizer=lambda p: torch.optim.SGD(p, lr=0.5),
        batch_size=16,
        steps=12,
    )
    found = wb.run(task, wb.Gaussian(3.0), replicas=2, metrics=["l2", "l2_aligned"])
    rows = found.table[(found.table.metric == "l2_aligned") & (found.table.step == 12)]
    rows = rows[rows.perturbation != "null"]
    assert len(rows)
    assert rows.value.isna().all()
    assert set(rows.reason) == {NOT_SYMMETRIC}
    assert np.isfinite(found.table[found.table.metric == "l2"].value).all()
