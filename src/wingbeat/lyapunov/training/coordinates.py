"""The state of a training run as one flat vector of D coordinates, and back."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

import torch

from wingbeat.generators import kept_generators
from wingbeat.params import Layout, fixed
from wingbeat.task.step import State

if TYPE_CHECKING:
    from torch import Tensor

    from wingbeat.task.batches import Batches, Streams
    from wingbeat.task.step import TrainingStep

PARAMETERS = "parameters"
"""Name of the block that holds the trainable parameters."""


@dataclass(frozen=True)
class Coordinates:
    """Which coordinates a training run's state has.

    Parameters come first, then the optimizer's slots, each as long as the parameters, then
    the buffers that training changes. Frozen parameters, constant buffers and counters are
    no coordinates: a derivative has nothing to say about them.

    Attributes:
        layout: of the parameters.
        slots: names of the optimizer's state vectors.
        buffers: layout of the buffers that change and are of floating point.

    >>> own = Coordinates(Layout(("w",), ((2, 3),)), ("momentum_buffer",), Layout((), ()))
    >>> own.size, own.blocks["momentum_buffer"]
    (12, slice(6, 12, None))
    """

    layout: Layout
    slots: tuple[str, ...]
    buffers: Layout

    @property
    def size(self) -> int:
        """Number of coordinates D."""
        return self.layout.size * (1 + len(self.slots)) + self.buffers.size

    @property
    def sizes(self) -> tuple[int, ...]:
        """Lengths of the blocks: parameters, each slot, all buffers together."""
        return (*(self.layout.size,) * (1 + len(self.slots)), self.buffers.size)

    @property
    def blocks(self) -> dict[str, slice]:
        """Place of each block by name; buffers by their own names."""
        sizes = [*self.sizes[:-1], *self.buffers.sizes]
        names = (PARAMETERS, *self.slots, *self.buffers.names)
        ends = accumulate(sizes, initial=0)
        return {n: slice(a, b) for n, (a, b) in zip(names, pairwise(ends), strict=True)}

    def flat(self, state: State) -> Tensor:
        """Return the coordinates ``(D,)`` of a single-replica state."""
        slots = [state.slots[name] for name in self.slots]
        blocks = [state.params, *slots]
        return torch.cat(
            [*blocks, self.flat_buffers(state.buffers)] if self.buffers.names else blocks
        )

    def flat_buffers(self, buffers: dict[str, Tensor]) -> Tensor:
        """Return the buffers among the coordinates, joined; there is at least one."""
        return torch.cat([buffers[name].reshape(-1) for name in self.buffers.names])

    def state(self, flat: Tensor, like: State) -> State:
        """Return the state with coordinates ``(D,)``; what is no coordinate is that of ``like``."""
        params, *slots, buffers = torch.split(flat, list(self.sizes))
        named = {n: b.clone() for n, b in self.buffers.unflatten(buffers).items()}
        moved = {**like.buffers, **named}
        return State(params.clone(), moved, dict(zip(self.slots, slots, strict=True)))

    @property
    def active(self) -> slice:
        """Place of parameters and slots: what decides the next parameters."""
        return slice(0, self.size - self.buffers.size)


def coordinates_of(step: TrainingStep, batches: Batches, streams: Streams) -> Coordinates:
    """Return the coordinates of a run, found by one trial step.

    Args:
        step: the pure step, which has an optimizer.
        batches: its data.
        streams: the noise of the trial step.
    """
    assert step.optimizer is not None
    start = step.start(step.task.seed)
    with kept_generators():
        _, _, after = step.gradient(start.params, start.buffers, batches.batch(streams, 0))
    own = dict(step.skeleton.named_buffers())
    changed = {
        name: tensor
        for name, tensor in fixed(step.skeleton).items()
        if name in own
        and tensor.is_floating_point()
        and not torch.equal(after[name], start.buffers[name])
    }
    return Coordinates(step.layout, step.optimizer.slots(), Layout.of(changed))
