"""Exponents of training: of the map that takes one update to the next, optimizer and all."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import isnan, nan
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from wingbeat.brief import brief
from wingbeat.errors import RequestError
from wingbeat.lyapunov.maps.batch_means import batch_count
from wingbeat.lyapunov.maps.dimension import Dimension, kaplan_yorke
from wingbeat.lyapunov.training.baseline import Baseline, Judgement, judge, mean_error, small_rate
from wingbeat.lyapunov.training.tangent import TangentStep
from wingbeat.lyapunov.training.tangent_trajectory import TangentRecord, Wanted, trace_tangents
from wingbeat.lyapunov.training.window import TangentWindow, window_of
from wingbeat.typing import Array

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from wingbeat.lyapunov.training.leading_vector import Leading
    from wingbeat.lyapunov.training.neutral import Neutral
    from wingbeat.task.task import Task


RECORDED_FROM = 150
"""Steps from which a recording of the step saves more time than it takes; the bits are equal."""


@dataclass(frozen=True)
class TrainingSpectrum:
    """Exponents of a task's training map, per step, natural logarithm; > 0 = runs part.

    Attributes:
        runs: one for each base seed: its exponents, its history, where its leading tangent
            lives, its neutral directions; see `TangentRecord`.
        window: which updates were measured.
        parameters: number P of trainable parameters.
        dimension: number D of coordinates: parameters, optimizer state, moving buffers.
        removed: how many neutral directions were taken out.
        baseline: at a small learning rate, if it was asked for.
    """

    runs: tuple[TangentRecord, ...]
    window: TangentWindow
    parameters: int
    dimension: int
    removed: int
    baseline: Baseline | None

    __repr__ = brief

    @cached_property
    def exponents(self) -> Array:
        """``(k,)``, descending: growth of the full vector in natural units, mean over seeds.

        Of a run that diverged, what was found until then counts.
        """
        return self._mean([run.spectrum.partial for run in self.runs])

    @cached_property
    def parameter_exponents(self) -> Array:
        """``(k,)``: growth of the parameter block alone, in the same order, mean over seeds."""
        return self._mean([run.parameter_exponents for run in self.runs])

    @cached_property
    def batch_errors(self) -> Array:
        """``(k,)``: standard errors from batch means within the runs; NaN for short ones."""
        errors = np.array([run.spectrum.errors for run in self.runs])
        found: Array = np.sqrt((errors**2).sum(axis=0)) / len(errors)
        return found

    @cached_property
    def seed_errors(self) -> Array:
        """``(k,)``: standard errors from the scatter over base seeds; NaN below three."""
        values = np.array([run.spectrum.partial for run in self.runs])
        if len(values) < 3:
            return np.full(values.shape[1], nan)
        found: Array = values.std(axis=0, ddof=1) / np.sqrt(len(values))
        return found

    @property
    def errors(self) -> Array:
        """``(k,)``: those over seeds where there are any, else those from batch means."""
        return np.where(np.isnan(self.seed_errors), self.batch_errors, self.seed_errors)

    @property
    def coordinate_bound(self) -> NDArray[np.bool_]:
        """``(k,)``: whether full vector and parameter block differ by more than the error.

        Where they do, the exponent still depends on the units of the optimizer's state: the
        run is too short for it. Where there is no error, any difference above 1e-12 counts.
        """
        bound = np.where(np.isnan(self.errors), 1e-12, self.errors)
        return np.abs(self.exponents - self.parameter_exponents) > bound

    @property
    def maximum(self) -> float:
        """The largest exponent of the full vector, 1/step."""
        return float(self.exponents[0])

    @cached_property
    def kaplan_yorke(self) -> Dimension:
        """Kaplan–Yorke dimension of the mean spectrum."""
        complete = len(self.exponents) == self.dimension - self.removed
        return kaplan_yorke(self.exponents, complete=complete)

    @property
    def leading(self) -> Leading:
        """Where the leading tangent of the first run lives."""
        return self.runs[0].leading

    @property
    def neutral(self) -> tuple[Neutral, ...]:
        """Neutral families of the first run."""
        return self.runs[0].neutral

    @property
    def neutral_count(self) -> int:
        """How many exponents of the first run are exactly 0 by symmetry, taken out or not."""
        return sum(family.count for family in self.neutral if family.exact)

    @property
    def diverged_at(self) -> tuple[int, ...]:
        """For each run the first update whose result is not finite; −1 where all are."""
        return tuple(int(run.spectrum.diverged_at) for run in self.runs)

    @cached_property
    def judgement(self) -> Judgement:
        """What the largest exponent means beside the baseline.

        The smaller of the growths of full vector and parameter block is judged: what only the
        optimizer's units show is no chaos.
        """
        value, error = self.maximum, float(self.errors[0])
        block = float(self.parameter_exponents[0])
        value = value if isnan(block) else min(value, block)
        values = np.array([run.spectrum.partial[0] for run in self.runs])
        within = np.array([run.spectrum.errors[0] for run in self.runs])
        freedom = mean_error(values, within, batch_count(len(self.window.lengths)))[1]
        return judge(value, error, self.baseline, freedom)

    def to_json(self) -> dict[str, Any]:
        """Return the numbers, JSON-safe, null for what is undefined."""
        rows = {
            name: [None if isnan(x) else float(x) for x in getattr(self, name)]
            for name in ("exponents", "parameter_exponents", "batch_errors", "seed_errors")
        }
        dimension = self.kaplan_yorke
        return {
            **rows,
            "window": vars(self.window),
            "parameters": self.parameters,
            "dimension": self.dimension,
            "removed": self.removed,
            "neutral": self.neutral_count,
            "diverged_at": list(self.diverged_at),
            "kaplan_yorke": None if isnan(dimension.value) else dimension.value,
            "participation": self.leading.participation,
            "layers": self.leading.layers,
            "baseline": None if self.baseline is None else self.baseline.exponent,
            "judgement": self.judgement,
        }

    @staticmethod
    def _mean(rows: Sequence[Array]) -> Array:
        found: Array = np.mean(np.array(rows), axis=0)
        return found


def training_spectrum(
    task: Task,
    k: int = 1,
    *,
    steps: int | None = None,
    warmup: int = 10,
    discard: int = 0,
    every: int = 1,
    seeds: Sequence[int] | None = None,
    deflate: bool = False,
    neutral_checks: int = 3,
    baseline: int | None = None,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
    check: bool = True,
    tangent_seed: int = 0,
) -> TrainingSpectrum:
    """Return the k largest exponents of a task's training, without any finite perturbation.

    The map is one update: batch, random numbers, gradient, clipping, optimizer and its state,
    weight decay, schedule, buffers. Tangents start in the parameters after ``warmup`` updates,
    are measured in natural units and re-orthonormalised every ``every`` updates.

    Args:
        task: what to train; its optimizer needs a pure form.
        k: how many exponents, at most the number of coordinates: parameters, optimizer state
            and moving buffers. More than the parameters' number start beside them.
        steps: updates in all, at most the task's, which is the default.
        warmup: updates before the tangents start. Adam's first is not differentiable in effect.
        discard: updates after that in which tangents turn into place, not counted.
        every: updates between orthonormalisations. Larger is cheaper; keep ``every`` times
            the span of the exponents below 25 (below 7 in float32).
        seeds: base seeds (initial weights and all noise), one run for each; the task's by default.
        deflate: take exactly neutral directions out (see `wingbeat.lyapunov.neutral`).
        neutral_checks: at how many steps they are verified; 0 looks for none.
        baseline: divide the learning rate by this and measure the largest exponent of that run
            too, on every base seed, for `TrainingSpectrum.judgement`; it costs as many times the
            steps.
        dtype: float64, or float32 where the time matters.
        device: where.
        check: compare the derivative with finite differences before anything is measured.
        tangent_seed: of the initial tangents.

    Raises:
        RequestError: a number out of range, an optimizer without pure form, a model that torch
            cannot differentiate or differentiates wrongly.

    Source: Benettin et al., Meccanica 15 (1980); Shimada and Nagashima, Prog. Theor. Phys. 61
    (1979).

    Example:
        >>> from wingbeat.tasks.dense import circles_task
        >>> found = training_spectrum(circles_task((4,)), 2, steps=20)
        >>> found.exponents.shape, found.dimension, found.judgement
        ((2,), 66, 'not judged')
    """
    window = window_of(task, warmup=warmup, discard=discard, steps=steps, every=every)
    chosen = [task.seed] if seeds is None else list(seeds)
    if not chosen:
        raise RequestError("seeds is empty: give at least one base seed, or None for the task's")
    long = window.steps * len(chosen) >= RECORDED_FROM
    own = TangentStep(task, dtype, device, seed=chosen[0], recorded=long)
    runs = []
    for place, seed in enumerate(chosen):
        wanted = Wanted(k, tangent_seed, deflate, neutral_checks, check and place == 0)
        runs.append(trace_tangents(own.reseeded(seed), window, wanted))

    def small(task: Task, window: TangentWindow, seed: int) -> TangentRecord:
        recorded = window.steps >= RECORDED_FROM
        own = TangentStep(task, dtype, device, seed=seed, recorded=recorded)
        return trace_tangents(
            own, window, Wanted(1, tangent_seed, deflate, int(deflate), check=False)
        )

    background = None if baseline is None else small_rate(task, window, baseline, chosen, small)
    removed = sum(n.count for n in runs[0].neutral if n.deflated) if deflate else 0
    sizes = own.coordinates
    return TrainingSpectrum(tuple(runs), window, sizes.layout.size, sizes.size, removed, background)
