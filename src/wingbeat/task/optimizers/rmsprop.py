"""RMSprop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

from torch import Tensor

from wingbeat.task.optimizers.pure import PureOptimizer, State, check_rate, descent, root


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
