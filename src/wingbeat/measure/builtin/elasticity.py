"""The metric "local_elasticity": does an update on a sample act more on its own class?

From the tangent kernel, which is what an update of one small step does; see "kernel".
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final

import numpy as np

from wingbeat.errors import CONSTANT, DIVERGED, NO_PREDICTIONS, UndefinedError
from wingbeat.measure.layer_rows import layer_rows
from wingbeat.measure.metric import Curve, Definition, metric_of_run
from wingbeat.measure.tangent_kernels import run_kernels
from wingbeat.metrics.kernel import local_elasticity as elasticity_of

if TYPE_CHECKING:
    from wingbeat.measure.context import MetricContext

ROWS: Final = {
    "local_elasticity": "ratio",
    "elasticity_within": "within",
    "elasticity_between": "between",
}


@metric_of_run(
    "local_elasticity",
    needs="models",
    per="replica",
    unit="1",
    range=(0, inf),
    direction="1 = not locally elastic",
    caption="How much more an update on one sample acts on samples of its class than on others",
    source="He and Su, arXiv 1910.06943; arXiv 2110.05960",
    cost='nothing beside "kernel", else the same',
    rows=tuple(ROWS),
    summary=("final_local_elasticity",),
    figure=Curve(row="local_elasticity", axis="within a class ÷ between classes"),
    definitions=(
        Definition(
            "local elasticity",
            "mean of |Θ(x′, x)| ÷ Θ(x, x) within classes ÷ the same between classes",
            "Θ is the tangent kernel. 1 = an update acts on all alike.",
        ),
    ),
    order=330,
)
def local_elasticity(context: MetricContext) -> None:
    """Add the rows of "local_elasticity" and the final ratio for the summary."""
    run = run_kernels(context)
    if run.labels is None:
        raise UndefinedError("local_elasticity needs classes: set Task.targets", NO_PREDICTIONS)
    for step in run.steps:
        kernels, labels = run.kernels[step], context.trajectory.at(step).labels
        every = [elasticity_of(k, run.labels) for k in kernels]
        finite = np.isfinite(kernels).all(axis=(1, 2))
        why = np.where(finite, CONSTANT, DIVERGED)
        for row, field in ROWS.items():
            values = np.array([getattr(one, field) for one in every])
            layer_rows(context, row, step, labels, {"": values}, why=why, mean=False)
        ratio = np.array([one.ratio for one in every])
    context.keep("final_local_elasticity", ratio, low=0.0, reason=CONSTANT)
