"""Triangular factors by tangent vectors that are carried along, one step at a time.

All k tangents of a step come from one vectorised forward-mode call that shares the step itself.
A map that does not look at its step index is recorded once and replayed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch.func import jvp, vmap

from wingbeat.lyapunov.maps.jacobians import JacobianBlock, first_stops
from wingbeat.lyapunov.maps.recording import Recorded
from wingbeat.typing import Array

if TYPE_CHECKING:
    from torch import Tensor

    from wingbeat.lyapunov.maps.validate_map import FlatMap


class TangentPropagator:
    """Advance states ``(B, n)`` with their tangents ``(B, k, n)`` by one step.

    Args:
        flow: the map of flat vectors.
        timed: whether it looks at the step index (then it cannot be replayed).
        compiled: whether a recording is compiled.
    """

    def __init__(self, flow: FlatMap, *, timed: bool, compiled: bool) -> None:
        self.flow, self.timed = flow, timed
        self._t = 0
        self._recorded = Recorded(self._step, compiled=compiled)

    def __call__(self, x: Tensor, v: Tensor, t: int) -> tuple[Tensor, Tensor]:
        """Return states and tangents after step t."""
        self._t = t
        x, v = self._step(x, v) if self.timed else self._recorded(x, v)
        return x, v

    def _step(self, *leaves: Tensor) -> tuple[Tensor, ...]:
        x, v = leaves
        if x.shape[0] == 1:
            after, moved = self._one(x[0], v[0])
            return after[None], moved[None]
        mapped: Any = vmap(self._one, randomness="different")
        after, moved = mapped(x, v)
        return after, moved

    def _one(self, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        def pushed(u: Tensor) -> tuple[Tensor, Tensor]:
            pair: Any = jvp(lambda y: self.flow(y, self._t), (x,), (u,))
            return pair[0], pair[1]

        mapped: Any = vmap(pushed, randomness="same")
        after, moved = mapped(v)
        return after[0], moved


def by_tangents(
    flow: FlatMap,
    start: Tensor,
    q: Array,
    lengths: Sequence[int],
    first: int,
    *,
    keep: bool,
    timed: bool,
    compiled: bool,
) -> Iterator[JacobianBlock]:
    """Yield a block of factors for every interval; arguments as for ``by_jacobians``."""
    carry = TangentPropagator(flow, timed=timed, compiled=compiled)
    x, t = start, first
    v = torch.from_numpy(q.swapaxes(-1, -2).copy()).to(start)
    for length in lengths:
        path = []
        for _ in range(length):
            x, v = carry(x, v, t)
            path.append(x)
            t += 1
        v, r = orthonormalise(v)
        stops = first_stops(torch.stack(path), t - length)
        columns = v.transpose(-1, -2).double().cpu().numpy()[None] if keep else None
        yield JacobianBlock(r.double().cpu().numpy()[None], columns, x, stops)


def orthonormalise(v: Tensor) -> tuple[Tensor, Tensor]:
    """Return orthonormal rows ``(B, k, n)`` and factors ``(B, k, k)``, diagonals not negative.

    >>> v, r = orthonormalise(torch.tensor([[[3.0, 4.0]]]))
    >>> v.tolist(), r.tolist()
    ([[[0.6000000238418579, 0.800000011920929]]], [[[5.0]]])
    """
    q, r = torch.linalg.qr(v.transpose(-1, -2))
    sign = torch.where(r.diagonal(dim1=-2, dim2=-1) < 0, -1.0, 1.0).to(r)
    return (q * sign[..., None, :]).transpose(-1, -2).contiguous(), r * sign[..., None]
