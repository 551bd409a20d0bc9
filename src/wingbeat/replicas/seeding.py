"""Does another seed give another model? Asked before training where the request needs it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import torch
from torch.utils import _pytree as pytree

from wingbeat.errors import RequestError
from wingbeat.params import trainable
from wingbeat.replicas.perturb import Augmentation, DataOrder, Init
from wingbeat.task.batches import Streams

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wingbeat.replicas.perturb import Perturbation
    from wingbeat.task.batches import Batches
    from wingbeat.task.step import TrainingStep

_LOOKED_AT: Final = 4
"""Batches that are compared under two orders: small data may agree in the first by chance."""


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


def check_streams(batches: Batches, seed: int, perturbations: Sequence[Perturbation]) -> None:
    """Refuse another order of data that has only one: a sampler or a source of batches.

    Raises:
        RequestError: the first batches are the same under the perturbation's seeds.
    """
    task = batches.task
    if task.sampler is None and task.batches is None:
        return
    own = Streams.of(seed)
    for perturbation in perturbations:
        if not isinstance(perturbation, (DataOrder, Augmentation)):
            continue
        if isinstance(perturbation, Augmentation) and (task.augment or task.batches is None):
            continue
        other = perturbation.of_base(seed).streams(own, 1)
        steps = range(min(_LOOKED_AT, task.steps))
        if all(_same(batches.anew(own, step), batches.anew(other, step)) for step in steps):
            what = "Task.batches" if task.sampler is None else "Task.sampler"
            raise RequestError(
                f"{perturbation.label} would vary nothing: {what} gives the same batches whatever "
                "the order's seed. Let it draw from torch's, NumPy's or Python's generator as a "
                "pass begins, or from an attribute generator; what is drawn batch by batch is "
                "varied by wb.Augmentation"
            )


def _same(a: Any, b: Any) -> bool:
    pairs = zip(pytree.tree_leaves(a), pytree.tree_leaves(b), strict=False)
    both = [(x, y) for x, y in pairs if isinstance(x, torch.Tensor)]
    return all(x.shape == y.shape and torch.equal(x, y) for x, y in both)


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
