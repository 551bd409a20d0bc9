"""Draw the dropout masks that a plain loop would draw.

Torch draws a mask in the order in which its tensor lies in memory. Where ``torch.func``
differentiates or vectorises, a tensor that is transposed gets the mask of one that is not, and
the same seed would drop other units: another training run. Here the mask is drawn in the order
of the plain one. On a GPU a plain loop draws it within the kernel that applies it, which takes
other numbers of the generator than filling a tensor would; that kernel is called here.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

_DATA: Any = torch.Tensor.data
_SET_DATA = _DATA.__set__


class PlainMasks(TorchFunctionMode):
    """Within this mode ``dropout`` in a differentiated step draws the mask of a plain one."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Call the function; dropout of a tensor that lies transposed is made here.

        Raises:
            RuntimeError: ``.data`` of a tensor is assigned, as some criteria do with their own
                weights: within ``torch.func`` the process would end there (torch 2.13).
        """
        kwargs = kwargs or {}
        if func == _SET_DATA:
            raise RuntimeError("`.data` is assigned, which torch.func cannot follow")
        if func is F.dropout:
            return _dropout(*args, **kwargs)
        return func(*args, **kwargs)


def _dropout(x: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    order = memory_order(x) if training and 0 < p < 1 and not inplace else None
    fused = x.is_cuda and x.numel() > 0
    if order is None or (order == sorted(order) and not fused):
        return F.dropout(x, p, training, inplace)
    lying = torch.empty([x.shape[i] for i in order], dtype=x.dtype, device=x.device)
    back = [order.index(i) for i in range(x.dim())]
    if fused:  # of a tensor that no transform has wrapped: else the kernel is another one
        return x * torch._fused_dropout(lying.fill_(1.0), 1 - p)[0].permute(back)
    mask = lying.permute(back).bernoulli_(1 - p).div_(1 - p)
    return x * mask


def memory_order(x: Tensor) -> list[int] | None:
    """Return a tensor's axes from the slowest to the fastest in memory, as of one replica.

    None for a tensor that is not differentiated here, or vectorised more than once.

    >>> memory_order(torch.zeros(2, 3)) is None
    True
    """
    functorch = torch._C._functorch
    plain, batched = x, []
    if not functorch.is_functorch_wrapped_tensor(x):
        return None
    while functorch.is_functorch_wrapped_tensor(plain):
        if functorch.is_batchedtensor(plain):
            batched.append(functorch.maybe_get_bdim(plain))
        plain = functorch.get_unwrapped(plain)
    if len(batched) > 1:
        return None
    strides = [s for i, s in enumerate(plain.stride()) if i not in batched]
    return sorted(range(x.dim()), key=lambda i: (-strides[i], i))
