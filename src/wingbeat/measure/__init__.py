"""Measure: a trajectory, its task and metrics become a tidy table and a summary.

`metric` declares one of one's own; the built-in ones stand in ``measure/builtin``, a file each.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from wingbeat.errors import UndefinedError
from wingbeat.measure.context import MetricContext
from wingbeat.measure.exponents import Saturation, saturation
from wingbeat.measure.metric import METRICS, Curve, Definition, Metric, metric_of_run
from wingbeat.measure.outputs import Evaluator
from wingbeat.measure.own import metric
from wingbeat.measure.reference_training import ReferenceTraining, reference_training
from wingbeat.measure.row_declarations import task_metric
from wingbeat.measure.signal import without_signal
from wingbeat.measure.summary import PerturbationStatistics
from wingbeat.measure.table import TableBuilder

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    import pandas as pd

    from wingbeat.measure.outputs import Outputs
    from wingbeat.task.step import TrainingStep
    from wingbeat.task.task import Task
    from wingbeat.trajectory.trajectory import Trajectory

    Tick = Callable[[str], None]

__all__ = [
    "Curve",
    "Definition",
    "Measured",
    "Metric",
    "MetricContext",
    "PerturbationStatistics",
    "measure",
    "metric",
    "metric_of_run",
]


@dataclass(frozen=True)
class Measured:
    """The measures of one base seed: the table, and what the summary is made of.

    ``table`` makes the table when it is called, so that pandas is loaded where one is read.
    ``left_out`` names tensors that move by rounding alone; see ``measure.signal``. ``training`` is
    what the reference made of its training; None where no loss was recorded.
    """

    table: Callable[[], pd.DataFrame]
    facts: dict[str, PerturbationStatistics]
    noise_floor: float
    diverged: dict[str, int]
    left_out: tuple[str, ...] = ()
    training: ReferenceTraining | None = None


def measure(
    trajectory: Trajectory,
    task: Task,
    wanted: Sequence[str],
    evaluator: Evaluator | None,
    tick: Tick = lambda _: None,
    independent: Collection[str] = (),
    step: TrainingStep | None = None,
) -> Measured:
    """Measure a trajectory.

    Args:
        trajectory: the recorded run.
        task: what was trained; gives the seed and the epoch's length.
        wanted: metric names, checked before.
        evaluator: computes outputs; None if no metric needs them.
        tick: called with a word for each stage of the work, for progress.
        independent: perturbations whose replicas have an initialization of their own.
        step: the task's pure step, for metrics that run the models; None if there is none.
    """
    context = MetricContext(TableBuilder(), trajectory, step, tick)
    metrics = [task_metric(m) if m in task.eval_metrics else METRICS.find(m) for m in wanted]
    tick("weights")
    weights = context.weights
    _whole_run(context, metrics, ("weights", "losses"))
    last = _moment_by_moment(context, metrics, evaluator)
    end = saturation(weights, independent)
    if step is not None:
        _whole_run(context, metrics, ("activations", "models"))
    tick("gradients")
    left_out = () if step is None else without_signal(step, trajectory)
    facts = {
        name: replace(
            _facts(name, context, task, last, end, left_out),
            scalars=context.scalars.get(name, {}),
            numbers=context.numbers.get(name, {}),
        )
        for name in weights.groups
    }
    table, floor = context.out.table, weights.noise_floor
    losses = trajectory.losses[:, 0].double().numpy()
    training = reference_training(task.seed, losses, last)
    return Measured(table, facts, floor, trajectory.diverged(), left_out, training)


def _whole_run(context: MetricContext, metrics: Sequence[Metric], needs: tuple[str, ...]) -> None:
    for found in metrics:
        if found.needs not in needs:
            continue
        try:
            found(context)
        except UndefinedError as error:  # the run is trained: what this metric lacks is noted
            context.tick(f"{found.name}: {error}")
            context.undefined(found.rows, found.summary, error.reason)


def _moment_by_moment(
    context: MetricContext, metrics: Sequence[Metric], evaluator: Evaluator | None
) -> Outputs | None:
    """Evaluate every snapshot once for all metrics that need it; returns the last outputs."""
    wanted = [found for found in metrics if found.needs == "outputs"]
    if not wanted or evaluator is None:
        return None
    for snapshot in context.trajectory:
        context.tick(f"outputs at step {snapshot.step}")
        context.snapshot, context.outputs = snapshot, evaluator(snapshot)
        for found in wanted:
            found(context)
    last, context.snapshot, context.outputs = context.outputs, None, None
    return last


def _facts(
    name: str,
    context: MetricContext,
    task: Task,
    last: Outputs | None,
    end: Saturation,
    left_out: Sequence[str],
) -> PerturbationStatistics:
    w = context.weights
    kept = [layer not in left_out for layer in w.layers]
    own = [label.rsplit("#", 1)[0] == name for label in w.labels]
    apart = last.disagreement() if last else None
    since = w.since(name)
    # Only where a metric asked for principal components.
    _, _, projected = context.shared.get("projections", (None, None, {}))
    with np.errstate(invalid="ignore"):  # sums over tensors of a replica that broke down
        grams = w.groups[name][:, kept].sum(axis=1)[since]
        every = w.groups[name].sum(axis=1)[since]
    return PerturbationStatistics(
        seed=task.seed,
        steps=w.steps[since],
        distances=w.distances(name),
        grams=grams,
        all_grams=every if left_out else None,
        projected=projected[name][1] if name in projected else None,
        floor=w.noise_floor,
        saturation=end,
        disagreement=None if apart is None else apart[own],
        steps_per_epoch=task.steps_per_epoch,
        projections="projections" in context.shared,
    )
