"""The metric "fisher_kl": replicas as Gaussians around their weights, at the last step."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final

import numpy as np

from wingbeat.errors import DIVERGED
from wingbeat.landscape import Models, Probe, diagonal_fisher
from wingbeat.landscape.fisher import divergences
from wingbeat.measure.metric import metric_of_run
from wingbeat.measure.table import object_array, owners
from wingbeat.replicas.fork import REFERENCE
from wingbeat.task.data import len_of

if TYPE_CHECKING:
    from wingbeat.measure.context import MetricContext

SAMPLES: Final = 1024
"""Training samples that the Fisher information is averaged over, at most."""


@metric_of_run(
    "fisher_kl",
    needs="models",
    per="replica",
    unit="nat",
    range=(0, inf),
    direction="0 = identical",
    label="Fisher divergence",
    caption="Symmetric divergence of Gaussians around a replica's and the reference's weights, "
    "as wide as the Fisher information allows, at the last step",
    cost="a gradient of at most 1,024 training samples per replica, once",
    summary=("final_fisher_kl",),
    order=220,
)
def fisher_kl(context: MetricContext) -> None:
    """Add the symmetric Gaussian divergence of every replica from the reference.

    Mean of both directions of KL between N(w, (n F + 1)⁻¹), F the empirical Fisher information's
    diagonal and n the number of training samples; see `wingbeat.landscape.fisher_divergence`.
    Only at the last step: a gradient of every sample costs as much as an epoch.
    """
    context.tick("Fisher information")
    snapshot = context.trajectory.at(context.trajectory.steps[-1])
    task = context.model_step.task
    probe = Probe(context.model_step, data={"train": task.data}, samples=SAMPLES)
    models = Models.of_snapshot(context.model_step, snapshot)
    values = np.full(len(models), np.nan)
    alive = [int(i) for i in np.flatnonzero(models.finite)]
    if alive and alive[0] == 0:
        kept = models.take(alive)
        information = diagonal_fisher(probe, kept)
        there, back = divergences(kept.params, information, len_of(task.data))
        values[alive] = np.concatenate([[0.0], 0.5 * (there + back)])
    values = np.where(np.isfinite(values), values, np.nan)
    context.out.add(
        "fisher_kl",
        values[1:],
        step=snapshot.step,
        perturbation=owners(snapshot.labels)[1:],
        a=REFERENCE,
        b=object_array(snapshot.labels[1:]),
        reason=np.where(np.isfinite(values[1:]), "", DIVERGED),
    )
    context.keep("final_fisher_kl", values, low=0.0)
