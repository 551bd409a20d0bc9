"""Everything that a base seed decides, varied at once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from wingbeat.replicas.perturb.streams import Init
from wingbeat.task.batches import Streams


@dataclass(frozen=True)
class Everything(Init):
    """Another initialisation, order, augmentation and dropout at once: another base seed."""

    kind: ClassVar[str] = "all"

    def streams(self, streams: Streams, replica: int) -> Streams:
        """Return other streams of every kind."""
        seed = self.init_seed(replica)
        return replace(streams, **vars(Streams.of(seed)))
