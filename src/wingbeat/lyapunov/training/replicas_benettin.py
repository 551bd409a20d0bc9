"""The largest exponent of a real run from replicas that are drawn together again and again.

Works for every task, also for optimizers and models that have no derivative here: reference
and twins advance on the engine's drivers under the same noise, and every few updates each
twin is pulled back to its distance along the line to the reference.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import nan
from typing import TYPE_CHECKING

import numpy as np
import torch

from wingbeat.determinism import deterministic_algorithms, seeded
from wingbeat.errors import BELOW_NOISE_FLOOR, DIVERGED, DriverError, RequestError
from wingbeat.lyapunov.maps.batch_means import batch_means_error
from wingbeat.lyapunov.maps.orthonormal import random_direction
from wingbeat.lyapunov.training.window import TangentWindow, window_of
from wingbeat.replicas.drivers.lockstep import Lockstep
from wingbeat.replicas.drivers.object_loop import alone
from wingbeat.replicas.first_loss import first_loss
from wingbeat.replicas.fork import NULL, REFERENCE, Member
from wingbeat.replicas.proofs import Proofs
from wingbeat.replicas.replicas import Driver, Replicas
from wingbeat.task.batches import Batches, Streams
from wingbeat.task.precision import is_scaler
from wingbeat.task.step import State, TrainingStep
from wingbeat.typing import Array

if TYPE_CHECKING:
    from wingbeat.task.task import Task


SIZES = {torch.float64: 1e-8, torch.float32: 1e-4}
"""Best distances relative to the weights: smaller ones show rounding, larger ones curvature."""
_FLOOR = 1e3
"""A twin must be so much farther than the null twin, and than a hundredth of rounding."""


@dataclass(frozen=True)
class ReplicaExponent:
    """The exponent of a run from renormalised twins, per step; > 0 = they part.

    Attributes:
        logs: ``(m, twins)``, growth of ln distance of the parameters in each interval; NaN
            after the run left the finite numbers.
        window: which updates were measured.
        size: distance after each renormalisation, relative to the norm of the weights.
        noise_floor: largest distance of the unperturbed twin, in the same unit; 0 on a
            deterministic driver.
        driver: which of the engine's drivers ran it, and how.
        diverged_at: index of the update before whose end it left the finite numbers; −1 if not.
        reason: "" where the exponent is defined; else why it is not, or ends early.
    """

    logs: Array
    window: TangentWindow
    size: float
    noise_floor: float
    driver: str
    diverged_at: int
    reason: str

    @cached_property
    def each(self) -> Array:
        """``(twins,)``, exponent of each twin until the run's end or divergence, 1/step."""
        known = ~np.isnan(self.logs[:, 0])
        time = float(np.asarray(self.window.lengths)[known].sum())
        if not time:
            return np.full(self.logs.shape[1], nan)
        found: Array = self.logs[known].sum(axis=0) / time
        return found

    @property
    def exponent(self) -> float:
        """Mean over the twins, 1/step."""
        return float(self.each.mean())

    @property
    def error(self) -> float:
        """Standard error from batch means; NaN for short runs."""
        lengths = np.asarray(self.window.lengths)
        whole = lengths == self.window.every
        return float(batch_means_error(self.logs[whole].mean(axis=1))) / self.window.every


def replica_exponent(
    task: Task,
    *,
    steps: int | None = None,
    warmup: int = 10,
    discard: int = 0,
    every: int = 10,
    size: float | None = None,
    twins: int = 1,
    seed: int | None = None,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
) -> ReplicaExponent:
    """Measure the largest exponent of a run with replicas, for any optimizer and model.

    Args:
        task: what to train.
        steps: updates in all, at most the task's, which is the default.
        warmup: updates before the twins fork off.
        discard: updates after that which are not counted, while they turn into place.
        every: updates between renormalisations.
        size: distance relative to the weights' norm after each; 1e-8 in float64 and 1e-4 in
            float32 by default. Smaller ones fabricate chaos out of rounding.
        twins: how many, in independent directions: they measure the same exponent.
        seed: base seed; the task's by default.
        dtype: of the run.
        device: where.

    Raises:
        RequestError: a number out of range.

    Source: Benettin, Galgani and Strelcyn, Phys. Rev. A 14 (1976).

    Example:
        >>> from wingbeat.tasks.dense import circles_task
        >>> found = replica_exponent(circles_task((4,)), steps=60)
        >>> found.logs.shape, found.noise_floor, found.driver
        ((5, 1), 0.0, 'lockstep (traced)')
    """
    window = window_of(task, warmup=warmup, discard=discard, steps=steps, every=every)
    size = SIZES.get(dtype, 1e-4) if size is None else size
    if not 0 < size < 1:
        raise RequestError(f"size is {size!r}: give a relative distance above 0 and below 1")
    if not isinstance(twins, int) or isinstance(twins, bool) or twins < 1:
        raise RequestError(f"twins is {twins!r}: use a whole number of at least 1")
    own = task.seed if seed is None else seed
    step = TrainingStep(task, dtype, torch.device(device))
    with seeded(0), deterministic_algorithms(step.skeleton):
        course = _Course(step, Batches(task, dtype, torch.device(device)), own)
        return course.measured(window, size, twins)


class _Course:
    """Reference, null twin and perturbed twins on one driver."""

    def __init__(self, step: TrainingStep, batches: Batches, seed: int) -> None:
        self.step, self.batches = step, batches
        self.seed, self.index = seed, 0
        first_loss(step, batches)  # notices what torch.func cannot do, and hidden state
        self.proofs = Proofs(step.task.steps, batches.steps_per_epoch)
        self.driver = self._driver()
        self.replicas = Replicas(self.driver, self.batches, 1 if self.driver.name == "loop" else 0)
        self._place([self.step.start(seed).map(lambda t: t.unsqueeze(0))])

    def measured(self, window: TangentWindow, size: float, twins: int) -> ReplicaExponent:
        """Warm up, fork the twins and note how fast they part."""
        self._advance(window.warmup)
        states = self.replicas.states()
        start = states[0]
        distance = size * float(start.params.double().norm())
        self._place([start, start, *(self._nudged(start, distance, i) for i in range(twins))])
        logs = np.full((len(window.lengths), twins), nan)
        floor, stop, reason = 0.0, -1, ""
        for i, length in enumerate((*window.discarded, *window.lengths)):
            self._advance(length)
            null, apart, norm = self._distances()
            if not np.isfinite([*apart, norm]).all():
                stop, reason = self.index - 1, DIVERGED
                break
            floor = max(floor, null / distance * size)
            if (
                apart <= _FLOOR * max(null, torch.finfo(start.params.dtype).eps * norm / 100)
            ).any():
                reason = BELOW_NOISE_FLOOR
                break
            if i >= len(window.discarded):
                logs[i - len(window.discarded)] = np.log(apart / distance)
            distance = size * norm  # relative to the weights as they are now
            self._renormalise(distance / apart)
        how = f"{self.driver.name} ({self.driver.mode})"
        return ReplicaExponent(logs, window, size, floor, how, stop, reason)

    def _driver(self) -> Driver:
        if self.step.optimizer is None or self.step.remembers:
            return alone(self.step)
        streams = Streams.of(self.seed)
        try:
            driver = Lockstep(self.step)
            start = self.step.start(self.seed).map(lambda t: torch.stack([t, t]))
            driver(start, self.batches.batch(streams, 0), 0)
            driver.prove(start, self.batches.batch(streams, 1), 1)
        except DriverError:
            return alone(self.step)
        return driver

    def _place(self, states: list[State]) -> None:
        labels = (REFERENCE, NULL, *(f"twin#{i}" for i in range(1, len(states) - 1)))
        streams = Streams.of(self.seed)
        members = [Member(label, streams) for label in labels[: len(states)]]
        self.replicas.place(members, states)

    def _advance(self, steps: int) -> None:
        for _ in range(steps):
            if self.proofs.due(self.index):
                self.replicas.prove(self.index)
            self.replicas.advance(self.index)
            self.index += 1
        self.replicas.take_losses()

    def _nudged(self, state: State, distance: float, twin: int) -> State:
        drawn = random_direction(state.params.shape[-1], 0, twin)
        moved = state.params.double().cpu() + distance * drawn
        return State(moved.to(state.params), state.buffers, state.slots)

    def _distances(self) -> tuple[float, Array, float]:
        """Return how far the null twin and the twins are, and the norm of the weights."""
        params = [s.params.double().cpu() for s in self.replicas.states()]
        apart = [float((p - params[0]).norm()) for p in params[1:]]
        return apart[0], np.array(apart[1:]), float(params[0].norm())

    def _renormalise(self, factors: Array) -> None:
        reference, null, *others = self.replicas.states()
        pulled = [
            _between(reference, twin, float(f)) for twin, f in zip(others, factors, strict=True)
        ]
        self._place([reference, null, *pulled])


def _between(reference: State, twin: State, factor: float) -> State:
    """Return the reference plus ``factor`` times the difference, counters left alone.

    What cannot be negative in both stays so: a second moment has a square root.
    """

    def part(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        if not a.is_floating_point():
            return b
        moved = (a.double() + factor * (b.double() - a.double())).to(a.dtype)
        return torch.where((a >= 0) & (b >= 0), moved.clamp_min(0), moved)

    def parts(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        own = {name for name in a if not is_scaler(name)}  # scales are no coordinates
        return {name: part(a[name], value) if name in own else value for name, value in b.items()}

    params = reference.params.double()
    moved = params + factor * (twin.params.double() - params)
    return State(
        moved.to(reference.params.dtype),
        parts(reference.buffers, twin.buffers),
        parts(reference.slots, twin.slots),
    )
