"""RAdam."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import ClassVar

import torch
from torch import Tensor

from wingbeat.task.optimizers.moments import (
    SLOTS,
    SQUARES,
    decayed_sums,
    moment_scales,
    shrinkage,
    shrunk,
    sums_of,
)
from wingbeat.task.optimizers.pure import PureOptimizer, State, check_rate, descent, root
from wingbeat.task.optimizers.registry import pure_form


@pure_form(torch.optim.RAdam)
@dataclass(frozen=True)
class RAdam(PureOptimizer):
    """``torch.optim.RAdam``: Adam that starts as plain momentum.

    Source: Liu et al., "On the variance of the adaptive learning rate and beyond"
    (2020), algorithm 2; as in torch, the rectified form begins above a length of 5.
    State: see :mod:`~.moments`.

    Until then the coefficients make the denominator 0 times the root plus 1, so that
    the operations are the same at every step.

    >>> import torch
    >>> rule = RAdam(lr=0.1)
    >>> params = torch.tensor([1.0])
    >>> c = [torch.tensor(x, dtype=torch.float64) for x in rule.coefficients(0, 1.0)]
    >>> rule.update(torch.tensor([2.0]), rule.start(params), params, c)[0]
    tensor([0.8000])
    """

    squares: ClassVar[tuple[str, ...]] = SQUARES

    lr: float
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0
    decoupled_weight_decay: bool = False
    maximize: bool = False
    smooth: bool = False

    def __post_init__(self) -> None:
        for beta in self.betas:
            check_rate("RAdam", "beta", beta)

    def slots(self) -> tuple[str, ...]:
        """Return the two decayed sums."""
        return SLOTS

    def resumed(self, own: Mapping[str, Tensor]) -> State:
        """Return torch's averages as decayed sums."""
        return sums_of(own, self.betas)

    def coefficients(self, step: int, factor: float) -> tuple[float, ...]:
        """Return the step size, both terms of the denominator and any shrinkage."""
        beta1, beta2 = self.betas
        lr, step = self.lr * factor, step + self.taken
        size = -lr * (1 - beta1) / (1 - beta1 ** (step + 1))
        decay = shrinkage(lr, self.weight_decay, self.decoupled_weight_decay)
        rectified = _rectification(beta2, step + 1)
        if rectified == 0:
            return (size, 0.0, 1.0, *decay)
        size *= rectified * sqrt(1 - beta2 ** (step + 1))
        return (size, sqrt(1 - beta2), self.eps, *decay)

    def update(
        self, grad: Tensor, state: Mapping[str, Tensor], params: Tensor, c: Sequence[Tensor]
    ) -> tuple[Tensor, State]:
        """Take one step; see :meth:`PureOptimizer.update`."""
        penalty = 0.0 if self.decoupled_weight_decay else self.weight_decay
        grad = descent(grad, params, penalty, self.maximize)
        first, second = decayed_sums(grad, state, self.betas)
        move = first / (root(second, self.smooth) * c[1] + c[2]) * c[0]
        new = {"gradient_sum": first, "square_sum": second}
        return shrunk(params, c[3:]) + move, new

    def natural_scale(self, params: Tensor, slots: Mapping[str, Tensor]) -> State:
        """Return the units of the parameters and of both sums."""
        own = super().natural_scale(params, slots)
        return {**own, **moment_scales(slots, self.betas, self.eps)}


def _rectification(beta2: float, step: int) -> float:
    """Return the rectification of a step counted from 1; 0 while there is none."""
    longest = 2 / (1 - beta2) - 1
    power: float = beta2**step
    length = longest - 2 * step * power / (1 - power)
    if length <= 5:
        return 0.0
    above = (length - 4) * (length - 2) * longest
    return sqrt(above / ((longest - 4) * (longest - 2) * length))
