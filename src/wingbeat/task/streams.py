"""The seeds of one replica's noise sources."""

from __future__ import annotations

from dataclasses import dataclass

from wingbeat.determinism import derive


@dataclass(frozen=True)
class Streams:
    """The seeds of one replica's noise sources; equal streams see equal noise."""

    order: int
    augmentation: int
    dropout: int

    @classmethod
    def of(cls, seed: int) -> Streams:
        """Return the streams of a base seed."""
        return cls(*(derive(seed, name) for name in ("order", "augmentation", "dropout")))
