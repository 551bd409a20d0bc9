"""What is not held beside a large stack: a model's weights, a plain loop's state, old stacks."""

from __future__ import annotations

import weakref

import pytest
import torch
from run import tasks

import wingbeat as wb
from wingbeat.execution import session
from wingbeat.params import trainable
from wingbeat.replicas import fork, replicas, snapshot, training_run
from wingbeat.replicas.drivers import large_net, marks, selection, sparing
from wingbeat.replicas.drivers.lockstep import DisprovedError, Lockstep
from wingbeat.replicas.drivers.marks import equal, mark
from wingbeat.task.step import TrainingStep

CPU = torch.device("cpu")


@pytest.fixture
def all_are_large(monkeypatch):
    for module in (session, snapshot, fork, replicas, training_run, marks, sparing):
        monkeypatch.setattr(module, "LARGE", -1)
    monkeypatch.setattr(large_net, "_LARGEST", 0)


def weights(step):
    return step.layout.flatten({n: p.detach() for n, p in trainable(step.shell).items()})


def flat(model, step):
    return step.layout.flatten({n: p.detach() for n, p in trainable(model).items()})


@pytest.mark.parametrize("let_go", [False, True])
def test_a_model_that_was_put_away_has_a_starts_weights_once_somebody_asks(let_go):
    step = TrainingStep(tasks.plain(), torch.float32, CPU)
    start = step.start(step.task.seed)
    step.called.put_away()
    if let_go:
        step.models.let_go()
    assert weights(step).numel() == 0, "its memory is free"
    assert torch.equal(flat(step.skeleton, step), start.params)
    assert step.models.keeps is not let_go, "what was let go is not kept again"


def test_a_model_that_was_put_away_takes_a_replicas_weights():
    step = TrainingStep(tasks.plain(), torch.float32, CPU)
    start = step.start(step.task.seed)
    other = type(start)(start.params + 1, start.buffers, start.slots)
    step.called.put_away()
    step.put(other.params, other.buffers)
    assert not step.called.away
    assert torch.equal(weights(step), other.params)
    assert weights(step).data_ptr() != other.params.data_ptr()


@pytest.mark.usefixtures("all_are_large")
def test_a_large_run_in_lock_step_holds_no_model_and_no_optimizer_state(monkeypatch):
    seen, real = [], training_run.TrainingRun.update

    def update(own):
        seen.append((weights(own.step).numel(), len(own.step.owner.state)))
        return real(own)

    monkeypatch.setattr(training_run.TrainingRun, "update", update)
    sessions, made = [], session.Session.__init__
    monkeypatch.setattr(
        session.Session, "__init__", lambda own, *a: (sessions.append(own), made(own, *a))[1]
    )
    task = tasks.plain(optimizer=tasks.momentum)
    result = wb.run(task, wb.Gaussian(0.01), replicas=2, driver="lockstep", progress=False)
    assert result.environment["driver"] == "lockstep"
    assert set(seen) == {(0, 0)}
    (own,) = sessions
    last = list(result.trajectory)[-1].params
    expected = own.step.layout.flatten({name: t[0] for name, t in last.items()})
    assert torch.equal(weights(own.step), expected), "afterwards the reference's"


@pytest.mark.parametrize("large", [False, True])
def test_a_mode_that_fails_leaves_no_stack_to_the_next(large, monkeypatch, request):
    if large:
        request.getfixturevalue("all_are_large")
    stacks, real = [], selection.hold_to_plain

    def hold(step, stack, *rest):
        stacks.append(weakref.ref(stack))
        if len(stacks) == 1:
            raise wb.DriverError("not in this mode")
        assert stacks[0]() is None
        return real(step, stack, *rest)

    monkeypatch.setattr(selection, "hold_to_plain", hold)
    result = wb.run(tasks.plain(), wb.Gaussian(0.01), replicas=2, driver="lockstep", progress=False)
    assert (result.environment["mode"], len(stacks)) == ("eager", 2)


def test_lock_step_that_is_given_up_leaves_no_stack_to_the_loop(monkeypatch):
    stacks, began = [], training_run.TrainingRun.begin

    def prove(own, state, batch, index):
        stacks.append(weakref.ref(state.params))
        raise DisprovedError("another step")

    def begin(own):
        assert all(ref() is None for ref in stacks)
        return began(own)

    monkeypatch.setattr(Lockstep, "prove", prove)
    monkeypatch.setattr(training_run.TrainingRun, "begin", begin)
    result = wb.run(tasks.plain(), wb.Gaussian(0.01), replicas=2, driver="lockstep", progress=False)
    assert stacks
    assert result.environment["gave_up"]


SHAPES = [(3,), (3, 5), (3, 5, 7), (3, 5, 7, 2), (3, 300, 2)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("width", [1, 4, 14, 10_000])
def test_gradients_laid_flat_in_pieces_are_those_in_one_piece(shape, width):
    numbers = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    lying = [numbers, numbers.transpose(0, -1).contiguous().transpose(0, -1)]
    if len(shape) > 2:
        lying.append(numbers.transpose(1, 2).contiguous().transpose(1, 2))
    for grad in lying:
        pieces = list(sparing._laid_flat([grad], width))
        assert all(piece.shape[1] <= width for piece in pieces)
        assert torch.equal(torch.cat(pieces, dim=1), numbers.reshape(3, -1))
    both = list(sparing._laid_flat([numbers, numbers[:, :1] if len(shape) > 1 else numbers], width))
    assert torch.equal(torch.cat(both, dim=1)[:, : numbers[0].numel()], numbers.reshape(3, -1))


def test_a_digest_does_not_tell_how_a_tensor_lies(monkeypatch):
    monkeypatch.setattr(marks, "_BLOCK", 12)
    monkeypatch.setattr(marks, "_LEAST", 0)
    numbers = torch.randn(4, 5, 6, generator=torch.Generator().manual_seed(0))
    for a, b in ((0, 1), (1, 2), (0, 2)):
        lying = numbers.transpose(a, b).contiguous().transpose(a, b)
        assert equal(mark([lying], always=True), mark([numbers], always=True))
