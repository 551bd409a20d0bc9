"""How far a replica ended from the reference, by the metric that defines "another basin"."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np
import torch

from wingbeat.errors import RequestError
from wingbeat.landscape import Models, Probe, line
from wingbeat.measure.metric import METRICS as REGISTRY
from wingbeat.measure.metric import Metric, chosen_names
from wingbeat.measure.one_moment import rows_of_moment
from wingbeat.measure.outputs import Evaluator
from wingbeat.metrics.basins import ERROR_THRESHOLD
from wingbeat.replicas.fork import NULL, REFERENCE
from wingbeat.replicas.snapshot import Snapshot
from wingbeat.typing import Array

if TYPE_CHECKING:
    from wingbeat.replicas.drivers.execution_plan import ExecutionPlan
    from wingbeat.task.step import TrainingStep


CURVES: Final = {
    "barrier": "loss_train",
    "barrier_error": "error_train",
    "barrier_test": "loss_test",
    "barrier_error_test": "error_test",
}
"""Metric → curve on the line whose barrier it is."""
METRICS: Final = (*CURVES, "l2", "disagreement")
"""What ships to say that a replica ended elsewhere; all are 0 for identical models."""


def check_metric(metric: str | Metric, threshold: float | None) -> tuple[str, float]:
    """Return the name of the metric and the threshold to use.

    Any metric can be used that compares each replica with the reference by one number.

    Raises:
        RequestError: an unknown metric, or a threshold that is missing, negative or not finite.

    >>> check_metric("barrier_error", None)
    ('barrier_error', 0.02)
    """
    name = metric if metric in METRICS else _declared(metric)
    if threshold is None and name.startswith("barrier_error"):
        return name, ERROR_THRESHOLD
    if threshold is None:
        raise RequestError(
            f"threshold is None: say from which {name} on a replica has left, or use metric="
            f"'barrier_error', which has one ({ERROR_THRESHOLD}, 2 points of error)"
        )
    if not (np.isfinite(threshold) and threshold >= 0):
        raise RequestError(f"threshold is {threshold!r}: use a finite number of at least 0")
    return name, float(threshold)


def _declared(metric: str | Metric) -> str:
    (name,) = chosen_names(metric, METRICS)
    found = REGISTRY.find(name)
    if not (found.compares and found.per in ("replica", "layer") and name in found.rows):
        raise RequestError(
            f"metric {name!r} does not compare each replica with the reference by one number: use "
            f"one of {', '.join(METRICS)}, or a metric of yours that is declared with compares=True"
        )
    return name


class EndpointMetric:
    """Measures how far models are from the first of them.

    Args:
        metric: one of ``METRICS``, or a declared metric that compares.
        step: the task's pure step.
        choice: how the run is executed.

    Raises:
        RequestError: the task does not give what the metric needs; nothing was trained.
    """

    def __init__(self, metric: str, step: TrainingStep, choice: ExecutionPlan) -> None:
        self.metric, self.step = metric, step
        if metric in CURVES:
            samples = step.task.barriers.samples
            self.probe = Probe(step, samples=samples, stacked=None if step.functional else False)
        elif metric == "disagreement":
            stacked = choice.driver.name == "lockstep"
            chunk = choice.chunk if stacked else 1
            self.evaluator = Evaluator(step, stacked=stacked, chunk=chunk)
        self._try()

    def __call__(self, models: Models) -> Array:
        """Return the value of each model against the first, (N,); NaN for one that diverged.

        The first must be finite.
        """
        found = np.full(len(models), np.nan)
        alive = np.flatnonzero(models.finite)
        found[alive] = self._values(models.take(alive.tolist()))
        return found

    def _values(self, models: Models) -> Array:
        if self.metric == "l2":
            flat = models.params.double()
            return np.asarray((flat - flat[0]).norm(dim=1).cpu().numpy())
        if self.metric == "disagreement":
            shares = self.evaluator(_as_snapshot(self.step, models)).disagreement()
            if shares is None:
                self._refuse("class predictions: set Task.predict")
            return np.asarray(shares)
        if self.metric not in CURVES:
            return self._of_declared(models)
        heights = np.zeros(len(models))
        if len(models) > 1:
            lines = line(self.probe, models, [(0, i) for i in range(1, len(models))])
            heights[1:] = lines.curve(CURVES[self.metric]).barrier().value
        return heights

    def _of_declared(self, models: Models) -> Array:
        """Return the rows of a declared metric, as if the models were the end of a run."""
        declared = REGISTRY.find(self.metric)
        everyone = models.take([0, *range(len(models))])  # the reference is its own twin
        labels = (REFERENCE, NULL, *(f"end#{i}" for i in range(1, len(models))))
        evaluator = None
        if declared.needs == "outputs":
            evaluator = Evaluator(self.step, stacked=False, wanted=[self.metric])
        snapshot = _as_snapshot(self.step, replace(everyone, labels=labels))
        table = rows_of_moment([declared], snapshot, self.step, evaluator)
        kept = table[(table.metric == self.metric) & (table.layer == "")]
        found = dict(zip(kept.b, kept.value, strict=True))
        values = [found.get(label, np.nan) for label in labels[2:]]
        return np.array([0.0, *values])

    def _try(self) -> None:
        """Measure the untrained model once, so that what is missing shows before training."""
        start = self.step.start(self.step.task.seed)
        buffers = {k: b.unsqueeze(0) for k, b in start.buffers.items()}
        models = Models(("start",), start.params.unsqueeze(0), buffers)
        if self.metric not in METRICS:
            same = float(self._values(models.take([0, 0]))[1])
            if same != 0:
                raise RequestError(
                    f"metric {self.metric!r} is {same:g} for identical models: use one that is 0"
                )
            return
        if self.metric not in CURVES:
            self._values(models)
            return
        quantity, _, data = CURVES[self.metric].partition("_")
        if data not in self.probe.data:
            self._refuse("evaluation data: set Task.eval_data")
        if quantity == "error" and self.probe(models, np.ones((1, 1)))[data].error is None:
            self._refuse("class predictions: set Task.predict and Task.targets")

    def _refuse(self, need: str) -> None:
        raise RequestError(f"metric {self.metric!r} needs {need}, or choose another metric")


def _as_snapshot(step: TrainingStep, models: Models) -> Snapshot:
    params = step.layout.unflatten(models.params)
    return Snapshot(0, models.labels, params, models.buffers, torch.zeros(0, len(models)))
