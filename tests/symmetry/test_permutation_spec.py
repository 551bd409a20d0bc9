from __future__ import annotations

import pickle

import pytest
import torch
from symmetry_models import CASES, ids, noisy_state, seeded
from symmetry_nets import DenseNet, GroupedNet, mlp
from torch import Tensor, nn
from torch.nn import functional as F

from wingbeat.errors import RequestError
from wingbeat.symmetry import permutation_spec
from wingbeat.symmetry.check import evaluate, gap

QUICK = ("mlp", "vgg11", "densenet", "grouped", "vit")
VARIANTS = ("bert-eager", "llama-tied", "resnet20-padded")
SLOW = tuple(name for name in CASES if name not in QUICK + VARIANTS)


def check(name):
    """Hand-counted groups, and f(P θ) = f(θ) in float64 on weights of our own."""
    case, model = CASES[name], seeded(name)
    spec = permutation_spec(model, case.inputs(), outputs=case.outputs)
    assert sorted(group.shape for group in spec.groups) == sorted(case.groups)
    assert not [axis for axis in spec.blocked if axis.reason == "numerical check"]
    assert spec.largest_gap <= 1e-10
    state = noisy_state(model, seed=5)
    before = evaluate(model, state, case.inputs(), case.outputs)
    assert max(float(out.abs().max()) for out in before) > 1e-6
    for permutation in (spec.random(11), spec.random(12, uniform=True)):
        moved = permutation.apply(state)
        assert any(not torch.equal(moved[key], state[key]) for key in state)
        assert gap(before, evaluate(model, moved, case.inputs(), case.outputs)) <= 1e-10


@pytest.mark.parametrize("name", QUICK)
def test_groups_and_function(name):
    check(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_groups_and_function_of_larger_models(name):
    check(name)


@pytest.mark.long
@pytest.mark.parametrize("name", VARIANTS)
def test_groups_and_function_of_variants(name):
    check(name)


def test_the_float64_check_sees_a_wrong_group():
    """Moving one tensor alone changes the outputs far above the tolerance."""
    model = seeded("mlp")
    state = noisy_state(model)
    x = CASES["mlp"].inputs()
    wrong = {**state, "0.bias": state["0.bias"].flip(0)}
    assert gap(evaluate(model, state, x), evaluate(model, wrong, x)) > 1e-3


def test_members_and_reasons():
    spec = permutation_spec(mlp(4, 6, 3), torch.ones(1, 4))
    (group,) = spec.groups
    assert group.members == (("0.weight", 0), ("0.bias", 0), ("2.weight", 1))
    assert {(b.parameter, b.axis, b.reason) for b in spec.blocked} == {
        ("0.weight", 1, "input"),
        ("2.weight", 0, "output"),
        ("2.bias", 0, "output"),
    }


class Ordered(nn.Module):
    """The hidden layer is summed up in order, which no permutation survives."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.three = nn.Linear(3, 5), nn.Linear(5, 6), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.three(F.relu(self.two(torch.cumsum(self.one(x), -1))))


def test_what_cannot_be_proved_is_blocked_by_name():
    spec = permutation_spec(Ordered(), torch.ones(2, 3))
    assert [group.shape for group in spec.groups] == [(6,)]
    reasons = {(b.parameter, b.axis): b.reason for b in spec.blocked}
    assert reasons["one.weight", 0] == "cumsum (cumsum)"
    assert reasons["two.weight", 1] == "cumsum (cumsum)"


class Unknown(Ordered):
    def forward(self, x: Tensor) -> Tensor:
        return self.three(F.relu(self.two(torch.fft.fft(self.one(x)).real)))


def test_an_operation_without_a_rule_pins_what_it_touches():
    spec = permutation_spec(Unknown(), torch.ones(2, 3))
    assert [group.shape for group in spec.groups] == [(6,)]
    assert any("fft" in axis.reason for axis in spec.blocked)


class Hidden(nn.Module):
    """An elementwise operation that is none: the check has to find out."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(3, 5), nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.two(F.relu(self.one(x)))


def test_a_group_that_fails_the_check_is_fixed(monkeypatch):
    from wingbeat.symmetry import check as module

    real = module.evaluate

    def biased(model, state, inputs, outputs=None):
        weight = state["one.weight"].double()
        return [*real(model, state, inputs, outputs), weight.sum(1) * torch.arange(5.0).double()]

    monkeypatch.setattr(module, "evaluate", biased)
    spec = permutation_spec(Hidden(), torch.ones(2, 3))
    assert spec.groups == ()
    assert ("one.weight", 0, "numerical check") in {
        (b.parameter, b.axis, b.reason) for b in spec.blocked
    }


def test_a_fixed_buffer_is_not_permuted():
    """A buffer that training does not touch must not move, or merged models would differ."""

    class Scaled(Hidden):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("scale", torch.arange(1.0, 6.0))

        def forward(self, x: Tensor) -> Tensor:
            return self.two(F.relu(self.one(x) * self.scale))

    spec = permutation_spec(Scaled(), torch.ones(2, 3))
    assert spec.groups == ()
    assert {b.reason for b in spec.blocked} >= {"buffer scale"}


def test_one_constant_tensor_ties_nothing():
    class Padded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Linear(3, 4), nn.Linear(3, 4)
            self.head = nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            zero = torch.zeros(x.shape[0], 4)
            return self.head(self.one(x) + zero) + self.head(self.two(x) * 0 + zero)

    spec = permutation_spec(Padded(), torch.ones(2, 3))
    assert [group.shape for group in spec.groups] == [(4,)]  # tied by the head, which both use


def test_a_module_used_twice_and_a_transposed_weight():
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.up, self.mix = nn.Linear(3, 7), nn.Linear(7, 7)

        def forward(self, x: Tensor) -> Tensor:
            hidden = self.mix(torch.tanh(self.mix(self.up(x))))
            return F.linear(hidden, self.up.weight.T)

    spec = permutation_spec(Twice(), torch.ones(2, 3))
    assert [group.shape for group in spec.groups] == [(7,)]
    assert ("mix.weight", 0) in spec.groups[0].members
    assert ("mix.weight", 1) in spec.groups[0].members


def test_depthwise_and_grouped_members():
    spec = permutation_spec(GroupedNet(), torch.ones(1, 3, 8, 8))
    inner = [group for group in spec.groups if group.parents]
    assert [group.size for group in inner] == [3, 6]
    assert all(group.parents == (spec.groups[0].name,) for group in inner)
    assert ("depth.weight", 0) in inner[1].members


def test_a_concatenation_keeps_pieces_apart():
    spec = permutation_spec(DenseNet(layers=(2,)), torch.ones(1, 3, 8, 8))
    pieces = [g for g in spec.groups if ("between.0.0.weight", 0) in g.members]
    assert [g.size for g in pieces] == [6, 4, 4]


def test_the_mode_of_the_model_is_left_alone():
    model = seeded("vgg11").train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    permutation_spec(model, CASES["vgg11"].inputs())
    assert all(module.training for module in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_it_pickles_and_says_what_it_lost():
    from wingbeat.symmetry import activation_matching

    model = mlp(3, 4, 2)
    spec = pickle.loads(pickle.dumps(permutation_spec(model, torch.ones(1, 3))))
    assert spec.random(3).inverse().compose(spec.random(3)) == spec.identity()
    with pytest.raises(RequestError, match="permutation_spec again"):
        activation_matching(model.state_dict(), model.state_dict(), spec, [torch.ones(1, 3)])


def test_random_outputs_are_refused():
    class Noisy(Hidden):
        def forward(self, x: Tensor) -> Tensor:
            return self.two(F.dropout(F.relu(self.one(x)), 0.5, training=True))

    with pytest.raises(RequestError, match="random"):
        permutation_spec(Noisy(), torch.ones(8, 3))


def test_outputs_that_are_not_finite_are_refused():
    class Broken(Hidden):
        def forward(self, x: Tensor) -> Tensor:
            return self.two(self.one(x)) / 0.0

    with pytest.raises(RequestError, match="not finite"):
        permutation_spec(Broken(), torch.ones(2, 3))


def test_a_model_that_cannot_be_exported_is_refused():
    class Branching(Hidden):
        def forward(self, x: Tensor) -> Tensor:
            return self.one(x) if x.sum() > 0 else self.two(self.one(x))

    with pytest.raises(RequestError, match="Branching"):
        permutation_spec(Branching(), torch.ones(2, 3))


@pytest.mark.slow
def test_a_returned_state_is_fixed_unless_outputs_are_chosen():
    model = seeded("t5")
    inputs = {**ids(), "decoder_input_ids": ids()["input_ids"]}
    everything = permutation_spec(model, inputs, check=False)
    assert len(everything.groups) < len(CASES["t5"].groups)
    assert any(axis.reason == "output" and axis.size == 24 for axis in everything.blocked)


@pytest.mark.slow
def test_training_mode_at_export_changes_nothing():
    case = CASES["resnet20"]
    spec = permutation_spec(seeded("resnet20").train(), case.inputs())
    assert sorted(group.shape for group in spec.groups) == sorted(case.groups)


@pytest.mark.parametrize("equation", ["bi,oi->bo", "...i,oi->...o"])
def test_einsum_with_and_without_an_ellipsis(equation):
    """The second has no rule of its own: the decomposed graph shows what it is made of."""

    class Summed(Hidden):
        def forward(self, x: Tensor) -> Tensor:
            hidden = F.relu(torch.einsum(equation, x, self.one.weight))
            return torch.einsum(equation, hidden, self.two.weight)

    spec = permutation_spec(Summed(), torch.ones(2, 3))
    assert [group.shape for group in spec.groups] == [(5,)]


def test_transposed_convolutions():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.ConvTranspose2d(8, 6, 3, groups=2), nn.ReLU(),
        nn.Conv2d(6, 2, 1),
    )  # fmt: skip
    spec = permutation_spec(model, torch.ones(1, 3, 8, 8))
    assert sorted(group.shape for group in spec.groups) == [(2,), (2, 3), (2, 4)]
    assert spec.largest_gap <= 1e-10
