"""The curvature above which an optimizer's step is unstable on a quadratic.

For the loss ½hx² a step is a linear map of weight and optimizer state. It is stable while the
spectral radius of that map is at most 1, which for the rules here means h up to the threshold;
at the threshold an eigenvalue passes −1.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import nan
from typing import TYPE_CHECKING, Literal

import torch

from wingbeat.errors import NO_THRESHOLD, RequestError
from wingbeat.task.optimizers.adagrad import Adagrad
from wingbeat.task.optimizers.adam import Adam
from wingbeat.task.optimizers.grouped import Grouped
from wingbeat.task.optimizers.rmsprop import RmsProp
from wingbeat.task.optimizers.sgd import Sgd
from wingbeat.task.step import TrainingStep

if TYPE_CHECKING:
    from wingbeat.task.optimizers import PureOptimizer
    from wingbeat.task.task import Task

Of = Literal["sharpness", "preconditioned sharpness"]


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


def threshold(task: Task, step: int = 0) -> Threshold:
    """Return the stability threshold of a task's own optimizer at one step of its schedule.

    Args:
        task: whose optimizer and schedule.
        step: counted from 0.

    Returns:
        NaN with the reason ``no_threshold`` where the optimizer has no pure form, several groups
        with unequal rules, or a rule for which no threshold is known (NAdam, RAdam, maximising).

    Example:
        >>> from wingbeat.tasks.dense import circles_task
        >>> found = threshold(circles_task())
        >>> round(found.value), found.of
        (3800, 'preconditioned sharpness')
    """
    pure = TrainingStep(task, torch.float32, torch.device("cpu"))
    if pure.optimizer is None:
        return _unknown(pure.reason)
    return of_rule(pure.optimizer, task.factor(step), step)


def of_rule(rule: PureOptimizer, factor: float = 1.0, step: int = 0) -> Threshold:
    """Return the threshold of a pure optimizer; ``factor`` is the schedule's."""
    if isinstance(rule, Grouped):
        rules = {group.rule for group in rule.groups}
        if len(rules) > 1:
            return _unknown("parameter groups with unequal rules")
        return of_rule(rules.pop(), factor, step)
    lr = float(getattr(rule, "lr", 0.0)) * factor
    if lr <= 0 or getattr(rule, "maximize", False):
        return _unknown("the loss is not minimised at this step")
    if isinstance(rule, Sgd):
        return _sgd(rule, lr)
    return _adaptive(rule, lr, step)


def _adaptive(rule: PureOptimizer, lr: float, step: int) -> Threshold:
    """Return the threshold of an optimizer that divides by a scale."""
    adaptive: Of = "preconditioned sharpness"
    if isinstance(rule, Adam):
        inside, beside = rule.weight_decay, 0.0
        if rule.decoupled_weight_decay:
            inside, beside = beside, inside
        formula = "(1 + β₁)(2 − η·wd)/((1 − β₁)η)" if beside else "(2 + 2β₁)/((1 − β₁)η)"
        return Threshold(adam(lr, rule.betas[0], beside), adaptive, inside, formula)
    if isinstance(rule, RmsProp):
        formula = "(2 + 2β)/η" if rule.momentum else "2/η"
        return Threshold(polyak(lr, rule.momentum), adaptive, rule.weight_decay, formula)
    if isinstance(rule, Adagrad):
        now = lr / (1 + (step + rule.taken) * rule.lr_decay)
        return Threshold(gradient_descent(now), adaptive, rule.weight_decay, "2/η")
    return _unknown(type(rule).__name__)


def _sgd(rule: Sgd, lr: float) -> Threshold:
    beta, decay = rule.momentum, rule.weight_decay
    if rule.nesterov and beta:
        return Threshold(nesterov(lr, beta), penalty=decay, formula="(2 + 2β)/(η(1 + 2β))")
    if beta and rule.dampening:
        share = 1 - rule.dampening
        if share <= 0:
            return _unknown("dampening leaves nothing of the gradient")
        return Threshold(
            polyak(lr * share, beta), penalty=decay, formula="(2 + 2β)/(η(1 − dampening))"
        )
    formula = "(2 + 2β)/η" if beta else "2/η"
    return Threshold(polyak(lr, beta), penalty=decay, formula=formula)


def _unknown(why: str) -> Threshold:
    return Threshold(nan, formula=f"none known ({why})", reason=NO_THRESHOLD)


def _check(lr: float, momentum: float) -> None:
    if not lr > 0:
        raise RequestError(f"lr is {lr!r}: use a positive learning rate")
    if not 0 <= momentum < 1:
        raise RequestError(f"momentum is {momentum!r}: use a value of at least 0 and below 1")
