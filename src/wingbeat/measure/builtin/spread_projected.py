"""The metric "spread_projected": the spread in the leading principal components."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

import numpy as np

from wingbeat.errors import CONSTANT
from wingbeat.measure.metric import Definition, metric_of_run
from wingbeat.measure.projections import projections
from wingbeat.measure.rows import why_no_spread

if TYPE_CHECKING:
    from wingbeat.measure.context import MetricContext


@metric_of_run(
    "spread_projected",
    needs="weights",
    per="perturbation",
    unit="weight",
    range=(0, inf),
    direction="0 = identical in the leading components",
    label="projected spread",
    caption="Spread after projection to the three leading principal components of a "
    "perturbation's own snapshots, and the share of its variance that they keep",
    rows=("spread_projected", "projected_variance_kept"),
    definitions=(
        Definition(
            "projected ratio",
            "as the convergence ratio, after projection to the leading principal components",
            "Shown beside the ratio of the full space with the share of variance it keeps; the "
            "two can disagree about the direction.",
        ),
    ),
    default=True,
    order=50,
)
def spread_projected(context: MetricContext) -> None:
    """Add the spread in the leading components and the share of variance it keeps."""
    w = context.weights
    for name, (steps, projected) in projections(context)[2].items():
        lost = bool(np.isnan(projected.spread).any())
        for row, values in (
            ("spread_projected", projected.spread),
            ("projected_variance_kept", projected.kept),
        ):
            finite = np.isfinite(values)
            reason = np.where(finite, "", why_no_spread(w, name) if lost else CONSTANT)
            shown = np.where(finite, values, np.nan)
            context.out.add(row, shown, step=steps, perturbation=name, reason=reason)
