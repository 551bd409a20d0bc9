"""Perturbations of one noise source that leave the weights alone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from wingbeat.replicas.perturb.perturbation import StreamChange
from wingbeat.task.batches import Streams


@dataclass(frozen=True)
class DataOrder(StreamChange):
    """See the training samples in another order from the fork on.

    Example:
        >>> DataOrder(1, at=5).label
        'order-1@5'
    """

    kind: ClassVar[str] = "order"
    seed: int = 0

    def streams(self, streams: Streams, replica: int) -> Streams:
        """Return streams with another order seed."""
        return replace(streams, order=self.derived(replica))


@dataclass(frozen=True)
class Augmentation(StreamChange):
    """Draw another augmentation of each sample from the fork on."""

    kind: ClassVar[str] = "augmentation"
    seed: int = 0

    def streams(self, streams: Streams, replica: int) -> Streams:
        """Return streams with another augmentation seed."""
        return replace(streams, augmentation=self.derived(replica))


@dataclass(frozen=True)
class Dropout(StreamChange):
    """Draw other dropout masks, and all else that the model draws from torch, from the fork on."""

    kind: ClassVar[str] = "dropout"
    seed: int = 0

    def streams(self, streams: Streams, replica: int) -> Streams:
        """Return streams with another dropout seed."""
        return replace(streams, dropout=self.derived(replica))


@dataclass(frozen=True)
class Init(StreamChange):
    """Start from an independent initialisation; all other noise is the reference's."""

    kind: ClassVar[str] = "init"
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(self.at == 0, "at", self.at, "an initialisation can only differ at step 0")

    def streams(self, streams: Streams, replica: int) -> Streams:
        """Return the streams unchanged: only the initial weights differ."""
        del replica
        return streams

    def init_seed(self, replica: int) -> int:
        """Return the seed under which a replica's model is built."""
        return self.derived(replica)
