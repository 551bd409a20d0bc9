"""Stochastic gradient descent with momentum."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from wingbeat.task.optimizers.pure import PureOptimizer, State, descent
from wingbeat.task.optimizers.registry import pure_form
from wingbeat.task.optimizers.stability import Threshold, nesterov, polyak, unknown


@pure_form(torch.optim.SGD)
@dataclass(frozen=True)
class Sgd(PureOptimizer):
    """``torch.optim.SGD``: momentum, Nesterov, dampening, L2 penalty.

    Source: Sutskever et al., "On the importance of initialization and momentum in
    deep learning" (2013), section 2, in the form that torch documents: the learning
    rate multiplies the buffer when it is applied, and the first step is not dampened.

    >>> import torch
    >>> rule = Sgd(lr=0.5)
    >>> c = [torch.tensor(x, dtype=torch.float64) for x in rule.coefficients(0, 1.0)]
    >>> rule.update(torch.tensor([2.0]), {}, torch.tensor([3.0]), c)
    (tensor([2.]), {})
    """

    lr: float
    momentum: float = 0.0
    dampening: float = 0.0
    weight_decay: float = 0.0
    nesterov: bool = False
    maximize: bool = False

    def slots(self) -> tuple[str, ...]:
        """Return ``momentum_buffer``, as in torch, or nothing without momentum."""
        return ("momentum_buffer",) if self.momentum else ()

    def resumed(self, own: Mapping[str, Tensor]) -> State:
        """Return torch's momentum buffer as it is."""
        return {slot: own[slot] for slot in self.slots()}

    def coefficients(self, step: int, factor: float) -> tuple[float, ...]:
        """Return minus the learning rate and, with dampening, the gradient's share."""
        rate = -self.lr * factor
        if not (self.momentum and self.dampening):
            return (rate,)
        return rate, 1 - self.dampening if step + self.taken else 1.0

    def update(
        self, grad: Tensor, state: Mapping[str, Tensor], params: Tensor, c: Sequence[Tensor]
    ) -> tuple[Tensor, State]:
        """Take one step; see :meth:`PureOptimizer.update`."""
        grad = descent(grad, params, self.weight_decay, self.maximize)
        if not self.momentum:
            return params + grad * c[0], {}
        share = grad * c[1] if self.dampening else grad
        buffer = state["momentum_buffer"] * self.momentum + share
        move = grad + buffer * self.momentum if self.nesterov else buffer
        return params + move * c[0], {"momentum_buffer": buffer}

    @classmethod
    def steps_taken(cls, own: Mapping[str, Any], options: Mapping[str, Any]) -> int:
        """Return 1 for any number but 0: it keeps no count, and only its first step differs."""
        return int(bool(options.get("momentum")) and own.get("momentum_buffer") is not None)

    def rests_at_zero(self) -> bool:
        """Tell whether it is plain gradient descent."""
        return not self.momentum and not self.weight_decay

    def threshold(self, lr: float, step: int) -> Threshold:
        """Return 2/η, more with momentum, less with Nesterov's."""
        beta, decay = self.momentum, self.weight_decay
        if self.nesterov and beta:
            return Threshold(nesterov(lr, beta), penalty=decay, formula="(2 + 2β)/(η(1 + 2β))")
        if not (beta and self.dampening):
            formula = "(2 + 2β)/η" if beta else "2/η"
            return Threshold(polyak(lr, beta), penalty=decay, formula=formula)
        share = 1 - self.dampening
        if share <= 0:
            return unknown("dampening leaves nothing of the gradient")
        formula = "(2 + 2β)/(η(1 − dampening))"
        return Threshold(polyak(lr * share, beta), penalty=decay, formula=formula)
