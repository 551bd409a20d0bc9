"""Mixed precision: autocast around the loss, and the gradient scaler of one replica."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final, Literal

import torch

from wingbeat.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager

    from torch import Tensor

Precision = Literal["bf16", "fp16"]
TYPES: Final = {"bf16": torch.bfloat16, "fp16": torch.float16}
_PREFIX: Final = "scaler/"


def autocast(
    precision: Precision | None, device: torch.device, *, cached: bool = True
) -> AbstractContextManager[Any]:
    """Return the context in which a loss is computed.

    Args:
        precision: None leaves everything as it is.
        device: where it is computed.
        cached: whether a weight that is used twice is cast once, as a plain loop does it; what
            ``torch.func`` wraps around a weight must not outlive its transform.
    """
    if precision is None:
        return contextlib.nullcontext()
    return torch.autocast(device.type, TYPES[precision], cache_enabled=cached)


def check_precision(precision: Precision | None, dtype: torch.dtype) -> None:
    """Refuse mixed precision around a model that is not in single precision.

    Raises:
        RequestError: it says what to ask for.
    """
    if precision is not None and dtype != torch.float32:
        name = str(dtype).removeprefix("torch.")
        msg = (
            f"Task.precision is {precision!r} and dtype is {name}: autocast keeps the weights in "
            "float32; leave one of the two out"
        )
        raise RequestError(msg)


class Scaler:
    """The gradient scaler of the replica at hand; its state travels with the replica's.

    Args:
        device: where gradients lie.
    """

    def __init__(self, device: torch.device) -> None:
        self.scaler = torch.amp.GradScaler(device.type)
        self.scaler.scale(torch.zeros((), device=device))  # it makes its tensors at the first call
        self._first = self.take()

    def put(self, slots: Mapping[str, Tensor]) -> None:
        """Take over the state of one replica, the usual one where it has none yet."""
        own = {k: t for k, t in slots.items() if is_scaler(k)} or self._first
        state = self.scaler.state_dict()
        for name, value in own.items():
            key = name.removeprefix(_PREFIX)
            state[key] = type(state[key])(value.item())
        self.scaler.load_state_dict(state)

    def take(self) -> dict[str, Tensor]:
        """Return the state as tensors by name."""
        state = self.scaler.state_dict()
        return {
            f"{_PREFIX}{k}": torch.tensor(float(state[k]), dtype=torch.float64)
            for k in ("scale", "_growth_tracker")
        }


def is_scaler(slot: str) -> bool:
    """Tell whether a slot of a replica's state is its gradient scaler's."""
    return slot.startswith(_PREFIX)
