"""The curvature above which an optimizer's step is unstable on a quadratic.

For the loss ½hx² a step is a linear map of weight and optimizer state. It is stable while the
spectral radius of that map is at most 1, which for the rules here means h up to the threshold;
at the threshold an eigenvalue passes −1.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import nan
from typing import Final, Literal

from wingbeat.errors import NO_THRESHOLD, RequestError

Of = Literal["sharpness", "preconditioned sharpness"]
DIVIDED: Final[Of] = "preconditioned sharpness"


@dataclass(frozen=True)
class Threshold:
    """Where an optimizer becomes unstable.

    Attributes:
        value: largest stable curvature, in units of loss/weight² for "sharpness" (1/lr scale);
            NaN with a reason where none is known.
        of: which curvature is compared with it: the largest eigenvalue of the Hessian, or of
            P⁻¹H with the optimizer's preconditioner P (see `preconditioner`).
        penalty: L2 penalty that the optimizer adds, weight decay: it is added to the Hessian's
            diagonal before the comparison.
        formula: in words, for captions.
        reason: why there is no value, else "".
    """

    value: float
    of: Of = "sharpness"
    penalty: float = 0.0
    formula: str = ""
    reason: str = ""


def gradient_descent(lr: float) -> float:
    """Return 2/lr, the largest stable curvature of gradient descent.

    Raises:
        RequestError: the learning rate is not positive.

    Source:
        Cohen et al., "Gradient descent on neural networks typically occurs at the edge of
        stability" (2021), section 2.

    Example:
        >>> gradient_descent(0.01)
        200.0
    """
    return polyak(lr, 0.0)


def polyak(lr: float, momentum: float) -> float:
    """Return (2 + 2β)/lr, the largest stable curvature of heavy-ball momentum.

    Raises:
        RequestError: the learning rate is not positive, or β is outside [0, 1).

    Source:
        Cohen et al. (2021), appendix B.

    Example:
        >>> round(polyak(0.1, 0.9), 9)
        38.0
    """
    _check(lr, momentum)
    return (2 + 2 * momentum) / lr


def nesterov(lr: float, momentum: float) -> float:
    """Return (2 + 2β)/(lr(1 + 2β)), the largest stable curvature of Nesterov momentum.

    Raises:
        RequestError: the learning rate is not positive, or β is outside [0, 1).

    Source:
        Cohen et al. (2021), appendix B.

    Example:
        >>> round(nesterov(0.1, 0.9), 3)
        13.571
    """
    _check(lr, momentum)
    return (2 + 2 * momentum) / (lr * (1 + 2 * momentum))


def adam(lr: float, beta1: float, decay: float = 0.0) -> float:
    """Return the largest stable preconditioned curvature of Adam, (2 + 2β₁)/((1 − β₁)lr).

    With decoupled weight decay (AdamW) it is (1 + β₁)(2 − lr·decay)/((1 − β₁)lr). The
    preconditioner is taken as constant; see `preconditioner` for it.

    Args:
        lr: learning rate.
        beta1: decay of the averaged gradient.
        decay: decoupled weight decay.

    Raises:
        RequestError: the learning rate is not positive, or β₁ is outside [0, 1).

    Source:
        Cohen et al., "Adaptive gradient methods at the edge of stability" (2022), section 2.

    Example:
        >>> round(adam(0.1, 0.9), 6)
        380.0
    """
    _check(lr, beta1)
    return (1 + beta1) * (2 - lr * decay) / ((1 - beta1) * lr)


def unknown(why: str) -> Threshold:
    """Return that no threshold is known, and why."""
    return Threshold(nan, formula=f"none known ({why})", reason=NO_THRESHOLD)


def _check(lr: float, momentum: float) -> None:
    if not lr > 0:
        raise RequestError(f"lr is {lr!r}: use a positive learning rate")
    if not 0 <= momentum < 1:
        raise RequestError(f"momentum is {momentum!r}: use a value of at least 0 and below 1")
