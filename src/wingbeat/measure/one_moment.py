"""Metrics of a single moment, without a run around it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wingbeat.measure.context import MetricContext
from wingbeat.measure.table import TableBuilder
from wingbeat.trajectory.store import MemoryStore
from wingbeat.trajectory.trajectory import Trajectory

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from wingbeat.measure.metric import Metric
    from wingbeat.measure.outputs import Evaluator
    from wingbeat.replicas.snapshot import Snapshot
    from wingbeat.task.step import TrainingStep


def rows_of_moment(
    metrics: Sequence[Metric],
    snapshot: Snapshot,
    step: TrainingStep | None,
    evaluator: Evaluator | None = None,
) -> pd.DataFrame:
    """Return the rows that metrics have of one moment.

    Args:
        metrics: those of a single moment; one of a whole run sees a run that is this moment.
        snapshot: the moment: the reference, its twin "null", then other models.
        step: the task's pure step; None for metrics that need weights only.
        evaluator: for metrics that need "outputs"; made for their names.
    """
    store = MemoryStore()
    store.append(snapshot)
    context = MetricContext(TableBuilder(), Trajectory(store), step)
    if evaluator is not None:
        context.snapshot, context.outputs = snapshot, evaluator(snapshot)
    for metric in metrics:
        metric(context)
    return context.out.table()
