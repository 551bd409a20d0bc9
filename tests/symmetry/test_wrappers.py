"""Models inside of torch.compile and data parallelism are aligned by the inner names."""

from __future__ import annotations

import pytest
import torch
from symmetry_nets import mlp
from torch import nn

from wingbeat.errors import RequestError
from wingbeat.symmetry import align, aligned_distance, permutation_spec

WRAPPERS = {
    "none": lambda model: model,
    "compile": torch.compile,
    "DataParallel": nn.DataParallel,
    "both": lambda model: nn.DataParallel(torch.compile(model)),
    "both, the other way": lambda model: torch.compile(nn.DataParallel(model)),
}


@pytest.mark.parametrize("outer", WRAPPERS)
@pytest.mark.parametrize("inner", WRAPPERS)
def test_a_permuted_copy_is_recovered_through_wrappers(outer, inner):
    """The specification of one, the models in another: names differ by the wrappers alone."""
    torch.manual_seed(0)
    model, x = mlp(4, 9, 6, 3), torch.randn(5, 4)
    spec = permutation_spec(WRAPPERS[outer](model), x)
    moved = mlp(4, 9, 6, 3)
    plain = permutation_spec(model, x)
    moved.load_state_dict(plain.random(1).apply(model.state_dict()))
    wrap = WRAPPERS[inner]
    found = align(wrap(model), wrap(moved).state_dict(), spec)
    assert next(iter(found.arrays.values())).shape == (9,)
    assert aligned_distance(wrap(model), wrap(moved), spec) == 0.0
    assert aligned_distance(wrap(model), wrap(moved), spec, spec.identity()) > 1.0


def test_names_that_do_not_fit_are_still_listed():
    model, x = mlp(4, 9, 3), torch.randn(5, 4)
    spec = permutation_spec(model, x)
    other = {f"net.{name}": tensor for name, tensor in model.state_dict().items()}
    with pytest.raises(RequestError, match=r"unknown: net\.0\.weight"):
        align(model, other, spec)
