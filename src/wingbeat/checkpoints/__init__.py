"""Checkpoints of any size and format, made by anyone: opened, compared, read as a trajectory."""

from __future__ import annotations

# isort: off
from wingbeat.checkpoints.source import Entry, Source
from wingbeat.checkpoints.open import open_checkpoint
from wingbeat.checkpoints.comparison import Comparison
from wingbeat.checkpoints.compare import compare

# isort: on

__all__ = ["Comparison", "Entry", "Source", "compare", "open_checkpoint"]
