r"""The decayed sums of gradients and squares that the Adam family shares.

:math:`M_t=\sum_k\beta_1^k g_{t-k}` and :math:`V_t=\sum_k\beta_2^k g_{t-k}^2` stand in
for torch's averages ``exp_avg`` :math:`=(1-\beta_1)M` and ``exp_avg_sq``
:math:`=(1-\beta_2)V`: two operations fewer a step, because the constant factors are
multiplied into the step's coefficients instead of into every weight.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import sqrt

from torch import Tensor

from wingbeat.task.optimizers.pure import gradient_size

SLOTS = ("gradient_sum", "square_sum")
SQUARES = ("square_sum", "largest_square_sum")


def decayed_sums(
    grad: Tensor, state: Mapping[str, Tensor], betas: tuple[float, float]
) -> tuple[Tensor, Tensor]:
    """Return both sums with a gradient ``(P,)`` added."""
    first = state["gradient_sum"] * betas[0] + grad
    return first, state["square_sum"] * betas[1] + grad * grad


def sums_of(own: Mapping[str, Tensor], betas: tuple[float, float]) -> dict[str, Tensor]:
    """Return both sums from the averages that torch keeps for one parameter."""
    first, second = own["exp_avg"] / (1 - betas[0]), own["exp_avg_sq"] / (1 - betas[1])
    return dict(zip(SLOTS, (first, second), strict=True))


def root_scale(beta2: float, step: int) -> float:
    r"""Return :math:`\sqrt V` over the bias-corrected root, for 0-based ``step``.

    >>> root_scale(0.5, 1) == sqrt(1.5)
    True
    """
    return sqrt((1 - beta2 ** (step + 1)) / (1 - beta2))


def shrinkage(lr: float, weight_decay: float, decoupled: bool) -> tuple[float, ...]:
    """Return what decoupled decay multiplies the weights by: one number or none."""
    return (1 - lr * weight_decay,) if decoupled and weight_decay else ()


def shrunk(params: Tensor, factors: Sequence[Tensor]) -> Tensor:
    """Return the weights ``(P,)`` times the factor of :func:`shrinkage`, if any."""
    return params * factors[0] if factors else params


def moment_scales(
    slots: Mapping[str, Tensor], betas: tuple[float, float], eps: float
) -> dict[str, Tensor]:
    """Return the natural units of the sums, ``(P,)`` each: m/(√v + ε) and δv/2(√v + ε)²."""
    first, second = betas
    size = gradient_size(slots["square_sum"], 1 - second, eps)
    found = {"gradient_sum": (1 - first) / size, "square_sum": (1 - second) / (2 * size**2)}
    if "largest_square_sum" in slots:
        largest = gradient_size(slots["largest_square_sum"], 1 - second, eps)
        found["largest_square_sum"] = (1 - second) / (2 * largest**2)
        found["gradient_sum"] = (1 - first) / largest
    return found
