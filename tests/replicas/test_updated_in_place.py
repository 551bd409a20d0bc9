"""Large replicas are updated where they lie, a few columns at a time: the bits stay.

The reference of each stack is the same driver with room for a whole second state, which
``test_loop_equals_torch`` and ``test_lockstep_equals_loop`` hold to PyTorch.
"""

from __future__ import annotations

import pytest
import torch
from torch import nn

import wingbeat as wb
from wingbeat.measure import signal
from wingbeat.replicas import fork, replicas
from wingbeat.replicas.drivers import marks, sparing
from wingbeat.replicas.drivers.lockstep import Lockstep
from wingbeat.replicas.drivers.loop import ObjectLoop
from wingbeat.replicas.replicas import Replicas
from wingbeat.task.batches import Batches, Streams
from wingbeat.task.optimizers import Sgd
from wingbeat.task.state import State
from wingbeat.task.step import TrainingStep

CPU = torch.device("cpu")
X = torch.randn(24, 6, generator=torch.Generator().manual_seed(0))
COPIES, STEPS = 4, 3


class Product(nn.Module):
    """Each factor's derivative is the other factor's own memory."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Parameter(torch.randn(5)), nn.Parameter(torch.randn(5))


def net():
    layers = [nn.Linear(6, 7), nn.GELU(), nn.BatchNorm1d(7), nn.Dropout(0.2), nn.Linear(7, 2)]
    return nn.Sequential(*layers)


def in_groups(params):
    first, *rest = params
    return torch.optim.AdamW(
        [{"params": [first]}, {"params": rest, "lr": 0.02, "weight_decay": 0.0}], lr=0.01
    )


class OfWholeVector(Sgd):
    """Divides by the gradient's length: no element by itself."""

    def update(self, grad, state, params, c):
        return params + grad / (1 + grad.abs().sum(-1, keepdim=True)) * c[0], {}


def task(optimizer, model=net, **options):
    def loss(model, batch):
        return (model.a * model.b).sum() if isinstance(model, Product) else model(batch[0]).var()

    own = {"batch_size": 8, "steps": STEPS, "data": (X,), **options}
    return wb.Task(model=model, loss=loss, optimizer=optimizer, **own)


def of(kind, **options):
    return lambda params: getattr(torch.optim, kind)(params, **options)


CASES = {
    "SGD": (of("SGD", lr=0.1), {}),
    "momentum": (of("SGD", lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.1), {}),
    "AdamW": (of("AdamW", lr=0.01), {}),
    "AMSGrad": (of("Adam", lr=0.01, amsgrad=True), {}),
    "groups": (in_groups, {}),
    "clipped": (of("AdamW", lr=0.01), {"clip_norm": 0.01}),
    "accumulated": (of("SGD", lr=0.1, momentum=0.9), {"accumulate": 2}),
    "product": (of("SGD", lr=0.1), {"model": Product}),
}
FAST = ("groups", "product")


def advanced(made, way):
    """Return a stack after a few steps: "whole" by a call, "in place" by ``use_up``."""
    step = TrainingStep(made, torch.float32, CPU)
    batches, driver = Batches(made, torch.float32, CPU), Lockstep(step)
    start = step.start(0)
    noise = torch.randn(COPIES, step.layout.size, generator=torch.Generator().manual_seed(1))
    state = start.map(lambda t: torch.stack([t] * COPIES))
    state = State(state.params + 0.01 * noise, state.buffers, state.slots)
    losses = []
    for index in range(STEPS):
        torch.manual_seed(index)
        take = driver if way == "whole" else driver.use_up
        before = state.params.data_ptr()
        state, loss = take(state, batches.batch(Streams.of(0), index), index)
        if way == "in place":
            assert state.params.data_ptr() == before
        losses.append(loss)
    return [state.params, *state.buffers.values(), *state.slots.values(), *losses]


def all_large(monkeypatch):
    for module in (fork, replicas, marks, sparing):
        monkeypatch.setattr(module, "LARGE", -1)


@pytest.mark.parametrize(
    "case", [pytest.param(name, marks=() if name in FAST else pytest.mark.slow) for name in CASES]
)
def test_a_stack_in_place_is_the_stack_in_two(case, monkeypatch):
    optimizer, options = CASES[case]
    made = task(optimizer, **options)
    expected = advanced(made, "whole")
    all_large(monkeypatch)
    monkeypatch.setattr(sparing, "_NUMBERS", 3 * COPIES)  # pieces that end within a tensor
    found = advanced(made, "in place")
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_a_rule_that_needs_whole_vectors_is_not_cut():
    step = TrainingStep(task(of("SGD", lr=0.1)), torch.float32, CPU)
    assert sparing._in_pieces(step, Sgd(lr=0.1, momentum=0.9), 1)
    assert not sparing._in_pieces(step, OfWholeVector(lr=0.1), 1)


@pytest.mark.parametrize("exponent", [1, 2, 3])
def test_small_powers_round_alike_in_all_places_of_a_tensor(exponent):
    for number in torch.randn(40, generator=torch.Generator().manual_seed(2)):
        for size in (1, 7, 33, 70):
            found = number.expand(size).clone().pow(exponent)
            assert (found == found[0]).all()


def test_what_a_fork_moved_and_its_noise_are_those_of_one_piece(monkeypatch):
    monkeypatch.setattr(fork, "_PIECE", 5)
    after, before = torch.randn(2, 23, generator=torch.Generator().manual_seed(3))
    assert torch.equal(fork._moved(after, before), after.double() - before)
    monkeypatch.setattr(signal, "_BLOCK", 32)
    for size in (7, 40, 64, 95, 131):
        weights, eps = torch.randn(size), 1e-3
        drawn = torch.randn(size, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
        expected = (weights.double() * (1 + eps * drawn)).to(torch.float32)
        signal._move(weights, eps, torch.Generator().manual_seed(4))
        assert torch.equal(weights, expected)


class Failing(torch.optim.SGD):
    """Fails in its sixth step: the third of the second of two replicas."""

    calls = 0

    def step(self, closure=None):
        type(self).calls += 1
        if type(self).calls == 6:
            raise ValueError("no more")
        return super().step(closure)


@pytest.mark.parametrize("in_place", [False, True])
def test_a_step_that_fails_leaves_all_replicas_before_it_or_says_so(in_place, monkeypatch):
    monkeypatch.setattr(Failing, "calls", 0)
    made = task(lambda params: Failing(params, lr=0.1))
    step = TrainingStep(made, torch.float32, CPU)
    own = Replicas(ObjectLoop(step), Batches(made, torch.float32, CPU), 1)
    start = step.start(0).map(lambda t: t.unsqueeze(0))
    streams = Streams.of(0)
    own.place([fork.twin(name, streams) for name in ("reference", "null")], [start, start])
    for index in range(2):
        own.advance(index, in_place=in_place)
    before = [state.params.clone() for state in own.states()]
    with pytest.raises(wb.RunError, match="no more"):
        own.advance(2, in_place=in_place)
    same = [torch.equal(a, s.params) for a, s in zip(before, own.states(), strict=True)]
    assert own.whole == all(same) == (not in_place)


def test_states_that_share_memory_do_not_once_they_are_placed():
    made = task(of("AdamW", lr=0.01))
    step = TrainingStep(made, torch.float32, CPU)
    own = Replicas(ObjectLoop(step), Batches(made, torch.float32, CPU), 1)
    start = step.start(0).map(lambda t: t.unsqueeze(0))
    members = [fork.twin(name, Streams.of(0)) for name in ("reference", "null")]
    own.place(members, [start, start], given=True)
    first, second = own.states()
    assert first.params.data_ptr() == start.params.data_ptr(), "taken as it is"
    mine, others = ([s.params, *s.slots.values()] for s in (first, second))
    pairs = zip(mine, others, strict=True)
    assert all(a.data_ptr() != b.data_ptr() and torch.equal(a, b) for a, b in pairs)


def test_a_model_that_was_let_go_is_made_again_or_refused():
    draws = iter([0, 0, 1])

    def model():
        made = nn.Linear(6, 1)
        with torch.no_grad():
            made.bias.fill_(next(draws))
        return made

    step = TrainingStep(task(of("SGD", lr=0.1), model=model), torch.float32, CPU)
    first = step.start(0).params
    step.models.let_go()
    step.renew()
    assert torch.equal(step.start(0).params, first)
    step.models.let_go()
    with pytest.raises(wb.RunError, match="other weights under the same seed"):
        step.renew()
