"""RMSprop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any, ClassVar

import torch
from torch import Tensor

from wingbeat.task.optimizers.pure import (
    PureOptimizer,
    State,
    check_rate,
    check_updates,
    descent,
    gradient_size,
    root,
)
from wingbeat.task.optimizers.registry import pure_form
from wingbeat.task.optimizers.stability import DIVIDED, Threshold, polyak


@pure_form(torch.optim.RMSprop)
@dataclass(frozen=True)
class RmsProp(PureOptimizer):
    r"""``torch.optim.RMSprop``: plain or centred, with or without momentum.

    Sources: Tieleman and Hinton, "Neural networks for machine learning", lecture 6.5
    (2012); centred: Graves, "Generating sequences with recurrent neural networks"
    (2013), section 4.2, equations 38 to 41.

    The state holds decayed sums, not averages: torch's ``square_avg`` is
    :math:`(1-\alpha)` times ``square_sum``, its ``grad_avg`` likewise, and its
    ``momentum_buffer`` is ``step_sum`` divided by :math:`\sqrt{1-\alpha}`.

    The centred variance is a difference of two nearly equal numbers where the
    gradient hardly changes: there, as in torch, rounding errors are magnified.

    >>> import torch
    >>> rule = RmsProp(lr=0.1, alpha=0.75, eps=0.0)
    >>> params = torch.tensor([1.0])
    >>> c = [torch.tensor(x, dtype=torch.float64) for x in rule.coefficients(0, 1.0)]
    >>> rule.update(torch.tensor([3.0]), rule.start(params), params, c)[0]
    tensor([0.8000])
    """

    squares: ClassVar[tuple[str, ...]] = ("square_sum",)

    lr: float
    alpha: float = 0.99
    eps: float = 1e-8
    weight_decay: float = 0.0
    momentum: float = 0.0
    centered: bool = False
    maximize: bool = False
    smooth: bool = False

    def __post_init__(self) -> None:
        check_rate("RMSprop", "alpha", self.alpha)

    def slots(self) -> tuple[str, ...]:
        """Return the decayed sums in use."""
        centre = ("gradient_sum",) if self.centered else ()
        return ("square_sum", *centre, *(("step_sum",) if self.momentum > 0 else ()))

    def resumed(self, own: Mapping[str, Tensor]) -> State:
        """Return torch's averages as decayed sums."""
        share = 1 - self.alpha
        sums = {"square_sum": own["square_avg"] / share}
        if self.centered:
            sums["gradient_sum"] = own["grad_avg"] / share
        if self.momentum > 0:
            sums["step_sum"] = own["momentum_buffer"] * sqrt(share)
        return sums

    def coefficients(self, step: int, factor: float) -> tuple[float, ...]:
        """Return minus the learning rate, in the units of the sums."""
        return (-self.lr * factor / sqrt(1 - self.alpha),)

    def update(
        self, grad: Tensor, state: Mapping[str, Tensor], params: Tensor, c: Sequence[Tensor]
    ) -> tuple[Tensor, State]:
        """Take one step; see :meth:`PureOptimizer.update`."""
        grad = descent(grad, params, self.weight_decay, self.maximize)
        new = {"square_sum": state["square_sum"] * self.alpha + grad * grad}
        power = new["square_sum"]
        if self.centered:
            mean = new["gradient_sum"] = state["gradient_sum"] * self.alpha + grad
            power = power - mean * mean * (1 - self.alpha)
        move = grad / (root(power, self.smooth) + self.eps / sqrt(1 - self.alpha))
        if self.momentum > 0:
            move = new["step_sum"] = state["step_sum"] * self.momentum + move
        return params + move * c[0], new

    @classmethod
    def steps_taken(cls, own: Mapping[str, Any], options: Mapping[str, Any]) -> int:
        """Return 0: no number in its step depends on the count."""
        return 0

    def threshold(self, lr: float, step: int) -> Threshold:
        """Return (2 + 2β)/η, or 2/η without momentum."""
        formula = "(2 + 2β)/η" if self.momentum else "2/η"
        return Threshold(polyak(lr, self.momentum), DIVIDED, self.weight_decay, formula)

    def preconditioner(self, slots: Mapping[str, Tensor], updates: int) -> Tensor:
        """Return √v + ε."""
        check_updates(updates)
        power = slots["square_sum"]
        if self.centered:
            power = power - slots["gradient_sum"] ** 2 * (1 - self.alpha)
        return (power.clamp(min=0) * (1 - self.alpha)).sqrt() + self.eps

    def natural_scale(self, params: Tensor, slots: Mapping[str, Tensor]) -> State:
        """Return the units of the parameters and of the sums in use."""
        share = 1 - self.alpha
        size = gradient_size(slots["square_sum"], share, self.eps)
        scales = {
            "square_sum": share / (2 * size**2),
            "gradient_sum": share / size,
            "step_sum": torch.ones_like(size) / sqrt(share),
        }
        own = super().natural_scale(params, slots)
        return {**own, **{name: scales[name] for name in slots if name in scales}}
