"""Tensors with their entries permuted, one group after the other, outer groups first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from wingbeat.symmetry.blocks import AxisBlock
from wingbeat.symmetry.groups import Group

Order = Sequence[tuple[Group, Tensor, tuple[int, ...]]]
"""Groups, outer ones first, with their arrays and the leaves of their parents."""


def sources(
    group: Group, arrays: Mapping[str, Tensor], groups: Sequence[Group]
) -> tuple[Tensor, ...]:
    """Return where the parents of a group came from, for every combination of new entries.

    One int64 tensor of shape ``parent_sizes`` for each parent, for use as an index.
    """
    if not group.parents:
        return ()
    known = {g.name: g for g in groups}
    grids = torch.meshgrid([torch.arange(n) for n in group.parent_sizes], indexing="ij")
    place = dict(zip(group.parents, grids, strict=True))
    found = []
    for parent, grid in place.items():
        if parent not in arrays:
            found.append(grid)
            continue
        own = known[parent].parents
        found.append(arrays[parent][(*(place[p] for p in own), grid)])
    return tuple(found)


def aligned_mask(mask: Tensor, group: Group, parent: Group) -> Tensor:
    """Return a parent's mask with axes where the group's array has them."""
    names = (*parent.parents, parent.name)
    shape = [mask.shape[names.index(p)] if p in names else 1 for p in group.parents]
    order = [names.index(p) for p in group.parents if p in names]
    return mask.permute(order).reshape(*shape, 1)


def permuted(tensor: Tensor, parts: Sequence[AxisBlock], order: Order) -> Tensor:
    """Return a tensor with its blocks permuted; the tensor itself where nothing moves."""
    leaves = {group.leaf for group, _, _ in order}
    if not any(leaves & set(block.leaves) for block in parts):
        return tensor
    if len(parts) == 1:  # one block is the whole tensor, in the same order
        return permuted_view(parts[0].view(tensor), parts[0], order).reshape(tensor.shape)
    out = torch.empty_like(tensor, memory_format=torch.contiguous_format)
    for block in parts:
        block.view(out).copy_(permuted_view(block.view(tensor), block, order))
    return out


def permuted_view(view: Tensor, block: AxisBlock, order: Order) -> Tensor:
    """Return a part of a tensor with its leaves permuted, outer ones first."""
    for group, array, parents in order:
        for dim in block.places(group.leaf):
            if not parents:
                view = view.index_select(dim, array.to(view.device))
            else:
                index = spread_over_blocks(array, block, dim, parents)
                view = torch.take_along_dim(view, index.to(view.device), dim)
    return view


def spread_over_blocks(array: Tensor, block: AxisBlock, dim: int, parents: Sequence[int]) -> Tensor:
    """Return an array of a group inside parents with its axes where the block has them."""
    dims = [*(block.leaves.index(p) for p in parents), dim]
    order = sorted(range(len(dims)), key=lambda place: dims[place])
    shape = [1] * len(block.leaves)
    for place in order:
        shape[dims[place]] = array.shape[place]
    return array.permute(order).reshape(shape)
