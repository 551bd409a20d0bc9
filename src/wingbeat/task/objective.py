"""The loss as a module, what it must return, and the flat gradient that an update takes from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from wingbeat.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

_DATA: Any = torch.Tensor.data
_GET, _SET = _DATA.__get__, _DATA.__set__


class Objective(nn.Module):
    """The loss as a module, so that the user's function sees the real model."""

    def __init__(self, model: nn.Module, function: Callable[..., Any]) -> None:
        """Take the model as a part of its own."""
        super().__init__()
        self.model = model
        self.function = function

    def forward(self, *given: Any) -> Any:
        """Call the function with the model first."""
        return self.function(self.model, *given)


class DataAsView(TorchFunctionMode):
    """Let ``p.data.clamp_(...)`` and ``p.data = ...`` change a tensor that is being vectorised.

    Without gradients ``p.data`` and ``p.detach()`` are the same, and torch vectorises only one.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Call the function, or what stands for an attribute."""
        if func == _GET:
            return args[0].detach()
        if func == _SET:
            return args[0].copy_(args[1])
        return func(*args, **(kwargs or {}))


def nothing(model: nn.Module, step: int) -> None:
    """Stand in for an ``after_step`` that is not there."""


def dense_gradient(parameter: Tensor) -> Tensor:
    """Take the gradient off a parameter; zero where the loss did not depend on it."""
    grad, parameter.grad = parameter.grad, None
    if grad is None:
        return torch.zeros_like(parameter.detach())
    return grad.to_dense() if grad.layout is not torch.strided else grad


def clip(grad: Tensor, max_norm: float) -> Tensor:
    """Scale a flat gradient down to a norm of at most ``max_norm``, as ``clip_grad_norm_`` does."""
    norm = (grad * grad).sum(-1, keepdim=True).sqrt()
    return grad * torch.clamp(max_norm / (norm + 1e-6), max=1.0)


def check_scalar(loss: Any) -> Tensor:
    """Return the loss if it is a scalar tensor of floating point.

    Raises:
        RequestError: it is anything else.
    """
    if not isinstance(loss, torch.Tensor):
        msg = f"Task.loss returned {type(loss).__name__}: it must return a scalar tensor"
        if isinstance(loss, (tuple, list, dict)):
            place = repr("loss") if isinstance(loss, dict) else 0
            msg += (
                f". Return the loss alone, as in loss=lambda model, batch: "
                f"training_step(model, batch)[{place}], or add several up; several losses with an "
                "optimizer each need a loop of your own: wb.Twins trains copies with it"
            )
        raise RequestError(msg)
    if loss.dim() != 0:
        msg = (
            f"Task.loss returned a tensor of shape {tuple(loss.shape)}: it must return a scalar; "
            "average it over the batch, for example with .mean()"
        )
        raise RequestError(msg)
    return loss
