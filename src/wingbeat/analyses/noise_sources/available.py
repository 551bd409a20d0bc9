"""Which sources of noise a task has, told before anything is trained."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final, Literal, get_args

import numpy as np
import torch

from wingbeat.determinism import derive, seeded
from wingbeat.errors import RequestError, nearest
from wingbeat.replicas.perturb import Augmentation, DataOrder, Dropout, Init, Perturbation, Ulp
from wingbeat.replicas.perturb.everything import Everything
from wingbeat.task.batches import Streams
from wingbeat.task.data import is_tensors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wingbeat.task.batches import Batches
    from wingbeat.task.step import TrainingStep
    from wingbeat.task.task import Task

Source = Literal["init", "order", "augmentation", "dropout", "ulp", "hardware", "all"]
SOURCES: Final = get_args(Source)
"""Everything that can be asked for; "all" is another base seed, that is, all but the last two."""


PERTURBATIONS: Final[dict[str, type[Perturbation]]] = {
    "init": Init,
    "order": DataOrder,
    "augmentation": Augmentation,
    "dropout": Dropout,
    "ulp": Ulp,
    "all": Everything,
}
"""Source → what varies it alone, from step 0 on; "hardware" is not a perturbation of a run."""


def check_sources(sources: Sequence[str] | str) -> tuple[str, ...]:
    """Return the sources if all are known and different.

    Raises:
        RequestError: one is not; the message suggests the nearest.

    >>> check_sources(["init", "ulp"])
    ('init', 'ulp')
    """
    given = (sources,) if isinstance(sources, str) else tuple(sources)
    for source in given:
        if source not in SOURCES:
            raise RequestError(f"unknown source {source!r}: {nearest(str(source), SOURCES)}")
    if not given or len(set(given)) != len(given):
        raise RequestError(f"sources are {list(given)!r}: name at least one, and each once")
    return given


def absent(source: str, step: TrainingStep, batches: Batches) -> str:
    """Return why a task does not have a source of noise, or "" if it may have it.

    Only what is certain is told here. Whether the model draws random numbers is seen in one
    training step from the start; a source that is there and changes nothing shows after training.
    """
    if source == "init" and not _draws_weights(step):
        return "the model starts from the same weights under every seed"
    if source == "order" and step.task.sampling == "sequential":
        return "the task reads its data in order (sampling='sequential')"
    if source == "augmentation" and not _augments(step.task):
        return "the task has no augmentation"
    if source == "dropout" and not _draws_in_training(step, batches):
        return "the model draws no random numbers in training"
    return ""


def _draws_weights(step: TrainingStep) -> bool:
    seed = step.task.seed
    own, other = step.start(seed), step.start(derive(seed, "another"))
    same = torch.equal(own.params, other.params)
    return not (same and all(torch.equal(own.buffers[k], other.buffers[k]) for k in own.buffers))


def _augments(task: Task) -> bool:
    return task.augment is not None or not is_tensors(task.data)


def _draws_in_training(step: TrainingStep, batches: Batches) -> bool:
    """Tell whether one training step leaves any generator in another state."""
    state = step.start(step.task.seed)
    batch = batches.batch(Streams.of(step.task.seed), 0)
    with seeded(0):
        before = _generators()
        step.gradient(state.params, state.buffers, batch)
        return _generators() != before


def _generators() -> tuple[bytes, str, str]:
    numpy = repr(np.random.get_state(legacy=False))  # noqa: NPY002  (what a model may draw from)
    return torch.get_rng_state().numpy().tobytes(), repr(random.getstate()), numpy
