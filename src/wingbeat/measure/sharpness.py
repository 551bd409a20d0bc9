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
from typing import TYPE_CHECKING, Final

import numpy as np

from wingbeat.curvature import Hessian, sharpness
from wingbeat.curvature.along import even_samples
from wingbeat.errors import DIVERGED, NOT_TWICE_DIFFERENTIABLE, RequestError
from wingbeat.measure.rows import owners
from wingbeat.measure.table import words

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from wingbeat.measure.scene import Scene
    from wingbeat.replicas.snapshot import Snapshot

    Array = NDArray[np.float64]

PRODUCTS: Final = 30
"""Hessian-vector products that an eigenvalue usually takes, as an estimate of its cost."""
PRODUCT: Final = 3
"""Cost of a product in plain gradients: the gradient anew, and its derivative at twice the cost."""
_REFUSALS: Final = re.compile("derivative|differentia|does not require grad", re.IGNORECASE)
"""What torch says where a loss cannot be differentiated twice."""


def sharpnesses(scene: Scene) -> None:
    """Add the sharpness of every replica, and the last one of the perturbed for the summary."""
    task = scene.step.task
    chosen = Hessian(
        task,
        samples=even_samples(task),
        batch_size=task.batch_size,
        device=scene.step.device,
    )
    values = np.full(len(scene.labels), np.nan)
    for step in affordable(scene, len(chosen.indices)):
        scene.tick(f"sharpness at step {step}")
        snapshot = scene.trajectory.at(step)
        values = _rows(scene, chosen, snapshot)
    scene.keep("final_sharpness", values)


def affordable(scene: Scene, samples: int) -> list[int]:
    """Return the recorded steps at which the sharpness is measured, ascending.

    Args:
        scene: the run.
        samples: that one eigenvalue is computed on.
    """
    task, steps = scene.step.task, list(scene.trajectory.steps)
    look = PRODUCTS * PRODUCT * samples
    count = min(len(steps), max(2, task.steps * task.batch_size // look))
    places = np.linspace(0, len(steps) - 1, count).round().astype(int)
    return [steps[i] for i in sorted(set(places.tolist()))]


def _rows(scene: Scene, hessian: Hessian, snapshot: Snapshot) -> Array:
    """Add one row a replica and return the values."""
    values, why = np.full(len(snapshot.labels), np.nan), DIVERGED
    try:
        values = sharpness(scene.step.task, snapshot, hessian=hessian)
    except (RuntimeError, RequestError) as error:
        if not _REFUSALS.search(str(error)):
            raise
        why = NOT_TWICE_DIFFERENTIABLE
    scene.out.add(
        "sharpness",
        values,
        step=snapshot.step,
        perturbation=owners(snapshot.labels),
        b=words(snapshot.labels),
        reason=np.where(np.isfinite(values), "", why),
    )
    return values
