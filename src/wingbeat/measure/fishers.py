"""The metric "fisher_kl": replicas as Gaussians around their weights, at the last step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from wingbeat.errors import DIVERGED
from wingbeat.landscape import Models, Probe, diagonal_fisher
from wingbeat.landscape.fisher import divergences
from wingbeat.measure.rows import owners
from wingbeat.measure.table import words
from wingbeat.replicas.fork import REFERENCE
from wingbeat.task.batches import len_of

if TYPE_CHECKING:
    from wingbeat.measure.scene import Scene

SAMPLES: Final = 1024
"""Training samples that the Fisher information is averaged over, at most."""


def fishers(scene: Scene) -> None:
    """Add the symmetric Gaussian divergence of every replica from the reference.

    Mean of both directions of KL between N(w, (n F + 1)⁻¹), F the empirical Fisher information's
    diagonal and n the number of training samples; see `wingbeat.landscape.fisher_divergence`.
    Only at the last step: a gradient of every sample costs as much as an epoch.
    """
    scene.tick("Fisher information")
    snapshot = scene.trajectory.at(scene.trajectory.steps[-1])
    task = scene.step.task
    probe = Probe(scene.step, data={"train": task.data}, samples=SAMPLES)
    models = Models.of_snapshot(scene.step, snapshot)
    values = np.full(len(models), np.nan)
    alive = [int(i) for i in np.flatnonzero(models.finite)]
    if alive and alive[0] == 0:
        kept = models.take(alive)
        information = diagonal_fisher(probe, kept)
        there, back = divergences(kept.params, information, len_of(task.data))
        values[alive] = np.concatenate([[0.0], 0.5 * (there + back)])
    values = np.where(np.isfinite(values), values, np.nan)
    scene.out.add(
        "fisher_kl",
        values[1:],
        step=snapshot.step,
        perturbation=owners(snapshot.labels)[1:],
        a=REFERENCE,
        b=words(snapshot.labels[1:]),
        reason=np.where(np.isfinite(values[1:]), "", DIVERGED),
    )
    scene.keep("final_fisher_kl", values, low=0.0)
