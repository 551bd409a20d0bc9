"""Every source of noise as a function of (seed, place), so that a copy can begin anywhere.

A place is a number of batches drawn since step 0. Three streams are kept apart, as in `wb.run`:
the order of a pass over the data, what fetching a batch draws, and what the step draws.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wingbeat.determinism import derive, seed_all
from wingbeat.task.passes import draws_nothing, ordered, seed_fetch, seed_pass

if TYPE_CHECKING:
    from wingbeat.task.batches import Streams

__all__ = ["draws_nothing", "ordered", "seed_epoch_end", "seed_fetch", "seed_pass", "seed_step"]


def seed_epoch_end(streams: Streams, number: int) -> None:
    """Seed all generators for what follows the batches of an epoch: a validation, a restart."""
    seed_all(derive(streams.dropout, "epoch", number))


def seed_step(streams: Streams, place: int) -> None:
    """Seed all generators for what is computed on a batch: dropout, noise, an environment."""
    seed_all(derive(streams.dropout, "step", place))
