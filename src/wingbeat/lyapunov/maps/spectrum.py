"""The largest exponents of a map, by tangent vectors and orthonormalisation."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from wingbeat.brief import brief
from wingbeat.errors import DIVERGED, OVERFLOW
from wingbeat.lyapunov.maps.batch_means import batch_means_error
from wingbeat.lyapunov.maps.dimension import Dimension, kaplan_yorke
from wingbeat.lyapunov.maps.evolve import EvolutionPlan, derivatives, evolve, plan
from wingbeat.typing import Array

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from wingbeat.lyapunov.maps.jacobians import JacobianBlock
    from wingbeat.lyapunov.maps.states import State, Step


@dataclass(frozen=True)
class Spectrum:
    """Exponents of a map, per step, natural logarithm; > 0 = nearby states part.

    Without ``batched`` there is no axis B.

    Attributes:
        logs: ``(m, [B,] k)``, logarithm of the growth of each tangent in each interval after
            the discarded steps; NaN after the orbit left the finite numbers.
        times: ``(m,)``, number of steps after the discarded ones at the end of each interval.
        dimension_of_state: number of coordinates n of one state.
        diverged_at: index of the first step whose result is not finite, −1 if all are;
            an array ``([B])``.
        reason: empty if every exponent is defined, else ``diverged`` (what was found until then
            is in `partial`) or ``overflow`` (a tangent left the range of its type between two
            orthonormalisations: make ``every`` smaller).
        final: the state after the last step, in the form in which it was given.
        q: ``(m, [B,] n, k)``, orthonormal tangents at the end of each interval, if kept.
        r: ``(m, [B,] k, k)``, triangular factors of each interval, if kept.
    """

    logs: Array
    times: NDArray[np.int64]
    dimension_of_state: int
    diverged_at: NDArray[np.int64]
    reason: str
    final: Any
    q: Array | None = None
    r: Array | None = None

    __repr__ = brief

    @cached_property
    def exponents(self) -> Array:
        """``([B,] k)``, descending, 1/step; NaN where the orbit diverged."""
        return self._sorted(_mean(self.logs, self.times))

    @property
    def maximum(self) -> float | Array:
        """The largest exponent, 1/step; one for each initial state."""
        top = self.exponents[..., 0]
        return float(top) if top.ndim == 0 else top

    @cached_property
    def errors(self) -> Array:
        """Standard errors of the exponents ``([B,] k)`` from batch means; NaN for short runs."""
        lengths = np.diff(self.times, prepend=0)
        whole = lengths == lengths[0]
        error = batch_means_error(self.logs[whole]) / lengths[0]
        return np.take_along_axis(error, self._order, axis=-1)

    @cached_property
    def history(self) -> Array:
        """Running estimates ``(m, [B,] k)`` at `times`, columns as in `exponents`."""
        with np.errstate(invalid="ignore"):
            sums = np.cumsum(self.logs, axis=0)
        running = sums / _column(self.times, self.logs.ndim)
        order = np.broadcast_to(self._order, running.shape)
        return np.take_along_axis(running, order, axis=-1)

    @cached_property
    def partial(self) -> Array:
        """Exponents ``([B,] k)`` over the intervals before the orbit diverged, descending.

        Equal to `exponents` where it did not; NaN where no interval was complete.
        """
        lengths = _column(np.diff(self.times, prepend=0), self.logs.ndim)
        known = ~np.isnan(self.logs)
        total = np.where(known, self.logs, 0.0).sum(axis=0)
        time = (known * lengths).sum(axis=0)
        found = np.divide(total, time, out=np.full(total.shape, np.nan), where=time > 0)
        return self._sorted(found)

    @cached_property
    def kaplan_yorke(self) -> Dimension | tuple[Dimension, ...]:
        """The Kaplan–Yorke dimension; one for each initial state."""
        complete = self.exponents.shape[-1] == self.dimension_of_state
        rows = self.exponents.reshape(-1, self.exponents.shape[-1])
        found = tuple(kaplan_yorke(row, complete=complete) for row in rows)
        return found if self.exponents.ndim > 1 else found[0]

    @cached_property
    def _order(self) -> NDArray[np.intp]:
        value = _mean(self.logs, self.times)
        return np.argsort(-value, axis=-1, kind="stable")

    @staticmethod
    def _sorted(values: Array) -> Array:
        return -np.sort(-values, axis=-1)


def spectrum(
    step: Step,
    state: State,
    steps: int,
    *,
    k: int | None = None,
    discard: int = 0,
    every: int = 1,
    seed: int = 0,
    batched: bool = False,
    keep: bool = False,
    first: int = 0,
    compiled: bool = False,
) -> Spectrum:
    """Return the k largest Lyapunov exponents of a map along one orbit, or several.

    k tangent vectors follow the derivative of the map and are made orthonormal again every few
    steps; the mean logarithm of what orthonormalisation takes from each is its exponent. The
    derivative is exact (forward mode), so nothing vanishes in rounding. Exponents converge like
    1/T from the initial alignment: ``discard`` removes that part.

    Args:
        step: ``step(state, t) -> state``, differentiable, pure (it returns a new state and
            depends on nothing but its arguments and torch's generator). ``t`` is an int.
        state: a tensor or a dictionary of tensors, all float64 or all float32.
        steps: number of steps in all.
        k: number of exponents; default all.
        discard: first steps that count for nothing but align the tangents.
        every: steps between orthonormalisations. The tangents must keep apart in between:
            every · (λ₁ − λₖ) below about 25 in float64, 7 in float32.
        seed: of the initial tangents.
        batched: whether every tensor has a leading axis of initial states, each with its own
            spectrum; ``step`` is still written for one state.
        keep: whether to keep orthonormal and triangular factors (memory steps/every · n · k).
        first: index of the first step.
        compiled: pass the recording of a large map (whose tangents are carried along) through
            ``torch.compile``: pays for long runs only, and rounds differently.

    Returns:
        A `Spectrum`. An orbit that leaves the finite numbers gives NaN with the reason
        ``diverged``, the step, and the exponents until then.

    Raises:
        RequestError: for a map without a derivative (names the operation), k above the number
            of coordinates, discard not below steps, integers in the state, a step that changes
            its input or keeps hidden state.

    Source: Benettin, Galgani, Giorgilli and Strelcyn, Meccanica 15 (1980); Shimada and
    Nagashima, Progress of Theoretical Physics 61 (1979).

    >>> import torch
    >>> henon = lambda s, t: torch.stack([1 - 1.4 * s[0] ** 2 + s[1], 0.3 * s[0]])
    >>> start = torch.tensor([0.1, 0.1], dtype=torch.float64)
    >>> found = spectrum(henon, start, 2000, discard=100)
    >>> bool(abs(found.exponents.sum() - np.log(0.3)) < 1e-12), found.reason
    (True, '')
    """
    work = plan(state, steps, k=k, discard=discard, every=every, batched=batched)
    blocks, logs, stops = [], [], np.full(work.start.shape[0], -1)
    final = work.start
    with derivatives():
        for block in evolve(step, work, first=first, seed=seed, keep=keep, compiled=compiled):
            logs.append(_logs(block))
            stops, final = np.where(stops < 0, block.stops, stops), block.final
            if keep:
                blocks.append(block)
            if (stops >= 0).all():
                break
    return _result(work, np.concatenate(logs), stops, first, blocks, final, batched)


def max_exponent(
    step: Step,
    state: State,
    steps: int,
    *,
    discard: int = 0,
    every: int = 1,
    seed: int = 0,
    batched: bool = False,
    first: int = 0,
    compiled: bool = False,
) -> Spectrum:
    """Return the largest exponent of a map: `spectrum` with k = 1; see there.

    >>> import torch
    >>> logistic = lambda x, t: 4 * x * (1 - x)
    >>> found = max_exponent(logistic, torch.tensor([0.3], dtype=torch.float64), 5000, discard=100)
    >>> round(found.maximum, 2)
    0.69
    """
    return spectrum(
        step,
        state,
        steps,
        k=1,
        discard=discard,
        every=every,
        seed=seed,
        batched=batched,
        first=first,
        compiled=compiled,
    )


def _logs(block: JacobianBlock) -> Array:
    """Return logarithms of the diagonals ``(G, B, k)``; −∞ where a direction is lost."""
    with np.errstate(divide="ignore", invalid="ignore"):
        found: Array = np.log(np.diagonal(block.r, axis1=-2, axis2=-1))
    return np.where(np.isposinf(found), np.nan, found)


def _result(
    work: EvolutionPlan,
    logs: Array,
    stops: NDArray[np.int64],
    first: int,
    blocks: list[JacobianBlock],
    final: Any,
    batched: bool,
) -> Spectrum:
    ends = np.cumsum(work.lengths)
    complete = np.full((len(ends), *logs.shape[1:]), np.nan)
    complete[: len(logs)] = logs
    lost = (stops >= 0)[None, :] & (ends[:, None] > (stops - first)[None, :])
    complete[lost] = np.nan
    kept = slice(work.skipped, None)
    reason = DIVERGED if (stops >= 0).any() else ""
    if np.isnan(complete[:, stops < 0]).any():
        reason = OVERFLOW
    axis = slice(None) if batched else 0
    offset = ends[work.skipped - 1] if work.skipped else 0
    return Spectrum(
        logs=complete[kept][:, axis],
        times=ends[kept] - offset,
        dimension_of_state=work.layout.size,
        diverged_at=stops if batched else stops[0],
        reason=reason,
        final=work.layout.unflatten(final if batched else final[0]),
        q=_gathered([b.q for b in blocks], kept, axis),
        r=_gathered([b.r for b in blocks], kept, axis),
    )


def _gathered(parts: list[Any], kept: slice, axis: Any) -> Array | None:
    if not parts:
        return None
    found: Array = np.concatenate(parts)[kept][:, axis]
    return found


def _mean(logs: Array, times: NDArray[np.int64]) -> Array:
    found: Array = logs.sum(axis=0) / times[-1]
    return found


def _column(times: NDArray[np.int64], dims: int) -> NDArray[np.int64]:
    return times.reshape(-1, *(1,) * (dims - 1))
