"""Mixed precision: autocast around the loss, and the gradient scaler of one replica.

``Scaler`` is torch's own scaler handed from replica to replica; ``LossScaling`` is the same
arithmetic as a pure function of tensors, so that a stack of replicas can scale, overflow and skip
each for itself in one call.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import torch

from wingbeat.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

    from torch import Tensor

Precision = Literal["bf16", "fp16"]
TYPES: Final = {"bf16": torch.bfloat16, "fp16": torch.float16}
_PREFIX: Final = "scaler/"
SCALE: Final = f"{_PREFIX}scale"
TRACKER: Final = f"{_PREFIX}_growth_tracker"
SKIPPED: Final = f"{_PREFIX}skipped"
"""Updates that a replica has left out: its optimizer counts so many less than the run."""


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


def check_scaler(factory: Any, precision: Precision | None) -> None:
    """Refuse a factory of scalers that would be misread.

    Raises:
        RequestError: it says what to pass.
    """
    if factory is None:
        return
    if not callable(factory):
        advice = "pass a function that makes one: scaler=lambda: torch.amp.GradScaler('cpu')"
        raise RequestError(f"Task.scaler is a {type(factory).__name__}: {advice}")
    if precision != "fp16":
        msg = f"Task.scaler is given and precision is {precision!r}: only 'fp16' scales its loss"
        raise RequestError(msg)
    made_scaler(factory, torch.device("cpu"))


def made_scaler(factory: Callable[[], Any] | None, device: torch.device) -> torch.amp.GradScaler:
    """Return a task's scaler, or torch's usual one, on a device.

    Raises:
        RequestError: the factory makes something else, or a scaler that scales nothing.
    """
    scaler = torch.amp.GradScaler(device.type)
    if factory is None:
        return scaler
    made = factory()
    if type(made).__name__ != "GradScaler" or not isinstance(made, torch.amp.GradScaler):
        msg = (
            f"Task.scaler makes a {type(made).__name__}: pass torch.amp.GradScaler, or train with "
            "another one in a loop of your own (wb.Twins)"
        )
        raise RequestError(msg)
    if not made.is_enabled():
        msg = (
            "Task.scaler makes a scaler that is disabled, as GradScaler('cuda') is without CUDA: "
            "make it for the device of the run, as torch.amp.GradScaler('cpu')"
        )
        raise RequestError(msg)
    scaler.load_state_dict(made.state_dict())
    return scaler


class Scaler:
    """The gradient scaler of the replica at hand; its state travels with the replica's.

    Args:
        device: where gradients lie.
        factory: of the scaler; None is torch's usual one.
    """

    def __init__(self, device: torch.device, factory: Callable[[], Any] | None = None) -> None:
        self.scaler = made_scaler(factory, device)
        self.scaler.scale(torch.zeros((), device=device))  # it makes its tensors at the first call
        self._first = self.take()

    def put(self, slots: Mapping[str, Tensor]) -> None:
        """Take over the state of one replica, the usual one where it has none yet."""
        own = {k: t for k, t in slots.items() if k in self._first} or self._first
        state = self.scaler.state_dict()
        for name, value in own.items():
            key = name.removeprefix(_PREFIX)
            state[key] = type(state[key])(value.item())
        self.scaler.load_state_dict(state)

    def take(self) -> dict[str, Tensor]:
        """Return the state as tensors by name."""
        state = self.scaler.state_dict()
        return {
            name: torch.tensor(float(state[name.removeprefix(_PREFIX)]), dtype=torch.float64)
            for name in (SCALE, TRACKER)
        }


@dataclass(frozen=True)
class LossScaling:
    """What a gradient scaler does in one update, for one replica, as operations on tensors.

    Its state are three slots without axes: the scale, the updates since it last changed, and the
    updates that were left out. Source: ``torch.amp.GradScaler`` and the kernels that it calls,
    ``_amp_foreach_non_finite_check_and_unscale_`` and ``_amp_update_scale_`` (torch 2.13).

    Args:
        scale: to begin with.
        growth_factor: of the scale after ``growth_interval`` updates without an overflow.
        backoff_factor: of the scale after an overflow.
        growth_interval: in updates.
        tracker: updates without an overflow to begin with.
    """

    scale: float
    growth_factor: float
    backoff_factor: float
    growth_interval: int
    tracker: int = 0

    @classmethod
    def of(cls, scaler: torch.amp.GradScaler) -> LossScaling:
        """Return what a scaler is set to."""
        state = scaler.state_dict()
        own = {k: state[k] for k in ("scale", "growth_factor", "backoff_factor", "growth_interval")}
        return cls(**own, tracker=state["_growth_tracker"])

    def start(self, device: torch.device) -> dict[str, Tensor]:
        """Return the state before the first update."""
        tracker, none = torch.tensor([self.tracker, 0], dtype=torch.int32, device=device).unbind()
        scale = torch.tensor(self.scale, dtype=torch.float32, device=device)
        return {SCALE: scale, TRACKER: tracker, SKIPPED: none.clone()}

    def unscaled(self, grad: Tensor, slots: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return the gradient ``(P,)`` of the loss itself, and whether the scaled one is finite."""
        return grad * slots[SCALE].double().reciprocal().float(), torch.isfinite(grad).all()

    def moved_on(self, finite: Tensor, slots: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the state after an update whose gradients were finite, or were not."""
        scale, tracker = slots[SCALE], slots[TRACKER] + 1
        due = tracker == self.growth_interval
        grown = (scale.double() * self.growth_factor).float()
        grown = torch.where(due & torch.isfinite(grown), grown, scale)
        shrunk = (scale.double() * self.backoff_factor).float()
        return {
            SCALE: torch.where(finite, grown, shrunk),
            TRACKER: torch.where(finite & ~due, tracker, torch.zeros_like(tracker)),
            SKIPPED: slots[SKIPPED] + (~finite).to(slots[SKIPPED].dtype),
        }


def scaling_of(
    precision: Precision | None, factory: Callable[[], Any] | None, device: torch.device
) -> LossScaling | None:
    """Return how a task scales its loss; None where it does not."""
    return LossScaling.of(made_scaler(factory, device)) if precision == "fp16" else None


def is_scaler(slot: str) -> bool:
    """Tell whether a slot of a replica's state is its gradient scaler's."""
    return slot.startswith(_PREFIX)


def left_out(slots: Mapping[str, Tensor]) -> int:
    """Return how many updates one replica has left out; 0 where its loss is not scaled."""
    return int(slots[SKIPPED]) if SKIPPED in slots else 0
