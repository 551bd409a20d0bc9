"""Named tensors as one flat vector and back, replica axis first."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from math import prod
from typing import TYPE_CHECKING

import torch

from wingbeat.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from torch import Tensor, nn


@dataclass(frozen=True)
class Layout:
    """Where each named tensor lies in a flat vector of ``size`` numbers.

    >>> layout = Layout(("weight", "bias"), ((2, 3), (2,)))
    >>> layout.size, layout.slices["bias"]
    (8, slice(6, 8, None))
    >>> layout.unflatten(torch.arange(8.0))["bias"]
    tensor([6., 7.])
    """

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    sizes: tuple[int, ...] = field(init=False)
    slices: dict[str, slice] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        sizes = tuple(prod(shape) for shape in self.shapes)
        ends = list(accumulate(sizes, initial=0))
        places = [slice(a, b) for a, b in pairwise(ends)]
        object.__setattr__(self, "sizes", sizes)
        object.__setattr__(self, "slices", dict(zip(self.names, places, strict=True)))

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> Layout:
        """Lay out tensors in the mapping's own order."""
        return cls(tuple(tensors), tuple(tuple(t.shape) for t in tensors.values()))

    @property
    def size(self) -> int:
        """Count of numbers in one replica."""
        return sum(self.sizes)

    def flatten(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """Concatenate tensors of shape ``(..., *shape)`` to one of shape ``(..., size)``."""
        pieces = []
        for name, shape in zip(self.names, self.shapes, strict=True):
            tensor = tensors[name]
            lead = tensor.shape[: tensor.dim() - len(shape)]
            pieces.append(tensor.reshape(*lead, -1))
        return torch.cat(pieces, dim=-1)

    def unflatten(self, flat: Tensor) -> dict[str, Tensor]:
        """View a ``(..., size)`` tensor as named tensors of shape ``(..., *shape)``."""
        lead = flat.shape[:-1]
        return {name: piece.view((*lead, *shape)) for name, shape, piece in self._pieces(flat)}

    def _pieces(self, flat: Tensor) -> Iterator[tuple[str, tuple[int, ...], Tensor]]:
        return zip(
            self.names, self.shapes, torch.split(flat, list(self.sizes), dim=-1), strict=True
        )


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """Return the parameters that training changes, tied ones once, by name."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def fixed(model: nn.Module) -> dict[str, Tensor]:
    """Return what training does not move by gradient: frozen parameters and buffers."""
    frozen = {name: p for name, p in model.named_parameters() if not p.requires_grad}
    return {**frozen, **dict(model.named_buffers())}


def check_names(found: Iterable[str], wanted: Iterable[str], whose: str) -> None:
    """Refuse weights that are not called as those that they are to be compared with.

    Args:
        found: names of the weights of a copy.
        wanted: names of the weights that were built before.
        whose: the copy, for the message.

    Raises:
        RequestError: a name is of one only.
    """
    other = sorted(set(found) ^ set(wanted))
    if other:
        raise RequestError(
            f"the weights of {whose} have other names than those built before: {other[0]!r} is of "
            "one only. Where a framework numbers layers through the process, name the layers, or "
            "begin with keras.utils.clear_session() or its like"
        )
