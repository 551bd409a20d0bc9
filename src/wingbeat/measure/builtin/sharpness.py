"""The metric "sharpness": the largest Hessian eigenvalue of each replica's training loss.

Of the mean training loss as the optimizer sees it: on batches of the task's size (which matters
where a model normalises over the batch), in training mode with one fixed dropout mask, without
augmentation and without the penalty of weight decay. At most 1,000 evenly spaced samples, in
float64 whatever the run's type. About 30 Hessian-vector products a replica, each the work of three
plain gradients, make a look as expensive as many updates. Therefore: at as many recorded steps,
evenly spaced, as together cost no more than training did, but always at the first and the last.
"""

from __future__ import annotations

import re
from math import inf
from typing import TYPE_CHECKING, Final

import numpy as np

from wingbeat.curvature import Hessian
from wingbeat.curvature import sharpness as sharpness_of
from wingbeat.curvature.along import even_samples
from wingbeat.errors import DIVERGED, NOT_TWICE_DIFFERENTIABLE, RequestError
from wingbeat.measure.budget import ends_and_between
from wingbeat.measure.metric import Curve, metric_of_run
from wingbeat.measure.table import object_array, owners
from wingbeat.typing import Array

if TYPE_CHECKING:
    from wingbeat.measure.context import MetricContext
    from wingbeat.replicas.snapshot import Snapshot


PRODUCTS: Final = 30
"""Hessian-vector products that an eigenvalue usually takes, as an estimate of its cost."""
PRODUCT: Final = 3
"""Cost of a product in plain gradients: the gradient anew, and its derivative at twice the cost."""
_REFUSALS: Final = re.compile("derivative|differentia|does not require grad", re.IGNORECASE)
"""What torch says where a loss cannot be differentiated twice."""


@metric_of_run(
    "sharpness",
    needs="models",
    per="replica",
    unit="loss/weight²",
    range=(-inf, inf),
    direction="large = narrow",
    caption="Largest eigenvalue of the Hessian of the training loss, on at most 1,000 samples, "
    "with one fixed dropout mask",
    source="Cohen et al., arXiv 2103.00065",
    cost="about 90 gradients of these samples per replica and look; as many looks as together "
    "cost no more than training, at least two",
    summary=("final_sharpness",),
    figure=Curve(axis="largest Hessian eigenvalue (loss/weight²)"),
    order=230,
)
def sharpness(context: MetricContext) -> None:
    """Add the sharpness of every replica, and the last one of the perturbed for the summary."""
    task = context.model_step.task
    chosen = Hessian(
        task,
        samples=even_samples(task),
        batch_size=task.batch_size,
        device=context.model_step.device,
    )
    values = np.full(len(context.labels), np.nan)
    for step in steps_within_budget(context, len(chosen.indices)):
        context.tick(f"sharpness at step {step}")
        snapshot = context.trajectory.at(step)
        values = _rows(context, chosen, snapshot)
    context.keep("final_sharpness", values)


def steps_within_budget(context: MetricContext, samples: int) -> list[int]:
    """Return the recorded steps at which the sharpness is measured, ascending.

    Args:
        context: the run.
        samples: that one eigenvalue is computed on.
    """
    task = context.model_step.task
    look = PRODUCTS * PRODUCT * samples
    return ends_and_between(context.trajectory.steps, task.steps * task.batch_size // look)


def _rows(context: MetricContext, hessian: Hessian, snapshot: Snapshot) -> Array:
    """Add one row per replica and return the values."""
    values, why = np.full(len(snapshot.labels), np.nan), DIVERGED
    try:
        values = sharpness_of(context.model_step.task, snapshot, hessian=hessian)
    except (RuntimeError, RequestError) as error:
        if not _REFUSALS.search(str(error)):
            raise
        why = NOT_TWICE_DIFFERENTIABLE
    context.out.add(
        "sharpness",
        values,
        step=snapshot.step,
        perturbation=owners(snapshot.labels),
        b=object_array(snapshot.labels),
        reason=np.where(np.isfinite(values), "", why),
    )
    return values
