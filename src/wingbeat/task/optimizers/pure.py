"""What a pure optimizer is, and the arithmetic that all of them share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar, Final

import torch
from torch import Tensor

from wingbeat.errors import DriverError, RequestError
from wingbeat.task.optimizers.stability import Threshold, unknown

State = dict[str, Tensor]


@dataclass(frozen=True)
class PureOptimizer(ABC):
    """One optimizer as pure functions on one flat vector of P parameters.

    Nothing is changed in place and nothing is remembered: the caller carries the
    state and counts the steps. Every operation of :meth:`update` acts element by
    element and is rounded once (no fused multiply-add, no ``lerp``), so that the
    bits of a replica depend neither on its place in a stack nor on the stack's size.
    All that changes with the step comes in through :meth:`coefficients`, so that one
    traced graph serves every step.

    Args:
        taken: steps that the optimizer had taken before it was handed over, as after
            ``load_state_dict``; what depends on the step's number goes on from there.
    """

    kinds: ClassVar[tuple[type[torch.optim.Optimizer], ...]] = ()
    """Classes whose step it is; `wingbeat.task.optimizers.pure_form` sets them."""
    squares: ClassVar[tuple[str, ...]] = ()
    """Slots whose entries are sums of squares: they have a root and are never negative."""

    taken: int = field(default=0, kw_only=True)

    @abstractmethod
    def slots(self) -> tuple[str, ...]:
        """Name the state vectors, each as long as the parameters; may be empty."""

    def start(self, params: Tensor) -> State:
        """Return the state before the first step, for parameters ``(..., P)``."""
        return {slot: torch.zeros_like(params) for slot in self.slots()}

    @abstractmethod
    def resumed(self, own: Mapping[str, Tensor]) -> State:
        """Return the state of one parameter from what torch's optimizer keeps for it.

        Raises:
            KeyError: an entry that torch's own step would need is missing.
        """

    @abstractmethod
    def coefficients(self, step: int, factor: float) -> tuple[float, ...]:
        """Return the numbers of one step, in double precision.

        Args:
            step: How many steps were taken since the start, from 0; ``taken`` is added.
            factor: What the schedule multiplies the learning rate by at this step.
        """

    @abstractmethod
    def update(
        self, grad: Tensor, state: Mapping[str, Tensor], params: Tensor, c: Sequence[Tensor]
    ) -> tuple[Tensor, State]:
        """Take one step.

        Args:
            grad: Gradient ``(P,)``.
            state: One ``(P,)`` tensor for each of :meth:`slots`.
            params: Parameters ``(P,)``.
            c: The numbers of :meth:`coefficients` as float64 tensors without axes.

        Returns:
            The new parameters and the new state, in the dtype of ``params``.
        """

    @classmethod
    def settings(
        cls, optimizer: torch.optim.Optimizer, options: Mapping[str, Any], taken: int
    ) -> dict[str, Any]:
        """Return fields that are not options of an optimizer's group; by default none.

        Args:
            optimizer: the object.
            options: of one of its parameter groups.
            taken: steps that the group has taken.
        """
        return {}

    @classmethod
    def steps_taken(cls, own: Mapping[str, Any], options: Mapping[str, Any]) -> int:
        """Return how many steps one parameter has taken, by default its ``step``.

        Args:
            own: what the optimizer object keeps for the parameter; empty before its first step.
            options: of its group.

        Raises:
            DriverError: there is state and no count of steps in it.
        """
        if own and "step" not in own:
            msg = (
                f"{cls.__name__}: its loaded state has no 'step'; let {cls.__name__}.steps_taken "
                "say how many steps were taken"
            )
            raise DriverError(msg)
        return int(own.get("step", 0))

    def rules(self) -> tuple[PureOptimizer, ...]:
        """Return the rules of its parameter groups: itself, where it is no bundle of them."""
        return (self,)

    def without_rates(self) -> PureOptimizer:
        """Return the rule with neutral values for what a step reads through `coefficients` alone.

        Rules that are then equal take the same step with other numbers, so that a recording of
        one is tried for the other. By default learning rate and steps taken.
        """
        neutral: dict[str, Any] = {"lr": 1.0, "taken": 0}
        own = {f.name for f in fields(self)}
        return replace(self, **{name: neutral[name] for name in neutral if name in own})

    def rests_at_zero(self) -> bool:
        """Tell whether a gradient of exactly 0 neither moves a weight nor changes state."""
        return False

    def threshold(self, lr: float, step: int) -> Threshold:
        """Return the curvature above which a step is unstable; by default that none is known.

        Args:
            lr: learning rate at this step, positive; the loss is minimised.
            step: counted from 0.
        """
        return unknown(type(self).__name__)

    def preconditioner(self, slots: Mapping[str, Tensor], updates: int) -> Tensor | None:
        """Return what the averaged gradient is divided by, ``(P,)``; by default None: it is not.

        Args:
            slots: the state, one ``(P,)`` tensor for each of `slots`.
            updates: how many were made, at least 1.

        Raises:
            RequestError: no update was made yet.
        """
        return None

    def natural_scale(self, params: Tensor, slots: Mapping[str, Tensor]) -> State:
        """Return what a tangent is multiplied by to be in natural units, where that is not 1.

        Args:
            params: parameters ``(P,)``; only their length and type are read.
            slots: the state.

        Returns:
            "parameters", by default 1 ÷ learning rate (a rate of 0 counts as 1), and slots by name,
            each ``(P,)``.
        """
        rate = abs(float(getattr(self, "lr", 1.0))) or 1.0
        return {"parameters": torch.full_like(params, 1 / rate)}


def descent(grad: Tensor, params: Tensor, weight_decay: float, maximize: bool) -> Tensor:
    """Return the gradient ``(P,)`` to go down, with the L2 penalty's share added.

    >>> descent(torch.tensor([1.0]), torch.tensor([4.0]), 0.5, maximize=True)
    tensor([1.])
    """
    if maximize:
        grad = -grad
    return grad + params * weight_decay if weight_decay else grad


_EXACT: Final = (torch.float32, torch.float64)
_SWALLOWS: Final = 1e-11
"""A summand from which on the roots of numbers below the least normal one (1.1e-19 in single
precision) are less than half of its last digit, so that the sum is the summand."""


def swallows_least_roots(summand: float) -> bool:
    """Tell whether a sum with the root of a number next to 0 is the summand, to the last bit.

    >>> swallows_least_roots(1e-8), swallows_least_roots(0.0)
    (True, False)
    """
    return summand >= _SWALLOWS


def root(x: Tensor, smooth: bool = False, added: float = 0.0) -> Tensor:
    """Return the square root, element by element.

    Args:
        x: Any shape, not negative.
        smooth: Let the derivative be 0, and not NaN, where ``x`` is exactly 0 (a
            weight whose gradient has always been 0). The value keeps its bits; it
            costs three operations more.
        added: The least that is added to the root next. Where that swallows the roots of
            zeros, the least normal number stands for them, and the sum keeps its bits: MKL
            takes thirty times as long for the root of a zero, which dead units have many of.

    >>> torch.func.jvp(lambda x: root(x, smooth=True), (torch.zeros(1),), (torch.zeros(1),))
    (tensor([0.]), tensor([0.]))
    """
    if not smooth:
        quicker = x.device.type == "cpu" and x.dtype in _EXACT and swallows_least_roots(added)
        return (x.clamp_min(torch.finfo(x.dtype).tiny) if quicker else x).sqrt()
    zero = x == 0
    return x.masked_fill(zero, 1.0).sqrt().masked_fill(zero, 0.0)


def check_rate(owner: str, option: str, rate: float) -> None:
    """Refuse a decay rate outside [0, 1), for which the decayed sums do not exist.

    Raises:
        DriverError: With the option and its value.
    """
    if not 0 <= rate < 1:
        msg = f"{owner}: {option}={rate} is not in [0, 1); there is no pure form of it"
        raise DriverError(msg)


def gradient_size(square_sum: Tensor, share: float, eps: float) -> Tensor:
    """Return the typical size of a gradient, never 0, from ``(P,)`` squares and their share."""
    return root(square_sum * share, smooth=True) + (eps or 1e-12)


def check_updates(updates: int) -> None:
    """Refuse to ask for a scale that exists only after the first update.

    Raises:
        RequestError: with the number.
    """
    if updates < 1:
        raise RequestError(f"updates is {updates}: an optimizer's scale exists after its first")
