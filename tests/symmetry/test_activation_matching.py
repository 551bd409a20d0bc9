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


@pytest.mark.parametrize("last", [1, 3, 7])
@pytest.mark.parametrize("first", [False, True])
def test_a_smaller_batch_counts_its_own_samples_and_no_others(last, first):
    """Correlations are those of NumPy over all samples that were given, wherever the batch is."""
    model = mlp(4, 6, 3).double()
    a, b = noisy_state(model, 1, 1.0), noisy_state(model, 2, 1.0)
    whole, small = data((8, 4), 4), data((last, 4), 1, seed=9)
    batches = [x.double() for x in ([*small, *whole] if first else [*whole, *small])]
    spec = permutation_spec(model, whole[0].double())
    (moments,) = streamed(a, b, spec, batches)
    x = torch.cat(batches)
    hidden = [torch.relu(x @ s["0.weight"].T + s["0.bias"]) for s in (a, b)]
    expected = torch.corrcoef(torch.cat(hidden, 1).T)[:6, 6:].nan_to_num()
    torch.testing.assert_close(moments.correlation(), expected, rtol=0, atol=1e-9)
    assert moments.count == pytest.approx(32 + last)


@pytest.mark.parametrize("name", ["resnet20", "bert"])
def test_images_and_tokens_of_a_last_batch(name):
    """A permuted copy is recovered; a permutation of it by all samples twice is no different."""
    model, case = seeded(name), CASES[name]
    inputs = case.inputs()
    spec = permutation_spec(model, inputs, outputs=case.outputs)
    state = noisy_state(model, 1)
    hidden = spec.random(1)
    part = {k: v[:1] for k, v in inputs.items()} if isinstance(inputs, dict) else inputs[:1]
    found = activation_matching(state, hidden.apply(state), spec, [inputs, part])
    whole = activation_matching(state, hidden.apply(state), spec, [inputs, inputs])
    assert found.compose(hidden).fixed_point_share == whole.compose(hidden).fixed_point_share


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
    for shape in ((9, 4), (5, 3)):
        with pytest.raises(RequestError, match=rf"\({shape[0]}, {shape[1]}\)"):
            activation_matching(state, state, spec, [torch.ones(shape)])
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
