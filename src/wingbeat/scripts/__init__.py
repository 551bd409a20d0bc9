"""Training scripts as they are: forked from their checkpoints, run unchanged, and measured."""

from __future__ import annotations

from wingbeat.scripts.fork import fork
from wingbeat.scripts.nudge import Nudged, nudge
from wingbeat.scripts.on_step import OnStep
from wingbeat.scripts.training import fork_training

__all__ = ["Nudged", "OnStep", "fork", "fork_training", "nudge"]
