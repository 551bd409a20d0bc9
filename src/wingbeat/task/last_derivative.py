"""The gradient of a step, with a plain loop's kernels where nobody differentiates it once more."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import torch
from torch.func import grad_and_value, vjp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor

_IS_LAST: ContextVar[bool] = ContextVar("a step's gradient is the last derivative", default=False)


@contextmanager
def last_derivative(is_last: bool = True) -> Iterator[None]:
    """Declare that nothing differentiates what steps return in here.

    torch has two derivatives of some operations, group norm and SiLU among them: the kernel that
    plain loops take, and a sum of small operations that can be differentiated again.

    Args:
        is_last: False for the latter, as outside.
    """
    token = _IS_LAST.set(is_last)
    try:
        yield
    finally:
        _IS_LAST.reset(token)


def gradient_and_loss(
    objective: Callable[[dict[str, Tensor]], tuple[Tensor, Any]], named: dict[str, Tensor]
) -> tuple[dict[str, Tensor], Any]:
    """Return the gradient of an objective, and the tensors that it returns besides.

    Within `last_derivative` the gradient is a constant to whoever differentiates it.

    Args:
        objective: returns what is differentiated, without axes, and tensors besides.
        named: what it is differentiated by.

    Example:
        >>> silu = torch.nn.functional.silu
        >>> objective = lambda named: (silu(named["w"]).sum(), torch.ones(()))
        >>> with last_derivative():
        ...     gradient_and_loss(objective, {"w": torch.zeros(2)})
        ({'w': tensor([0.5000, 0.5000])}, tensor(1.))
    """
    if not _IS_LAST.get():
        gradient, (_, besides) = grad_and_value(objective, has_aux=True)(named)
        return gradient, besides
    found: tuple[Any, ...] = vjp(objective, named, has_aux=True)
    value, pull, besides = found
    with torch.no_grad():
        (gradient,) = pull(torch.ones_like(value), retain_graph=False, create_graph=False)
    return gradient, besides
