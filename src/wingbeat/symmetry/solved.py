"""Assignments that a matching has solved already: the same scores are not solved twice."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from wingbeat.symmetry.terms import Term

Arrays = Mapping[str, Tensor]
_Key = tuple[str, tuple[int, ...], bytes]


@dataclass
class Solved:
    """Solutions of groups by what they follow from: the terms, and the groups that are held.

    A start that is built up group by group has solved most groups as the first sweep meets them
    again, and a sweep that changes nothing has solved all. Only solutions are kept (8 bytes for
    each entry of a group), not scores.

    Attributes:
        arrays: the solutions so far.
        hits: how often one was found.
    """

    arrays: dict[_Key, dict[str, Tensor]] = field(default_factory=dict)
    hits: int = 0

    def of(
        self,
        name: str,
        terms: Sequence[Term],
        held: Iterable[Tensor],
        solve: Callable[[], Arrays],
    ) -> Arrays:
        """Return the solution of a group, solved now if it has not been.

        Args:
            name: of the group.
            terms: what its scores are summed over, in this order; the caller keeps them alive.
            held: current arrays of all groups that the scores depend on.
            solve: returns the arrays of the group and of those inside it.
        """
        digest = hashlib.blake2b(digest_size=32)
        for array in held:
            digest.update(array.contiguous().numpy().tobytes())
        key = (name, tuple(map(id, terms)), digest.digest())
        if key in self.arrays:
            self.hits += 1
        else:
            self.arrays[key] = dict(solve())
        return self.arrays[key]
