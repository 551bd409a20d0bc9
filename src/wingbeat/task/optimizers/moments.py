r"""The decayed sums of gradients and squares that the Adam family shares.

:math:`M_t=\sum_k\beta_1^k g_{t-k}` and :math:`V_t=\sum_k\beta_2^k g_{t-k}^2` stand in
for torch's averages ``exp_avg`` :math:`=(1-\beta_1)M` and ``exp_avg_sq``
:math:`=(1-\beta_2)V`: two operations fewer a step, because the constant factors are
multiplied into the step's coefficients instead of into every weight.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import sqrt
from typing import ClassVar

from torch import Tensor

from wingbeat.errors import DriverError
from wingbeat.task.optimizers.pure import (
    PureOptimizer,
    State,
    check_rate,
    descent,
    gradient_size,
    swallows_least_roots,
)

SLOTS = ("gradient_sum", "square_sum")


@dataclass(frozen=True)
class AdamFamily(PureOptimizer):
    """What the optimizers of this family share: settings, both sums, and how weights decay."""

    squares: ClassVar[tuple[str, ...]] = ("square_sum", "largest_square_sum")

    lr: float
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0
    decoupled_weight_decay: bool = False
    maximize: bool = False
    smooth: bool = False

    def __post_init__(self) -> None:
        for beta in self.betas:
            check_rate(type(self).__name__, "beta", beta)

    def slots(self) -> tuple[str, ...]:
        """Return the two decayed sums."""
        return SLOTS

    def resumed(self, own: Mapping[str, Tensor]) -> State:
        """Return torch's averages as decayed sums.

        Raises:
            DriverError: an average of squares is negative, which makes torch's step NaN.
        """
        if bool((own["exp_avg_sq"] < 0).any()):
            name = type(self).__name__
            raise DriverError(f"{name}: its loaded state has negative averages of squares")
        beta1, beta2 = self.betas
        first, second = own["exp_avg"] / (1 - beta1), own["exp_avg_sq"] / (1 - beta2)
        return dict(zip(SLOTS, (first, second), strict=True))

    def natural_scale(self, params: Tensor, slots: Mapping[str, Tensor]) -> State:
        """Return the units of parameters and sums: m/(√v + ε) and δv/2(√v + ε)²."""
        first, second = self.betas
        size = gradient_size(slots["square_sum"], 1 - second, self.eps)
        found = super().natural_scale(params, slots)
        found |= {"gradient_sum": (1 - first) / size, "square_sum": (1 - second) / (2 * size**2)}
        if "largest_square_sum" in slots:
            largest = gradient_size(slots["largest_square_sum"], 1 - second, self.eps)
            found["largest_square_sum"] = (1 - second) / (2 * largest**2)
            found["gradient_sum"] = (1 - first) / largest
        return found

    def without_rates(self) -> AdamFamily:
        """Leave out how large epsilon is too, and how much a decoupled decay takes."""
        decay = self.weight_decay
        if self.decoupled_weight_decay and decay:
            decay = 1.0
        eps = float(swallows_least_roots(self.eps))  # a step is made of other operations then
        return replace(self, lr=1.0, taken=0, eps=eps, weight_decay=decay)

    def shrinkage(self, lr: float) -> tuple[float, ...]:
        """Return what decoupled decay multiplies the weights by: one number or none."""
        decoupled = self.decoupled_weight_decay and self.weight_decay
        return (1 - lr * self.weight_decay,) if decoupled else ()

    def decayed(
        self, grad: Tensor, state: Mapping[str, Tensor], params: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the direction of descent ``(P,)`` and both sums with it added."""
        penalty = 0.0 if self.decoupled_weight_decay else self.weight_decay
        grad = descent(grad, params, penalty, self.maximize)
        first = state["gradient_sum"] * self.betas[0] + grad
        return grad, first, state["square_sum"] * self.betas[1] + grad * grad


def root_scale(beta2: float, step: int) -> float:
    r"""Return :math:`\sqrt V` over the bias-corrected root, for 0-based ``step``.

    >>> root_scale(0.5, 1) == sqrt(1.5)
    True
    """
    return sqrt((1 - beta2 ** (step + 1)) / (1 - beta2))


def shrunk(params: Tensor, factors: Sequence[Tensor]) -> Tensor:
    """Return the weights ``(P,)`` times the factor of ``shrinkage``, if any."""
    return params * factors[0] if factors else params
