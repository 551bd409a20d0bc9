"""Does another seed give another model? Asked before training where the request needs it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from wingbeat.errors import RequestError
from wingbeat.params import trainable
from wingbeat.replicas.perturb import Init

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wingbeat.replicas.perturb import Perturbation
    from wingbeat.task.step import TrainingStep


def check_init(step: TrainingStep, perturbations: Sequence[Perturbation]) -> None:
    """Refuse ``Init`` for a model that has the same weights under every seed.

    Raises:
        RequestError: it has; says whether the factory seeds itself.
    """
    wanted = next((p for p in perturbations if isinstance(p, Init)), None)
    if wanted is None:
        return
    seed = wanted.init_seed(1)
    own, other = step.start(step.task.seed).params, step.start(seed).params
    if step.models.ends[step.task.seed] == step.models.ends[seed]:
        raise RequestError(_seeds_itself("Init() would vary nothing"))
    if torch.equal(own, other):
        msg = (
            "Task.model gives the same weights under every seed (loaded, or drawn from a generator "
            "of its own), so Init() would vary nothing: draw them from torch's global generator "
            "in the factory, or use another perturbation, such as Gaussian(0.01)"
        )
        raise RequestError(msg)


def check_seeds(steps: Sequence[TrainingStep]) -> None:
    """Refuse several base seeds for a factory that seeds itself.

    Weights that are loaded may be the same under every seed: order and noise still differ.

    Raises:
        RequestError: the factory seeds itself, and the weights are the same.
    """
    if len(steps) < 2:
        return
    first, second = steps[:2]
    ends = [step.models.ends[step.task.seed] for step in (first, second)]
    starts = [
        torch.cat([p.detach().reshape(-1) for p in trainable(s.skeleton).values()])
        for s in (first, second)
    ]
    if ends[0] == ends[1] and torch.equal(*starts):
        raise RequestError(_seeds_itself("all base seeds would begin with the same weights"))


def _seeds_itself(so: str) -> str:
    return (
        f"Task.model seeds torch's generator itself, so {so}: take torch.manual_seed out of the "
        "factory and give the seed as Task(seed=...), which is set before the factory is called"
    )
