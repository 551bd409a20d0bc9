"""Capture a recorded step once as a CUDA graph: one launch a step instead of one an operation.

A step of a small network is a few hundred operations that each keep a GPU busy for microseconds,
less than Python takes to launch them. A graph holds all launches of one step. It reads and writes
the same memory each time, so that what it is called with is copied in, and what it made is copied
out before anything else can overwrite it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import torch

from wingbeat.errors import DriverError
from wingbeat.generators import kept_generators

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

_WARM: Final = 3
"""Calls before the capture, as torch asks for: libraries choose kernels and take workspace then."""


class GraphedStep:
    """A program of tensors on one CUDA device, captured and replayed.

    Args:
        program: a recording: a fixed list of operations that reads nothing but its arguments.
        leaves: its arguments, of the shapes that all later calls have. Numbers on the processor are
            handed over on the device, since a graph would repeat those of its capture.

    Raises:
        DriverError: the program cannot be captured; with the reason.
    """

    def __init__(self, program: Callable[..., list[Tensor]], leaves: list[Tensor]) -> None:
        self.device = leaves[0].device
        self._numbers = [i for i, t in enumerate(leaves) if t.device.type == "cpu"]
        self._tensors = [i for i, t in enumerate(leaves) if t.device.type != "cpu"]
        if self.device.type != "cuda" or any(leaves[i].dim() for i in self._numbers):
            raise DriverError("CUDA graphs need all of a step's tensors on a CUDA device")
        self._static = [leaves[i].clone() for i in self._tensors]
        self._row = torch.tensor(
            [float(leaves[i]) for i in self._numbers], dtype=torch.float64, device=self.device
        )
        try:
            with torch.cuda.device(self.device), kept_generators():
                self._graph, self._made = self._captured(program, len(leaves))
        except RuntimeError as error:
            line = str(error).strip().partition("\n")[0]
            raise DriverError(f"the step cannot be captured as a CUDA graph: {line}") from error

    def _captured(
        self, program: Callable[..., list[Tensor]], count: int
    ) -> tuple[torch.cuda.CUDAGraph, list[Tensor]]:
        arguments: list[Tensor] = [self._row] * count
        for place, tensor in zip(self._tensors, self._static, strict=True):
            arguments[place] = tensor
        for place, number in zip(self._numbers, self._row.unbind(), strict=True):
            arguments[place] = number
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(_WARM):
                program(*arguments)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            made = program(*arguments)
        return graph, made

    def __call__(self, *leaves: Tensor) -> list[Tensor]:
        """Make one step; returns tensors that the next call leaves alone."""
        numbers = torch.stack([leaves[i] for i in self._numbers]) if self._numbers else None
        with torch.cuda.device(self.device):
            torch._foreach_copy_(self._static, [leaves[i] for i in self._tensors])
            if numbers is not None:  # from pinned memory, so that the processor need not wait
                self._row.copy_(numbers.double().pin_memory(), non_blocking=True)
            self._graph.replay()
            return [t.clone() for t in self._made]
