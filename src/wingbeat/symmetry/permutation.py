"""A permutation of every group of a specification: applied, inverted, composed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from wingbeat.errors import RequestError
from wingbeat.symmetry.blocks import Block
from wingbeat.symmetry.groups import Group

if TYPE_CHECKING:
    from wingbeat.symmetry.spec import PermutationSpec


@dataclass(frozen=True, eq=False)
class Permutation:
    """One permutation for every group of a `PermutationSpec`.

    Attributes:
        spec: the specification it belongs to.
        arrays: by group name, int64 of shape ``(*parent sizes, size)``; entry i of the permuted
            tensor is entry ``array[i]`` of the original. Inside parents the array is indexed by
            the parents' new entries.

    Source: Ainsworth et al., "Git Re-Basin" (2022), section 2; block-wise permutations of
    attention heads as in a wreath product.

    >>> import torch, wingbeat.symmetry as sym
    >>> net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU(), torch.nn.Linear(3, 1))
    >>> spec = sym.permutation_spec(net, torch.zeros(1, 2))
    >>> p, x = spec.random(0), torch.ones(1, 2)
    >>> moved = p.apply(net.state_dict())
    >>> bool(torch.allclose(torch.func.functional_call(net, moved, x), net(x)))
    True
    >>> p.compose(p.inverse()) == spec.identity()
    True
    """

    spec: PermutationSpec
    arrays: Mapping[str, Tensor]

    def apply(self, state: Mapping[str, Tensor], *, strict: bool = True) -> dict[str, Tensor]:
        """Return a state dict with every group permuted; tensors that do not move are shared.

        Args:
            state: tensors by the model's names, of the model's shapes; not changed.
            strict: whether every name of the model has to be there. Where not, the tensors that
                are given are permuted. Of tied names one is enough in both cases.

        Raises:
            RequestError: names are missing or unknown, or a shape is another one; all listed.
        """
        self.spec.check_state(state, strict=strict)
        order = by_leaf(self.spec, self.arrays)
        return {
            name: permuted(tensor, self.spec.blocks.get(name, ()), order)
            for name, tensor in state.items()
        }

    def inverse(self) -> Permutation:
        """Return the permutation that undoes this one.

        An inner permutation is undone at the place where its parent came from.
        """
        found: dict[str, Tensor] = {}
        for group in self.spec.groups:
            at = sources(group, found, self.spec.groups)
            found[group.name] = self.arrays[group.name][at].argsort(-1)
        return Permutation(self.spec, found)

    def compose(self, other: Permutation) -> Permutation:
        """Return the permutation that does ``other`` first and then this one.

        ``p.compose(q).apply(state)`` equals ``p.apply(q.apply(state))``.

        Raises:
            RequestError: the two belong to different specifications.
        """
        self._check_same(other)
        found = {}
        for group in self.spec.groups:
            mine, theirs = self.arrays[group.name], other.arrays[group.name]
            at = sources(group, self.arrays, self.spec.groups)
            found[group.name] = theirs[at].gather(-1, mine)
        return Permutation(self.spec, found)

    @property
    def fixed_point_share(self) -> float:
        """Share of entries that stay where they are, over all groups: in [0, 1], 1 = identity.

        An entry inside parents stays if its parents stay as well. NaN without any group.
        """
        masks = list(self._stays().values())
        size = sum(mask.numel() for mask in masks)
        return sum(int(mask.sum()) for mask in masks) / size if size else float("nan")

    def fixed_point_shares(self) -> dict[str, float]:
        """Return the share of entries that stay for every group."""
        return {name: float(mask.double().mean()) for name, mask in self._stays().items()}

    def _stays(self) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        for group in self.spec.groups:
            stays = self.arrays[group.name] == torch.arange(group.size)
            for parent in group.parents:
                if parent in found:
                    stays = stays & _aligned(found[parent], group, self.spec.named(parent))
            found[group.name] = stays
        return found

    def _check_same(self, other: Permutation) -> None:
        if self.spec.groups != other.spec.groups:
            raise RequestError(
                f"permutations of different specifications ({len(self.spec.groups)} and "
                f"{len(other.spec.groups)} groups) do not compose; use one specification for both"
            )

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Permutation)
            and self.spec.groups == other.spec.groups
            and all(bool(torch.equal(a, other.arrays[n])) for n, a in self.arrays.items())
        )

    def __hash__(self) -> int:
        return hash(tuple(tuple(a.flatten().tolist()) for a in self.arrays.values()))


Order = Sequence[tuple[Group, Tensor, tuple[int, ...]]]
"""Groups, outer ones first, with their arrays and the leaves of their parents."""


def by_leaf(spec: PermutationSpec, arrays: Mapping[str, Tensor]) -> Order:
    """Return groups with arrays in the order in which they are applied."""
    return [(g, arrays[g.name], spec.parent_leaves(g)) for g in spec.groups if g.name in arrays]


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


def _aligned(mask: Tensor, group: Group, parent: Group) -> Tensor:
    """Return a parent's mask with axes where the group's array has them."""
    names = (*parent.parents, parent.name)
    shape = [mask.shape[names.index(p)] if p in names else 1 for p in group.parents]
    order = [names.index(p) for p in group.parents if p in names]
    return mask.permute(order).reshape(*shape, 1)


def permuted(tensor: Tensor, parts: Sequence[Block], order: Order) -> Tensor:
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


def permuted_view(view: Tensor, block: Block, order: Order) -> Tensor:
    """Return a part of a tensor with its leaves permuted, outer ones first."""
    for group, array, parents in order:
        for dim in block.places(group.leaf):
            if not parents:
                view = view.index_select(dim, array.to(view.device))
            else:
                view = torch.take_along_dim(view, spread(array, block, dim, parents), dim)
    return view


def spread(array: Tensor, block: Block, dim: int, parents: Sequence[int]) -> Tensor:
    """Return an array of a group inside parents with its axes where the block has them."""
    dims = [*(block.leaves.index(p) for p in parents), dim]
    order = sorted(range(len(dims)), key=lambda place: dims[place])
    shape = [1] * len(block.leaves)
    for place in order:
        shape[dims[place]] = array.shape[place]
    return array.permute(order).reshape(shape)
