"""Alignment by weights: a known permutation is recovered exactly."""

from __future__ import annotations

import itertools

import pytest
import torch
from symmetry_models import CASES, Case, noisy_state, seeded
from symmetry_nets import mlp, resnet20, transformer, vgg11

from wingbeat.errors import RequestError
from wingbeat.symmetry import (
    align,
    aligned_distance,
    descent,
    permutation_spec,
    weight_matching,
)
from wingbeat.symmetry.solved import Solved

LARGE = {
    "mlp 3x512": Case(lambda: mlp(784, 512, 512, 512, 10), lambda: torch.zeros(2, 784), []),
    "vgg11": Case(lambda: vgg11(16), CASES["vgg11"].inputs, []),
    "resnet20": Case(lambda: resnet20(16), CASES["resnet20"].inputs, []),
    "transformer": Case(lambda: transformer(4, 64, 8, 128), CASES["transformer"].inputs, []),
}


def noised(state, size, seed):
    generator = torch.Generator().manual_seed(seed)
    made = {}
    for tensor in state.values():
        if tensor.is_floating_point() and tensor.data_ptr() not in made:
            noise = torch.randn(tensor.shape, generator=generator)
            made[tensor.data_ptr()] = tensor * (1 + size * noise)
        made.setdefault(tensor.data_ptr(), tensor)
    return {name: made[tensor.data_ptr()] for name, tensor in state.items()}


def recover(case, noise, restarts=1):
    torch.manual_seed(0)
    model = case.build().eval()
    spec = permutation_spec(model, case.inputs(), outputs=case.outputs)
    a = noisy_state(model, seed=1, size=0.02)
    p = spec.random(7)
    b = p.apply(noised(a, noise, seed=2))
    found = align(a, b, spec, restarts=restarts)
    assert found == p.inverse()
    assert found.fixed_point_share < 0.5
    if not noise:
        assert aligned_distance(a, b, spec, found) == 0.0


@pytest.mark.parametrize("noise", [0.0, 0.1])
@pytest.mark.parametrize("name", ["mlp", "grouped", "vit"])
def test_a_known_permutation_is_recovered(name, noise):
    recover(CASES[name], noise)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["transformer", "bert", "llama-tied"])
def test_a_known_permutation_is_recovered_in_more_models(name):
    recover(CASES[name], 0.1)


@pytest.mark.long
@pytest.mark.parametrize("name", ["resnet20", "densenet", "gpt2", "t5"])
def test_a_known_permutation_is_recovered_in_the_other_models(name):
    recover(CASES[name], 0.1)


@pytest.mark.slow
@pytest.mark.parametrize("name", LARGE)
def test_a_known_permutation_is_recovered_at_full_width(name):
    recover(LARGE[name], 0.1)


@pytest.mark.long
@pytest.mark.parametrize("name", LARGE)
def test_an_exact_copy_is_recovered_at_full_width(name):
    recover(LARGE[name], 0.0)


def test_the_best_of_all_permutations_of_one_layer():
    """One hidden layer is one assignment, so the optimum is global: compare with all 5!."""
    model = mlp(3, 5, 2).double()
    spec = permutation_spec(model, torch.ones(1, 3).double())
    a, b = noisy_state(model, 1, 1.0), noisy_state(model, 2, 1.0)

    def product(p):
        moved = p.apply(b)
        names = ("0.weight", "0.bias", "2.weight")
        return sum(float((a[name] * moved[name]).sum()) for name in names)

    best = max(
        product(spec.permutation({spec.groups[0].name: order}))
        for order in itertools.permutations(range(5))
    )
    assert product(weight_matching(a, b, spec)) == pytest.approx(best, rel=1e-12)


def test_the_best_heads_and_inner_permutations_together():
    """Heads are chosen by their best inner assignments: as good as all wreath permutations."""
    torch.manual_seed(3)

    class Heads(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = torch.nn.Linear(2, 6, bias=False), torch.nn.Linear(6, 2)

        def forward(self, x):
            parts = torch.relu(self.one(x)).view(-1, 3, 2)
            weights = parts.pow(2).sum(-1, keepdim=True).softmax(1)
            return self.two((parts * weights).flatten(1))

    model = Heads()
    spec = permutation_spec(model, torch.ones(2, 2))
    assert [group.shape for group in spec.groups] == [(3,), (3, 2)]
    a, b = noisy_state(model, 1, 1.0), noisy_state(model, 2, 1.0)
    heads, inner = spec.groups

    def product(p):
        moved = p.apply(b)
        return sum(float((a[n] * moved[n]).double().sum()) for n in ("one.weight", "two.weight"))

    swaps = [[0, 1], [1, 0]]
    best = max(
        product(spec.permutation({heads.name: order, inner.name: rows}))
        for order in itertools.permutations(range(3))
        for rows in itertools.product(swaps, repeat=3)
    )
    assert product(weight_matching(a, b, spec)) == pytest.approx(best, rel=1e-6)


def test_more_restarts_are_never_worse_and_repeat_themselves():
    model = mlp(6, 12, 12, 12, 4)
    spec = permutation_spec(model, torch.ones(1, 6))
    a, b = noisy_state(model, 1, 1.0), noisy_state(model, 2, 1.0)
    one, five = (
        aligned_distance(a, b, spec, weight_matching(a, b, spec, restarts=n)) for n in (1, 5)
    )
    before = aligned_distance(a, b, spec, spec.identity())
    assert five <= one < before
    assert weight_matching(a, b, spec, seed=4) == weight_matching(a, b, spec, seed=4)


def test_both_models_permuted_alike_give_the_same_distance():
    """align(Pa, Qb) reaches what align(a, b) does: the distance is one of equivalence classes."""
    model = mlp(6, 8, 4)
    spec = permutation_spec(model, torch.ones(1, 6))
    a, b = noisy_state(model, 1, 1.0), noisy_state(model, 2, 1.0)
    direct = aligned_distance(a, b, spec)
    moved = aligned_distance(spec.random(1).apply(a), spec.random(2).apply(b), spec)
    assert moved == pytest.approx(direct, rel=1e-12)


def test_a_model_aligned_with_itself_stays():
    case, model = CASES["vit"], seeded("vit")
    spec = permutation_spec(model, case.inputs())
    assert align(model, model, spec).fixed_point_share == 1.0


def test_models_of_another_architecture_are_refused():
    spec = permutation_spec(mlp(6, 8, 4), torch.ones(1, 6))
    with pytest.raises(RequestError, match=r"second model.*0\.weight has \(9, 6\)"):
        align(mlp(6, 8, 4), mlp(6, 9, 4), spec)
    with pytest.raises(RequestError, match=r"first model.*unknown: 4\.weight"):
        align(mlp(6, 8, 8, 4), mlp(6, 8, 4), spec)


def test_missing_and_extra_tensors_are_listed():
    model = mlp(6, 8, 4)
    spec = permutation_spec(model, torch.ones(1, 6))
    state = dict(model.state_dict())
    short = {name: t for name, t in state.items() if not name.endswith("bias")}
    with pytest.raises(RequestError, match=r"missing: 0\.bias, 2\.bias"):
        align(state, short, spec)
    with pytest.raises(RequestError, match="unknown: ema"):
        align({**state, "ema": torch.ones(1)}, state, spec)


def test_weights_that_are_not_finite_are_refused():
    model = mlp(6, 8, 4)
    spec = permutation_spec(model, torch.ones(1, 6))
    bad = {**model.state_dict(), "0.bias": torch.full((8,), float("nan"))}
    with pytest.raises(RequestError, match=r"second model: not finite: 0\.bias"):
        align(model, bad, spec)


def test_requests_that_make_no_sense_are_refused():
    model = mlp(6, 8, 4)
    spec = permutation_spec(model, torch.ones(1, 6))
    with pytest.raises(RequestError, match="did you mean 'weights'"):
        align(model, model, spec, "weight")
    with pytest.raises(RequestError, match="needs batches"):
        align(model, model, spec, "activations")
    with pytest.raises(RequestError, match="restarts=0"):
        align(model, model, spec, restarts=0)


@pytest.mark.parametrize("name", ["mlp", "grouped", "vit"])
def test_what_is_solved_already_is_what_would_be_solved_again(name, monkeypatch):
    """Against a matching that forgets: the same permutation, of a noisy copy and of a stranger."""
    torch.manual_seed(0)
    model = CASES[name].build().eval()
    spec = permutation_spec(model, CASES[name].inputs(), outputs=CASES[name].outputs)
    a, stranger = (noisy_state(model, seed=seed, size=1.0) for seed in (1, 2))
    hits = []

    class Counted(Solved):
        def of(self, *given):
            found = super().of(*given)
            hits.append(self.hits)
            return found

    class Forgetful(Solved):
        def of(self, _name, _terms, _held, solve):
            return solve()

    for b in (spec.random(7).apply(noised(a, 0.1, seed=2)), stranger):
        matched = []
        for kind in (Counted, Forgetful):
            monkeypatch.setattr(descent, "Solved", kind)
            matched.append(weight_matching(a, b, spec, restarts=4))
        assert matched[0] == matched[1]
        assert matched[0] != spec.identity()
    assert max(hits) > 0
