"""The figure of any metric of a result, by its name."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import numpy as np

from wingbeat.errors import RequestError, nearest
from wingbeat.measure.row_declarations import drawn_curve, task_metric
from wingbeat.report.figures import curves, maps
from wingbeat.report.figures.alignment import aligned_distance
from wingbeat.report.figures.barriers import growth
from wingbeat.report.figures.families import STEP_LABEL, families, joined, sentence, span
from wingbeat.report.figures.losses import losses, replica_metrics
from wingbeat.report.figures.records import Figure, LineFigure
from wingbeat.report.figures.representations import over_training
from wingbeat.report.result_access import ResultLike

OWN: Final[dict[str, Callable[[ResultLike], Figure | None]]] = {
    "spread": curves.spread_figure,
    "l2": curves.distance,
    "local_lyapunov": curves.local_lyapunov,
    "spread_projected": curves.projected_ratio,
    "pca": maps.trajectories,
    "layers": maps.layers,
    "barrier": growth,
    "cka": over_training,
    "l2_aligned": aligned_distance,
}
"""Metrics that have a figure of their own; all others are lines over training."""


def figure_of(result: ResultLike, metric: str) -> Figure:
    """Return the figure of a metric.

    Args:
        result: what to read.
        metric: its name, or the name of rows in the table.

    Raises:
        RequestError: the result holds no such values; the message names those that it holds.
    """
    own = OWN[metric](result) if metric in OWN else None
    found = own or _per_replica(result, metric) or _lines(result, metric)
    if found is None:
        known = available(result)
        raise RequestError(
            f"this result has nothing to draw of {metric!r}: {nearest(metric, known)}"
        )
    return found


def available(result: ResultLike) -> tuple[str, ...]:
    """Return what can be drawn of a result."""
    own = [name for name, make in OWN.items() if make(result) is not None]
    table = result.table
    lines = table[(table["layer"] == "") & (table["perturbation"] != "")]["metric"].unique()
    return tuple(dict.fromkeys((*own, *replica_metrics(result), *map(str, lines))))


def _per_replica(result: ResultLike, metric: str) -> LineFigure | None:
    return losses(result, metric) if metric in replica_metrics(result) else None


def _lines(result: ResultLike, metric: str) -> LineFigure | None:
    """Return the median of each perturbation over training, of rows that declare no figure."""
    lines, notes = families(result, metric)
    if not any(math.isfinite(y) for line in lines for y in line.y):
        return None
    declared = (drawn_curve(metric) or (task_metric(metric),))[0]
    ends = span(line.y[-1] for line in lines)
    values = np.array([y for line in lines for y in line.y])
    known = values[np.isfinite(values)]
    name = metric.replace("_", " ")
    return LineFigure(
        key=metric,
        title=f"{name[:1].upper()}{name[1:]} at the end: {ends}" if ends else name,
        caption=joined(f"{declared.caption}.", sentence(lines, result), notes),
        x_label=STEP_LABEL,
        y_label=name,
        lines=lines,
        log_y=bool(known.min() > 0 and known.max() > 10 * known.min()),
    )
