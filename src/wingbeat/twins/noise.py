"""Every source of noise as a function of (seed, place), so that a copy can begin anywhere.

A place is a number of batches drawn since step 0. Three streams are kept apart, as in `wb.run`:
the order of a pass over the data, what fetching a batch draws, and what the step draws.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import torch

from wingbeat.determinism import derive, seed_all

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wingbeat.task.batches import Streams


def seed_pass(streams: Streams, number: int) -> int:
    """Seed all generators for the order of a pass over the data; returns the seed."""
    seed = derive(streams.order, "pass", number)
    seed_all(seed)
    return seed


def seed_fetch(streams: Streams, place: int) -> None:
    """Seed all generators for the fetching of a batch: augmentation, sampling from a stream."""
    seed_all(derive(streams.augmentation, "fetch", place))


def seed_step(streams: Streams, place: int) -> None:
    """Seed all generators for what is computed on a batch: dropout, noise, an environment."""
    seed_all(derive(streams.dropout, "step", place))


@contextlib.contextmanager
def ordered(loader: Any, streams: Streams, number: int) -> Iterator[None]:
    """Let the order of one pass over a loader follow from the seed alone.

    Generators that the loader or its samplers hold are seeded; a sampler without one is lent one
    for the pass; who counts epochs (``set_epoch``) is told the number.
    """
    seed = seed_pass(streams, number)
    lent = []
    for owner in _owners(loader):
        if isinstance(getattr(owner, "generator", None), torch.Generator):
            owner.generator.manual_seed(seed)
        elif hasattr(owner, "generator") and owner is not loader and owner.generator is None:
            owner.generator = torch.Generator().manual_seed(seed)
            lent.append(owner)
        if callable(getattr(owner, "set_epoch", None)):
            owner.set_epoch(number)
    try:
        yield
    finally:
        for owner in lent:
            owner.generator = None


def _owners(loader: Any) -> list[Any]:
    """Return a loader, its samplers and its data set: who may hold a generator."""
    batch_sampler = getattr(loader, "batch_sampler", None)
    found = [
        loader,
        getattr(loader, "dataset", None),
        getattr(loader, "sampler", None),
        batch_sampler,
        getattr(batch_sampler, "sampler", None),
    ]
    return list({id(owner): owner for owner in found if owner is not None}.values())
