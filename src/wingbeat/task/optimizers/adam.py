"""Adam and AdamW."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from wingbeat.task.optimizers.moments import (
    SLOTS,
    AdamFamily,
    root_scale,
    shrunk,
)
from wingbeat.task.optimizers.pure import (
    State,
    check_updates,
    root,
)
from wingbeat.task.optimizers.registry import pure_form
from wingbeat.task.optimizers.stability import DIVIDED, Threshold, adam


@pure_form(torch.optim.Adam, torch.optim.AdamW)
@dataclass(frozen=True)
class Adam(AdamFamily):
    """``torch.optim.Adam`` and, with ``decoupled_weight_decay``, ``AdamW``.

    Sources: Kingma and Ba, "Adam" (2015), algorithm 1 with the reordering at the end
    of section 2; Loshchilov and Hutter, "Decoupled weight decay regularization"
    (2019), algorithm 2; Reddi et al., "On the convergence of Adam and beyond" (2018).

    State: see :mod:`~.moments`. A step is ten operations.

    >>> rule = Adam(lr=0.1)
    >>> params = torch.tensor([1.0, 1.0])
    >>> c = [torch.tensor(x, dtype=torch.float64) for x in rule.coefficients(0, 1.0)]
    >>> rule.update(torch.tensor([5.0, -0.1]), rule.start(params), params, c)[0]
    tensor([0.9000, 1.1000])
    """

    amsgrad: bool = False

    def slots(self) -> tuple[str, ...]:
        """Return the two decayed sums and, for AMSGrad, the second one's maximum."""
        return (*SLOTS, "largest_square_sum") if self.amsgrad else SLOTS

    def resumed(self, own: Mapping[str, Tensor]) -> State:
        """Return torch's averages as decayed sums."""
        sums = super().resumed(own)
        if self.amsgrad:
            sums["largest_square_sum"] = own["max_exp_avg_sq"] / (1 - self.betas[1])
        return sums

    def coefficients(self, step: int, factor: float) -> tuple[float, ...]:
        """Return minus the step size, epsilon and, decoupled, the weights' shrinkage."""
        beta1, beta2 = self.betas
        lr, step = self.lr * factor, step + self.taken
        scale = root_scale(beta2, step)
        size = -lr * scale * (1 - beta1) / (1 - beta1 ** (step + 1))
        decay = self.shrinkage(lr)
        return (size, self.eps * scale, *decay)

    def update(
        self, grad: Tensor, state: Mapping[str, Tensor], params: Tensor, c: Sequence[Tensor]
    ) -> tuple[Tensor, State]:
        """Take one step; see :meth:`PureOptimizer.update`."""
        _, first, second = self.decayed(grad, state, params)
        new = {"gradient_sum": first, "square_sum": second}
        if self.amsgrad:
            second = torch.maximum(state["largest_square_sum"], second)
            new["largest_square_sum"] = second
        move = first / (root(second, self.smooth, self.eps) + c[1]) * c[0]
        return shrunk(params, c[2:]) + move, new

    @classmethod
    def settings(
        cls, optimizer: torch.optim.Optimizer, options: Mapping[str, Any], taken: int
    ) -> dict[str, Any]:
        """Return that AdamW decouples its decay: older ones of torch keep no option for it."""
        decoupled = type(optimizer) is torch.optim.AdamW
        return {"decoupled_weight_decay": options.get("decoupled_weight_decay", decoupled)}

    def threshold(self, lr: float, step: int) -> Threshold:
        """Return (2 + 2β₁)/((1 − β₁)η), lower with decoupled decay."""
        inside, beside = self.weight_decay, 0.0
        if self.decoupled_weight_decay:
            inside, beside = beside, inside
        formula = "(1 + β₁)(2 − η·wd)/((1 − β₁)η)" if beside else "(2 + 2β₁)/((1 − β₁)η)"
        return Threshold(adam(lr, self.betas[0], beside), DIVIDED, inside, formula)

    def preconditioner(self, slots: Mapping[str, Tensor], updates: int) -> Tensor:
        """Return (1 − β₁ᵗ)(√(v/(1 − β₂ᵗ)) + ε), so that a step is −lr·m/P with the average m."""
        check_updates(updates)
        largest = slots["largest_square_sum" if self.amsgrad else "square_sum"]
        updates += self.taken
        size = largest.sqrt() / root_scale(self.betas[1], updates - 1)
        return (1 - self.betas[0] ** updates) * (size + self.eps)
