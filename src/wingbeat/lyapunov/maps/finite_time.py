"""The strongest stretching over a finite time: singular values of the derivative."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from wingbeat.errors import DIVERGED
from wingbeat.lyapunov.maps.evolve import EvolutionPlan, derivatives, plan
from wingbeat.lyapunov.maps.step_form import with_time
from wingbeat.lyapunov.maps.tangent_propagator import TangentPropagator
from wingbeat.lyapunov.maps.validate_map import FlatMap, examine
from wingbeat.typing import Array

if TYPE_CHECKING:
    from torch import Tensor

    from wingbeat.lyapunov.maps.states import State, Step


@dataclass(frozen=True)
class FiniteTime:
    """Finite-time exponents; without ``batched`` there is no axis B.

    Attributes:
        exponent: ``([B])``, ln σ_max(J) / T, 1/step; > 0 = some direction is stretched. NaN
            where the orbit left the finite numbers.
        history: ``(T, [B])``, the same after 1, 2, …, T steps.
        direction: ``([B,] n)``, the initial direction that is stretched most, norm 1.
        reason: empty, or ``diverged`` if an orbit left the finite numbers.
    """

    exponent: Array
    history: Array
    direction: Array
    reason: str


def finite_time(
    step: Step, state: State, steps: int, *, batched: bool = False, first: int = 0
) -> FiniteTime:
    """Return the largest finite-time exponent ln σ_max(J_{t→t+T}) / T.

    Unlike the exponents of `spectrum`, this depends on the initial state and on the norm, and
    is never below the growth of any one tangent. All n directions are followed.

    Args:
        step: ``step(state, t) -> state``, differentiable and pure.
        state: a tensor or a dictionary of tensors with at most 1,000 coordinates.
        steps: T.
        batched: whether every tensor has a leading axis of initial states.
        first: index of the first step.

    Raises:
        RequestError: as for `spectrum`.

    Source: Haller, Annual Review of Fluid Mechanics 47 (2015); Ott, Chaos in Dynamical Systems
    (2002), section 4.4.

    >>> shear = lambda s, t: torch.stack([s[0] + s[1], s[1]])
    >>> found = finite_time(shear, torch.zeros(2, dtype=torch.float64), 1)
    >>> round(float(found.exponent), 6)  # the golden ratio
    0.481212
    """
    work = plan(state, steps, k=None, discard=0, every=1, batched=batched)
    history = np.full((steps, work.start.shape[0]), np.nan)
    matrix = None
    scale = np.zeros(work.start.shape[0])
    for t, (_, pieces, log_size) in enumerate(jacobian_products(step, work, first)):
        scale += log_size
        matrix = pieces
        largest = np.linalg.norm(np.nan_to_num(pieces), 2, axis=(-2, -1))
        with np.errstate(divide="ignore"):  # −∞ where every direction is lost
            history[t] = (np.log(largest) + scale) / (t + 1)
    assert matrix is not None
    direction = np.linalg.svd(np.nan_to_num(matrix))[2][:, 0]
    direction[np.isnan(history[-1])] = np.nan
    axis: Any = slice(None) if batched else 0
    reason = DIVERGED if np.isnan(history[-1]).any() else ""
    return FiniteTime(history[-1][axis], history[:, axis], direction[axis], reason)


def jacobian_products(
    step: Step, work: EvolutionPlan, first: int
) -> Iterator[tuple[Tensor, Array, Array]]:
    """Yield after each step the states, the derivative so far scaled to 1, and its logarithm.

    Args:
        step: the map.
        work: a plan with all n tangents.
        first: index of the first step.

    Yields:
        States ``(B, n)``; derivative since the beginning ``(B, n, n)`` divided by its Frobenius
        norm; the logarithm ``(B,)`` of what this step's division took away. NaN where an orbit
        left the finite numbers.
    """
    flow, x = FlatMap(with_time(step), work.layout), work.start
    n = work.layout.size
    with derivatives():
        nature = examine(flow, x[0], first)
    carry = TangentPropagator(flow, timed=nature.timed, compiled=False)
    v = torch.eye(n, dtype=x.dtype, device=x.device).expand(x.shape[0], n, n).contiguous()
    for t in range(first, first + work.lengths[0] * len(work.lengths)):
        with derivatives():
            x, v = carry(x, v, t)
            finite = torch.isfinite(x).all(dim=-1)
            v = torch.where(finite[:, None, None], v, torch.nan)
            size = v.flatten(1).norm(dim=1)
            v = v / torch.where(size > 0, size, 1.0)[:, None, None]
        taken = torch.where(size > 0, size, 1.0).double().log().cpu().numpy()
        taken = np.where(finite.cpu().numpy(), taken, np.nan)
        yield x, v.transpose(-1, -2).double().cpu().numpy(), taken
