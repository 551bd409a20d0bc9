"""Coordinate descent over groups: each is assigned exactly while the others are held."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wingbeat.symmetry.groups import Group
from wingbeat.symmetry.permuted import Order
from wingbeat.symmetry.solved import Solved
from wingbeat.symmetry.spec import Permutation, PermutationSpec
from wingbeat.symmetry.terms import Term


@dataclass
class Matching:
    """A coordinate descent under way.

    Attributes:
        spec: groups to be matched.
        terms: what is maximised.
        arrays: the current permutation of every group.
        tolerance: gain, relative to the value, below which a change is rounding error.
        solved: assignments known already; descents over the same terms share it.
        sweeps: passes over the groups so far, the last one, which changes nothing, included.
    """

    spec: PermutationSpec
    terms: Sequence[Term]
    arrays: dict[str, Tensor]
    tolerance: float
    solved: Solved = field(default_factory=Solved)
    sweeps: int = 0
    by_group: dict[str, list[Term]] = field(default_factory=dict)
    children: dict[str, list[Group]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for group in self.spec.groups:
            self.by_group[group.name] = [t for t in self.terms if group.leaf in t.block.leaves]
            inner = (*group.parents, group.name)
            self.children[group.name] = [g for g in self.spec.groups if g.parents == inner]

    def order(self) -> Order:
        """Return groups with current arrays in the order in which they are applied."""
        return self.spec.order(self.arrays)

    def value(self, terms: Iterable[Term] | None = None) -> float:
        """Return the sum of inner products with the current permutation."""
        order = self.order()
        chosen = self.terms if terms is None else terms
        return sum(float(term.table((), (), order)) for term in chosen)

    def run(self, rng: np.random.Generator, max_sweeps: int) -> None:
        """Visit groups in random order until none can be improved.

        A group is visited again only after a group that shares a tensor with it has changed.
        """
        coordinates = self.coordinates()
        waiting = {group.name for group in coordinates}
        while waiting and self.sweeps < max_sweeps:
            self.sweeps += 1
            for place in rng.permutation(len(coordinates)):
                group = coordinates[place]
                if group.name not in waiting:
                    continue
                waiting.discard(group.name)
                if self._improve(group):
                    waiting |= self._neighbours(group) - {group.name}
                    if self._meets_itself(group):
                        waiting.add(group.name)

    def coordinates(self) -> list[Group]:
        """Return groups that are visited by themselves: children are solved with their parent."""
        together = {child.name for inner in self.children.values() for child in inner}
        return [g for g in self.spec.groups if g.name not in together and self.family_terms(g)]

    def family(self, group: Group) -> list[Group]:
        """Return a group and all groups below it that are solved with it."""
        below = [member for child in self.children[group.name] for member in self.family(child)]
        return [group, *below]

    def clear_terms(self, group: Group, unknown: set[int]) -> list[Term]:
        """Return the terms of a group and its children in which no unknown leaf is paired."""
        own = {member.leaf for member in self.family(group)}
        return [
            term
            for term in self.family_terms(group)
            if not (set(term.block.leaves) - own) & unknown
            and all(len(term.block.places(leaf)) < 2 for leaf in own)
        ]

    def family_terms(self, group: Group) -> list[Term]:
        """Return the terms that a group or one of its children is in."""
        leaves = {member.leaf for member in self.family(group)}
        return [term for term in self.terms if leaves & set(term.block.leaves)]

    def _neighbours(self, group: Group) -> set[str]:
        touched = {leaf for t in self.family_terms(group) for leaf in t.block.leaves}
        return {
            other.name
            for other in self.coordinates()
            if any(member.leaf in touched for member in self.family(other))
        }

    def _meets_itself(self, group: Group) -> bool:
        return any(len(t.block.places(group.leaf)) > 1 for t in self.by_group[group.name])

    def _improve(self, group: Group) -> bool:
        """Solve a group with its children; keep the solution if it is better."""
        kept = dict(self.arrays)
        self.solve(group)
        if all(torch.equal(array, kept[name]) for name, array in self.arrays.items()):
            return False
        terms = self.family_terms(group)
        after, solution = self.value(terms), dict(self.arrays)
        self.arrays.update(kept)
        before = self.value(terms)
        if after - before > self.tolerance * max(abs(before), 1e-300):
            self.arrays.update(solution)
            return True
        return False

    def solve(self, group: Group) -> None:
        """Assign a group, and the groups inside it, as well as the terms allow."""
        terms = self.family_terms(group)

        def fresh() -> dict[str, Tensor]:
            self._assign(group)
            return {member.name: self.arrays[member.name] for member in self.family(group)}

        held = [self.arrays[name] for name in self._held(group, terms)]
        self.arrays.update(self.solved.of(group.name, terms, held, fresh))

    def _held(self, group: Group, terms: Sequence[Term]) -> list[str]:
        """Return the groups on whose arrays the solution of a group depends.

        Its own and those of its children are replaced before they are read, except where a leaf
        is met twice in a term, or where a child has children.
        """
        family = self.family(group)
        own = {member.leaf for member in family}
        twice = any(len(t.block.places(leaf)) > 1 for t in terms for leaf in own)
        deep = any(self.children[child.name] for child in self.children[group.name])
        found = {leaf for term in terms for leaf in term.block.leaves}
        if not (twice or deep):
            found -= own
        return [g.name for g in self.spec.groups if g.leaf in found]

    def _assign(self, group: Group) -> None:
        inner = self.children[group.name]
        if not inner:
            scores = self._scores(group, self.by_group[group.name])
            self.arrays[group.name] = assigned(scores).reshape(group.shape)
            return
        self._solve_with(group, inner)
        for child in inner:
            self._assign(child)

    def _scores(self, group: Group, terms: Sequence[Term]) -> Tensor:
        """Return ``(parents, size, size)``: what it brings to put entry j of b at place i."""
        order, above = self.order(), self.spec.parent_leaves(group)
        parents = int(np.prod(group.parent_sizes, initial=1))
        found: Tensor | None = None
        for term in terms:
            batch = [term.block.leaves.index(leaf) for leaf in above]
            for dim in term.block.places(group.leaf):
                found = _added(found, term.table(batch, [dim], order))
        if found is None:
            return torch.zeros(parents, group.size, group.size, dtype=torch.float64)
        return found

    def _solve_with(self, group: Group, inner: Sequence[Group]) -> None:
        """Assign outer entries by what the best inner assignments of each pair bring.

        A term in which two children meet is left out of the outer costs; the children are
        solved one by one afterwards with it.
        """
        leaves = {child.leaf for child in inner}
        alone = [t for t in self.by_group[group.name] if not leaves & set(t.block.leaves)]
        cost = self._scores(group, alone)
        solved = {}
        for child in inner:
            table = self._pair_scores(group, child, leaves)
            value, columns = _pairwise(table)
            cost += value
            solved[child.name] = columns
        outer = assigned(cost)
        self.arrays[group.name] = outer.reshape(group.shape)
        for child in inner:
            pick = outer[..., None, None].expand(*outer.shape, 1, child.size)
            self.arrays[child.name] = solved[child.name].gather(2, pick).reshape(child.shape)

    def _pair_scores(self, group: Group, child: Group, leaves: set[int]) -> Tensor:
        """Return ``(parents, outer i, outer j, inner, inner)`` scores."""
        order, above = self.order(), self.spec.parent_leaves(group)
        parents = int(np.prod(group.parent_sizes, initial=1))
        n, m = group.size, child.size
        found = torch.zeros(parents, n * m, n * m, dtype=torch.float64)
        for term in self.by_group[child.name]:
            here = [leaf for leaf in term.block.leaves if leaf in leaves]
            if here != [child.leaf]:
                continue
            batch = [term.block.leaves.index(leaf) for leaf in above]
            pairs = [term.block.leaves.index(group.leaf), term.block.leaves.index(child.leaf)]
            found += term.table(batch, pairs, order)
        return found.reshape(parents, n, m, n, m).permute(0, 1, 3, 2, 4)


def _added(total: Tensor | None, table: Tensor) -> Tensor:
    """Add a table to a sum in float64, in place: no widened copy is made of it."""
    return table.double() if total is None else total.add_(table)


def assigned(scores: Tensor) -> Tensor:
    """Return the best assignment for every matrix of scores, ``(batch, n)``."""
    return torch.stack([torch.from_numpy(_columns(s.numpy())) for s in scores])


def _columns(scores: NDArray[np.float64]) -> NDArray[np.int64]:
    from scipy.optimize import linear_sum_assignment  # late: 0.06 s that other runs need not pay

    return np.asarray(linear_sum_assignment(scores, maximize=True)[1], dtype=np.int64)


def _pairwise(table: Tensor) -> tuple[Tensor, Tensor]:
    """Return value and assignment of the best inner assignment for every outer pair."""
    parents, n, _, m, _ = table.shape
    flat = table.reshape(-1, m, m)
    columns = assigned(flat)
    value = flat.gather(2, columns[..., None]).sum(dim=(1, 2))
    return value.reshape(parents, n, n), columns.reshape(parents, n, n, m)


def anchored(
    spec: PermutationSpec, terms: Sequence[Term], tolerance: float, solved: Solved
) -> Permutation:
    """Return a start that is built up from what is fixed.

    Each group is assigned once, by those terms only whose other groups are fixed or assigned
    already, the group with most such numbers for each entry first: from the inputs, the outputs
    and the biases inwards. Terms with groups not yet assigned would add nothing but noise.
    """
    matching = Matching(spec, terms, dict(spec.identity().arrays), tolerance)
    waiting = matching.coordinates()
    unknown = {group.leaf for group in spec.groups}
    while waiting:
        usable = {g.name: matching.clear_terms(g, unknown) for g in waiting}
        group = max(waiting, key=lambda g: sum(t.count for t in usable[g.name]) / g.size)
        waiting.remove(group)
        part = usable[group.name] or matching.family_terms(group)
        Matching(spec, part, matching.arrays, tolerance, solved).solve(group)
        unknown -= {member.leaf for member in matching.family(group)}
    return Permutation(spec, matching.arrays)


def restarted(
    spec: PermutationSpec,
    terms: Sequence[Term],
    start: Permutation,
    *,
    seed: int,
    restarts: int,
    max_sweeps: int,
    tolerance: float,
) -> Matching:
    """Return the best of several descents, each with a random order of its own.

    The first two begin at ``start`` and at what `anchored` finds, at the better one first; the
    others begin at random permutations.
    """
    solved = Solved()
    starts = [Matching(spec, terms, dict(p.arrays), tolerance)
              for p in (start, anchored(spec, terms, tolerance, solved))]  # fmt: skip
    starts.sort(key=lambda found: -found.value())
    best: Matching | None = None
    for attempt in range(restarts):
        begin = starts[attempt].arrays if attempt < 2 else spec.random(seed + attempt).arrays
        found = Matching(spec, terms, dict(begin), tolerance, solved)
        found.run(np.random.default_rng((seed, attempt)), max_sweeps)
        if best is None or found.value() > best.value():
            best = found
    return best or starts[0]
