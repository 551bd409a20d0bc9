"""Carry tangents along one training run and note how they grow."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import nan
from typing import TYPE_CHECKING

import numpy as np
import torch

from wingbeat.determinism import deterministic_algorithms, seeded
from wingbeat.errors import DIVERGED, OVERFLOW, RequestError
from wingbeat.lyapunov.maps.orthonormal import orthonormal_rows, random_direction
from wingbeat.lyapunov.maps.spectrum import Spectrum
from wingbeat.lyapunov.training.leading_vector import Leading, LeadingWatch
from wingbeat.lyapunov.training.neutral import Neutral, NeutralWatch
from wingbeat.lyapunov.training.optimizer_metric import block_growth
from wingbeat.lyapunov.training.self_check import check_tangent
from wingbeat.typing import Array

if TYPE_CHECKING:
    from torch import Tensor

    from wingbeat.lyapunov.training.tangent import TangentStep
    from wingbeat.lyapunov.training.window import TangentWindow
    from wingbeat.task.step import State


@dataclass(frozen=True)
class Wanted:
    """How tangents are carried along: number, seed, projections, checks.

    Attributes:
        k: number of tangents.
        seed: of the initial tangents.
        deflate: whether exactly neutral directions are taken out.
        neutral_checks: at how many steps neutral directions are verified; 0 looks for none.
        check: whether the derivative is compared with a finite difference first.
    """

    k: int
    seed: int = 0
    deflate: bool = False
    neutral_checks: int = 3
    check: bool = True


@dataclass(frozen=True)
class TangentRecord:
    """One training run with its tangents.

    Attributes:
        seed: base seed of the run.
        spectrum: exponents of the whole state in natural units; ``final`` is the last state.
        parameter_exponents: ``(k,)``, of the parameter block alone, ordered as those of
            ``spectrum.partial``; NaN from the (P + 1)-th on.
        parameter_logs: ``(m,)``, growth of the leading tangent's parameter block by interval.
        losses: ``(steps,)``, training loss of every update from the start.
        leading: where the leading tangent lives.
        neutral: directions along which the loss does not change.
        disagreement: of the derivative with a finite difference; NaN if not checked.
    """

    seed: int
    spectrum: Spectrum
    parameter_exponents: Array
    parameter_logs: Array
    losses: Array
    leading: Leading
    neutral: tuple[Neutral, ...]
    disagreement: float


@dataclass
class _Course:
    """A run under way."""

    own: TangentStep
    state: State
    tangents: Tensor
    index: int = 0
    stop: int = -1
    losses: list[float] = field(default_factory=list)
    watch: NeutralWatch | None = None
    due: frozenset[int] = frozenset()

    def advance(self, steps: int) -> bool:
        """Make updates with tangents; False once the run is no longer finite."""
        for _ in range(steps):
            if self.watch is not None and self.index in self.due:
                self.watch.verify(self.state, self.index)
            state, self.tangents, loss = self.own(self.state, self.tangents, self.index)
            if not self._goes_on(state, loss):
                return False
        return True

    def warm_up(self, steps: int) -> bool:
        """Make updates without tangents."""
        return all(self._goes_on(*self.own.plain(self.state, self.index)) for _ in range(steps))

    def _goes_on(self, state: State, loss: Tensor) -> bool:
        self.losses.append(float(loss))
        if not (torch.isfinite(loss) and torch.isfinite(state.params).all()):
            self.stop = self.index
            return False
        self.state, self.index = state, self.index + 1
        return True


def trace_tangents(own: TangentStep, window: TangentWindow, wanted: Wanted) -> TangentRecord:
    """Warm a run up, start tangents in its parameters and follow them to its end.

    Args:
        own: the step with its derivative.
        window: which updates.
        wanted: how many tangents, and what is done with them.

    Raises:
        RequestError: more tangents than directions, or a derivative that is not right.
    """
    with seeded(0), deterministic_algorithms():
        course = _Course(own, own.start(), torch.empty(0))
        going = course.warm_up(window.warmup)
        missed = check_tangent(own, course.state, course.index) if going and wanted.check else nan
        if going and (wanted.deflate or wanted.neutral_checks):
            course.watch = NeutralWatch(own, course.state, course.index)
            course.due = _spread(window, wanted.neutral_checks)
        deflating = course.watch if wanted.deflate else None
        _check_count(own, wanted.k, deflating)
        course.tangents = initial(own, wanted.k, wanted.seed, deflating)
        for length in window.discarded:
            if not going:
                break
            going = course.advance(length)
            course.tangents, _ = _renewed(course.tangents, deflating)
        return _measured(course, window, deflating, going, missed)


def _measured(
    course: _Course,
    window: TangentWindow,
    deflating: NeutralWatch | None,
    going: bool,
    missed: float,
) -> TangentRecord:
    lengths, k = window.lengths, len(course.tangents)
    size = course.own.coordinates.layout.size
    logs, own_logs = np.full((len(lengths), k), nan), np.full(len(lengths), nan)
    leading, reason, done = LeadingWatch(course.own.coordinates), "", 0
    begin = end = block_growth(course.tangents, size)
    for i, length in enumerate(lengths):
        if not going or not course.advance(length):
            reason = DIVERGED
            break
        course.tangents, factors = _renewed(course.tangents, deflating)
        if not torch.isfinite(course.tangents).all():
            reason = OVERFLOW
            break
        logs[i] = factors.double().log().cpu().numpy()
        leading.see(course.tangents[0])
        before, done = end[0], done + length
        end = np.concatenate([[_log_norm(course.tangents[0, :size])], end[1:]])
        own_logs[i] = logs[i, 0] + end[0] - before
    # Of the last interval that was complete; tangents that were lost have no block.
    end = block_growth(course.tangents, size) if not reason else np.full(k, nan)
    spectrum = Spectrum(
        logs,
        np.cumsum(lengths),
        course.own.coordinates.size,
        np.array(course.stop, dtype=np.int64),
        reason,
        course.state,
    )
    order = np.argsort(-np.nansum(logs, axis=0), kind="stable")
    with np.errstate(invalid="ignore"):
        block = (np.nansum(logs, axis=0) + end - begin) / max(done, 1)
    if reason and done:
        block[0] = np.nansum(own_logs) / done
    return TangentRecord(
        course.own.seed,
        spectrum,
        block[order],
        own_logs,
        np.array(course.losses),
        leading.mean(),
        course.watch.found() if course.watch else (),
        missed,
    )


def initial(own: TangentStep, k: int, seed: int, watch: NeutralWatch | None) -> Tensor:
    """Return orthonormal tangents ``(k, D)`` in the parameters, further ones beside them.

    Args:
        own: the tangent step.
        k: how many.
        seed: of the directions.
        watch: whose neutral directions are left out, if any.
    """
    sizes, size = own.coordinates, own.coordinates.layout.size
    room = size - (watch.removed if watch else 0)
    drawn = torch.zeros(k, sizes.size, dtype=torch.float64)
    for j in range(k):
        inside = j < room
        block = slice(0, size) if inside else slice(size, None)
        drawn[j, block] = random_direction(size if inside else sizes.size - size, seed, j)
    rows = drawn.to(own.step.device, own.step.dtype)
    return _renewed(rows, watch)[0]


def _renewed(tangents: Tensor, watch: NeutralWatch | None) -> tuple[Tensor, Tensor]:
    return orthonormal_rows(tangents if watch is None else watch.project(tangents))


def _check_count(own: TangentStep, k: int, watch: NeutralWatch | None) -> None:
    size = own.coordinates.size
    room = size - (watch.removed if watch else 0)
    if not 1 <= k <= room:
        gone = f", of which {size - room} are neutral and taken out" if size > room else ""
        raise RequestError(
            f"k is {k}: the training map has {size} coordinates{gone} "
            f"({own.coordinates.layout.size} parameters, the optimizer's state, buffers); "
            f"give 1 to {room}"
        )


def _spread(window: TangentWindow, count: int) -> frozenset[int]:
    """Return steps at which neutral directions are verified, evenly over the run."""
    span = window.steps - window.warmup
    count = min(count, span)
    return frozenset(window.warmup + 1 + (i * span) // max(count, 1) for i in range(count))


def _log_norm(vector: Tensor) -> float:
    norm = float(vector.double().norm())
    return float(np.log(norm)) if norm > 0 else -np.inf
