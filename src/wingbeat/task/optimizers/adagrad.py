"""Adagrad."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from wingbeat.task.optimizers.pure import (
    PureOptimizer,
    State,
    check_updates,
    descent,
    gradient_size,
    root,
)
from wingbeat.task.optimizers.registry import pure_form
from wingbeat.task.optimizers.stability import DIVIDED, Threshold, gradient_descent


@pure_form(torch.optim.Adagrad)
@dataclass(frozen=True)
class Adagrad(PureOptimizer):
    """``torch.optim.Adagrad`` for dense gradients.

    Source: Duchi, Hazan and Singer, "Adaptive subgradient methods for online learning
    and stochastic optimization" (2011), figure 1, diagonal form.

    >>> rule = Adagrad(lr=0.5, initial_accumulator_value=9.0)
    >>> params = torch.tensor([1.0])
    >>> c = [torch.tensor(x, dtype=torch.float64) for x in rule.coefficients(0, 1.0)]
    >>> rule.update(torch.tensor([4.0]), rule.start(params), params, c)
    (tensor([0.6000]), {'sum': tensor([25.])})
    """

    squares: ClassVar[tuple[str, ...]] = ("sum",)

    lr: float
    lr_decay: float = 0.0
    weight_decay: float = 0.0
    initial_accumulator_value: float = 0.0
    eps: float = 1e-10
    maximize: bool = False
    smooth: bool = False

    def slots(self) -> tuple[str, ...]:
        """Return ``sum``, as in torch: the sum of squared gradients."""
        return ("sum",)

    def start(self, params: Tensor) -> State:
        """Return the initial accumulator value everywhere, for parameters ``(..., P)``."""
        return {"sum": torch.full_like(params, self.initial_accumulator_value)}

    def resumed(self, own: Mapping[str, Tensor]) -> State:
        """Return torch's sum as it is."""
        return {"sum": own["sum"]}

    def coefficients(self, step: int, factor: float) -> tuple[float, ...]:
        """Return minus the learning rate after its own decay."""
        return (-self.lr * factor / (1 + (step + self.taken) * self.lr_decay),)

    def update(
        self, grad: Tensor, state: Mapping[str, Tensor], params: Tensor, c: Sequence[Tensor]
    ) -> tuple[Tensor, State]:
        """Take one step; see :meth:`PureOptimizer.update`."""
        grad = descent(grad, params, self.weight_decay, self.maximize)
        total = state["sum"] + grad * grad
        move = grad / (root(total, self.smooth) + self.eps) * c[0]
        return params + move, {"sum": total}

    @classmethod
    def settings(
        cls, optimizer: torch.optim.Optimizer, options: Mapping[str, Any], taken: int
    ) -> dict[str, Any]:
        """Return the optimizer's own initial value: torch fills every group's state from it."""
        initial = optimizer.defaults["initial_accumulator_value"]
        return {"initial_accumulator_value": float(initial)}

    def threshold(self, lr: float, step: int) -> Threshold:
        """Return 2/η at the rate after its own decay."""
        now = lr / (1 + (step + self.taken) * self.lr_decay)
        return Threshold(gradient_descent(now), DIVIDED, self.weight_decay, "2/η")

    def preconditioner(self, slots: Mapping[str, Tensor], updates: int) -> Tensor:
        """Return √sum + ε."""
        check_updates(updates)
        return slots["sum"].sqrt() + self.eps

    def natural_scale(self, params: Tensor, slots: Mapping[str, Tensor]) -> State:
        """Return the units of the parameters and of the sum."""
        size = gradient_size(slots["sum"], 1.0, self.eps)
        return {**super().natural_scale(params, slots), "sum": 1 / (2 * size**2)}
