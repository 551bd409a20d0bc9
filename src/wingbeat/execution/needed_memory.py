"""Memory that a run will need, estimated before anything is computed; refused if it is not there.

The estimate counts what grows with the model and with the number of copies; activations, data and
the libraries themselves come on top.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch

from wingbeat.errors import RequestError
from wingbeat.replicas.snapshot import LARGE

if TYPE_CHECKING:
    from wingbeat.task.step import State

_LIMITS: Final = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    (
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/memory.usage_in_bytes",
    ),
)
"""Where Linux says what a container may take, and what it has taken."""


_OF_ONE: Final = 3.5
"""Models beside the copies: the one that is called, and a gradient and what an optimizer makes on
its way, or a fork's weights in float64; and what the allocator keeps."""
_OF_STACK: Final = 2.3
"""Models beside a stack that is updated in place: the one that copies are made from, and what the
allocator keeps."""
_OF_TRIALS: Final = 1.5
"""Optimizer states of one copy that lie beside a stack that is not, and a model."""
_UNREST: Final = 1.1
"""Of all: two runs of one request differ by some hundredths at their peak."""
_WHOLE: Final = 3
"""Weights of all copies that a step in lock step takes besides where it is not made in place:
gradients, flat and by layer, and what the update makes on its way."""


@dataclass(frozen=True)
class Form:
    """How the copies of a run are advanced, as far as it decides about memory.

    Args:
        stacked: whether all advance in one call.
        spared: whether such a call updates them in place.
        clipped: whether gradients are clipped, which takes them in one piece.
    """

    stacked: bool = False
    spared: bool = True
    clipped: bool = False


def needed(state: State, copies: int, kept: int = 0, form: Form = Form()) -> int:
    """Return the bytes at the peak of a run, without activations, data and libraries.

    Counted from what ``benchmarks/peak_memory.py`` measures. The copies' weights, buffers and
    optimizer state lie in memory once. The loop takes one gradient besides, lock step those of all
    copies; where replicas are small, or an update cannot be made in place, all next states too.
    Snapshots are written from where the copies lie; those without a folder stay in memory.

    Args:
        state: of one copy.
        copies: the reference and its twin included, and those that fill up a stack.
        kept: snapshots that stay in memory; 0 where they go to the disk.
        form: how they are advanced.
    """
    weights = _bytes(state.params) + sum(map(_bytes, state.buffers.values()))
    each = weights + sum(map(_bytes, state.slots.values()))
    slots = each - weights
    one, step = _OF_ONE * weights, 0
    if form.stacked and form.spared:
        one, step = _OF_STACK * weights, weights * (3 if form.clipped else 1)
    elif form.stacked:
        one, step = one + weights + _OF_TRIALS * slots, each + _WHOLE * weights
    elif copies * weights <= LARGE:
        step = each
    return int(_UNREST * (copies * (each + kept * weights + step) + one))


def check(state: State, copies: int, kept: int, device: torch.device, form: Form = Form()) -> int:
    """Return what a run needs, in bytes, or refuse it.

    Args:
        state: of one copy.
        copies: the reference and its twin included.
        kept: snapshots that stay in memory.
        device: where it runs.
        form: how they are advanced.

    Raises:
        RequestError: there is less memory; the message holds both figures.
    """
    on_device = kept if device.type == "cpu" else 0  # snapshots are moved to the CPU
    size, free = needed(state, copies, on_device, form), free_memory(device)
    if free is not None and size > free:
        from wingbeat.checkpoints.memory import show_memory  # late: with all of checkpoints

        weights = show_memory(_bytes(state.params))
        spared = " With out=, snapshots go to the disk instead." if kept else ""
        raise RequestError(
            f"{copies} copies of a model of {weights} need about {show_memory(size)} at the peak, "
            f"activations not counted, and {show_memory(free)} are free on {device}: ask for fewer "
            f"replicas or perturbations, or use a machine with more.{spared}"
        )
    return size


def free_memory(device: torch.device) -> int | None:
    """Return the bytes that this process can still take, swap included; None if nobody tells."""
    if device.type == "cuda":
        # What earlier runs of this process gave back torch keeps, for the next one to use.
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + int(kept)
    if device.type != "cpu":
        return None
    found = [_of_machine(), *(_of_container(*pair) for pair in _LIMITS)]
    return min((size for size in found if size is not None), default=None)


def _of_machine() -> int | None:
    told = dict(re.findall(r"(\w+):\s+(\d+) kB", _text("/proc/meminfo")))
    if "MemAvailable" not in told:
        return None
    return 1024 * (int(told["MemAvailable"]) + int(told.get("SwapFree", 0)))


def _of_container(most: str, taken: str) -> int | None:
    limit, used = _text(most).strip(), _text(taken).strip()
    if not (limit.isdecimal() and used.isdecimal()):
        return None
    stat = _text(str(Path(most).with_name("memory.stat")))
    # What files hold in memory counts as taken, but is given up at once.
    cached = sum(int(size) for size in re.findall(r"^(?:in)?active_file (\d+)", stat, re.MULTILINE))
    return int(limit) - int(used) + cached


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii")
    except (OSError, ValueError):
        return ""


def _bytes(tensor: Any) -> int:
    return int(tensor.numel()) * int(tensor.element_size())
