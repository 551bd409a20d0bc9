from __future__ import annotations

import pytest
import torch
from symmetry_models import CASES, noisy_state, seeded
from symmetry_nets import mlp

from wingbeat.errors import RequestError
from wingbeat.symmetry import (
    activation_matching,
    align,
    permutation_spec,
    sinkhorn,
    sinkhorn_refine,
)
from wingbeat.symmetry.moments import streamed


def data(shape, count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator) for _ in range(count)]


def test_correlations_equal_numpy_over_all_batches():
    model = mlp(4, 6, 3)
    a, b = noisy_state(model, 1, 1.0), noisy_state(model, 2, 1.0)
    batches = data((8, 4), 5)
    spec = permutation_spec(model, batches[0])
    (moments,) = streamed(a, b, spec, batches)
    x = torch.cat(batches)
    hidden = [torch.relu(x @ s["0.weight"].T + s["0.bias"]).double() for s in (a, b)]
    expected = torch.corrcoef(torch.cat(hidden, 1).T)[:6, 6:].nan_to_num()
    torch.testing.assert_close(moments.correlation(), expected, rtol=0, atol=1e-6)
    assert moments.count == 40


def test_a_unit_that_never_varies_correlates_with_none():
    model = mlp(4, 6, 3)
    a, b = noisy_state(model, 1, 1.0), noisy_state(model, 2, 1.0)
    a["0.weight"][2], a["0.bias"][2] = 0.0, 3.0
    batches = data((8, 4), 2)
    (moments,) = streamed(a, b, permutation_spec(model, batches[0]), batches)
    assert bool((moments.correlation()[2] == 0).all())


@pytest.mark.parametrize("name", ["mlp", "vit", "grouped"])
def test_a_known_permutation_is_recovered(name):
    case, model = CASES[name], seeded(name)
    spec = permutation_spec(model, case.inputs())
    a = noisy_state(model, 1)
    p = spec.random(7)
    batches = data(case.inputs().shape, 12)
    found = align(a, p.apply(a), spec, "activations", batches=batches, restarts=1)
    wrong = found.compose(p)
    # Units that never fire on the data are alike to each other: nothing tells them apart.
    assert wrong.fixed_point_share > 0.85
    x = batches[0]
    before, after = (
        torch.func.functional_call(model, state, x) for state in (a, found.apply(p.apply(a)))
    )
    torch.testing.assert_close(before, after, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet20", "gpt2", "llama"])
def test_a_known_permutation_is_recovered_in_larger_models(name):
    case, model = CASES[name], seeded(name)
    inputs = case.inputs()
    spec = permutation_spec(model, inputs, outputs=case.outputs)
    a = noisy_state(model, 1)
    p = spec.random(7)
    if isinstance(inputs, dict):
        batches = [{"input_ids": (inputs["input_ids"] * k + k) % 50} for k in range(1, 13)]
    else:
        batches = data(inputs.shape, 12)
    found = align(a, p.apply(a), spec, "activations", batches=batches, restarts=1)
    assert found.compose(p).fixed_point_share > 0.9


def test_batches_of_another_shape_are_refused():
    model = mlp(4, 6, 3)
    spec = permutation_spec(model, torch.ones(8, 4))
    state = model.state_dict()
    with pytest.raises(RequestError, match=r"\(5, 4\)"):
        activation_matching(state, state, spec, [torch.ones(5, 4)])
    with pytest.raises(RequestError, match="at least one batch"):
        activation_matching(state, state, spec, [])
    with pytest.raises(RequestError, match="inputs"):
        activation_matching(state, state, spec, [{"x": torch.ones(8, 4)}])


def test_sinkhorn_is_doubly_stochastic_and_cold_is_an_assignment():
    scores = torch.randn(3, 6, 6, generator=torch.Generator().manual_seed(0)).double()
    soft = sinkhorn(scores, 0.5, 500)
    torch.testing.assert_close(soft.sum(-1), torch.ones(3, 6).double(), rtol=0, atol=1e-9)
    torch.testing.assert_close(soft.sum(-2), torch.ones(3, 6).double(), rtol=0, atol=1e-12)
    from scipy.optimize import linear_sum_assignment

    cold = sinkhorn(scores, 0.005, 3000).argmax(-1)
    for matrix, columns in zip(scores, cold, strict=True):
        assert linear_sum_assignment(matrix.numpy(), maximize=True)[1].tolist() == columns.tolist()
    with pytest.raises(RequestError, match="temperature"):
        sinkhorn(scores, 0.0)


def test_sinkhorn_refines_a_bad_start_and_never_makes_it_worse():
    model = mlp(6, 10, 10, 4)
    spec = permutation_spec(model, torch.ones(1, 6))
    a = noisy_state(model, 1, 1.0)
    p = spec.random(3)
    b = p.apply(a)
    assert sinkhorn_refine(a, b, spec, start=p.inverse(), steps=5) == p.inverse()
    assert sinkhorn_refine(a, b, spec, start=spec.identity(), steps=40) == p.inverse()


def test_sinkhorn_handles_entries_inside_heads():
    case, model = CASES["vit"], seeded("vit")
    spec = permutation_spec(model, case.inputs())
    a = noisy_state(model, 1)
    p = spec.random(3)
    found = sinkhorn_refine(a, p.apply(a), spec, start=p.inverse(), steps=2)
    assert found == p.inverse()
