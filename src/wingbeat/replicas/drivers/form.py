"""How the arguments of a step in lock step lie in a flat list of tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch.utils import _pytree as pytree

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class ArgumentForm:
    """How a step's arguments lie in a flat list of tensors."""

    buffers: tuple[str, ...]
    slots: tuple[str, ...]
    batch: Any
    spared: bool = False
    numbers: int = 0

    def inputs(self, leaves: Sequence[Tensor]) -> Sequence[Tensor]:
        """Return the tensors of the batch."""
        first = 1 + len(self.buffers) + len(self.slots)
        return leaves[first : first + self.batch.num_leaves]

    def arguments(self, leaves: Sequence[Tensor]) -> tuple[Any, ...]:
        """Return parameters, buffers, slots, batch and coefficients."""
        a = 1 + len(self.buffers)
        b = a + len(self.slots)
        c = b + self.batch.num_leaves
        return (
            leaves[0],
            dict(zip(self.buffers, leaves[1:a], strict=True)),
            dict(zip(self.slots, leaves[a:b], strict=True)),
            pytree.tree_unflatten(list(leaves[b:c]), self.batch),
            tuple(leaves[c:]),
        )

    def key(self, leaves: Sequence[Tensor]) -> tuple[Any, ...]:
        """Return what a recording of these arguments is found by.

        A state from a file has its tensors in another order than one from the model.
        """
        return (self.buffers, self.slots, leaves[0].shape, *(x.shape for x in self.inputs(leaves)))
