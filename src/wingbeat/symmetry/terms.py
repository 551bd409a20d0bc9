"""What a matching maximises: a sum of inner products ⟨A, P·B⟩ over parts of tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from string import ascii_letters
from typing import Protocol

import torch
from torch import Tensor

from wingbeat.symmetry.blocks import AxisBlock
from wingbeat.symmetry.permuted import Order, spread_over_blocks
from wingbeat.symmetry.spec import PermutationSpec

Dims = Sequence[int]


class Term(Protocol):
    """One inner product ⟨A, P·B⟩ between parts of two models."""

    @property
    def block(self) -> AxisBlock:
        """Which leaf every axis of the part belongs to."""

    @property
    def count(self) -> int:
        """Numbers that are compared."""

    def table(self, batch: Dims, pairs: Dims, order: Order) -> Tensor:
        """Return the inner product split by entries of some axes.

        Args:
            batch: axes along which A and B are compared at the same entry.
            pairs: axes along which every entry of A is compared with every one of B; B is not
                permuted along them.
            order: groups with their current arrays; B is permuted along all other axes.

        Returns:
            ``(entries of batch, entries of pairs in A, entries of pairs in B)``, in the type of
            the products; sums over terms are taken in float64.
        """


@dataclass(frozen=True, eq=False)
class WeightTerm:
    """The inner product of a part of a weight of two models."""

    block: AxisBlock
    a: Tensor
    b: Tensor

    @property
    def count(self) -> int:
        """See `Term`."""
        return self.a.numel()

    def table(self, batch: Dims, pairs: Dims, order: Order) -> Tensor:
        """See `Term`: one matrix product in the type of the weights."""
        moved = moved_view(self.b, self.block, order, 0, pairs)
        first, second = (arranged(t, batch, pairs) for t in (self.a, moved))
        return first @ second.transpose(1, 2)


@dataclass(frozen=True, eq=False)
class CovarianceTerm:
    """Correlations between the units of two models at one activation.

    ``values`` has the axes of the part twice: those of the first model, then of the second.
    """

    block: AxisBlock
    values: Tensor

    @property
    def count(self) -> int:
        """See `Term`."""
        return self.values.numel()

    def table(self, batch: Dims, pairs: Dims, order: Order) -> Tensor:
        """See `Term`: diagonals and sums of the correlations."""
        count = len(self.block.leaves)
        values = moved_view(self.values, self.block, order, count, pairs)
        first = ascii_letters[:count]
        second = "".join(
            ascii_letters[count + dim] if dim in pairs else first[dim] for dim in range(count)
        )
        kept = "".join(first[d] for d in batch) + "".join(first[d] for d in pairs)
        kept += "".join(second[d] for d in pairs)
        sizes = self.values.shape
        found = torch.einsum(f"{first}{second}->{kept}", values)
        inner = prod(sizes[d] for d in pairs)
        return found.reshape(prod(sizes[d] for d in batch), inner, inner)


def arranged(view: Tensor, batch: Dims, pairs: Dims) -> Tensor:
    """Return a part as ``(batch, pairs, rest)``."""
    rest = [d for d in range(view.dim()) if d not in batch and d not in pairs]
    shape = prod(view.shape[d] for d in batch), prod(view.shape[d] for d in pairs)
    return view.permute(*batch, *pairs, *rest).reshape(*shape, prod(view.shape[d] for d in rest))


def moved_view(view: Tensor, block: AxisBlock, order: Order, lead: int, skip: Dims) -> Tensor:
    """Return a part permuted along all axes but some.

    ``lead`` axes come before those of the block. Where an axis is skipped whose group is a
    parent of a group that is not, the inner permutation travels with the parent's entries.
    """
    carried = []
    for group, array, parents in order:
        places = block.places(group.leaf)
        if not places:
            continue
        inside = {p for _, _, above in order if group.leaf in above for p in above}
        for dim in places:
            travels = group.leaf in inside and _has_children(block, group.leaf, order, skip)
            if dim in skip and not travels:
                continue
            view = _along(view, array, block, dim, parents, lead)
            if dim in skip:
                carried.append((array, dim, parents))
    for array, dim, parents in reversed(carried):
        view = _along(view, array.argsort(-1), block, dim, parents, lead)
    return view


def _has_children(block: AxisBlock, leaf: int, order: Order, skip: Dims) -> bool:
    return any(
        leaf in above and any(dim not in skip for dim in block.places(group.leaf))
        for group, _, above in order
    )


def _along(
    view: Tensor, array: Tensor, block: AxisBlock, dim: int, parents: Sequence[int], lead: int
) -> Tensor:
    if not parents:
        return view.index_select(lead + dim, array)
    index = spread_over_blocks(array, block, dim, parents)
    return torch.take_along_dim(view, index.reshape((1,) * lead + index.shape), lead + dim)


def weight_terms(
    spec: PermutationSpec,
    a: Mapping[str, Tensor],
    b: Mapping[str, Tensor],
    dtype: torch.dtype | None = None,
) -> list[Term]:
    """Return the inner products of all parameters that some group moves, tied ones once.

    Running statistics are left out, as in `aligned_distance`: they are no weights, and their
    size would outweigh them. A group keeps what its parameters say.

    Args:
        spec: of the model.
        a: the weights that stay.
        b: the weights that are permuted.
        dtype: in which products are taken; by default that of the weights, at least float32.
    """
    leaves = {group.leaf for group in spec.groups}
    found: list[Term] = []
    seen: set[str] = set()
    for name, parts in spec.blocks.items():
        if name in seen or name not in a or name not in b or name not in spec.parameters:
            continue
        seen.update(spec.tied.get(name, ()))
        kind = dtype or torch.promote_types(a[name].dtype, torch.float32)
        one, other = a[name].detach().to(kind), b[name].detach().to(kind)
        found += [
            WeightTerm(part, part.view(one), part.view(other))
            for part in parts
            if leaves & set(part.leaves)
        ]
    return found
