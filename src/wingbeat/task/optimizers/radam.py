"""RAdam."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

import torch
from torch import Tensor

from wingbeat.task.optimizers.moments import (
    AdamFamily,
    shrunk,
)
from wingbeat.task.optimizers.pure import State, root
from wingbeat.task.optimizers.registry import pure_form


@pure_form(torch.optim.RAdam)
@dataclass(frozen=True)
class RAdam(AdamFamily):
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

    def coefficients(self, step: int, factor: float) -> tuple[float, ...]:
        """Return the step size, both terms of the denominator and any shrinkage."""
        beta1, beta2 = self.betas
        lr, step = self.lr * factor, step + self.taken
        size = -lr * (1 - beta1) / (1 - beta1 ** (step + 1))
        decay = self.shrinkage(lr)
        rectified = _rectification(beta2, step + 1)
        if rectified == 0:
            return (size, 0.0, 1.0, *decay)
        size *= rectified * sqrt(1 - beta2 ** (step + 1))
        return (size, sqrt(1 - beta2), self.eps, *decay)

    def update(
        self, grad: Tensor, state: Mapping[str, Tensor], params: Tensor, c: Sequence[Tensor]
    ) -> tuple[Tensor, State]:
        """Take one step; see :meth:`PureOptimizer.update`."""
        _, first, second = self.decayed(grad, state, params)
        move = first / (root(second, self.smooth) * c[1] + c[2]) * c[0]
        new = {"gradient_sum": first, "square_sum": second}
        return shrunk(params, c[3:]) + move, new


def _rectification(beta2: float, step: int) -> float:
    """Return the rectification of a step counted from 1; 0 while there is none."""
    longest = 2 / (1 - beta2) - 1
    power: float = beta2**step
    length = longest - 2 * step * power / (1 - power)
    if length <= 5:
        return 0.0
    above = (length - 4) * (length - 2) * longest
    return sqrt(above / ((longest - 4) * (longest - 2) * length))
