"""Memory that a run will need, estimated before anything is computed; refused if it is not there.

The estimate counts what grows with the model and with the number of copies; activations, data and
the libraries themselves come on top.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch

from wingbeat.checkpoints.memory import show_memory
from wingbeat.errors import RequestError

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


_OF_ONE: Final = 10
"""Models beside the copies: the task's, a gradient, a fork in float64, what the allocator keeps."""
_SCATTERED: Final = 1.1
"""Of optimizer state, which lies in many tensors: holes between them that the allocator keeps."""
_UNREST: Final = 1.05
"""Of all: two runs of one request differ by some hundredths at their peak."""
_STACKED: Final = 3
"""Weights of all copies that a step in lock step takes besides: gradients, flat and by layer, and
what the update makes on its way."""


def needed(state: State, copies: int, kept: int = 0, *, stacked: bool = False) -> int:
    """Return the bytes at the peak of a run, without activations, data and libraries.

    Counted from what ``benchmarks/peak_memory.py`` measures. The loop holds weights, buffers and
    optimizer state of all copies once, and those of one copy again while a step makes the next;
    lock step makes the next of all copies at once. Snapshots are written from where the copies
    lie; a folder's are read tensor by tensor, those without a folder stay in memory.

    Args:
        state: of one copy.
        copies: the reference and its twin included.
        kept: snapshots that stay in memory; 0 where they go to the disk.
        stacked: whether all copies advance in one call.
    """
    weights = _bytes(state.params) + sum(map(_bytes, state.buffers.values()))
    slots = sum(map(_bytes, state.slots.values()))
    each = weights + slots
    one = _OF_ONE * weights + slots
    if stacked:  # filled up, so that no kernel has a remainder: to fours with batches of eight
        copies = -(-copies // 4) * 4
    step = copies * (each + _STACKED * weights) if stacked else 0
    held = copies * (weights + _SCATTERED * slots + kept * weights)
    return int(_UNREST * (held + step + one))


def check(
    state: State, copies: int, kept: int, device: torch.device, *, stacked: bool = False
) -> int:
    """Return what a run needs, in bytes, or refuse it.

    Args:
        state: of one copy.
        copies: the reference and its twin included.
        kept: snapshots that stay in memory.
        device: where it runs.
        stacked: whether all copies advance in one call.

    Raises:
        RequestError: there is less memory; the message holds both figures.
    """
    on_device = kept if device.type == "cpu" else 0  # snapshots are moved to the CPU
    size, free = needed(state, copies, on_device, stacked=stacked), free_memory(device)
    if free is not None and size > free:
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
        return int(torch.cuda.mem_get_info(device)[0])
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
