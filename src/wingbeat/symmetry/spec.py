"""The permutation symmetries of a model, and one permutation of them: each holds the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from wingbeat.errors import RequestError
from wingbeat.symmetry.blocks import AxisBlock
from wingbeat.symmetry.groups import Blocked, Group
from wingbeat.symmetry.permuted import Order, aligned_mask, permuted, sources


@dataclass(frozen=True)
class Capture:
    """An activation that some operation sums over: where units of two models are compared.

    Attributes:
        node: name in the graph.
        blocks: parts of the tensor with one axis for each leaf.
    """

    node: str
    blocks: tuple[AxisBlock, ...]


@dataclass(frozen=True)
class PermutationSpec:
    """Which entries of a model's weights may be permuted together without changing the model.

    Attributes:
        groups: what may be permuted, outer groups before those inside them.
        blocked: axes that stay in place, each with the operation that blocked it.
        shapes: of every tensor of the state dict.
        tied: for every name, all names of the same memory.
        blocks: parts of every parameter with one axis for each leaf.
        captures: activations at which units can be compared.
        program: the exported graph; None after pickling.
        leaf_of: number of the leaf of every group and of every fixed part, by name.
        parameters: names of what training moves, which distances count; buffers are not.
        largest_gap: largest relative change of an output in the numerical check.
        compute: the outputs of the model for the example inputs with other weights, in float64;
            None after pickling, or without the numerical check.
    """

    groups: tuple[Group, ...]
    blocked: tuple[Blocked, ...]
    shapes: Mapping[str, tuple[int, ...]]
    tied: Mapping[str, tuple[str, ...]]
    blocks: Mapping[str, tuple[AxisBlock, ...]]
    captures: tuple[Capture, ...] = ()
    program: torch.export.ExportedProgram | None = field(default=None, repr=False, compare=False)
    leaf_of: Mapping[str, int] = field(default_factory=dict, repr=False)
    parameters: tuple[str, ...] = ()
    largest_gap: float = float("nan")
    compute: Callable[[Mapping[str, Tensor]], list[Tensor]] | None = field(
        default=None, repr=False, compare=False
    )

    def named(self, name: str) -> Group:
        """Return a group by name.

        Raises:
            RequestError: there is none of that name.
        """
        for group in self.groups:
            if group.name == name:
                return group
        raise RequestError(f"no group {name!r}: the groups are {[g.name for g in self.groups]}")

    def parent_leaves(self, group: Group) -> tuple[int, ...]:
        """Return the leaf numbers of a group's parents."""
        return tuple(self.leaf_of[parent] for parent in group.parents)

    def order(self, arrays: Mapping[str, Tensor]) -> Order:
        """Return groups with arrays in the order in which they are applied."""
        return [(g, arrays[g.name], self.parent_leaves(g)) for g in self.groups if g.name in arrays]

    def identity(self) -> Permutation:
        """Return the permutation that moves nothing."""
        arrays = {g.name: torch.arange(g.size).expand(g.shape).clone() for g in self.groups}
        return Permutation(self, arrays)

    def random(self, seed: int, *, uniform: bool = False) -> Permutation:
        """Return a permutation drawn uniformly and independently for every group.

        Args:
            seed: the same seed gives the same permutation.
            uniform: whether an inner group gets one permutation for all entries of its parents
                instead of one for each.
        """
        generator = torch.Generator().manual_seed(seed)
        arrays = {}
        for group in self.groups:
            shape = (group.size,) if uniform else group.shape
            draws = torch.rand(shape, generator=generator, dtype=torch.float64)
            arrays[group.name] = draws.argsort(-1).expand(group.shape).clone()
        return Permutation(self, arrays)

    def permutation(self, arrays: Mapping[str, Tensor | Sequence[int]]) -> Permutation:
        """Return the permutation with the given arrays; groups that are not named stay.

        Raises:
            RequestError: an unknown group, a wrong shape, or numbers that are no permutation.
        """
        found = dict(self.identity().arrays)
        for name, given in arrays.items():
            group = self.named(name)
            array = torch.as_tensor(given, dtype=torch.int64)
            whole = torch.arange(group.size).expand(group.shape)
            if tuple(array.shape) != group.shape or not torch.equal(array.sort(-1).values, whole):
                raise RequestError(
                    f"group {name!r} needs permutations of 0…{group.size - 1} in an array of shape "
                    f"{group.shape}, not one of shape {tuple(array.shape)}"
                )
            found[name] = array
        return Permutation(self, found)

    def check_state(self, state: Mapping[str, Tensor], *, strict: bool = True) -> None:
        """Check that a state dict is one of the model.

        Raises:
            RequestError: names are missing or unknown, or a shape is another one; all listed.
        """
        missing = (
            []
            if not strict
            else [
                name
                for name in self.shapes
                if name not in state
                and not any(alias in state for alias in self.tied.get(name, ()))
            ]
        )
        extra = [name for name in state if name not in self.shapes]
        wrong = [
            f"{name} has {tuple(tensor.shape)} instead of {self.shapes[name]}"
            for name, tensor in state.items()
            if name in self.shapes and tuple(tensor.shape) != self.shapes[name]
        ]
        problems = [
            f"{label}: {', '.join(names)}"
            for label, names in (("missing", missing), ("unknown", extra), ("shapes", wrong))
            if names
        ]
        if problems:
            raise RequestError(
                f"the state dict is of another model than the specification; {'; '.join(problems)}"
            )

    def __getstate__(self) -> dict[str, object]:
        # Graphs and the model itself stay behind; all else can be pickled.
        return {**self.__dict__, "program": None, "compute": None}


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
        order = self.spec.order(self.arrays)
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
                    stays = stays & aligned_mask(found[parent], group, self.spec.named(parent))
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
