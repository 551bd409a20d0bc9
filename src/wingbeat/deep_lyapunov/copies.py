"""The copies that are compared, what was recorded of them, and what can be measured."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import nn

from wingbeat.deep_lyapunov import advice
from wingbeat.deep_lyapunov.assess import Recording
from wingbeat.deep_lyapunov.config import AnalyzerConfig
from wingbeat.deep_lyapunov.replay import Replay
from wingbeat.deep_lyapunov.results import TrajectoryMetrics
from wingbeat.deep_lyapunov.tracking.perturbation import create_perturbed_copies
from wingbeat.deep_lyapunov.tracking.tracker import TrajectoryTracker, pace
from wingbeat.deep_lyapunov.training import loss_and_accuracy
from wingbeat.deep_lyapunov.watch import InputWatch


@dataclass
class Copies:
    """Perturbed copies of a model and their recorded weights.

    Attributes:
        models: the copies; number 0 is not perturbed.
        trackers: one for each.
        times: epoch of each capture.
        manual: whether a training loop outside trains them.
        base: tracker of the base model, in manual mode.
        inputs: what each copy is called with, in manual mode.
        replay: generators as the first copy of this epoch found them.
    """

    models: list[nn.Module]
    trackers: list[TrajectoryTracker]
    times: list[float]
    manual: bool = False
    base: TrajectoryTracker | None = None
    inputs: list[InputWatch] = field(default_factory=list)
    replay: Replay | None = None

    @classmethod
    def of(cls, model: nn.Module, config: AnalyzerConfig, device: str) -> Copies:
        """Make the copies, place them, and record their initial state.

        >>> len(Copies.of(nn.Linear(1, 1), AnalyzerConfig(), "cpu").models)
        5
        """
        made = create_perturbed_copies(
            model, config.n_trajectories, config.perturbation_scale, base_seed=config.seed
        )
        models = [copy.to(device) for copy in made]
        trackers = [
            TrajectoryTracker(m, config.track_gradients, config.record_interval) for m in models
        ]
        for tracker in trackers:
            tracker.capture()
        return cls(models, trackers, [0.0])

    def watch(self, model: nn.Module, interval: int) -> None:
        """Prepare for a training loop outside, which may train the base model by mistake."""
        self.manual = True
        self.base = TrajectoryTracker(model, record_interval=interval)
        self.base.capture()
        self.inputs = [InputWatch() for _ in self.models]
        for watch, copy in zip(self.inputs, self.models, strict=True):
            watch.attach(copy)

    def release(self) -> None:
        """Take the watchers off the copies."""
        for watch in self.inputs:
            watch.detach()

    def record(self) -> None:
        """Record all copies, one epoch after the last record."""
        for tracker in (*self.trackers, *([] if self.base is None else [self.base])):
            tracker.capture()
        self.times.append(self.times[-1] + 1.0)
        self.replay = None

    def rewind(self, sources: tuple[object, ...]) -> None:
        """Set generators to where the first copy of this epoch found them."""
        if self.replay is None:
            self.replay = Replay(*sources)
        else:
            self.replay.rewind()

    def comparable(self) -> tuple[list[TrajectoryTracker], Recording, list[str]]:
        """Return the trackers to measure, what they recorded, and what is to be said."""
        still = [i for i, tracker in enumerate(self.trackers) if not _moved(tracker)]
        chosen, notes = self.trackers, []
        if self.base is not None and len(still) == len(self.trackers) and _moved(self.base):
            chosen, notes = [self.base], [advice.BASE_TRAINED]
        elif still:
            notes = [advice.still(still, len(self.trackers))]
        if self.manual:
            seen = [(watch.calls, watch.fingerprint) for watch in self.inputs]
            notes += advice.on_inputs(seen, manual=True)
        vectors = tuple(zip(*(t.vectors for t in chosen), strict=True))
        times = tuple(self.times[call] for call in chosen[0].calls)
        return chosen, Recording(vectors, times, trained=not still), notes


def each_metrics(
    trackers: list[TrajectoryTracker], times: tuple[float, ...], given: list[dict[str, Any]]
) -> list[TrajectoryMetrics]:
    """Return the measures of each trajectory, velocities per unit of ``times``."""
    found = []
    for i, tracker in enumerate(trackers):
        read = loss_and_accuracy(given[i] if i < len(given) else None)
        way = pace(tracker.hops(), times)
        found.append(TrajectoryMetrics(i, read["loss"], read["accuracy"], **way))
    return found


def _moved(tracker: TrajectoryTracker) -> bool:
    """Tell whether any recorded weight differs from the first one."""
    first = tracker.vectors[0]
    return any(not np.array_equal(first, v) for v in tracker.vectors[1:])
