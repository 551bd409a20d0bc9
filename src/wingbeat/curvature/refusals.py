"""Losses whose second derivative torch would give silently wrong.

An operation marked ``once_differentiable`` passes for a constant where its gradient is
differentiated again, under ``torch.func`` and in ``torch.autograd.grad`` with stated inputs alike
(torch 2.13): the product lacks a term, and nothing is said.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import torch
from torch.autograd import function

from wingbeat.errors import RequestError
from wingbeat.task.batches import copied

if TYPE_CHECKING:
    from torch import Tensor

    from wingbeat.curvature.sampled_loss import SampledLoss


def check_twice_differentiable(
    hessian: SampledLoss, params: Tensor, buffers: dict[str, Tensor]
) -> None:
    """Refuse a loss with an operation that may be differentiated only once.

    Looks at the graph of the loss of the first chunk of samples.

    Args:
        hessian: model, loss and samples.
        params: one point, ``(P,)``.
        buffers: of that point.

    Raises:
        RequestError: there is such an operation; the message names it.
    """
    batch, _, around = next(hessian.parts())
    step = hessian.step
    step.put(params, buffers)
    step.set_mode(hessian.mode)
    with around, torch.enable_grad():
        loss = step.task.loss(step.skeleton, copied(batch))
    names = sorted(once_differentiable(loss))
    if names:
        msg = (
            f"{names[0]} is marked once_differentiable: the loss has no second derivative; give "
            "it a backward of differentiable operations and remove the mark, or another loss"
        )
        raise RequestError(msg)


def once_differentiable(tensor: Tensor) -> set[str]:
    """Return the names of the operations in a tensor's graph that are marked so.

    Example:
        >>> once_differentiable(torch.ones(1, requires_grad=True).exp())
        set()
    """
    found, seen, left = set(), set(), [tensor.grad_fn]
    while left:
        node: Any = left.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        left += [following for following, _ in node.next_functions]
        made_by = getattr(node, "_forward_cls", None)
        if made_by is not None and _is_marked(made_by.backward):
            found.add(made_by.__name__)
    return found


def _is_marked(backward: Any) -> bool:
    """Whether torch's decorator made this function: it has no mark but the file it comes from."""
    code = getattr(backward, "__code__", None)
    wrapped = hasattr(backward, "__wrapped__")
    return wrapped and code is not None and code.co_filename == inspect.getsourcefile(function)
