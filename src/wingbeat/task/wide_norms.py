"""Normalise numbers of 16 bits with weights of 32 in a form that ``torch.func`` takes.

Under autocast on a processor a layer that normalises gets what a product returned, in 16 bits, and
weights in float32; torch's kernel computes in float32 and rounds what it returns once. The form of
it that is differentiated and vectorised refuses two types (torch 2.13). Here the numbers are
widened first and rounded afterwards, which is the same arithmetic.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final

import torch
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from wingbeat.task.masks import PlainMasks
from wingbeat.task.precision import Precision, autocast

if TYPE_CHECKING:
    from collections.abc import Iterator

_NORMS: Final = frozenset((F.layer_norm, F.batch_norm, F.group_norm, F.instance_norm))
_HALVES: Final = frozenset((torch.float16, torch.bfloat16))


class WideNorms(TorchFunctionMode):
    """Within this mode a normalisation of 16-bit numbers on a processor is made in float32."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Call the function; on a GPU autocast itself decides about normalisations."""
        kwargs = kwargs or {}
        if func in _NORMS and args and args[0].dtype in _HALVES and args[0].device.type == "cpu":
            x, *rest = args
            return func(x.float(), *rest, **kwargs).to(x.dtype)
        return func(*args, **kwargs)


@contextlib.contextmanager
def like_a_plain_loop(precision: Precision | None, device: torch.device) -> Iterator[None]:
    """Compute a loss that is differentiated as a function as a plain loop computes it."""
    widened = WideNorms() if precision else contextlib.nullcontext()
    with PlainMasks(), widened, autocast(precision, device, cached=False):
        yield
