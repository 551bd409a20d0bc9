"""What a training step starts from and leaves: the state of one replica, or of a stack."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from wingbeat.typing import Buffers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

Slots = dict[str, "Tensor"]


@dataclass(frozen=True)
class State:
    """Everything that the next step depends on, besides its index.

    ``params`` is flat, ``(P,)`` for one replica or ``(replicas, P)``; ``buffers`` hold the
    model's buffers and frozen parameters by name, ``slots`` the optimizer's state by name.
    """

    params: Tensor
    buffers: Buffers
    slots: Slots

    def map(self, function: Callable[[Tensor], Tensor]) -> State:
        """Apply a function to every tensor."""
        return State(
            function(self.params),
            {name: function(t) for name, t in self.buffers.items()},
            {name: function(t) for name, t in self.slots.items()},
        )


def concatenate(states: list[State], given_up: Callable[[], object] = lambda: None) -> State:
    """Join states along the replica axis.

    The list is emptied, and tensors are given up one after another: where nobody else holds them,
    only one kind of tensor is there twice at a time.

    Args:
        states: what is joined.
        given_up: called whenever tensors of one kind were.
    """
    params = [s.params for s in states]
    buffers, slots = [{**s.buffers} for s in states], [{**s.slots} for s in states]
    states.clear()
    joined = torch.cat(params)
    params.clear()
    given_up()
    return State(joined, _joined(buffers, given_up), _joined(slots, given_up))


def _joined(each: Sequence[dict[str, Tensor]], given_up: Callable[[], object]) -> dict[str, Tensor]:
    out = {}
    for name in tuple(each[0]):
        out[name] = torch.cat([own.pop(name) for own in each])
        given_up()
    return out
