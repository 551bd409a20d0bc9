"""The largest exponent of a map without derivatives: two orbits, rescaled."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from wingbeat.brief import brief
from wingbeat.errors import BELOW_NOISE_FLOOR, DIVERGED, RequestError
from wingbeat.generators import GeneratorStates
from wingbeat.lyapunov.maps.batch_means import batch_means_error
from wingbeat.lyapunov.maps.evolve import plan
from wingbeat.lyapunov.maps.jacobians import first_stops
from wingbeat.lyapunov.maps.step_form import with_time
from wingbeat.lyapunov.maps.validate_map import FlatMap, examine
from wingbeat.typing import Array

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from wingbeat.lyapunov.maps.states import State, StateLayout, Step


RECOMMENDED = {torch.float64: 1e-8, torch.float32: 1e-4}
"""Distances that neither drown in rounding nor leave the linear range, relative to the state."""


@dataclass(frozen=True)
class TwoOrbits:
    """The exponent between two neighbouring orbits, 1/step; > 0 = they part.

    Attributes:
        logs: ``(m,)``, growth of ln distance in each interval after the discarded steps, from
            the distance that was really there after rounding; NaN from the interval on in
            which an orbit diverged or the two became equal.
        times: ``(m,)``, steps after the discarded ones at the end of each interval.
        d0: the distance asked for.
        realised: mean distance after each rescaling, in units of the state.
        noise: what one rounding of the state is worth relative to d0; an exponent whose size is
            below about ``noise / every`` says nothing.
        diverged_at: index of the first step whose result is not finite; −1 if all are.
        reason: empty, ``diverged`` or ``below_noise_floor`` (the orbits met: their distance
            vanished in rounding).
        final: state of the first orbit at the end.
    """

    logs: Array
    times: NDArray[np.int64]
    d0: float
    realised: float
    noise: float
    diverged_at: int
    reason: str
    final: Any

    __repr__ = brief

    @cached_property
    def exponent(self) -> float:
        """Mean growth per step; NaN where `reason` is not empty."""
        return float(self.logs.sum() / self.times[-1])

    @cached_property
    def error(self) -> float:
        """Standard error from batch means; NaN for short runs."""
        lengths = np.diff(self.times, prepend=0)
        return float(batch_means_error(self.logs[lengths == lengths[0]]) / lengths[0])

    @cached_property
    def history(self) -> Array:
        """Running estimates ``(m,)`` at `times`."""
        running: Array = np.cumsum(self.logs) / self.times
        return running

    @cached_property
    def partial(self) -> float:
        """The exponent over the intervals before the reason; NaN where there are none."""
        known = int(np.isfinite(self.logs).sum())
        return float(self.history[known - 1]) if known else float("nan")


def benettin(
    step: Step,
    state: State,
    steps: int,
    d0: float | None = None,
    *,
    discard: int = 0,
    every: int = 1,
    seed: int = 0,
    first: int = 0,
) -> TwoOrbits:
    """Return the largest exponent from two orbits whose distance is reset to d0.

    Needs no derivative. A second orbit begins at distance d0 in a random direction; every few
    steps ln(distance ÷ what it was) is noted and the distance reset without a change of
    direction. Both see the same step index, and the same random numbers of torch's generator.

    The two orbits differ by d0, which rounding must not touch: a step rounds the state x by
    about ε‖x‖, so the estimate carries noise ε‖x‖/d0 for each interval, and no distance below
    ε‖x‖ exists at all. Too large a d0 leaves the linear range. Good values of d0/‖x‖ are 1e-9
    to 1e-7 in float64 and 1e-4 in float32; smaller ones in float32 fabricate chaos. Compare
    two values of d0. Where the map jumps (ReLU's gradient at its kink) two orbits part at
    jumps that the derivative does not have: then this estimate and `spectrum` rightly differ.

    Args:
        step: ``step(state, t) -> state``, pure.
        state: a tensor or a dictionary of tensors, all float64 or all float32.
        steps: number of steps in all.
        d0: distance (Euclidean, over all coordinates); default 1e-8 (float64) or 1e-4 of the
            norm of the state, or that of 1 if the state is smaller.
        discard: first steps that only align the two orbits.
        every: steps between rescalings; the distance must stay small in between.
        seed: of the direction.
        first: index of the first step.

    Raises:
        RequestError: for a d0 that is not positive or vanishes in rounding, and what
            `spectrum` refuses except maps without a derivative.

    Source: Benettin, Galgani and Strelcyn, Physical Review A 14 (1976).

    >>> found = benettin(lambda x, t: x * 0.5, torch.ones(2, dtype=torch.float64), 20)
    >>> round(found.exponent, 6), round(float(np.log(0.5)), 6)
    (-0.693147, -0.693147)
    """
    work = plan(state, steps, k=1, discard=discard, every=every, batched=False)
    flow, x = FlatMap(with_time(step), work.layout), work.start[0]
    with torch.no_grad():
        nature = examine(flow, x, first, derivative=False)
        size = _distance(x, work.layout, d0)
        run = _Twins(flow, size, seed, random=nature.random)
        logs = run.follow(x, work.lengths, first)
    kept, ends = slice(work.skipped, None), np.cumsum(work.lengths)
    offset = ends[work.skipped - 1] if work.skipped else 0
    return TwoOrbits(
        logs=logs[kept],
        times=ends[kept] - offset,
        d0=size,
        realised=float(np.mean(run.realised)),
        noise=float(torch.finfo(x.dtype).eps * x.norm() / size),
        diverged_at=run.diverged_at,
        reason=run.reason,
        final=work.layout.unflatten(run.final),
    )


class _Twins:
    """Two orbits at a distance; notes how the distance grows."""

    def __init__(self, flow: FlatMap, d0: float, seed: int, *, random: bool) -> None:
        self.flow, self.d0, self.random = flow, d0, random
        self.generator = torch.Generator().manual_seed(seed)
        self.realised: list[float] = []
        self.diverged_at, self.reason = -1, ""
        self.final: Any = None

    def follow(self, x: Tensor, lengths: tuple[int, ...], t: int) -> Array:
        """Return the growth of ln distance in each interval; NaN after the end of sense."""
        logs = np.full(len(lengths), np.nan)
        drawn = torch.randn(x.shape, generator=self.generator, dtype=torch.float64).to(x)
        y = self._placed(x, drawn)
        for i, length in enumerate(lengths):
            before = self.realised[-1]
            x, y = self._advance(x, y, t, length)
            self.final, t = x, t + length
            distance = float((y - x).double().norm())
            if self.diverged_at < 0 and not (distance > 0.0 and before > 0.0):
                self.reason = BELOW_NOISE_FLOOR
            if self.reason:
                break
            logs[i] = np.log(distance / before)
            y = self._placed(x, y - x)
        return logs

    def _placed(self, x: Tensor, direction: Tensor) -> Tensor:
        """Return a state at distance d0 from x, and note the distance after rounding."""
        wide = direction.double()
        y: Tensor = (x.double() + wide * (self.d0 / wide.norm())).to(x.dtype)
        self.realised.append(float((y - x).double().norm()))
        return y

    def _advance(self, x: Tensor, y: Tensor, t: int, length: int) -> tuple[Tensor, Tensor]:
        path = []
        for i in range(t, t + length):
            rng = GeneratorStates.now() if self.random else None
            x = self.flow(x, i)
            if rng is not None:
                rng.put_back()
            y = self.flow(y, i)
            path.append(torch.stack((x, y)))
        stop = int(first_stops(torch.stack(path).flatten(1)[:, None], t)[0])
        if stop >= 0:
            self.diverged_at, self.reason = stop, DIVERGED
        return x, y


def _distance(x: Tensor, layout: StateLayout, d0: float | None) -> float:
    size = max(float(x.double().norm()), 1.0)
    good = RECOMMENDED.get(layout.dtype, 1e-2) * size
    if d0 is None:
        return good
    if not d0 > 0.0:
        raise RequestError(f"d0 is {d0}; give a positive distance, such as {good:.1g}")
    least = 16 * torch.finfo(layout.dtype).eps * float(x.double().norm())
    if d0 < least:
        raise RequestError(
            f"d0 is {d0}, which rounding hides in {layout.dtype} beside a state of norm "
            f"{float(x.norm()):.3g}; give at least {least:.1g}, better {good:.1g}"
        )
    return d0
