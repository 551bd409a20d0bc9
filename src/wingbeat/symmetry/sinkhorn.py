"""Soft permutations: Sinkhorn's scaling, and refining an alignment by gradient descent."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from wingbeat.errors import RequestError
from wingbeat.symmetry.descent import Matching, assigned
from wingbeat.symmetry.spec import Permutation, PermutationSpec
from wingbeat.symmetry.terms import WeightTerm, weight_terms
from wingbeat.symmetry.weight_matching import check_pair, rounding


def sinkhorn(scores: Tensor, temperature: float = 1.0, iterations: int = 50) -> Tensor:
    """Return matrices with rows and columns that sum to one, larger where the scores are.

    Args:
        scores: ``(..., n, n)``.
        temperature: > 0; towards 0 the result becomes the best assignment.
        iterations: of scaling rows and columns in turn.

    Returns:
        ``(..., n, n)``, entries in [0, 1]; columns sum to 1 exactly, rows up to convergence.

    Raises:
        RequestError: the temperature is not positive.

    Source: Sinkhorn (1964); Mena et al., "Learning Latent Permutations with Gumbel-Sinkhorn
    Networks" (2018), section 2.

    >>> soft = sinkhorn(torch.tensor([[1.0, 0.0], [0.0, 1.0]]), temperature=0.05)
    >>> soft.round().tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    if not temperature > 0:
        raise RequestError(f"temperature={temperature}: it has to be positive")
    log = scores / temperature
    for _ in range(iterations):
        log = log - log.logsumexp(-1, keepdim=True)
        log = log - log.logsumexp(-2, keepdim=True)
    return log.exp()


def sinkhorn_refine(
    a: Mapping[str, Tensor],
    b: Mapping[str, Tensor],
    spec: PermutationSpec,
    *,
    start: Permutation,
    steps: int = 100,
    temperature: float = 0.3,
    learning_rate: float = 0.1,
    seed: int = 0,
) -> Permutation:
    """Refine an alignment by gradient ascent over soft permutations of all groups at once.

    Every group gets a matrix of scores, larger at the start's assignment, whose Sinkhorn scaling
    permutes softly. The inner product of a's weights with the softly permuted weights of b is
    maximised with Adam; the result is rounded to the best assignment and improved by coordinate
    descent. It is returned only where it is better than the start.

    Args:
        a: state dict of the model that stays.
        b: state dict of the model that is to be permuted; neither is changed.
        spec: of the model that both belong to.
        start: where to begin.
        steps: of Adam. Each works through dense ``size × size`` matrices for every group, so
            this is for models of at most some thousand units a layer.
        temperature: of the scaling.
        learning_rate: of Adam.
        seed: of the noise on the starting scores.

    Returns:
        A permutation that is at least as good as ``start`` by inner product.

    Raises:
        RequestError: a state dict does not fit the specification or is not finite.

    Source: Peña et al., "Re-basin via implicit Sinkhorn differentiation" (2022), with the
    scaling differentiated through its iterations.
    """
    check_pair(a, b, spec)
    terms = [t for t in weight_terms(spec, a, b) if isinstance(t, WeightTerm)]
    scores = _starting_scores(spec, start, seed)
    if not scores:
        return start
    optimizer = torch.optim.Adam(list(scores.values()), lr=learning_rate)
    scale = sum(float(t.a.norm() * t.b.norm()) for t in terms) or 1.0
    with torch.enable_grad():
        for _ in range(steps):
            soft = {name: sinkhorn(s, temperature, 20) for name, s in scores.items()}
            gain = sum((_soft_product(t, spec, soft) for t in terms), torch.zeros(()))
            optimizer.zero_grad()
            (-gain / scale).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    rounded = {
        group.name: assigned(
            scores[group.name].detach().double().reshape(-1, group.size, group.size)
        ).reshape(group.shape)
        for group in spec.groups
    }
    return _better(spec, terms, rounded, start, seed, rounding(a, None))


def _starting_scores(spec: PermutationSpec, start: Permutation, seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for group in spec.groups:
        hard = torch.nn.functional.one_hot(start.arrays[group.name], group.size).float()
        noise = torch.rand(hard.shape, generator=generator)
        found[group.name] = (hard + 0.1 * noise).requires_grad_()
    return found


def _soft_product(term: WeightTerm, spec: PermutationSpec, soft: Mapping[str, Tensor]) -> Tensor:
    """Return ⟨A, P·B⟩ with soft permutations, outer groups applied first."""
    view, leaves = term.b, term.block.leaves
    for group in spec.groups:
        for dim in term.block.places(group.leaf):
            parents = [leaves.index(leaf) for leaf in spec.parent_leaves(group)]
            order = [*parents, dim, *(d for d in range(view.dim()) if d not in (*parents, dim))]
            moved = view.permute(order)
            matrix = soft[group.name].to(view.dtype)
            flat = matrix @ moved.reshape(*matrix.shape[:-1], -1)
            back = sorted(range(len(order)), key=order.__getitem__)
            view = flat.reshape(moved.shape).permute(back)
    return (term.a * view).sum()


def _better(
    spec: PermutationSpec,
    terms: list[WeightTerm],
    rounded: dict[str, Tensor],
    start: Permutation,
    seed: int,
    tolerance: float,
) -> Permutation:
    before = Matching(spec, terms, dict(start.arrays), tolerance)
    after = Matching(spec, terms, rounded, tolerance)
    after.run(np.random.default_rng(seed), 100)
    return Permutation(spec, after.arrays) if after.value() > before.value() else start
