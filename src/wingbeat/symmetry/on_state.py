"""The numerical check on the weights that are aligned: their function must not change either.

A specification is checked on jittered weights of the model it was made from. What is no symmetry of
other weights still shows only there: a mask of whole numbers that pruning filled in, a buffer
that was rewritten.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor

from wingbeat.errors import RequestError
from wingbeat.symmetry.check import gap, tolerance
from wingbeat.symmetry.spec import Permutation, PermutationSpec

TOLERANCE: Final = 1e-8
"""Largest change of an output, relative to the largest. Trained weights are worse conditioned than
jittered ones, for which 1e-10 is asked; a wrong group changes outputs by far more."""


def broken_groups(
    spec: PermutationSpec, state: Mapping[str, Tensor], permutation: Permutation
) -> tuple[str, ...]:
    """Return the groups whose permutation changes what a model with these weights computes.

    Args:
        spec: made in this process with its numerical check; otherwise nothing can be computed
            and no group is named.
        state: the weights that are permuted.
        permutation: what is to be applied to them.

    >>> import wingbeat.symmetry as sym
    >>> net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Tanh(), torch.nn.Linear(3, 1))
    >>> spec = sym.permutation_spec(net, torch.ones(1, 2))
    >>> broken_groups(spec, net.state_dict(), spec.random(0))
    ()
    """
    if spec.compute is None or permutation == spec.identity():
        return ()
    reference = spec.compute(state)
    if not all(bool(torch.isfinite(out).all()) for out in reference):
        return ()  # nothing can be said of weights whose outputs are not finite

    allowed = tolerance(reference, TOLERANCE)

    def changes(candidate: Permutation) -> bool:
        return not gap(reference, spec.compute(candidate.apply(state))) <= allowed  # type: ignore[misc]

    if not changes(permutation):
        return ()
    moved = [n for n, share in permutation.fixed_point_shares().items() if share < 1.0]
    alone = [n for n in moved if changes(spec.permutation({n: permutation.arrays[n]}))]
    return tuple(alone or moved)


def require_symmetric(
    spec: PermutationSpec, state: Mapping[str, Tensor], permutation: Permutation
) -> None:
    """Refuse a permutation that changes what a model with these weights computes.

    Raises:
        RequestError: it does; the groups are named.
    """
    broken = broken_groups(spec, state, permutation)
    if broken:
        raise RequestError(
            f"permuting the groups {list(broken)} changes what the second model computes: its "
            "masks or buffers are no longer alike over these units, as they were in the model of "
            "the specification. Make the specification from the second model itself"
        )
