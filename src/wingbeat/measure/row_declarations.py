"""Which declaration a row of the table belongs to, and how it is drawn over training."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from wingbeat.measure.metric import METRICS, Curve, Metric, known_here
from wingbeat.measure.rows import own_scalar_rows

if TYPE_CHECKING:
    from collections.abc import Iterable


def drawn_curve(row: str, own: Iterable[str] = ()) -> tuple[Metric, Curve] | None:
    """Return how the rows of one name are drawn over training, and whose rows they are.

    Args:
        row: name in the table.
        own: names of the task's evaluation metrics.

    Returns:
        None for rows that have no such figure. Rows that nobody here declared are drawn as they
        are: a result may come from a process that knew more metrics.
    """
    if row in METRICS.names() and row not in METRICS.registered():
        METRICS.find(row)  # announced by a package, and not loaded yet
    declared = [found for found in known_here() if row in found.rows]
    if not declared:
        found = task_metric(row) if row in own else _undeclared(row)
        return found, found.figure or Curve()
    figure = declared[0].figure
    if figure is None or row != (figure.row or declared[0].name):
        return None
    return declared[0], figure


def _undeclared(row: str) -> Metric:
    caption = f"{row}, of which this process knows no declaration"
    return replace(task_metric(row), caption=caption)


def task_metric(name: str) -> Metric:
    """Return the declaration of one of the task's own evaluation metrics."""
    return Metric(
        name=name,
        function=lambda context: own_scalar_rows(context, name),
        needs="outputs",
        per="replica",
        unit="its own",
        range=(-float("inf"), float("inf")),
        direction="as the task says",
        caption=f"The task's own measure {name} on held-out data",
        label=name,
        figure=Curve(axis=name, log=name.endswith("loss")),
    )
