"""One pass over a loader or a sampler as a function of (seed, number of the pass).

Samplers and loaders draw from generators of their own, from torch's global one, or count epochs.
All of that is set before a pass begins, so that the pass can begin anywhere and again.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    RandomSampler,
    SequentialSampler,
    TensorDataset,
    default_collate,
)

from wingbeat.determinism import derive, seed_all

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wingbeat.task.streams import Streams


def seed_pass(streams: Streams, number: int) -> int:
    """Seed all generators for the order of a pass over the data; returns the seed."""
    return seed_order(streams.order, number)


def seed_order(order: int, number: int) -> int:
    """Seed all generators for a pass under an order seed; returns the seed of the pass."""
    seed = derive(order, "pass", number)
    seed_all(seed)
    return seed


def seed_fetch(streams: Streams, place: int) -> None:
    """Seed all generators for the fetching of a batch: augmentation, sampling from a stream."""
    seed_all(derive(streams.augmentation, "fetch", place))


def draws_nothing(loader: Any) -> bool:
    """Tell whether fetching a batch surely draws from no generator of the process.

    So it is with lists of batches, and with a loader of tensors under torch's own samplers, whose
    generators `ordered` sets. Then there is nothing to seed.

    >>> draws_nothing([torch.ones(2)]), draws_nothing(torch.ones(2) for _ in range(3))
    (True, False)
    """
    return type(loader) in (list, tuple) or (
        type(loader) is DataLoader
        and type(loader.dataset) is TensorDataset
        and loader.num_workers == 0
        and loader.collate_fn is default_collate
        and type(loader.batch_sampler) is BatchSampler
        and type(loader.sampler) in (RandomSampler, SequentialSampler)
    )


@contextlib.contextmanager
def ordered(loader: Any, streams: Streams, number: int) -> Iterator[None]:
    """Let the order of one pass over a loader follow from the seed alone.

    Generators that the loader or its samplers hold are seeded; a sampler without one is lent one
    for the pass; who counts epochs (``set_epoch``) is told the number.
    """
    with ordered_by(loader, streams.order, number):
        yield


@contextlib.contextmanager
def ordered_by(loader: Any, order: int, number: int, *, own: bool = False) -> Iterator[None]:
    """Let the order of one pass follow from an order seed.

    Args:
        loader: or a sampler.
        order: the seed.
        number: of the pass.
        own: lend a generator in place of one that is there too: several passes may then be under
            way, and the user's generator is left as it was.
    """
    seed = seed_order(order, number)
    lent: list[tuple[Any, torch.Generator | None]] = []
    instead: dict[int, torch.Generator] = {}  # a loader and its sampler may share one
    for owner in _owners(loader):
        there = getattr(owner, "generator", None)
        if isinstance(there, torch.Generator) and not own:
            there.manual_seed(seed)
        elif isinstance(there, torch.Generator) or _lacks_one(owner, loader):
            fresh = torch.Generator().manual_seed(seed)
            owner.generator = fresh if there is None else instead.setdefault(id(there), fresh)
            lent.append((owner, there))
        if callable(getattr(owner, "set_epoch", None)):
            owner.set_epoch(number)
    try:
        yield
    finally:
        for owner, before in lent:
            owner.generator = before


def _lacks_one(owner: Any, loader: Any) -> bool:
    sampler = owner is not loader or not hasattr(loader, "dataset")
    return hasattr(owner, "generator") and sampler and owner.generator is None


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
