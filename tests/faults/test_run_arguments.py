"""Arguments of runs and fields of perturbations are taken, or refused by name: nothing is raw."""

from __future__ import annotations

import pytest
import torch
from faults import run_calls

import wingbeat as wb


@pytest.mark.parametrize("part", range(4))
def test_nothing_falls_through(part):
    """Each odd value in each place; those that are fine are few, and train two steps."""
    found = [
        (name, repr(value)[:60], how)
        for name, value, act in list(run_calls.attacks())[part::4]
        if (how := run_calls.attack(act)).startswith("raw")
    ]
    assert not found


@pytest.mark.parametrize("case", run_calls.MUST_BE_REFUSED)
def test_nonsense_is_refused_by_name(case):
    said = run_calls.attack(lambda: run_calls.run(**run_calls.MUST_BE_REFUSED[case]))
    assert said.startswith(f"refused: {case[0]} is ")


def test_a_rate_that_is_not_finite_and_a_seed_that_torch_cannot_take():
    with pytest.raises(wb.RequestError, match="the optimizer has lr = inf"):
        wb.run(run_calls.task(float("inf")), wb.Gaussian(0.1), **run_calls.RUN)
    with pytest.raises(wb.RequestError, match=r"Task\.seed is 1180591620717411303424"):
        wb.run(run_calls.task(seed=2**70), wb.Gaussian(0.1), **run_calls.RUN)


def test_a_direction_keeps_no_graph_and_takes_arrays():
    weights = torch.ones(1, 1, requires_grad=True)
    kept = wb.Direction({"weight": weights * 2}).tensors["weight"]
    assert not kept.requires_grad
    as_array = wb.Direction({"weight": (weights * 2).detach().numpy()})
    assert as_array.describe() == wb.Direction({"weight": weights * 2}).describe()
