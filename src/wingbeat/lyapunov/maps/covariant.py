"""Covariant Lyapunov vectors: the directions that really grow at each exponent's rate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import solve_triangular

from wingbeat.brief import brief
from wingbeat.errors import CONSTANT, RequestError
from wingbeat.lyapunov.maps.spectrum import Spectrum, spectrum
from wingbeat.lyapunov.maps.states import read_state
from wingbeat.typing import Array

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from wingbeat.lyapunov.maps.states import State, Step


@dataclass(frozen=True)
class Covariant:
    """Covariant vectors along a piece of orbit.

    Attributes:
        vectors: ``(m, n, k)``, columns of norm 1 at `times`; the derivative of the map takes
            column j at one time to a multiple of column j at the next. NaN if undefined.
        times: ``(m,)``, number of steps since the beginning.
        growth: ``(m − 1, k)``, ln of that multiple, per interval.
        lengths: ``(m − 1,)``, steps of each interval.
        blocks: which coordinates belong to which tensor of the state.
        spectrum: the forward run, with its exponents.
        reason: empty, or that of the forward run.
    """

    vectors: Array
    times: NDArray[np.int64]
    growth: Array
    lengths: NDArray[np.int64]
    blocks: Mapping[str, slice]
    spectrum: Spectrum
    reason: str

    __repr__ = brief

    @property
    def exponents(self) -> Array:
        """Mean growth ``(k,)`` of each covariant vector, 1/step."""
        found: Array = self.growth.sum(axis=0) / self.lengths.sum()
        return found

    @property
    def smallest_angle(self) -> Array:
        """``(m,)``, least angle between two vectors, in (0, π/2]; near 0 = nearly tangent."""
        k = self.vectors.shape[-1]
        cosines = np.abs(np.swapaxes(self.vectors, -1, -2) @ self.vectors)
        above = np.triu_indices(k, 1)
        pairs = cosines[:, above[0], above[1]]
        found: Array = np.arccos(np.clip(pairs.max(axis=1, initial=0.0), 0.0, 1.0))
        return found

    def weights(self) -> dict[str, Array]:
        """Return for each tensor of the state the mean share ``(k,)`` of each vector, in [0, 1].

        The share is the squared norm of the vector's part in that tensor; the shares of all
        tensors add up to 1. It depends on the units of the coordinates.
        """
        squares = self.vectors**2
        return {
            name: squares[:, place].sum(axis=1).mean(axis=0) for name, place in self.blocks.items()
        }

    def participation(self) -> Array:
        """Return the mean participation ratio ``(k,)``: 1 / Σ v⁴, from 1 (one coordinate) to n."""
        found: Array = (1.0 / (self.vectors**4).sum(axis=1)).mean(axis=0)
        return found


def covariant(
    step: Step,
    state: State,
    steps: int,
    *,
    k: int | None = None,
    discard: int = 100,
    tail: int = 100,
    every: int = 1,
    seed: int = 0,
    first: int = 0,
) -> Covariant:
    """Return covariant Lyapunov vectors by a forward and a backward pass.

    Forward, orthonormal tangents Q and triangular factors R are stored; backward, random
    coefficients C are carried by C ← R⁻¹C with columns of norm 1, and converge to those of the
    covariant vectors V = QC. Unlike Q's columns these do not depend on the inner product except
    for their length, and each is a direction of its own.

    Args:
        step: ``step(state, t) -> state``, differentiable and pure.
        state: a tensor or a dictionary of tensors.
        steps: length of the piece of orbit on which the vectors are returned.
        k: how many; default all.
        discard: steps before, in which Q converges. Both ends need many times
            1 / (gap between neighbouring exponents).
        tail: steps after, in which C converges.
        every: steps between orthonormalisations and between vectors.
        seed: of the initial tangents and coefficients.
        first: index of the first step.

    Returns:
        A `Covariant`; vectors are NaN with the reason if the orbit diverged, ``constant`` if a
        direction was lost altogether (an exponent of −∞).

    Raises:
        RequestError: as for `spectrum`, and for a tail below 1 or a discard below 1.

    Source: Ginelli et al., Characterizing dynamics with covariant Lyapunov vectors, Physical
    Review Letters 99 (2007).

    >>> import torch
    >>> matrix = torch.tensor([[2.0, 1.0], [0.0, 0.5]], dtype=torch.float64)
    >>> found = covariant(lambda s, t: matrix @ s, torch.zeros(2).double(), 5)
    >>> bool(np.allclose(np.abs(found.vectors[0, :, 1]), [0.5547, 0.83205], atol=1e-5))
    True
    """
    if tail < 1 or discard < 1:
        raise RequestError(f"discard is {discard} and tail {tail}; both ends need at least 1 step")
    layout, _ = read_state(state, batched=False)
    forward = spectrum(
        step,
        state,
        discard + steps + tail,
        k=k,
        discard=discard,
        every=every,
        seed=seed,
        first=first,
        keep=True,
    )
    assert forward.q is not None
    assert forward.r is not None
    lengths = np.diff(forward.times, prepend=0)
    kept = int((forward.times <= steps).sum())
    reason = forward.reason
    if reason or np.isneginf(forward.logs).any():
        vectors = np.full(forward.q[:kept].shape, np.nan)
        growth = np.full((max(kept - 1, 0), forward.logs.shape[-1]), np.nan)
        reason = reason or CONSTANT
    else:
        vectors, growth = _backward(forward.q, forward.r, kept, seed)
    return Covariant(
        vectors=vectors,
        times=discard + forward.times[:kept],
        growth=growth,
        lengths=lengths[1:kept],
        blocks=layout.slices,
        spectrum=forward,
        reason=reason,
    )


def _backward(q: Array, r: Array, kept: int, seed: int) -> tuple[Array, Array]:
    """Carry coefficients backwards; return vectors ``(kept, n, k)`` and their growth."""
    k = r.shape[-1]
    generator = np.random.Generator(np.random.PCG64(seed))
    c = np.triu(generator.uniform(0.5, 1.0, (k, k)))
    c /= np.linalg.norm(c, axis=0)
    vectors = np.empty((kept, q.shape[1], k))
    growth = np.empty((max(kept - 1, 0), k))
    for i in range(len(r) - 1, -1, -1):
        if i < kept:
            vectors[i] = q[i] @ c
        c = solve_triangular(r[i], c, check_finite=False)
        size = np.linalg.norm(c, axis=0)
        c /= size
        if 0 < i < kept:
            growth[i - 1] = -np.log(size)
    return vectors, growth
