"""What a pure optimizer is, and the arithmetic that all of them share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from wingbeat.errors import DriverError

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


def descent(grad: Tensor, params: Tensor, weight_decay: float, maximize: bool) -> Tensor:
    """Return the gradient ``(P,)`` to go down, with the L2 penalty's share added.

    >>> descent(torch.tensor([1.0]), torch.tensor([4.0]), 0.5, maximize=True)
    tensor([1.])
    """
    if maximize:
        grad = -grad
    return grad + params * weight_decay if weight_decay else grad


def root(x: Tensor, smooth: bool = False) -> Tensor:
    """Return the square root, element by element.

    Args:
        x: Any shape, not negative.
        smooth: Let the derivative be 0, and not NaN, where ``x`` is exactly 0 (a
            weight whose gradient has always been 0). The value keeps its bits; it
            costs three operations more.

    >>> torch.func.jvp(lambda x: root(x, smooth=True), (torch.zeros(1),), (torch.zeros(1),))
    (tensor([0.]), tensor([0.]))
    """
    if not smooth:
        return x.sqrt()
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
