"""Layers whose derivatives torch gets wrong or lacks, written out in elementary operations.

The tangent of a native batch normalisation's running buffers is silently the identity, and
the forward derivative of a gradient fails through the mean squared error (within a recording
it ends the process) and through Huber's loss (all measured, torch 2.13). Within
`ExplicitLayers` these calls are replaced by the same formulas in operations that torch
differentiates correctly; values agree to rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode


class ExplicitLayers(TorchFunctionMode):
    """Replace calls of normalisations and of squared and Huber losses within a block.

    >>> x = torch.arange(6.0).reshape(3, 2)
    >>> with ExplicitLayers():
    ...     found = F.batch_norm(x, None, None, training=True)
    >>> torch.allclose(found, F.batch_norm(x, None, None, training=True), atol=1e-5)
    True
    """

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Call the explicit form where there is one."""
        return EXPLICIT.get(func, func)(*args, **(kwargs or {}))


def batch_norm(
    input: Tensor,  # noqa: A002  (torch's own name)
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalise channels ``(batch, channels, …)``; arguments as ``F.batch_norm``.

    Source: Ioffe and Szegedy, "Batch normalization" (2015), algorithm 1.

    >>> batch_norm(torch.tensor([[1.0], [3.0]]), None, None, training=True, eps=0.0).tolist()
    [[-1.0], [1.0]]
    """
    axes = (0, *range(2, input.dim()))
    if training:
        mean, var = _moments(input, axes)
        count = input.numel() // input.shape[1]
        _track(running_mean, mean, momentum)
        _track(running_var, var * (count / max(count - 1, 1)), momentum)
    else:
        assert running_mean is not None
        assert running_var is not None
        mean, var = running_mean, running_var
    return _normalised(input, mean, var, weight, bias, eps)


def instance_norm(
    input: Tensor,  # noqa: A002  (torch's own name)
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalise each sample's channels by themselves; arguments as ``F.instance_norm``.

    Source: Ulyanov, Vedaldi and Lempitsky, arXiv 1607.08022, equation 5.

    >>> instance_norm(torch.tensor([[[1.0, 3.0]]]), eps=0.0).tolist()
    [[[-1.0, 1.0]]]
    """
    if not use_input_stats:
        return batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
    mean, var = _moments(input, tuple(range(2, input.dim())))
    count = input[0, 0].numel()
    _track(running_mean, mean.mean(0), momentum)
    _track(running_var, (var * (count / max(count - 1, 1))).mean(0), momentum)
    return _normalised(input, mean, var, weight, bias, eps)


def huber_loss(
    input: Tensor,  # noqa: A002  (torch's own name)
    target: Tensor,
    reduction: str = "mean",
    delta: float = 1.0,
    weight: Tensor | None = None,
) -> Tensor:
    """Return Huber's loss; arguments as ``F.huber_loss``.

    >>> float(huber_loss(torch.tensor([0.0, 3.0]), torch.zeros(2)))
    1.25
    """
    away = (input - target).abs()
    each = torch.where(away <= delta, 0.5 * away * away, delta * (away - 0.5 * delta))
    return _reduced(each, reduction, weight)


def smooth_l1_loss(
    input: Tensor,  # noqa: A002  (torch's own name)
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> Tensor:
    """Return the smooth L1 loss; arguments as ``F.smooth_l1_loss``.

    >>> float(smooth_l1_loss(torch.tensor([0.0, 3.0]), torch.zeros(2)))
    1.25
    """
    if size_average is not None or reduce is not None or beta == 0:
        return F.smooth_l1_loss(input, target, size_average, reduce, reduction, beta)
    return huber_loss(input, target, reduction, beta) / beta


def mse_loss(
    input: Tensor,  # noqa: A002  (torch's own name)
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """Return the mean squared error; arguments as ``F.mse_loss``.

    >>> float(mse_loss(torch.tensor([0.0, 2.0]), torch.zeros(2)))
    2.0
    """
    if size_average is not None or reduce is not None:
        return F.mse_loss(input, target, size_average, reduce, reduction)
    away = input - target
    return _reduced(away * away, reduction, weight)


EXPLICIT: dict[Any, Callable[..., Any]] = {
    F.batch_norm: batch_norm,
    F.instance_norm: instance_norm,
    F.huber_loss: huber_loss,
    F.smooth_l1_loss: smooth_l1_loss,
    F.mse_loss: mse_loss,
}


def _moments(x: Tensor, axes: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    mean = x.mean(axes, keepdim=True)
    away = x - mean
    return mean.squeeze(axes), (away * away).mean(axes)


def _track(running: Tensor | None, value: Tensor, momentum: float) -> None:
    if running is not None:
        running.copy_((1 - momentum) * running + momentum * value)


def _normalised(
    x: Tensor,
    mean: Tensor,
    var: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
) -> Tensor:
    """Shift and scale; statistics are ``(channels,)`` or ``(batch, channels)``."""
    tail = (1,) * (x.dim() - 2)
    lead = (1,) * (2 - mean.dim())
    shape = (*lead, *mean.shape, *tail)
    out = (x - mean.reshape(shape)) * (var + eps).rsqrt().reshape(shape)
    if weight is not None:
        out = out * weight.reshape(1, -1, *tail)
    return out if bias is None else out + bias.reshape(1, -1, *tail)


def _reduced(each: Tensor, reduction: str, weight: Tensor | None) -> Tensor:
    if weight is not None:
        each = each * weight
    if reduction == "none":
        return each
    if reduction == "sum" or weight is None:
        return each.sum() if reduction == "sum" else each.mean()
    return each.sum() / weight.expand_as(each).sum()
