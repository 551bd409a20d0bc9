"""Training scripts as they are: forked from their checkpoints, run unchanged, and measured."""

from __future__ import annotations

from wingbeat.scripts.fork import fork
from wingbeat.scripts.nudge import Nudged, nudge

__all__ = ["Nudged", "fork", "nudge"]
