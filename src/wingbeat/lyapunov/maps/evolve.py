"""Blocks of triangular factors along an orbit: what all tangent estimators are made of.

Two ways give the same factors. Small maps that do not look at their step index first make a
piece of the orbit, then all its Jacobians in one call (`wingbeat.lyapunov.jacobians`); others
carry k tangent vectors along, one step at a time (`wingbeat.lyapunov.carrier`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from wingbeat.errors import RequestError
from wingbeat.lyapunov.maps.jacobians import MOST_COORDINATES, by_jacobians
from wingbeat.lyapunov.maps.states import read_state
from wingbeat.lyapunov.maps.step_form import with_time
from wingbeat.lyapunov.maps.tangent_propagator import by_tangents
from wingbeat.lyapunov.maps.validate_map import FlatMap, examine
from wingbeat.typing import Array

if TYPE_CHECKING:
    from wingbeat.lyapunov.maps.jacobians import JacobianBlock
    from wingbeat.lyapunov.maps.states import State, StateLayout, Step


@dataclass(frozen=True)
class EvolutionPlan:
    """A checked request: what is iterated, how long, with how many tangents.

    Attributes:
        layout: of one state.
        start: initial states ``(B, n)``.
        k: number of tangents.
        lengths: steps of each interval between orthonormalisations, the discarded ones first.
        skipped: how many of them are discarded.
    """

    layout: StateLayout
    start: torch.Tensor
    k: int
    lengths: tuple[int, ...]
    skipped: int


def plan(
    state: State, steps: int, *, k: int | None, discard: int, every: int, batched: bool
) -> EvolutionPlan:
    """Check a request and say how it will be carried out.

    Raises:
        RequestError: for a state or a number out of range.
    """
    layout, start = read_state(state, batched=batched)
    if steps < 1:
        raise RequestError(f"steps is {steps}; give at least 1")
    if not 0 <= discard < steps:
        raise RequestError(
            f"discard is {discard} of {steps} steps; it must be at least 0 and less than steps"
        )
    if every < 1:
        raise RequestError(f"every is {every}; give at least 1 step between orthonormalisations")
    if k is None and layout.size > 1000:
        raise RequestError(f"the state has {layout.size} coordinates; say how many exponents (k)")
    k = layout.size if k is None else k
    if not 1 <= k <= layout.size:
        raise RequestError(
            f"k is {k}, but the state has {layout.size} coordinates; give 1 to {layout.size}"
        )
    before = _intervals(discard, every)
    return EvolutionPlan(
        layout, start, k, (*before, *_intervals(steps - discard, every)), len(before)
    )


def _intervals(steps: int, every: int) -> tuple[int, ...]:
    whole, rest = divmod(steps, every)
    return (every,) * whole + ((rest,) if rest else ())


def orthonormal(batch: int, n: int, k: int, seed: int) -> Array:
    """Return random orthonormal columns ``(batch, n, k)``, the same for every initial state.

    >>> q = orthonormal(1, 4, 2, seed=0)[0]
    >>> bool(np.allclose(q.T @ q, np.eye(2)))
    True
    """
    drawn = np.random.Generator(np.random.PCG64(seed)).standard_normal((n, k))
    columns, _ = np.linalg.qr(drawn)
    return np.ascontiguousarray(np.broadcast_to(columns, (batch, n, k)))


def evolve(
    step: Step, work: EvolutionPlan, *, first: int, seed: int, keep: bool, compiled: bool
) -> Iterator[JacobianBlock]:
    """Check a map and yield its triangular factors, block by block.

    Args:
        step: the map.
        work: what to do.
        first: index of the first step.
        seed: of the initial tangents.
        keep: whether the blocks hold the orthonormal factors too.
        compiled: whether recordings are compiled.

    To be consumed inside ``with derivatives()``.

    Raises:
        RequestError: before the first block, for a map that cannot be treated.
    """
    flow = FlatMap(with_time(step), work.layout)
    nature = examine(flow, work.start[0], first)
    n = work.layout.size
    q = orthonormal(work.start.shape[0], n, work.k, seed)
    small = n <= MOST_COORDINATES and n <= max(16, 4 * work.k)
    if small and not nature.timed:
        yield from by_jacobians(flow, work.start, q, work.lengths, first, keep=keep)
    else:
        timed = nature.timed
        yield from by_tangents(
            flow, work.start, q, work.lengths, first, keep=keep, timed=timed, compiled=compiled
        )


@contextmanager
def derivatives() -> Iterator[None]:
    """Set what derivatives need: attention with a forward derivative, no reverse recording."""
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        yield
