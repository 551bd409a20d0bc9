"""What every pure form of an optimizer must do: the conformance suite for `pure_form`."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from wingbeat.task.optimizers import PureOptimizer, pure_optimizer, resumed_state

_SIZE = 37  # a 4-6-1 net; odd, so that vector lanes leave a scalar tail
_STEPS = 50
_ROUNDING = 1e-11  # over _STEPS steps in float64; the built-in forms stay below 2e-12
_POINTS = torch.randn(40, 4, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
_TARGET = torch.sin(2 * _POINTS[:, 0]) + _POINTS[:, 1] * _POINTS[:, 2]


class OptimizerConformance(ABC):
    """Tests of a pure form; subclass it and say how the optimizer is made.

    Use a learning rate at which training is calm: on an unstable run any two roundings part.

    Example:
        >>> class TestAdam(OptimizerConformance):
        ...     def make_optimizer(self, parameters):
        ...         return torch.optim.Adam(parameters, lr=0.001)
        >>> TestAdam().test_the_same_weights_as_the_object()
    """

    @abstractmethod
    def make_optimizer(self, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        """Return a fresh optimizer of the parameters."""

    def test_the_same_weights_as_the_object(self) -> None:
        """After fifty steps the pure form has the object's weights to rounding, and they moved."""
        optimizer, theirs = self._made()
        rule = pure_optimizer(optimizer)
        ours, _ = _pure(rule, _weights(), rule.start(_weights()), range(_STEPS))
        expected = _stepped(optimizer, theirs, _STEPS)
        assert not torch.equal(expected, _weights())
        assert _apart(ours, expected) < _ROUNDING

    def test_a_loaded_state_goes_on(self) -> None:
        """Handed over in the middle of a run, the pure form ends where the object does."""
        optimizer, theirs = self._made()
        middle = _stepped(optimizer, theirs, 7)
        rule = pure_optimizer(optimizer)
        state = resumed_state(rule, optimizer, [[theirs]]) or rule.start(middle)
        ours, _ = _pure(rule, middle, state, range(20))
        assert _apart(ours, _stepped(optimizer, theirs, 20)) < _ROUNDING

    def test_replicas_are_single_runs_bit_for_bit(self) -> None:
        """In a stack each replica has the bits that it has alone, also in float32."""
        rule = pure_optimizer(self._made()[0])
        for dtype in (torch.float32, torch.float64):
            stack = torch.stack([_weights(seed).to(dtype) for seed in range(5)])
            state, alone = rule.start(stack), [(row, rule.start(row)) for row in stack]
            together = torch.func.vmap(rule.update, in_dims=(0, 0, 0, None))
            for step in range(8):
                c, slopes = _numbers(rule, step), torch.sin(3 * stack)
                stack, state = together(slopes, state, stack, c)
                alone = [rule.update(g, s, p, c) for g, (p, s) in zip(slopes, alone, strict=True)]
            assert stack.dtype == dtype
            assert torch.equal(stack, torch.stack([params for params, _ in alone]))
            for slot in rule.slots():
                assert torch.equal(state[slot], torch.stack([own[slot] for _, own in alone]))

    def test_units_and_scale_are_of_the_weights_shape(self) -> None:
        """What it says of its own step is positive and as long as the weights."""
        rule = pure_optimizer(self._made()[0])
        params, state = _pure(rule, _weights(), rule.start(_weights()), range(3))
        scales = rule.natural_scale(params, state)
        assert scales.keys() <= {"parameters", *rule.slots()}
        divisor = rule.preconditioner(state, 3)
        for found in (*scales.values(), *(() if divisor is None else (divisor,))):
            assert found.shape == params.shape
            assert bool((found > 0).all())

    def _made(self) -> tuple[torch.optim.Optimizer, nn.Parameter]:
        theirs = nn.Parameter(_weights())
        return self.make_optimizer([theirs]), theirs


def _loss(flat: Tensor) -> Tensor:
    """Return the squared error of a tanh net on fixed data: not convex, no unit saturates."""
    hidden = torch.tanh(_POINTS @ flat[:24].reshape(4, 6) + flat[24:30])
    return ((hidden @ flat[30:36] + flat[36] - _TARGET) ** 2).mean()


def _slope(flat: Tensor) -> Tensor:
    leaf = flat.detach().requires_grad_()
    return torch.autograd.grad(_loss(leaf), leaf)[0]


def _weights(seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(_SIZE, generator=generator, dtype=torch.float64) * 0.5


def _numbers(rule: PureOptimizer, step: int) -> list[Tensor]:
    return [torch.tensor(x, dtype=torch.float64) for x in rule.coefficients(step, 1.0)]


def _pure(
    rule: PureOptimizer, params: Tensor, state: dict[str, Tensor], steps: range
) -> tuple[Tensor, dict[str, Tensor]]:
    for step in steps:
        params, state = rule.update(_slope(params), state, params, _numbers(rule, step))
    return params, state


def _stepped(optimizer: torch.optim.Optimizer, theirs: nn.Parameter, steps: int) -> Tensor:
    for _ in range(steps):
        theirs.grad = _slope(theirs)
        optimizer.step()
    return theirs.detach().clone()


def _apart(a: Tensor, b: Tensor) -> float:
    assert bool(torch.isfinite(b).all())
    return float((a - b).abs().max() / b.abs().max())
